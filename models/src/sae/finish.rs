//! What a trainer gives.
use super::train::Trainer;
use super::{Format, Gate, Origin, Sae, Variant, average};
use crate::io::Result;
use std::path::Path;

impl Trainer {
    /// The autoencoder in training: of [normalised](super::Normalise) rows, where one factor makes them so. [`snapshot`](Self::snapshot) is
    /// the one that training would give now.
    pub fn sae(&self) -> &Sae {
        &self.sae
    }

    /// The gate that the autoencoder is to be used with: BatchTopK's is its threshold, as soon as there was a step.
    fn gate(&self) -> Gate {
        match (self.config.variant, self.facts.threshold) {
            (Variant::BatchTopK, Some(threshold)) => Gate::Above { threshold, most: self.config.latents },
            _ => self.sae.gate,
        }
    }

    /// What training would give now: averaged weights if they are asked for, the factor of rows folded in, and the gate to be used with.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and if there is no memory for another one.
    pub fn snapshot(&self) -> Result<Sae> {
        self.sound()?;
        let sae = match &self.averaged {
            Some(mean) => average::whole(mean.copy()?, self.config.decoder)?,
            None => self.sae.copy()?,
        };
        given(sae, self.gate(), self.facts.normal, self.config.ranked_by_length)
    }

    /// Write a checkpoint of what [`snapshot`](Self::snapshot) is.
    ///
    /// # Errors
    /// As [`Sae::save`], and [`Error::Number`](crate::io::Error::Number) if a step left numbers that are not finite: nothing is written then.
    pub fn save(&self, folder: &Path, format: Format, origin: &Origin) -> Result<()> {
        self.snapshot()?.save(folder, format, origin)
    }

    /// End training, and keep the autoencoder, with the gate that it is to be used with.
    ///
    /// # Errors
    /// [`Error::Number`](crate::io::Error::Number) if a step left numbers that are not finite.
    pub fn finish(self) -> Result<Sae> {
        self.sound()?;
        let (gate, normal, ranked) = (self.gate(), self.facts.normal, self.config.ranked_by_length);
        let sae = match self.averaged {
            Some(mean) => average::whole(mean, self.config.decoder)?,
            None => self.sae,
        };
        given(sae, gate, normal, ranked)
    }
}

fn given(mut sae: Sae, gate: Gate, [read, predicted]: [f32; 2], ranked: bool) -> Result<Sae> {
    if ranked {
        sae.lengths_into_values()?; // as they were compared
    }
    sae.gate = gate;
    if [read, predicted] != [1.0; 2] {
        sae.fold(read, predicted)?;
    }
    Ok(sae)
}
