use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{sparsify_into, sparsify_sum_into, sparsify_workspace};

/// The `k` entries of largest magnitude of `g` \[n\] T plus the error memory `e` \[n\] A: `values` \[k\] A and `indices` \[k\]
/// u32, ascending; the others stay in `e`. Among equals the smaller index goes out. An entry that is not finite is
/// dropped, and its memory kept. `counts` \[2\] u32: how many were sent (slots behind hold 0 and index n), how many were
/// dropped. `workspace` is u8 \[latens_sparsify_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sparsify(
    device: *const LatensDevice,
    g: *const LatensTensor,
    k: usize,
    e: *const LatensTensor,
    values: *const LatensTensor,
    indices: *const LatensTensor,
    counts: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sparsify", device) };
    entry.run(|call| float!(call, "g" = g, T => sparsify_into::<T>(call.input("g", g)?, call.output("e", e)?, k, call.output("values", values)?, call.output("indices", indices)?, call.output("counts", counts)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_sparsify` asks for. The memory of `g` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sparsify_workspace(
    device: *const LatensDevice,
    g: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sparsify_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || Ok(sparsify_workspace(&call.layout("g", g)?, k, call.device())?)))
}

/// The sum of the packets of several ranks, times `scale`: `values` \[ranks, k\] A and `indices` \[ranks, k\] u32, ascending
/// in every row, n where a slot is empty; `y` \[n\] T, 0 where nobody sent. `accumulate` is a LatensAccumulate. Sums are
/// made in the order of the ranks.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sparsify_sum(
    device: *const LatensDevice,
    values: *const LatensTensor,
    indices: *const LatensTensor,
    scale: f32,
    accumulate: i32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sparsify_sum", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "y" = y, T => sparsify_sum_into::<T>(call.input("values", values)?, call.input("indices", indices)?, scale, accumulate, call.output("y", y)?))
    })
}
