//! How a scan is cut into blocks, and the memory between its launches.
use super::Plan;
use crate::{Chip, Error, Result};

/// Twins of `scan.cu`: threads of a block, positions in shared memory or of a chunk that is taken back, states of a lane.
pub(super) const BLOCK: usize = 128;
pub(super) const STEPS: usize = 16;
pub(super) const FORWARD: usize = 8;
pub(super) const BACKWARD: usize = 2;
/// Threads that fill a multiprocessor well enough, so that chunks of a scan need not run side by side.
const ENOUGH: usize = 1024;

/// Lanes of a channel, with `each` states at a time.
pub(super) fn lanes(p: &Plan, each: usize) -> usize {
    p.states().div_ceil(each).next_power_of_two().min(32)
}

/// Tiles of all channels: blocks of a chunk.
pub(super) fn tiles(p: &Plan, lanes: usize) -> usize {
    let unit = p.unit().max(1);
    p.channels() / unit * unit.div_ceil(BLOCK / lanes)
}

/// Positions of a chunk of a forward scan: all of them, unless that leaves the device idle.
pub(super) fn chunk(p: &Plan, chip: &Chip) -> usize {
    let threads = (p.route.batch() * p.channels() * lanes(p, FORWARD)).max(1);
    let wanted = (chip.multiprocessors as usize * ENOUGH).div_ceil(threads);
    p.route.len().div_ceil(wanted.max(1)).next_multiple_of(STEPS).max(4 * STEPS)
}

pub(super) fn chunks(p: &Plan, chunk: usize) -> usize {
    p.route.batch() * p.route.len().div_ceil(chunk)
}

pub(super) fn product(sizes: &[usize]) -> Result<usize> {
    sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size)).ok_or(Error::TooLarge)
}

fn bytes(numbers: &[usize], p: &Plan) -> Result<usize> {
    let sum = numbers.iter().try_fold(p.route.workspace()?, |sum: usize, &count| {
        count.checked_mul(4).and_then(|bytes| sum.checked_add(bytes + 256))
    });
    sum.ok_or(Error::TooLarge)
}

/// Numbers of scratch of a forward call: states of chunks, sums of their `delta`, outputs by order.
pub(super) fn scratch(p: &Plan, chip: &Chip) -> Result<[usize; 3]> {
    let count = chunks(p, chunk(p, chip));
    let several = if chunk(p, chip) < p.route.len() { count } else { 0 };
    let parts = if p.route.orders() > 1 { p.route.rows() } else { 0 };
    Ok([
        product(&[several, p.channels(), p.states()])?,
        product(&[several, p.channels()])?,
        product(&[parts, p.channels()])?,
    ])
}

/// Numbers of scratch of a backward call: states before and wants after chunks, sums of their `delta`, outputs by order,
/// gradients of a shared `u` by order, sums of tiles, sums of chunks.
pub(super) fn scratch_backward(p: &Plan) -> Result<[usize; 7]> {
    let (count, states) = (chunks(p, STEPS), p.states());
    let gated = if p.layouts.gate.is_some() { p.route.rows() } else { 0 };
    let shared = if p.columns() != p.channels() { p.route.rows() } else { 0 };
    let all = product(&[count, p.channels(), states])?;
    Ok([
        all,
        all,
        product(&[count, p.channels()])?,
        product(&[gated, p.channels()])?,
        product(&[shared, p.channels()])?,
        product(&[tiles(p, lanes(p, BACKWARD)), p.route.rows(), 2, states])?,
        product(&[count, p.channels(), states + 2])?,
    ])
}

/// Bytes of scratch of [`launch`](super::launch).
///
/// # Errors
/// `TooLarge`.
pub fn workspace(p: &Plan, chip: &Chip) -> Result<usize> {
    bytes(&scratch(p, chip)?, p)
}

/// Bytes of scratch of [`launch_backward`](super::launch_backward).
///
/// # Errors
/// `TooLarge`.
pub fn workspace_backward(p: &Plan) -> Result<usize> {
    bytes(&scratch_backward(p)?, p)
}
