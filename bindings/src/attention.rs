use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::attention_into;

/// Attention with grouped queries: `q` and `y` \[batch, t, heads, dim\], `k` and `v` \[batch, s, kv_heads, dim\], all T. If
/// `causal` is not 0, query i sees the keys up to i + s - t. Scores are multiplied by `scale`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_attention(
    device: *const LatensDevice,
    q: *const LatensTensor,
    k: *const LatensTensor,
    v: *const LatensTensor,
    scale: f32,
    causal: i32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("attention", device) };
    entry.run(|call| float!(call, "q" = q, T => attention_into::<T>(call.input("q", q)?, call.input("k", k)?, call.input("v", v)?, scale, causal != 0, call.output("y", y)?)))
}
