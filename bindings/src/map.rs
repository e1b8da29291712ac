use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Element, add_into, cast_into, copy_into, scale_into};

/// y = x, bit by bit, of any element type and rank 1 to 4. Both may have gaps between rows: so part of a cache is filled.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_copy(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("copy", device) };
    entry.run(|call| element!(call, "x" = x, T => copy::<T>(call, x, y)))
}

fn copy<T: Element>(call: &Call, x: *const LatensTensor, y: *const LatensTensor) -> Result<(), Failure> {
    match call.rank("x", x)? {
        1 => copy_into::<T, 1>(call.input("x", x)?, call.output("y", y)?)?,
        2 => copy_into::<T, 2>(call.input("x", x)?, call.output("y", y)?)?,
        3 => copy_into::<T, 3>(call.input("x", x)?, call.output("y", y)?)?,
        _ => copy_into::<T, 4>(call.input("x", x)?, call.output("y", y)?)?,
    }
    Ok(())
}

/// y = x, rounded to the type of `y`, to nearest and ties to even: both \[rows, n\], of any float type.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_cast(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("cast", device) };
    entry.run(|call| float!(call, "x" = x, T => float!(call, "y" = y, U => cast_into::<T, U>(call.input("x", x)?, call.output("y", y)?))))
}

/// y += x, both \[rows, n\] T.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_add(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("add", device) };
    entry.run(|call| float!(call, "x" = x, T => add_into::<T>(call.input("x", x)?, call.output("y", y)?)))
}

/// y *= factor, \[rows, n\] T, in place.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scale(
    device: *const LatensDevice,
    factor: f32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scale", device) };
    entry.run(|call| float!(call, "y" = y, T => scale_into::<T>(factor, call.output("y", y)?)))
}
