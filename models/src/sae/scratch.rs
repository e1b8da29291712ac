use super::{Config, Variant, train::LOOK};
use crate::{
    Accumulate, AdamW, CLIP_PARTS, Codes, Device, Layout, Result, Shape, Tensor, ViewMut, clip_scale_into,
    clip_squares_into, sae_backward_workspace, sae_bias_backward_workspace, sae_decode_workspace,
    sae_encode_flat_workspace, sae_encode_subset_workspace, sae_encode_workspace, scale_into,
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
    /// Partial sums of the squares of the whole gradient.
    pub squares: Tensor<f32, 1>,
    /// Rates of weights and of biases, from one look to the next.
    pub rates: [Tensor<f32, 2>; 2],
    /// Which row of them this step takes.
    pub at: Tensor<u32, 1>,
    pub workspace: Tensor<u8, 1>,
}

impl Scratch {
    /// For so many rows.
    pub fn new(config: &Config, rows: usize, device: &Device) -> Result<Self> {
        let &Config { d, latents: n, k, .. } = config;
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
            squares: Tensor::zeros([CLIP_PARTS], device)?,
            rates: [Tensor::zeros([LOOK, AdamW::ROW], device)?, Tensor::zeros([LOOK, AdamW::ROW], device)?],
            at: Tensor::zeros([1], device)?,
            workspace: Tensor::zeros([workspace(config, [rows, aux], device)?], device)?,
        })
    }
}

impl Scratch {
    /// Multiply the whole gradient, with what of it is not here.
    pub fn scale_with(&mut self, by: f32, others: &mut [ViewMut<'_, f32, 2>]) -> Result<()> {
        let Self { dw_dec, dw_enc, db_enc, db_dec, .. } = self;
        let row = |of: &mut Tensor<f32, 1>| {
            let n = of.dims()[0];
            scale_into(by, of.view_mut().reshape([1, n])?)
        };
        row(db_enc)?;
        row(db_dec)?;
        scale_into(by, dw_dec.view_mut())?;
        scale_into(by, dw_enc.view_mut())?;
        others.iter_mut().try_for_each(|other| scale_into(by, other.reborrow()))
    }

    /// Shorten the whole gradient to length `most`, if it is longer.
    pub fn clip(&mut self, most: f32) -> Result<()> {
        self.clip_with(most, &mut [])
    }

    /// [`clip`](Self::clip) with gradients that are not here.
    pub fn clip_with(&mut self, most: f32, others: &mut [ViewMut<'_, f32, 2>]) -> Result<()> {
        let Self { squares, dw_dec, dw_enc, db_enc, db_dec, .. } = self;
        clip_squares_into(dw_dec.view(), Accumulate::Replace, squares.view_mut())?;
        clip_squares_into(dw_enc.view(), Accumulate::Add, squares.view_mut())?;
        clip_squares_into(db_enc.view(), Accumulate::Add, squares.view_mut())?;
        clip_squares_into(db_dec.view(), Accumulate::Add, squares.view_mut())?;
        for other in &mut *others {
            clip_squares_into(other.shared(), Accumulate::Add, squares.view_mut())?;
        }
        clip_scale_into(squares.view(), most, dw_dec.view_mut())?;
        clip_scale_into(squares.view(), most, dw_enc.view_mut())?;
        clip_scale_into(squares.view(), most, db_enc.view_mut())?;
        clip_scale_into(squares.view(), most, db_dec.view_mut())?;
        for other in others {
            clip_scale_into(squares.view(), most, other.reborrow())?;
        }
        Ok(())
    }
}

/// The most that an operation of the step asks for.
fn workspace(config: &Config, [rows, aux]: [usize; 2], device: &Device) -> Result<usize> {
    let &Config { d, latents: n, k, .. } = config;
    let (x, w) = (Layout::packed([rows, d])?, Layout::packed([n, d])?);
    // Other variants ask for what their codes need when they have them.
    let (shape, encode) = match config.variant {
        Variant::BatchTopK => {
            (Shape::flat(rows, rows * k)?, sae_encode_flat_workspace::<f32>(&x, &w, rows * k, device)?)
        }
        _ => (Shape::fixed(rows, k)?, sae_encode_workspace::<f32>(&x, &w, k, device)?),
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
