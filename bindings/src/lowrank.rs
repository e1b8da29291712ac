use crate::call::Entry;
use crate::segments::segments;
use crate::{LatensDevice, LatensQuant, LatensSegments, LatensStatus, LatensTensor, quant};
use latens_core::{
    lowrank_left_into, lowrank_orthogonalise_into, lowrank_orthogonalise_workspace, lowrank_quantise_into,
    lowrank_resize_into, lowrank_restore_into, lowrank_right_into, lowrank_sum_into,
};

/// The first stage of PowerSGD over the matrices of a table: the gradient `g` \[len\] T is added to the error memory `e`
/// \[len\] A, and the sum multiplied by `q` \[all columns, rank\] A into `p` \[all rows, rank\] A; factors of the matrices stand
/// one below the other. Entries that are not finite are left out; `dropped` \[matrices\] u32 tells how many.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_left(
    device: *const LatensDevice,
    table: *const LatensSegments,
    g: *const LatensTensor,
    q: *const LatensTensor,
    e: *const LatensTensor,
    p: *const LatensTensor,
    dropped: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_left", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        float!(call, "g" = g, T => lowrank_left_into::<T>(&table, call.input("g", g)?, call.output("e", e)?, call.input("q", q)?, call.output("p", p)?, call.output("dropped", dropped)?))
    })
}

/// Make the columns of every matrix of `p` \[all rows, rank\] A orthonormal, in place, bit by bit the same on every device.
/// Columns that depend on others become random ones of `seed`; a matrix that is not finite becomes 0. `workspace` is u8
/// \[latens_lowrank_orthogonalise_workspace\], or null if that is 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_orthogonalise(
    device: *const LatensDevice,
    table: *const LatensSegments,
    seed: u64,
    p: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_orthogonalise", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        sum!(call, "p" = p, A => lowrank_orthogonalise_into::<A>(&table, call.output("p", p)?, seed, call.workspace(workspace)?))
    })
}

/// Bytes of workspace that `latens_lowrank_orthogonalise` asks for.
///
/// # Safety
/// Pointers are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_orthogonalise_workspace(
    device: *const LatensDevice,
    table: *const LatensSegments,
    rank: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_orthogonalise_workspace", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        call.give("bytes", bytes, || Ok(lowrank_orthogonalise_workspace(&table, rank, call.device())?))
    })
}

/// The other factor: what `latens_lowrank_left` left in `e` \[len\] A, transposed, times `p` \[all rows, rank\] A into `q`
/// \[all columns, rank\] A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_right(
    device: *const LatensDevice,
    table: *const LatensSegments,
    e: *const LatensTensor,
    p: *const LatensTensor,
    q: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_right", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        sum!(call, "e" = e, A => lowrank_right_into::<A>(&table, call.input("e", e)?, call.input("p", p)?, call.output("q", q)?))
    })
}

/// The last stage: `y` \[len\] T = `p` times `q` transposed, matrix by matrix, and `e` \[len\] A -= `y`. Either may be null, but
/// not both; `y` may be the memory of the gradient, and tells T. Without it T is A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_restore(
    device: *const LatensDevice,
    table: *const LatensSegments,
    p: *const LatensTensor,
    q: *const LatensTensor,
    e: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_restore", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        let made = if y.is_null() { e } else { y };
        float!(call, "y" = made, T => lowrank_restore_into::<T>(&table, call.input("p", p)?, call.input("q", q)?, call.optional_output("e", e)?, call.optional_output("y", y)?))
    })
}

/// The factor `from` \[all columns, old rank\] A at the rank of `q` \[all columns, rank\] A: the longest columns of every
/// matrix, in order, or all of them and random ones of `seed`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_resize(
    device: *const LatensDevice,
    table: *const LatensSegments,
    from: *const LatensTensor,
    seed: u64,
    q: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_resize", device) };
    entry.run(|call| {
        let table = segments(table, call.op())?;
        sum!(call, "from" = from, A => lowrank_resize_into::<A>(&table, call.input("from", from)?, seed, call.output("q", q)?))
    })
}

/// Codes of a factor `p` \[rows, rank\] f32 in few bits, to be sent; in its place come the numbers of the codes, which is what
/// others will have. `codes`, `scales` and `dropped` as for `latens_quant`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_quantise(
    device: *const LatensDevice,
    p: *const LatensTensor,
    settings: *const LatensQuant,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    dropped: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_quantise", device) };
    entry.run(|call| {
        let settings = quant::settings(call, settings)?;
        Ok(lowrank_quantise_into(call.output("p", p)?, &settings, quant::to(call, codes, scales, dropped)?)?)
    })
}

/// `p` \[rows, rank\] f32 = `scale` times the sum of a factor over ranks, in their order, from what each sent: `codes` \[ranks,
/// bytes\] u8 and `scales` \[ranks, blocks, 1 or 2\] f32. All who hold the codes get the same bits.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_lowrank_sum(
    device: *const LatensDevice,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    scale: f32,
    settings: *const LatensQuant,
    p: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("lowrank_sum", device) };
    entry.run(|call| {
        let settings = quant::settings(call, settings)?;
        let (codes, scales) = (call.input("codes", codes)?, call.input("scales", scales)?);
        Ok(lowrank_sum_into(codes, scales, scale, &settings, call.output("p", p)?)?)
    })
}
