//! One number of every row, or of every column.
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
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
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
    let n = x.dims()[1];
    for (arg, got, max) in [("axis", axis, 1), ("n", n, i32::MAX as usize)] {
        if got > max {
            return Err(Error::Range { op: "reduce", arg, max, got });
        }
    }
    Ok(Plan { reduce, x: *x, axis })
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
