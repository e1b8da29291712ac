//! Entry by entry: copy between layouts, cast between types, add, scale.
//!
//! | argument | shape          | type                     |
//! |----------|----------------|--------------------------|
//! | `x`      | up to rank 4   | any to copy, else float  |
//! | `y`      | as `x`         | as `x`; cast: any float  |
//!
//! `copy`: `y = x`, bit by bit. `cast`: `y = x` rounded to nearest, ties to even. `add`: `y += x`. `scale`: `y *= factor`;
//! the last two in `Float::Acc`, rounded once. Both layouts may have gaps between rows, and what lies in the gaps stays:
//! so a copy fills part of a cache.
//!
//! **NaN** stays NaN. **Empty** nothing is written. **Determinism** exact. **Errors** `Size` if the shapes differ, `Range` if
//! the rank exceeds 4. **Moves** [`Plan::bytes`].
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{launch_add, launch_cast, launch_copy, launch_scale};
pub use reference::{add, cast, copy, scale};

/// The device code.
pub static IMAGE: Image = Image { name: "map", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/map.fatbin")) };

/// A checked problem: rows of `n` entries, in up to three dimensions. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    dims: [usize; 4],
    strides: [[usize; 3]; 2],
    spans: [usize; 2],
}

/// Check a call of `op`.
///
/// # Errors
/// `Size` or `Range` as the contract says.
pub fn plan<const R: usize>(op: &'static str, x: &Layout<R>, y: &Layout<R>) -> Result<Plan> {
    if R > 4 {
        return Err(Error::Range { op, arg: "rank", max: 4, got: R });
    }
    let wrong = x.dims().into_iter().zip(y.dims()).find(|(want, got)| want != got);
    if let Some((want, got)) = wrong {
        return Err(Error::Size { op, arg: "y", want, got });
    }
    // Dimensions without a gap between them are one: the fewer rows, the longer.
    let (mut dims, mut strides, mut last) = ([1; 4], [[0; 3]; 2], 3);
    for d in (0..R).rev() {
        let pair = [x.strides()[d], y.strides()[d]];
        if d + 1 == R || (last == 3 && pair == [dims[3]; 2]) {
            dims[3] *= x.dims()[d];
        } else {
            last -= 1;
            dims[last] = x.dims()[d];
            (strides[0][last], strides[1][last]) = (pair[0], pair[1]);
        }
    }
    Ok(Plan { dims, strides, spans: [x.span(), y.span()] })
}

impl Plan {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.dims[..3].iter().product()
    }
    /// Entries of a row.
    pub fn n(&self) -> usize {
        self.dims[3]
    }
    /// Sizes of the dimensions of rows, outermost first.
    pub fn dims(&self) -> [usize; 3] {
        [self.dims[0], self.dims[1], self.dims[2]]
    }
    /// Strides of the dimensions of rows, of `x` and of `y`.
    pub fn strides(&self) -> [[usize; 3]; 2] {
        self.strides
    }
    /// Elements of `x` and of `y`, from the first to one past the last.
    pub fn spans(&self) -> [usize; 2] {
        self.spans
    }
    /// Where row `r` begins, in `x` and in `y`.
    pub fn row(&self, r: usize) -> [usize; 2] {
        let at = [r / self.dims[2] / self.dims[1], r / self.dims[2] % self.dims[1], r % self.dims[2]];
        self.strides.map(|strides| (0..3).map(|d| at[d] * strides[d]).sum())
    }
    /// Bytes that any implementation must move at least, where an entry takes `size` bytes in `x` and `y` together.
    pub fn bytes(&self, size: usize) -> usize {
        self.rows() * self.n() * size
    }
}
