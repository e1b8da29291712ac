//! What else is reconstructed beside the rows from the active latents; and latents that are compared by what they write.
use super::general::lengths_of;
use super::{Config, Multi, Sae, Variant};
use crate::io::Result;
use crate::{Code, SaeGate, Tensor, View, sae_decode, sae_encode, sae_encode_flat, sae_gate};

/// A reconstruction from other latents than the active ones, and what its squared errors weigh.
pub(super) struct Other {
    pub code: Code<f32>,
    pub residual: Tensor<f32, 2>,
    pub weight: f32,
}

/// Those that a run asks for: from more latents, and from fewer of those found.
pub(super) fn others(
    config: &Config,
    sae: &Sae,
    [x, target]: [View<'_, f32, 2>; 2],
    bias: &Tensor<f32, 1>,
    found: &Code<f32>,
) -> Result<Vec<Other>> {
    let mut codes = Vec::new();
    if let Some(Multi { times, weight }) = config.multi {
        let (values, latents) = sae_encode(x, sae.w_enc.view(), bias.view(), times * config.k)?;
        codes.push((Code::fixed(values, latents)?, weight));
    }
    for &k in &config.budgets {
        codes.push((strongest(found, [x.dims()[0], k], sae.latents())?, 1.0));
    }
    let mut all = Vec::new();
    for (code, weight) in codes {
        let decoded = sae_decode(code.view(), sae.w_dec.view(), Some(sae.b_dec.view()), Some(target))?;
        all.extend(decoded.residual.map(|residual| Other { code, residual, weight }));
    }
    Ok(all)
}

/// The `k` strongest of every row of a code that has as many slots for each; of equal ones the first.
fn strongest(code: &Code<f32>, [rows, k]: [usize; 2], n: usize) -> Result<Code<f32>> {
    let (values, latents) = (code.values.to_vec()?, code.latents.to_vec()?);
    let slots = values.len() / rows.max(1);
    let (mut of_values, mut of_latents) = (vec![0.0; rows * k], vec![n as u32; rows * k]);
    for row in 0..rows {
        let mut order: Vec<usize> = (row * slots..(row + 1) * slots).filter(|&slot| values[slot] > 0.0).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        order.truncate(k);
        order.sort_unstable();
        for (at, slot) in order.into_iter().enumerate() {
            (of_values[row * k + at], of_latents[row * k + at]) = (values[slot], latents[slot]);
        }
    }
    let device = code.values.device();
    Ok(Code::fixed(
        Tensor::from_vec(of_values, [rows, k], &device)?,
        Tensor::from_vec(of_latents, [rows, k], &device)?,
    )?)
}

/// An encoder whose values are those of the latents times the lengths of their rows of the decoder.
pub(super) struct Ranked {
    w_enc: Tensor<f32, 2>,
    bias: Tensor<f32, 1>,
    /// What makes them those of the latents again.
    back: Tensor<f32, 1>,
}

impl Ranked {
    /// `bias` has the centre folded in.
    pub fn of(sae: &Sae, sides: usize, bias: &Tensor<f32, 1>) -> Result<Self> {
        let (lengths, d, device) = (lengths_of(&sae.w_dec, sides)?, sae.d().max(1), sae.device());
        let mut w_enc = sae.w_enc.to_vec()?;
        for (row, length) in w_enc.chunks_exact_mut(d).zip(&lengths) {
            row.iter_mut().for_each(|w| *w *= length);
        }
        let bias = bias.to_vec()?.iter().zip(&lengths).map(|(bias, length)| bias * length).collect();
        let back = lengths.iter().map(|&length| if length > 0.0 { 1.0 / length } else { 0.0 }).collect();
        let n = [lengths.len()];
        Ok(Self {
            w_enc: Tensor::from_vec(w_enc, sae.w_enc.dims(), &device)?,
            bias: Tensor::from_vec(bias, n, &device)?,
            back: Tensor::from_vec(back, n, &device)?,
        })
    }

    /// The strongest by it.
    pub fn find(&self, x: View<'_, f32, 2>, config: &Config, step: usize) -> Result<Code<f32>> {
        let (w_enc, bias, k) = (self.w_enc.view(), self.bias.view(), config.k_at(step));
        if config.variant == Variant::BatchTopK {
            let (values, latents, offsets) = sae_encode_flat(x, w_enc, bias, config.total(k))?;
            return Ok(Code::flat(values, latents, offsets)?);
        }
        let (values, latents) = sae_encode(x, w_enc, bias, k)?;
        Ok(Code::fixed(values, latents)?)
    }

    /// Values as the decoder wants them.
    pub fn values(&self, found: &Code<f32>) -> Result<Tensor<f32, 1>> {
        let gate = SaeGate { scale: Some(self.back.view()), ..SaeGate::default() };
        Ok(sae_gate(found.view(), self.back.dims()[0], gate)?)
    }
}
