use super::{Config, Variant, train::LOOK};
use crate::{
    AdamW, Codes, Device, Layout, Reduce, Result, Shape, Tensor, View, reduce, sae_backward_workspace,
    sae_bias_backward_workspace, sae_decode_workspace, sae_encode_flat_workspace, sae_encode_subset_workspace,
    sae_encode_workspace, scale_into,
};

/// The memory of a training step.
pub(super) struct Scratch {
    /// The rows of this step: a recorded graph reads the same memory every time.
    pub x: Tensor<f32, 2>,
    /// Of the encoder, with the centre folded in.
    pub bias: Tensor<f32, 1>,
    pub values: Tensor<f32, 1>,
    pub latents: Tensor<u32, 1>,
    /// BatchTopK's rows end where they like.
    pub offsets: Option<Tensor<u32, 1>>,
    pub recon: Tensor<f32, 2>,
    /// `x - x̂`, then the gradient of `x̂`.
    pub residual: Tensor<f32, 2>,
    pub error: Tensor<f32, 1>,
    pub dvalues: Tensor<f32, 1>,
    /// How many latents are dead.
    pub count: Tensor<u32, 1>,
    pub aux_values: Tensor<f32, 1>,
    pub aux_latents: Tensor<u32, 1>,
    pub aux_residual: Tensor<f32, 2>,
    pub aux_error: Tensor<f32, 1>,
    pub aux_dvalues: Tensor<f32, 1>,
    pub dw_dec: Tensor<f32, 2>,
    pub dw_enc: Tensor<f32, 2>,
    pub db_enc: Tensor<f32, 1>,
    pub db_dec: Tensor<f32, 1>,
    /// Rates of weights and of biases, from one look to the next.
    pub rates: [Tensor<f32, 2>; 2],
    /// Which row of them this step takes.
    pub at: Tensor<u32, 1>,
    pub workspace: Tensor<u8, 1>,
}

impl Scratch {
    pub fn new(config: &Config, device: &Device) -> Result<Self> {
        let &Config { d, latents: n, k, batch: rows, .. } = config;
        let aux = config.revive.map_or(0, |revive| revive.k.min(n));
        let flat = config.variant == Variant::BatchTopK;
        Ok(Self {
            x: Tensor::zeros([rows, d], device)?,
            bias: Tensor::zeros([n], device)?,
            values: Tensor::zeros([rows * k], device)?,
            latents: Tensor::zeros([rows * k], device)?,
            offsets: if flat { Some(Tensor::zeros([rows + 1], device)?) } else { None },
            recon: Tensor::zeros([rows, d], device)?,
            residual: Tensor::zeros([rows, d], device)?,
            error: Tensor::zeros([rows], device)?,
            dvalues: Tensor::zeros([rows * k], device)?,
            count: Tensor::zeros([1], device)?,
            aux_values: Tensor::zeros([rows * aux], device)?,
            aux_latents: Tensor::zeros([rows * aux], device)?,
            aux_residual: Tensor::zeros([rows.min(rows * aux), d], device)?,
            aux_error: Tensor::zeros([rows], device)?,
            aux_dvalues: Tensor::zeros([rows * aux], device)?,
            dw_dec: Tensor::zeros([n, d], device)?,
            dw_enc: Tensor::zeros([n, d], device)?,
            db_enc: Tensor::zeros([n], device)?,
            db_dec: Tensor::zeros([d], device)?,
            rates: [Tensor::zeros([LOOK, AdamW::ROW], device)?, Tensor::zeros([LOOK, AdamW::ROW], device)?],
            at: Tensor::zeros([1], device)?,
            workspace: Tensor::zeros([workspace(config, aux, device)?], device)?,
        })
    }
}

impl Scratch {
    /// Shorten the whole gradient to length `most`, if it is longer.
    pub fn clip(&mut self, most: f32) -> Result<()> {
        let mut squares = 0.0;
        for part in [&self.dw_dec, &self.dw_enc] {
            squares += sum_of_squares(part.view())?;
        }
        let [n, d] = self.dw_dec.dims();
        squares += sum_of_squares(self.db_enc.view().reshape([1, n])?)?;
        squares += sum_of_squares(self.db_dec.view().reshape([1, d])?)?;
        let length = squares.sqrt() as f32;
        if length > most {
            let factor = most / length;
            scale_into(factor, self.dw_dec.view_mut())?;
            scale_into(factor, self.dw_enc.view_mut())?;
            scale_into(factor, self.db_enc.view_mut().reshape([1, n])?)?;
            scale_into(factor, self.db_dec.view_mut().reshape([1, d])?)?;
        }
        Ok(())
    }
}

fn sum_of_squares(x: View<'_, f32, 2>) -> Result<f64> {
    Ok(reduce(x, Reduce::SumSquares, 1)?.to_vec()?.into_iter().map(f64::from).sum())
}

/// The most that an operation of the step asks for.
fn workspace(config: &Config, aux: usize, device: &Device) -> Result<usize> {
    let &Config { d, latents: n, k, batch: rows, .. } = config;
    let (x, w) = (Layout::packed([rows, d])?, Layout::packed([n, d])?);
    let shape = match config.variant {
        Variant::TopK => Shape::fixed(rows, k)?,
        Variant::BatchTopK => Shape::flat(rows, rows * k)?,
    };
    let encode = match config.variant {
        Variant::TopK => sae_encode_workspace::<f32>(&x, &w, k, device)?,
        Variant::BatchTopK => sae_encode_flat_workspace::<f32>(&x, &w, rows * k, device)?,
    };
    let revive = Shape::fixed(rows, aux)?;
    let asked = [
        encode,
        sae_encode_subset_workspace::<f32>(&x, &w, n, aux, device)?,
        sae_decode_workspace::<f32>(&shape, &w, true, device)?,
        sae_decode_workspace::<f32>(&revive, &w, true, device)?,
        sae_backward_workspace::<f32>(&shape, &w, device)?,
        sae_backward_workspace::<f32>(&revive, &w, device)?,
        sae_bias_backward_workspace::<f32>(&x, &w, device)?,
    ];
    Ok(asked.into_iter().max().unwrap_or(0))
}

/// Codes in the first `rows · k` slots, or in all of them where there are offsets.
pub(super) fn codes<'a>(
    values: &'a Tensor<f32, 1>,
    latents: &'a Tensor<u32, 1>,
    offsets: Option<&'a Tensor<u32, 1>>,
    [rows, k]: [usize; 2],
) -> Result<Codes<'a, f32>> {
    match offsets {
        None => Codes::fixed(
            values.view().narrow(0, 0, rows * k)?.reshape([rows, k])?,
            latents.view().narrow(0, 0, rows * k)?.reshape([rows, k])?,
        ),
        Some(offsets) => Codes::flat(values.view(), latents.view(), offsets.view()),
    }
}
