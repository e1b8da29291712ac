use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{layer_norm_into, rms_norm_into};

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
