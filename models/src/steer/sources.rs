//! Real texts and facts to find concepts in and to ask about, as their packages hold them. Those of [`sae::eval`](crate::sae::eval) are others.
use crate::io::{Error, Result, json};
use serde_json::Value;
use std::fs;
use std::path::Path;

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
    let mut all = Vec::new();
    for from in ["amazon", "imdb", "yelp"] {
        let path = folder.join(from).with_extension("json");
        let value = json::read(&path)?;
        let list = value.as_array().ok_or_else(|| Error::content(&path, "is no list"))?;
        for (at, review) in list.iter().enumerate() {
            let positive = match review["class"].as_u64() {
                Some(class @ 0..=1) => class == 1,
                None if review["class"].is_null() => continue,
                _ => return Err(Error::content(&path, format!("entry {at} has a class that is neither 0 nor 1"))),
            };
            let text = review["text"].as_str();
            let text = text.ok_or_else(|| Error::content(&path, format!("entry {at} has no text")))?;
            all.push(Review { from: from.into(), positive, text: text.trim().into() });
        }
    }
    Ok(all)
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

/// Read the countries of `world-countries`; those without a capital, a currency or a language are passed over.
///
/// # Errors
/// A file that is missing or no such list.
pub fn countries(path: &Path) -> Result<Vec<Country>> {
    let value = json::read(path)?;
    let list = value.as_array().ok_or_else(|| Error::content(path, "is no list"))?;
    let mut all = Vec::new();
    for (at, country) in list.iter().enumerate() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&country["name"]["common"]);
        if name.is_empty() {
            return Err(Error::content(path, format!("entry {at} has no name")));
        }
        let of = |field: &str| country[field].as_object().into_iter().flatten().map(|(_, value)| value);
        let country = Country {
            name,
            capital: text(&country["capital"][0]),
            region: text(&country["region"]),
            subregion: text(&country["subregion"]),
            currency: of("currencies").next().map(|money| text(&money["name"])).unwrap_or_default(),
            languages: of("languages").map(text).collect(),
            demonym: text(&country["demonyms"]["eng"]["m"]),
        };
        let known = [&country.capital, &country.region, &country.subregion, &country.currency, &country.demonym];
        if known.iter().all(|text| !text.is_empty()) && !country.languages.is_empty() {
            all.push(country);
        }
    }
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
        for (text, what) in
            [("{}", "no list"), (r#"[{"class": 1}]"#, "no text"), (r#"[{"class": 2}]"#, "neither"), ("[", "JSON")]
        {
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
        fs::write(&path, "[{}]").unwrap();
        assert!(countries(&path).unwrap_err().to_string().contains("no name"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
