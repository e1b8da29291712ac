//! Mean and variance of every row, or of every column, and their gradients.
//!
//! | argument           | shape                | type         |
//! |--------------------|----------------------|--------------|
//! | `x`                | `[rows, n]`          | float        |
//! | `mean`, `variance` | `[n]` or `[rows]`    | `Float::Acc` |
//! | `dmean`, `dvariance` | as `mean`, each optional | `Float::Acc` |
//! | `dx`               | `[rows, n]`          | as `x`       |
//!
//! `axis` names the dimension that goes: 0 leaves one number per column, 1 one per row. Of the `count` entries `x` behind one:
//!
//! ```text
//! mean = Σ x / count      variance = Σ (x - mean)² / count      dx = (dmean + 2 dvariance (x - mean)) / count
//! ```
//! The variance is that of a population. Nothing cancels where the mean is large: sums are of differences from an entry, squares
//! of differences from the mean of a few entries, and few join others by Chan's formula: from `count`, `mean` and sum of
//! squares `square` of two parts `a` and `b`, with `δ = mean_b - mean_a`,
//!
//! ```text
//! count = count_a + count_b   mean = mean_a + δ count_b / count   square = square_a + square_b + δ² count_a count_b / count
//! ```
//! Equal entries have variance 0, not nearly 0. **Backward** takes `mean` as the forward call gave it; `x` may have gaps between
//! rows, outputs are packed.
//!
//! **NaN** and infinities make mean and variance of their row or column NaN, and with `dvariance` its `dx`; they reach no other.
//! Squares that overflow make the variance infinite. **Of nothing** both are NaN. **Empty** nothing is written.
//! **Determinism** stable, and independent of the number of threads: which entries are a part, and the order of parts, follow
//! from sizes alone; close to the reference within 1e-11 normalised squared error, a mean beside the root of its variance (of
//! which it may be a small part), for 16-bit gradients as much as their rounding costs (1e-6 for `f16`, 1e-5 for `bf16`). **Errors** `Range` if `axis` exceeds 1, `Size` if a statistic has not one
//! number for each row or column. **Moves** [`Plan::bytes`], backward [`Plan::bytes_backward`].
//! **Source** Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983).
use super::{along, check};
use crate::{Accumulate, Error, Float, Layout, Result};

pub(super) const OP: &str = "moments";

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<2>,
    axis: usize,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// `Range` as the contract says.
pub fn plan(x: &Layout<2>, axis: usize) -> Result<Plan> {
    check(OP, x, axis)?;
    Ok(Plan { x: *x, axis, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and `Size` as the contract says.
pub fn plan_backward(
    x: &Layout<2>,
    axis: usize,
    mean: &Layout<1>,
    dmean: Option<&Layout<1>>,
    dvariance: Option<&Layout<1>>,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = Plan { accumulate, ..plan(x, axis)? };
    let [want] = plan.out();
    for (arg, layout) in [("mean", Some(mean)), ("dmean", dmean), ("dvariance", dvariance)] {
        if let Some(got) = layout.map(Layout::len).filter(|&got| got != want) {
            return Err(Error::Size { op: OP, arg, want, got });
        }
    }
    Ok(plan)
}

impl Plan {
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The dimension that goes.
    pub fn axis(&self) -> usize {
        self.axis
    }
    /// Shape of `mean` and `variance`.
    pub fn out(&self) -> [usize; 1] {
        [self.x.dims()[1 - self.axis]]
    }
    /// Entries behind each number.
    pub fn count(&self) -> usize {
        self.x.dims()[self.axis]
    }
    /// What happens to the contents of `dx`.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        self.x.len() * size + 8 * self.out()[0]
    }
    /// The same of a backward call with both gradients.
    pub fn bytes_backward(&self, size: usize) -> usize {
        2 * self.x.len() * size + 12 * self.out()[0]
    }
}

/// Mean and sum of squares around it; of nothing NaN and 0. What is not finite makes both NaN.
pub(super) fn around_mean(count: usize, x: impl Fn(usize) -> f64) -> (f64, f64) {
    let mean = (0..count).map(&x).sum::<f64>() / count as f64;
    let square = (0..count).map(|i| (x(i) - mean) * (x(i) - mean)).sum::<f64>();
    (if square.is_nan() { f64::NAN } else { mean }, square)
}

/// The definition, a number at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], mean: &mut [T::Acc], variance: &mut [T::Acc]) {
    let [along, across] = along(&p.x, p.axis);
    for o in 0..p.out()[0] {
        let (center, square) = around_mean(p.count(), |i| x[o * across + i * along].wide());
        (mean[o], variance[o]) = (T::Acc::narrow(center), T::Acc::narrow(square / p.count() as f64));
    }
}

/// The gradient, an entry at a time.
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    mean: &[T::Acc],
    dmean: Option<&[T::Acc]>,
    dvariance: Option<&[T::Acc]>,
    dx: &mut [T],
) {
    let ([rows, n], share) = (p.x.dims(), 1.0 / p.count() as f64);
    for (r, c) in (0..rows).flat_map(|r| (0..n).map(move |c| (r, c))) {
        let o = if p.axis == 0 { c } else { r };
        let of = |slopes: Option<&[T::Acc]>, by: f64| slopes.map_or(0.0, |slopes| slopes[o].wide() * by);
        let off = x[r * p.x.strides()[0] + c].wide() - mean[o].wide();
        // A slope that is not asked for is 0, whatever it would be multiplied with.
        let slope = of(dmean, 1.0) + if dvariance.is_some() { of(dvariance, 2.0 * off) } else { 0.0 };
        p.accumulate.put(&mut dx[r * n + c], slope * share);
    }
}
