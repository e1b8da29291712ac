//! What a prompt's latents do for its answer.
use crate::IGNORED;
use crate::io::{Error, Result};
use crate::sae::Contexts;
use serde::{Deserialize, Serialize};

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Tokens given.
    pub prompt: Vec<u32>,
    /// Tokens that are to follow, of which the influence is asked.
    pub answer: Vec<u32>,
}

/// A latent that is active on some token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Influential {
    /// Which.
    pub latent: u32,
    /// The mean over tokens of `max(∂p/∂h · h, 0)`.
    pub gradient: f64,
    /// The sum over tokens of `∂p/∂h · h`: to the first order what `p` loses without the latent.
    pub whole: f64,
    /// The mean over tokens of `h`.
    pub activation: f64,
}

/// Which score ranks latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// [`Influential::gradient`].
    Gradient,
    /// [`Influential::activation`], the baseline.
    Activation,
}

/// All latents that a prompt makes active.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// By number.
    pub latents: Vec<Influential>,
    /// How many are active at the last token given.
    pub at_last: usize,
    /// The probability of the answer.
    pub probability: f64,
}

impl Influence {
    /// The `k` latents of the largest scores above 0, largest first; of equal ones, the first.
    pub fn top(&self, k: usize, by: By) -> Vec<u32> {
        let mut order = self.positive(by);
        order.reverse();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        order.into_iter().take(k).map(|(latent, _)| latent).collect()
    }

    /// The `k` latents of the smallest scores above 0, smallest first.
    pub fn bottom(&self, k: usize, by: By) -> Vec<u32> {
        self.positive(by).into_iter().take(k).map(|(latent, _)| latent).collect()
    }

    fn positive(&self, by: By) -> Vec<(u32, f64)> {
        let score = |of: &Influential| if by == By::Gradient { of.gradient } else { of.activation };
        let mut order: Vec<(u32, f64)> = self.latents.iter().map(|of| (of.latent, score(of))).collect();
        order.retain(|(_, score)| *score > 0.0);
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        order
    }

    /// Half of those that are active at the last token: the largest set of the paper.
    pub fn half(&self) -> usize {
        self.at_last / 2
    }
}

impl Asked {
    /// Refuse what has no influence to ask for. `at` is its number.
    pub(super) fn check(&self, at: usize) -> Result<()> {
        match self.prompt.len() > Contexts::SKIPPED && !self.answer.is_empty() {
            true => Ok(()),
            false => {
                let (given, follow) = (self.prompt.len(), self.answer.len());
                let least = Contexts::SKIPPED + 1;
                let what = format!(
                    "number {at} has {given} tokens given and {follow} to follow, expected {least} and 1 or more"
                );
                Err(Error::setting("asked", what))
            }
        }
    }

    /// Tokens that the model is shown: all but the last of the answer.
    pub(super) fn shown(&self) -> impl Iterator<Item = u32> + '_ {
        self.prompt.iter().chain(&self.answer[..self.answer.len() - 1]).copied()
    }

    pub(super) fn rows(&self) -> usize {
        self.prompt.len() + self.answer.len() - 1
    }

    /// What is to follow each token that is shown.
    pub(super) fn targets(&self) -> Vec<u32> {
        let mut all = vec![IGNORED; self.prompt.len() - 1];
        all.extend(&self.answer);
        all
    }
}
