mod check;
mod json;
mod parts;

use super::Variant;
use crate::AdamW;
pub use parts::{Center, Cosine, Decoder, Falling, Multi, Normalise, Nudge, Over, Revive, Rule, Transcode, Units};
use serde::{Deserialize, Serialize};

/// Everything that decides a training run: equal configurations and equal data give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Width of the activations.
    pub d: usize,
    /// Number of latents.
    pub latents: usize,
    /// Latents kept per row (TopK), or per row on average (BatchTopK).
    pub k: usize,
    /// What of a latent more is kept per row on average, from 0 to below 1: BatchTopK only.
    pub fraction: f32,
    /// What BatchTopK's threshold keeps of itself at each sixteenth step; the rest is the weakest that was kept in that batch.
    pub threshold_decay: f32,
    /// Which latents are active.
    pub variant: Variant,
    /// A `k` that falls.
    pub falling: Option<Falling>,
    /// Whether the encoder reads `x - b_dec`, or `x`.
    pub centred: bool,
    /// What the rows of the decoder are.
    pub decoder: Decoder,
    /// What penalties and thresholds are measured in.
    pub units: Units,
    /// What the encoder's bias starts from, in the same. Below 0, fewer latents are active at first where a penalty makes them few: half of
    /// them are by 0, which costs time.
    pub bias: f32,
    /// Whether it starts from `-W_enc` times the mean of what is read, beside that: values have mean 0 then, as they have where the encoder
    /// is [centred](Self::centred) (sparsify's transcoders).
    pub centred_start: bool,
    /// Matryoshka: rising numbers of latents, the last all of them, of which each beginning has to reconstruct the rows. The loss is the mean
    /// of theirs. None for one reconstruction.
    pub prefixes: Vec<usize>,
    /// Weights of the prefixes. None for one over their number each, which makes a mean; SAELens has 1, dictionary_learning one over the
    /// square of their number.
    pub prefix_weights: Vec<f32>,
    /// A second reconstruction: TopK only.
    pub multi: Option<Multi>,
    /// Reconstructions from fewer of the strongest latents, each of which counts as much as that from `k`: rising numbers below `k`, TopK
    /// only (Balagansky et al., *Train one sparse autoencoder across multiple sparsity budgets*, 2025).
    pub budgets: Vec<usize>,
    /// Whether latents are compared by their values times the lengths of their rows of the decoder, of any length: TopK and BatchTopK
    /// only. The autoencoder that comes out has rows of length 1, and compares as any does (SAELens' `rescale_acts_by_decoder_norm`).
    pub ranked_by_length: bool,
    /// Crosscoder: activations of so many layers or models lie side by side in a row. A row of the decoder is as long, for penalties, as its
    /// parts are together. 1 for one.
    pub sides: usize,
    /// Transcoder: rows are predicted from others of the same width, as those behind an MLP from those before it.
    pub transcode: Option<Transcode>,
    /// Rows per step.
    pub batch: usize,
    /// In how many parts the rows of a step are taken, one after another, before weights move: memory for a step is that of one part.
    /// BatchTopK's strongest are those of a part. They divide the rows.
    pub parts: usize,
    /// What is done to rows first.
    pub normalise: Normalise,
    /// Steps of the whole run.
    pub steps: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Steps over which the rate rises from 0.
    pub warm: usize,
    /// Steps at the end over which it falls to 0.
    pub decay: usize,
    /// A rate that falls in between.
    pub cosine: Option<Cosine>,
    /// What makes a step of a gradient.
    pub rule: Rule,
    /// AdamW's decay of the mean of gradients.
    pub beta1: f32,
    /// AdamW's decay of the mean of squared gradients.
    pub beta2: f32,
    /// AdamW's guard against division by zero.
    pub eps: f32,
    /// Largest length of the whole gradient; longer ones are shortened to it. `None` spares a pass over the gradient
    /// and, on a GPU, a wait per step: AdamW undoes a common factor anyway.
    pub clip: Option<f32>,
    /// The autoencoder that comes out has the running mean of all weights of the run, with this decay: of the first steps, the mean
    /// itself, as long as that decays faster (OpenAI has 0.999). None for the weights of the last step.
    pub average: Option<f32>,
    /// The loss for dead latents, or none.
    pub revive: Option<Revive>,
    /// What draws dead latents to their thresholds: JumpReLU only.
    pub nudge: Option<Nudge>,
    /// What the decoder's bias starts from.
    pub center: Center,
    /// A latent fires when its value is above this.
    pub fired: f32,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// What the rows are: a saved state is continued on the same only. Words are not enough where files change under
    /// their names: see [`Contexts::sha256`](super::Contexts::sha256).
    pub data: String,
}

impl Config {
    /// The settings that fit `latents` latents of width `d`: a rate of 2e-4 / √(latents / 2¹⁴), warmed up over a
    /// twentieth of the steps and let down over the last fifth.
    pub fn new(d: usize, latents: usize, k: usize, steps: usize) -> Self {
        Self {
            d,
            latents,
            k,
            fraction: 0.0,
            threshold_decay: 0.9,
            variant: Variant::TopK,
            falling: None,
            centred: true,
            decoder: Decoder::Unit,
            units: Units::Deviation,
            bias: 0.0,
            centred_start: false,
            prefixes: Vec::new(),
            prefix_weights: Vec::new(),
            multi: None,
            budgets: Vec::new(),
            ranked_by_length: false,
            sides: 1,
            transcode: None,
            batch: 1024,
            parts: 1,
            normalise: Normalise::None,
            steps,
            rate: rate(latents),
            warm: steps / 20,
            decay: steps / 5,
            cosine: None,
            rule: Rule::AdamW,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip: None,
            average: None,
            revive: Some(Revive::new(1.0 / 32.0, (d / 2).max(1), 200_000)),
            nudge: None,
            center: Center::Mean,
            fired: 0.0,
            seed: 0,
            data: String::new(),
        }
    }

    /// The learning rate of step `step`, counted from 0: a line up, a plateau or [cosines](Cosine), a line down that ends above 0.
    pub fn rate_at(&self, step: usize) -> f32 {
        let part = |done: usize, whole: usize| if done >= whole { 1.0 } else { done as f32 / whole as f32 };
        let rise = part(step + 1, self.warm);
        let fall = part(self.steps.saturating_sub(step), self.decay);
        let middle = self.steps.saturating_sub(self.warm.saturating_add(self.decay));
        let bent = self.cosine.map_or(1.0, |cosine| cosine.at(step.saturating_sub(self.warm), middle));
        self.rate * rise.min(fall) * bent
    }

    /// How many latents are kept per row at step `step`, counted from 0.
    pub fn k_at(&self, step: usize) -> usize {
        match self.falling {
            Some(Falling { from, steps }) if step < steps => from - (from - self.k) * step / steps,
            _ => self.k,
        }
    }

    /// AdamW's numbers at step `step`, counted from 0, of what lives on a scale.
    pub(super) fn adamw(&self, step: usize, scale: f32) -> AdamW {
        AdamW {
            lr: f64::from(self.rate_at(step)) * f64::from(scale),
            beta1: self.beta1.into(),
            beta2: self.beta2.into(),
            eps: self.eps.into(),
            weight_decay: 0.0,
            step: step as u64 + 1,
        }
    }

    /// Rows of a part of a step.
    pub(super) fn rows(&self) -> usize {
        self.batch / self.parts.max(1)
    }

    /// How many latents are kept in a whole part of a step, where `k` are per row.
    pub(super) fn total(&self, k: usize) -> usize {
        k * self.rows() + (f64::from(self.fraction) * self.rows() as f64) as usize
    }
}

/// The learning rate that suits a number of latents, by AdamW.
pub fn rate(latents: usize) -> f32 {
    Rule::AdamW.rate(latents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Error;

    #[test]
    fn schedule() {
        let config = Config { rate: 1.0, warm: 4, decay: 5, ..Config::new(8, 16, 2, 20) };
        assert_eq!([0, 1, 3, 10, 15].map(|step| config.rate_at(step)), [0.25, 0.5, 1.0, 1.0, 1.0]);
        assert!(config.rate_at(16) < 1.0 && config.rate_at(19) > 0.0);
        assert_eq!(rate(16_384), 2e-4);
        // Two halves of a cosine over the ten steps between the lines, then what is left falls to 0.
        let cosine = Some(Cosine { cycles: 2, lowest: 0.1 });
        let config = Config { cosine, warm: 5, ..config };
        let at = |step: usize| config.rate_at(step);
        assert_eq!([at(4), at(5), at(10), at(15)], [1.0, 1.0, 1.0, 0.1]);
        assert!((at(7) - (0.1 + 0.45 * (1.0 + (0.4 * std::f32::consts::PI).cos()))).abs() < 1e-6 && at(9) < at(8));
        assert!(at(19) > 0.0 && (at(18) - 0.1 * 0.4).abs() < 1e-6);
    }

    #[test]
    fn wrong_settings_are_named() {
        let name = |config: Config| match config.check() {
            Err(Error::Setting { name, .. }) => name,
            _ => "",
        };
        let good = Config::new(8, 16, 2, 20);
        assert_eq!(name(good.clone()), "");
        assert_eq!(name(Config { k: 17, ..good.clone() }), "k");
        assert_eq!(name(Config { k: 0, ..good.clone() }), "k");
        assert_eq!(name(Config { latents: 0, ..good.clone() }), "latents");
        assert_eq!(name(Config { rate: f32::NAN, ..good.clone() }), "rate");
        assert_eq!(name(Config { fired: f32::NAN, ..good.clone() }), "fired");
        assert_eq!(name(Config { batch: 1 << 40, ..good.clone() }), "batch");
        assert_eq!(name(Config { parts: 3, ..good.clone() }), "parts");
        assert_eq!(name(Config { parts: 0, ..good.clone() }), "parts");
        assert_eq!(name(Config { average: Some(1.0), ..good.clone() }), "average");
        assert_eq!(name(Config { rule: Rule::Signum { beta: 1.0 }, ..good.clone() }), "rule.beta");
        assert_eq!(name(Config { cosine: Some(Cosine { cycles: 0, lowest: 0.1 }), ..good.clone() }), "cosine");
        assert_eq!(name(Config { cosine: Some(Cosine { cycles: 1, lowest: 1.1 }), ..good.clone() }), "cosine");
        assert_eq!(name(Config { batch: usize::MAX, ..good }), "batch");
    }
}
