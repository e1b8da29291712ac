//! Launches of [`incidence`](crate::hyper::incidence): numbers sorted by one or two keys, 8 bits at a time.
use super::{BLOCK, Rows};
use crate::hyper::{IMAGE, incidence::Plan};
use crate::sort::{self, Kernels, SORT, Sort};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BUILD: &str = "hyper_incidence";
const TURN: &str = "hyper_transpose";
/// Keys of a block of the sort: twin of `sort.cuh`.
const KEYS: usize = 2048;
static KERNELS: Kernels = Kernels {
    image: &IMAGE,
    count: "hyper_sort_count",
    scan: "hyper_sort_scan",
    place: "hyper_sort_move",
    starts: "hyper_starts",
};

/// Bytes of scratch of [`build`] and [`transpose`]: the sort, and the row of each entry.
pub fn workspace(p: &Plan) -> usize {
    let pairs = p.shape().entries();
    sort::workspace(pairs).saturating_add(4 * pairs).saturating_add(2 * 256)
}

/// The launches of [`build`](crate::hyper::incidence::build).
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn build<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    rows: Span<'a, u32>,
    columns: Span<'a, u32>,
    weights: Option<Span<'a, A>>,
    offsets: SpanMut<'a, u32>,
    members: SpanMut<'a, u32>,
    merged: Option<SpanMut<'a, A>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 6 + 2 * SORT]> {
    let (shape, pairs) = (p.shape(), p.shape().entries());
    let rows = rows.holds(pairs, BUILD, "rows")?;
    let columns = columns.holds(pairs, BUILD, "columns")?;
    let weights = weights.map(|weights| weights.holds(pairs, BUILD, "weights")).transpose()?;
    let offsets = offsets.holds(shape.rows() + 1, BUILD, "offsets")?;
    let members = members.holds(pairs, BUILD, "members")?;
    let merged = merged.map(|merged| merged.holds(pairs, BUILD, "merged")).transpose()?;
    let mut buffers = Sort::take(&KERNELS, &mut workspace, pairs, BUILD)?;
    let row_of = workspace.take::<u32>(pairs, BUILD)?;
    let blocks = pairs.div_ceil(KEYS);
    let over = |launch: Launch<'a>, count: usize| launch.over([count.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, chip);
    let named = |name| {
        Launch::new::<A>(&IMAGE, name).read(rows).read(columns).u32(shape.rows()).u32(shape.columns()).u32(pairs)
    };

    let first = over(named("hyper_pairs_by_column").write(&buffers.keys[0]).write(&buffers.items[0]), pairs)?;
    let mut all = [first; 6 + 2 * SORT];
    all[1..=SORT].copy_from_slice(&buffers.launches(shape.columns(), chip)?);
    all[1 + SORT] = over(named("hyper_pairs_by_row").write(&buffers.keys[0]).read(buffers.items[0].shared()), pairs)?;
    all[2 + SORT..2 + 2 * SORT].copy_from_slice(&buffers.launches(shape.rows(), chip)?);
    let sorted = |name| named(name).read(buffers.keys[0].shared()).read(buffers.items[0].shared());
    all[2 + 2 * SORT] =
        sorted("hyper_pairs_count").write(&buffers.counts).over([blocks, 1, 1], BLOCK as u32, 0, chip)?;
    all[3 + 2 * SORT] = Launch::new::<f32>(&IMAGE, "hyper_sort_scan").write(&buffers.counts).u32(blocks + 1).over(
        [blocks.min(1), 1, 1],
        1024,
        0,
        chip,
    )?;
    all[4 + 2 * SORT] = sorted("hyper_pairs_merge")
        .read(buffers.counts.shared())
        .read(weights)
        .write(&members)
        .write(&row_of)
        .write(merged.as_ref())
        .over([blocks, 1, 1], BLOCK as u32, 0, chip)?;
    all[5 + 2 * SORT] = buffers.starts(row_of.shared(), &offsets, shape.rows(), chip)?;
    Ok(all)
}

/// The launches of [`transpose`](crate::hyper::incidence::transpose).
///
/// # Errors
/// As [`build`].
pub fn transpose<'a>(
    p: &Plan,
    chip: &Chip,
    from: Rows<'a>,
    offsets: SpanMut<'a, u32>,
    members: SpanMut<'a, u32>,
    places: SpanMut<'a, u32>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 3 + SORT]> {
    let (shape, entries) = (p.shape(), p.shape().entries());
    let from = from.checked(TURN, &shape)?;
    let offsets = offsets.holds(shape.columns() + 1, TURN, "offsets")?;
    let members = members.holds(entries, TURN, "members")?;
    let places = places.holds(entries, TURN, "places")?;
    let mut buffers = Sort::take(&KERNELS, &mut workspace, entries, TURN)?;
    let named = |name| from.read(Launch::new::<f32>(&IMAGE, name), &shape);
    let over = |launch: Launch<'a>| launch.over([entries.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, chip);

    let first = over(named("hyper_entries_by_column").write(&buffers.keys[0]).write(&buffers.items[0]))?;
    let mut all = [first; 3 + SORT];
    all[1..=SORT].copy_from_slice(&buffers.launches(shape.columns(), chip)?);
    let (keys, items) = (buffers.keys[0].shared(), buffers.items[0].shared());
    all[1 + SORT] = over(named("hyper_entries_turned").read(keys).read(items).write(&members).write(&places))?;
    all[2 + SORT] = buffers.starts(keys, &offsets, shape.columns(), chip)?;
    Ok(all)
}
