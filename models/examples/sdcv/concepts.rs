//! Concepts, each by real texts that show it and real texts that do not.
use crate::shared::{Outcome, shuffle};
use latens::assets::{BROWN, DECLARATIONS, HAM, REVIEWS, SPAM, SPEAKERS, SPEECHES};
use latens::sae::eval::{mails, speeches};
use latens::steer::sources::{Sentence, declaration, reviews, sentences};
use latens::steer::{Grader, Language};

/// A concept and its texts, in random order.
pub struct Concept {
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    pub shows: Vec<String>,
    pub not: Vec<String>,
    /// What sees it in a text without a judge, where there is such a thing.
    pub grader: Option<Grader>,
}

/// Words of a text.
const WORDS: std::ops::RangeInclusive<usize> = 5..=40;

pub fn concepts(seed: u64) -> Outcome<Vec<Concept>> {
    let brown = sentences(&BROWN.locate(None)?)?;
    let reviews = reviews(&REVIEWS.locate(None)?)?;
    let liked = |positive: bool| reviews.iter().filter(move |of| of.positive == positive).map(|of| of.text.clone());
    let (ham, spam) = (mails(&HAM.locate(None)?)?, mails(&SPAM.locate(None)?)?);
    let old = |old: bool| -> Outcome<Vec<String>> {
        let all = speeches(&SPEECHES.locate(None)?, &SPEAKERS.locate(None)?)?;
        let part = all.iter().filter(|of| if old { of.year < 1870 } else { of.year >= 1960 });
        Ok(part.flat_map(|of| split(&of.text)).collect())
    };
    let rights = DECLARATIONS.locate(None)?;
    let language = |code: &str| -> Outcome<Vec<String>> {
        Ok(declaration(&rights, code)?.iter().flat_map(|paragraph| split(paragraph)).collect())
    };
    let texts = |which: &dyn Fn(&Sentence) -> bool| -> Vec<String> {
        brown.iter().filter(|of| which(of)).map(|of| of.text.clone()).collect()
    };
    let all = [
        ("sentiment", "praise", liked(true).collect(), liked(false).collect(), None),
        (
            "question",
            "a question",
            texts(&|of| of.text.ends_with('?')),
            texts(&|of| of.text.ends_with('.')),
            Some(Grader::Question),
        ),
        ("french", "French", language("fra")?, language("eng")?, Some(Grader::Language(Language::French))),
        ("past", "the past tense", texts(&|of| of.past() == Some(true)), texts(&|of| of.past() == Some(false)), None),
        (
            "religion",
            "religious writing",
            texts(&|of| of.genre == 'd'),
            texts(&|of| matches!(of.genre, 'a' | 'e' | 'j')),
            None,
        ),
        ("spam", "advertising mail", first(&spam), first(&ham), None),
        ("old", "the English of long ago", old(true)?, old(false)?, None),
    ];
    let concept = |(name, what, shows, not, grader)| Concept {
        name,
        what,
        shows: drawn(shows, seed),
        not: drawn(not, seed.wrapping_add(1)),
        grader,
    };
    Ok(all.into_iter().map(concept).collect())
}

/// Beginnings that are about all kinds of things: the first words of sentences.
pub fn prompts(count: usize, seed: u64) -> Outcome<Vec<String>> {
    const FIRST: usize = 6;
    let brown = sentences(&BROWN.locate(None)?)?;
    let whole = brown.iter().filter(|of| of.text.split_whitespace().count() > 3 * FIRST && !of.text.contains('"'));
    let first = whole.map(|of| of.text.split_whitespace().take(FIRST).collect::<Vec<_>>().join(" "));
    let mut all = drawn_as_they_are(first.collect(), seed.wrapping_add(2));
    all.truncate(count);
    Ok(all)
}

/// Sentences of a text.
fn split(text: &str) -> Vec<String> {
    text.split_inclusive(['.', '!', '?']).map(|sentence| sentence.trim().to_owned()).collect()
}

/// The first lines of mails.
fn first(mails: &[String]) -> Vec<String> {
    let words = |mail: &String| mail.split_whitespace().take(*WORDS.end()).collect::<Vec<_>>().join(" ");
    mails.iter().map(words).filter(|text| !text.contains('<')).collect()
}

/// Of fitting lengths, in random order, none twice.
fn drawn(mut all: Vec<String>, seed: u64) -> Vec<String> {
    all.retain(|text| WORDS.contains(&text.split_whitespace().count()));
    drawn_as_they_are(all, seed)
}

fn drawn_as_they_are(mut all: Vec<String>, seed: u64) -> Vec<String> {
    all.sort();
    all.dedup();
    shuffle(&mut all, seed);
    all
}
