//! 2-D convolution of images whose channels lie last, with stride, padding, dilation and groups; and its gradients.
//!
//! | argument | shape                                    | type              |
//! |----------|------------------------------------------|-------------------|
//! | `x`      | `[batch, height, width, channels]`       | float             |
//! | `w`      | `[n, taps_y, taps_x, channels / groups]` | as `x`            |
//! | `bias`   | `[n]`                                    | [`Float::Acc`](crate::Float::Acc) of it, optional |
//! | `y`, `dy` | `[batch, rows, columns, n]`             | as `x`            |
//! | `dx`     | as `x`                                   | as `x`, optional  |
//! | `dw`     | as `w`                                   | `Acc`, optional   |
//! | `db`     | `[n]`                                    | `Acc`, optional   |
//!
//! With `[s, p, d]` the stride, padding and dilation of a direction, an image of `size` and `taps` give
//! `(size + 2 p - d (taps - 1) - 1) / s + 1` entries, rounded down, and
//! `y[b, i, j, o] = bias[o] + Σ w[o, u, v, c] x[b, i s - p + u d, j s' - p' + v d', g channels / groups + c]` over taps and the
//! channels of group `g = o / (n / groups)`; outside of the image `x` is 0. With as many groups as channels it is depthwise.
//! This is the convolution of networks, a correlation: taps are not turned round.
//!
//! **Backward** `dx` sums, for each entry of `x`, the products `w dy` in which it stood, `dw` the products `x dy`, `db` the `dy`
//! of a channel; with [`Accumulate::Add`] each is added to what its output holds. `x`, `w` and `dy` may have gaps in all but
//! the last dimension; outputs are packed.
//!
//! **Sums** in `Acc`, rounded once to the type of the output. **NaN** and infinities in `x` or `dy` stay in their image of `y`
//! and of `dx`. Padding counts as zeros: a weight that is not finite shows wherever it is read, and may show in all of `dx`
//! of its input channel. **Empty** an output without entries is not touched; a sum of no terms is zero, so without channels
//! `y` is the bias. **Determinism** stable, and independent of the number of threads: `dw` and `db` sum over parts of the batch
//! that follow from the sizes, then over these in order. Close to the reference: squared error at most 1e-11 of the sum of
//! squares, for 16-bit outputs as much as their rounding costs (1e-6 for `f16`, 1e-5 for `bf16`). On the host `bf16` products
//! may treat subnormal numbers as zero. **Errors** `Size` if shapes disagree; `Value` for a stride or dilation of 0, for taps
//! of none, or where `groups` does not divide the channels; `Range` if the taps reach further than the padded image, or where
//! that is longer than 2^31 - 1, or has more channels; `TooLarge` where sizes overflow, and on CUDA from 2^32 pixels, or terms
//! of a sum, on. **Moves** [`Plan::bytes`].
//! **Source** own kernels throughout; cuDNN is not called.
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, workspace_backward};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "conv2d", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/conv2d.fatbin")) };

const OP: &str = "conv2d";

/// How taps lie on the image, downwards and across, and how channels divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels from one result to the next.
    pub stride: [usize; 2],
    /// Zeros before the image, and after it.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Parts of the channels that do not mix.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<4>,
    w: Layout<4>,
    dy: Layout<4>,
    how: Conv2d,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// As the contract says.
pub fn plan(x: &Layout<4>, w: &Layout<4>, bias: Option<&Layout<1>>, how: Conv2d) -> Result<Plan> {
    let ([batch, height, width, channels], [n, taps_y, taps_x, each]) = (x.dims(), w.dims());
    let value = |arg, want| Err(Error::Value { op: OP, arg, want });
    if how.stride.contains(&0) {
        return value("stride", "at least 1");
    }
    if how.dilation.contains(&0) {
        return value("dilation", "at least 1");
    }
    if taps_y == 0 || taps_x == 0 {
        return value("w", "of at least one tap");
    }
    if how.groups == 0 || !channels.is_multiple_of(how.groups) || !n.is_multiple_of(how.groups) {
        return value("groups", "a divisor of the channels of x and of y");
    }
    size("w", channels / how.groups, each)?;
    if let Some(bias) = bias {
        size("bias", n, bias.len())?;
    }
    for (arg, got) in [("channels of x", channels), ("channels of y", n)] {
        if got > i32::MAX as usize {
            return Err(Error::Range { op: OP, arg, max: i32::MAX as usize, got });
        }
    }
    let rows = extent(height, taps_y, how, 0)?;
    let columns = extent(width, taps_x, how, 1)?;
    // Layouts of nothing may be of any size, but sums over all of it are counted.
    let dy = Layout::packed([batch, rows, columns, n])?;
    Layout::packed(x.dims())?;
    Layout::packed(w.dims())?;
    let pixels = batch.checked_mul(rows).and_then(|rows| rows.checked_mul(columns)).ok_or(Error::TooLarge)?;
    let taps = taps_y.checked_mul(taps_x).and_then(|taps| taps.checked_mul(each)).ok_or(Error::TooLarge)?;
    pixels.checked_mul(taps.max(n).max(1)).and_then(|all| all.checked_mul(8)).ok_or(Error::TooLarge)?;
    Ok(Plan { x: *x, w: *w, dy, how, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and `Size` if `dy` has not the shape of `y`.
pub fn plan_backward(
    x: &Layout<4>,
    w: &Layout<4>,
    dy: &Layout<4>,
    how: Conv2d,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = plan(x, w, None, how)?;
    for (want, got) in plan.dy.dims().into_iter().zip(dy.dims()) {
        size("dy", want, got)?;
    }
    Ok(Plan { dy: *dy, accumulate, ..plan })
}

fn size(arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: OP, arg, want, got }) }
}

/// Results along direction `d`.
fn extent(size: usize, taps: usize, how: Conv2d, d: usize) -> Result<usize> {
    let max = i32::MAX as usize;
    let padded = how.padding[d].checked_mul(2).and_then(|both| both.checked_add(size)).ok_or(Error::TooLarge)?;
    if padded > max {
        return Err(Error::Range { op: OP, arg: "padded image", max, got: padded });
    }
    let reach =
        (taps - 1).checked_mul(how.dilation[d]).and_then(|reach| reach.checked_add(1)).ok_or(Error::TooLarge)?;
    if reach > padded {
        return Err(Error::Range { op: OP, arg: "reach of the taps", max: padded, got: reach });
    }
    Ok((padded - reach) / how.stride[d] + 1)
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 4] {
        self.dy.dims()
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<4> {
        self.x
    }
    /// The layout of `w`.
    pub fn w(&self) -> Layout<4> {
        self.w
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<4> {
        self.dy
    }
    /// How taps lie.
    pub fn how(&self) -> Conv2d {
        self.how
    }
    /// What happens to the contents of the gradients.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Pixels of `y`.
    pub fn pixels(&self) -> usize {
        self.out()[..3].iter().product()
    }
    /// Channels of `x` and of `y` in a group.
    pub fn group(&self) -> [usize; 2] {
        [self.w.dims()[3], self.w.dims()[0] / self.how.groups]
    }
    /// Terms of an entry of `y`.
    pub fn terms(&self) -> usize {
        self.w.dims()[1..].iter().product()
    }
    /// Whether every channel is on its own.
    pub fn depthwise(&self) -> bool {
        self.group() == [1, 1] && self.how.groups > 1
    }
    /// Where tap `tap` of entry `at` of `y` lies along direction `d`, if that is inside of the image.
    pub fn pixel(&self, d: usize, at: usize, tap: usize) -> Option<usize> {
        let at = (at * self.how.stride[d] + tap * self.how.dilation[d]).checked_sub(self.how.padding[d])?;
        (at < self.x.dims()[d + 1]).then_some(at)
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (self.x.len() + self.w.len() + self.dy.len()) * size
    }
    /// Multiplications and additions of a forward call.
    pub fn flops(&self) -> usize {
        2 * self.dy.len() * self.terms()
    }
}
