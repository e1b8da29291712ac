//! Rows of a table, by number.
//!
//! | argument | shape          | type     |
//! |----------|----------------|----------|
//! | `table`  | `[vocab, dim]` | float    |
//! | `ids`    | `[n]`          | `u32`    |
//! | `y`      | `[n, dim]`     | as `table` |
//!
//! `y[i] = table[ids[i]]`, copied, not recomputed.
//!
//! **A bad id** (`>= vocab`) is an error on the host, before anything is written; on CUDA, where the host does not look at
//! ids, it makes its row NaN. **Empty** nothing is written. **Determinism** exact. **Errors** `Range` for a bad id.
//! **Moves** [`Plan::bytes`]. **Backward** will add rows of `dy` in the order of `ids`.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
pub use reference::forward;

/// The device code.
pub static IMAGE: Image = Image { name: "embed", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/embed.fatbin")) };

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    table: Layout<2>,
    n: usize,
}

/// Check a call, but for the ids themselves.
///
/// # Errors
/// [`Error::Range`] if a row is longer than an index.
pub fn plan(table: &Layout<2>, ids: &Layout<1>) -> Result<Plan> {
    let [_, dim] = table.dims();
    if dim > i32::MAX as usize {
        return Err(Error::Range { op: "embed", arg: "dim", max: i32::MAX as usize, got: dim });
    }
    Ok(Plan { table: *table, n: ids.len() })
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        [self.n, self.table.dims()[1]]
    }
    /// The layout of the table.
    pub fn table(&self) -> Layout<2> {
        self.table
    }
    /// Check the ids, where they can be read.
    ///
    /// # Errors
    /// [`Error::Range`] naming the first bad one.
    pub fn check(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.table.dims()[0];
        let bad = ids[..self.n].iter().find(|&&id| id as usize >= vocab);
        bad.map_or(Ok(()), |&id| {
            Err(Error::Range { op: "embed", arg: "ids", max: vocab.saturating_sub(1), got: id as usize })
        })
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let [n, dim] = self.out();
        n * (2 * dim * size + 4)
    }
}
