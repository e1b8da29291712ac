use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::cross_entropy_into;

/// Softmax cross-entropy: `losses` \[rows\] A of `logits` \[rows, classes\] T against `targets` \[rows\] u32. The target
/// UINT32_MAX is ignored and gives 0. Another target that is too large is an error on the host; on a GPU it gives NaN.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_cross_entropy(
    device: *const LatensDevice,
    logits: *const LatensTensor,
    targets: *const LatensTensor,
    losses: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("cross_entropy", device) };
    entry.run(|call| float!(call, "logits" = logits, T => cross_entropy_into::<T>(call.input("logits", logits)?, call.input("targets", targets)?, call.output("losses", losses)?)))
}
