use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    batch_norm_backward_into, batch_norm_backward_workspace, batch_norm_by_into, batch_norm_into,
    layer_norm_backward_into, layer_norm_into, norm_backward_workspace, rms_norm_backward_into, rms_norm_into,
};

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row: `x`, `y` \[rows, n\] T, `weight` \[n\] A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_rms_norm(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    eps: f32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("rms_norm", device) };
    entry.run(|call| float!(call, "x" = x, T => rms_norm_into::<T>(call.input("x", x)?, call.input("weight", weight)?, eps, call.output("y", y)?)))
}

/// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, row by row: `x`, `y` \[rows, n\] T, `weight` and `bias`
/// \[n\] A; `bias` may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_layer_norm(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    bias: *const LatensTensor,
    eps: f32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("layer_norm", device) };
    entry.run(|call| float!(call, "x" = x, T => layer_norm_into::<T>(call.input("x", x)?, call.input("weight", weight)?, call.optional("bias", bias)?, eps, call.output("y", y)?)))
}

/// The gradients of `latens_rms_norm` from `dy` \[rows, n\] T: `dx` \[rows, n\] T and `dweight` \[n\] A. One that is null is not
/// computed. `accumulate` (a LatensAccumulate) is about both.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_rms_norm_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    dy: *const LatensTensor,
    eps: f32,
    accumulate: i32,
    dx: *const LatensTensor,
    dweight: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("rms_norm_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => rms_norm_backward_into::<T>(
            call.input("x", x)?, call.input("weight", weight)?, call.input("dy", dy)?, eps, accumulate,
            call.optional_output("dx", dx)?, call.optional_output("dweight", dweight)?, call.workspace(workspace)?,
        ))
    })
}

/// The gradients of `latens_layer_norm` from `dy` \[rows, n\] T: `dx` \[rows, n\] T, `dweight` and `dbias` \[n\] A. One that is
/// null is not computed. `accumulate` (a LatensAccumulate) is about all of them.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_layer_norm_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    dy: *const LatensTensor,
    eps: f32,
    accumulate: i32,
    dx: *const LatensTensor,
    dweight: *const LatensTensor,
    dbias: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("layer_norm_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => layer_norm_backward_into::<T>(
            call.input("x", x)?, call.input("weight", weight)?, call.input("dy", dy)?, eps, accumulate,
            call.optional_output("dx", dx)?, call.optional_output("dweight", dweight)?,
            call.optional_output("dbias", dbias)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_rms_norm_backward` and `latens_layer_norm_backward` ask for; for `dx` alone they need none.
/// The memory of `x` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_norm_backward_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("norm_backward_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || Ok(norm_backward_workspace(&call.layout("x", x)?, call.device())?)))
}

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, column by column, by the statistics of the columns of `x`, which are
/// written: `x`, `y` \[rows, n\] T, the others \[n\] A; `bias` may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_batch_norm(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    bias: *const LatensTensor,
    eps: f32,
    y: *const LatensTensor,
    mean: *const LatensTensor,
    variance: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("batch_norm", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => batch_norm_into::<T>(
            call.input("x", x)?, call.input("weight", weight)?, call.optional("bias", bias)?, eps,
            call.output("y", y)?, call.output("mean", mean)?, call.output("variance", variance)?,
        ))
    })
}

/// `latens_batch_norm` by a `mean` and a `variance` that are given, as in inference.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_batch_norm_by(
    device: *const LatensDevice,
    x: *const LatensTensor,
    mean: *const LatensTensor,
    variance: *const LatensTensor,
    weight: *const LatensTensor,
    bias: *const LatensTensor,
    eps: f32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("batch_norm_by", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => batch_norm_by_into::<T>(
            call.input("x", x)?, call.input("mean", mean)?, call.input("variance", variance)?,
            call.input("weight", weight)?, call.optional("bias", bias)?, eps, call.output("y", y)?,
        ))
    })
}

/// The gradients of `latens_batch_norm`, which gave `mean` and `variance`, from `dy` \[rows, n\] T: `dx` \[rows, n\] T, `dweight` and
/// `dbias` \[n\] A. One that is null is not computed. `accumulate` (a LatensAccumulate) is about all of them. `workspace` is u8
/// \[latens_batch_norm_backward_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_batch_norm_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    mean: *const LatensTensor,
    variance: *const LatensTensor,
    weight: *const LatensTensor,
    dy: *const LatensTensor,
    eps: f32,
    accumulate: i32,
    dx: *const LatensTensor,
    dweight: *const LatensTensor,
    dbias: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("batch_norm_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => batch_norm_backward_into::<T>(
            call.input("x", x)?, call.input("mean", mean)?, call.input("variance", variance)?,
            call.input("weight", weight)?, call.input("dy", dy)?, eps, accumulate,
            call.optional_output("dx", dx)?, call.optional_output("dweight", dweight)?,
            call.optional_output("dbias", dbias)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_batch_norm_backward` asks for. The memory of `x` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_batch_norm_backward_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("batch_norm_backward_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || Ok(batch_norm_backward_workspace(&call.layout("x", x)?, call.device())?))
    })
}
