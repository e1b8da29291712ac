use super::run::in_parts;
use crate::io::{Error, Result};
use crate::lm::{Hooks, LanguageModel, Site};
use crate::sae::eval::{Pooled, SparseRows};
use crate::sae::{Contexts, Sae};
use crate::{Code, Tensor, copy_into, sae_decode};
use serde::{Deserialize, Serialize};

/// Which activations of a text stand for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// That of its last token.
    Last,
    /// The mean of those of its tokens, but for the first [`Contexts::SKIPPED`].
    #[default]
    Mean,
}

/// Texts by their activations at `site` and the latents of `sae` there: means over the tokens that stand for each.
///
/// # Errors
/// Those of the model and of the autoencoder; a text of no more than [`Contexts::SKIPPED`] tokens.
pub fn states(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    texts: &[Vec<u32>],
    pooling: Pooling,
    tell: impl FnMut(usize),
) -> Result<Pooled> {
    Ok(states_at(lm, &[(site, sae)], texts, pooling, tell)?.remove(0))
}

/// [`states`] at several places, in one run of the model.
///
/// # Errors
/// As there.
pub fn states_at(
    lm: &LanguageModel,
    places: &[(Site, &Sae)],
    texts: &[Vec<u32>],
    pooling: Pooling,
    mut tell: impl FnMut(usize),
) -> Result<Vec<Pooled>> {
    const ROWS: usize = 2048;
    if let Some(short) = texts.iter().position(|ids| ids.len() <= Contexts::SKIPPED) {
        let what =
            format!("number {short} has {} tokens, of which {} are left out", texts[short].len(), Contexts::SKIPPED);
        return Err(Error::setting("texts", what));
    }
    let Some(last) = places.iter().map(|(site, _)| *site).max() else { return Ok(Vec::new()) };
    let all = places.iter().map(|(_, sae)| Ok((Pooled::new(sae), sae.bias()?)));
    let mut all = all.collect::<Result<Vec<_>>>()?;
    let skipped = |ids: &Vec<u32>| if pooling == Pooling::Last { ids.len() - 1 } else { Contexts::SKIPPED };
    for part in in_parts(texts, ROWS) {
        let counts: Vec<usize> = part.iter().map(|ids| ids.len() - skipped(ids)).collect();
        let mut hooks = Hooks::new();
        for (&(site, sae), (pooled, bias)) in places.iter().zip(&mut all) {
            let counts = &counts;
            hooks = hooks.at(site, move |x| pooled.push(sae, bias, ends(x, part, counts)?.view(), counts));
        }
        lm.model.activations_each(part, last, &mut hooks)?;
        drop(hooks);
        tell(part.len());
    }
    Ok(all.into_iter().map(|(pooled, _)| pooled).collect())
}

/// Of each of `texts`, whose rows are `x`, the last so many.
fn ends(x: &Tensor<f32, 2>, texts: &[Vec<u32>], counts: &[usize]) -> Result<Tensor<f32, 2>> {
    let mut rows = Tensor::empty([counts.iter().sum(), x.dims()[1]], &x.device())?;
    let (mut from, mut to) = (0, 0);
    for (ids, &count) in texts.iter().zip(counts) {
        let end = from + ids.len();
        copy_into(x.view().narrow(0, end - count, end)?, rows.view_mut().narrow(0, to, to + count)?)?;
        (from, to) = (end, to + count);
    }
    Ok(rows)
}

/// `Σ w(j) aⱼ W_dec[j]` of each row of values `a`, `[rows, d]`: no bias is added.
///
/// # Errors
/// If the memory cannot be had.
pub(super) fn weighted(sae: &Sae, values: &SparseRows, weight: impl Fn(usize) -> f32) -> Result<Vec<f32>> {
    let (rows, n) = (values.len(), sae.latents());
    let width = (0..rows).map(|row| values.row(row).count()).max().unwrap_or(0);
    let (mut numbers, mut latents) = (vec![0.0; rows * width], vec![n as u32; rows * width]);
    for row in 0..rows {
        let kept = values.row(row).map(|(latent, value)| (latent, value * weight(latent))).filter(|(_, v)| *v != 0.0);
        for (slot, (latent, value)) in (row * width..).zip(kept) {
            (numbers[slot], latents[slot]) = (value, latent as u32);
        }
    }
    let device = sae.device();
    let numbers = Tensor::from_vec(numbers, [rows, width], &device)?;
    let code = Code::fixed(numbers, Tensor::from_vec(latents, [rows, width], &device)?)?;
    Ok(sae_decode(code.view(), sae.w_dec.view(), None, None)?.recon.to_vec()?)
}
