use crate::call::{Entry, accumulation};
use crate::handle::Table;
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor, guard};
use latens_core::{Filter, Resize, resize_backward_into, resize_into, resize_workspace};
use std::sync::Arc;

/// A change of the size of images: its weights, kept on a device.
pub struct LatensResize {
    _never: (),
}

/// How pixels are weighted.
#[repr(C)]
pub enum LatensFilter {
    /// The two neighbours each way.
    Bilinear = 0,
    /// The four neighbours each way, by a cubic with a = -3/4.
    Bicubic = 1,
    /// A triangle as wide as the reduction.
    BilinearAntialias = 2,
    /// A cubic with a = -1/2, as wide as the reduction.
    BicubicAntialias = 3,
}

static TABLES: Table<Resize> = Table::new();

fn table(handle: *const LatensResize, op: &'static str) -> Result<Arc<Resize>, Failure> {
    TABLES.get(handle, op, "by")
}

/// The weights by which images of `from_y` rows and `from_x` columns become such of `to_y` and `to_x`, kept on `device`.
/// `filter` is a LatensFilter. On failure `*by` is null.
///
/// # Safety
/// `by` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_resize_new(
    device: *const LatensDevice,
    filter: i32,
    from_y: usize,
    from_x: usize,
    to_y: usize,
    to_x: usize,
    by: *mut *mut LatensResize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("resize_new", device) };
    entry.make("by", by, |call| {
        let filter = match filter {
            0 => Filter::Bilinear,
            1 => Filter::Bicubic,
            2 => Filter::BilinearAntialias,
            3 => Filter::BicubicAntialias,
            _ => return Err(call.no_choice("filter", "a LatensFilter")),
        };
        Ok(TABLES.put(Resize::new(filter, [from_y, from_x], [to_y, to_x], call.device())?))
    })
}

/// Free the weights. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_resize_free(by: *mut LatensResize) -> LatensStatus {
    guard(|| TABLES.take(by, "resize_free", "by"))
}

/// Images of another size: `x` \[batch, from_y, from_x, channels\] and `y` \[batch, to_y, to_x, channels\] T.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_resize(
    device: *const LatensDevice,
    x: *const LatensTensor,
    by: *const LatensResize,
    y: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("resize", device) };
    entry.run(|call| {
        let by = table(by, call.op())?;
        float!(call, "x" = x, T => resize_into::<T>(
            call.input("x", x)?, &by, call.output("y", y)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_resize` asks for, and `latens_resize_backward` for a `dx` shaped as `x`, the memory of which
/// is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_resize_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    by: *const LatensResize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("resize_workspace", device) };
    entry.run(|call| {
        let (by, x) = (table(by, call.op())?, call.layout("x", x)?);
        call.give("bytes", bytes, || Ok(resize_workspace(&x, &by, call.device())?))
    })
}

/// The gradient of `latens_resize` from `dy`, shaped as its `y`: `dx` \[batch, from_y, from_x, channels\] T, replaced or added to
/// by `accumulate` (a LatensAccumulate).
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_resize_backward(
    device: *const LatensDevice,
    dy: *const LatensTensor,
    by: *const LatensResize,
    accumulate: i32,
    dx: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("resize_backward", device) };
    entry.run(|call| {
        let (by, accumulate) = (table(by, call.op())?, accumulation(call, accumulate)?);
        float!(call, "dy" = dy, T => resize_backward_into::<T>(
            call.input("dy", dy)?, &by, accumulate, call.output("dx", dx)?, call.workspace(workspace)?,
        ))
    })
}
