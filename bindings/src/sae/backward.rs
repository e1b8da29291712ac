use super::{codes, shape};
use crate::call::{Call, Entry, accumulation};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Element, ViewMut};
use latens_core::{sae_backward_into, sae_backward_workspace, sae_bias_backward_into, sae_bias_backward_workspace};

/// Gradients of encoder and decoder from `g` \[rows, dim\] T, that of the reconstruction, and the codes and `x` of the forward
/// pass: `dw_dec` and `dw_enc` \[n, dim\] A, `db_enc` \[n\] A, and `dvalues` A of the shape of `values`. `b_dec` is null if the
/// encoder read `x` without taking it away. `accumulate` (a LatensAccumulate) is about the first three. Codes as for
/// `latens_sae_decode`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_backward(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    x: *const LatensTensor,
    g: *const LatensTensor,
    w_dec: *const LatensTensor,
    b_dec: *const LatensTensor,
    accumulate: i32,
    dw_dec: *const LatensTensor,
    dw_enc: *const LatensTensor,
    db_enc: *const LatensTensor,
    dvalues: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => {
            let codes = codes(call, values, latents, offsets)?;
            let (x, g) = (call.input("x", x)?, call.input("g", g)?);
            let (w_dec, b_dec) = (call.input("w_dec", w_dec)?, call.optional("b_dec", b_dec)?);
            let (dw_dec, dw_enc) = (call.output("dw_dec", dw_dec)?, call.output("dw_enc", dw_enc)?);
            let (db_enc, dvalues) = (call.output("db_enc", db_enc)?, slots(call, "dvalues", dvalues, offsets)?);
            let workspace = call.workspace(workspace)?;
            sae_backward_into::<T>(codes, x, g, w_dec, b_dec, accumulate, dw_dec, dw_enc, db_enc, dvalues, workspace)
        })
    })
}

/// A tensor in the shape of the values, as one row.
pub(super) fn slots<'a, A: Element>(
    call: &'a Call,
    arg: &'static str,
    tensor: *const LatensTensor,
    offsets: *const LatensTensor,
) -> Result<ViewMut<'a, A, 1>, Failure> {
    if !offsets.is_null() {
        return call.output(arg, tensor);
    }
    let view = call.output::<A, 2>(arg, tensor)?;
    let slots = view.layout().len();
    view.reshape([slots]).map_err(call.about(arg))
}

/// Bytes of workspace that `latens_sae_backward` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_backward_workspace(
    device: *const LatensDevice,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    w_dec: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_backward_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "w_dec" = w_dec, T => sae_backward_workspace::<T>(&shape(call, latents, offsets)?, &call.layout("w_dec", w_dec)?, call.device()))))
}

/// The gradient of `b_dec`, which the decoder adds and the encoder takes away: `db_dec` \[dim\] A = sum of the rows of `g`
/// \[rows, dim\] T, less `db_enc` \[n\] A times `w_enc` \[n, dim\] T.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_bias_backward(
    device: *const LatensDevice,
    g: *const LatensTensor,
    w_enc: *const LatensTensor,
    db_enc: *const LatensTensor,
    accumulate: i32,
    db_dec: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_bias_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "g" = g, T => sae_bias_backward_into::<T>(
            call.input("g", g)?, call.input("w_enc", w_enc)?, call.input("db_enc", db_enc)?, accumulate,
            call.output("db_dec", db_dec)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_sae_bias_backward` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_bias_backward_workspace(
    device: *const LatensDevice,
    g: *const LatensTensor,
    w_enc: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_bias_backward_workspace", device) };
    entry.run(|call| call.give("bytes", bytes, || float!(call, "g" = g, T => sae_bias_backward_workspace::<T>(&call.layout("g", g)?, &call.layout("w_enc", w_enc)?, call.device()))))
}
