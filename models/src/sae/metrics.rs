//! How good an autoencoder is, on text that it was not trained on.
use super::{Contexts, Gate, Sae, Splice, initial, on_host};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Point, Site};
use crate::{Tensor, View, copy_into};

/// How well rows are reconstructed.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Fraction of variance unexplained, `Σ |x - x̂|² / Σ |x - mean|²`.
    pub fvu: f64,
    /// Active latents per row.
    pub l0: f64,
    /// Share of rows with more latents above the threshold than [`Gate::Above`] has room for. Where it is not 0, all other
    /// figures are of the rows cut down to the strongest.
    pub truncated: f64,
    /// Mean cosine between a row and its reconstruction.
    pub cosine: f64,
    /// Share of latents that never fired.
    pub dead: f64,
    /// Share of rows on which each latent fired.
    pub density: Vec<f32>,
}

/// Rows worked on at a time.
const ROWS: usize = 2048;

/// Judge `sae` on `rows`.
///
/// # Errors
/// If they have another width or live elsewhere, and for a transcoder.
pub fn quality(sae: &Sae, rows: View<'_, f32, 2>) -> Result<Quality> {
    sae.reconstructs()?;
    quality_to(sae, rows, rows)
}

/// Judge how well `sae` makes rows `to` of `rows`, one of each: a transcoder by what it predicts. All but `density`, `dead` and `l0` is of `to`.
///
/// # Errors
/// As [`quality`], but for a transcoder; rows that do not belong together.
pub fn quality_to(sae: &Sae, rows: View<'_, f32, 2>, to: View<'_, f32, 2>) -> Result<Quality> {
    if rows.dims() != to.dims() {
        return Err(Error::setting("to", format!("is {:?}, but rows are {:?}", to.dims(), rows.dims())));
    }
    let ([total, d], n, bias) = (rows.dims(), sae.latents(), sae.bias()?);
    let host = on_host(to)?;
    let variance = initial::variance(&host, &initial::mean(&host, d)) * total as f64;
    let (mut error, mut cosine, mut active, mut cut, mut fired) = (0.0, 0.0, 0_usize, 0_usize, vec![0_u32; n]);
    for start in (0..total).step_by(ROWS) {
        let end = total.min(start + ROWS);
        let x = rows.narrow(0, start, end)?;
        let (code, counts) = sae.encode_counted(x, &bias)?;
        if let (Gate::Above { most, .. }, Some(counts)) = (sae.gate, counts) {
            cut += counts.to_vec()?.into_iter().filter(|&count| count as usize > most).count();
        }
        let recon = sae.reconstruct_with(x, &code)?.to_vec()?;
        let rows = &host[start * d..end * d];
        error += rows.iter().zip(&recon).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum::<f64>();
        for (row, recon) in rows.chunks_exact(d).zip(recon.chunks_exact(d)) {
            cosine += dot(row, recon) / (dot(row, row) * dot(recon, recon)).sqrt().max(f64::MIN_POSITIVE);
        }
        for (latent, value) in code.latents.to_vec()?.into_iter().zip(code.values.to_vec()?) {
            if value > 0.0 && (latent as usize) < n {
                fired[latent as usize] += 1;
                active += 1;
            }
        }
    }
    let count = total.max(1) as f64;
    Ok(Quality {
        fvu: error / variance,
        l0: active as f64 / count,
        truncated: cut as f64 / count,
        cosine: cosine / count,
        dead: fired.iter().filter(|&&f| f == 0).count() as f64 / n.max(1) as f64,
        density: fired.into_iter().map(|f| (f64::from(f) / count) as f32).collect(),
    })
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Mean loss, in nats, of the next tokens that `model` predicts where its activations at `site` are spliced. The first
/// [`Contexts::SKIPPED`] positions of a context stay as they are, so they are not counted either.
///
/// # Errors
/// Those of the model and of the autoencoder, and contexts of which no token counts.
pub fn spliced_loss(
    model: &Decoder,
    site: Site,
    contexts: &Contexts,
    splice: Splice<'_>,
    mut tell: impl FnMut(usize),
) -> Result<f64> {
    let [loss] = spliced_losses(model, site, contexts, [splice], &mut tell)?;
    Ok(loss)
}

/// [`spliced_loss`] of several splices, which share the run of the model up to a residual.
fn spliced_losses<const N: usize>(
    model: &Decoder,
    site: Site,
    contexts: &Contexts,
    splices: [Splice<'_>; N],
    tell: &mut impl FnMut(usize),
) -> Result<[f64; N]> {
    const BATCH: usize = 8;
    let length = contexts.length;
    if length < Contexts::SKIPPED + 2 {
        let what = format!("contexts of {length} tokens: none after the first {} has a next one", Contexts::SKIPPED);
        return Err(Error::setting("length", what));
    }
    let (mut sums, mut count) = ([0.0; N], 0_usize);
    for ids in contexts.ids.chunks(BATCH * length) {
        let batch = ids.len() / length;
        let ids = model.ids(ids.to_vec(), batch)?;
        let shared = match site.point {
            Point::Residual => Some(model.activations(&ids, site, &mut Hooks::new())?),
            Point::Attention | Point::MlpInput | Point::Mlp | Point::Mixer => None,
        };
        for (sum, splice) in sums.iter_mut().zip(splices) {
            let mut read = splice.read(model, site, &ids)?;
            let losses = if let Some(x) = &shared {
                let mut other = Tensor::empty(x.dims(), &x.device())?;
                copy_into(x.view(), other.view_mut())?;
                splice.put(&mut other, batch, read)?;
                model.losses_from(site.layer, other, &ids, &mut Hooks::new())?
            } else {
                model.losses(&ids, &mut Hooks::new().at(site, |x| splice.put(x, batch, read.take())))?
            };
            for context in losses.to_vec()?.chunks_exact(length) {
                *sum += context[Contexts::SKIPPED..length - 1].iter().map(|&loss| f64::from(loss)).sum::<f64>();
            }
            tell(batch * length);
        }
        count += batch * (length - 1 - Contexts::SKIPPED);
    }
    Ok(sums.map(|sum| sum / count.max(1) as f64))
}

/// Losses with the activations as they are, reconstructed, zero, and at their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// As they are.
    pub clean: f64,
    /// Reconstructed.
    pub sae: f64,
    /// Zero.
    pub zero: f64,
    /// At their mean.
    pub mean: f64,
}

impl Losses {
    /// All four.
    ///
    /// # Errors
    /// As [`spliced_loss`].
    pub fn measure(
        model: &Decoder,
        site: Site,
        contexts: &Contexts,
        sae: &Sae,
        mean: &[f32],
        tell: impl FnMut(usize),
    ) -> Result<Self> {
        Self::measure_splice(model, site, contexts, Splice::Sae(sae), mean, tell)
    }

    /// The same of anything that stands in for the activations at `site`, as what a transcoder [predicts](Splice::Predicted) there.
    ///
    /// # Errors
    /// As [`spliced_loss`].
    pub fn measure_splice(
        model: &Decoder,
        site: Site,
        contexts: &Contexts,
        splice: Splice<'_>,
        mean: &[f32],
        mut tell: impl FnMut(usize),
    ) -> Result<Self> {
        let splices = [Splice::Clean, splice, Splice::Zero, Splice::Mean(mean)];
        let [clean, sae, zero, mean] = spliced_losses(model, site, contexts, splices, &mut tell)?;
        Ok(Self { clean, sae, zero, mean })
    }

    /// Share of the loss by zero that reconstruction gives back.
    pub fn recovered(&self) -> f64 {
        (self.zero - self.sae) / (self.zero - self.clean)
    }
}
