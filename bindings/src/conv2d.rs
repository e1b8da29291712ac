use crate::call::{Call, Entry, accumulation};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Conv2d, conv2d_backward_into, conv2d_backward_workspace, conv2d_into};

/// How taps lie on an image, downwards (y) and across (x), and how channels divide.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensConv2d {
    /// Pixels from one result to the next, at least 1.
    pub stride_y: usize,
    /// The same, across.
    pub stride_x: usize,
    /// Zeros before the image, and after it.
    pub padding_y: usize,
    /// The same, across.
    pub padding_x: usize,
    /// Pixels from one tap to the next, at least 1.
    pub dilation_y: usize,
    /// The same, across.
    pub dilation_x: usize,
    /// Parts of the channels that do not mix, at least 1.
    pub groups: usize,
}

fn settings(call: &Call, how: *const LatensConv2d) -> Result<Conv2d, Failure> {
    let how = call.settings("how", how)?;
    Ok(Conv2d {
        stride: [how.stride_y, how.stride_x],
        padding: [how.padding_y, how.padding_x],
        dilation: [how.dilation_y, how.dilation_x],
        groups: how.groups,
    })
}

/// 2-D convolution of images whose channels lie last: `x` \[batch, height, width, channels\], `w` \[n, taps_y, taps_x, channels /
/// groups\] and `y` \[batch, rows, columns, n\] T, `bias` \[n\] A or null. With stride s, padding p and dilation d, an image of
/// `size` has (size + 2 p - d (taps - 1) - 1) / s + 1 rows or columns, rounded down.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv2d(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w: *const LatensTensor,
    bias: *const LatensTensor,
    how: *const LatensConv2d,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv2d", device) };
    entry.run(|call| {
        let how = settings(call, how)?;
        float!(call, "x" = x, T => conv2d_into::<T>(
            call.input("x", x)?, call.input("w", w)?, call.optional("bias", bias)?, how, call.output("y", y)?,
        ))
    })
}

/// The gradients of `latens_conv2d` from `dy`, shaped as its `y`: `dx` as `x` T, `dw` as `w` A, `db` \[n\] A. One that is null is
/// not computed. `accumulate` (a LatensAccumulate) is about all of them.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv2d_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w: *const LatensTensor,
    dy: *const LatensTensor,
    how: *const LatensConv2d,
    accumulate: i32,
    dx: *const LatensTensor,
    dw: *const LatensTensor,
    db: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv2d_backward", device) };
    entry.run(|call| {
        let (how, accumulate) = (settings(call, how)?, accumulation(call, accumulate)?);
        float!(call, "x" = x, T => conv2d_backward_into::<T>(
            call.input("x", x)?, call.input("w", w)?, call.input("dy", dy)?, how, accumulate,
            call.optional_output("dx", dx)?, call.optional_output("dw", dw)?, call.optional_output("db", db)?,
            call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_conv2d_backward` asks for; for `dx` alone it needs none. The memory of `x` and `w` is not
/// touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv2d_backward_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w: *const LatensTensor,
    how: *const LatensConv2d,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv2d_backward_workspace", device) };
    entry.run(|call| {
        let (x, w, how) = (call.layout("x", x)?, call.layout("w", w)?, settings(call, how)?);
        call.give("bytes", bytes, || Ok(conv2d_backward_workspace(&x, &w, how, call.device())?))
    })
}
