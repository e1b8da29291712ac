//! Softmax cross-entropy: how surprised each row of logits is by its target, and the gradient of that. [`mse`] is the mean
//! squared error of rows.
//!
//! | argument    | shape             | type         |
//! |-------------|-------------------|--------------|
//! | `logits`    | `[rows, classes]` | float        |
//! | `targets`   | `[rows]`          | `u32`        |
//! | `smoothing` |                   | `f32`, from 0 to below 1 |
//! | `losses`    | `[rows]`          | `Float::Acc`; of a backward call optional |
//! | `dlosses`   | `[rows]`          | `Float::Acc` |
//! | `dlogits`   | `[rows, classes]` | as `logits`  |
//!
//! With `t = targets[r]`, `s = smoothing` and `lse = log(sum_c exp(logits[r, c]))`:
//!
//! ```text
//! losses[r]     = (1 - s) (lse - logits[r, t]) + s (lse - mean_c logits[r, c])
//! dlogits[r, c] = dlosses[r] (exp(logits[r, c] - lse) - (1 - s) [c = t] - s / classes)
//! ```
//!
//! A mean, a sum or weights over rows are in `dlosses`, which therefore is known before the losses: a backward call that
//! is asked for `losses` writes both in one pass, and saves the pass of a forward call. `dlogits` may be the memory of
//! the logits ([`backward_in_place`]): then there is never a second tensor of that shape. Gaps between rows of logits
//! are not touched; a `dlogits` of its own is packed. Backward reads a row twice, the second time from the cache, if that
//! holds it.
//!
//! **Ignored** the target [`IGNORED`] gives a loss of 0 and a gradient of 0, whatever the row holds. **A bad target**
//! (`>= classes`) is an error on the host, before anything is written; on CUDA, where the host does not look at targets,
//! its loss and its row of the gradient are NaN. **NaN** or `+inf` in a row, or only `-inf`, gives NaN: a loss, and the
//! whole row of the gradient; no other row is touched by it. `-inf` elsewhere has the share 0; with smoothing, or as the
//! target, it makes the loss `+inf`. **Empty** nothing is written. **Determinism** stable, and independent of the number
//! of threads; close to the reference within 1e-12 normalised squared error, for 16-bit gradients as much as their
//! rounding costs (1e-6 for `f16`, 1e-5 for `bf16`). **Errors** `Size` if there are not as many targets or `dlosses` as
//! rows, `Value` if `smoothing` is not in `[0, 1)`, `Range` for a bad target. **Moves** [`Plan::bytes`], backward
//! [`Plan::bytes_backward`]. **Source** smoothing as Szegedy et al. 2016 have it, and torch.
mod launch;
pub mod mse;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, launch_backward_in_place, launch_mse, launch_mse_backward};
pub use reference::{backward, backward_in_place, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "loss", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/loss.fatbin")) };

/// The target of a row that does not count.
pub const IGNORED: u32 = u32::MAX;

const OP: &str = "cross_entropy";

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    logits: Layout<2>,
    smoothing: f32,
}

/// Check a forward call, but for the targets themselves.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(logits: &Layout<2>, targets: &Layout<1>, smoothing: f32) -> Result<Plan> {
    let [rows, classes] = logits.dims();
    size("targets", rows, targets.len())?;
    if classes > i32::MAX as usize {
        return Err(Error::Range { op: OP, arg: "classes", max: i32::MAX as usize, got: classes });
    }
    if !(0.0..1.0).contains(&smoothing) {
        return Err(Error::Value { op: OP, arg: "smoothing", want: "a number from 0 to below 1" });
    }
    Ok(Plan { logits: *logits, smoothing })
}

/// Check a backward call, but for the targets themselves.
///
/// # Errors
/// As [`plan`], and `Size` if there are not as many `dlosses` as rows.
pub fn plan_backward(logits: &Layout<2>, targets: &Layout<1>, dlosses: &Layout<1>, smoothing: f32) -> Result<Plan> {
    let plan = plan(logits, targets, smoothing)?;
    size("dlosses", logits.dims()[0], dlosses.len())?;
    Ok(plan)
}

fn size(arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: OP, arg, want, got }) }
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
    /// The share of the loss that all classes have alike.
    pub fn smoothing(&self) -> f32 {
        self.smoothing
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
            Err(Error::Range { op: OP, arg: "targets", max, got: target as usize })
        })
    }
    /// Bytes that any implementation of the forward must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let [rows, classes] = self.logits.dims();
        rows * (classes * size + 8)
    }
    /// Bytes that a backward call must move at least, with losses or without: the logits once in, the gradient once out.
    pub fn bytes_backward(&self, size: usize) -> usize {
        let [rows, classes] = self.logits.dims();
        rows * (2 * classes * size + 12)
    }
}
