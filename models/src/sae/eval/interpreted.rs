use super::{Score, Shown, detection, explain, fuzzing};
use crate::io::Result;
use crate::lm::Chat;
use crate::sae::{Browser, Excerpt, Latent};
use serde::{Deserialize, Serialize};

/// A latent in words, and how well a judge knows by them where it fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interpreted {
    /// Which.
    pub latent: u32,
    /// What it is said to stand for.
    pub explanation: String,
    /// Texts that it was explained by; texts in which it fires that the explanation was judged by, and as many or fewer in which it does
    /// not.
    pub texts: [usize; 3],
    /// Whether texts were told apart from those of other latents.
    pub detection: Score,
    /// Whether marks in texts were told apart from wrong ones.
    pub fuzzing: Score,
}

/// Explain a latent of `browser` by what is there of every other context in which it fires, and judge the explanation by the rest:
/// [`detection`] against texts of other latents, [`fuzzing`] against the same texts with wrong marks. `None` where it fires in one
/// context only, or no other latent of `browser` in another context.
///
/// # Errors
/// Those of the one who is asked.
pub fn interpret(chat: &mut impl Chat, browser: &Browser, latent: &Latent, seed: u64) -> Result<Option<Interpreted>> {
    let [ours, theirs] = halves(latent).map(|half| once(Shown::active(browser, &half)));
    let silent = once(Shown::silent(browser, latent, theirs.len(), seed));
    if theirs.is_empty() || silent.is_empty() {
        return Ok(None);
    }
    let explanation = explain(chat, &ours)?;
    let detection = detection(chat, &explanation, &theirs, &silent, seed)?;
    let fuzzing = fuzzing(chat, &explanation, &theirs, &theirs, seed)?;
    let texts = [ours.len(), theirs.len(), silent.len()];
    Ok(Some(Interpreted { latent: latent.latent, explanation, texts, detection, fuzzing }))
}

/// The latent with the excerpts of every other context, from the first on, and with those of the others: no text is in both.
fn halves(latent: &Latent) -> [Latent; 2] {
    let mut contexts: Vec<usize> = Vec::new();
    for excerpt in latent.intervals.iter().flatten().chain(&latent.top) {
        if !contexts.contains(&excerpt.context) {
            contexts.push(excerpt.context);
        }
    }
    [0, 1].map(|half| {
        let here = |excerpt: &Excerpt| contexts.iter().skip(half).step_by(2).any(|&context| context == excerpt.context);
        let mut latent = latent.clone();
        latent.top.retain(here);
        latent.intervals.iter_mut().for_each(|excerpts| excerpts.retain(here));
        latent
    })
}

/// Without those that were there before: an excerpt of an interval may be one of the strongest too.
fn once(all: Vec<Shown>) -> Vec<Shown> {
    let mut kept: Vec<Shown> = Vec::with_capacity(all.len());
    for shown in all {
        if !kept.contains(&shown) {
            kept.push(shown);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lm::Message;
    use crate::sae::{BINS, INTERVALS};
    use std::collections::BTreeMap;

    fn excerpt(context: usize, token: u32) -> Excerpt {
        Excerpt { context, start: 0, tokens: vec![9, token, 9], values: vec![0.0, 1.0, 0.0], at: 1 }
    }

    fn latent(latent: u32, top: Vec<Excerpt>) -> Latent {
        let mut intervals: [Vec<Excerpt>; INTERVALS] = Default::default();
        intervals[0] = top.iter().take(1).cloned().collect();
        Latent {
            latent,
            count: 1,
            strongest: 1.0,
            histogram: [0; BINS],
            promoted: vec![],
            suppressed: vec![],
            sharpness: 0.0,
            aligned: None,
            neighbours: vec![],
            contexts: top.iter().map(|excerpt| excerpt.context as u32).collect(),
            top,
            intervals,
        }
    }

    /// Explains by all that it is shown, and says 1 where a text has the word of the explanation.
    struct Reads;

    impl Chat for Reads {
        fn answer(&mut self, messages: &[Message], _: usize) -> Result<String> {
            let question = &messages[1].text;
            let texts: Vec<&str> = question.lines().filter(|line| line.starts_with("Text ")).collect();
            if texts.is_empty() {
                let shown: Vec<&str> = question.lines().filter(|line| line.contains("<<")).skip(1).collect();
                return Ok(format!("whale, of {}", shown.len()));
            }
            let marked = question.contains("<< whale>>");
            let word = if marked { "<< whale>>" } else { " whale" };
            let said: Vec<&str> = texts.iter().map(|text| if text.contains(word) { "1" } else { "0" }).collect();
            Ok(format!("[{}]", said.join(",")))
        }
    }

    #[test]
    fn explained_by_one_half_and_judged_by_the_other() {
        let texts = BTreeMap::from([(1, " whale".into()), (2, " ship".into()), (9, " the".into())]);
        let whale = latent(3, [0, 1, 2, 3, 4].map(|context| excerpt(context, 1)).into());
        let ship = latent(5, [2, 7].map(|context| excerpt(context, 2)).into());
        let browser = Browser { rows: 9, total: 9, living: 2, latents: vec![whale.clone(), ship], texts };
        let [ours, theirs] = halves(&whale);
        let contexts = |of: &Latent| of.top.iter().map(|excerpt| excerpt.context).collect::<Vec<_>>();
        assert_eq!((contexts(&ours), contexts(&theirs)), (vec![0, 2, 4], vec![1, 3]));
        // The texts are alike here, so each half is one.
        let found = interpret(&mut Reads, &browser, &whale, 1).unwrap().unwrap();
        let right = Score { balanced: 1.0, precision: 1.0, recall: 1.0, f1: 1.0, answered: 1.0 };
        let want = Interpreted {
            latent: 3,
            explanation: "whale, of 1".into(),
            texts: [1, 1, 1],
            detection: right,
            fuzzing: right,
        };
        assert_eq!(found, want);
        let alone = latent(3, vec![excerpt(0, 1)]);
        assert_eq!(interpret(&mut Reads, &browser, &alone, 1).unwrap(), None);
        let alone = Browser { latents: vec![whale.clone()], ..browser };
        assert_eq!(interpret(&mut Reads, &alone, &whale, 1).unwrap(), None);
    }
}
