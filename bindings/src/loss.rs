use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    cross_entropy_backward_in_place, cross_entropy_backward_into, cross_entropy_into, mse_backward_into, mse_into,
};

/// Softmax cross-entropy: `losses` \[rows\] A of `logits` \[rows, classes\] T against `targets` \[rows\] u32: the share
/// `smoothing`, from 0 to below 1, of each loss is that against all classes alike. The target UINT32_MAX is ignored and
/// gives 0. Another target that is too large is an error on the host; on a GPU it gives NaN.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_cross_entropy(
    device: *const LatensDevice,
    logits: *const LatensTensor,
    targets: *const LatensTensor,
    smoothing: f32,
    losses: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("cross_entropy", device) };
    entry.run(|call| {
        float!(call, "logits" = logits, T => cross_entropy_into::<T>(
            call.input("logits", logits)?, call.input("targets", targets)?, smoothing, call.output("losses", losses)?,
        ))
    })
}

/// The gradient of `latens_cross_entropy`: `dlogits` \[rows, classes\] T from `dlosses` \[rows\] A, the gradient of each
/// loss. `losses` \[rows\] A or null: they cost no second pass here. A row that is ignored gets zeros, one with a bad
/// target on a GPU gets NaN.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_cross_entropy_backward(
    device: *const LatensDevice,
    logits: *const LatensTensor,
    targets: *const LatensTensor,
    dlosses: *const LatensTensor,
    smoothing: f32,
    losses: *const LatensTensor,
    dlogits: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("cross_entropy_backward", device) };
    entry.run(|call| {
        float!(call, "logits" = logits, T => cross_entropy_backward_into::<T>(
            call.input("logits", logits)?, call.input("targets", targets)?, call.input("dlosses", dlosses)?, smoothing,
            call.optional_output("losses", losses)?, call.output("dlogits", dlogits)?,
        ))
    })
}

/// `latens_cross_entropy_backward` over the logits themselves: each row of `logits` becomes its gradient.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_cross_entropy_backward_in_place(
    device: *const LatensDevice,
    logits: *const LatensTensor,
    targets: *const LatensTensor,
    dlosses: *const LatensTensor,
    smoothing: f32,
    losses: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("cross_entropy_backward_in_place", device) };
    entry.run(|call| {
        float!(call, "logits" = logits, T => cross_entropy_backward_in_place::<T>(
            call.output("logits", logits)?, call.input("targets", targets)?, call.input("dlosses", dlosses)?, smoothing,
            call.optional_output("losses", losses)?,
        ))
    })
}

/// The mean squared error of rows: `losses` \[rows\] A of `x` \[rows, n\] T against `y` \[rows, n\] T, or if `normalise` against
/// `y` brought to mean 0 and variance 1 in each row.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_mse(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
    normalise: bool,
    losses: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("mse", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => mse_into::<T>(
            call.input("x", x)?, call.input("y", y)?, normalise, call.output("losses", losses)?,
        ))
    })
}

/// The gradient of `latens_mse` for `x`: `dx` \[rows, n\] T from `dlosses` \[rows\] A, the gradient of each loss. `losses`
/// \[rows\] A or null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_mse_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
    dlosses: *const LatensTensor,
    normalise: bool,
    losses: *const LatensTensor,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("mse_backward", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => mse_backward_into::<T>(
            call.input("x", x)?, call.input("y", y)?, call.input("dlosses", dlosses)?, normalise,
            call.optional_output("losses", losses)?, call.output("dx", dx)?,
        ))
    })
}
