//! Every row brought to unit size: by its root mean square, or by its mean and variance. Beside it: columns, by the statistics
//! of a batch ([`batch`]).
//!
//! | argument | shape       | type        |
//! |----------|-------------|-------------|
//! | `x`      | `[rows, n]` | float       |
//! | `weight` | `[n]`       | [`Float::Acc`](crate::Float::Acc) of it |
//! | `bias`   | `[n]`       | `Acc`, only of [`Norm::Layer`], may be absent |
//! | `y`, `dy` | `[rows, n]` | as `x`     |
//! | `dx`     | `[rows, n]` | as `x`, optional |
//! | `dweight`, `dbias` | `[n]` | `Acc`, each optional |
//!
//! [`Norm::Rms`]: `y = x / sqrt(mean(x^2) + eps) * weight`.
//! [`Norm::Layer`]: `y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias`.
//!
//! **Backward** reads `x` and `weight` again: nothing is saved, the statistics of a row are computed anew. With `root` the
//! divisor above, `u = x / root` or `(x - mean(x)) / root`, and `g = dy weight`:
//! `dx = (g - mean(g) - u mean(g u)) / root`, without `mean(g)` for [`Norm::Rms`]; `dweight = Σ dy u` and `dbias = Σ dy` over
//! the rows. With [`Accumulate::Add`] each is added to what its output holds. `x` and `dy` may have gaps between rows;
//! outputs are packed.
//!
//! **NaN** and infinities spoil their own row of `y` and `dx` only; in `x` all of `dweight`, in `dy` their own column of
//! `dweight` and `dbias`. **Empty** an output without entries is not touched; a sum over no rows is zero.
//! **Determinism** stable, and independent of the number of threads: sums over rows go by groups of rows, then over the
//! groups in their order. `y`, `dweight` and `dbias` are close to the reference within 1e-12 normalised squared error in
//! `f32`; so is `dx` beside the sum of squares of `g / root`, of which a row may leave little: nothing but `eps` keeps a row of
//! one entry (two for [`Norm::Layer`]) from having no gradient at all. **Errors** `Size` if a vector is not of length `n` or
//! `dy` not shaped as `x`, `Value` if `eps` is not a number from 0 on. **Moves** [`Plan::bytes`], [`Plan::bytes_backward`]: a
//! second look at `x` and `dy` for the sums over rows would be two thirds as much again, so they are made while a row is at hand.
//! **Source** Ba et al. 2016, Zhang and Sennrich 2019.
pub mod batch;
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{
    launch, launch_backward, launch_batch, launch_batch_backward, launch_batch_train, workspace_backward,
    workspace_batch_backward,
};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "norm", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/norm.fatbin")) };

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Root mean square.
    Rms,
    /// Mean and variance.
    Layer,
}

impl Norm {
    fn op(self) -> &'static str {
        if self == Norm::Rms { "rms_norm" } else { "layer_norm" }
    }
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    norm: Norm,
    x: Layout<2>,
    dy: Layout<2>,
    eps: f32,
    accumulate: Accumulate,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(norm: Norm, x: &Layout<2>, weight: &Layout<1>, bias: Option<&Layout<1>>, eps: f32) -> Result<Plan> {
    let (op, [_, n]) = (norm.op(), x.dims());
    if n > i32::MAX as usize {
        return Err(Error::Range { op, arg: "n", max: i32::MAX as usize, got: n });
    }
    for (arg, layout) in [("weight", Some(weight)), ("bias", bias)] {
        if let Some(got) = layout.map(Layout::len).filter(|&len| len != n) {
            return Err(Error::Size { op, arg, want: n, got });
        }
    }
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(Error::Value { op, arg: "eps", want: "a number from 0 on" });
    }
    Ok(Plan { norm, x: *x, dy: Layout::packed(x.dims())?, eps, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and `Size` if `dy` has not the shape of `x`.
pub fn plan_backward(
    norm: Norm,
    x: &Layout<2>,
    weight: &Layout<1>,
    dy: &Layout<2>,
    eps: f32,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = plan(norm, x, weight, None, eps)?;
    let wrong = x.dims().into_iter().zip(dy.dims()).find(|(want, got)| want != got);
    match wrong {
        Some((want, got)) => Err(Error::Size { op: norm.op(), arg: "dy", want, got }),
        None => Ok(Plan { dy: *dy, accumulate, ..plan }),
    }
}

impl Plan {
    /// Which norm.
    pub fn norm(&self) -> Norm {
        self.norm
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        self.x.dims()
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<2> {
        self.dy
    }
    /// What is added under the root.
    pub fn eps(&self) -> f32 {
        self.eps
    }
    /// What happens to the contents of the gradients.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        2 * self.x.len() * size + 4 * self.x.dims()[1]
    }
    /// The same of a backward call that asks for everything.
    pub fn bytes_backward(&self, size: usize) -> usize {
        3 * self.x.len() * size + 3 * 4 * self.x.dims()[1]
    }
}
