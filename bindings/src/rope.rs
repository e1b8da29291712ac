use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Pairing, rope_into};

/// Which entries of a head turn together.
#[repr(C)]
pub enum LatensPairing {
    /// 2i with 2i + 1.
    Interleaved = 0,
    /// i with i + dim / 2.
    Halves = 1,
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
        let pairing = match pairing {
            0 => Pairing::Interleaved,
            1 => Pairing::Halves,
            _ => return Err(call.no_choice("pairing", "a LatensPairing")),
        };
        float!(call, "x" = x, T => rope_into::<T>(call.output("x", x)?, call.input("positions", positions)?, base, pairing))
    })
}
