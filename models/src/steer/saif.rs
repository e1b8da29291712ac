//! SAIF: latents of an instruction, and steering by them (He et al., *SAIF: A Sparse Autoencoder Framework for Interpreting and Steering
//! Instruction Following of Language Models*, 2025).
//!
//! Of pairs of prompts, the same content with an instruction and without, those latents are taken that the instruction makes active most
//! consistently, `s = mean(1[a₊ > 0] - 1[a₋ > 0])`; steering adds `Σ α v` over their directions `v`, each as strong as it is under the
//! instruction, `α = μ + β σ`. No released code was found, and these equations are recollected, not read; positions and `k` are options.
use crate::io::{Error, Result};
use crate::sae::Sae;
use crate::sae::eval::{Inputs, Pooled, SparseRows};
use serde::{Deserialize, Serialize};

/// A latent that an instruction makes active.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consistent {
    /// Which.
    pub latent: u32,
    /// The share of pairs in which the instruction makes it active, less that in which it silences it.
    pub consistency: f64,
    /// The mean of what it writes under the instruction, over all pairs.
    pub mean: f64,
    /// Its deviation.
    pub deviation: f64,
}

impl Consistent {
    /// `μ + β σ`.
    pub fn strength(&self, beta: f64) -> f64 {
        self.mean + beta * self.deviation
    }
}

/// The `k` latents of the largest consistency, of equal ones those of the larger mean and then the first; those of 0 or less are left out. Row `i` of
/// `with` and of `without` are of the same content.
///
/// # Errors
/// [`Error::Setting`] for no pairs, not as many of one as of the other, other latents, `k` of 0, or an instruction that makes no latent active.
pub fn consistent(with: &Pooled, without: &Pooled, k: usize) -> Result<Vec<Consistent>> {
    let (yes, no) = (with.latents(), without.latents());
    if yes.len() != no.len() || yes.is_empty() || yes.width() != no.width() {
        let what = format!(
            "{} with and {} without, of {} and {} latents; they come in pairs",
            yes.len(),
            no.len(),
            yes.width(),
            no.width()
        );
        return Err(Error::setting("pairs", what));
    }
    if k == 0 {
        return Err(Error::setting("k", "0 latents steer nothing"));
    }
    let (counts, pairs) = ([active(yes), active(no)], yes.len() as f64);
    let (means, deviations) = Inputs::Sparse(with.written()).moments();
    let found = (0..yes.width()).map(|latent| Consistent {
        latent: latent as u32,
        consistency: (counts[0][latent] - counts[1][latent]) / pairs,
        mean: means[latent],
        deviation: deviations[latent],
    });
    let mut all: Vec<Consistent> = found.filter(|of| of.consistency > 0.0).collect();
    all.sort_by(|a, b| {
        b.consistency.total_cmp(&a.consistency).then(b.mean.total_cmp(&a.mean)).then(a.latent.cmp(&b.latent))
    });
    all.truncate(k);
    if all.is_empty() {
        return Err(Error::setting("latents", "the instruction makes none active that is not active without it"));
    }
    Ok(all)
}

/// `Σ (μ + β σ) W_dec[latent]`.
///
/// ```no_run
/// use latens::lm::{Hooks, LanguageModel, Site};
/// use latens::sae::Sae;
/// use latens::steer::{Places, Pooling, Positions, Push, Run, saif, states};
/// # fn all(lm: &LanguageModel, sae: &Sae) -> latens::io::Result<()> {
/// // What the model is to do without being told: the same contents, told and not told.
/// let turn = |said: &str| lm.tokenizer.encode(&format!("<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"));
/// let seen = |after: &str| {
///     let texts = ["What is rain?", "Who was Ada Lovelace?"].map(|content| turn(&format!("{content}{after}")));
///     states(lm, Site::residual(22), sae, &texts.into_iter().collect::<Result<Vec<_>, _>>()?, Pooling::Last, |_| ())
/// };
/// let latents = saif::consistent(&seen(" Answer in Spanish.")?, &seen("")?, 15)?;
/// let direction = saif::vector(sae, &latents, 0.0)?;
/// // Added wherever a token is chosen.
/// let hooks = |_| {
///     let push = Push::new(&direction, 1.0, &sae.device())?;
///     Ok(push.into_hooks(Site::residual(22), Places::new(Positions::Last)))
/// };
/// println!("{}", Run::new(lm, 40).go(&[turn("What is snow?")?], hooks, |_| ())?[0].text);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Setting`] for a latent that there is not, or `beta` that is not finite.
pub fn vector(sae: &Sae, latents: &[Consistent], beta: f64) -> Result<Vec<f32>> {
    if !beta.is_finite() {
        return Err(Error::setting("beta", format!("{beta} is not finite")));
    }
    let mut sum = vec![0.0_f64; sae.d()];
    for of in latents {
        let direction = sae.direction(of.latent as usize)?;
        sum.iter_mut().zip(direction).for_each(|(sum, x)| *sum += of.strength(beta) * f64::from(x));
    }
    Ok(sum.into_iter().map(|x| x as f32).collect())
}

/// In how many rows each latent is active.
fn active(rows: &SparseRows) -> Vec<f64> {
    let mut counts = vec![0.0; rows.width()];
    for row in 0..rows.len() {
        rows.row(row).filter(|(_, value)| *value > 0.0).for_each(|(latent, _)| counts[latent] += 1.0);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::Tensor;
    use crate::sae::Gate;
    use approx::assert_relative_eq;

    /// Three latents along three axes, as they are active in rows.
    fn pooled(rows: &[[f32; 3]]) -> (Sae, Pooled) {
        let eye = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let sae = Sae::tied(eye, vec![0.0; 3], Gate::Strongest(3), &Device::Host).unwrap();
        let mut pooled = Pooled::new(&sae);
        let x = Tensor::<f32, 2>::from_vec(rows.concat(), [rows.len(), 3], &Device::Host).unwrap();
        pooled.push(&sae, &sae.bias().unwrap(), x.view(), &vec![1; rows.len()]).unwrap();
        (sae, pooled)
    }

    #[test]
    fn by_hand() {
        let (sae, with) = pooled(&[[1.0, 4.0, 2.0], [3.0, 0.0, 0.0], [2.0, 2.0, 0.0], [2.0, 2.0, 0.0]]);
        let (_, without) = pooled(&[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
        let found = consistent(&with, &without, 5).unwrap();
        let all: Vec<(u32, f64, f64)> = found.iter().map(|of| (of.latent, of.consistency, of.mean)).collect();
        assert_eq!(all, [(0, 0.75, 2.0), (1, 0.5, 2.0)]);
        assert_relative_eq!(found[0].deviation, 0.5_f64.sqrt(), max_relative = 1e-6);
        assert_relative_eq!(found[1].deviation, 2.0_f64.sqrt(), max_relative = 1e-6);
        assert_eq!(consistent(&with, &without, 1).unwrap().len(), 1);
        let vector = vector(&sae, &found, -1.0).unwrap();
        let want = [2.0 - 0.5_f32.sqrt(), 2.0 - 2.0_f32.sqrt(), 0.0];
        vector.iter().zip(want).for_each(|(got, want)| assert_relative_eq!(*got, want, epsilon = 1e-6));
    }

    #[test]
    fn wrong_calls_are_errors() {
        let (sae, two) = pooled(&[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
        let (_, one) = pooled(&[[1.0, 0.0, 0.0]]);
        let said = |a, b, k| consistent(a, b, k).unwrap_err().to_string();
        assert!(said(&two, &one, 3).contains("come in pairs"));
        assert!(said(&two, &two, 3).contains("makes none active"));
        assert!(said(&two, &two, 0).starts_with("k: "));
        let none = Pooled::new(&sae);
        assert!(said(&none, &none, 3).contains("come in pairs"));
        let odd = Consistent { latent: 3, consistency: 1.0, mean: 1.0, deviation: 0.0 };
        assert!(vector(&sae, &[odd], 0.0).is_err() && vector(&sae, &[], f64::NAN).is_err());
    }
}
