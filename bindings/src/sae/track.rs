use super::codes;
use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{sae_dead_into, sae_track_into};

/// Count `tokens` more in `since` \[n\] u32 for every latent, and 0 for those that some slot names with a value above
/// `fired`. Codes as for `latens_sae_decode`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_track(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    tokens: u32,
    fired: f32,
    since: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_track", device) };
    entry.run(|call| sum!(call, "values" = values, A => sae_track_into::<A>(codes(call, values, latents, offsets)?, call.output("since", since)?, tokens, fired)))
}

/// The latents that have been silent for `limit` tokens or more, rising: `list` \[n\] u32, filled up with n, and `count` \[1\]
/// u32, from `since` \[n\] u32. It is what `latens_sae_encode_subset` takes.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_dead(
    device: *const LatensDevice,
    since: *const LatensTensor,
    limit: u32,
    list: *const LatensTensor,
    count: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_dead", device) };
    entry.run(|call| {
        Ok(sae_dead_into(call.input("since", since)?, limit, call.output("list", list)?, call.output("count", count)?)?)
    })
}
