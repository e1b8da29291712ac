use super::{codes, shape};
use crate::call::{Call, Entry, accumulation};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Float, Penalty, Push, SaeGate, sae_gate_backward_into, sae_gate_backward_workspace, sae_gate_into, sae_slopes_into,
    sae_weights_backward_into,
};

/// What a value costs that the decoder is given.
#[repr(C)]
pub enum LatensPenalty {
    /// `u^p`; L1 with p = 1.
    Power = 0,
    /// `tanh(c u)`.
    Tanh = 1,
}

fn gate<'a, A: Float>(
    call: &'a Call,
    [scale, shift, weight]: [*const LatensTensor; 3],
    floor: f32,
) -> Result<SaeGate<'a, A>, Failure> {
    Ok(SaeGate {
        scale: call.optional("scale", scale)?,
        shift: call.optional("shift", shift)?,
        weight: call.optional("weight", weight)?,
        floor,
    })
}

/// What the decoder is given for what the encoder found: `y` A of the shape of `values`, `max(scale v + shift, 0)` where v is
/// above `floor`, else 0. `scale` and `shift` \[n\] A; where they are null, 1 and 0. Codes as for `latens_sae_decode`, of `n`
/// latents.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_gate(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    n: usize,
    scale: *const LatensTensor,
    shift: *const LatensTensor,
    floor: f32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_gate", device) };
    entry.run(|call| {
        sum!(call, "values" = values, A => sae_gate_into::<A>(
            codes(call, values, latents, offsets)?, n, gate(call, [scale, shift, std::ptr::null()], floor)?,
            super::backward::slots(call, "y", y, offsets)?,
        ))
    })
}

/// The gradients of a gate. `slopes`, A of the shape of `values`, is that of what the decoder was given, and becomes that of what
/// the encoder found; `sums` \[4, n\] A are those of `scale`, of `shift`, of a threshold (JumpReLU: `floor` is half the width of
/// its rectangle) and of `weight`. To each slope is added that of `by` times the penalty (a LatensPenalty, of p or c `of`) of
/// `weight` \[n\] A times the value; `step` is the slope of the loss in the number of active latents. What is null is 1, 0 and 1.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_gate_backward(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    scale: *const LatensTensor,
    shift: *const LatensTensor,
    weight: *const LatensTensor,
    floor: f32,
    penalty: i32,
    of: f32,
    by: f32,
    step: f32,
    slopes: *const LatensTensor,
    sums: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_gate_backward", device) };
    entry.run(|call| {
        let penalty = match penalty {
            0 => Penalty::Power(of),
            1 => Penalty::Tanh(of),
            _ => return Err(call.no_choice("penalty", "a LatensPenalty")),
        };
        sum!(call, "values" = values, A => sae_gate_backward_into::<A>(
            codes(call, values, latents, offsets)?, gate(call, [scale, shift, weight], floor)?, Push { by, penalty, step },
            super::backward::slots(call, "slopes", slopes, offsets)?, call.output("sums", sums)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_sae_gate_backward` asks for, of `n` latents. The memory of the tensors is not touched and
/// may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_gate_backward_workspace(
    device: *const LatensDevice,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    n: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_gate_backward_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || {
            Ok(sae_gate_backward_workspace(&shape(call, latents, offsets)?, n, call.device())?)
        })
    })
}

/// The gradients of what the decoder was given, for a gate that stands before it: `slopes`, A of the shape of `values`, is the
/// product of the row of `g` \[rows, dim\] T and the row of `w_dec` \[n, dim\] T. Codes as for `latens_sae_decode`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_slopes(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    g: *const LatensTensor,
    w_dec: *const LatensTensor,
    slopes: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_slopes", device) };
    entry.run(|call| {
        float!(call, "g" = g, T => sae_slopes_into::<T>(
            codes(call, values, latents, offsets)?, call.input("g", g)?, call.input("w_dec", w_dec)?,
            super::backward::slots(call, "slopes", slopes, offsets)?,
        ))
    })
}

/// As `latens_sae_backward`, of which the gradients of values are given: `values` are what was decoded, and `dvalues`, A of
/// their shape, the gradients of what the encoder found, as `latens_sae_gate_backward` makes them.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_weights_backward(
    device: *const LatensDevice,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
    x: *const LatensTensor,
    g: *const LatensTensor,
    b_dec: *const LatensTensor,
    dvalues: *const LatensTensor,
    accumulate: i32,
    dw_dec: *const LatensTensor,
    dw_enc: *const LatensTensor,
    db_enc: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("sae_weights_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => {
            let codes = codes(call, values, latents, offsets)?;
            let (x, g, b_dec) = (call.input("x", x)?, call.input("g", g)?, call.optional("b_dec", b_dec)?);
            let dvalues = super::backward::slots(call, "dvalues", dvalues, offsets)?;
            let (dw_dec, dw_enc) = (call.output("dw_dec", dw_dec)?, call.output("dw_enc", dw_enc)?);
            let (db_enc, workspace) = (call.output("db_enc", db_enc)?, call.workspace(workspace)?);
            sae_weights_backward_into::<T>(codes, x, g, b_dec, dvalues, accumulate, dw_dec, dw_enc, db_enc, workspace)
        })
    })
}
