use super::incidence;
use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{IncidenceShape, hyper_incidence_into, hyper_incidence_workspace};
use latens_core::{hyper_transpose_into, hyper_transpose_workspace};

/// Sort pairs of a row and a column, `rows` and `columns` \[pairs\] u32 in any order, into an incidence: the columns of row
/// r are `members` \[pairs\] u32 from `offsets`\[r\] to `offsets`\[r + 1\] of \[row_count + 1\] u32, rising. Equal pairs become
/// one entry; their `weights` \[pairs\] A (or null) are added into `merged` \[pairs\] A (null without weights). What is left
/// over in `members` is column_count.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_incidence(
    device: *const LatensDevice,
    rows: *const LatensTensor,
    columns: *const LatensTensor,
    weights: *const LatensTensor,
    row_count: usize,
    column_count: usize,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    merged: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_incidence", device) };
    entry.run(|call| {
        let counts = [row_count, column_count];
        if weights.is_null() {
            return Ok(hyper_incidence_into::<f32>(call.input("rows", rows)?, call.input("columns", columns)?, None, counts, call.output("offsets", offsets)?, call.output("members", members)?, call.optional_output("merged", merged)?, call.workspace(workspace)?)?);
        }
        sum!(call, "weights" = weights, A => hyper_incidence_into::<A>(call.input("rows", rows)?, call.input("columns", columns)?, call.optional("weights", weights)?, counts, call.output("offsets", offsets)?, call.output("members", members)?, call.optional_output("merged", merged)?, call.workspace(workspace)?))
    })
}

/// Bytes of workspace that `latens_hyper_incidence` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_incidence_workspace(
    device: *const LatensDevice,
    row_count: usize,
    column_count: usize,
    pairs: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_incidence_workspace", device) };
    entry.run(|call| {
        let bytes_of =
            || Ok(hyper_incidence_workspace(&IncidenceShape::new(row_count, column_count, pairs)?, call.device())?);
        call.give("bytes", bytes, bytes_of)
    })
}

/// Turn an incidence of column_count columns over: the rows of column c are `to_members` \[entries\] u32 from
/// `to_offsets`\[c\] to `to_offsets`\[c + 1\] of \[column_count + 1\] u32, and `to_places` \[entries\] u32 says which entry each was:
/// its number, by which weights are found.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_transpose(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    column_count: usize,
    to_offsets: *const LatensTensor,
    to_members: *const LatensTensor,
    to_places: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_transpose", device) };
    entry.run(|call| {
        let of = incidence(call, [offsets, members, std::ptr::null()], column_count)?;
        let (to_offsets, to_members) = (call.output("to_offsets", to_offsets)?, call.output("to_members", to_members)?);
        let (to_places, workspace) = (call.output("to_places", to_places)?, call.workspace(workspace)?);
        Ok(hyper_transpose_into(of, to_offsets, to_members, to_places, workspace)?)
    })
}

/// Bytes of workspace that `latens_hyper_transpose` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_transpose_workspace(
    device: *const LatensDevice,
    row_count: usize,
    column_count: usize,
    entries: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_transpose_workspace", device) };
    entry.run(|call| {
        let bytes_of =
            || Ok(hyper_transpose_workspace(&IncidenceShape::new(row_count, column_count, entries)?, call.device())?);
        call.give("bytes", bytes, bytes_of)
    })
}
