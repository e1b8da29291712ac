use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::embed_into;

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
