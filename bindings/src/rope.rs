use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Pairing, rope_backward_into, rope_into};

/// Which entries of a head turn together.
#[repr(C)]
pub enum LatensPairing {
    /// 2i with 2i + 1.
    Interleaved = 0,
    /// i with i + dim / 2.
    Halves = 1,
}

fn choice(call: &Call, pairing: i32) -> Result<Pairing, Failure> {
    match pairing {
        0 => Ok(Pairing::Interleaved),
        1 => Ok(Pairing::Halves),
        _ => Err(call.no_choice("pairing", "a LatensPairing")),
    }
}

/// Rotary positions, in place: every head of `x` \[tokens, heads, dim\] T is turned pair by pair, by angles that grow with
/// its `positions` \[tokens\] u32. `pairing` is a LatensPairing.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_rope(
    device: *const LatensDevice,
    positions: *const LatensTensor,
    base: f64,
    pairing: i32,
    x: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("rope", device) };
    entry.run(|call| {
        let pairing = choice(call, pairing)?;
        float!(call, "x" = x, T => rope_into::<T>(call.output("x", x)?, call.input("positions", positions)?, base, pairing))
    })
}

/// The opposite turn, in place: `dx` \[tokens, heads, dim\] T holds the gradient of what `latens_rope` made, and then that of
/// what it was given. `pairing` is a LatensPairing.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_rope_backward(
    device: *const LatensDevice,
    positions: *const LatensTensor,
    base: f64,
    pairing: i32,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("rope_backward", device) };
    entry.run(|call| {
        let pairing = choice(call, pairing)?;
        float!(call, "dx" = dx, T => rope_backward_into::<T>(call.output("dx", dx)?, call.input("positions", positions)?, base, pairing))
    })
}
