//! What a trainer begins with.
use super::gates::Learned;
use super::moments::Moments;
use super::record::Record;
use super::scratch::Scratch;
use super::train::{Facts, Trainer};
use super::{Config, Decoder, Gate, Router, Sae, Switch, Units, Variant, initial};
use crate::io::{Error, Result};
use crate::{Device, Philox, Tensor};
use std::sync::Mutex;

/// Length of the rows of a decoder that may have any, before the first step.
const SHORT: f32 = 0.1;
/// Room for active latents of a row, at first.
const ROOM: usize = 64;

impl Trainer {
    /// Start from `sample`, host rows of the activations: they give centre, scale and variance. Some thousands do.
    ///
    /// # Errors
    /// [`Error::Setting`] for a configuration that has no meaning or a sample without variance.
    pub fn new(config: Config, sample: &[f32], device: &Device) -> Result<Self> {
        if config.transcode.is_some() {
            return Err(Error::setting("transcode", "a transcoder is begun with two samples, by Trainer::transcoder"));
        }
        Self::begin(config, sample, sample, device)
    }

    /// The same for a [transcoder](Config::transcode): `predicted` are rows that belong to those of `sample`. Centre and variance are
    /// theirs, and the decoder begins with zeros, which predict the centre.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the two samples differ in size.
    pub fn transcoder(config: Config, sample: &[f32], predicted: &[f32], device: &Device) -> Result<Self> {
        if config.transcode.is_none() {
            return Err(Error::setting("transcode", "the configuration is not that of a transcoder"));
        }
        if sample.len() != predicted.len() {
            let what = format!("{} numbers, expected {}, as many as are read", predicted.len(), sample.len());
            return Err(Error::setting("predicted", what));
        }
        Self::begin(config, sample, predicted, device)
    }

    fn begin(config: Config, sample: &[f32], predicted: &[f32], device: &Device) -> Result<Self> {
        config.check()?;
        let d = config.d;
        if sample.len() < d || !sample.len().is_multiple_of(d) {
            return Err(Error::setting("sample", format!("{} numbers are not rows of width {d}", sample.len())));
        }
        let sides = config.sides_of(sample, "sample")?;
        let ((sample, read), (predicted, by)) =
            (config.normalised(sample, "sample")?, config.normalised(predicted, "predicted")?);
        let of = |rows: &[f32]| {
            let mean = initial::mean(rows, d);
            let variance = initial::variance(rows, &mean) as f32;
            match variance.is_finite() && variance > 0.0 {
                true => Ok((mean, variance)),
                false => Err(Error::setting("sample", format!("its variance is {variance}"))),
            }
        };
        let ((_, spread), (mean, variance)) = (of(&sample)?, of(&predicted)?);
        let center = match config.center {
            super::Center::Mean => mean,
            super::Center::Median => initial::median(&predicted, d),
            super::Center::Zero => vec![0.0; d],
        };
        // Of what biases are added to.
        let scale = (initial::variance(&predicted, &vec![0.0; d]) / d as f64).sqrt() as f32;
        let unit = match config.units {
            Units::Deviation => (spread / d as f32).sqrt(),
            Units::AsTheyAre => 1.0,
        };
        let sae = initial_sae(&config, &sample, center, unit, device)?;
        let facts = Facts {
            step: 0,
            tokens: 0,
            variance,
            scale,
            left: 1.0,
            threshold: None,
            dead: 0,
            unit,
            kept: 1.0,
            powers: None,
            normal: [read, by],
        };
        let mut trainer = Self::assemble(config, sae, facts, device)?;
        trainer.sides = sides;
        if trainer.config.average.is_some() {
            trainer.averaged = Some(trainer.sae.copy()?);
        }
        trainer.prepare()?;
        Ok(trainer)
    }

    /// Around weights and numbers at hand, with moments of zero and no memory for rows yet.
    pub(super) fn assemble(config: Config, sae: Sae, facts: Facts, device: &Device) -> Result<Self> {
        let (n, d, rule) = (config.latents, config.d, config.rule);
        let scratch = Scratch::new(&config, 0, device)?;
        let mut trainer = Self {
            w_enc: Moments::new(rule, [n, d], device)?,
            w_dec: Moments::new(rule, [n, d], device)?,
            b_enc: Moments::new(rule, [n], device)?,
            b_dec: Moments::new(rule, [d], device)?,
            w_skip: if sae.skip.is_some() { Some(Moments::new(rule, [d, d], device)?) } else { None },
            averaged: None,
            learned: Learned::new(&config, facts.unit, device)?,
            since: Tensor::zeros([n], device)?,
            dead: Tensor::zeros([n], device)?,
            config,
            sae,
            facts,
            sides: Vec::new(),
            course: Vec::new(),
            last: Mutex::default(),
            scratch,
            seen: 0,
            active: None,
            earlier: Vec::new(),
            room: ROOM,
            ahead: Record::New,
            records: true,
            back: Record::New,
        };
        trainer.plan_rates()?;
        Ok(trainer)
    }
}

/// Weights before the first step.
fn initial_sae(config: &Config, sample: &[f32], center: Vec<f32>, unit: f32, device: &Device) -> Result<Sae> {
    let d = config.d;
    let mut directions = initial::directions(config.latents, d, &mut Philox::new(config.seed))?;
    if config.decoder == Decoder::Free {
        directions.iter_mut().for_each(|w| *w *= SHORT);
    }
    let mut sae = Sae::tied(directions, center, initial_gate(config), device)?;
    (sae.centred, sae.rows) = (config.centred, config.normalise.rows());
    sae.predicts = config.transcode.is_some();
    if let Variant::Switch(Switch { experts, .. }) = config.variant {
        // Small, so that no expert is far ahead at first; the draw is another than that of the directions.
        let mut w = initial::directions(experts, d, &mut Philox::new(!config.seed))?;
        w.iter_mut().for_each(|w| *w /= unit * (d as f32).sqrt());
        let b = Tensor::from_vec(sae.b_dec.to_vec()?, [d], device)?;
        sae.router = Some(Router { w: Tensor::from_vec(w, [experts, d], device)?, b });
    }
    let mut b_enc = vec![config.bias * unit; config.latents];
    if config.centred_start {
        let (w, read) = (sae.w_enc.to_vec()?, initial::mean(sample, d));
        let along = |row: &[f32]| row.iter().zip(&read).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
        b_enc.iter_mut().zip(w.chunks_exact(d)).for_each(|(b, row)| *b -= along(row) as f32);
    }
    sae.b_enc.write(&b_enc)?;
    sae.own = Learned::own(config, unit, device)?;
    if let Some(transcode) = config.transcode {
        sae.w_dec = Tensor::zeros([config.latents, d], device)?;
        sae.skip = if transcode.skip { Some(Tensor::zeros([d, d], device)?) } else { None };
    }
    Ok(sae)
}

/// The gate that an autoencoder is trained with.
pub(super) fn initial_gate(config: &Config) -> Gate {
    match config.variant {
        Variant::TopK | Variant::BatchTopK | Variant::Switch(_) => Gate::Strongest(config.k),
        Variant::GroupMax => Gate::Groups(config.k),
        Variant::ReLU(_) | Variant::JumpReLU(_) | Variant::Gated(_) => {
            Gate::Above { threshold: 0.0, most: config.latents }
        }
    }
}
