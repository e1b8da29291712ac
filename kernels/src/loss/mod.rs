//! Softmax cross-entropy: how surprised each row of logits is by its target.
//!
//! | argument  | shape             | type         |
//! |-----------|-------------------|--------------|
//! | `logits`  | `[rows, classes]` | float        |
//! | `targets` | `[rows]`          | `u32`        |
//! | `losses`  | `[rows]`          | `Float::Acc` |
//!
//! `losses[r] = log(sum_c exp(logits[r, c])) - logits[r, targets[r]]`, with the largest logit taken out of the sum, in one
//! pass over the logits and without a copy of them.
//!
//! **Ignored** the target [`IGNORED`] gives 0. **A bad target** (`>= classes`) is an error on the host, before anything is
//! written; on CUDA, where the host does not look at targets, it gives NaN. **NaN** or `+inf` in a row, or only `-inf`,
//! gives NaN. **Empty** nothing is written. **Determinism** stable; close to the reference within 1e-12 normalised squared
//! error. **Errors** `Size` if there are not as many targets as rows, `Range` for a bad target.
//! **Moves** [`Plan::bytes`]. **Backward** will read the logits again.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
pub use reference::forward;

/// The device code.
pub static IMAGE: Image = Image { name: "loss", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/loss.fatbin")) };

/// The target of a row that does not count.
pub const IGNORED: u32 = u32::MAX;

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    logits: Layout<2>,
}

/// Check a call, but for the targets themselves.
///
/// # Errors
/// `Size` or `Range` as the contract says.
pub fn plan(logits: &Layout<2>, targets: &Layout<1>) -> Result<Plan> {
    let [rows, classes] = logits.dims();
    if targets.len() != rows {
        return Err(Error::Size { op: "cross_entropy", arg: "targets", want: rows, got: targets.len() });
    }
    if classes > i32::MAX as usize {
        return Err(Error::Range { op: "cross_entropy", arg: "classes", max: i32::MAX as usize, got: classes });
    }
    Ok(Plan { logits: *logits })
}

impl Plan {
    /// Shape of the losses.
    pub fn out(&self) -> [usize; 1] {
        [self.logits.dims()[0]]
    }
    /// The layout of the logits.
    pub fn logits(&self) -> Layout<2> {
        self.logits
    }
    /// Check the targets, where they can be read.
    ///
    /// # Errors
    /// [`Error::Range`] naming the first bad one.
    pub fn check(&self, targets: &[u32]) -> Result<()> {
        let [rows, classes] = self.logits.dims();
        let bad = targets[..rows].iter().find(|&&target| target != IGNORED && target as usize >= classes);
        bad.map_or(Ok(()), |&target| {
            let max = classes.saturating_sub(1);
            Err(Error::Range { op: "cross_entropy", arg: "targets", max, got: target as usize })
        })
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let [rows, classes] = self.logits.dims();
        rows * (classes * size + 8)
    }
}
