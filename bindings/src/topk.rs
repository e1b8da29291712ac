use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{topk_flat_into, topk_flat_workspace, topk_into, topk_workspace};

/// The `k` largest entries of every row of `x` \[rows, n\], largest first, and where they were: `values` \[rows, k\] T,
/// `indices` \[rows, k\] u32. Among equals the smaller index wins; NaN ranks lowest. `workspace` is u8
/// \[latens_topk_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk(
    device: *const LatensDevice,
    x: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    indices: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("topk", device) };
    entry.run(|call| float!(call, "x" = x, T => topk_into::<T>(call.input("x", x)?, k, call.output("values", values)?, call.output("indices", indices)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_topk` asks for. The memory of `x` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("topk_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || Ok(topk_workspace(&call.layout("x", x)?, k, call.device())?)))
}

/// The `total` largest entries of all rows of `x` \[rows, n\] together: `values` \[total\] T and `indices` \[total\] u32
/// within their rows; those of row r are `offsets`\[r\] to `offsets`\[r + 1\] of \[rows + 1\] u32. Among equals the smaller
/// row, then the smaller index wins. `workspace` as for `latens_topk`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk_flat(
    device: *const LatensDevice,
    x: *const LatensTensor,
    total: usize,
    values: *const LatensTensor,
    indices: *const LatensTensor,
    offsets: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("topk_flat", device) };
    entry.run(|call| float!(call, "x" = x, T => topk_flat_into::<T>(call.input("x", x)?, total, call.output("values", values)?, call.output("indices", indices)?, call.output("offsets", offsets)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_topk_flat` asks for. The memory of `x` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk_flat_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    total: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("topk_flat_workspace", device) };
    entry
        .run(|call| call.give("bytes", bytes, || Ok(topk_flat_workspace(&call.layout("x", x)?, total, call.device())?)))
}
