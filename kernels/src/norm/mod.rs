//! Every row brought to unit size: by its root mean square, or by its mean and variance.
//!
//! | argument | shape       | type        |
//! |----------|-------------|-------------|
//! | `x`      | `[rows, n]` | float       |
//! | `weight` | `[n]`       | `Float::Acc` |
//! | `bias`   | `[n]`       | `Float::Acc`, only of [`Norm::Layer`], may be absent |
//! | `y`      | `[rows, n]` | as `x`      |
//!
//! [`Norm::Rms`]: `y = x / sqrt(mean(x^2) + eps) * weight`.
//! [`Norm::Layer`]: `y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias`.
//!
//! **NaN** and infinities spoil their own row only. **Empty** nothing is written. **Determinism** stable; close to the
//! reference within 1e-12 normalised squared error in `f32`. **Errors** `Size` if a vector is not of length `n`, `Value`
//! if `eps` is not a number from 0 on. **Moves** [`Plan::bytes`]. **Backward** will read `x` and `weight` again: nothing
//! needs to be saved. **Source** Ba et al. 2016, Zhang and Sennrich 2019.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
pub use reference::forward;

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

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    norm: Norm,
    rows: usize,
    n: usize,
    stride: usize,
    span: usize,
    eps: f32,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(norm: Norm, x: &Layout<2>, weight: &Layout<1>, bias: Option<&Layout<1>>, eps: f32) -> Result<Plan> {
    let op = if norm == Norm::Rms { "rms_norm" } else { "layer_norm" };
    let ([rows, n], [stride, _]) = (x.dims(), x.strides());
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
    Ok(Plan { norm, rows, n, stride, span: x.span(), eps })
}

impl Plan {
    /// Which norm.
    pub fn norm(&self) -> Norm {
        self.norm
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        [self.rows, self.n]
    }
    /// Distance between rows of `x`, in elements.
    pub fn stride(&self) -> usize {
        self.stride
    }
    /// Elements of `x`, from the first to one past the last.
    pub fn span(&self) -> usize {
        self.span
    }
    /// What is added under the root.
    pub fn eps(&self) -> f32 {
        self.eps
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        2 * self.rows * self.n * size + 4 * self.n
    }
}
