//! Questions whose answers are known, built from real facts and texts.
use crate::shared::{Outcome, shuffle};
use latens::Philox;
use latens::assets::{BROWN, COUNTRIES};
use latens::lm::LanguageModel;
use latens::steer::gradsae::Asked;
use latens::steer::sources::{Country, countries, sentences};

/// A prompt, and what is to follow.
#[derive(Clone)]
pub struct Question {
    /// `fact`, `copy` or `context`.
    pub kind: &'static str,
    pub prompt: String,
    /// As it stands behind the prompt, its space included.
    pub answer: String,
    /// Questions with equal numbers are about the same country, those with a context in the same words: they do not stand alone.
    pub group: usize,
}

impl Question {
    pub fn asked(&self, lm: &LanguageModel) -> Outcome<Asked> {
        Ok(Asked { prompt: lm.tokenizer.encode(&self.prompt)?, answer: lm.tokenizer.encode(&self.answer)? })
    }

    /// The part of what the model says that is its answer: the first line, up to a full stop.
    pub fn said(text: &str) -> &str {
        let line = text.trim_start().lines().next().unwrap_or_default();
        line.split(['.', ',', ';', '|']).next().unwrap_or_default().trim()
    }
}

/// All of them, in random order.
pub fn questions(seed: u64) -> Outcome<Vec<Question>> {
    let countries = countries(&COUNTRIES.locate(None)?)?;
    let mut draw = Philox::new(seed);
    let mut all = facts(&countries);
    all.extend(contexts(&countries, &mut draw));
    all.extend(copies(&mut draw, countries.len())?);
    shuffle(&mut all, seed);
    Ok(all)
}

fn facts(countries: &[Country]) -> Vec<Question> {
    let mut all = Vec::new();
    for (group, Country { name, capital, region, .. }) in countries.iter().enumerate() {
        let mut fact = |prompt: String, answer: &str| {
            all.push(Question { kind: "fact", prompt, answer: format!(" {answer}"), group });
        };
        fact(format!("Capitals of countries.\nFrance: Paris\nJapan: Tokyo\n{name}:"), capital);
        fact(
            format!(
                "Continents of countries: Europe, Asia, Africa, Americas, Oceania.\nFrance: Europe\nJapan: Asia\n{name}:"
            ),
            region,
        );
    }
    all
}

/// A short text about a country, and what it tells, as behind another such text: asked in words, so small a model answers next to none. The
/// destination is drawn: only the text tells it. The rest is true, and a model may know it beforehand.
fn contexts(countries: &[Country], draw: &mut Philox) -> Vec<Question> {
    let mut all = Vec::new();
    for (group, country) in countries.iter().enumerate() {
        let other = &countries[draw.below(countries.len() as u32) as usize];
        let language = &country.languages[0];
        let told = |name: &str, language: &str, money: &str, from: &str, to: &str| {
            format!("In {name} I learned some {language}, paid in {money}, and then flew from {from} to {to}.")
        };
        let context = format!(
            "{}\nCountry: Norway\nLanguage: Norwegian\nMoney: Norwegian krone\nDestination: Athens\n\n{}",
            told("Norway", "Norwegian", "Norwegian krone", "Oslo", "Athens"),
            told(&country.name, language, &country.currency, &country.capital, &other.capital)
        );
        let mut ask = |what: &str, answer: &str| {
            let prompt = format!("{context}\n{what}:");
            all.push(Question { kind: "context", prompt, answer: format!(" {answer}"), group });
        };
        ask("Country", &country.name);
        ask("Language", language);
        ask("Money", &country.currency);
        ask("Destination", &other.capital);
    }
    all
}

/// Lists of words of real texts, said twice, and a third time but for the last word; their groups are counted from `first`.
fn copies(draw: &mut Philox, first: usize) -> Outcome<Vec<Question>> {
    const LISTS: usize = 400;
    let mut known: Vec<String> = Vec::new();
    for sentence in sentences(&BROWN.locate(None)?)? {
        let words = sentence.text.split_whitespace();
        for word in words.filter(|word| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_lowercase())) {
            known.push(word.to_owned());
        }
    }
    known.sort();
    known.dedup();
    let mut all = Vec::new();
    for list in 0..LISTS {
        let words: Vec<&str> = (0..5).map(|_| &*known[draw.below(known.len() as u32) as usize]).collect();
        let (whole, part) = (words.join(" "), words[..4].join(" "));
        let prompt = format!("{whole} | {whole} | {part}");
        all.push(Question { kind: "copy", prompt, answer: format!(" {}", words[4]), group: first + list });
    }
    Ok(all)
}
