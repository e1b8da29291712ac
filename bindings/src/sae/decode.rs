use super::{codes, shape};
use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Against, sae_decode_into, sae_decode_workspace};

/// recon = b_dec + sum of values\[j\] * w_dec\[latents\[j\]\], row by row: `w_dec` \[n, dim\] T, `b_dec` \[dim\] A or null, `recon`
/// \[rows, dim\] T. With `x` \[rows, dim\] T also `residual` \[rows, dim\] T = x - recon and `error` \[rows\] A, its sum of
/// squares; these three are null together. Codes are `values` and `latents` \[rows, k\] with null for `offsets`, or \[slots\]
/// with `offsets` \[rows + 1\], as the encoders make them.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_decode(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    w_dec: *const LatensTensor,
    b_dec: *const LatensTensor,
    x: *const LatensTensor,
    recon: *const LatensTensor,
    residual: *const LatensTensor,
    error: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_decode", device) };
    entry.run(|call| {
        let parts = [x, residual, error].map(|part| part.is_null());
        if parts.contains(&true) && parts.contains(&false) {
            return Err(call.no_choice("x, residual and error", "null together or not at all"));
        }
        float!(call, "w_dec" = w_dec, T => {
            let codes = codes(call, values, latents, offsets)?;
            let (w_dec, b_dec) = (call.input("w_dec", w_dec)?, call.optional("b_dec", b_dec)?);
            let against = match call.optional("x", x)? {
                None => None,
                Some(x) => Some(Against { x, residual: call.output("residual", residual)?, error: call.output("error", error)? }),
            };
            sae_decode_into::<T>(codes, w_dec, b_dec, call.output("recon", recon)?, against, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_sae_decode` asks for; `against` is not 0 if it compares with an `x`. The memory of the
/// tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_decode_workspace(
    device: *const LatensDevice,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    w_dec: *const LatensTensor,
    against: i32,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_decode_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "w_dec" = w_dec, T => sae_decode_workspace::<T>(&shape(call, latents, offsets)?, &call.layout("w_dec", w_dec)?, against != 0, call.device()))))
}
