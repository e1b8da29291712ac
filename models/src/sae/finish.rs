//! What a trainer gives.
use super::train::Trainer;
use super::{Format, Gate, Origin, Sae, Variant};
use crate::io::Result;
use std::path::Path;

impl Trainer {
    /// The autoencoder as it stands. BatchTopK's has its threshold as soon as there was a step.
    pub fn sae(&self) -> &Sae {
        &self.sae
    }

    /// The gate that the autoencoder is to be used with: BatchTopK's is its threshold, as soon as there was a step.
    fn gate(&self) -> Gate {
        match (self.config.variant, self.facts.threshold) {
            (Variant::BatchTopK, Some(threshold)) => {
                Gate::Above { threshold, most: (8 * self.config.k).min(self.config.latents) }
            }
            _ => self.sae.gate,
        }
    }

    /// Write a checkpoint of the autoencoder as it stands, with the gate that it is to be used with.
    ///
    /// # Errors
    /// As [`Sae::save`], and [`Error::Number`](crate::io::Error::Number) if a step left numbers that are not finite: nothing is written then.
    pub fn save(&mut self, folder: &Path, format: Format, origin: &Origin) -> Result<()> {
        self.sound()?;
        let used = self.gate();
        let training = std::mem::replace(&mut self.sae.gate, used);
        let done = self.sae.save(folder, format, origin);
        self.sae.gate = training;
        done
    }

    /// End training, and keep the autoencoder, with the gate that it is to be used with.
    ///
    /// # Errors
    /// [`Error::Number`](crate::io::Error::Number) if a step left numbers that are not finite.
    pub fn finish(mut self) -> Result<Sae> {
        self.sound()?;
        self.sae.gate = self.gate();
        Ok(self.sae)
    }
}
