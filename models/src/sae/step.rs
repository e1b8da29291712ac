//! The two parts of a step that a look may come between. They call operations of the device and nothing else, so that
//! they can be recorded.
use super::moments::{self, Moments, Pace};
use super::scratch::{Scratch, codes};
use super::train::{Facts, Trainer};
use super::{Config, Decoder, Over, Revive};
use crate::{
    Accumulate, Against, Result, Tensor, advance_into, decoder_step_scheduled_into, sae_backward_into,
    sae_bias_backward_into, sae_bias_into, sae_decode_into, sae_encode_flat_into, sae_encode_into,
    sae_encode_subset_into, sae_track_into, scale_into,
};

impl Trainer {
    /// Encode, decode, and note who fired.
    pub(super) fn forward(&mut self) -> Result<()> {
        let (sae, s, config) = (&self.sae, &mut self.scratch, &self.config);
        let x = s.x.view();
        sae_bias_into(sae.w_enc.view(), sae.b_enc.view(), sae.b_dec.view(), s.bias.view_mut())?;
        let (w_enc, bias, work) = (sae.w_enc.view(), s.bias.view(), s.workspace.view_mut());
        let [rows, k] = [config.batch, config.k];
        match &mut s.offsets {
            None => {
                let values = s.values.view_mut().reshape([rows, k])?;
                let latents = s.latents.view_mut().reshape([rows, k])?;
                sae_encode_into(x, w_enc, bias, k, values, latents, work)?;
            }
            Some(offsets) => {
                let (values, latents) = (s.values.view_mut(), s.latents.view_mut());
                sae_encode_flat_into(x, w_enc, bias, rows * k, values, latents, offsets.view_mut(), work)?;
            }
        }
        let code = codes(&s.values, &s.latents, s.offsets.as_ref(), [rows, k])?;
        let against = Against { x, residual: s.residual.view_mut(), error: s.error.view_mut() };
        let (b_dec, work) = (Some(sae.b_dec.view()), s.workspace.view_mut());
        sae_decode_into(code, sae.w_dec.view(), b_dec, s.recon.view_mut(), Some(against), work)?;
        sae_track_into(code, self.since.view_mut(), rows as u32, config.fired)?;
        Ok(())
    }

    /// Everything after the look.
    pub(super) fn learn(&mut self) -> Result<()> {
        let revived = match self.config.revive {
            Some(revive) if self.facts.dead > 0 => Some(self.leftover(revive)?),
            _ => None,
        };
        self.backward(revived)?;
        self.update()
    }

    /// Let dead latents reconstruct the residual: how many of them per row, and the gradient in `aux_residual`.
    pub(super) fn leftover(&mut self, revive: Revive) -> Result<usize> {
        let (norm, rows) = (self.norm(), self.config.rows());
        let (sae, s) = (&self.sae, &mut self.scratch);
        let (x, k) = (s.x.view(), revive.k.min(self.facts.dead));
        let (w_enc, bias, work) = (sae.w_enc.view(), s.bias.view(), s.workspace.view_mut());
        let values = s.aux_values.view_mut().narrow(0, 0, rows * k)?.reshape([rows, k])?;
        let latents = s.aux_latents.view_mut().narrow(0, 0, rows * k)?.reshape([rows, k])?;
        sae_encode_subset_into(x, w_enc, bias, self.dead.view(), s.count.view(), k, values, latents, work)?;
        let code = codes(&s.aux_values, &s.aux_latents, None, [rows, k])?;
        let (e, error) = (s.residual.view(), s.aux_error.view_mut());
        let against = Against { x: e, residual: s.aux_residual.view_mut(), error };
        sae_decode_into(code, sae.w_dec.view(), None, s.recon.view_mut(), Some(against), s.workspace.view_mut())?;
        let share = if revive.share { (self.facts.dead as f32 / revive.k as f32).min(1.0) } else { 1.0 };
        let left = match revive.over {
            Over::Left => self.facts.left,
            Over::Loss => 1.0,
        };
        let weight = revive.weight * share / left;
        scale_into(-2.0 * weight / (rows as f32 * norm), s.aux_residual.view_mut())?;
        Ok(k)
    }

    /// Gradients of all weights, from the residuals.
    fn backward(&mut self, revived: Option<usize>) -> Result<()> {
        let norm = self.norm();
        let (sae, s) = (&self.sae, &mut self.scratch);
        let x = s.x.view();
        let [rows, k] = [self.config.batch, self.config.k];
        scale_into(-2.0 / (rows as f32 * norm), s.residual.view_mut())?;
        let (w_dec, b_dec) = (sae.w_dec.view(), Some(sae.b_dec.view()));
        let code = codes(&s.values, &s.latents, s.offsets.as_ref(), [rows, k])?;
        let (dw_dec, dw_enc, db_enc) = (s.dw_dec.view_mut(), s.dw_enc.view_mut(), s.db_enc.view_mut());
        let (dvalues, work) = (s.dvalues.view_mut(), s.workspace.view_mut());
        let (g, replace) = (s.residual.view(), Accumulate::Replace);
        sae_backward_into(code, x, g, w_dec, b_dec, replace, dw_dec, dw_enc, db_enc, dvalues, work)?;
        if let Some(k) = revived {
            let code = codes(&s.aux_values, &s.aux_latents, None, [rows, k])?;
            let (dw_dec, dw_enc, db_enc) = (s.dw_dec.view_mut(), s.dw_enc.view_mut(), s.db_enc.view_mut());
            let (dvalues, work) = (s.aux_dvalues.view_mut().narrow(0, 0, rows * k)?, s.workspace.view_mut());
            let (g, add) = (s.aux_residual.view(), Accumulate::Add);
            sae_backward_into(code, x, g, w_dec, b_dec, add, dw_dec, dw_enc, db_enc, dvalues, work)?;
        }
        let (g, w_enc, db_enc) = (s.residual.view(), sae.w_enc.view(), s.db_enc.view());
        sae_bias_backward_into(g, w_enc, db_enc, Accumulate::Replace, s.db_dec.view_mut(), s.workspace.view_mut())?;
        Ok(())
    }

    /// Shorten the gradient if asked to, and step.
    fn update(&mut self) -> Result<()> {
        if let Some(clip) = self.config.clip {
            self.scratch.clip(clip)?;
        }
        self.step_weights()?;
        advance_into(self.scratch.at.view_mut())
    }

    /// Weights and biases along their gradients.
    pub(super) fn step_weights(&mut self) -> Result<()> {
        let (s, sae) = (&mut self.scratch, &mut self.sae);
        let Scratch { dw_dec, dw_enc, db_enc, db_dec, rates, at, .. } = s;
        let [weights, biases] = paces(&self.config, &self.facts, rates, at);
        match (self.config.decoder, &mut self.w_dec) {
            (Decoder::Unit, Moments::AdamW { mean, square }) => {
                let (w, g, mean, square) = (sae.w_dec.view_mut(), dw_dec.view(), mean.view_mut(), square.view_mut());
                decoder_step_scheduled_into(w, g, mean, square, weights.rates, weights.at)?;
            }
            (Decoder::Unit, moments) => {
                moments::tangent(&sae.w_dec, dw_dec)?;
                moments.step(&mut sae.w_dec, dw_dec, &weights)?;
                moments::unit(&mut sae.w_dec)?;
            }
            (Decoder::Free, moments) => moments.step(&mut sae.w_dec, dw_dec, &weights)?,
        }
        self.w_enc.step(&mut sae.w_enc, dw_enc, &weights)?;
        self.b_enc.step(&mut sae.b_enc, db_enc, &biases)?;
        self.b_dec.step(&mut sae.b_dec, db_dec, &biases)
    }
}

/// How far weights and biases go in a step.
pub(super) fn paces<'a>(
    config: &Config,
    facts: &Facts,
    rates: &'a [Tensor<f32, 2>; 2],
    at: &'a Tensor<u32, 1>,
) -> [Pace<'a>; 2] {
    let pace = |which: usize, scale: f32| {
        let now = config.adamw(facts.step, scale);
        Pace { rates: rates[which].view(), at: at.view(), now }
    };
    [pace(0, 1.0), pace(1, facts.scale)]
}
