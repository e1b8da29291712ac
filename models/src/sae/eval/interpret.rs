//! Explanations of latents in words, and how well others can tell by them where a latent fires: detection and fuzzing as EleutherAI's
//! delphi has them. The judge is any [`Chat`].
use crate::Philox;
use crate::io::{Error, Result};
use crate::lm::{Chat, Message};
use crate::sae::{Browser, Excerpt, Latent};
use serde::{Deserialize, Serialize};

/// A text by its tokens, and the values of a latent on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// The values.
    pub values: Vec<f32>,
}

/// How well a judge knew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean of the shares of texts that were judged right, of those with and of those without: 0.5 is chance.
    pub balanced: f64,
    /// Of those said to be with, the share that is.
    pub precision: f64,
    /// Of those with, the share that was found.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
    /// Texts on which the judge gave an answer that can be read; others count as wrong.
    pub answered: f64,
}

/// Texts of a question to a judge.
const EACH: usize = 5;
/// What counts as much in a text is marked: this share of its largest value.
const MARKED: f32 = 0.3;

impl Shown {
    fn of(browser: &Browser, excerpt: &Excerpt) -> Self {
        let text = |id: &u32| browser.texts.get(id).cloned().unwrap_or_default();
        Self { tokens: excerpt.tokens.iter().map(text).collect(), values: excerpt.values.clone() }
    }

    /// Where a latent fires: by intervals from weak to strong, and then where most strongly.
    pub fn active(browser: &Browser, latent: &Latent) -> Vec<Self> {
        let all = latent.intervals.iter().flatten().chain(&latent.top);
        all.map(|excerpt| Self::of(browser, excerpt)).collect()
    }

    /// So many texts of other latents, drawn by chance, of contexts in which this one does not fire.
    pub fn silent(browser: &Browser, latent: &Latent, count: usize, seed: u64) -> Vec<Self> {
        let own = |excerpt: &Excerpt| latent.contexts.binary_search(&(excerpt.context as u32)).is_ok();
        let others = browser.latents.iter().filter(|other| other.latent != latent.latent);
        let mut all: Vec<&Excerpt> =
            others.flat_map(|other| other.top.iter()).filter(|excerpt| !own(excerpt)).collect();
        let mut draw = Philox::new(seed);
        let count = count.min(all.len());
        for at in 0..count {
            let other = at + draw.below((all.len() - at) as u32) as usize;
            all.swap(at, other);
        }
        let quiet = |mut shown: Self| {
            shown.values.fill(0.0);
            shown
        };
        all[..count].iter().map(|excerpt| quiet(Self::of(browser, excerpt))).collect()
    }

    fn text(&self) -> String {
        self.tokens.concat()
    }

    /// With marks around the tokens for which `marked` holds.
    fn with_marks(&self, marked: impl Fn(usize) -> bool) -> String {
        let tokens = self.tokens.iter().enumerate();
        tokens.map(|(at, token)| if marked(at) { format!("<<{token}>>") } else { token.clone() }).collect()
    }

    /// Whether a token counts in this text.
    fn counts(&self, at: usize) -> bool {
        let most = self.values.iter().copied().fold(0.0, f32::max);
        most > 0.0 && self.values.get(at).is_some_and(|&value| value >= MARKED * most)
    }
}

/// Ask for what a latent stands for, in a few words.
///
/// # Errors
/// Those of the one who is asked, and no texts.
pub fn explain(chat: &mut impl Chat, active: &[Shown]) -> Result<String> {
    const WORDS: usize = 48;
    if active.is_empty() {
        return Err(Error::setting("active", "there are no texts"));
    }
    let mut question = String::from(
        "These texts have words between << and >>. What do the marked words and what stands before them have in common? \
         Answer in at most twenty words.\n",
    );
    for (at, shown) in active.iter().enumerate() {
        question += &format!("\n{}. {}", at + 1, shown.with_marks(|token| shown.counts(token)));
    }
    let task = "You look for what a feature of a language model stands for.";
    let said = chat.answer(&[Message::system(task), Message::user(question)], WORDS)?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

/// Detection: the judge sees plain texts and says which of them fit the explanation.
///
/// # Errors
/// Those of the judge, and no texts of one kind.
pub fn detection(
    chat: &mut impl Chat,
    explanation: &str,
    active: &[Shown],
    silent: &[Shown],
    seed: u64,
) -> Result<Score> {
    let texts = active.iter().map(|shown| (shown.text(), true));
    let all = texts.chain(silent.iter().map(|shown| (shown.text(), false))).collect();
    judged(chat, explanation, "the text has what is described", all, seed)
}

/// Fuzzing: the judge sees texts with marks, all of which fire, and says in which of them the marks are where they belong. In `misled` texts
/// they are on as many other tokens.
///
/// # Errors
/// Those of the judge, and no texts of one kind.
pub fn fuzzing(
    chat: &mut impl Chat,
    explanation: &str,
    active: &[Shown],
    misled: &[Shown],
    seed: u64,
) -> Result<Score> {
    let mut draw = Philox::new(!seed);
    let right = active.iter().map(|shown| (shown.with_marks(|at| shown.counts(at)), true));
    let mut all: Vec<_> = right.collect();
    for shown in misled {
        let wanted = (0..shown.tokens.len()).filter(|&at| shown.counts(at)).count().max(1);
        let mut others: Vec<usize> = (0..shown.tokens.len()).filter(|&at| !shown.counts(at)).collect();
        for at in 0..wanted.min(others.len()) {
            let other = at + draw.below((others.len() - at) as u32) as usize;
            others.swap(at, other);
        }
        others.truncate(wanted);
        all.push((shown.with_marks(|at| others.contains(&at)), false));
    }
    judged(chat, explanation, "the words between << and >> are what is described", all, seed)
}

fn judged(
    chat: &mut impl Chat,
    explanation: &str,
    whether: &str,
    mut all: Vec<(String, bool)>,
    seed: u64,
) -> Result<Score> {
    if all.iter().all(|(_, with)| *with) || !all.iter().any(|(_, with)| *with) {
        return Err(Error::setting("texts", "there must be some of both kinds"));
    }
    let mut draw = Philox::new(seed);
    for last in (1..all.len()).rev() {
        all.swap(last, draw.below(last as u32 + 1) as usize);
    }
    // Right and all, with and without; said to be with and without; answered.
    let (mut right, mut count, mut said, mut answered) = ([0.0; 2], [0.0; 2], 0.0, 0.0);
    for some in all.chunks(EACH) {
        let mut question = format!(
            "Description: {explanation}\nFor each of the {} texts, say 1 if {whether}, else 0. Answer with a list like [0, 1] of {} \
             numbers and nothing else.\n",
            some.len(),
            some.len()
        );
        some.iter().enumerate().for_each(|(at, (text, _))| question += &format!("\nText {}: {text}", at + 1));
        let task = "You judge whether texts fit a description.";
        let answer = chat.answer(&[Message::system(task), Message::user(question)], 4 * EACH)?;
        let told = listed(&answer, some.len());
        for (at, &(_, with)) in some.iter().enumerate() {
            let told = told.as_ref().map(|told| told[at]);
            count[usize::from(!with)] += 1.0;
            answered += f64::from(u8::from(told.is_some()));
            said += f64::from(u8::from(told == Some(true)));
            right[usize::from(!with)] += f64::from(u8::from(told == Some(with)));
        }
    }
    let recall = right[0] / count[0];
    let precision = if said > 0.0 { right[0] / said } else { 0.0 };
    let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    let balanced = 0.5 * (recall + right[1] / count[1]);
    Ok(Score { balanced, precision, recall, f1, answered: answered / all.len() as f64 })
}

/// The first list of so many zeros and ones in an answer.
fn listed(answer: &str, count: usize) -> Option<Vec<bool>> {
    answer.match_indices('[').find_map(|(from, _)| {
        let inside = &answer[from + 1..];
        let inside = &inside[..inside.find(']')?];
        let all: Option<Vec<bool>> = inside
            .split(',')
            .map(|one| match one.trim() {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            })
            .collect();
        all.filter(|all| all.len() == count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[(&str, f32)]) -> Shown {
        Shown {
            tokens: text.iter().map(|(token, _)| (*token).to_owned()).collect(),
            values: text.iter().map(|(_, value)| *value).collect(),
        }
    }

    /// Says 1 where the text has a word, or marks it.
    struct Knows(&'static str);

    impl Chat for Knows {
        fn answer(&mut self, messages: &[Message], _: usize) -> Result<String> {
            let question = &messages[1].text;
            let said: Vec<&str> = question
                .lines()
                .filter(|line| line.starts_with("Text "))
                .map(|line| if line.contains(self.0) { "1" } else { "0" })
                .collect();
            Ok(format!("I think [x] so [{}].", said.join(", ")))
        }
    }

    struct Mumbles;

    impl Chat for Mumbles {
        fn answer(&mut self, _: &[Message], _: usize) -> Result<String> {
            Ok("maybe [1, 0, 2]".into())
        }
    }

    fn both() -> (Vec<Shown>, Vec<Shown>) {
        let active = vec![shown(&[("the", 0.0), (" whale", 2.0), (" swam", 0.1)]); 7];
        (active, vec![shown(&[("a", 0.0), (" ship", 0.0), (" sailed", 0.0)]); 6])
    }

    #[test]
    fn who_knows_is_right() {
        let (active, silent) = both();
        let all = Score { balanced: 1.0, precision: 1.0, recall: 1.0, f1: 1.0, answered: 1.0 };
        assert_eq!(detection(&mut Knows("whale"), "whales", &active, &silent, 1).unwrap(), all);
        assert_eq!(fuzzing(&mut Knows("<< whale>>"), "whales", &active, &active, 1).unwrap(), all);
        // Who sees it everywhere is right of one kind, and who knows nothing of neither.
        let found = detection(&mut Knows("Text"), "texts", &active, &silent, 1).unwrap();
        assert!((found.balanced, found.recall) == (0.5, 1.0) && (found.precision - 7.0 / 13.0).abs() < 1e-12);
        let found = detection(&mut Mumbles, "texts", &active, &silent, 1).unwrap();
        assert_eq!((found.balanced, found.answered), (0.0, 0.0));
        assert!(detection(&mut Mumbles, "texts", &active, &[], 1).is_err());
    }

    #[test]
    fn explanations_see_marks() {
        struct Echo;
        impl Chat for Echo {
            fn answer(&mut self, messages: &[Message], _: usize) -> Result<String> {
                assert!(messages[1].text.contains("1. the<< whale>> swam"), "{}", messages[1].text);
                Ok(" whales\nand more".into())
            }
        }
        assert_eq!(explain(&mut Echo, &both().0).unwrap(), "whales");
        assert!(explain(&mut Echo, &[]).is_err());
    }
}
