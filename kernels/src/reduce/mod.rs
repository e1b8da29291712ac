//! One number of every row, or of every column. Beside it: mean and variance ([`moments`]), correlations ([`pearson`]), and
//! statistics of classes ([`classes`]).
//!
//! | argument | shape                | type         |
//! |----------|----------------------|--------------|
//! | `x`      | `[rows, n]`          | float        |
//! | `y`      | `[n]` or `[rows]`    | `Float::Acc` |
//!
//! `axis` names the dimension that goes: 0 leaves one number per column, 1 one per row. Sum, mean, sum of squares, or the
//! largest entry by [`order`](crate::order()).
//!
//! **NaN** spoils sums and means; it ranks lowest for the largest, so it comes out only of nothing but NaN; a zero comes out
//! as `0.0`. **Of nothing** the sum is 0, the mean NaN, the largest `-inf`. **Determinism** `Max` exact, others stable and
//! close to the reference within 1e-11 normalised squared error. **Errors** `Range` if `axis` exceeds 1.
//! **Moves** [`Plan::bytes`]. **Backward** of sums spreads `dy`; of `Max` it will look for the first largest again.
pub mod classes;
mod launch;
pub mod moments;
pub mod pearson;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{
    CLASSES, ClassOutputs, launch, launch_classes, launch_moments, launch_moments_backward, launch_pearson,
    launch_pearson_backward, workspace_classes,
};
pub use reference::forward;

/// The device code.
pub static IMAGE: Image = Image { name: "reduce", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/reduce.fatbin")) };

/// Which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The sum.
    Sum,
    /// The sum, by the number of entries.
    Mean,
    /// The largest.
    Max,
    /// The sum of the squares.
    SumSquares,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    reduce: Reduce,
    x: Layout<2>,
    axis: usize,
}

/// Check a call.
///
/// # Errors
/// [`Error::Range`] as the contract says.
pub fn plan(x: &Layout<2>, reduce: Reduce, axis: usize) -> Result<Plan> {
    check("reduce", x, axis)?;
    Ok(Plan { reduce, x: *x, axis })
}

fn check(op: &'static str, x: &Layout<2>, axis: usize) -> Result<()> {
    let n = x.dims()[1];
    for (arg, got, max) in [("axis", axis, 1), ("n", n, i32::MAX as usize)] {
        if got > max {
            return Err(Error::Range { op, arg, max, got });
        }
    }
    Ok(())
}

/// From one entry behind a number to the next, and from one number to the next.
fn along(x: &Layout<2>, axis: usize) -> [usize; 2] {
    if axis == 0 { [0, 1] } else { [1, 0] }.map(|d| x.strides()[d])
}

impl Plan {
    /// Which number.
    pub fn reduce(&self) -> Reduce {
        self.reduce
    }
    /// The dimension that goes.
    pub fn axis(&self) -> usize {
        self.axis
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 1] {
        [self.x.dims()[1 - self.axis]]
    }
    /// Entries behind each number.
    pub fn count(&self) -> usize {
        self.x.dims()[self.axis]
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        self.x.len() * size + 4 * self.out()[0]
    }
}
