//! Real texts and facts to find concepts in and to ask about, as their packages hold them. Those of [`sae::eval`](crate::sae::eval) are others.
use crate::io::{Error, Result};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::marker::PhantomData;
use std::path::Path;
use std::{fmt, fs};

/// A sentence of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Where: `amazon`, `imdb` or `yelp`.
    pub from: String,
    /// Whether it speaks well of what it is of.
    pub positive: bool,
    /// The sentence.
    pub text: String,
}

/// Read reviews: `amazon.json`, `imdb.json` and `yelp.json`, each a list of objects with a `text` and a `class` of 0 or 1; those
/// without a class are passed over.
///
/// # Errors
/// Files that are missing, or no such lists.
pub fn reviews(folder: &Path) -> Result<Vec<Review>> {
    #[derive(Deserialize)]
    struct Row {
        text: String,
        class: Option<u8>,
    }
    let mut all = Vec::new();
    for from in ["amazon", "imdb", "yelp"] {
        each(&folder.join(from).with_extension("json"), |Row { text, class }| {
            let positive = match class {
                None => return Ok(()),
                Some(class @ 0..=1) => class == 1,
                Some(class) => return Err(format!("has class {class}, which is neither 0 nor 1")),
            };
            all.push(Review { from: from.into(), positive, text: text.trim().into() });
            Ok(())
        })?;
    }
    Ok(all)
}

/// Call `then` with every row of the list in a file of JSON, of which only what `Row` names is kept.
fn each<Row: DeserializeOwned>(path: &Path, then: impl FnMut(Row) -> std::result::Result<(), String>) -> Result<()> {
    let text = fs::read(path).map_err(Error::system(path, "read"))?;
    let wrong = |error: serde_json::Error| Error::content(path, format!("is no list that is read: {error}"));
    let mut input = serde_json::Deserializer::from_slice(&text);
    input.deserialize_seq(Rows { then, row: PhantomData }).and_then(|()| input.end()).map_err(wrong)
}

struct Rows<Row, F> {
    then: F,
    row: PhantomData<Row>,
}

impl<'de, Row: DeserializeOwned, F: FnMut(Row) -> std::result::Result<(), String>> Visitor<'de> for Rows<Row, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut at = 0;
        while let Some(row) = list.next_element()? {
            (self.then)(row).map_err(|what| A::Error::custom(format!("entry {at} {what}")))?;
            at += 1;
        }
        Ok(())
    }
}

/// The paragraphs of the Universal Declaration of Human Rights in the language of this code, as `fra`: those of `CODE.html`, which is taken
/// for a text between `<p>` and `</p>`.
///
/// # Errors
/// [`Error::Setting`] for a code that is none; files that are missing, not UTF-8, or without paragraphs.
pub fn declaration(folder: &Path, code: &str) -> Result<Vec<String>> {
    if !code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || code.is_empty() {
        return Err(Error::setting("code", format!("{code:?} is the code of no language")));
    }
    let path = folder.join(code).with_extension("html");
    let page = fs::read_to_string(&path).map_err(Error::system(&path, "read"))?;
    let mut all = Vec::new();
    for part in page.split("<p>").skip(1) {
        let text = part.split("</p>").next().unwrap_or_default();
        let text = plain(text);
        if !text.is_empty() {
            all.push(text);
        }
    }
    if all.is_empty() {
        return Err(Error::content(&path, "holds no paragraphs"));
    }
    Ok(all)
}

/// Without tags, with the letters that names stand for, and with one space where there are several.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for letter in html.chars() {
        match letter {
            '<' => inside = true,
            '>' if inside => inside = false,
            letter if !inside => text.push(letter),
            _ => {}
        }
    }
    for (name, letter) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
    {
        text = text.replace(name, letter);
    }
    let mut spaced = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        spaced.push_str(word);
    }
    spaced
}

/// A country, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country {
    /// Its English name.
    pub name: String,
    /// Its capital, of several the first.
    pub capital: String,
    /// The part of the world that it is in.
    pub region: String,
    /// A smaller part.
    pub subregion: String,
    /// What its money is called.
    pub currency: String,
    /// Its languages, by their English names.
    pub languages: Vec<String>,
    /// What somebody from there is called.
    pub demonym: String,
}

/// The first values of a list, or of an object: a file may hold any number, but no country has as many.
struct Few<T>(Vec<T>);

impl<T> Few<T> {
    const MOST: usize = 64;
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(Taken(PhantomData))
    }
}

struct Taken<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Taken<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while few.0.len() < Few::<T>::MOST {
            let Some(value) = list.next_element()? else { return Ok(few) };
            few.0.push(value);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(few)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while map.next_key::<IgnoredAny>()?.is_some() {
            if few.0.len() < Few::<T>::MOST {
                few.0.push(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(few)
    }
}

/// Read the countries of `world-countries`; those of which not all is known are passed over.
///
/// # Errors
/// A file that is missing or no such list.
pub fn countries(path: &Path) -> Result<Vec<Country>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Row {
        name: Name,
        capital: Few<String>,
        region: String,
        subregion: String,
        currencies: Few<Money>,
        languages: Few<String>,
        demonyms: Demonyms,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Name {
        common: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Money {
        name: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Demonyms {
        eng: Demonym,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Demonym {
        m: String,
    }
    let mut all = Vec::new();
    each(path, |row: Row| {
        if row.name.common.is_empty() {
            return Err("has no name".into());
        }
        let country = Country {
            name: row.name.common,
            capital: row.capital.0.into_iter().next().unwrap_or_default(),
            region: row.region,
            subregion: row.subregion,
            currency: row.currencies.0.into_iter().next().unwrap_or_default().name,
            languages: row.languages.0,
            demonym: row.demonyms.eng.m,
        };
        let known = [&country.capital, &country.region, &country.subregion, &country.currency, &country.demonym];
        if known.iter().all(|text| !text.is_empty()) && !country.languages.is_empty() {
            all.push(country);
        }
        Ok(())
    })?;
    Ok(all)
}

/// A sentence of the Brown corpus, with the tag of every word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The letter of its genre, as [`Essay::genre`](crate::sae::eval::Essay::genre).
    pub genre: char,
    /// As text is written.
    pub text: String,
    /// Brown's tags, in lower case, as `nn`, `vbd`, `vbz`.
    pub tags: Vec<String>,
}

/// Read the Brown corpus sentence by sentence: files `ca01` to `cr09`, a sentence a line.
///
/// # Errors
/// Those of [`brown`](crate::sae::eval::brown).
pub fn sentences(folder: &Path) -> Result<Vec<Sentence>> {
    let lines = crate::sae::eval::brown_lines(folder)?;
    let sentence = |(genre, text, line): (char, String, String)| {
        let tags = line.split_whitespace().filter_map(|word| word.rsplit_once('/')).map(|(_, tag)| tag.to_lowercase());
        Sentence { genre, text, tags: tags.collect() }
    };
    Ok(lines.into_iter().map(sentence).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("latens-steer-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn reviews_of_three_places() {
        let folder = folder("reviews");
        let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        put("amazon.json", r#"[{"text": " Good case. ", "class": 1}, {"text": "", "class": null}]"#);
        put("imdb.json", r#"[{"text": "Bad.", "class": 0}]"#);
        put("yelp.json", "[]");
        let found: Vec<_> = reviews(&folder).unwrap().into_iter().map(|of| (of.from, of.positive, of.text)).collect();
        assert_eq!(found, [("amazon".into(), true, "Good case.".into()), ("imdb".into(), false, "Bad.".to_owned())]);
        for (text, what) in [
            ("{}", "a list"),
            (r#"[{"class": 1}]"#, "text"),
            (r#"[{"text": "", "class": 2}]"#, "entry 0 has class 2"),
            ("[", "EOF"),
        ] {
            put("yelp.json", text);
            assert!(reviews(&folder).unwrap_err().to_string().contains(what), "{text}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(reviews(&folder).is_err());
    }

    #[test]
    fn paragraphs_of_a_page() {
        let folder = folder("declaration");
        fs::write(folder.join("fra.html"), "<h1>Non</h1><p>L&#39;un <b>et</b>\n l'autre &amp;lt;</p> x <p></p><p>Fin")
            .unwrap();
        assert_eq!(declaration(&folder, "fra").unwrap(), ["L'un et l'autre &lt;", "Fin"]);
        fs::write(folder.join("deu_1996.html"), "nichts").unwrap();
        assert!(declaration(&folder, "deu_1996").unwrap_err().to_string().contains("no paragraphs"));
        assert!(declaration(&folder, "../fra").unwrap_err().to_string().starts_with("code: "));
        assert!(declaration(&folder, "").is_err() && declaration(&folder, "spa").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn countries_that_are_whole() {
        let folder = folder("countries");
        let path = folder.join("countries.json");
        let spain = r#"{"name": {"common": "Spain"}, "capital": ["Madrid"], "region": "Europe", "subregion": "Southern Europe",
            "currencies": {"EUR": {"name": "Euro"}}, "languages": {"spa": "Spanish"}, "demonyms": {"eng": {"m": "Spanish"}}}"#;
        fs::write(&path, format!("[{spain}, {{\"name\": {{\"common\": \"Nowhere\"}}}}]")).unwrap();
        let [found] = &countries(&path).unwrap()[..] else { panic!("one is whole") };
        assert_eq!((&*found.name, &*found.capital, &*found.currency), ("Spain", "Madrid", "Euro"));
        assert_eq!((&found.languages[..], &*found.demonym), (&["Spanish".to_owned()][..], "Spanish"));
        let many: Vec<String> = (0..200).map(|at| format!("\"{at}\": \"l{at}\"")).collect();
        let speaks = spain.replace("\"spa\": \"Spanish\"}", &format!("{}}}", many.join(",")));
        fs::write(&path, format!("[{speaks}]")).unwrap();
        assert_eq!(countries(&path).unwrap()[0].languages.len(), 64);
        fs::write(&path, "[{}]").unwrap();
        assert!(countries(&path).unwrap_err().to_string().contains("no name"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
