//! The decoder's bias on its way through the encoder: folded into one bias of the latents, and its gradient.
//!
//! | argument | shape         | type                           |
//! |----------|---------------|--------------------------------|
//! | `w_enc`  | `[n, dim]`    | float                          |
//! | `b_enc`  | `[n]`         | `Acc`                          |
//! | `b_dec`  | `[dim]`       | `Acc`                          |
//! | `bias`   | `[n]`         | `Acc`, of [`forward`]          |
//! | `g`      | `[rows, dim]` | as `w_enc`: `dL/dx̂`, of [`backward`] |
//! | `db_enc` | `[n]`         | `Acc`, of [`backward`]         |
//! | `db_dec` | `[dim]`       | `Acc`, of [`backward`]         |
//!
//! ```text
//! forward   bias   = b_enc - W_enc b_dec              so that  W_enc (x - b_dec) + b_enc = W_enc x + bias
//! backward  db_dec = Σ g[r] - Σ db_enc[n] W_enc[n]    b_dec is added by the decoder and taken away before the encoder
//! ```
//!
//! The second sum needs one product with the gradient of `b_enc`, not one for each row. `db_enc` is that of all codes
//! together; `g` only of those decoded with `b_dec` (not of the auxiliary loss).
//!
//! **NaN** goes where arithmetic takes it. **Determinism** stable; close to the reference within `1e-5` of the sum of
//! absolute terms. **Moves** `w_enc` and `g` once.
use super::{MOST_LATENTS, at_most, size};
use crate::{Accumulate, Float, Layout, Result};

const OP: &str = "sae_bias";

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) w: Layout<2>,
    pub(super) g: Layout<2>,
    pub(super) accumulate: Accumulate,
}

/// Check a call of [`forward`].
///
/// # Errors
/// `Size` if shapes disagree.
pub fn plan(w_enc: &Layout<2>, b_enc: &Layout<1>, b_dec: &Layout<1>) -> Result<Plan> {
    let [n, dim] = w_enc.dims();
    at_most(OP, "w_enc", MOST_LATENTS, n)?;
    size(OP, "b_enc", n, b_enc.dims()[0])?;
    size(OP, "b_dec", dim, b_dec.dims()[0])?;
    Ok(Plan { w: *w_enc, g: Layout::packed([0, dim])?, accumulate: Accumulate::Replace })
}

/// Check a call of [`backward`].
///
/// # Errors
/// `Size` if shapes disagree.
pub fn plan_backward(g: &Layout<2>, w_enc: &Layout<2>, db_enc: &Layout<1>, accumulate: Accumulate) -> Result<Plan> {
    let [n, dim] = w_enc.dims();
    at_most(OP, "w_enc", MOST_LATENTS, n)?;
    size(OP, "g", dim, g.dims()[1])?;
    size(OP, "db_enc", n, db_enc.dims()[0])?;
    Ok(Plan { w: *w_enc, g: *g, accumulate })
}

impl Plan {
    /// Latents.
    pub fn n(&self) -> usize {
        self.w.dims()[0]
    }
    /// Columns of `w_enc`.
    pub fn dim(&self) -> usize {
        self.w.dims()[1]
    }
    /// The layout of `w_enc`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// The layout of `g`.
    pub fn g(&self) -> Layout<2> {
        self.g
    }
    /// What happens to the contents of `db_dec`.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
}

/// The bias of the latents with the decoder's folded in.
pub fn forward<T: Float>(p: &Plan, w_enc: &[T], b_enc: &[T::Acc], b_dec: &[T::Acc], bias: &mut [T::Acc]) {
    for (latent, bias) in bias[..p.n()].iter_mut().enumerate() {
        let w = &w_enc[latent * p.w.strides()[0]..][..p.dim()];
        let dot: f64 = w.iter().zip(b_dec).map(|(w, b)| w.wide() * b.wide()).sum();
        *bias = T::Acc::narrow(b_enc[latent].wide() - dot);
    }
}

/// The gradient of the decoder's bias.
pub fn backward<T: Float>(p: &Plan, g: &[T], w_enc: &[T], db_enc: &[T::Acc], db_dec: &mut [T::Acc]) {
    for (c, db_dec) in db_dec[..p.dim()].iter_mut().enumerate() {
        let direct: f64 = (0..p.g.dims()[0]).map(|r| g[r * p.g.strides()[0] + c].wide()).sum();
        let through: f64 = (0..p.n()).map(|n| db_enc[n].wide() * w_enc[n * p.w.strides()[0] + c].wide()).sum();
        let before = if p.accumulate == Accumulate::Add { db_dec.wide() } else { 0.0 };
        *db_dec = T::Acc::narrow(before + direct - through);
    }
}
