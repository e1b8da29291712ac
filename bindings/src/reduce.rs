use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Reduce, reduce_into};

/// Ways to make one number of many.
#[repr(C)]
pub enum LatensReduce {
    /// The sum.
    Sum = 0,
    /// The mean.
    Mean = 1,
    /// The largest.
    Max = 2,
    /// The sum of squares.
    SumSquares = 3,
}

/// One number of every column (`axis` 0) or row (`axis` 1) of `x` \[rows, n\] T: `y` \[n\] or \[rows\] A. `how` is a
/// LatensReduce.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_reduce(
    device: *const LatensDevice,
    x: *const LatensTensor,
    how: i32,
    axis: usize,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("reduce", device) };
    entry.run(|call| {
        let how = match how {
            0 => Reduce::Sum,
            1 => Reduce::Mean,
            2 => Reduce::Max,
            3 => Reduce::SumSquares,
            _ => return Err(call.no_choice("how", "a LatensReduce")),
        };
        float!(call, "x" = x, T => reduce_into::<T>(call.input("x", x)?, how, axis, call.output("y", y)?))
    })
}
