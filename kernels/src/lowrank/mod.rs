//! Low-rank compression of gradients: PowerSGD over a table of matrices, in stages between which ranks exchange sums.
//!
//! A [`Segments`] table names the matrices of one buffer; matrix `s` has `m` rows and `n` columns. Factors of all of them
//! stand one below the other: `p` is `[sum of m, rank]`, `q` is `[sum of n, rank]`, packed, so that each is one exchange.
//!
//! | stage                 | reads        | writes          | per matrix |
//! |-----------------------|--------------|-----------------|------------|
//! | [`left`]              | `g`, `e`, `q` | `e`, `p`, `dropped` | `A = G + E` into `E`; `P = A Q` |
//! | sum of `p` over ranks |              |                 |            |
//! | [`orthogonalise`]     | `p`          | `p`             | columns become orthonormal |
//! | [`right`]             | `e`, `p`     | `q`             | `Q = At P` |
//! | mean of `q` over ranks |             |                 |            |
//! | [`restore`]           | `p`, `q`, `e` | `e`, `y`       | `Y = P Qt`; `E = A - Y` |
//!
//! | argument  | shape                | type         |
//! |-----------|----------------------|--------------|
//! | `g`, `y`  | at least [`Segments::span`] | float: the gradient, what is made of it |
//! | `e`       | as `g`               | `Float::Acc`: the error memory, between [`left`] and [`restore`] `A` |
//! | `p`, `q`  | `[rows, rank]`, `[columns, rank]` of [`Plan`] | `Float::Acc` |
//! | `dropped` | `[matrices]`         | `u32`: entries that were not finite, modulo 2^32 |
//! | `workspace` | [`Plan::workspace`] | bytes, [`orthogonalise`] on CUDA only |
//!
//! `q` of the step before is the one to begin with (any numbers, at first). What lies between matrices is not touched.
//! `y` may be the memory of `g`. [`restore`] may leave out `y`, to feed back what this rank alone would have made, or `e`.
//! The sum of all `y` and the last `e` is the sum of all `g`, up to the rounding of `A - Y`.
//!
//! **Factors in few bits.** What ranks exchange may be codes of [`quant`](crate::quant) over the numbers of a factor, in the
//! order of memory: the op `lowrank_quantise` makes them and leaves their numbers in the factor, `lowrank_sum` adds those of
//! all ranks in their order, in `f32`, so that all get the same bits. Codes of `p` only turn the basis a little, for
//! [`orthogonalise`] comes after them. [`restore`] is given the `q` that all ranks made of the codes, so what codes lose stays
//! in `e` with the rest, and the sum of all `y` and the last `e` is as before. With an orthonormal `p`,
//! `|E|^2 = |A|^2 - |At P|^2 + |At P - Q|^2`: rounding to the nearest of symmetric codes never adds to the memory. A number that is
//! not finite counts as 0 there, by itself, and is counted in `dropped`. A factor of `n` numbers of `b` bits in blocks of `c` takes
//! `n (b / 8 + 4 / c)` bytes in place of `4 n`.
//!
//! **Orthonormal** by Cholesky factors of the scaled Gram matrix in `f64`, twice where it is ill-conditioned. A column that
//! is a combination of those before it, up to 1e-6 of its length, is replaced by draws of [`philox`](crate::philox()) named by
//! `seed`, row, column, matrix and attempt, and a matrix of zeros by a random basis: no direction is ever lost for good.
//! **Rank at run time** [`resize`] makes `q` narrower, by its longest columns (of equals the first) in their order, or
//! wider, by random columns. **NaN** where `g + e` is not finite, `e` stays as it was: the entry counts as dropped. A `p`
//! that is not finite becomes 0 as a whole, and an entry of `Y` that is not finite becomes 0 and leaves `e` as it is. **Overflow**
//! of `A - Y` becomes the largest number, so no memory is infinite. `P` grows as the square of `A`, for `q` is that of the step before:
//! of entries above some 1e19 it overflows, nothing is sent in that step, and what was kept goes with the next.
//! **Empty** rank 0 makes `Y = 0`, `E = A`.
//! **Determinism** [`orthogonalise`] and [`resize`] exact, so ranks that hold one sum agree in every bit, whatever their
//! devices; products stable whatever the threads, and close: 1e-11 normalised squared error.
//! **Errors** `Range` if the rank exceeds the rows or columns of a matrix, or on CUDA 46340 in [`orthogonalise`], whose Gram matrix is
//! then past an index of 32 bits; `Size` for tensors too short.
//! **Moves** per entry of a matrix, of `g` bytes `T`, `e` bytes `A`: `T + 2A` in [`left`], `A` in [`right`], `2A + T` in
//! [`restore`]; [`Plan::bytes`] is all of it.
//!
//! **Source** Vogels, Karimireddy, Jaggi 2019 (PowerSGD); Yamamoto et al. 2015 (CholeskyQR2).
mod factor;
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result, Segment, Segments};
pub use factor::{DEFICIENT, Factor, GOOD, draw, factor};
pub use launch::{launch_left, launch_orthogonalise, launch_resize, launch_restore, launch_right};
pub use reference::{left, longest, orthogonalise, resize, restore, right};

/// The device code.
pub static IMAGE: Image = Image { name: "lowrank", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/lowrank.fatbin")) };

/// Rows whose products are summed before they join the sum of a Gram matrix: part of what [`orthogonalise`] is.
pub const SLAB: usize = 256;

/// A checked table. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'t> {
    table: &'t Segments,
    rank: usize,
    rows: usize,
    columns: usize,
}

/// One matrix of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Where it lies in the buffer.
    pub segment: Segment,
    /// Its first row of `p`.
    pub row: usize,
    /// Its first row of `q`.
    pub column: usize,
}

/// Check a table and a rank.
///
/// # Errors
/// `Range` if the rank exceeds the rows or columns of a matrix, or there are more matrices than a grid has.
pub fn plan(table: &Segments, rank: usize) -> Result<Plan<'_>> {
    const OP: &str = "lowrank";
    let range = |arg, got, max| if got > max { Err(Error::Range { op: OP, arg, max, got }) } else { Ok(()) };
    range("matrices", table.count(), 65_535)?;
    let (mut rows, mut columns) = (0, 0);
    for segment in table.all() {
        range("rank", rank, segment.rows.min(segment.columns))?;
        range("rows", segment.rows, i32::MAX as usize)?;
        range("columns", segment.columns, i32::MAX as usize)?;
        (rows, columns) = (rows + segment.rows, columns + segment.columns);
    }
    for height in [rows, columns] {
        height.checked_mul(rank).filter(|&len| len <= isize::MAX as usize).ok_or(Error::TooLarge)?;
    }
    Ok(Plan { table, rank, rows, columns })
}

impl<'t> Plan<'t> {
    /// The matrices.
    pub fn table(&self) -> &'t Segments {
        self.table
    }
    /// Columns of both factors.
    pub fn rank(&self) -> usize {
        self.rank
    }
    /// Shape of `p`.
    pub fn p(&self) -> [usize; 2] {
        [self.rows, self.rank]
    }
    /// Shape of `q`.
    pub fn q(&self) -> [usize; 2] {
        [self.columns, self.rank]
    }
    /// The matrices, in order, and where their factors begin.
    pub fn matrices(&self) -> impl Iterator<Item = Matrix> + Clone + 't {
        self.table.all().iter().scan((0, 0), |at, &segment| {
            let matrix = Matrix { segment, row: at.0, column: at.1 };
            *at = (at.0 + segment.rows, at.1 + segment.columns);
            Some(matrix)
        })
    }
    /// Check that a buffer of the matrices is long enough.
    ///
    /// # Errors
    /// `Size` if not.
    pub fn covers(&self, op: &'static str, arg: &'static str, buffer: &Layout<1>) -> Result<()> {
        let (want, [got]) = (self.table.span(), buffer.dims());
        if got < want { Err(Error::Size { op, arg, want, got }) } else { Ok(()) }
    }
    /// Check the shape of a factor, which has no gaps: of `p`, or of `q`.
    ///
    /// # Errors
    /// `Size` or `Stride` if not.
    pub fn fits(&self, op: &'static str, arg: &'static str, factor: &Layout<2>) -> Result<()> {
        let want = if arg == "p" { self.p() } else { self.q() };
        if let Some((want, got)) = want.into_iter().zip(factor.dims()).find(|(want, got)| want != got) {
            return Err(Error::Size { op, arg, want, got });
        }
        if !factor.is_packed() {
            return Err(Error::Stride { op, arg, want: self.rank, got: factor.strides()[0] });
        }
        Ok(())
    }
    /// Bytes of scratch of [`orthogonalise`] on CUDA: two matrices of the rank, and five rows, for every matrix.
    pub fn workspace(&self) -> usize {
        let each = launch::words(self.rank).saturating_mul(8);
        self.table.count().saturating_mul(each).saturating_add(256)
    }
    /// Bytes that a whole step must move at least, for elements of these bytes.
    pub fn bytes(&self, g: usize, e: usize) -> usize {
        let entries: usize = self.table.all().iter().map(Segment::len).sum();
        entries * (2 * g + 5 * e) + 3 * (self.rows + self.columns) * self.rank * e
    }
    /// Multiplications and additions of a whole step, but for the orthogonalisation.
    pub fn flops(&self) -> usize {
        6 * self.rank * self.table.all().iter().map(Segment::len).sum::<usize>()
    }
}
