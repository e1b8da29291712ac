use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    sae_bias_into, sae_encode_flat_into, sae_encode_flat_workspace, sae_encode_into, sae_encode_subset_into,
    sae_encode_subset_workspace, sae_encode_threshold_into, sae_encode_threshold_workspace, sae_encode_workspace,
};

/// bias = b_enc - W_enc b_dec, with which the encoders below read `x` as it is: `w_enc` \[n, dim\] T, `b_enc` and `bias`
/// \[n\] A, `b_dec` \[dim\] A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_bias(
    device: *const LatensDevice,
    w_enc: *const LatensTensor,
    b_enc: *const LatensTensor,
    b_dec: *const LatensTensor,
    bias: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_bias", device) };
    entry.run(|call| float!(call, "w_enc" = w_enc, T => sae_bias_into::<T>(call.input("w_enc", w_enc)?, call.input("b_enc", b_enc)?, call.input("b_dec", b_dec)?, call.output("bias", bias)?)))
}

/// TopK: the `k` largest positive entries of each row of x W_enc^T + bias, of `x` \[rows, dim\] T, `w_enc` \[n, dim\] T, `bias`
/// \[n\] A. `values` \[rows, k\] A and `latents` \[rows, k\] u32 are in order of the latents; slots to spare hold value 0 and
/// latent n. Among equals the smaller latent wins; NaN is not chosen.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    bias: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode", device) };
    entry.run(|call| float!(call, "x" = x, T => sae_encode_into::<T>(call.input("x", x)?, call.input("w_enc", w_enc)?, call.input("bias", bias)?, k, call.output("values", values)?, call.output("latents", latents)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_sae_encode` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "x" = x, T => sae_encode_workspace::<T>(&call.layout("x", x)?, &call.layout("w_enc", w_enc)?, k, call.device()))))
}

/// As `latens_sae_encode`, among the latents `subset`\[0 .. count\[0\]\] only: `subset` u32, rising; `count` \[1\] u32. A list
/// that does not rise is an error on the host; on a GPU what breaks the order is passed over.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_subset(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    bias: *const LatensTensor,
    subset: *const LatensTensor,
    count: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_subset", device) };
    entry.run(|call| float!(call, "x" = x, T => sae_encode_subset_into::<T>(call.input("x", x)?, call.input("w_enc", w_enc)?, call.input("bias", bias)?, call.input("subset", subset)?, call.input("count", count)?, k, call.output("values", values)?, call.output("latents", latents)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_sae_encode_subset` asks for, with room for `listed` latents in the list. The memory of
/// the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_subset_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    listed: usize,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_subset_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "x" = x, T => sae_encode_subset_workspace::<T>(&call.layout("x", x)?, &call.layout("w_enc", w_enc)?, listed, k, call.device()))))
}

/// BatchTopK: the `total` largest positive entries of all rows of x W_enc^T + bias together. `values` \[total\] A and
/// `latents` \[total\] u32; those of row r are `offsets`\[r\] to `offsets`\[r + 1\] of \[rows + 1\] u32, in order of the latents.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_flat(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    bias: *const LatensTensor,
    total: usize,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_flat", device) };
    entry.run(|call| float!(call, "x" = x, T => sae_encode_flat_into::<T>(call.input("x", x)?, call.input("w_enc", w_enc)?, call.input("bias", bias)?, total, call.output("values", values)?, call.output("latents", latents)?, call.output("offsets", offsets)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_sae_encode_flat` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_flat_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    total: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_flat_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "x" = x, T => sae_encode_flat_workspace::<T>(&call.layout("x", x)?, &call.layout("w_enc", w_enc)?, total, call.device()))))
}

/// The entries of each row of x W_enc^T + bias that exceed `threshold` and 0, the `k` largest if there are more: `values` and
/// `latents` as of `latens_sae_encode`, and how many there were, `counts` \[rows\] u32.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_threshold(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    bias: *const LatensTensor,
    threshold: f32,
    k: usize,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    counts: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_threshold", device) };
    entry.run(|call| float!(call, "x" = x, T => sae_encode_threshold_into::<T>(call.input("x", x)?, call.input("w_enc", w_enc)?, call.input("bias", bias)?, threshold, k, call.output("values", values)?, call.output("latents", latents)?, call.output("counts", counts)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_sae_encode_threshold` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_encode_threshold_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    w_enc: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_encode_threshold_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "x" = x, T => sae_encode_threshold_workspace::<T>(&call.layout("x", x)?, &call.layout("w_enc", w_enc)?, k, call.device()))))
}
