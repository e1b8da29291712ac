//! What stands in for activations while a language model predicts.
use super::{Contexts, Sae};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Site};
use crate::{Tensor, copy_into};
use std::cell::RefCell;

/// What stands in for the activations at a place while a language model predicts.
#[derive(Clone, Copy)]
pub enum Splice<'a> {
    /// Themselves.
    Clean,
    /// Their reconstruction.
    Sae(&'a Sae),
    /// What a transcoder makes of the activations at another place, which is reached before.
    Predicted(&'a Sae, Site),
    /// What a crosscoder makes of the activations at all these places, which lie side by side in its rows: the part that is of the place itself.
    /// The others stay as they are.
    Crosscoder(&'a Sae, &'a [Site]),
    /// Zero.
    Zero,
    /// This row.
    Mean(&'a [f32]),
}

impl Splice<'_> {
    /// What is made of activations that are not, or not only, those at `site`: the model runs for them, unchanged.
    pub(super) fn read(self, model: &Decoder, site: Site, ids: &Tensor<u32, 2>) -> Result<Option<Tensor<f32, 2>>> {
        match self {
            Splice::Predicted(sae, from) => {
                if !sae.predicts {
                    return Err(Error::setting("sae", "is no transcoder"));
                }
                if from >= site {
                    return Err(Error::setting("from", format!("{from:?} is not reached before {site:?}")));
                }
                let x = model.activations(ids, from, &mut Hooks::new())?;
                Ok(Some(sae.reconstruct(x.view())?))
            }
            Splice::Crosscoder(sae, sites) => {
                sae.reconstructs()?;
                let Some(at) = sites.iter().position(|other| *other == site) else {
                    return Err(Error::setting("sites", format!("{site:?} is none of {sites:?}")));
                };
                let recon = sae.reconstruct(beside(model, ids, sites)?.view())?;
                let d = model.config().dim;
                let mut part = Tensor::empty([recon.dims()[0], d], &recon.device())?;
                copy_into(recon.view().narrow(1, at * d, (at + 1) * d)?, part.view_mut())?;
                Ok(Some(part))
            }
            Splice::Clean | Splice::Sae(_) | Splice::Zero | Splice::Mean(_) => Ok(None),
        }
    }

    /// Put it in the place of `x`, the activations of so many contexts, but for the first tokens of each. `read` is what was made of other places.
    pub(super) fn put(self, x: &mut Tensor<f32, 2>, contexts: usize, read: Option<Tensor<f32, 2>>) -> Result<()> {
        let ([rows, d], device) = (x.dims(), x.device());
        let mut other = match (self, read) {
            (Splice::Clean, _) => return Ok(()),
            (_, Some(read)) => read,
            (Splice::Sae(sae), _) => {
                sae.reconstructs()?;
                sae.reconstruct(x.view())?
            }
            (Splice::Mean(mean), _) => Tensor::from_vec(mean.repeat(rows), [rows, d], &device)?,
            (Splice::Zero | Splice::Predicted(..) | Splice::Crosscoder(..), _) => Tensor::zeros([rows, d], &device)?,
        };
        let length = rows / contexts.max(1);
        let kept = Contexts::SKIPPED.min(length);
        for first in (0..rows).step_by(length.max(1)) {
            copy_into(x.view().narrow(0, first, first + kept)?, other.view_mut().narrow(0, first, first + kept)?)?;
        }
        *x = other;
        Ok(())
    }
}

/// The activations at several places, side by side in the rows of all tokens: what a crosscoder reads.
///
/// # Errors
/// Those of the model; no place, or one twice.
pub fn beside(model: &Decoder, ids: &Tensor<u32, 2>, sites: &[Site]) -> Result<Tensor<f32, 2>> {
    let last = sites.iter().max().ok_or_else(|| Error::setting("sites", "there must be one"))?;
    if let Some(twice) = sites.iter().find(|site| sites.iter().filter(|other| other == site).count() > 1) {
        return Err(Error::setting("sites", format!("{twice:?} is there twice")));
    }
    let (d, rows) = (model.config().dim, ids.dims().iter().product());
    let all = RefCell::new(Tensor::empty([rows, d * sites.len()], model.device())?);
    let mut hooks = Hooks::new();
    for (at, &site) in sites.iter().enumerate() {
        let all = &all;
        hooks = hooks
            .at(site, move |x| Ok(copy_into(x.view(), all.borrow_mut().view_mut().narrow(1, at * d, (at + 1) * d)?)?));
    }
    model.activations(ids, *last, &mut hooks)?;
    drop(hooks);
    Ok(all.into_inner())
}
