//! The running mean of weights.
use super::reconstructions::Ranked;
use super::train::Trainer;
use super::{Decoder, Own, Sae, moments};
use crate::io::Result;
use crate::{Tensor, ViewMut, add_into, copy_into, sae_bias, sae_encode_flat, scale_into};

impl Trainer {
    /// What BatchTopK would keep of the rows of this part with the mean of all weights.
    pub(super) fn kept_by(&self, mean: &Sae) -> Result<Vec<f32>> {
        let (config, x) = (&self.config, self.scratch.x.view());
        let none = if config.centred { None } else { Some(Tensor::zeros([config.d], &mean.device())?) };
        let center = none.as_ref().unwrap_or(&mean.b_dec).view();
        let bias = sae_bias(mean.w_enc.view(), mean.b_enc.view(), center)?;
        if config.ranked_by_length {
            return Ok(Ranked::of(mean, config.sides, &bias)?.find(x, config, self.facts.step)?.values.to_vec()?);
        }
        let total = config.total(config.k_at(self.facts.step));
        Ok(sae_encode_flat(x, mean.w_enc.view(), bias.view(), total)?.0.to_vec()?)
    }

    /// After a step: `mean = decay mean + (1 - decay) weights`, with the decay of the mean of all weights so far as long as that is less.
    pub(super) fn average(&mut self) -> Result<()> {
        let (Some(decay), Some(mean)) = (self.config.average, &mut self.averaged) else { return Ok(()) };
        let so_far = self.facts.step as f32; // steps before this one
        let keep = decay.min(so_far / (so_far + 1.0));
        blend(keep, mean, &self.sae)
    }
}

fn blend(keep: f32, mean: &mut Sae, sae: &Sae) -> Result<()> {
    matrix(keep, mean.w_enc.view_mut(), &sae.w_enc)?;
    matrix(keep, mean.w_dec.view_mut(), &sae.w_dec)?;
    vector(keep, &mut mean.b_enc, &sae.b_enc)?;
    vector(keep, &mut mean.b_dec, &sae.b_dec)?;
    match (&mut mean.own, &sae.own) {
        (Some(Own::Thresholds(mean)), Some(Own::Thresholds(of))) => vector(keep, mean, of)?,
        (Some(Own::Magnitudes { r_mag, b_mag }), Some(Own::Magnitudes { r_mag: r, b_mag: b })) => {
            vector(keep, r_mag, r)?;
            vector(keep, b_mag, b)?;
        }
        _ => {}
    }
    if let (Some(mean), Some(router)) = (&mut mean.router, &sae.router) {
        matrix(keep, mean.w.view_mut(), &router.w)?;
        vector(keep, &mut mean.b, &router.b)?;
    }
    match (&mut mean.skip, &sae.skip) {
        (Some(mean), Some(skip)) => matrix(keep, mean.view_mut(), skip),
        _ => Ok(()),
    }
}

fn matrix(keep: f32, mut mean: ViewMut<'_, f32, 2>, of: &Tensor<f32, 2>) -> Result<()> {
    let mut new = Tensor::empty(of.dims(), &of.device())?;
    copy_into(of.view(), new.view_mut())?;
    scale_into(1.0 - keep, new.view_mut())?;
    scale_into(keep, mean.reborrow())?;
    Ok(add_into(new.view(), mean)?)
}

fn vector(keep: f32, mean: &mut Tensor<f32, 1>, of: &Tensor<f32, 1>) -> Result<()> {
    let n = of.dims()[0];
    let mut new = Tensor::empty([1, n], &of.device())?;
    copy_into(of.view().reshape([1, n])?, new.view_mut())?;
    scale_into(1.0 - keep, new.view_mut())?;
    let mut mean = mean.view_mut().reshape([1, n])?;
    scale_into(keep, mean.reborrow())?;
    Ok(add_into(new.view(), mean)?)
}

/// Rows of the decoder have their length again, of which a mean has less.
pub(super) fn whole(mut mean: Sae, decoder: Decoder) -> Result<Sae> {
    if decoder == Decoder::Unit {
        moments::unit(&mut mean.w_dec)?;
    }
    Ok(mean)
}
