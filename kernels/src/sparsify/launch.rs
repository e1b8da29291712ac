use super::{IMAGE, Plan, SumPlan};
use crate::{Accumulate, Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Entries that a block takes at once, a multiple of 32: twin of `sparsify.cu`.
pub(super) const PIECE: usize = 4096;
/// Bins of the three digits of the cut: twin of `select.cuh`.
pub(super) const BINS: usize = 3 * 2048;
/// Bytes of the bins of one digit.
const DIGIT: usize = 4 << 11;

/// The launches of one call: fold the gradient into the memory and count the first digit of the cut, count the other
/// two, count per piece, place the pieces, send.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    g: Span<'a, T>,
    e: SpanMut<'a, T::Acc>,
    values: SpanMut<'a, T::Acc>,
    indices: SpanMut<'a, u32>,
    counts: SpanMut<'a, u32>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 8]> {
    let op = "sparsify";
    let g = g.holds(p.n, op, "g")?;
    let e = e.holds(p.n, op, "e")?;
    let values = values.holds(p.k, op, "values")?;
    let indices = indices.holds(p.k, op, "indices")?;
    let counts = counts.holds(2, op, "counts")?;
    let pieces = p.n.div_ceil(PIECE);
    let bins = workspace.take::<u32>(2 * BINS, op)?;
    let cut = workspace.take::<u32>(4, op)?;
    let finite = workspace.take::<u32>(p.n.div_ceil(32), op)?;
    let (above, equal) = (workspace.take::<u32>(pieces, op)?, workspace.take::<u32>(pieces, op)?);

    let jobs = pieces.min(8 * chip.multiprocessors as usize);
    let count = |pass: usize| {
        Launch::new::<T>(&IMAGE, "sparsify_count")
            .read(e.shared())
            .read(finite.shared())
            .write(&bins)
            .u64(p.n)
            .u64(p.k)
            .u32(pass)
            .over([jobs, 1, 1], BLOCK, DIGIT, chip)
    };
    let [tally, place, send] = pack::<T>(p, chip, &e, [&finite, &cut, &above, &equal], &values, [&indices, &counts])?;
    Ok([
        Launch::new::<T>(&IMAGE, "sparsify_clear").write(&bins).write(&counts).over([1, 1, 1], BLOCK, 0, chip)?,
        Launch::new::<T>(&IMAGE, "sparsify_fold")
            .read(g)
            .write(&e)
            .write(&finite)
            .write(&bins)
            .write(&counts)
            .u64(p.n)
            .over([jobs, 1, 1], BLOCK, DIGIT, chip)?,
        count(1)?,
        count(2)?,
        Launch::new::<T>(&IMAGE, "sparsify_cut").read(bins.shared()).write(&cut).u64(p.k).over(
            [1, 1, 1],
            32,
            0,
            chip,
        )?,
        tally,
        place,
        send,
    ])
}

/// Count per piece, place the pieces, send.
fn pack<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    e: &SpanMut<'a, T::Acc>,
    [finite, cut, above, equal]: [&SpanMut<'a, u32>; 4],
    values: &SpanMut<'a, T::Acc>,
    [indices, counts]: [&SpanMut<'a, u32>; 2],
) -> Result<[Launch<'a>; 3]> {
    let pieces = p.n.div_ceil(PIECE);
    Ok([
        Launch::new::<T>(&IMAGE, "sparsify_tally")
            .read(e.shared())
            .read(finite.shared())
            .read(cut.shared())
            .write(above)
            .write(equal)
            .u64(p.n)
            .over([pieces, 1, 1], BLOCK, 0, chip)?,
        Launch::new::<T>(&IMAGE, "sparsify_place")
            .read(cut.shared())
            .write(above)
            .write(equal)
            .write(values)
            .write(indices)
            .write(counts)
            .u32(pieces)
            .u32(p.n)
            .u32(p.k)
            .over([1, 1, 1], BLOCK, 0, chip)?,
        Launch::new::<T>(&IMAGE, "sparsify_send")
            .write(e)
            .read(finite.shared())
            .read(cut.shared())
            .read(above.shared())
            .read(equal.shared())
            .write(values)
            .write(indices)
            .u64(p.n)
            .over([if p.k == 0 { 0 } else { pieces }, 1, 1], BLOCK, 0, chip)?,
    ])
}

/// The launch of one sum.
///
/// # Errors
/// As [`launch`].
pub fn launch_sum<'a, T: Float>(
    p: &SumPlan,
    chip: &Chip,
    values: Span<'a, T::Acc>,
    indices: Span<'a, u32>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let op = "sparsify_sum";
    let values = values.holds(p.ranks * p.k, op, "values")?;
    let indices = indices.holds(p.ranks * p.k, op, "indices")?;
    let y = y.holds(p.n, op, "y")?;
    Ok([Launch::new::<T>(&IMAGE, op)
        .read(values)
        .read(indices)
        .write(&y)
        .u32(p.ranks)
        .u32(p.k)
        .u64(p.n)
        .f32(p.scale)
        .u32(usize::from(p.accumulate == Accumulate::Add))
        .over([p.n.div_ceil(PIECE), 1, 1], BLOCK, 4 * PIECE, chip)?])
}
