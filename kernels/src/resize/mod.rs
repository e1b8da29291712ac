//! Images of other sizes: by two or four neighbours of each place, or by all pixels under a filter as wide as the reduction.
//!
//! | argument  | shape                              | type              |
//! |-----------|------------------------------------|-------------------|
//! | `x`       | `[batch, height, width, channels]` | float             |
//! | `y`, `dy` | `[batch, rows, columns, channels]` | as `x`            |
//! | `dx`      | as `x`                             | as `x`            |
//!
//! `y[b, i, j, c] = Σ v[i, k] h[j, l] x[b, k, l, c]`, backward `dx[b, k, l, c] = Σ v[i, k] h[j, l] dy[b, i, j, c]`, with
//! [`Tables`] of the weights of each direction, made once in `f64`. Entry `i` of `n` from `m` pixels has its centre at
//! `s = (i + 1/2) m / n` of theirs, that of pixel `k` being `k + 1/2`.
//!
//! | filter | weight of pixel `k` |
//! |---|---|
//! | [`Filter::Bilinear`] | `t(k + 1/2 - s)`, `t(z) = 1 - abs(z)` within 1: two pixels, and past the border the pixel there |
//! | [`Filter::Bicubic`]  | `q(k + 1/2 - s)` with `a = -3/4`: four pixels, and past the border the pixel there |
//! | [`Filter::BilinearAntialias`] | `t((k + 1/2 - s) / r)`, `r = max(m / n, 1)`, divided by the sum over the pixels there are |
//! | [`Filter::BicubicAntialias`] | `q((k + 1/2 - s) / r)` with `a = -1/2`, likewise |
//!
//! `q(z) = (a + 2) z^3 - (a + 3) z^2 + 1` for `z` up to 1, `a (z^3 - 5 z^2 + 8 z - 4)` up to 2, of the absolute `z`.
//! The first two are `torch.nn.functional.interpolate(align_corners=False)`, the others the same with `antialias=True`, and
//! `PIL.Image.resize` by `BILINEAR` and `BICUBIC` of images of mode `F`. PIL sums in `f64` and rounds to `f32` between its
//! two passes; here the reference does not round there, and others sum in `f32`. Of images of 8 bits PIL's passes round to 8 bits,
//! and its weights to fixed point: that is not done here, so `x` made of such an image agrees with PIL to about one step of them.
//!
//! **Order** columns first, then rows; backward the other way round. Weights of 0 at the ends of a row of the tables are left out,
//! so an equal size is a copy. **Sums** in `Acc`, rounded once. With [`Accumulate::Add`] the sum is added to what `dx` holds.
//! `x` and `dy` may have gaps in all but the last dimension; outputs are packed. **NaN** and infinities reach the entries whose
//! filter covers them, in their image and channel. **Empty** without images or channels nothing is written. **Determinism** stable,
//! close to the reference: squared error at most 1e-11 of the sum of squares, for 16-bit outputs as much as their rounding costs
//! (1e-6 for `f16`, 1e-5 for `bf16`). **Errors** `Value` for a size of 0, `Range` for one above 2^20, `Size` if shapes disagree,
//! `TooLarge` where sizes overflow, and on CUDA from 2^32 pixels on; a table whose numbers are not those of [`Tables`] makes
//! kernels read other pixels, and no other memory. **Moves** [`Plan::bytes`].
//! **Source** Keys 1981; Turkowski 1990.
mod launch;
mod reference;
mod tables;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, workspace};
pub use reference::{backward, forward};
pub use tables::{Filter, Table, Tables};

/// The device code.
pub static IMAGE: Image = Image { name: "resize", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/resize.fatbin")) };

const OP: &str = "resize";

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<4>,
    dy: Layout<4>,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// As the contract says.
pub fn plan(tables: &Tables, x: &Layout<4>) -> Result<Plan> {
    let ([batch, height, width, channels], [rows, columns]) = (x.dims(), tables.to());
    for (want, got) in tables.from().into_iter().zip([height, width]) {
        size("x", want, got)?;
    }
    Layout::packed(x.dims())?;
    // What lies between the passes.
    Layout::packed([batch, height, columns, channels])?.len().checked_mul(8).ok_or(Error::TooLarge)?;
    let dy = Layout::packed([batch, rows, columns, channels])?;
    Ok(Plan { x: *x, dy, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`].
pub fn plan_backward(tables: &Tables, dy: &Layout<4>, accumulate: Accumulate) -> Result<Plan> {
    let ([batch, rows, columns, channels], [height, width]) = (dy.dims(), tables.from());
    for (want, got) in tables.to().into_iter().zip([rows, columns]) {
        size("dy", want, got)?;
    }
    let plan = plan(tables, &Layout::packed([batch, height, width, channels])?)?;
    Ok(Plan { dy: *dy, accumulate, ..plan })
}

fn size(arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: OP, arg, want, got }) }
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 4] {
        self.dy.dims()
    }
    /// The layout of `x`; backward the packed one.
    pub fn x(&self) -> Layout<4> {
        self.x
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<4> {
        self.dy
    }
    /// What happens to the contents of the gradient.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Shape of what lies between the passes: rows of `x`, columns of `y`.
    pub fn between(&self) -> [usize; 4] {
        let ([batch, height, _, channels], [_, _, columns, _]) = (self.x.dims(), self.out());
        [batch, height, columns, channels]
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (self.x.len() + self.dy.len()) * size
    }
}
