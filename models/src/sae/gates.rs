//! What JumpReLU and Gated learn beside weights and biases, and how it stands between encoder and decoder.
use super::moments::Moments;
use super::train::Facts;
use super::variant::{Anneal, Cost, Gated, Jump, Sparsity, Switch};
use super::{Config, Own, Sae, Variant};
use crate::io::Result;
use crate::{Device, Penalty, Push, SaeGate, Tensor};

/// What is learned.
pub(super) enum Learned {
    /// Nothing.
    None,
    /// Thresholds, or their logarithms.
    Thresholds { of: Tensor<f32, 1>, moments: Moments<1> },
    /// A router, which the autoencoder holds.
    Router { w: Moments<2>, b: Moments<1> },
    /// Factors and biases, which the autoencoder holds.
    Magnitudes { factors: Moments<1>, biases: Moments<1> },
}

impl Learned {
    /// What a run begins with.
    pub fn new(config: &Config, unit: f32, device: &Device) -> Result<Self> {
        let (n, rule) = (config.latents, config.rule);
        let moments = || Moments::new(rule, [n], device);
        Ok(match config.variant {
            Variant::JumpReLU(Jump { start, log, .. }) => {
                let start = start * unit;
                let of = Tensor::from_vec(vec![if log { start.ln() } else { start }; n], [n], device)?;
                Self::Thresholds { of, moments: moments()? }
            }
            Variant::Switch(Switch { experts, .. }) => {
                let w = Moments::new(rule, [experts, config.d], device)?;
                Self::Router { w, b: Moments::new(rule, [config.d], device)? }
            }
            Variant::Gated(_) => Self::Magnitudes { factors: moments()?, biases: moments()? },
            _ => Self::None,
        })
    }

    /// What the autoencoder begins with.
    pub fn own(config: &Config, unit: f32, device: &Device) -> Result<Option<Own>> {
        let n = config.latents;
        Ok(match config.variant {
            Variant::JumpReLU(Jump { start, .. }) => {
                Some(Own::Thresholds(Tensor::from_vec(vec![start * unit; n], [n], device)?))
            }
            Variant::Gated(_) => {
                Some(Own::Magnitudes { r_mag: Tensor::zeros([n], device)?, b_mag: Tensor::zeros([n], device)? })
            }
            _ => None,
        })
    }

    /// Thresholds as they are, of what is learned of them.
    pub fn renew(&self, config: &Config, sae: &mut Sae) -> Result<()> {
        if let (Self::Thresholds { of, .. }, Some(Own::Thresholds(to))) = (self, &mut sae.own) {
            let log = matches!(config.variant, Variant::JumpReLU(Jump { log: true, .. }));
            let of = of.to_vec()?;
            to.write(&if log { of.into_iter().map(f32::exp).collect() } else { of })?;
        }
        Ok(())
    }
}

/// What stands between encoder and decoder in this step. Where a part is missing it does nothing.
pub(super) struct Between {
    pub scale: Option<Tensor<f32, 1>>,
    pub shift: Option<Tensor<f32, 1>>,
    /// What a value weighs in the penalty: lengths of rows, in units.
    pub weight: Option<Tensor<f32, 1>>,
    pub floor: f32,
    /// What goes to the gradient of what the decoder is given.
    pub push: Push,
}

impl Between {
    /// Of an autoencoder as it stands.
    pub fn new(config: &Config, sae: &Sae, unit: f32, lengths: Option<&[f32]>) -> Result<Option<Self>> {
        if config.variant.counts() {
            return Ok(None);
        }
        let (n, device) = (sae.latents(), sae.device());
        let weight = match lengths {
            Some(lengths) => lengths.iter().map(|length| length / unit).collect(),
            None => vec![1.0 / unit; n],
        };
        let tensor = |of: Vec<f32>| Tensor::from_vec(of, [n], &device);
        let mut between =
            Self { scale: None, shift: None, weight: Some(tensor(weight)?), floor: 0.0, push: Push::default() };
        match (&config.variant, &sae.own) {
            (Variant::JumpReLU(jump), Some(Own::Thresholds(thresholds))) => {
                between.floor = 0.5 * jump.width * unit;
                let below = thresholds.to_vec()?.into_iter().map(|threshold| threshold - between.floor);
                between.shift = Some(tensor(below.collect())?);
            }
            (_, Some(Own::Magnitudes { r_mag, b_mag })) => {
                let scale: Vec<f32> = r_mag.to_vec()?.into_iter().map(f32::exp).collect();
                let parts = scale.iter().zip(sae.b_enc.to_vec()?).zip(b_mag.to_vec()?);
                between.shift = Some(tensor(parts.map(|((scale, gate), own)| own - scale * gate).collect())?);
                between.scale = Some(tensor(scale)?);
            }
            _ => {}
        }
        Ok(Some(between))
    }

    /// As the operations want it.
    pub fn gate(&self) -> SaeGate<'_, f32> {
        let [scale, shift, weight] = [&self.scale, &self.shift, &self.weight].map(|of| of.as_ref().map(Tensor::view));
        SaeGate { scale, shift, weight, floor: self.floor }
    }

    /// The rectifier, with the same weights.
    pub fn rectifier(&self) -> SaeGate<'_, f32> {
        SaeGate { weight: self.weight.as_ref().map(Tensor::view), ..SaeGate::default() }
    }
}

/// The penalty of a step: how strong it is, and the power, where that changes.
pub(super) fn push(config: &Config, facts: &Facts, active: f32) -> Push {
    let Some(sparsity) = config.variant.sparsity() else { return Push::default() };
    let warm = if facts.step >= sparsity.warm { 1.0 } else { facts.step as f32 / sparsity.warm as f32 };
    let by = warm * sparsity.weight / (config.rows() as f32 * config.d as f32);
    match sparsity.cost {
        Cost::Count => Push { step: by, ..Push::default() },
        Cost::Target(target) => Push { step: by * 2.0 * (active / target - 1.0) / target, ..Push::default() },
        Cost::Power(from) => match sparsity.anneal {
            Some(anneal) => {
                let p = power(config, anneal, from, facts.step);
                Push { by: by * facts.kept, penalty: Penalty::Power(p), step: 0.0 }
            }
            None => Push { by, penalty: Penalty::Power(from), step: 0.0 },
        },
        Cost::Tanh(c) => Push { by, penalty: Penalty::Tanh(c), step: 0.0 },
    }
}

fn power(config: &Config, anneal: Anneal, from: f32, step: usize) -> f32 {
    anneal.power(from, anneal.turn(step, config.steps))
}

/// What a change of the power multiplies the penalty by, so that it goes on as it was: known from sums of powers of what it is on, in
/// the ten steps before the change.
pub(super) fn carry_on(config: &Config, facts: &mut Facts, penalised: &[f32]) {
    const STEPS: usize = 10;
    let Some(Sparsity { cost: Cost::Power(from), anneal: Some(anneal), .. }) = config.variant.sparsity() else {
        return;
    };
    let (step, turn) = (facts.step, anneal.turn(facts.step, config.steps));
    let next = (1..=STEPS).find(|ahead| anneal.turn(step + ahead, config.steps) > turn);
    let Some(ahead) = next else { return };
    if ahead == STEPS || facts.powers.is_none() {
        facts.powers = Some([0.0; 2]);
    }
    let ps = [turn, anneal.turn(step + ahead, config.steps)].map(|turn| f64::from(anneal.power(*from, turn)));
    let sums = facts.powers.get_or_insert([0.0; 2]);
    for &value in penalised.iter().filter(|&&value| value > 0.0) {
        for (sum, p) in sums.iter_mut().zip(ps) {
            *sum += f64::from(value).powf(p);
        }
    }
    if ahead == 1 {
        let [now, then] = *sums;
        if now > 0.0 && then > 0.0 {
            facts.kept *= (now / then) as f32;
        }
        facts.powers = None;
    }
}

/// What a gated run shares with no other: see [`Gated`].
pub(super) fn detached(config: &Config) -> Option<bool> {
    match config.variant {
        Variant::Gated(Gated { detached, .. }) => Some(detached),
        _ => None,
    }
}
