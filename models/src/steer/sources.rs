//! Real texts and facts to find concepts in and to ask about, as their packages hold them. Those of [`sae::eval`](crate::sae::eval) are others.
mod countries;
mod rows;

use crate::io::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

pub use crate::sae::eval::{Sentence, sentences};
pub use countries::{Country, countries};

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
        rows::each(&folder.join(from).with_extension("json"), |Row { text, class }| {
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
}
