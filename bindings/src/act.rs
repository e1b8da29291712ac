use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Act, act_into};

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
        let act = match act {
            0 => Act::Silu,
            1 => Act::Gelu,
            2 => Act::GeluTanh,
            _ => return Err(call.no_choice("act", "a LatensAct")),
        };
        float!(call, "gate" = gate, T => act_into::<T>(call.input("gate", gate)?, call.optional("up", up)?, act, call.output("y", y)?))
    })
}
