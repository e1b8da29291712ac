use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Act, act_backward_into, act_into};

/// Activations.
#[repr(C)]
pub enum LatensAct {
    /// x / (1 + exp(-x)).
    Silu = 0,
    /// x / 2 * (1 + erf(x / sqrt(2))).
    Gelu = 1,
    /// The approximation of `Gelu` by tanh.
    GeluTanh = 2,
}

fn choice(call: &Call, act: i32) -> Result<Act, Failure> {
    match act {
        0 => Ok(Act::Silu),
        1 => Ok(Act::Gelu),
        2 => Ok(Act::GeluTanh),
        _ => Err(call.no_choice("act", "a LatensAct")),
    }
}

/// y = act(gate), or act(gate) * up if `up` is not null; all \[rows, n\] T. `act` is a LatensAct.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_act(
    device: *const LatensDevice,
    gate: *const LatensTensor,
    up: *const LatensTensor,
    act: i32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("act", device) };
    entry.run(|call| {
        let act = choice(call, act)?;
        float!(call, "gate" = gate, T => act_into::<T>(call.input("gate", gate)?, call.optional("up", up)?, act, call.output("y", y)?))
    })
}

/// The gradients of `latens_act` from `dy`: `dgate`, and `dup` if there is `up`; all \[rows, n\] T. One that is null is not
/// computed. `act` is a LatensAct.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_act_backward(
    device: *const LatensDevice,
    gate: *const LatensTensor,
    up: *const LatensTensor,
    dy: *const LatensTensor,
    act: i32,
    dgate: *const LatensTensor,
    dup: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("act_backward", device) };
    entry.run(|call| {
        let act = choice(call, act)?;
        float!(call, "gate" = gate, T => act_backward_into::<T>(
            call.input("gate", gate)?, call.optional("up", up)?, call.input("dy", dy)?, act,
            call.optional_output("dgate", dgate)?, call.optional_output("dup", dup)?,
        ))
    })
}
