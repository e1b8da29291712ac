//! Settings that have parts.
use crate::sae::Rows;
use serde::{Deserialize, Serialize};

/// What the decoder's bias starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Center {
    /// The mean of the sample.
    Mean,
    /// The point with the least sum of distances to the sample, which outliers do not move.
    Median,
    /// 0.
    Zero,
}

/// The auxiliary loss that revives dead latents: they reconstruct what the living ones left over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revive {
    /// Its weight beside the main loss.
    pub weight: f32,
    /// Dead latents used per row, at most.
    pub k: usize,
    /// Tokens without firing after which a latent counts as dead. [`Config::new`](super::Config::new) has 200 thousand, for short runs;
    /// OpenAI, sparsify and dictionary_learning have ten million.
    pub after: u32,
    /// What the loss is divided by.
    #[serde(default)]
    pub over: Over,
    /// Whether the loss counts less, by the number of dead latents over [`k`](Self::k), while there are fewer than that.
    #[serde(default = "yes")]
    pub share: bool,
}

/// What the loss of dead latents is divided by, beside what the main loss is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// What there is to explain: the FVU at the last look (OpenAI; dictionary_learning, of the batch itself).
    #[default]
    Left,
    /// Nothing more (sparsify, SAELens).
    Loss,
}

impl Revive {
    /// Over what is left, with the share of dead latents.
    pub fn new(weight: f32, k: usize, after: u32) -> Self {
        Self { weight, k, after, over: Over::Left, share: true }
    }
}

fn yes() -> bool {
    true
}

/// Rows of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Of length 1: what would make a row longer is taken from its gradient, and after each step it is divided by its length.
    Unit,
    /// Of any length, from 0.1 on.
    Free,
}

/// What values and thresholds are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// The deviation of an entry of the activations from its mean: training is the same for activations and for a multiple of them.
    Deviation,
    /// As they are: the penalty stands beside the sum of squared errors of a row.
    AsTheyAre,
}

/// A second reconstruction from more of the strongest latents, so that what comes next is worth something too (sparsify).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multi {
    /// From so many times `k` latents.
    pub times: usize,
    /// Its weight beside the main loss.
    pub weight: f32,
}

/// Dead latents are drawn towards their thresholds: `weight / d` times `threshold - z` for each row and dead latent, by the length of the
/// decoder's row (Anthropic's pre-activation loss). That length is taken as it is: the decoder has no gradient of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nudge {
    /// The factor.
    pub weight: f32,
    /// Tokens without firing after which a latent counts as dead, at least as many as a batch has.
    pub after: u32,
}

/// A transcoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcode {
    /// Whether what is read reaches what is predicted through a matrix as well, beside the latents (skip transcoder).
    pub skip: bool,
}

/// `k` falls to what it is to be, along a line (dictionary_learning, Llama Scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Falling {
    /// What it begins with.
    pub from: usize,
    /// Steps that it takes.
    pub steps: usize,
}

/// The rate falls along half a cosine, once or several times, between its rise at the beginning and its fall to 0 at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// How often; each time it begins at the highest rate again (warm restarts).
    pub cycles: usize,
    /// What it comes down to, of the highest rate.
    pub lowest: f32,
}

/// What makes a step of a gradient. Biases, thresholds and factors go by AdamW, but for [`Rule::Signum`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rule {
    /// AdamW without decay of weights, 8 bytes of a weight.
    #[default]
    AdamW,
    /// The same with means of 8 bits, 2 bytes of a weight: see [`adamw8_into`](crate::adamw8_into).
    AdamW8,
    /// The sign of the mean of gradients, 4 bytes of a weight: see [`signum_into`](crate::signum_into).
    Signum {
        /// Decay of the mean; 0 takes the sign of the gradient itself.
        beta: f32,
    },
    /// The mean of gradients with all its singular values made about 1 (Jordan et al., *Muon*, 2024), 4 bytes of a weight. A step is
    /// `0.2 sqrt(longest side)` rates long, as Moonshot's and sparsify's; sparsify also lets weights decay, which is not done here.
    Muon {
        /// Decay of the mean.
        beta: f32,
    },
}

/// What is done to rows before they are trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Nothing.
    #[default]
    None,
    /// One factor for all rows, which makes their mean length in the sample `sqrt(d)` (SAELens' `expected_average_only_in`). The
    /// autoencoder that comes out has it folded in, and reads rows as they are. Of rows that have [sides](super::Config::sides) each has its own, so
    /// that the place with the longest rows does not decide all.
    Mean,
    /// Each row's mean is taken away and its deviation made 1; the autoencoder does so by itself, see
    /// [`Rows::Standard`](crate::sae::Rows::Standard) (SAELens' `layer_norm`, OpenAI).
    Standard,
    /// Each row gets the length `sqrt(d)`; the autoencoder does so by itself, see [`Rows::Length`](crate::sae::Rows::Length) (SAELens'
    /// `constant_norm_rescale`).
    Length,
}

impl Rule {
    /// The highest rate that suits it and a number of latents: sparsify's.
    pub fn rate(self, latents: usize) -> f32 {
        let by = (latents as f32 / 16_384.0).sqrt();
        match self {
            Self::AdamW | Self::AdamW8 => 2e-4 / by,
            Self::Signum { .. } => 5e-3 / by,
            Self::Muon { .. } => 2e-3,
        }
    }
}

impl Cosine {
    /// What part of the highest rate is left after so many of so many steps.
    pub(super) fn at(&self, step: usize, steps: usize) -> f32 {
        let each = steps.div_ceil(self.cycles.max(1)).max(1);
        let part = if step >= steps { 1.0 } else { (step % each) as f64 / each as f64 };
        let half = 0.5 * (1.0 + (std::f64::consts::PI * part).cos()) as f32;
        self.lowest + (1.0 - self.lowest) * half
    }
}

impl Normalise {
    /// Whether the autoencoder does something to rows by itself.
    pub fn scales_rows(self) -> bool {
        self.rows() != Rows::AsTheyAre
    }

    /// What the autoencoder does to rows by itself.
    pub(in crate::sae) fn rows(self) -> Rows {
        match self {
            Self::None | Self::Mean => Rows::AsTheyAre,
            Self::Standard => Rows::Standard,
            Self::Length => Rows::Length,
        }
    }
}
