use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{linear_backward_into, linear_into};

/// y = x w^T + bias, or y += that, by `accumulate` (a LatensAccumulate): `x` \[m, k\], `w` \[n, k\] and `y` \[m, n\] T, `bias`
/// \[n\] A or null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_linear(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w: *const LatensTensor,
    bias: *const LatensTensor,
    accumulate: i32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("linear", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => linear_into::<T>(
            call.input("x", x)?, call.input("w", w)?, call.optional("bias", bias)?, accumulate, call.output("y", y)?,
        ))
    })
}

/// The gradients of `latens_linear` from `dy` \[m, n\] T: `dx` \[m, k\] T, `dw` \[n, k\] A, `db` \[n\] A. One that is null is not
/// computed. `accumulate` is about all of them.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_linear_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w: *const LatensTensor,
    dy: *const LatensTensor,
    accumulate: i32,
    dx: *const LatensTensor,
    dw: *const LatensTensor,
    db: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("linear_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => linear_backward_into::<T>(
            call.input("x", x)?, call.input("w", w)?, call.input("dy", dy)?, accumulate,
            call.optional_output("dx", dx)?, call.optional_output("dw", dw)?, call.optional_output("db", db)?,
        ))
    })
}
