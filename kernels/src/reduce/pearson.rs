//! Pearson's correlation of the columns of two matrices, or of one vector with every column, and its gradients.
//!
//! | argument   | shape              | type         |
//! |------------|--------------------|--------------|
//! | `x`        | `[rows, n]`        | float        |
//! | `y`        | `[rows, n]`, or `[rows, 1]` for one vector | as `x` |
//! | `r`, `dr`  | `[n]`              | `Float::Acc` |
//! | `saved`    | `[4, n]`: mean of `x`, of `y`, size of `x`, of `y` | `Float::Acc` |
//! | `dx`, `dy` | as `x` and as `y`, each optional | as `x` |
//!
//! Of column `j`, with `u = x - mean(x)`, `w = y - mean(y)` and sizes `|u| = sqrt(Σ u²)`:
//!
//! ```text
//! r = Σ u w / (|u| |w|)    dx = dr (w / |w| - r u / |u|) / |u|    dy = dr (u / |u| - r w / |w|) / |w|
//! ```
//! and for one vector `y` its `dy` is the sum over the columns. Sums join as in [`moments`](super::moments); `r` is in `[-1, 1]`.
//! **Backward** takes `r` and `saved` as the forward call gave them. `x` and `y` may have gaps between rows; outputs are packed.
//!
//! A column **without spread** in `x` or in `y` (or with so little that the product of sizes is 0) has `r` 0 and no gradient.
//! **NaN** and infinities make `r` and the gradients of their column NaN, and the `dy` of one vector. **Of nothing** `r` is 0.
//! **Empty** nothing is written; without columns the `dy` of one vector is zero. **Determinism** stable, and independent of the
//! number of threads; `r` and `saved` are close to the reference within 1e-11 normalised squared error (means as in `moments`), gradients likewise
//! beside the terms of which they are the differences (16-bit ones as in `moments`). **Errors** `Size` if shapes disagree,
//! `Range` if there are more columns than an index can count. **Moves** [`Plan::bytes`], backward [`Plan::bytes_backward`].
//! **Source** Pearson 1895; sums as Chan et al. 1983.
use super::check;
use super::moments::around_mean;
use crate::math::sqrt;
use crate::{Accumulate, Error, Float, Layout, Result};
use alloc::vec;

pub(super) const OP: &str = "pearson";

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<2>,
    y: Layout<2>,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// See the head of the module.
pub fn plan(x: &Layout<2>, y: &Layout<2>) -> Result<Plan> {
    check(OP, x, 0)?;
    let ([rows, n], [of_y, columns]) = (x.dims(), y.dims());
    if of_y != rows {
        return Err(Error::Size { op: OP, arg: "y", want: rows, got: of_y });
    }
    if columns != n && columns != 1 {
        return Err(Error::Size { op: OP, arg: "y", want: n, got: columns });
    }
    Ok(Plan { x: *x, y: *y, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// See the head of the module.
pub fn plan_backward(
    x: &Layout<2>,
    y: &Layout<2>,
    r: &Layout<1>,
    saved: &Layout<2>,
    dr: &Layout<1>,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = Plan { accumulate, ..plan(x, y)? };
    let ([n], [four, wide]) = (plan.out(), saved.dims());
    for (arg, want, got) in [("r", n, r.len()), ("saved", 4, four), ("saved", n, wide), ("dr", n, dr.len())] {
        if want != got {
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
    /// The layout of `y`.
    pub fn y(&self) -> Layout<2> {
        self.y
    }
    /// Whether `y` is one vector for all columns of several.
    pub fn shared(&self) -> bool {
        self.y.dims()[1] != self.x.dims()[1]
    }
    /// Shape of `r`.
    pub fn out(&self) -> [usize; 1] {
        [self.x.dims()[1]]
    }
    /// Shape of `saved`.
    pub fn saved(&self) -> [usize; 2] {
        [4, self.x.dims()[1]]
    }
    /// What happens to the contents of `dx` and `dy`.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (self.x.len() + self.y.len()) * size + 5 * 4 * self.out()[0]
    }
    /// The same of a backward call that asks for both gradients.
    pub fn bytes_backward(&self, size: usize) -> usize {
        2 * (self.x.len() + self.y.len()) * size + 6 * 4 * self.out()[0]
    }
}

/// The definition, a column at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], y: &[T], r: &mut [T::Acc], saved: &mut [T::Acc]) {
    let ([rows, n], [x_stride, y_stride]) = (p.x.dims(), [p.x, p.y].map(|layout| layout.strides()[0]));
    for j in 0..n {
        let of_x = |i: usize| x[i * x_stride + j].wide();
        let of_y = |i: usize| y[i * y_stride + if p.shared() { 0 } else { j }].wide();
        let ([mean, square], [center, other]) = (around_mean(rows, of_x).into(), around_mean(rows, of_y).into());
        let cross: f64 = (0..rows).map(|i| (of_x(i) - mean) * (of_y(i) - center)).sum();
        let [size, extent] = [square, other].map(sqrt);
        let both = T::Acc::narrow(size * extent).wide();
        let value = if both == 0.0 { 0.0 } else { (cross / size / extent).clamp(-1.0, 1.0) };
        r[j] = T::Acc::narrow(value);
        for (to, number) in [mean, center, size, extent].into_iter().enumerate() {
            saved[to * n + j] = T::Acc::narrow(number);
        }
    }
}

/// The gradients, a row at a time; each only if it is asked for.
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    y: &[T],
    r: &[T::Acc],
    saved: &[T::Acc],
    dr: &[T::Acc],
    mut dx: Option<&mut [T]>,
    mut dy: Option<&mut [T]>,
) {
    let ([rows, n], [_, columns]) = (p.x.dims(), p.y.dims());
    for i in 0..rows {
        let mut sums = vec![0.0; columns];
        for j in 0..n {
            let at = if p.shared() { 0 } else { j };
            let [mean, center, size, extent] = [0, 1, 2, 3].map(|of| saved[of * n + j].wide());
            let (slope, value, none) = (dr[j].wide(), r[j].wide(), T::Acc::narrow(size * extent).wide() == 0.0);
            let u = (x[i * p.x.strides()[0] + j].wide() - mean) / size;
            let w = (y[i * p.y.strides()[0] + at].wide() - center) / extent;
            let [of_x, of_y] =
                [(w - value * u) / size, (u - value * w) / extent].map(|by| if none { 0.0 } else { slope * by });
            sums[at] += of_y;
            if let Some(dx) = &mut dx {
                p.accumulate.put(&mut dx[i * n + j], of_x);
            }
        }
        for (to, sum) in dy.iter_mut().flat_map(|dy| &mut dy[i * columns..][..columns]).zip(sums) {
            p.accumulate.put(to, sum);
        }
    }
}
