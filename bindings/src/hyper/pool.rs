use super::incidence;
use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{hyper_dots_into, hyper_largest_backward_into, hyper_largest_into, hyper_pool_into, hyper_topk_into};

/// Sums over the members of each row of an incidence: `y` \[rows, dim\] T of `x` \[column_count, dim\] T by the coefficients `a`
/// \[entries\] A, 1 if null. Over the incidence turned over it is the gradient of x. The incidence as for
/// `latens_hyper_degree`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_pool(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    a: *const LatensTensor,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_pool", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, places], column_count)?;
        float!(call, "x" = x, T => hyper_pool_into::<T>(of, call.optional("a", a)?, call.input("x", x)?, call.output("y", y)?))
    })
}

/// The largest of each column of `x` over the members of each row, times `a`: `y` \[rows, dim\] T, and the number of the entry
/// it came from, `chosen` \[rows, dim\] u32. Else as `latens_hyper_pool`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_largest(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    a: *const LatensTensor,
    x: *const LatensTensor,
    y: *const LatensTensor,
    chosen: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_largest", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, places], column_count)?;
        float!(call, "x" = x, T => hyper_largest_into::<T>(of, call.optional("a", a)?, call.input("x", x)?, call.output("y", y)?, call.output("chosen", chosen)?))
    })
}

/// The gradient `dx` \[rows, dim\] T of the x of `latens_hyper_largest` from `dy` and `chosen`, \[column_count, dim\] T and u32;
/// the incidence is the one turned over.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_largest_backward(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    a: *const LatensTensor,
    dy: *const LatensTensor,
    chosen: *const LatensTensor,
    dx: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_largest_backward", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, places], column_count)?;
        float!(call, "dy" = dy, T => hyper_largest_backward_into::<T>(of, call.optional("a", a)?, call.input("dy", dy)?, call.input("chosen", chosen)?, call.output("dx", dx)?))
    })
}

/// A dot product for each entry: `da` \[entries\] A of the row of `dy` \[rows, dim\] T and that of `x` \[column_count, dim\] T.
/// It is the gradient of the a of `latens_hyper_pool`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_dots(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    dy: *const LatensTensor,
    x: *const LatensTensor,
    da: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_dots", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, places], column_count)?;
        float!(call, "x" = x, T => hyper_dots_into::<T>(of, call.input("dy", dy)?, call.input("x", x)?, call.output("da", da)?))
    })
}

/// The `k` members of each row with the largest `scores` \[column_count\] A, best first: `values` \[rows, k\] A and `best`
/// \[rows, k\] u32, filled up with minus infinity and column_count. Among equals the smaller column wins; k is at most 1024.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_topk(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    scores: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    best: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_topk", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, places], column_count)?;
        sum!(call, "scores" = scores, A => hyper_topk_into::<A>(of, call.input("scores", scores)?, k, call.output("values", values)?, call.output("best", best)?))
    })
}
