use crate::call::{Call, Entry, accumulation};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Window, average_pool_backward_into, average_pool_into, max_pool_backward_into, max_pool_into};

/// Where windows lie on an image, downwards (y) and across (x).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensWindow {
    /// Pixels of a window, at least 1.
    pub size_y: usize,
    /// The same, across.
    pub size_x: usize,
    /// Pixels from one window to the next, at least 1.
    pub stride_y: usize,
    /// The same, across.
    pub stride_x: usize,
    /// Places before the image, and after it; at most half a window.
    pub padding_y: usize,
    /// The same, across.
    pub padding_x: usize,
}

fn settings(call: &Call, window: *const LatensWindow) -> Result<Window, Failure> {
    let window = call.settings("window", window)?;
    Ok(Window {
        size: [window.size_y, window.size_x],
        stride: [window.stride_y, window.stride_x],
        padding: [window.padding_y, window.padding_x],
    })
}

/// The largest entry of every window, channel by channel: `x` \[batch, height, width, channels\] and `y` \[batch, rows, columns,
/// channels\] T and, unless it is null, `indices` shaped as `y` u32, row * width + column of where it stood. Of equals the
/// first in row order; a NaN is largest only among its like. An image of `size` has (size + 2 padding - window) / stride + 1
/// rows or columns, rounded down.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_max_pool(
    device: *const LatensDevice,
    x: *const LatensTensor,
    window: *const LatensWindow,
    y: *const LatensTensor,
    indices: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("max_pool", device) };
    entry.run(|call| {
        let window = settings(call, window)?;
        float!(call, "x" = x, T => max_pool_into::<T>(
            call.input("x", x)?, window, call.output("y", y)?, call.optional_output("indices", indices)?,
        ))
    })
}

/// The gradient of `latens_max_pool` from `dy`, shaped as its `y`, and the `indices` it gave: `dx` \[batch, height, width,
/// channels\] T, replaced or added to by `accumulate` (a LatensAccumulate). An index outside of its window counts for nothing.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_max_pool_backward(
    device: *const LatensDevice,
    dy: *const LatensTensor,
    indices: *const LatensTensor,
    window: *const LatensWindow,
    accumulate: i32,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("max_pool_backward", device) };
    entry.run(|call| {
        let (window, accumulate) = (settings(call, window)?, accumulation(call, accumulate)?);
        float!(call, "dy" = dy, T => max_pool_backward_into::<T>(
            call.input("dy", dy)?, call.input("indices", indices)?, window, accumulate, call.output("dx", dx)?,
        ))
    })
}

/// The mean of every window, channel by channel: `x` \[batch, height, width, channels\] and `y` \[batch, rows, columns, channels\]
/// T. Places outside of the image count as zeros, or not at all, by `count_padding`. Sizes as in `latens_max_pool`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_average_pool(
    device: *const LatensDevice,
    x: *const LatensTensor,
    window: *const LatensWindow,
    count_padding: bool,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("average_pool", device) };
    entry.run(|call| {
        let window = settings(call, window)?;
        float!(call, "x" = x, T => average_pool_into::<T>(call.input("x", x)?, window, count_padding, call.output("y", y)?))
    })
}

/// The gradient of `latens_average_pool` from `dy`, shaped as its `y`: `dx` \[batch, height, width, channels\] T, replaced or
/// added to by `accumulate` (a LatensAccumulate).
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_average_pool_backward(
    device: *const LatensDevice,
    dy: *const LatensTensor,
    window: *const LatensWindow,
    count_padding: bool,
    accumulate: i32,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("average_pool_backward", device) };
    entry.run(|call| {
        let (window, accumulate) = (settings(call, window)?, accumulation(call, accumulate)?);
        float!(call, "dy" = dy, T => average_pool_backward_into::<T>(
            call.input("dy", dy)?, window, count_padding, accumulate, call.output("dx", dx)?,
        ))
    })
}
