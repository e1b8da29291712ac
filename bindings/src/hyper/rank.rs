use super::incidence;
use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Walk, hyper_rank_into, hyper_rank_workspace};

/// Personalised PageRank of the columns of `seeds` \[vertices, columns\] A, each of which sums to 1: `rank` \[vertices, columns\] A,
/// and by how much the last step changed a column, `change` \[columns\] A. The hypergraph is `offsets` and `members`, the
/// members of each edge, and the same turned over; `weights` \[edges\] A and `shares` \[entries\] A are 1 if null. A walk goes
/// on with probability `damping`; a column ends when a step changed it by `tolerance` or less, or after `steps`. A seed that is not
/// finite makes its column NaN.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_rank(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    turned_offsets: *const LatensTensor,
    turned_members: *const LatensTensor,
    turned_places: *const LatensTensor,
    weights: *const LatensTensor,
    shares: *const LatensTensor,
    seeds: *const LatensTensor,
    damping: f32,
    steps: usize,
    tolerance: f32,
    rank: *const LatensTensor,
    change: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_rank", device) };
    entry.run(|call| {
        let walk = Walk { damping, steps, tolerance };
        let vertices = call.layout::<2>("seeds", seeds)?.dims()[0];
        let edges = incidence(call, [offsets, members, std::ptr::null()], vertices)?;
        let turned = incidence(call, [turned_offsets, turned_members, turned_places], edges.shape().rows())?;
        sum!(call, "seeds" = seeds, A => hyper_rank_into::<A>(edges, turned, call.optional("weights", weights)?, call.optional("shares", shares)?, call.input("seeds", seeds)?, walk, call.output("rank", rank)?, call.output("change", change)?, call.workspace(workspace)?))
    })
}

/// Bytes of workspace that `latens_hyper_rank` asks for. The memory of `seeds` is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_rank_workspace(
    device: *const LatensDevice,
    edge_count: usize,
    seeds: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_rank_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || {
            Ok(hyper_rank_workspace(edge_count, &call.layout("seeds", seeds)?, call.device())?)
        })
    })
}
