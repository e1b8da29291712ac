//! The two parts of a step that a look may come between. They call operations of the device and nothing else, so that
//! they can be recorded.
use super::scratch::codes;
use super::{Decoder, Revive, train::Trainer};
use crate::{
    Accumulate, Against, Result, Tensor, adamw_scheduled_into, advance_into, decoder_step_scheduled_into,
    sae_backward_into, sae_bias_backward_into, sae_bias_into, sae_decode_into, sae_encode_flat_into, sae_encode_into,
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
        let (norm, rows) = (self.norm(), self.config.batch);
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
        let share = (self.facts.dead as f32 / revive.k as f32).min(1.0);
        let weight = revive.weight * share / self.facts.left;
        scale_into(-2.0 * weight / (rows as f32 * norm), s.aux_residual.view_mut())?;
        Ok(k)
    }

    /// Gradients of all weights, from the residuals.
    fn backward(&mut self, revived: Option<usize>) -> Result<()> {
        let (sae, s) = (&self.sae, &mut self.scratch);
        let x = s.x.view();
        let [rows, k] = [self.config.batch, self.config.k];
        scale_into(-2.0 / (rows as f32 * self.facts.variance), s.residual.view_mut())?;
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
        let (at, [weights, biases]) = (s.at.view(), s.rates.each_ref().map(Tensor::view));
        let m = &mut self.w_dec;
        let (w, g, mean, square) = (sae.w_dec.view_mut(), s.dw_dec.view(), m.mean.view_mut(), m.square.view_mut());
        match self.config.decoder {
            Decoder::Unit => decoder_step_scheduled_into(w, g, mean, square, weights, at)?,
            Decoder::Free => adamw_scheduled_into(w, g, mean, square, weights, at)?,
        }
        self.w_enc.step(&mut sae.w_enc, &s.dw_enc, weights, at)?;
        self.b_enc.step(&mut sae.b_enc, &s.db_enc, biases, at)?;
        self.b_dec.step(&mut sae.b_dec, &s.db_dec, biases, at)
    }
}
