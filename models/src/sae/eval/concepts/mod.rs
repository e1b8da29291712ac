//! Whether what an autoencoder calls a concept can be taken out of texts: SCR and TPP of SAEBench (Karvonen et al. 2025).
//!
//! Both train probes on the mean activations of texts, ask which latents they rest on, set these to 0 at every token, and look at
//! what the probes then say. The error of the reconstruction is kept: of a token, `x - Σⱼ fⱼ W_dec[j]` over the chosen latents is
//! left. That is linear, so the mean over tokens loses the mean of what the latents write ([`Pooled::written`]), and a probe
//! loses its product with that: nothing is run again.
mod scr;
mod tpp;

use super::inputs::largest;
use super::{Fit, Inputs, Labelled, Pooled, Probe};
use crate::io::{Error, Result};
use crate::sae::Sae;
use rayon::prelude::*;
pub use scr::{Crossed, Scr, ScrScore, scr, scr_task};
pub use tpp::{Classed, Tpp, TppScore, tpp, tpp_task};

/// How many latents SAEBench ablates.
pub const ABLATED: [usize; 7] = [2, 5, 10, 20, 50, 100, 500];

/// A probe, and what each latent's direction adds to its logit.
struct Read {
    probe: Probe,
    along: Vec<f64>,
}

impl Read {
    fn fit(decoder: &[f32], of: Inputs<'_>, labels: &[bool], fit: Fit) -> Result<Self> {
        let probe = Probe::fit(of, labels, fit)?;
        let dot = |row: &[f32]| row.iter().zip(&probe.weights).map(|(&w, p)| f64::from(w) * p).sum();
        let along = decoder.par_chunks_exact(of.width().max(1)).map(dot).collect();
        Ok(Self { probe, along })
    }

    /// What each latent does for it: the difference of what it writes in labelled and in other texts, changed by `rule`, along the
    /// probe.
    fn effects(&self, of: Labelled<'_>, rule: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
        let differences = Inputs::Sparse(of.texts.written()).differences(of.labels)?;
        Ok(differences.into_iter().zip(&self.along).map(|(difference, along)| rule(difference) * along).collect())
    }

    /// Its logits without these latents.
    fn without(&self, texts: &Pooled, latents: &[usize]) -> Result<Vec<f64>> {
        let mut logits = self.probe.logits(Inputs::Dense { values: texts.raw(), width: texts.d() })?;
        for (text, logit) in logits.iter_mut().enumerate() {
            let written = |&latent: &usize| f64::from(texts.written().value(text, latent)) * self.along[latent];
            *logit -= latents.iter().map(written).sum::<f64>();
        }
        Ok(logits)
    }
}

/// The `n` latents of the largest effects, as far as they are above 0.
fn strongest(effects: &[f64], n: usize) -> Vec<usize> {
    let mut found = largest(effects.iter().copied(), n);
    found.retain(|&latent| effects[latent] > 0.0);
    found
}

fn check(sae: &Sae, texts: [&Pooled; 2]) -> Result<()> {
    if sae.predicts {
        let what = "is a transcoder: what its latents write is at another place than what the probes read";
        return Err(Error::setting("sae", what));
    }
    let fits = |texts: &&Pooled| texts.d() == sae.d() && texts.latents().width() == sae.latents();
    if texts.iter().all(fits) {
        return Ok(());
    }
    let what = format!("{} latents of width {}: the texts were read with another", sae.latents(), sae.d());
    Err(Error::setting("sae", what))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sae::Gate;
    use crate::{Device, Philox, Tensor};

    pub const D: usize = 3;

    /// Latents along both ways of every axis: first the one, then the other.
    pub fn both_ways() -> Sae {
        let mut rows = vec![0.0; 2 * D * D];
        (0..D).for_each(|at| (rows[at * D + at], rows[(D + at) * D + at]) = (1.0, -1.0));
        Sae::tied(rows, vec![0.0; D], Gate::Strongest(D), &Device::Host).unwrap()
    }

    /// Texts of two tokens each, the second half the first.
    pub fn read(sae: &Sae, texts: &[[f32; D]]) -> Pooled {
        let rows: Vec<f32> = texts.iter().flat_map(|row| row.iter().copied().chain(row.map(|x| 0.5 * x))).collect();
        let rows = Tensor::from_vec(rows, [2 * texts.len(), D], &Device::Host).unwrap();
        let mut pooled = Pooled::new(sae);
        pooled.push(sae, &sae.bias().unwrap(), rows.view(), &vec![2; texts.len()]).unwrap();
        pooled
    }

    /// The first concept is the sign of axis 0, which noise hides now and then; the second is that of axis 1, which is clear.
    pub fn crossed(count: usize, seed: u64) -> (Vec<[f32; D]>, [Vec<bool>; 2]) {
        let mut draw = Philox::new(seed);
        let labels = [1, 2].map(|bit| (0..count).map(|text| text & bit != 0).collect::<Vec<_>>());
        let texts = (0..count).map(|text| {
            let [a, b, c] = std::array::from_fn(|_| 2.0 * draw.uniform() - 1.0);
            let side = |concept: usize| if labels[concept][text] { 1.0 } else { -1.0 };
            [0.5 * side(0) + 0.6 * a, 1.5 * side(1) + 0.1 * b, 0.3 * c]
        });
        (texts.collect(), labels)
    }

    /// The logits without latents are those of a probe on rows from which they were taken token by token.
    #[test]
    fn ablation_is_linear() {
        let (sae, (texts, labels)) = (both_ways(), crossed(40, 1));
        let pooled = read(&sae, &texts);
        let of = Labelled { texts: &pooled, labels: &labels[0] };
        let probe = Read::fit(&sae.w_dec.to_vec().unwrap(), of.raw(), of.labels, Fit::default()).unwrap();
        let cut: Vec<[f32; D]> = texts.iter().map(|row| [row[0].min(0.0), row[1].max(0.0), row[2]]).collect();
        let want = probe.probe.logits(Labelled { texts: &read(&sae, &cut), labels: &labels[0] }.raw()).unwrap();
        for (got, want) in probe.without(&pooled, &[0, D + 1]).unwrap().into_iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }
}
