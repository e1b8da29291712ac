use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Point, Site};
use crate::sae::{Contexts, Sae, Splice};
use crate::{Tensor, copy_into};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What a language model loses where its activations are reconstructed, in nats per token. All figures are means over the tokens
/// of contexts but the first [`Contexts::SKIPPED`], which keep their activations, and the last, whose next is not known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Downstream {
    /// Cross-entropy of the next tokens as the model is.
    pub ce_clean: f64,
    /// With reconstructions.
    pub ce_sae: f64,
    /// With zeros.
    pub ce_zero: f64,
    /// `(ce_zero - ce_sae) / (ce_zero - ce_clean)`: 1 for perfect reconstructions, 0 where they are worth no more than zeros.
    pub ce_recovered: f64,
    /// `KL(clean ‖ sae)`: divergence of the next token's distribution with reconstructions from that of the model as it is.
    pub kl_sae: f64,
    /// `KL(clean ‖ zero)`.
    pub kl_zero: f64,
    /// `(kl_zero - kl_sae) / kl_zero`, likewise 1 to 0, and below 0 where reconstructions do more harm than zeros.
    pub kl_score: f64,
}

impl Downstream {
    /// Judge `sae` at `site` of `model`. Contexts are run one by one, for all logits of one are in memory. `tell` hears how many
    /// tokens are done at a time.
    ///
    /// # Errors
    /// Those of the model and of the autoencoder; contexts of which no token counts.
    pub fn measure(
        model: &Decoder,
        site: Site,
        contexts: &Contexts,
        sae: &Sae,
        tell: impl FnMut(usize),
    ) -> Result<Self> {
        Self::measure_splice(model, site, contexts, Splice::Sae(sae), tell)
    }

    /// [`measure`](Self::measure) of anything that stands in for the activations at `site`: of a transcoder what it
    /// [predicts](Splice::Predicted) there, of a crosscoder [its part](Splice::Crosscoder).
    ///
    /// # Errors
    /// As there; another place of a transcoder that is not reached before, places of a crosscoder of which this is none.
    pub fn measure_splice(
        model: &Decoder,
        site: Site,
        contexts: &Contexts,
        splice: Splice<'_>,
        tell: impl FnMut(usize),
    ) -> Result<Self> {
        let [clean, sae, zero] = divergences(model, site, contexts, [Splice::Clean, splice, Splice::Zero], tell)?;
        Ok(Self {
            ce_clean: clean.loss,
            ce_sae: sae.loss,
            ce_zero: zero.loss,
            ce_recovered: (zero.loss - sae.loss) / (zero.loss - clean.loss),
            kl_sae: sae.divergence,
            kl_zero: zero.divergence,
            kl_score: (zero.divergence - sae.divergence) / zero.divergence,
        })
    }
}

/// Means over tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Harm {
    loss: f64,
    divergence: f64,
}

/// The cross-entropy of each splice, and how far its distributions diverge from those of the model as it is.
fn divergences<const N: usize>(
    model: &Decoder,
    site: Site,
    contexts: &Contexts,
    splices: [Splice<'_>; N],
    mut tell: impl FnMut(usize),
) -> Result<[Harm; N]> {
    let length = contexts.length;
    if length < Contexts::SKIPPED + 2 || contexts.is_empty() {
        let what = format!(
            "{} contexts of {length} tokens: none after the first {} has a next one",
            contexts.len(),
            Contexts::SKIPPED
        );
        return Err(Error::setting("contexts", what));
    }
    let (counted, vocabulary) = (Contexts::SKIPPED..length - 1, model.config().vocabulary);
    let mut sums = [Harm::default(); N];
    for context in contexts.ids.chunks_exact(length) {
        let ids = model.ids(context.to_vec(), 1)?;
        let shared = match site.point {
            Point::Residual => Some(model.activations(&ids, site, &mut Hooks::new())?),
            Point::Attention | Point::MlpInput | Point::Mlp | Point::Mixer => None,
        };
        let logits = |splice: Splice<'_>| -> Result<Vec<f32>> {
            let mut read = splice.read(model, site, &ids)?;
            let Some(x) = &shared else {
                let mut hooks = Hooks::new().at(site, |x: &mut Tensor<f32, 2>| splice.put(x, 1, read.take()));
                return Ok(model.logits(&ids, &mut hooks)?.to_vec()?);
            };
            let mut other = Tensor::empty(x.dims(), &x.device())?;
            copy_into(x.view(), other.view_mut())?;
            splice.put(&mut other, 1, read)?;
            Ok(model.logits_from(site.layer, other, &ids, &mut Hooks::new())?.to_vec()?)
        };
        let clean = logits(Splice::Clean)?;
        for (sum, splice) in sums.iter_mut().zip(splices) {
            let other = if matches!(splice, Splice::Clean) { None } else { Some(logits(splice)?) };
            let other = other.as_ref().unwrap_or(&clean);
            let at = |at: usize| {
                let row = at * vocabulary..(at + 1) * vocabulary;
                harm(&clean[row.clone()], &other[row], context[at + 1] as usize)
            };
            let all: Vec<Harm> = counted.clone().into_par_iter().map(at).collect();
            sum.loss += all.iter().map(|harm| harm.loss).sum::<f64>();
            sum.divergence += all.iter().map(|harm| harm.divergence).sum::<f64>();
        }
        tell(length);
    }
    let count = (contexts.len() * counted.len()) as f64;
    Ok(sums.map(|sum| Harm { loss: sum.loss / count, divergence: sum.divergence / count }))
}

/// Of logits `q`: how surprising the token `next` is, and the divergence of their distribution from that of `p`.
fn harm(p: &[f32], q: &[f32], next: usize) -> Harm {
    let (total_p, total_q) = (log_sum(p), log_sum(q));
    let terms = p.iter().zip(q).map(|(&p, &q)| {
        let (p, q) = (f64::from(p) - total_p, f64::from(q) - total_q);
        p.exp() * (p - q)
    });
    Harm { loss: total_q - f64::from(q[next]), divergence: terms.sum() }
}

/// `log Σ exp`.
fn log_sum(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|&z| (f64::from(z) - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lm::Config;
    use crate::sae::{Gate, spliced_loss};
    use crate::{Device, Philox};
    use approx::assert_relative_eq;

    /// Distributions of a quarter and three quarters, and of halves.
    #[test]
    fn a_divergence_by_hand() {
        let (p, q) = ([0.0, 3.0_f32.ln()], [7.0, 7.0]);
        let found = harm(&p, &q, 0);
        assert_relative_eq!(found.loss, 2.0_f64.ln(), epsilon = 1e-9);
        assert_relative_eq!(found.divergence, 0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln(), epsilon = 1e-6);
        assert_eq!(harm(&p, &p, 1).divergence, 0.0);
        assert_relative_eq!(harm(&p, &p, 1).loss, -0.75_f64.ln(), epsilon = 1e-6);
    }

    /// Latents along both ways of every axis reconstruct anything, if all may fire.
    fn both_ways(d: usize, k: usize) -> Sae {
        let mut rows = vec![0.0; 2 * d * d];
        (0..d).for_each(|at| (rows[at * d + at], rows[(d + at) * d + at]) = (1.0, -1.0));
        Sae::tied(rows, vec![0.0; d], Gate::Strongest(k), &Device::Host).unwrap()
    }

    /// Losses are those of [`spliced_loss`], which takes another way; nothing is lost by a perfect reconstruction, and all of it by
    /// one that is always zero.
    #[test]
    fn perfect_and_useless() {
        let (d, vocabulary) = (16, 40);
        let model: Decoder = Decoder::random(Config::llama(2, d, 2, vocabulary, 32), 3, &Device::Host).unwrap();
        let mut draw = Philox::new(4);
        let contexts = Contexts { ids: (0..24).map(|_| draw.below(40)).collect(), length: 8 };
        for site in [Site::residual(0), Site::mlp(1)] {
            let measure = |sae: &Sae| Downstream::measure(&model, site, &contexts, sae, |_| ()).unwrap();
            let few = both_ways(d, 3);
            let found = measure(&few);
            for (got, splice) in
                [(found.ce_clean, Splice::Clean), (found.ce_sae, Splice::Sae(&few)), (found.ce_zero, Splice::Zero)]
            {
                let want = spliced_loss(&model, site, &contexts, splice, |_| ()).unwrap();
                assert_relative_eq!(got, want, epsilon = 1e-5);
            }
            assert!(found.kl_sae > 0.0 && found.kl_sae < found.kl_zero, "{found:?}");
            assert!((0.0..1.0).contains(&found.kl_score), "{found:?}");
            let perfect = measure(&both_ways(d, d));
            assert!((perfect.kl_score - 1.0).abs() < 1e-6 && perfect.kl_sae.abs() < 1e-9, "{perfect:?}");
            assert_relative_eq!(perfect.ce_sae, perfect.ce_clean, epsilon = 1e-6);
            let mut useless = both_ways(d, 1);
            useless.w_dec = Tensor::zeros([2 * d, d], &Device::Host).unwrap();
            let useless = measure(&useless);
            assert!(useless.kl_score.abs() < 1e-9 && useless.ce_recovered.abs() < 1e-9, "{useless:?}");
        }
        let short = Contexts { ids: vec![1, 2, 3], length: 3 };
        assert!(Downstream::measure(&model, Site::residual(0), &short, &both_ways(d, 1), |_| ()).is_err());
    }
    /// A transcoder that hands on the residual before a layer takes that layer out; a crosscoder that reconstructs all loses nothing, and one of
    /// one place loses nothing there and everything at the other.
    #[test]
    fn other_places() {
        let (d, vocabulary) = (16, 40);
        let model: Decoder = Decoder::random(Config::llama(3, d, 2, vocabulary, 32), 3, &Device::Host).unwrap();
        let mut draw = Philox::new(4);
        let contexts = Contexts { ids: (0..24).map(|_| draw.below(40)).collect(), length: 8 };
        let measure = |site, splice: Splice<'_>| Downstream::measure_splice(&model, site, &contexts, splice, |_| ());
        // What an MLP reads is not what it adds.
        let mut same = both_ways(d, d);
        same.predicts = true;
        let harmed = measure(Site::mlp(1), Splice::Predicted(&same, Site::mlp_input(1))).unwrap();
        assert!(harmed.kl_sae > 1e-6, "{harmed:?}");
        // Without what its attention and its MLP add, a layer hands on what it was given.
        let skipped = measure(Site::residual(1), Splice::Predicted(&same, Site::residual(0))).unwrap();
        let mut hooks = Hooks::new();
        for site in [Site::attention(1), Site::mlp(1)] {
            hooks = hooks.at(site, |x: &mut Tensor<f32, 2>| Splice::Zero.put(x, 3, None));
        }
        let ids = model.ids(contexts.ids.clone(), 3).unwrap();
        let losses = model.losses(&ids, &mut hooks).unwrap().to_vec().unwrap();
        let counted: Vec<f32> =
            losses.chunks_exact(8).flat_map(|of| of[Contexts::SKIPPED..7].iter().copied()).collect();
        let want = counted.iter().map(|&loss| f64::from(loss)).sum::<f64>() / counted.len() as f64;
        assert_relative_eq!(skipped.ce_sae, want, epsilon = 1e-5);
        for (site, from) in [(Site::mlp(0), Site::mlp(0)), (Site::mlp(0), Site::residual(1))] {
            assert!(measure(site, Splice::Predicted(&same, from)).is_err());
        }
        let plain = both_ways(d, d);
        assert!(measure(Site::mlp(1), Splice::Predicted(&plain, Site::mlp_input(1))).is_err());
        let sites = [Site::residual(0), Site::residual(2)];
        let whole = both_ways(2 * d, 2 * d);
        for site in sites {
            let found = measure(site, Splice::Crosscoder(&whole, &sites)).unwrap();
            assert!(found.kl_sae.abs() < 1e-9 && (found.kl_score - 1.0).abs() < 1e-6, "{found:?}");
        }
        let mut first = both_ways(2 * d, 4 * d);
        let mut kept = first.w_dec.to_vec().unwrap();
        kept.chunks_mut(2 * d).for_each(|row| row[d..].fill(0.0));
        first.w_dec = Tensor::from_vec(kept, [4 * d, 2 * d], &Device::Host).unwrap();
        let [found, zero] = sites.map(|site| measure(site, Splice::Crosscoder(&first, &sites)).unwrap());
        assert!(found.kl_sae.abs() < 1e-9, "{found:?}");
        assert!(zero.kl_score.abs() < 1e-9, "{zero:?}");
        assert!(measure(Site::residual(1), Splice::Crosscoder(&whole, &sites)).is_err());
        let twice = [sites[0]; 2];
        assert!(measure(sites[0], Splice::Crosscoder(&whole, &twice)).is_err());
    }
}
