//! Where the gradients of a step go.
use super::router::Routes;
use super::scratch::Scratch;
use super::{Config, Sae};
use crate::io::Result;
use crate::{
    Accumulate, Code, Codes, Push, SaeGate, Tensor, View, sae_backward_into, sae_backward_workspace,
    sae_gate_backward_into, sae_gate_backward_workspace, sae_weights_backward_into,
};

/// Gradients of what stands between encoder and decoder, each of every latent.
pub struct Sums {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub threshold: Vec<f32>,
    pub weight: Vec<f32>,
    /// Of the chance of each row's expert.
    pub chances: Vec<f32>,
}

impl Sums {
    pub fn zero(n: usize) -> Self {
        let [scale, shift, threshold, weight] = std::array::from_fn(|_| vec![0.0; n]);
        Self { scale, shift, threshold, weight, chances: Vec::new() }
    }

    /// `slopes`, gradients of values times the chance of their row, become those of the values; those of the chances are kept.
    pub fn route(&mut self, routes: &Routes, found: &Code<f32>, slopes: &mut Tensor<f32, 1>) -> Result<()> {
        let (values, mut all, rows) = (found.values.to_vec()?, slopes.to_vec()?, routes.chosen.len());
        let k = (values.len() / rows.max(1)).max(1);
        self.chances = vec![0.0; rows];
        for (row, (slopes, values)) in all.chunks_exact_mut(k).zip(values.chunks_exact(k)).enumerate() {
            let chance = routes.chance(row);
            self.chances[row] = slopes.iter().zip(values).map(|(slope, value)| slope * value).sum();
            slopes
                .iter_mut()
                .zip(values)
                .for_each(|(slope, value)| *slope = if *value > 0.0 { *slope * chance } else { 0.0 });
        }
        Ok(slopes.write(&all)?)
    }

    /// `slopes`, gradients of what a gate gave, become those of what it was given; what it learns is added.
    pub fn gate(
        &mut self,
        found: Codes<'_, f32>,
        gate: SaeGate<'_, f32>,
        push: Push,
        slopes: &mut Tensor<f32, 1>,
    ) -> Result<()> {
        let (n, device) = (self.scale.len(), slopes.device());
        let mut sums = Tensor::empty([4, n], &device)?;
        let mut work = Tensor::empty([sae_gate_backward_workspace(&found.shape(), n, &device)?], &device)?;
        sae_gate_backward_into(found, gate, push, slopes.view_mut(), sums.view_mut(), work.view_mut())?;
        let sums = sums.to_vec()?;
        let all = [&mut self.scale, &mut self.shift, &mut self.threshold, &mut self.weight];
        for (to, from) in all.into_iter().zip(sums.chunks_exact(n.max(1))) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        Ok(())
    }
}

/// Weights in a step, and where their gradients go.
pub struct Weights<'a> {
    pub x: View<'a, f32, 2>,
    pub w_dec: View<'a, f32, 2>,
    pub b_dec: Option<View<'a, f32, 1>>,
    pub dw_dec: &'a mut Tensor<f32, 2>,
    pub dw_enc: &'a mut Tensor<f32, 2>,
    pub db_enc: &'a mut Tensor<f32, 1>,
}

impl<'a> Weights<'a> {
    pub fn of(config: &Config, sae: &'a Sae, s: &'a mut Scratch) -> Self {
        let b_dec = config.centred.then(|| sae.b_dec.view());
        let Scratch { x, dw_dec, dw_enc, db_enc, .. } = s;
        Self { x: x.view(), w_dec: sae.w_dec.view(), b_dec, dw_dec, dw_enc, db_enc }
    }

    /// From `g`, the gradient of a reconstruction. Those of the values are made, or given.
    pub fn backward(
        &mut self,
        codes: Codes<'_, f32>,
        g: &Tensor<f32, 2>,
        accumulate: Accumulate,
        dvalues: &mut Tensor<f32, 1>,
        given: bool,
    ) -> Result<()> {
        let (x, g, w_dec, b_dec, device) = (self.x, g.view(), self.w_dec, self.b_dec, g.device());
        let room = sae_backward_workspace::<f32>(&codes.shape(), &w_dec.layout(), &device)?;
        let mut work = Tensor::empty([room], &device)?;
        let (dw_dec, dw_enc, db_enc) = (self.dw_dec.view_mut(), self.dw_enc.view_mut(), self.db_enc.view_mut());
        let (dvalues, work) = (dvalues.view_mut(), work.view_mut());
        if given {
            sae_weights_backward_into(codes, x, g, b_dec, dvalues, accumulate, dw_dec, dw_enc, db_enc, work)?;
        } else {
            sae_backward_into(codes, x, g, w_dec, b_dec, accumulate, dw_dec, dw_enc, db_enc, dvalues, work)?;
        }
        Ok(())
    }
}
