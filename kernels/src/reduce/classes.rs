//! Count, mean and squares of the rows of each class, which can join those of other batches.
//!
//! | argument  | shape          | type         |
//! |-----------|----------------|--------------|
//! | `x`       | `[rows, n]`    | float        |
//! | `labels`  | `[rows]`       | `u32`        |
//! | `counts`  | `[classes]`    | `u32`        |
//! | `means`   | `[classes, n]` | `Float::Acc` |
//! | `squares` | `[classes, n]` | `Float::Acc`: sums of squared differences from the mean |
//! | `ignored` | `[1]`          | `u32`        |
//!
//! Of the rows `x` with label `c`, column by column: their number, `mean = Σ x / count` and `square = Σ (x - mean)²`, so that the
//! variance is `square / count`. With [`Accumulate::Add`] they join what the outputs hold, `a`, by Chan's formula, as
//! [`moments`](super::moments) has it: statistics of batches, one after the other, are those of all their rows. `x` may have gaps
//! between rows; outputs are packed.
//!
//! **A label** that is no class (`>= classes`) leaves its row out and adds one to `ignored`. Counts stay at the largest `u32`.
//! **Empty classes** have count, mean and squares 0; with `Add` a class without rows keeps its bits. **NaN** and infinities make
//! mean and squares of their column of their class NaN, now and in every batch that joins; they reach no other.
//! **Determinism** stable, and independent of the number of threads: rows are put in order of their labels by a stable counting
//! sort; those of a class join by few, in their order. Close to the reference as `moments`; without
//! atomic sums of floats. **Errors** `Size` if shapes disagree, `Range` if there are more rows, columns or classes than an
//! index can count. **Moves** [`Plan::bytes`]. **Source** Chan, Golub and LeVeque, Algorithms for Computing the Sample
//! Variance (1983).
use super::moments::around_mean;
use crate::{Accumulate, Error, Float, Layout, Result};
use alloc::vec::Vec;

pub(super) const OP: &str = "class_moments";

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<2>,
    classes: usize,
    accumulate: Accumulate,
}

/// Check a call, but for the labels themselves.
///
/// # Errors
/// See the head of the module.
pub fn plan(x: &Layout<2>, labels: &Layout<1>, classes: usize, accumulate: Accumulate) -> Result<Plan> {
    let ([rows, n], max) = (x.dims(), i32::MAX as usize);
    if labels.len() != rows {
        return Err(Error::Size { op: OP, arg: "labels", want: rows, got: labels.len() });
    }
    for (arg, got) in [("rows", rows), ("n", n), ("classes", classes)] {
        if got > max {
            return Err(Error::Range { op: OP, arg, max, got });
        }
    }
    Layout::packed([classes, n])?;
    Ok(Plan { x: *x, classes, accumulate })
}

impl Plan {
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// Classes.
    pub fn classes(&self) -> usize {
        self.classes
    }
    /// Shape of `means` and `squares`.
    pub fn out(&self) -> [usize; 2] {
        [self.classes, self.x.dims()[1]]
    }
    /// Whether the batch joins what the outputs hold.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let ([classes, n], ways) = (self.out(), if self.accumulate == Accumulate::Add { 2 } else { 1 });
        self.x.len() * size + 4 * self.x.dims()[0] + ways * (4 * classes + 8 * classes * n + 4)
    }
}

/// A count after `more`.
pub fn grown(accumulate: Accumulate, count: u32, more: usize) -> u32 {
    let before = if accumulate == Accumulate::Add { count } else { 0 };
    before.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
}

/// Mean and squares of two parts together, each of count, mean and squares; zeros if both are empty.
pub fn join([of_a, mean_a, square_a]: [f64; 3], [of_b, mean_b, square_b]: [f64; 3]) -> [f64; 2] {
    let count = of_a + of_b;
    if count == 0.0 {
        return [0.0; 2];
    }
    let off = mean_b - mean_a;
    [mean_a + off * (of_b / count), square_a + square_b + off * off * (of_a * of_b / count)]
}

/// The definition, a column of a class at a time.
pub fn forward<T: Float>(
    p: &Plan,
    x: &[T],
    labels: &[u32],
    counts: &mut [u32],
    means: &mut [T::Acc],
    squares: &mut [T::Acc],
    ignored: &mut [u32],
) {
    let ([rows, n], add) = (p.x.dims(), p.accumulate == Accumulate::Add);
    let labels = &labels[..rows];
    for (class, count) in counts[..p.classes].iter_mut().enumerate() {
        let members: Vec<usize> = (0..rows).filter(|&i| labels[i] as usize == class).collect();
        if !(add && members.is_empty()) {
            for j in 0..n {
                let (mean, square) = around_mean(members.len(), |i| x[members[i] * p.x.strides()[0] + j].wide());
                let batch = if members.is_empty() { [0.0; 3] } else { [members.len() as f64, mean, square] };
                let at = class * n + j;
                let held = [f64::from(*count), means[at].wide(), squares[at].wide()];
                let all = join(if add { held } else { [0.0; 3] }, batch);
                (means[at], squares[at]) = (T::Acc::narrow(all[0]), T::Acc::narrow(all[1]));
            }
        }
        *count = grown(p.accumulate, *count, members.len());
    }
    let bad = labels.iter().filter(|&&label| label as usize >= p.classes).count();
    ignored[0] = grown(p.accumulate, ignored[0], bad);
}
