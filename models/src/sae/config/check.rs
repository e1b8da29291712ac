//! Settings that contradict themselves.
use super::{Config, Cosine, Decoder, Falling, Multi, Normalise, Nudge, Revive, Rule};
use crate::io::{Error, Result};
use crate::sae::{Switch, Variant};

/// The highest rate that any rule of steps has a use for.
const HIGHEST: f32 = 10.0;

impl Config {
    /// # Errors
    /// [`Error::Setting`] naming the first setting that has no meaning.
    pub fn check(&self) -> Result<()> {
        let wrong = |name, wanted: &str| Err(Error::setting(name, wanted));
        match self {
            Config { sides: 0, .. } => wrong("sides", "must be at least 1"),
            Config { d: 0, .. } => wrong("d", "the width must not be 0"),
            Config { latents: 0, .. } => wrong("latents", "there must be at least one latent"),
            Config { k: 0, .. } => wrong("k", "at least one latent must be kept"),
            Config { batch: 0, .. } => wrong("batch", "a step needs at least one row"),
            Config { steps: 0, .. } => wrong("steps", "there must be at least one"),
            Config { k, latents, .. } if k > latents => {
                Err(Error::setting("k", format!("{k} is more than the {latents} latents")))
            }
            Config { latents, .. } if *latents >= u32::MAX as usize => {
                Err(Error::setting("latents", format!("{latents} are more than can be numbered")))
            }
            Config { beta1, beta2, eps, .. }
                if !(0.0..1.0).contains(beta1) || !(0.0..1.0).contains(beta2) || !eps.is_finite() || *eps < 0.0 =>
            {
                wrong("beta1, beta2, eps", "the first two must be from 0 to below 1, and eps at least 0")
            }
            Config { revive: Some(Revive { weight, .. }), .. } if !(weight.is_finite() && *weight >= 0.0) => {
                wrong("revive.weight", "must be a number of at least 0")
            }
            Config { rate, .. } if !(0.0..=HIGHEST).contains(rate) => {
                Err(Error::setting("rate", format!("is {rate}, expected a number from 0 to {HIGHEST}")))
            }
            Config { clip: Some(clip), .. } if !(clip.is_finite() && *clip > 0.0) => {
                wrong("clip", "must be a number above 0")
            }
            Config { revive: Some(Revive { after: 0, .. }), .. } => {
                wrong("revive.after", "must be at least 1: else all latents are always dead")
            }
            Config { revive: Some(Revive { k: 0, .. }), .. } => wrong("revive.k", "at least one latent must be used"),
            Config { fired, .. } if !fired.is_finite() => wrong("fired", "must be a number"),
            _ => self.check_parts(),
        }
    }

    /// What belongs to some variants only, and what hangs together.
    fn check_parts(&self) -> Result<()> {
        let wrong = |name, wanted: String| Err(Error::setting(name, wanted));
        self.variant.check()?;
        match self {
            Config { fraction, variant, k, latents, .. }
                if !(0.0..1.0).contains(fraction)
                    || (*fraction > 0.0 && (*variant != Variant::BatchTopK || k == latents)) =>
            {
                wrong("fraction", "must be from 0 to below 1, and 0 but for batchtopk of fewer than all latents".into())
            }
            Config { threshold_decay, .. } if !(0.0..1.0).contains(threshold_decay) => {
                wrong("threshold_decay", format!("is {threshold_decay}, expected at least 0 and less than 1"))
            }
            Config { budgets, variant, k, falling, .. }
                if !budgets.is_empty()
                    && (*variant != Variant::TopK
                        || falling.is_some()
                        || budgets[0] == 0
                        || !budgets.is_sorted_by(|a, b| a < b)
                        || budgets.last() >= Some(k)) =>
            {
                wrong(
                    "budgets",
                    format!("{budgets:?} do not rise from above 0 to below {k}, of topk with the same k always"),
                )
            }
            Config { ranked_by_length: true, variant, decoder, multi, budgets, .. }
                if !matches!(variant, Variant::TopK | Variant::BatchTopK)
                    || *decoder != Decoder::Free
                    || multi.is_some()
                    || !budgets.is_empty() =>
            {
                wrong(
                    "ranked_by_length",
                    "is for topk and batchtopk with a free decoder, and no other reconstructions".into(),
                )
            }
            Config { variant: Variant::GroupMax, k, latents, .. } if latents % k != 0 => {
                wrong("k", format!("{k} groups do not divide {latents} latents"))
            }
            Config { variant: Variant::Switch(Switch { experts, .. }), k, latents, .. }
                if latents % experts != 0 || *k > latents / experts =>
            {
                wrong(
                    "variant.experts",
                    format!("{experts} for {latents} latents, of which {k} of one expert are kept"),
                )
            }
            Config { variant: Variant::Switch(_), revive: Some(_), .. } => {
                wrong("revive", "is not for switch: rows belong to experts".into())
            }
            Config { variant: Variant::Switch(_), prefixes, .. } if !prefixes.is_empty() => {
                wrong("prefixes", "are not for switch: experts are blocks of latents".into())
            }
            Config { falling: Some(Falling { from, .. }), k, latents, .. } if from < k || from > latents => {
                wrong("falling.from", format!("is {from}, expected from {k}, which it falls to, to {latents}"))
            }
            Config { falling: Some(_), variant, .. } if !matches!(variant, Variant::TopK | Variant::BatchTopK) => {
                wrong("falling", "is for topk and batchtopk".into())
            }
            Config { multi: Some(_), variant, .. } if *variant != Variant::TopK => wrong("multi", "is for topk".into()),
            Config { multi: Some(Multi { times, weight }), k, latents, .. }
                if *times < 2
                    || !(weight.is_finite() && *weight >= 0.0)
                    || k.checked_mul(*times).is_none_or(|all| all > *latents) =>
            {
                wrong(
                    "multi",
                    format!("{times} times {k} of {latents} latents, expected at least twice and no more than all"),
                )
            }
            Config { variant: Variant::Gated(_), prefixes, .. } if !prefixes.is_empty() => {
                wrong("prefixes", "are not for gated: what reconstructs from the gate has none".into())
            }
            Config { nudge: Some(_), variant, .. } if !matches!(variant, Variant::JumpReLU(_)) => {
                wrong("nudge", "is for jumprelu".into())
            }
            Config { nudge: Some(Nudge { weight, after }), batch, .. }
                if !(weight.is_finite() && *weight >= 0.0) || (*after as usize) < *batch =>
            {
                wrong(
                    "nudge",
                    format!("weight must be a number of at least 0 and after at least {batch}, the rows of a step"),
                )
            }
            _ => self.check_sizes(),
        }
    }

    /// What must divide, rise or fit.
    fn check_sizes(&self) -> Result<()> {
        let wrong = |name, wanted: String| Err(Error::setting(name, wanted));
        match self {
            Config { transcode: Some(_), centred: true, .. } => {
                wrong("centred", "must be false of a transcoder: b_dec is of the rows that are predicted".into())
            }
            Config { transcode: Some(_), decoder: Decoder::Unit, .. } => {
                wrong("decoder", "must be free of a transcoder: it begins with zeros, which have no length".into())
            }
            Config { normalise: Normalise::Standard, d: 1, .. } => {
                wrong("normalise", "a row of one number has no deviation".into())
            }
            Config { parts, batch, .. } if *parts == 0 || batch % parts != 0 => {
                wrong("parts", format!("{parts} do not divide the {batch} rows of a step"))
            }
            Config { transcode: Some(_), normalise: Normalise::Standard | Normalise::Length, .. } => {
                wrong("normalise", "a transcoder's rows are normalised by one factor only: mean".into())
            }
            Config { average: Some(decay), .. } if !(0.0..1.0).contains(decay) => {
                wrong("average", format!("decays by {decay}, expected at least 0 and less than 1"))
            }
            Config { rule: Rule::Signum { beta } | Rule::Muon { beta }, .. } if !(0.0..1.0).contains(beta) => {
                wrong("rule.beta", format!("is {beta}, expected at least 0 and less than 1"))
            }
            Config { cosine: Some(Cosine { cycles, lowest }), .. } if *cycles == 0 || !(0.0..=1.0).contains(lowest) => {
                wrong("cosine", format!("{cycles} cycles down to {lowest}, expected at least one, down to 0 to 1"))
            }
            Config { bias, .. } if !bias.is_finite() => wrong("bias", "must be a number".into()),
            Config { transcode: Some(_), sides, .. } if *sides > 1 => {
                wrong("sides", "must be 1 of a transcoder".into())
            }
            Config { sides, d, .. } if d % sides != 0 => {
                wrong("sides", format!("{sides} do not divide rows of width {d}"))
            }
            Config { prefixes, latents, .. }
                if prefixes.first() == Some(&0)
                    || !prefixes.is_sorted_by(|a, b| a < b)
                    || prefixes.last().is_some_and(|last| last != latents) =>
            {
                wrong("prefixes", format!("{prefixes:?} do not rise from above 0 to {latents}, all latents"))
            }
            Config { prefixes, prefix_weights, .. }
                if !prefix_weights.is_empty()
                    && (prefix_weights.len() != prefixes.len()
                        || !prefix_weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
                        || prefix_weights.iter().all(|weight| *weight == 0.0)) =>
            {
                wrong(
                    "prefix_weights",
                    format!(
                        "expected {} numbers of at least 0, one for each prefix, not all of them 0",
                        prefixes.len()
                    ),
                )
            }
            Config { d, k, batch, latents, revive, .. } => {
                let most = self.falling.map_or(0, |falling| falling.from).max(*k);
                let widest = revive.map_or(0, |revive| revive.k.min(*latents)).max(*d).max(most);
                match batch.checked_mul(widest) {
                    Some(slots) if slots <= u32::MAX as usize => Ok(()),
                    _ => Err(Error::setting("batch", format!("{batch} rows of {widest} numbers are more than 2^32"))),
                }
            }
        }
    }
}
