//! The mean squared error of each row, against targets as they are or brought to unit variance, and its gradient.
//!
//! | argument    | shape       | type         |
//! |-------------|-------------|--------------|
//! | `x`         | `[rows, n]` | float        |
//! | `y`         | `[rows, n]` | as `x`       |
//! | `normalise` |             | whether targets are normalised |
//! | `losses`    | `[rows]`    | `Float::Acc`; of a backward call optional |
//! | `dlosses`   | `[rows]`    | `Float::Acc` |
//! | `dx`        | `[rows, n]` | as `x`       |
//!
//! `losses[r] = mean_c (x[r, c] - t[r, c])^2`, `dx[r, c] = dlosses[r] 2 / n (x[r, c] - t[r, c])`. `t` is `y`, or, normalised,
//! `(y - mean) / sqrt(variance + 1e-6)` by the mean and the unbiased variance of its row (0 for a row of one entry): what
//! masked autoencoders ask of a patch. `y` has no gradient. `x` and `y` may have gaps between rows; `dx` is packed.
//!
//! **NaN** and infinities stay in their row and go where arithmetic takes them. **Empty** nothing is written; the loss of a
//! row without entries is NaN, a mean of nothing. **Determinism** stable, and independent of the number of threads; close
//! to the reference within 1e-11 normalised squared error, for 16-bit gradients as much as their rounding costs (1e-6 for
//! `f16`, 1e-5 for `bf16`). **Errors** `Size` if shapes disagree. **Moves** [`Plan::bytes`], backward
//! [`Plan::bytes_backward`]. **Source** He et al. 2022.
use crate::{Error, Float, Layout, Result, math};

pub(super) const OP: &str = "mse";
/// What is added to a variance.
pub const EPSILON: f32 = 1e-6;

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) x: Layout<2>,
    pub(super) y: Layout<2>,
    pub(super) normalise: bool,
}

/// Check a forward call.
///
/// # Errors
/// `Size` if `y` has not the shape of `x`, `Range` if rows are longer than an index.
pub fn plan(x: &Layout<2>, y: &Layout<2>, normalise: bool) -> Result<Plan> {
    for (want, got) in x.dims().into_iter().zip(y.dims()) {
        size("y", want, got)?;
    }
    let (max, [_, n]) = (i32::MAX as usize, x.dims());
    if n > max {
        return Err(Error::Range { op: OP, arg: "n", max, got: n });
    }
    Ok(Plan { x: *x, y: *y, normalise })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and `Size` if there are not as many `dlosses` as rows.
pub fn plan_backward(x: &Layout<2>, y: &Layout<2>, dlosses: &Layout<1>, normalise: bool) -> Result<Plan> {
    size("dlosses", x.dims()[0], dlosses.len())?;
    plan(x, y, normalise)
}

fn size(arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: OP, arg, want, got }) }
}

impl Plan {
    /// Shape of the losses.
    pub fn out(&self) -> [usize; 1] {
        [self.x.dims()[0]]
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `y`.
    pub fn y(&self) -> Layout<2> {
        self.y
    }
    /// Whether targets are normalised.
    pub fn normalise(&self) -> bool {
        self.normalise
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        2 * self.x.len() * size + 4 * self.out()[0]
    }
    /// Bytes that a backward call must move at least, with losses or without.
    pub fn bytes_backward(&self, size: usize) -> usize {
        3 * self.x.len() * size + 8 * self.out()[0]
    }
    fn row<'a, T>(&self, layout: Layout<2>, x: &'a [T], r: usize) -> &'a [T] {
        &x[r * layout.strides()[0]..][..layout.dims()[1]]
    }
}

/// The mean of a row of targets, and what they are multiplied by once it is taken off.
fn scale<T: Float>(normalise: bool, y: &[T]) -> (f64, f64) {
    if !normalise {
        return (0.0, 1.0);
    }
    let n = y.len() as f64;
    let mean = y.iter().map(|y| y.wide()).sum::<f64>() / n;
    let squares: f64 = y.iter().map(|y| (y.wide() - mean) * (y.wide() - mean)).sum();
    (mean, 1.0 / math::sqrt(squares / (n - 1.0).max(1.0) + f64::from(EPSILON)))
}

/// The definition of the losses.
pub fn forward<T: Float>(p: &Plan, x: &[T], y: &[T], losses: &mut [T::Acc]) {
    for (r, loss) in losses[..p.out()[0]].iter_mut().enumerate() {
        let (x, y) = (p.row(p.x, x, r), p.row(p.y, y, r));
        let (mean, scale) = scale(p.normalise, y);
        let away = |(x, y): (&T, &T)| x.wide() - (y.wide() - mean) * scale;
        let squares: f64 = x.iter().zip(y).map(away).map(|away| away * away).sum();
        *loss = T::Acc::narrow(squares / x.len() as f64);
    }
}

/// The definition of the gradients, and the losses if they are asked for.
pub fn backward<T: Float>(p: &Plan, x: &[T], y: &[T], dlosses: &[T::Acc], losses: Option<&mut [T::Acc]>, dx: &mut [T]) {
    if let Some(losses) = losses {
        forward(p, x, y, losses);
    }
    let [rows, n] = p.x.dims();
    for r in 0..rows {
        let (x, y) = (p.row(p.x, x, r), p.row(p.y, y, r));
        let (mean, scale) = scale(p.normalise, y);
        for c in 0..n {
            let away = x[c].wide() - (y[c].wide() - mean) * scale;
            dx[r * n + c] = T::narrow(dlosses[r].wide() * (2.0 / n as f64) * away);
        }
    }
}
