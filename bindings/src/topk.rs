use crate::call::Call;
use crate::device::give;
use crate::{LatensDevice, LatensStatus, LatensTensor, guard};
use latens_core::{topk_into, topk_workspace};

/// The `k` largest entries of every row of `x` \[rows, n\], largest first, and where they were: `values` \[rows, k\] of
/// the type of `x`, `indices` \[rows, k\] u32. Among equals the smaller index wins; NaN ranks lowest.
/// `workspace` is u8 \[latens_topk_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk(
    device: *const LatensDevice,
    x: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    indices: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Call::new("topk", device)? };
        float!(call, "x" = x, T => topk_into::<T>(
            call.input("x", x)?, k, call.output("values", values)?, call.output("indices", indices)?, call.workspace(workspace)?,
        )?);
        Ok(())
    })
}

/// Bytes of workspace that `latens_topk` asks for. The memory of `x` is not touched and may be null.
///
/// # Safety
/// `x` is null or has a shape as DLPack says; `bytes` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    const OP: &str = "topk_workspace";
    guard(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Call::new(OP, device)? };
        // SAFETY: as above.
        unsafe { give(bytes, OP, "bytes", || Ok(topk_workspace(&call.layout("x", x)?, k, call.device())?)) }
    })
}
