//! A trainer on disk: continued, it takes the very steps that it would have taken. One safetensors file holds weights,
//! moments and dead-latent counters, and, as its metadata, settings and counters. What is drawn while training depends
//! on the seed and on counters only, so they are all there is to keep of the generator and of the buffer's place.
use super::begin::initial_gate;
use super::gates::Learned;
use super::remembered::{put, put_mean, take, take_mean};
use super::train::{Facts, Trainer};
use super::{Config, Normalise, Own, Progress, Router, Sae, Switch, Variant};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{self, Error, Result, differences};
use crate::{Device, Tensor};
use serde_json::json;
use std::path::Path;
use std::sync::Mutex;

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    version: u32,
    config: Config,
    facts: Facts,
    #[serde(default)]
    sides: Vec<f32>,
    course: Vec<Progress>,
    /// The last step, where it gave numbers. States of before have none.
    #[serde(default)]
    last: Option<Progress>,
    since: Vec<u32>,
    dead: Vec<u32>,
}

/// Changes when a state of before can no longer be continued.
const VERSION: u32 = 4;

/// Steps of a run, at most.
const STEPS: usize = u32::MAX as usize;

impl Note {
    /// That these are counters that training can have come to.
    fn check(&self) -> std::result::Result<(), String> {
        let (Self { config, facts, course, since, dead, .. }, n) = (self, self.config.latents);
        let above = |name: &str, number: f32| {
            let sound = number.is_finite() && number > 0.0;
            if sound { Ok(()) } else { Err(format!("{name} is {number}, expected a number above 0")) }
        };
        if since.len() != n || dead.len() != n {
            return Err(format!("counts {} and {} latents, expected {n}", since.len(), dead.len()));
        }
        if facts.step > STEPS {
            return Err(format!("step is {}, at most {STEPS} are taken", facts.step));
        }
        let tokens = (facts.step as u64).checked_mul(config.batch as u64);
        if tokens != Some(facts.tokens) {
            return Err(format!("tokens is {}, but {} steps of {} were taken", facts.tokens, facts.step, config.batch));
        }
        above("variance", facts.variance)?;
        above("scale", facts.scale)?;
        above("left", facts.left)?;
        above("unit", facts.unit)?;
        above("kept", facts.kept)?;
        facts.normal.into_iter().try_for_each(|factor| above("normal", factor))?;
        self.sides.iter().try_for_each(|factor| above("sides", *factor))?;
        let sides = if config.sides > 1 && config.normalise == Normalise::Mean { config.sides } else { 0 };
        if self.sides.len() != sides {
            return Err(format!("sides are {}, expected {sides} factors", self.sides.len()));
        }
        facts.powers.into_iter().flatten().try_for_each(|sum| match sum.is_finite() && sum >= 0.0 {
            true => Ok(()),
            false => Err(format!("powers hold {sum}, expected numbers of at least 0")),
        })?;
        facts.threshold.map_or(Ok(()), |threshold| above("threshold", threshold))?;
        if let Some(most) = since.iter().find(|&&since| u64::from(since) > facts.tokens) {
            return Err(format!("since is {most} somewhere, but {} tokens were seen", facts.tokens));
        }
        match dead.get(..facts.dead) {
            // The sentinel fills up the list.
            Some(listed)
                if listed.is_sorted_by(|a, b| a < b)
                    && listed.last().is_none_or(|&last| (last as usize) < n)
                    && dead.iter().all(|&latent| latent as usize <= n) => {}
            Some(_) => return Err(format!("dead is no ascending list of some of {n} latents")),
            None => return Err(format!("dead is {}, of {n} latents", facts.dead)),
        }
        if !course.is_sorted_by_key(|at| at.step) || course.last().is_some_and(|last| last.step > facts.step) {
            return Err("course is out of order".into());
        }
        if self.last.is_some_and(|last| last.step != facts.step) {
            return Err(format!("last is not of step {}", facts.step));
        }
        Ok(())
    }
}

impl Trainer {
    /// Write all that the next step depends on. Whenever this is interrupted, the file is the one before or the new one.
    ///
    /// # Errors
    /// [`Error::System`] if the disk refuses; [`Error::Number`] if a step left numbers that are not finite, and the file
    /// is the one before then.
    pub fn save_state(&self, path: &Path) -> Result<()> {
        self.sound()?;
        let (config, since, dead) = (self.config.clone(), self.since.to_vec()?, self.dead.to_vec()?);
        // Of a step that was refused the scratch holds some.
        let refused = self.seen > self.facts.step;
        let last = if refused { self.looked_at() } else { self.progress().ok() };
        let (course, sides) = (self.course.clone(), self.sides.clone());
        let note = Note { version: VERSION, config, facts: self.facts, sides, course, last, since, dead };
        let mut weights = Outgoing::default();
        weights.annotate(serde_json::to_string(&note).map_err(|e| Error::content(path, e.to_string()))?);
        let (n, d) = (self.config.latents, self.config.d);
        put(&mut weights, "w_enc", &[n, d], &self.sae.w_enc, &self.w_enc)?;
        put(&mut weights, "w_dec", &[n, d], &self.sae.w_dec, &self.w_dec)?;
        put(&mut weights, "b_enc", &[n], &self.sae.b_enc, &self.b_enc)?;
        put(&mut weights, "b_dec", &[d], &self.sae.b_dec, &self.b_dec)?;
        match (&self.learned, &self.sae.own) {
            (Learned::Thresholds { of, moments }, _) => put(&mut weights, "thresholds", &[n], of, moments)?,
            (Learned::Magnitudes { factors, biases }, Some(Own::Magnitudes { r_mag, b_mag })) => {
                put(&mut weights, "r_mag", &[n], r_mag, factors)?;
                put(&mut weights, "b_mag", &[n], b_mag, biases)?;
            }
            (Learned::Router { w, b }, _) => {
                if let Some(router) = &self.sae.router {
                    put(&mut weights, "router.weight", &[router.experts(), d], &router.w, w)?;
                    put(&mut weights, "router.bias", &[d], &router.b, b)?;
                }
            }
            _ => {}
        }
        if let (Some(skip), Some(moments)) = (&self.sae.skip, &self.w_skip) {
            put(&mut weights, "w_skip", &[d, d], skip, moments)?;
        }
        if let Some(mean) = &self.averaged {
            put_mean(&mut weights, mean)?;
        }
        io::replace(path, &weights.bytes()?)
    }

    /// The trainer that [`save_state`](Self::save_state) wrote.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] if the file cannot be read or is not such a state: every counter and every
    /// number is checked.
    pub fn load_state(path: &Path, device: &Device) -> Result<Self> {
        let mut weights = Incoming::open(path)?;
        let note: Note = serde_json::from_str(weights.note()?).map_err(|e| weights.wrong(e.to_string()))?;
        if note.version != VERSION {
            return Err(weights.wrong(format!("is a state of version {}, expected {VERSION}", note.version)));
        }
        note.config.check()?;
        note.check().map_err(|what| weights.wrong(what))?;
        let (n, d, rule) = (note.config.latents, note.config.d, note.config.rule);
        let (w_enc, w_enc_moments) = take(&mut weights, "w_enc", [n, d], rule, device)?;
        let (w_dec, w_dec_moments) = take(&mut weights, "w_dec", [n, d], rule, device)?;
        let (b_enc, b_enc_moments) = take(&mut weights, "b_enc", [n], rule, device)?;
        let (b_dec, b_dec_moments) = take(&mut weights, "b_dec", [d], rule, device)?;
        let gate = initial_gate(&note.config);
        let mut sae = Sae {
            w_enc,
            w_dec,
            b_enc,
            b_dec,
            centred: note.config.centred,
            gate,
            own: None,
            router: None,
            skip: None,
            rows: note.config.normalise.rows(),
            predicts: note.config.transcode.is_some(),
        };
        let learned = take_learned(&mut weights, &note.config, &mut sae, device)?;
        let mut w_skip = None;
        if note.config.transcode.is_some_and(|transcode| transcode.skip) {
            let (skip, moments) = take(&mut weights, "w_skip", [d, d], rule, device)?;
            (sae.skip, w_skip) = (Some(skip), Some(moments));
        }
        let averaged = match note.config.average {
            Some(_) => Some(take_mean(&mut weights, &sae)?),
            None => None,
        };
        weights.finish()?;
        let since = Tensor::from_vec(note.since, [n], device)?;
        let dead = Tensor::from_vec(note.dead, [n], device)?;
        let mut trainer = Self::assemble(note.config, sae, note.facts, device)?;
        trainer.w_enc = w_enc_moments;
        trainer.w_dec = w_dec_moments;
        trainer.b_enc = b_enc_moments;
        trainer.b_dec = b_dec_moments;
        (trainer.learned, trainer.w_skip) = (learned, w_skip);
        (trainer.since, trainer.averaged) = (since, averaged);
        let step = trainer.facts.step;
        trainer.last = Mutex::new(note.last.or(note.course.last().map(|last| Progress { step, ..*last })));
        (trainer.course, trainer.sides) = (note.course, note.sides);
        trainer.restore_dead(dead)?;
        Ok(trainer)
    }

    /// [`load_state`](Self::load_state), if that run had these very settings, [data](Config::data) included.
    ///
    /// # Errors
    /// As there, and [`Error::Content`] naming what differs.
    pub fn resume(path: &Path, config: &Config, device: &Device) -> Result<Self> {
        let trainer = Self::load_state(path, device)?;
        let theirs = trainer.config();
        if theirs.data != config.data {
            let what = format!("is the state of a run on other data: {}, now {}", theirs.data, config.data);
            return Err(Error::content(path, what));
        }
        if theirs != config {
            let what = differences(&json!(theirs), &json!(config));
            return Err(Error::content(path, format!("is the state of a run with other settings: {what}")));
        }
        Ok(trainer)
    }
}

/// What is learned beside weights and biases; the autoencoder gets its part.
fn take_learned(weights: &mut Incoming, config: &Config, sae: &mut Sae, device: &Device) -> Result<Learned> {
    let (n, d, rule) = (config.latents, config.d, config.rule);
    let mut learned = Learned::None;
    match config.variant {
        Variant::JumpReLU(_) => {
            let (of, moments) = take(weights, "thresholds", [n], rule, device)?;
            sae.own = Some(Own::Thresholds(Tensor::zeros([n], device)?));
            learned = Learned::Thresholds { of, moments };
            learned.renew(config, sae)?;
        }
        Variant::Gated(_) => {
            let (r_mag, factors) = take(weights, "r_mag", [n], rule, device)?;
            let (b_mag, biases) = take(weights, "b_mag", [n], rule, device)?;
            sae.own = Some(Own::Magnitudes { r_mag, b_mag });
            learned = Learned::Magnitudes { factors, biases };
        }
        Variant::Switch(Switch { experts, .. }) => {
            let (w, of_w) = take(weights, "router.weight", [experts, d], rule, device)?;
            let (b, of_b) = take(weights, "router.bias", [d], rule, device)?;
            sae.router = Some(Router { w, b });
            learned = Learned::Router { w: of_w, b: of_b };
        }
        _ => {}
    }
    Ok(learned)
}
