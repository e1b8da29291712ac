//! How steps went, and whether they gave numbers at all.
use super::train::Trainer;
use crate::io::{Error, Result};
use std::sync::PoisonError;

/// How the last step went.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// FVU of the batch.
    pub fvu: f32,
    /// Active latents per row.
    pub l0: f32,
    /// Share of latents that have been silent for as long as [`Revive::after`](super::Revive::after) says, or since the start.
    pub dead: f32,
    /// Learning rate of the next step.
    pub rate: f32,
}

impl Progress {
    /// Its numbers by name, for [`Scalars`](crate::io::Scalars).
    pub fn scalars(&self) -> [(&'static str, f64); 4] {
        [("fvu", self.fvu), ("l0", self.l0), ("dead", self.dead), ("rate", self.rate)]
            .map(|(name, number)| (name, number.into()))
    }
}

impl Trainer {
    /// How the last step went. On a GPU this waits for it.
    ///
    /// # Errors
    /// [`Error::Number`] if a squared error of the last step, or what a step before it left, is not finite; if the device
    /// fails.
    pub fn progress(&self) -> Result<Progress> {
        self.sound()?;
        let limit = self.config.revive.map_or(u32::MAX, |revive| revive.after);
        let limit = limit.min(self.facts.tokens.min(u64::from(u32::MAX)) as u32).max(1);
        let dead = self.since.to_vec()?.into_iter().filter(|&since| since >= limit).count();
        let l0 = match (self.active, self.seen) {
            (Some(active), _) => active,
            (None, 0) => self.looked_at().map_or(0.0, |last| last.l0),
            (None, _) => {
                let active = self.scratch.values.to_vec()?.into_iter().filter(|&v| v > 0.0).count();
                active as f32 / self.config.batch as f32
            }
        };
        let now = Progress {
            step: self.facts.step,
            fvu: self.fvu()?,
            l0,
            dead: dead as f32 / self.config.latents as f32,
            rate: self.config.rate_at(self.facts.step),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(now)
    }

    /// How the last step went, if it was looked at.
    pub(super) fn looked_at(&self) -> Option<Progress> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|last| last.step == self.facts.step)
    }

    /// [`progress`](Self::progress), kept in the [`course`](Self::course).
    ///
    /// # Errors
    /// As [`progress`](Self::progress).
    pub fn mark(&mut self) -> Result<Progress> {
        let now = self.progress()?;
        self.course.push(now);
        Ok(now)
    }

    /// What was [marked](Self::mark), since the first step even of a trainer that was loaded.
    pub fn course(&self) -> &[Progress] {
        &self.course
    }

    /// FVU of the rows that went through last, which must be a number.
    pub(super) fn fvu(&self) -> Result<f32> {
        if self.seen == 0 {
            return Ok(self.looked_at().map_or(self.facts.left, |last| last.fvu));
        }
        let error = self.scratch.error.to_vec()?;
        let squares: f64 = self.earlier.iter().chain(&error).map(|&e| f64::from(e)).sum();
        let rows = self.earlier.len() + error.len();
        let fvu = (squares / (rows.max(1) as f64 * f64::from(self.facts.variance))) as f32;
        if fvu.is_finite() { Ok(fvu) } else { Err(self.blame(&error)?) }
    }

    /// That no step has left anything but numbers. Whatever is not finite in a step reaches the gradient of `b_dec`, which
    /// is a sum over all rows and latents, and `b_dec` never loses it again.
    pub(super) fn sound(&self) -> Result<()> {
        match self.sae.b_dec.to_vec()?.iter().position(|b| !b.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let what = format!(
                    "b_dec[{at}] is not finite: a row of this step, or of one since the last look, was not, or training diverged"
                );
                Err(Error::Number { step: self.facts.step, what })
            }
        }
    }

    /// Why these errors are not finite.
    fn blame(&self, error: &[f32]) -> Result<Error> {
        let (x, d, first) = (self.scratch.x.to_vec()?, self.config.d, self.earlier.len());
        let what = match (x.iter().position(|x| !x.is_finite()), error.iter().position(|e| !e.is_finite())) {
            (Some(at), _) => format!("row {} of x holds {}", first + at / d, x[at]),
            (None, Some(row)) => {
                let (at, error) = (first + row, error[row]);
                let why = match self.config.transcode {
                    Some(_) => "that row of y is not finite, or training diverged",
                    None => "training diverged",
                };
                format!("the squared error of row {at} is {error}: {why}, a lower rate may help")
            }
            (None, None) => "the sum of squared errors is beyond f32: training diverged, a lower rate may help".into(),
        };
        Ok(Error::Number { step: self.seen, what })
    }
}
