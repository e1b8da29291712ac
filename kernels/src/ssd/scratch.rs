//! How an ssd is cut into blocks, and the memory between its launches.
use super::{OP, Plan};
use crate::{Error, Result, SpanMut};

/// Twins of `call.cuh`: rows of a chunk, threads of a block, numbers of shared memory of a product and of a chunk backward.
pub(super) const CHUNK: usize = 64;
pub(super) const BLOCK: usize = 256;
pub(super) const STAGE: usize = 2 * 16 * (CHUNK + 4);
pub(super) const KEPT: usize = 9 * CHUNK + CHUNK * (CHUNK + 1);

pub(super) fn product(sizes: &[usize]) -> Result<usize> {
    sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size)).ok_or(Error::TooLarge)
}

/// Slots of chunks: as many as any bounds need.
pub(super) fn slots(p: &Plan) -> usize {
    match p.route.packed() {
        true => p.route.len() / CHUNK + p.route.sequences(),
        false => p.route.batch() * p.route.len().div_ceil(CHUNK),
    }
}

/// Numbers of scratch, one count for each field of [`Work`].
fn counts(p: &Plan, backward: bool) -> Result<[usize; 12]> {
    let (slots, square) = (slots(p), CHUNK * CHUNK);
    let rows = product(&[p.route.rows(), p.heads()])?;
    let scores = product(&[slots, p.groups(), square])?;
    let states = product(&[slots, p.width(), p.states()])?;
    let pairs = product(&[slots, p.heads(), square])?;
    let records = product(&[slots, p.heads(), 3])?;
    let back = |count| if backward { count } else { 0 };
    Ok([
        rows,
        rows,
        rows,
        rows,
        rows,
        product(&[slots, p.heads()])?,
        scores,
        states,
        back(states),
        back(pairs),
        back(scores),
        back(records),
    ])
}

/// What launches leave each other.
pub(super) struct Work<'a> {
    /// `Rows` of `call.cuh`.
    pub rows: [SpanMut<'a, f32>; 6],
    /// `c b` by slot and group.
    pub scores: SpanMut<'a, f32>,
    /// States before each chunk, and what is wanted of those after it.
    pub starts: SpanMut<'a, f32>,
    pub ends: SpanMut<'a, f32>,
    /// Pairs of rows by slot and head, and by slot and group.
    pub pairs: SpanMut<'a, f32>,
    pub pair_sums: SpanMut<'a, f32>,
    /// Sums over the rows of a slot, by head.
    pub records: SpanMut<'a, f32>,
}

impl<'a> Work<'a> {
    pub fn new(p: &Plan, backward: bool, workspace: &mut SpanMut<'a, u8>) -> Result<Self> {
        let mut counts = counts(p, backward)?.into_iter();
        let mut take = || workspace.take::<f32>(counts.next().unwrap_or(0), OP);
        Ok(Work {
            rows: [take()?, take()?, take()?, take()?, take()?, take()?],
            scores: take()?,
            starts: take()?,
            ends: take()?,
            pairs: take()?,
            pair_sums: take()?,
            records: take()?,
        })
    }
}

fn bytes(p: &Plan, backward: bool) -> Result<usize> {
    let sum = counts(p, backward)?.into_iter().try_fold(p.route.workspace()?, |sum: usize, count| {
        count.checked_mul(4).and_then(|bytes| bytes.checked_add(256)).and_then(|bytes| sum.checked_add(bytes))
    });
    sum.ok_or(Error::TooLarge)
}

/// Bytes of scratch of [`launch`](super::launch).
///
/// # Errors
/// `TooLarge`.
pub fn workspace(p: &Plan) -> Result<usize> {
    bytes(p, false)
}

/// Bytes of scratch of [`launch_backward`](super::launch_backward).
///
/// # Errors
/// `TooLarge`.
pub fn workspace_backward(p: &Plan) -> Result<usize> {
    bytes(p, true)
}
