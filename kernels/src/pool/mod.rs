//! The largest entry or the mean of every window of an image, channel by channel; and their gradients.
//!
//! | argument  | shape                              | type                      |
//! |-----------|------------------------------------|---------------------------|
//! | `x`       | `[batch, height, width, channels]` | float                     |
//! | `y`, `dy` | `[batch, rows, columns, channels]` | as `x`                    |
//! | `indices` | as `y`                             | `u32`, only of [`Pooling::Max`]; optional forward |
//! | `dx`      | as `x`                             | as `x`                    |
//!
//! With `[s, p]` the stride and padding of a direction, an image of `size` gives `(size + 2 p - window) / s + 1` entries,
//! rounded down; entry `i` has the pixels from `i s - p` on that are in the image. [`Pooling::Max`]: `y` is the largest of them,
//! and `index = row width + column` says where in its image it stood. [`Pooling::Average`]: their sum, divided by their number,
//! or with `count_padding` by that of all places of the window. A window of the whole image ([`Window::whole`]) is the global one.
//!
//! **Backward** every entry of `dx` sums over the windows that hold it, in their order: of the largest, `dy` where `index` names
//! it; of the mean, `dy` divided as there. An index that is not in its window is met by no entry. With [`Accumulate::Add`] the
//! sum is added to what `dx` holds. Inputs may have gaps in all but the last dimension; outputs are packed.
//!
//! **Order** of [`order`](crate::order): a NaN ranks lowest, so `y` is NaN only where a window holds nothing else; among equals,
//! and `-0` is `0`, the first in row order. **NaN** elsewhere goes where arithmetic takes it: into the windows that hold it and
//! back. **Sums** in `Acc`, rounded once. **Empty** without images or channels nothing is written. **Determinism** `y` and `indices` of
//! the largest are exact, all else stable, and close to the reference: squared error at most 1e-11 of the sum of squares, for
//! 16-bit outputs as much as their rounding costs (1e-6 for `f16`, 1e-5 for `bf16`). **Errors** `Size` if shapes disagree; `Value` for
//! a window or stride of 0, a padding above half the window, or images without pixels; `Range` if the window is larger than the
//! padded image, that is longer than 2^31 - 1, or an index would not fit; `TooLarge` where sizes overflow, and on CUDA from
//! 2^32 pixels on. **Moves** [`Plan::bytes`], [`Plan::bytes_backward`].
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
use core::ops::Range;
pub use launch::{launch, launch_backward};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "pool", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/pool.fatbin")) };

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Its largest entry.
    Max,
    /// Its mean.
    Average {
        /// Whether places outside of the image count, as zeros.
        count_padding: bool,
    },
}

/// Where windows lie, downwards and across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Pixels of one.
    pub size: [usize; 2],
    /// Pixels from one to the next.
    pub stride: [usize; 2],
    /// Places before the image, and after it.
    pub padding: [usize; 2],
}

impl Window {
    /// Windows side by side.
    pub fn tiles(size: [usize; 2]) -> Self {
        Self { size, stride: size, padding: [0; 2] }
    }
    /// One window, of all pixels of such images.
    pub fn whole([_, height, width, _]: [usize; 4]) -> Self {
        Self::tiles([height, width])
    }
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pooling: Pooling,
    window: Window,
    x: Layout<4>,
    dy: Layout<4>,
    indices: Layout<4>,
    accumulate: Accumulate,
}

/// Check a forward call.
///
/// # Errors
/// As the contract says.
pub fn plan(pooling: Pooling, x: &Layout<4>, window: Window) -> Result<Plan> {
    let (op, [batch, height, width, channels]) = (op(pooling), x.dims());
    let value = |arg, want| Err(Error::Value { op, arg, want });
    if window.size.contains(&0) {
        return value("window", "at least 1");
    }
    if window.stride.contains(&0) {
        return value("stride", "at least 1");
    }
    if window.padding.into_iter().zip(window.size).any(|(padding, size)| padding > size / 2) {
        return value("padding", "at most half the window");
    }
    if height == 0 || width == 0 {
        return value("x", "images of at least one pixel");
    }
    let max = u32::MAX as usize;
    if let Some(got) = height.checked_mul(width).filter(|&pixels| pixels > max && pooling == Pooling::Max) {
        return Err(Error::Range { op, arg: "pixels of an image", max, got });
    }
    let extent = |d: usize| -> Result<usize> {
        let max = i32::MAX as usize;
        let padded = (2 * window.padding[d].min(max)).checked_add(x.dims()[d + 1]).ok_or(Error::TooLarge)?;
        if padded > max {
            return Err(Error::Range { op, arg: "padded image", max, got: padded });
        }
        if window.size[d] > padded {
            return Err(Error::Range { op, arg: "window", max: padded, got: window.size[d] });
        }
        Ok((padded - window.size[d]) / window.stride[d] + 1)
    };
    Layout::packed(x.dims())?;
    let dy = Layout::packed([batch, extent(0)?, extent(1)?, channels])?;
    Ok(Plan { pooling, window, x: *x, dy, indices: dy, accumulate: Accumulate::Replace })
}

/// Check a backward call for images of these sizes; `indices` are looked at only of [`Pooling::Max`].
///
/// # Errors
/// As [`plan`], and `Size` if `dy` or `indices` have not the shape of `y`.
pub fn plan_backward(
    pooling: Pooling,
    x: [usize; 4],
    window: Window,
    dy: &Layout<4>,
    indices: Option<&Layout<4>>,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = plan(pooling, &Layout::packed(x)?, window)?;
    for (arg, layout) in [("dy", Some(dy)), ("indices", indices)] {
        let wrong = layout.and_then(|layout| plan.out().into_iter().zip(layout.dims()).find(|(want, got)| want != got));
        if let Some((want, got)) = wrong {
            return Err(Error::Size { op: op(pooling), arg, want, got });
        }
    }
    Ok(Plan { dy: *dy, indices: indices.copied().unwrap_or(plan.indices), accumulate, ..plan })
}

fn op(pooling: Pooling) -> &'static str {
    if pooling == Pooling::Max { "max_pool" } else { "average_pool" }
}

impl Plan {
    /// What becomes of a window.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }
    /// Where windows lie.
    pub fn window(&self) -> Window {
        self.window
    }
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
    /// The layout of `indices`.
    pub fn indices(&self) -> Layout<4> {
        self.indices
    }
    /// What happens to the contents of the gradient.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// The pixels of window `at` along direction `d`: never none.
    pub fn pixels(&self, d: usize, at: usize) -> Range<usize> {
        let (begin, padding) = (at * self.window.stride[d], self.window.padding[d]);
        begin.saturating_sub(padding)..(begin + self.window.size[d] - padding).min(self.x.dims()[d + 1])
    }
    /// The windows that hold pixel `at` along direction `d`.
    pub fn windows(&self, d: usize, at: usize) -> Range<usize> {
        let (at, size, stride) = (at + self.window.padding[d], self.window.size[d], self.window.stride[d]);
        (at + 1).saturating_sub(size).div_ceil(stride)..(at / stride + 1).min(self.out()[d + 1])
    }
    /// What the sum over a window is divided by.
    pub fn divisor(&self, rows: usize, columns: usize) -> usize {
        match self.pooling {
            Pooling::Average { count_padding: true } => self.window.size[0] * self.window.size[1],
            _ => rows * columns,
        }
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        self.x.len() * size + self.dy.len() * (size + self.index_bytes())
    }
    /// The same of a backward call.
    pub fn bytes_backward(&self, size: usize) -> usize {
        self.bytes(size)
    }
    fn index_bytes(&self) -> usize {
        if self.pooling == Pooling::Max { 4 } else { 0 }
    }
}
