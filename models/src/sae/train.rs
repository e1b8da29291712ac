//! Training: one step is a fixed sequence of operations over memory that is allocated once.
//!
//! ```text
//! loss = ( Σ e² + (weight · share / left) Σ (e - ê)² ) / (rows · variance),   e = x - x̂
//! ```
//! `e` is summed over the width, so the first term is the fraction of variance unexplained (FVU) of the batch and does
//! not depend on the scale of the activations. `ê`, without `b_dec`, is what the strongest dead latents make of a
//! constant `e`; `share` is the number of dead latents over those used, at most 1, and `left` the last known FVU, by
//! which the second term is relative to what there is to explain. `variance` is that of the sample the trainer began
//! with. Biases live on the scale of the activations, weights do not: their rate is multiplied by that scale, which
//! makes training the same for activations and for a multiple of them. Inputs are normalised only where a setting says so.
//!
//! Dead latents, `left` and BatchTopK's threshold are looked at every sixteenth step, so that on a GPU the host waits
//! then only. Between looks nothing of a step depends on the host, not even its rates, which are laid down for sixteen
//! steps at a look; so a GPU records the step and replays it ([`super::record`]).
use super::descend::Gathered;
use super::gates::Learned;
use super::general::Forward;
use super::moments::Moments;
use super::record::Record;
use super::scratch::Scratch;
use super::{Config, Progress, Sae, Variant};
use crate::io::{Error, Result};
use crate::{Device, Tensor, View, sae_dead_into};
use std::sync::Mutex;

/// Steps between two looks at what only the host decides.
pub(super) const LOOK: usize = 16;

/// An autoencoder in training, and all that its next step depends on.
pub struct Trainer {
    pub(super) config: Config,
    pub(super) sae: Sae,
    pub(super) w_enc: Moments<2>,
    pub(super) w_dec: Moments<2>,
    pub(super) b_enc: Moments<1>,
    pub(super) b_dec: Moments<1>,
    pub(super) w_skip: Option<Moments<2>>,
    pub(super) learned: Learned,
    /// The running mean of all weights.
    pub(super) averaged: Option<Sae>,
    pub(super) since: Tensor<u32, 1>,
    pub(super) dead: Tensor<u32, 1>,
    pub(super) facts: Facts,
    /// What each side of rows is multiplied by, where they have several and lengths are made alike.
    pub(super) sides: Vec<f32>,
    pub(super) course: Vec<Progress>,
    /// How the step went that was looked at last, if only to be written to a state: it is not known any more once a step was refused.
    pub(super) last: Mutex<Option<Progress>>,
    pub(super) scratch: Scratch,
    /// The step, counted from 1, whose rows are in the scratch.
    pub(super) seen: usize,
    /// Active latents of a row of theirs, on average; of TopK and BatchTopK the scratch knows.
    pub(super) active: Option<f32>,
    /// Squared errors of the rows of the parts of a step before the one in the scratch.
    pub(super) earlier: Vec<f32>,
    /// Latents of a row that there is room for, where all that are positive are found.
    pub(super) room: usize,
    pub(super) ahead: Record,
    pub(super) records: bool,
    pub(super) back: Record,
}

/// What is taken back where a step is refused.
pub(super) struct Before {
    since: Vec<u32>,
    dead: Vec<u32>,
    facts: Facts,
}

/// The numbers of a trainer that are not tensors.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Facts {
    /// Steps done.
    pub step: usize,
    /// Rows seen.
    pub tokens: u64,
    /// Mean squared distance of the sample from its mean.
    pub variance: f32,
    /// Size of one entry of the activations.
    pub scale: f32,
    /// FVU at the last look.
    pub left: f32,
    /// BatchTopK's threshold, once there was a look.
    pub threshold: Option<f32>,
    /// Dead latents at the last look.
    pub dead: usize,
    /// What penalties and thresholds are measured in.
    pub unit: f32,
    /// What a penalty has been multiplied by, so that it went on when its power changed.
    pub kept: f32,
    /// Sums of powers, now and then, in the steps before such a change.
    pub powers: Option<[f64; 2]>,
    /// What rows are multiplied by: those that are read, and those that are predicted.
    pub normal: [f32; 2],
}

impl Trainer {
    /// Take memory for the rows of a step, unless it is there. A state that is only read takes none, whatever batch it speaks of.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let rows = self.config.rows();
        if self.scratch.x.dims()[0] == rows {
            return Ok(());
        }
        let whole = Scratch::new(&self.config, rows, &self.scratch.x.device())?;
        let Scratch { count, rates, at, .. } = std::mem::replace(&mut self.scratch, whole);
        (self.scratch.count, self.scratch.rates, self.scratch.at) = (count, rates, at);
        Ok(())
    }

    /// Take over the list of dead latents of a saved state.
    pub(super) fn restore_dead(&mut self, dead: Tensor<u32, 1>) -> Result<()> {
        self.scratch.count.write(&[self.facts.dead as u32])?;
        self.dead = dead;
        Ok(())
    }

    /// One step on `[batch, d]` rows.
    ///
    /// # Errors
    /// If the rows have another shape or live elsewhere; nothing has changed then. [`Error::Number`] if the squared error
    /// of a row is not finite, as it is for a row that holds NaN or an infinity, and once training has diverged. On the
    /// host the step is not taken then: weights and moments are as before. On a GPU, where to look would be to wait, the
    /// steps between two looks are taken unseen, but nothing is kept of them: the next look, at most sixteen steps
    /// later, and before it [`progress`](Self::progress), saving and [`finish`](Self::finish) are this error.
    pub fn step(&mut self, x: View<'_, f32, 2>) -> Result<()> {
        self.expect("x", &x)?;
        match self.config.transcode {
            Some(_) => Err(Error::setting("x", "a transcoder also needs what is to be predicted, see step_to")),
            None => self.step_on(x, None),
        }
    }

    /// A step of a [transcoder](Config::transcode): `y` is to be predicted from `x`, row by row.
    ///
    /// # Errors
    /// As [`step`](Self::step), of both.
    pub fn step_to(&mut self, x: View<'_, f32, 2>, y: View<'_, f32, 2>) -> Result<()> {
        self.expect("x", &x)?;
        self.expect("y", &y)?;
        match self.config.transcode {
            Some(_) => self.step_on(x, Some(y)),
            None => Err(Error::setting("y", "the configuration is not that of a transcoder")),
        }
    }

    fn step_on(&mut self, x: View<'_, f32, 2>, y: Option<View<'_, f32, 2>>) -> Result<()> {
        self.begin_step()?;
        let before = self.before();
        let done = if self.plain() { self.plain_step(x) } else { self.general_step(x, y) };
        self.or_restore(done, before)?;
        self.end_step()
    }

    pub(super) fn begin_step(&mut self) -> Result<()> {
        self.prepare()?;
        self.seen = self.facts.step + 1;
        self.earlier.clear();
        Ok(())
    }

    pub(super) fn end_step(&mut self) -> Result<()> {
        self.average()?;
        self.facts.step += 1;
        self.facts.tokens += self.config.batch as u64;
        Ok(())
    }

    /// What a step changes before it may be refused, on the host.
    pub(super) fn before(&self) -> Option<Before> {
        let (since, dead) = (self.since.host()?.to_vec(), self.dead.host()?.to_vec());
        Some(Before { since, dead, facts: self.facts })
    }

    /// A step that is refused leaves all as it was.
    pub(super) fn or_restore<T>(&mut self, done: Result<T>, before: Option<Before>) -> Result<T> {
        if let (Err(_), Some(Before { since, dead, facts })) = (&done, before) {
            self.since.write(&since)?;
            self.dead.write(&dead)?;
            self.scratch.count.write(&[facts.dead as u32])?;
            self.facts = facts;
        }
        done
    }

    /// The step that a GPU records.
    fn plain_step(&mut self, x: View<'_, f32, 2>) -> Result<()> {
        self.read(x)?;
        self.run(|trainer| &mut trainer.ahead, Self::forward)?;
        let look = self.facts.step.is_multiple_of(LOOK);
        if look || self.scratch.x.device().is_host() {
            let fvu = self.fvu()?;
            if look {
                self.look(fvu, None)?;
                self.plan_rates()?;
                self.back = Record::New;
            }
        }
        self.run(|trainer| &mut trainer.back, Self::learn)
    }

    /// The step of any variant.
    fn general_step(&mut self, x: View<'_, f32, 2>, y: Option<View<'_, f32, 2>>) -> Result<()> {
        let (rows, mut gathered) = (self.config.rows(), Gathered::none(&self.config));
        for part in 0..self.config.parts {
            let (first, end) = (part * rows, (part + 1) * rows);
            if part > 0 {
                self.earlier.extend(self.scratch.error.to_vec()?);
            }
            self.read(x.narrow(0, first, end)?)?;
            let y = y.map(|y| y.narrow(0, first, end)).transpose()?;
            if y.is_some() {
                self.finite()?; // errors are of what is predicted, and would not show it
            }
            let scaled = y.map(|y| self.predicted(y)).transpose()?.flatten();
            let forward = self.general_forward(scaled.as_ref().map(Tensor::view).or(y))?;
            let look = self.facts.step.is_multiple_of(LOOK) && part == 0;
            if look || self.scratch.x.device().is_host() {
                let fvu = self.fvu()?;
                if look {
                    self.look(fvu, Some(&forward))?;
                    self.plan_rates()?;
                }
            }
            self.gather(forward, 1.0, None, &mut gathered)?;
        }
        self.general_update(gathered)
    }

    /// Put a part of the step on the device, or do it on the host.
    fn run(&mut self, record: fn(&mut Self) -> &mut Record, part: fn(&mut Self) -> crate::Result<()>) -> Result<()> {
        let device = if self.records { self.scratch.x.device() } else { Device::Host };
        let mut taken = std::mem::replace(record(self), Record::New);
        let done = taken.run(&device, || part(self));
        *record(self) = taken;
        Ok(done?)
    }

    /// Lay down the rates from the last look to the next, and where among them this step is.
    pub(super) fn plan_rates(&mut self) -> Result<()> {
        let (config, facts) = (&self.config, &self.facts);
        let at = facts.step % LOOK;
        for (rates, scale) in self.scratch.rates.iter_mut().zip([1.0, facts.scale]) {
            let mut rows = Vec::new();
            for step in facts.step - at..facts.step - at + LOOK {
                rows.extend(config.adamw(step, scale).row()?);
            }
            rates.write(&rows)?;
        }
        self.scratch.at.write(&[at as u32])?;
        Ok(())
    }

    /// What the host decides, now and then.
    pub(super) fn look(&mut self, fvu: f32, forward: Option<&Forward>) -> Result<()> {
        self.facts.left = fvu.max(f32::MIN_POSITIVE);
        if let Some(revive) = self.config.revive {
            let (since, list) = (self.since.view(), self.dead.view_mut());
            sae_dead_into(since, revive.after, list, self.scratch.count.view_mut())?;
            self.facts.dead = self.scratch.count.to_vec()?[0] as usize;
        }
        if self.config.variant == Variant::BatchTopK {
            let kept = match (&self.averaged, forward) {
                // The weights that are kept in the end have a threshold of their own.
                (Some(mean), _) => self.kept_by(mean)?,
                (None, Some(forward)) => forward.found()?,
                (None, None) => self.scratch.values.to_vec()?,
            };
            let weakest = kept.into_iter().filter(|&v| v > 0.0).fold(f32::INFINITY, f32::min);
            if weakest.is_finite() {
                let (keep, before) = (self.config.threshold_decay, self.facts.threshold.unwrap_or(weakest));
                self.facts.threshold = Some(keep * before + (1.0 - keep) * weakest);
            }
        }
        Ok(())
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Call every step from now on, and record none: what recordings are compared with.
    pub fn call_by_call(&mut self) {
        self.records = false;
    }

    /// Whether the last step was replayed from a recording, as a GPU does between looks.
    pub fn replays(&self) -> bool {
        self.ahead.is_recorded() && self.back.is_recorded()
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.facts.step
    }
}
