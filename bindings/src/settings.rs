use crate::device::give;
use crate::{Failure, LatensStatus, guard};
use latens::sae::{Center, Config, Revive, Variant};
use latens_core::Error;
use std::mem::size_of;

/// Settings of a training run. `latens_sae_defaults` fills them in; change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensSaeSettings {
    /// Bytes of this struct as the program was compiled: later versions add fields at the end.
    pub size: usize,
    /// Width of the activations.
    pub dim: usize,
    /// Number of latents.
    pub latents: usize,
    /// Latents kept per row, or with BatchTopK per row on average.
    pub k: usize,
    /// A LatensSaeVariant.
    pub variant: i32,
    /// What the decoder's bias starts from: 0 the mean of the sample, 1 its geometric median.
    pub center: i32,
    /// Rows per step.
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Largest length of the whole gradient; 0 for no limit.
    pub clip: f32,
    /// Steps over which the rate rises from 0.
    pub warm: usize,
    /// Steps at the end over which it falls to 0.
    pub decay: usize,
    /// Weight of the loss that revives dead latents; 0 for none.
    pub revive_weight: f32,
    /// Tokens without firing after which a latent counts as dead.
    pub revive_after: u32,
    /// Dead latents used per row, at most.
    pub revive_k: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// Which latents are kept.
#[repr(C)]
pub enum LatensSaeVariant {
    /// The k strongest positive ones of every row.
    Topk = 0,
    /// The k * batch strongest positive ones of the batch; afterwards all above a threshold.
    BatchTopk = 1,
}

impl LatensSaeSettings {
    fn of(config: &Config) -> Self {
        let revive = config.revive.unwrap_or(Revive::new(0.0, 1, u32::MAX));
        Self {
            size: size_of::<Self>(),
            dim: config.d,
            latents: config.latents,
            k: config.k,
            variant: i32::from(config.variant == Variant::BatchTopK),
            center: i32::from(config.center == Center::Median),
            batch: config.batch,
            steps: config.steps,
            rate: config.rate,
            clip: config.clip.unwrap_or(0.0),
            warm: config.warm,
            decay: config.decay,
            revive_weight: revive.weight,
            revive_after: revive.after,
            revive_k: revive.k,
            seed: config.seed,
        }
    }

    pub(crate) fn config(&self, op: &'static str) -> Result<Config, Failure> {
        let variant = match self.variant {
            0 => Variant::TopK,
            1 => Variant::BatchTopK,
            _ => return Err(Error::Value { op, arg: "settings.variant", want: "a LatensSaeVariant" }.into()),
        };
        let center = match self.center {
            0 => Center::Mean,
            1 => Center::Median,
            _ => return Err(Error::Value { op, arg: "settings.center", want: "0 or 1" }.into()),
        };
        let revive = Revive::new(self.revive_weight, self.revive_k, self.revive_after);
        let mut config = Config::new(self.dim, self.latents, self.k, self.steps);
        (config.variant, config.center, config.batch, config.rate) = (variant, center, self.batch, self.rate);
        (config.warm, config.decay, config.seed) = (self.warm, self.decay, self.seed);
        config.clip = (self.clip != 0.0).then_some(self.clip);
        config.revive = (self.revive_weight != 0.0).then_some(revive);
        Ok(config)
    }
}

/// Settings that fit `latents` latents of width `dim`, of which `k` are kept, and a run of `steps`.
///
/// # Safety
/// `settings` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_defaults(
    dim: usize,
    latents: usize,
    k: usize,
    steps: usize,
    settings: *mut LatensSaeSettings,
) -> LatensStatus {
    let made = || Ok(LatensSaeSettings::of(&Config::new(dim, latents, k, steps)));
    // SAFETY: the caller's promise.
    guard(|| unsafe { give(settings, "sae_defaults", "settings", made) })
}
