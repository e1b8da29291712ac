use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    ClassMomentsMut, Reduce, class_moments_into, class_moments_workspace, moments_backward_into, moments_into,
    pearson_backward_into, pearson_into, reduce_into,
};

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

/// Mean and population variance of every column (`axis` 0) or row (`axis` 1) of `x` \[rows, n\] T: `mean`, `variance` \[n\] or
/// \[rows\] A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_moments(
    device: *const LatensDevice,
    x: *const LatensTensor,
    axis: usize,
    mean: *const LatensTensor,
    variance: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("moments", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => moments_into::<T>(
            call.input("x", x)?, axis, call.output("mean", mean)?, call.output("variance", variance)?,
        ))
    })
}

/// The gradient `dx` \[rows, n\] T of `latens_moments`, from its `mean` and from `dmean` and `dvariance`, each of which may be null.
/// `accumulate` is a LatensAccumulate.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_moments_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    mean: *const LatensTensor,
    dmean: *const LatensTensor,
    dvariance: *const LatensTensor,
    axis: usize,
    accumulate: i32,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("moments_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => moments_backward_into::<T>(
            call.input("x", x)?, axis, call.input("mean", mean)?, call.optional("dmean", dmean)?,
            call.optional("dvariance", dvariance)?, accumulate, call.output("dx", dx)?,
        ))
    })
}

/// Pearson's correlation of each column of `x` \[rows, n\] T with that of `y` \[rows, n\] T, or with the one column of `y`
/// \[rows, 1\]: `r` \[n\] A, and `saved` \[4, n\] A for latens_pearson_backward. A column without spread gives 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_pearson(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
    r: *const LatensTensor,
    saved: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("pearson", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => pearson_into::<T>(
            call.input("x", x)?, call.input("y", y)?, call.output("r", r)?, call.output("saved", saved)?,
        ))
    })
}

/// The gradients of `latens_pearson`, whose results are `r` and `saved`, from `dr` \[n\] A: `dx` and `dy`, as `x` and `y`. One that is
/// null is not computed. `accumulate` (a LatensAccumulate) is about both.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_pearson_backward(
    device: *const LatensDevice,
    x: *const LatensTensor,
    y: *const LatensTensor,
    r: *const LatensTensor,
    saved: *const LatensTensor,
    dr: *const LatensTensor,
    accumulate: i32,
    dx: *const LatensTensor,
    dy: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("pearson_backward", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => pearson_backward_into::<T>(
            call.input("x", x)?, call.input("y", y)?, call.input("r", r)?, call.input("saved", saved)?,
            call.input("dr", dr)?, accumulate, call.optional_output("dx", dx)?, call.optional_output("dy", dy)?,
        ))
    })
}

/// Count, mean and sum of squared differences from it of the rows of `x` \[rows, n\] T of each class, by `labels` \[rows\] u32:
/// `counts` \[classes\] u32, `means` and `squares` \[classes, n\] A, and `ignored` \[1\] u32, rows whose label is no class. They
/// are overwritten or, by `accumulate` (a LatensAccumulate), joined by the batch as if all rows had come at once. `workspace` is
/// u8 \[latens_class_moments_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_class_moments(
    device: *const LatensDevice,
    x: *const LatensTensor,
    labels: *const LatensTensor,
    accumulate: i32,
    counts: *const LatensTensor,
    means: *const LatensTensor,
    squares: *const LatensTensor,
    ignored: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("class_moments", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        float!(call, "x" = x, T => {
            let (counts, ignored) = (call.output("counts", counts)?, call.output("ignored", ignored)?);
            let (means, squares) = (call.output("means", means)?, call.output("squares", squares)?);
            let to = ClassMomentsMut { counts, means, squares, ignored };
            let (x, labels) = (call.input("x", x)?, call.input("labels", labels)?);
            class_moments_into::<T>(x, labels, accumulate, to, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_class_moments` asks for. The memory of `x` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_class_moments_workspace(
    device: *const LatensDevice,
    x: *const LatensTensor,
    classes: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("class_moments_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || Ok(class_moments_workspace(&call.layout("x", x)?, classes, call.device())?))
    })
}
