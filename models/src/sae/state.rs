//! A trainer on disk: continued, it takes the very steps that it would have taken. One safetensors file holds weights,
//! moments and dead-latent counters, and, as its metadata, settings and counters. What is drawn while training depends
//! on the seed and on counters only, so they are all there is to keep of the generator and of the buffer's place.
use super::train::{Facts, Moments, Progress, Trainer};
use super::{
    Config, Gate, Sae,
    weights::{Incoming, Outgoing},
};
use crate::io::{self, Error, Result};
use crate::{Device, Tensor};
use std::path::Path;

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    version: u32,
    config: Config,
    facts: Facts,
    course: Vec<Progress>,
    since: Vec<u32>,
    dead: Vec<u32>,
}

/// Changes when a state of before can no longer be continued.
const VERSION: u32 = 2;

impl Trainer {
    /// Write all that the next step depends on. Whenever this is interrupted, the file is the one before or the new one.
    ///
    /// # Errors
    /// [`Error::System`] if the disk refuses.
    pub fn save_state(&self, path: &Path) -> Result<()> {
        let (config, since, dead) = (self.config.clone(), self.since.to_vec()?, self.dead.to_vec()?);
        let course = self.course.clone();
        let note = Note { version: VERSION, config, facts: self.facts, course, since, dead };
        let mut weights = Outgoing::default();
        weights.annotate(serde_json::to_string(&note).map_err(|e| Error::content(path, e.to_string()))?);
        let (n, d) = (self.config.latents, self.config.d);
        put(&mut weights, "w_enc", &[n, d], &self.sae.w_enc, &self.w_enc)?;
        put(&mut weights, "w_dec", &[n, d], &self.sae.w_dec, &self.w_dec)?;
        put(&mut weights, "b_enc", &[n], &self.sae.b_enc, &self.b_enc)?;
        put(&mut weights, "b_dec", &[d], &self.sae.b_dec, &self.b_dec)?;
        io::replace(path, &weights.bytes()?)
    }

    /// The trainer that [`save_state`](Self::save_state) wrote.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] if the file cannot be read or is not such a state.
    pub fn load_state(path: &Path, device: &Device) -> Result<Self> {
        let mut weights = Incoming::open(path)?;
        let note: Note = serde_json::from_str(weights.note()?).map_err(|e| weights.wrong(e.to_string()))?;
        if note.version != VERSION {
            return Err(weights.wrong(format!("is a state of version {}, expected {VERSION}", note.version)));
        }
        note.config.check()?;
        let (n, d) = (note.config.latents, note.config.d);
        let (w_enc, w_enc_moments) = take(&mut weights, "w_enc", [n, d], device)?;
        let (w_dec, w_dec_moments) = take(&mut weights, "w_dec", [n, d], device)?;
        let (b_enc, b_enc_moments) = take(&mut weights, "b_enc", [n], device)?;
        let (b_dec, b_dec_moments) = take(&mut weights, "b_dec", [d], device)?;
        weights.finish()?;
        if note.since.len() != n || note.dead.len() != n {
            return Err(weights.wrong(format!(
                "counts {} and {} latents, expected {n}",
                note.since.len(),
                note.dead.len()
            )));
        }
        let since = Tensor::from_vec(note.since, [n], device)?;
        let dead = Tensor::from_vec(note.dead, [n], device)?;
        let sae = Sae { w_enc, w_dec, b_enc, b_dec, gate: Gate::Strongest(note.config.k) };
        let mut trainer = Self::assemble(note.config, sae, note.facts, device)?;
        trainer.w_enc = w_enc_moments;
        trainer.w_dec = w_dec_moments;
        trainer.b_enc = b_enc_moments;
        trainer.b_dec = b_dec_moments;
        trainer.since = since;
        trainer.course = note.course;
        trainer.restore_dead(dead)?;
        Ok(trainer)
    }
}

fn put<const R: usize>(
    weights: &mut Outgoing,
    name: &str,
    dims: &[usize],
    values: &Tensor<f32, R>,
    moments: &Moments<R>,
) -> Result<()> {
    weights.put(name, dims, values.to_vec()?);
    weights.put(&format!("{name}.mean"), dims, moments.mean.to_vec()?);
    weights.put(&format!("{name}.square"), dims, moments.square.to_vec()?);
    Ok(())
}

fn take<const R: usize>(
    weights: &mut Incoming,
    name: &str,
    dims: [usize; R],
    device: &Device,
) -> Result<(Tensor<f32, R>, Moments<R>)> {
    let mut one = |name: &str| Ok::<_, Error>(Tensor::from_vec(weights.take(name, &dims)?, dims, device)?);
    let values = one(name)?;
    Ok((values, Moments { mean: one(&format!("{name}.mean"))?, square: one(&format!("{name}.square"))? }))
}
