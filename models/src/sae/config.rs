use crate::io::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which latents are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The `k` strongest positive ones of every row.
    TopK,
    /// While training, the `k · rows` strongest positive ones of the batch, however many fall on one row; afterwards
    /// all above a threshold, the running mean of the weakest that was kept.
    BatchTopK,
}

/// What the decoder's bias starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Center {
    /// The mean of the sample.
    Mean,
    /// The point with the least sum of distances to the sample, which outliers do not move.
    Median,
}

/// The auxiliary loss that revives dead latents: they reconstruct what the living ones left over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revive {
    /// Its weight beside the main loss.
    pub weight: f32,
    /// Dead latents used per row, at most.
    pub k: usize,
    /// Tokens without firing after which a latent counts as dead.
    pub after: u32,
}

/// Everything that decides a training run: equal configurations and equal data give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Width of the activations.
    pub d: usize,
    /// Number of latents.
    pub latents: usize,
    /// Latents kept per row (TopK), or per row on average (BatchTopK).
    pub k: usize,
    /// Which latents are kept.
    pub variant: Variant,
    /// Rows per step.
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Steps over which the rate rises from 0.
    pub warm: usize,
    /// Steps at the end over which it falls to 0.
    pub decay: usize,
    /// AdamW's decay of the mean of gradients.
    pub beta1: f32,
    /// AdamW's decay of the mean of squared gradients.
    pub beta2: f32,
    /// AdamW's guard against division by zero.
    pub eps: f32,
    /// Largest length of the whole gradient; longer ones are shortened to it. `None` spares a pass over the gradient
    /// and, on a GPU, a wait per step: AdamW undoes a common factor anyway.
    pub clip: Option<f32>,
    /// The loss for dead latents, or none.
    pub revive: Option<Revive>,
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
            variant: Variant::TopK,
            batch: 1024,
            steps,
            rate: rate(latents),
            warm: steps / 20,
            decay: steps / 5,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip: None,
            revive: Some(Revive { weight: 1.0 / 32.0, k: (d / 2).max(1), after: 200_000 }),
            center: Center::Mean,
            fired: 0.0,
            seed: 0,
            data: String::new(),
        }
    }

    /// The learning rate of step `step`, counted from 0: a line up, a plateau, a line down that ends above 0.
    pub fn rate_at(&self, step: usize) -> f32 {
        let part = |done: usize, whole: usize| if done >= whole { 1.0 } else { done as f32 / whole as f32 };
        let rise = part(step + 1, self.warm);
        let fall = part(self.steps.saturating_sub(step), self.decay);
        self.rate * rise.min(fall)
    }

    /// # Errors
    /// [`Error::Setting`] naming the first setting that has no meaning.
    pub fn check(&self) -> Result<()> {
        let wrong = |name, wanted: &str| Err(Error::setting(name, wanted));
        match self {
            Config { d: 0, .. } => wrong("d", "the width must not be 0"),
            Config { latents: 0, .. } => wrong("latents", "there must be at least one latent"),
            Config { k: 0, .. } => wrong("k", "at least one latent must be kept"),
            Config { batch: 0, .. } => wrong("batch", "a step needs at least one row"),
            Config { k, latents, .. } if k > latents => {
                Err(Error::setting("k", format!("{k} is more than the {latents} latents")))
            }
            Config { latents, .. } if *latents >= u32::MAX as usize => {
                Err(Error::setting("latents", format!("{latents} are more than can be numbered")))
            }
            Config { beta1, beta2, eps, .. }
                if !(0.0..1.0).contains(beta1) || !(0.0..1.0).contains(beta2) || eps.is_nan() || *eps < 0.0 =>
            {
                wrong("beta1, beta2, eps", "the first two must be from 0 to below 1, and eps at least 0")
            }
            Config { revive: Some(Revive { weight, .. }), .. } if !weight.is_finite() => {
                wrong("revive.weight", "must be a number")
            }
            Config { rate, .. } if !(rate.is_finite() && *rate >= 0.0) => {
                wrong("rate", "must be a number of at least 0")
            }
            Config { clip: Some(clip), .. } if clip.is_nan() || *clip <= 0.0 => wrong("clip", "must be above 0"),
            Config { revive: Some(Revive { k: 0, .. }), .. } => wrong("revive.k", "at least one latent must be used"),
            Config { fired, .. } if !fired.is_finite() => wrong("fired", "must be a number"),
            Config { d, k, batch, latents, revive, .. } => {
                let widest = revive.map_or(0, |revive| revive.k.min(*latents)).max(*d).max(*k);
                match batch.checked_mul(widest) {
                    Some(slots) if slots <= u32::MAX as usize => Ok(()),
                    _ => Err(Error::setting("batch", format!("{batch} rows of {widest} numbers are more than 2^32"))),
                }
            }
        }
    }
}

/// The learning rate that suits a number of latents.
pub fn rate(latents: usize) -> f32 {
    2e-4 / (latents as f32 / 16_384.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule() {
        let config = Config { rate: 1.0, warm: 4, decay: 5, ..Config::new(8, 16, 2, 20) };
        assert_eq!([0, 1, 3, 10, 15].map(|step| config.rate_at(step)), [0.25, 0.5, 1.0, 1.0, 1.0]);
        assert!(config.rate_at(16) < 1.0 && config.rate_at(19) > 0.0);
        assert_eq!(rate(16_384), 2e-4);
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
        assert_eq!(name(Config { batch: usize::MAX, ..good }), "batch");
    }
}
