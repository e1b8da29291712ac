//! [`latens_kernels::sae::slopes`] on the host: rows in order, a few of them a task.
//!
//! Floor: the rows of `w_dec` that slots name, `dim · size` bytes each, from cache where they are named often.
use super::{Level, gather};
use crate::level::prefetch;
use crate::once::once;
use crate::rows;
use latens_kernels::sae::{Codes, slopes};
use latens_kernels::{DType, Float};

pub use latens_kernels::sae::slopes::Plan;

once! {
    /// See [`slopes::forward`].
    pub fn forward;
    /// [`forward`] with these instructions.
    pub fn forward_at<T>(level: Level, p: &Plan, codes: Codes<T::Acc>, g: &[T], w_dec: &[T], to: &mut [T::Acc]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, codes: Codes<T::Acc>, g: &[T], w_dec: &[T], to: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 {
        return slopes::forward(p, codes, g, w_dec, to);
    }
    let (shape, dim) = (p.shape(), p.dim());
    let to = &mut to[..shape.slots()];
    let row = |slot: usize| {
        let latent = codes.latents[slot] as usize;
        (latent < p.n()).then(|| &w_dec[latent * p.w().strides()[0]..][..dim])
    };
    let found = rows::collect(shape.rows(), |r| {
        let g = &g[r * p.g().strides()[0]..][..dim];
        let slots = codes.row(&shape, r);
        let mut found = alloc::vec::Vec::with_capacity(slots.len());
        for slot in slots.clone() {
            // The row after the next, while this one is multiplied.
            if let Some(next) = Some(slot + 2).filter(|next| slots.contains(next)).and_then(row) {
                (0..dim).step_by((64 / size_of::<T>()).max(1)).for_each(|at| prefetch(next, at));
            }
            found.push(row(slot).map_or(0.0, |w| gather::dot(level, g, w) + 0.0));
        }
        found
    });
    to.fill(T::Acc::default());
    for (r, found) in found.into_iter().enumerate() {
        for (slot, slope) in codes.row(&shape, r).zip(found) {
            to[slot] = T::Acc::from_f32(slope);
        }
    }
}
