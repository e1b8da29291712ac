//! `x̂ = b_dec + Σ values[j] W_dec[latents[j]]`; against an `x` also `e = x - x̂` and the sum of its squares, in the same pass.
//!
//! | argument   | shape          | type                |
//! |------------|----------------|---------------------|
//! | codes      | see [`sae`](super) |                 |
//! | `w_dec`    | `[n, dim]`     | float               |
//! | `b_dec`    | `[dim]`        | `Acc`, optional     |
//! | `recon`    | `[rows, dim]`  | as `w_dec`          |
//! | `x`        | `[rows, dim]`  | as `w_dec`          |
//! | `residual` | `[rows, dim]`  | as `w_dec`          |
//! | `error`    | `[rows]`       | `Acc`               |
//!
//! The last three come together or not at all ([`Against`]). `residual` and `error` are taken from `x̂` before it is
//! rounded to the type of `recon`. Values may be negative. Slots are added in the order they have. Without `b_dec` this
//! is the decoder of the auxiliary loss; with `W_enc` for `w_dec` and the gradients of the values for values it is the
//! gradient of `x`: `dx = Σ dvalues[j] W_enc[latents[j]]`.
//!
//! **NaN** of a value, or in a row of `w_dec`, reaches the rows that name it and no other. **Determinism** stable; close
//! to the reference within `1e-5` of the sum of absolute terms and one rounding. **Moves** [`Plan::bytes`].
use super::{Codes, MOST_LATENTS, Shape, at_most, size};
use crate::{Float, Layout, Result};
use alloc::vec;

const OP: &str = "sae_decode";

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) w: Layout<2>,
    pub(super) x: Option<Layout<2>>,
}

/// What the result is compared with, and the outcome.
pub struct Against<'a, T: Float> {
    /// `[rows, dim]`, laid out as the plan says.
    pub x: &'a [T],
    /// `x - x̂`.
    pub residual: &'a mut [T],
    /// The sum of its squares, for each row.
    pub error: &'a mut [T::Acc],
}

/// Check a call.
///
/// # Errors
/// `Size` if shapes disagree.
pub fn plan(shape: &Shape, w_dec: &Layout<2>, b_dec: Option<&Layout<1>>, x: Option<&Layout<2>>) -> Result<Plan> {
    let [n, dim] = w_dec.dims();
    at_most(OP, "w_dec", MOST_LATENTS, n)?;
    if let Some(b_dec) = b_dec {
        size(OP, "b_dec", dim, b_dec.dims()[0])?;
    }
    if let Some(x) = x {
        size(OP, "x", shape.rows(), x.dims()[0])?;
        size(OP, "x", dim, x.dims()[1])?;
    }
    Ok(Plan { shape: *shape, w: *w_dec, x: x.copied() })
}

impl Plan {
    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.shape.rows()
    }
    /// Columns of `w_dec`.
    pub fn dim(&self) -> usize {
        self.w.dims()[1]
    }
    /// Latents, and the sentinel.
    pub fn n(&self) -> usize {
        self.w.dims()[0]
    }
    /// The shape of the codes.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// The layout of `w_dec`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// The layout of `x`, if there is one.
    pub fn x(&self) -> Option<Layout<2>> {
        self.x
    }
    /// Shape of `recon` and `residual`.
    pub fn out(&self) -> [usize; 2] {
        [self.rows(), self.dim()]
    }
    /// Bytes moved by an implementation that gathers, for elements of `size` bytes and full slots.
    pub fn bytes(&self, size: usize) -> usize {
        let per_row = if self.x.is_some() { 3 } else { 1 };
        self.shape.slots() * (self.dim() * size + 8) + self.rows() * self.dim() * size * per_row
    }
}

/// The definition.
pub fn forward<T: Float>(
    p: &Plan,
    codes: Codes<T::Acc>,
    w_dec: &[T],
    b_dec: Option<&[T::Acc]>,
    recon: &mut [T],
    mut against: Option<Against<T>>,
) {
    let dim = p.dim();
    let mut sum = vec![0.0; dim];
    for r in 0..p.rows() {
        for (c, sum) in sum.iter_mut().enumerate() {
            *sum = b_dec.map_or(0.0, |b| b[c].wide()) + 0.0;
        }
        for slot in codes.row(&p.shape, r) {
            let latent = codes.latents[slot] as usize;
            if latent < p.n() {
                let w = &w_dec[latent * p.w.strides()[0]..][..dim];
                sum.iter_mut().zip(w).for_each(|(sum, w)| *sum += codes.values[slot].wide() * w.wide());
            }
        }
        for (c, &sum) in sum.iter().enumerate() {
            recon[r * dim + c] = T::narrow(sum);
        }
        if let (Some(against), Some(layout)) = (&mut against, p.x) {
            let x = &against.x[r * layout.strides()[0]..][..dim];
            let mut error = 0.0;
            for (c, (x, sum)) in x.iter().zip(&sum).enumerate() {
                let e = x.wide() - sum;
                against.residual[r * dim + c] = T::narrow(e);
                error += e * e;
            }
            against.error[r] = T::Acc::narrow(error);
        }
    }
}
