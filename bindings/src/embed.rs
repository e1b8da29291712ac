use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{embed_backward_into, embed_backward_workspace, embed_into};

/// Rows of a table by number: y\[i\] = table\[ids\[i\]\], of `table` \[vocab, dim\] T, `ids` \[n\] u32, `y` \[n, dim\] T. An id
/// that is too large is an error on the host; on a GPU it makes its row NaN.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_embed(
    device: *const LatensDevice,
    table: *const LatensTensor,
    ids: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("embed", device) };
    entry.run(|call| float!(call, "table" = table, T => embed_into::<T>(call.input("table", table)?, call.input("ids", ids)?, call.output("y", y)?)))
}

/// The gradient of the table of `latens_embed`: `dtable` \[vocab, dim\] A gets the sum of the rows of `dy` \[n, dim\] T whose
/// `ids` \[n\] u32 name each of its rows, in their order, or has them added, by `accumulate` (a LatensAccumulate). An id
/// that is too large is an error on the host; on a GPU its row is left out. `workspace` is u8
/// \[latens_embed_backward_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_embed_backward(
    device: *const LatensDevice,
    dy: *const LatensTensor,
    ids: *const LatensTensor,
    accumulate: i32,
    dtable: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("embed_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "dy" = dy, T => embed_backward_into::<T>(
            call.input("dy", dy)?, call.input("ids", ids)?, accumulate, call.output("dtable", dtable)?,
            call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_embed_backward` asks for, for a table of `vocab` rows. The memory of `dy` is not touched
/// and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_embed_backward_workspace(
    device: *const LatensDevice,
    dy: *const LatensTensor,
    vocab: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("embed_backward_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || Ok(embed_backward_workspace(&call.layout("dy", dy)?, vocab, call.device())?))
    })
}
