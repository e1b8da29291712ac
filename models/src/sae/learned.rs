//! Gradients of what is learned beside weights and biases: thresholds, magnitudes, a router, lengths of rows.
use super::general::Forward;
use super::gradient::Sums;
use super::train::Trainer;
use super::variant::Jump;
use super::{Nudge, Own, Switch, Variant};
use crate::io::Result;
use crate::{Accumulate, Reduce, Tensor, linear_backward_into, reduce};
use rayon::prelude::*;

impl Trainer {
    /// Latents that have been dead for long are drawn to their thresholds: none of them was above its own in these rows, so the
    /// slope is the same for all of these.
    pub(super) fn nudge(&mut self, nudge: Nudge, lengths: &[f32], sums: &mut Sums) -> Result<()> {
        let (config, facts, s) = (&self.config, &self.facts, &mut self.scratch);
        let (d, rows, device) = (config.d, config.rows() as f32, self.sae.device());
        let since = self.since.to_vec()?;
        let mut sum = reduce(s.x.view(), Reduce::Sum, 0)?.to_vec()?;
        if config.centred {
            sum.iter_mut().zip(self.sae.b_dec.to_vec()?).for_each(|(sum, b)| *sum -= rows * b);
        }
        let (mut dw_enc, mut db_enc) = (s.dw_enc.to_vec()?, s.db_enc.to_vec()?);
        for latent in (0..config.latents).filter(|&latent| since[latent] >= nudge.after) {
            let by = nudge.weight * lengths[latent] / (rows * d as f32 * facts.unit);
            dw_enc[latent * d..][..d].iter_mut().zip(&sum).for_each(|(dw, sum)| *dw -= by * sum);
            db_enc[latent] -= by * rows;
            sums.threshold[latent] += by * rows;
        }
        s.dw_enc = Tensor::from_vec(dw_enc, [config.latents, d], &device)?;
        s.db_enc.write(&db_enc)?;
        Ok(())
    }

    /// Gradients of thresholds, or of factors and biases. What a gated run's factors take of the gate's bias leaves that.
    pub(super) fn learned_backward(&mut self, sums: &Sums) -> Result<Vec<Tensor<f32, 1>>> {
        let (n, device) = (self.config.latents, self.sae.device());
        let tensor = |of: Vec<f32>| Tensor::from_vec(of, [n], &device);
        match (&self.config.variant, &self.sae.own) {
            (Variant::JumpReLU(Jump { log, .. }), Some(Own::Thresholds(thresholds))) => {
                let mut of = sums.threshold.clone();
                if *log {
                    of.iter_mut().zip(thresholds.to_vec()?).for_each(|(of, threshold)| *of *= threshold);
                }
                Ok(vec![tensor(of)?])
            }
            (_, Some(Own::Magnitudes { r_mag, .. })) => {
                let (scale, gate) = (r_mag.to_vec()?, self.sae.b_enc.to_vec()?);
                let mut db_enc = self.scratch.db_enc.to_vec()?;
                let mut factors = Vec::with_capacity(n);
                for j in 0..n {
                    let scale = scale[j].exp();
                    factors.push(scale * (sums.scale[j] - gate[j] * sums.shift[j]));
                    db_enc[j] -= scale * sums.shift[j];
                }
                self.scratch.db_enc.write(&db_enc)?;
                Ok(vec![tensor(factors)?, tensor(sums.shift.clone())?])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Gradients of the router, from those of the chances of the experts that rows were sent to, and from what keeps them busy.
    pub(super) fn router_backward(
        &mut self,
        forward: &Forward,
        of_chances: &[f32],
    ) -> Result<Option<(Tensor<f32, 2>, Tensor<f32, 1>)>> {
        let (Some((routes, centred)), Some(router)) = (&forward.routes, &self.sae.router) else { return Ok(None) };
        let Variant::Switch(Switch { experts, balance }) = self.config.variant else { return Ok(None) };
        let (rows, d, device) = (self.config.rows(), self.config.d, self.sae.device());
        let mut busy = vec![0.0_f32; experts];
        routes.chosen.iter().for_each(|&expert| busy[expert] += 1.0 / rows as f32);
        let push = balance * experts as f32 / (rows as f32 * d as f32);
        let mut slopes = Vec::with_capacity(rows * experts);
        for (row, chances) in routes.chances.chunks_exact(experts).enumerate() {
            let of = |expert: usize| {
                let own = if expert == routes.chosen[row] { of_chances[row] } else { 0.0 };
                own + push * busy[expert]
            };
            let mean: f32 = chances.iter().enumerate().map(|(expert, chance)| chance * of(expert)).sum();
            slopes.extend(chances.iter().enumerate().map(|(expert, chance)| chance * (of(expert) - mean)));
        }
        let slopes = Tensor::from_vec(slopes, [rows, experts], &device)?;
        let (mut dw, mut dx) = (Tensor::zeros([experts, d], &device)?, Tensor::zeros([rows, d], &device)?);
        let (to_x, to_w) = (Some(dx.view_mut()), Some(dw.view_mut()));
        linear_backward_into(centred.view(), router.w.view(), slopes.view(), Accumulate::Replace, to_x, to_w, None)?;
        let mut db = reduce(dx.view(), Reduce::Sum, 0)?.to_vec()?;
        db.iter_mut().for_each(|b| *b = -*b);
        Ok(Some((dw, Tensor::from_vec(db, [d], &device)?)))
    }

    /// What a penalty by lengths asks of the rows of the decoder, side by side.
    pub(super) fn lengths_backward(&mut self, of_weight: &[f32]) -> Result<()> {
        let (config, unit) = (&self.config, self.facts.unit);
        let (d, side) = (config.d, config.d / config.sides);
        let (w_dec, mut dw_dec) = (self.sae.w_dec.to_vec()?, self.scratch.dw_dec.to_vec()?);
        let rows = dw_dec.par_chunks_exact_mut(d).zip(w_dec.par_chunks_exact(d)).zip(of_weight);
        rows.for_each(|((dw, w), of)| {
            for (dw, w) in dw.chunks_exact_mut(side).zip(w.chunks_exact(side)) {
                let length = w.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
                let by = if length > 0.0 { (f64::from(of / unit) / length) as f32 } else { 0.0 };
                dw.iter_mut().zip(w).for_each(|(dw, w)| *dw += by * w);
            }
        });
        self.scratch.dw_dec = Tensor::from_vec(dw_dec, [config.latents, d], &self.sae.device())?;
        Ok(())
    }
}
