//! Sparse autoencoders: see [`latens_kernels::sae`].
mod backward;
mod decode;
mod encode;
mod gate;
mod track;

use crate::{Tensor, View};
use latens_kernels::sae::Shape;
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch::Coded;
use latens_kernels::{Element, Error, Result};

pub use backward::{
    Gradients, sae_backward, sae_backward_into, sae_backward_workspace, sae_bias, sae_bias_backward,
    sae_bias_backward_into, sae_bias_backward_workspace, sae_bias_into, sae_weights_backward_into,
};
pub use decode::{Against, Decoded, sae_decode, sae_decode_into, sae_decode_workspace};
pub use encode::{
    sae_encode, sae_encode_flat, sae_encode_flat_into, sae_encode_flat_workspace, sae_encode_into, sae_encode_subset,
    sae_encode_subset_into, sae_encode_subset_workspace, sae_encode_threshold, sae_encode_threshold_into,
    sae_encode_threshold_workspace, sae_encode_workspace,
};
pub use gate::{
    Penalty, Push, SaeGate, sae_gate, sae_gate_backward_into, sae_gate_backward_workspace, sae_gate_into, sae_slopes,
    sae_slopes_into,
};
pub use latens_kernels::sae::sparse_pays;
pub use track::{sae_dead_into, sae_track_into};

/// The codes of a batch, borrowed: which latents are active in each row, and how strongly.
#[derive(Clone, Copy)]
pub struct Codes<'a, A> {
    pub(crate) values: View<'a, A, 1>,
    pub(crate) latents: View<'a, u32, 1>,
    pub(crate) offsets: Option<View<'a, u32, 1>>,
    pub(crate) shape: Shape,
}

impl<'a, A: Element> Codes<'a, A> {
    /// As many slots for each row: `[rows, k]`, without gaps.
    ///
    /// # Errors
    /// `Size` if the two differ in shape, `Stride` if there are gaps.
    pub fn fixed(values: View<'a, A, 2>, latents: View<'a, u32, 2>) -> Result<Self> {
        let [rows, width] = values.dims();
        let shape = Shape::fixed(rows, width)?;
        let (values, latents) = (values.reshape([shape.slots()])?, latents.reshape([shape.slots()])?);
        Ok(Self { values, latents, offsets: None, shape })
    }

    /// The slots `offsets[r]..offsets[r + 1]` for row `r`.
    ///
    /// # Errors
    /// `Size` if `values` and `latents` differ in length, or `offsets` is empty.
    pub fn flat(values: View<'a, A, 1>, latents: View<'a, u32, 1>, offsets: View<'a, u32, 1>) -> Result<Self> {
        let ([slots], [ends]) = (values.dims(), offsets.dims());
        let size = |arg, want, got| Error::Size { op: "sae", arg, want, got };
        if latents.dims() != [slots] {
            return Err(size("latents", slots, latents.dims()[0]));
        }
        let rows = ends.checked_sub(1).ok_or(size("offsets", 1, 0))?;
        Ok(Self { values, latents, offsets: Some(offsets), shape: Shape::flat(rows, slots)? })
    }

    /// The same slots with other values, as the gradients of them.
    ///
    /// # Errors
    /// `Size` if there are not as many.
    pub fn with(self, values: View<'a, A, 1>) -> Result<Self> {
        let [want] = self.values.dims();
        Ok(Self { values: values.reshape([want])?, ..self })
    }

    /// How slots belong to rows.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// On the host, with latents and offsets checked.
    pub(crate) fn host(self, op: &'static str, n: usize) -> Result<latens_kernels::sae::Codes<'a, A>> {
        let offsets = self.offsets.map(|offsets| offsets.host(op, "offsets")).transpose()?.unwrap_or(&[]);
        let (slots, ends) = (self.shape.slots(), self.shape.offsets());
        let codes = latens_kernels::sae::Codes {
            values: &self.values.host(op, "values")?[..slots],
            latents: &self.latents.host(op, "latents")?[..slots],
            offsets: &offsets[..ends],
        };
        codes.check(op, &self.shape, n)?;
        Ok(codes)
    }
}

#[cfg(feature = "cuda")]
impl<'a, A: Element> Codes<'a, A> {
    /// On `device`, where nobody looks at them.
    pub(crate) fn cuda(self, device: &crate::cuda::Device, op: &'static str) -> Result<Coded<'a, A>> {
        Ok(Coded {
            values: self.values.cuda(device, op, "values")?,
            latents: self.latents.cuda(device, op, "latents")?,
            offsets: self.offsets.map(|offsets| offsets.cuda(device, op, "offsets")).transpose()?,
            shape: self.shape,
        })
    }
}

/// The codes of a batch, owned.
pub struct Code<A> {
    /// Activations, one for each slot.
    pub values: Tensor<A, 1>,
    /// Latents, one for each slot.
    pub latents: Tensor<u32, 1>,
    /// Where rows begin and end, if they differ in width.
    pub offsets: Option<Tensor<u32, 1>>,
    shape: Shape,
}

impl<A: Element> Code<A> {
    /// From what [`sae_encode`] gave.
    ///
    /// # Errors
    /// As [`Codes::fixed`].
    pub fn fixed(values: Tensor<A, 2>, latents: Tensor<u32, 2>) -> Result<Self> {
        let shape = Codes::fixed(values.view(), latents.view())?.shape;
        let (values, latents) = (values.reshape([shape.slots()])?, latents.reshape([shape.slots()])?);
        Ok(Self { values, latents, offsets: None, shape })
    }

    /// From what [`sae_encode_flat`] gave.
    ///
    /// # Errors
    /// As [`Codes::flat`].
    pub fn flat(values: Tensor<A, 1>, latents: Tensor<u32, 1>, offsets: Tensor<u32, 1>) -> Result<Self> {
        let shape = Codes::flat(values.view(), latents.view(), offsets.view())?.shape;
        Ok(Self { values, latents, offsets: Some(offsets), shape })
    }

    /// Borrow.
    pub fn view(&self) -> Codes<'_, A> {
        let offsets = self.offsets.as_ref().map(Tensor::view);
        Codes { values: self.values.view(), latents: self.latents.view(), offsets, shape: self.shape }
    }
}
