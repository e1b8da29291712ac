//! Rows of a table, by number, and what flows back to the table.
//!
//! | argument     | shape          | type         |
//! |--------------|----------------|--------------|
//! | `table`      | `[vocab, dim]` | float        |
//! | `ids`        | `[n]`          | `u32`        |
//! | `y`          | `[n, dim]`     | as `table`   |
//! | `dy`         | `[n, dim]`     | as `table`   |
//! | `accumulate` |                | of `dtable`  |
//! | `dtable`     | `[vocab, dim]` | `Float::Acc` |
//!
//! `y[i] = table[ids[i]]`, copied, not recomputed. `dtable[v] = Σ dy[i]` over the `i` with `ids[i] = v`, in their order;
//! with [`Accumulate::Add`] they are added, in their order, to what `dtable` holds. Rows that no id names become zeros
//! with `Replace` and are not touched with `Add`. `table` and `dy` may have gaps between rows; outputs are packed.
//!
//! **A bad id** (`>= vocab`) is an error on the host, before anything is written; on CUDA, where the host does not look at
//! ids, it makes its row of `y` NaN, and its row of `dy` is left out. **NaN** in a row of `dy` reaches the row of
//! `dtable` that its id names. **Empty** nothing is written; no ids make a `dtable` of zeros with `Replace`.
//! **Determinism** forward exact. Backward the same bits on every device, with any number of threads: ids are put in order
//! by a stable counting sort, and each row of the table is summed in `Acc` by one thread or block; close to the
//! reference within `n 2^-24` of the sum of absolute terms, for `n` terms. **Errors** `Range` for a bad id, `Size` if
//! there are not as many ids as rows of `dy`. **Moves** [`Plan::bytes`], backward [`Plan::bytes_backward`].
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, workspace};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "embed", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/embed.fatbin")) };

const OP: &str = "embed";
/// The most rows and columns that a kernel counts.
const MOST: usize = i32::MAX as usize;

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    table: Layout<2>,
    rows: Layout<2>,
    accumulate: Accumulate,
}

/// Check a forward call, but for the ids themselves.
///
/// # Errors
/// [`Error::Range`] if a row is longer than an index.
pub fn plan(table: &Layout<2>, ids: &Layout<1>) -> Result<Plan> {
    let [_, dim] = table.dims();
    at_most("dim", dim)?;
    Ok(Plan { table: *table, rows: Layout::packed([ids.len(), dim])?, accumulate: Accumulate::Replace })
}

/// Check a backward call to a table of `vocab` rows, but for the ids themselves.
///
/// # Errors
/// `Range` if there are more rows, or longer ones, than an index can count, `Size` if there are not as many ids as rows.
pub fn plan_backward(dy: &Layout<2>, ids: &Layout<1>, vocab: usize, accumulate: Accumulate) -> Result<Plan> {
    let [n, dim] = dy.dims();
    if ids.len() != n {
        return Err(Error::Size { op: OP, arg: "ids", want: n, got: ids.len() });
    }
    at_most("dim", dim)?;
    at_most("ids", n)?;
    at_most("vocab", vocab)?;
    Ok(Plan { table: Layout::packed([vocab, dim])?, rows: *dy, accumulate })
}

fn at_most(arg: &'static str, got: usize) -> Result<()> {
    if got > MOST { Err(Error::Range { op: OP, arg, max: MOST, got }) } else { Ok(()) }
}

impl Plan {
    /// Shape of `y` and `dy`.
    pub fn out(&self) -> [usize; 2] {
        self.rows.dims()
    }
    /// The layout of the table, or of its gradient.
    pub fn table(&self) -> Layout<2> {
        self.table
    }
    /// The layout of `dy`, or of `y`.
    pub fn rows(&self) -> Layout<2> {
        self.rows
    }
    /// What happens to the contents of `dtable`.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Check the ids, where they can be read.
    ///
    /// # Errors
    /// [`Error::Range`] naming the first bad one.
    pub fn check(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.table.dims()[0];
        let bad = ids[..self.rows.dims()[0]].iter().find(|&&id| id as usize >= vocab);
        bad.map_or(Ok(()), |&id| {
            Err(Error::Range { op: OP, arg: "ids", max: vocab.saturating_sub(1), got: id as usize })
        })
    }
    /// Bytes that any implementation of the forward must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let [n, dim] = self.out();
        n * (2 * dim * size + 4)
    }
    /// Bytes that a backward call must move at least: `dy` in, and the table out with `Replace`; with `Add` the rows that
    /// are named, in and out, which are taken for all different.
    pub fn bytes_backward(&self, size: usize) -> usize {
        let [n, dim] = self.out();
        let table = if self.accumulate == Accumulate::Add { 8 * n * dim } else { 4 * self.table.len() };
        n * (dim * size + 4) + table
    }
}
