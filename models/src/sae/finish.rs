//! What a trainer gives.
use super::train::Trainer;
use super::{Config, Format, Gate, Origin, Sae, Variant, average};
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
        given(sae, self.gate(), self.facts.normal, &self.sides, &self.config)
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
        let gate = self.gate();
        let sae = match self.averaged {
            Some(mean) => average::whole(mean, self.config.decoder)?,
            None => self.sae,
        };
        given(sae, gate, self.facts.normal, &self.sides, &self.config)
    }
}

fn given(mut sae: Sae, gate: Gate, [read, predicted]: [f32; 2], sides: &[f32], config: &Config) -> Result<Sae> {
    if config.ranked_by_length {
        sae.lengths_into_values(config.sides)?; // as they were compared
    }
    sae.gate = gate;
    if !sides.is_empty() {
        sae.fold_sides(sides)?;
    }
    if [read, predicted] != [1.0; 2] {
        sae.fold(read, predicted)?;
    }
    Ok(sae)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::{Decoder, Normalise};
    use crate::{Device, Philox, Tensor};

    const D: usize = 6;
    const N: usize = 10;
    const ROWS: usize = 32;

    /// The second side twenty times as long as the first.
    fn rows(seed: u64) -> Vec<f32> {
        let mut draw = Philox::new(seed);
        (0..ROWS * D).map(|at| (draw.uniform() - 0.4) * if at % D < D / 2 { 1.0 } else { 20.0 }).collect()
    }

    fn trained(config: Config) -> Trainer {
        let x = rows(1);
        let mut trainer = Trainer::new(config, &x, &Device::Host).unwrap();
        let x = Tensor::from_vec(x, [ROWS, D], &Device::Host).unwrap();
        (0..6).for_each(|_| trainer.step(x.view()).unwrap());
        trainer
    }

    fn config(variant: Variant) -> Config {
        let config = Config { variant, sides: 2, centred: false, decoder: Decoder::Free, ..Config::new(D, N, 2, 6) };
        Config { batch: ROWS, rate: 0.05, revive: None, ..config }
    }

    /// What comes out chooses latents as training did: by values times the lengths of both sides.
    #[test]
    fn ranked_by_the_lengths_of_all_sides() {
        let trainer = trained(Config { ranked_by_length: true, ..config(Variant::TopK) });
        let (w_enc, w_dec) = (trainer.sae().w_enc.to_vec().unwrap(), trainer.sae().w_dec.to_vec().unwrap());
        let b_enc = trainer.sae().b_enc.to_vec().unwrap();
        let sae = trainer.finish().unwrap();
        let x = rows(2);
        let code = sae.encode(Tensor::from_vec(x.clone(), [ROWS, D], &Device::Host).unwrap().view()).unwrap();
        let (latents, mut others) = (code.latents.to_vec().unwrap(), 0);
        for (row, got) in x.chunks_exact(D).zip(latents.chunks_exact(2)) {
            let value = |latent: usize| -> f64 {
                let along = w_enc[latent * D..][..D].iter().zip(row).map(|(w, x)| f64::from(w * x)).sum::<f64>();
                along + f64::from(b_enc[latent])
            };
            let length = |of: &[f32]| of.iter().map(|w| f64::from(w * w)).sum::<f64>().sqrt();
            let best = |weight: &dyn Fn(&[f32]) -> f64| {
                let rank = |latent: usize| value(latent) * weight(&w_dec[latent * D..][..D]);
                let mut all: Vec<usize> = (0..N).filter(|&latent| value(latent) > 0.0).collect();
                all.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)));
                all.truncate(2);
                all.sort_unstable();
                all
            };
            let want = best(&|row| length(&row[..D / 2]) + length(&row[D / 2..]));
            others += usize::from(want != best(&length));
            let got: Vec<usize> = got.iter().map(|&latent| latent as usize).filter(|&latent| latent < N).collect();
            assert_eq!(got, want);
        }
        assert!(others > 0, "whole lengths would choose the same, so nothing is tested");
    }

    /// With a factor for each side, a side that is twenty times as long is as one that is not; what comes out reads rows as they are.
    #[test]
    fn sides_are_normalised_each_by_itself() {
        let config = Config { normalise: Normalise::Mean, ..config(Variant::TopK) };
        let trainer = trained(config.clone());
        let sides = trainer.sides.clone();
        assert!(sides.len() == 2 && (sides[0] / sides[1] - 20.0).abs() < 4.0, "{sides:?}");
        let by = |x: &[f32], back: bool| -> Vec<f32> {
            let factor = |at: usize| sides[at % D / (D / 2)];
            x.iter().enumerate().map(|(at, x)| if back { x / factor(at) } else { x * factor(at) }).collect()
        };
        let x = rows(2);
        let tensor = |x: Vec<f32>| Tensor::from_vec(x, [ROWS, D], &Device::Host).unwrap();
        let inside = trainer.sae().reconstruct(tensor(by(&x, false)).view()).unwrap().to_vec().unwrap();
        // Resumed, it has the same factors.
        let path = std::env::temp_dir().join(format!("latens-sides-{}", std::process::id()));
        trainer.save_state(&path).unwrap();
        let again = Trainer::resume(&path, &config, &Device::Host).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(again.sides, sides);
        let got = again.finish().unwrap().reconstruct(tensor(x).view()).unwrap().to_vec().unwrap();
        for (got, want) in got.iter().zip(by(&inside, true)) {
            approx::assert_relative_eq!(*got, want, epsilon = 1e-3, max_relative = 1e-4);
        }
    }
}
