use crate::vector;
use latens_core::{Codes, Device, Float};
use latens_kernels::sae::{self, Shape};

/// Sparse codes in host memory, with or without offsets.
pub struct Coded<A> {
    /// How slots are shared out.
    pub shape: Shape,
    /// One for each slot.
    pub values: Vec<A>,
    /// One for each slot.
    pub latents: Vec<u32>,
    /// Where rows begin and end; empty for a fixed width.
    pub offsets: Vec<u32>,
}

impl<A: Float> Coded<A> {
    /// For the reference.
    pub fn host(&self) -> sae::Codes<'_, A> {
        sae::Codes { values: &self.values, latents: &self.latents, offsets: &self.offsets }
    }

    /// On `device`, for as long as `work` takes.
    pub fn with<R>(&self, device: &Device, work: impl FnOnce(Codes<'_, A>) -> R) -> R {
        let (values, latents) = (vector(&self.values, device), vector(&self.latents, device));
        let offsets = vector(&self.offsets, device);
        match self.shape.width() {
            Some(k) => {
                let dims = [self.shape.rows(), k];
                let (values, latents) = (values.reshape(dims).unwrap(), latents.reshape(dims).unwrap());
                work(Codes::fixed(values.view(), latents.view()).unwrap())
            }
            None => work(Codes::flat(values.view(), latents.view(), offsets.view()).unwrap()),
        }
    }
}
