//! Dense products: `y = x·wᵀ + bias`, and the gradients of it.
//!
//! | argument | shape    | type              |
//! |----------|----------|-------------------|
//! | `x`      | `[m, k]` | float             |
//! | `w`      | `[n, k]` | as `x`            |
//! | `bias`   | `[n]`    | [`Float::Acc`](crate::Float::Acc) of it, optional |
//! | `y`      | `[m, n]` | as `x`            |
//! | `dy`     | `[m, n]` | as `x`            |
//! | `dx`     | `[m, k]` | as `x`, optional  |
//! | `dw`     | `[n, k]` | `Acc`, optional   |
//! | `db`     | `[n]`    | `Acc`, optional   |
//!
//! `y[i, j] = bias[j] + Σ x[i, c] w[j, c]`, `dx = dy·w`, `dw = dyᵀ·x`, `db[j] = Σ dy[i, j]`; with [`Accumulate::Add`] each
//! is added to what its output holds. `x`, `w` and `dy` may have gaps between rows; outputs are packed.
//!
//! **Sums** are kept in `Acc` and rounded once to the type of the output. **NaN** and infinities go where arithmetic
//! takes them: a row of `x` reaches its own row of `y`, and no other. **Empty** an output without entries is not
//! touched; a sum of no terms is zero. **Determinism** stable, and independent of the number of threads; close to the
//! reference: squared error at most 1e-11 of the sum of squares, for 16-bit outputs as much as their rounding costs
//! (1e-6 for `f16`, 1e-5 for `bf16`). On the host `bf16` products may treat subnormal numbers as zero.
//! **Errors** `Size` if the shapes disagree. **Moves** [`Plan::bytes`].
//! **Source** own kernels throughout; cuBLASLt is not called, for want of a device to compare it on.
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{launch, launch_backward};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "linear", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/linear.fatbin")) };

/// A checked problem. Only [`plan`] and [`plan_backward`] make one, so an implementation need not check again.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<2>,
    w: Layout<2>,
    dy: Layout<2>,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// [`Error::Size`] if the rows of `w` are not as long as those of `x`, or `bias` has not one entry for each row of `w`.
pub fn plan(x: &Layout<2>, w: &Layout<2>, bias: Option<&Layout<1>>, accumulate: Accumulate) -> Result<Plan> {
    let ([m, k], [n, columns]) = (x.dims(), w.dims());
    size("w", k, columns)?;
    if let Some(bias) = bias {
        size("bias", n, bias.dims()[0])?;
    }
    Ok(Plan { x: *x, w: *w, dy: Layout::packed([m, n])?, accumulate })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and [`Error::Size`] if `dy` has not the shape of `y`.
pub fn plan_backward(x: &Layout<2>, w: &Layout<2>, dy: &Layout<2>, accumulate: Accumulate) -> Result<Plan> {
    let plan = plan(x, w, None, accumulate)?;
    for (want, got) in plan.dy.dims().into_iter().zip(dy.dims()) {
        size("dy", want, got)?;
    }
    Ok(Plan { dy: *dy, ..plan })
}

fn size(arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: "linear", arg, want, got }) }
}

impl Plan {
    /// Rows of `x`.
    pub fn m(&self) -> usize {
        self.x.dims()[0]
    }
    /// Rows of `w`.
    pub fn n(&self) -> usize {
        self.w.dims()[0]
    }
    /// Length of both.
    pub fn k(&self) -> usize {
        self.x.dims()[1]
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `w`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<2> {
        self.dy
    }
    /// What happens to the contents of the outputs.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (self.x.len() + self.w.len() + self.dy.len()) * size
    }
    /// Multiplications and additions of a forward call.
    pub fn flops(&self) -> usize {
        2 * self.m() * self.n() * self.k()
    }
}
