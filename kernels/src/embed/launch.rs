use super::{IMAGE, OP, Plan};
use crate::sort::{self, Kernels, SORT, Sort};
use crate::{Accumulate, Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 128;
static KERNELS: Kernels = Kernels {
    image: &IMAGE,
    count: "embed_sort_count",
    scan: "embed_sort_scan",
    place: "embed_sort_move",
    starts: "embed_starts",
};

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    table: Span<'a, T>,
    ids: Span<'a, u32>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [n, dim] = p.out();
    let table = table.holds(p.table.span(), OP, "table")?;
    let ids = ids.holds(n, OP, "ids")?;
    let y = y.holds(n * dim, OP, "y")?;
    Ok([Launch::new::<T>(&IMAGE, "embed_rows")
        .read(table)
        .read(ids)
        .write(&y)
        .u64(p.table.dims()[0])
        .u32(dim)
        .u64(p.table.strides()[0])
        .over([if dim == 0 { 0 } else { n }, 1, 1], BLOCK, 0, chip)?])
}

/// Bytes of scratch of [`launch_backward`]: the sort, and where each row of the table begins in it.
pub fn workspace(p: &Plan) -> usize {
    sort::workspace(p.out()[0]) + 4 * (p.table.dims()[0] + 1) + 256
}

/// The launches of a backward call: keys, the sort, where each begins in it, and the sums.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    dy: Span<'a, T>,
    ids: Span<'a, u32>,
    dtable: SpanMut<'a, T::Acc>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 3 + SORT]> {
    let ([n, dim], [vocab, _]) = (p.out(), p.table.dims());
    let dy = dy.holds(p.rows.span(), OP, "dy")?;
    let ids = ids.holds(n, OP, "ids")?;
    let dtable = dtable.holds(p.table.len(), OP, "dtable")?;
    let mut sort = Sort::take(&KERNELS, &mut workspace, n, OP)?;
    let starts = workspace.take::<u32>(vocab + 1, OP)?;
    let keys = Launch::new::<f32>(&IMAGE, "embed_keys")
        .read(ids)
        .write(&sort.keys[0])
        .write(&sort.items[0])
        .u32(n)
        .u32(vocab)
        .over([n.div_ceil(256), 1, 1], 256, 0, chip)?;
    let mut all = [keys; 3 + SORT];
    all[1..=SORT].copy_from_slice(&sort.launches(vocab, chip)?);
    all[1 + SORT] = sort.starts(sort.keys[0].shared(), &starts, vocab, chip)?;
    // As many threads as a row has pieces of 16 bytes.
    let block = dim.div_ceil(16 / size_of::<T>()).next_multiple_of(32).clamp(32, 256) as u32;
    all[2 + SORT] = Launch::new::<T>(&IMAGE, "embed_scatter")
        .read(dy)
        .read(sort.sorted())
        .read(starts.shared())
        .write(&dtable)
        .u32(dim)
        .u64(p.rows.strides()[0])
        .u32(usize::from(p.accumulate == Accumulate::Add))
        .over([if dim == 0 { 0 } else { vocab }, 1, 1], block, 0, chip)?;
    Ok(all)
}
