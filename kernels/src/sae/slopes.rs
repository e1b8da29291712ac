//! The gradients of values alone: for gates that stand between encoder and decoder.
//!
//! | argument | shape         | type                        |
//! |----------|---------------|-----------------------------|
//! | codes    | see [`sae`](super) | of their values nothing is read |
//! | `g`      | `[rows, dim]` | float: `dL/dx̂`              |
//! | `w_dec`  | `[n, dim]`    | as `g`                      |
//! | `slopes` | as `values`   | `Acc`, always replaced      |
//!
//! For slot `j` of row `r`, of latent `n`: `slopes[j] = Σ g[r] w_dec[n]`. It is what [`backward`](super::backward) calls `dvalues`,
//! but for values that are not positive too. Empty slots, and those that `offsets` give to no row, get 0.
//!
//! **NaN** in a row of `g` reaches the slots of that row. **Determinism** stable. Close to the reference within `1e-5` of the sum
//! of absolute terms. **Errors** `Size` where shapes disagree. **Moves** [`Plan::bytes`].
use super::{Codes, MOST_LATENTS, Shape, at_most, size};
use crate::{Float, Layout, Result};

const OP: &str = "sae_slopes";

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) g: Layout<2>,
    pub(super) w: Layout<2>,
}

/// Check a call.
///
/// # Errors
/// See the module.
pub fn plan(shape: &Shape, g: &Layout<2>, w_dec: &Layout<2>) -> Result<Plan> {
    let [n, dim] = w_dec.dims();
    at_most(OP, "w_dec", MOST_LATENTS, n)?;
    size(OP, "g", shape.rows(), g.dims()[0])?;
    size(OP, "g", dim, g.dims()[1])?;
    Ok(Plan { shape: *shape, g: *g, w: *w_dec })
}

impl Plan {
    /// Columns of `g`.
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
    /// The layout of `g`.
    pub fn g(&self) -> Layout<2> {
        self.g
    }
    /// The layout of `w_dec`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// Bytes moved by an implementation that gathers, for elements of `size` bytes and full slots.
    pub fn bytes(&self, size: usize) -> usize {
        self.shape.slots() * (self.dim() * size + 8) + self.g.len() * size
    }
}

/// The definition, accumulated in `f64`.
pub fn forward<T: Float>(p: &Plan, codes: Codes<T::Acc>, g: &[T], w_dec: &[T], slopes: &mut [T::Acc]) {
    slopes[..p.shape.slots()].fill(T::Acc::default());
    for r in 0..p.shape.rows() {
        let g = &g[r * p.g.strides()[0]..][..p.dim()];
        for slot in codes.row(&p.shape, r) {
            let latent = codes.latents[slot] as usize;
            if latent < p.n() {
                let w = &w_dec[latent * p.w.strides()[0]..][..p.dim()];
                let slope: f64 = g.iter().zip(w).map(|(g, w)| g.wide() * w.wide()).sum();
                slopes[slot] = T::Acc::narrow(slope + 0.0);
            }
        }
    }
}
