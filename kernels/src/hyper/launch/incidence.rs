//! Launches of [`incidence`](crate::hyper::incidence): numbers sorted by one or two keys, 8 bits at a time.
use super::{BLOCK, Rows};
use crate::hyper::{IMAGE, incidence::Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BUILD: &str = "hyper_incidence";
const TURN: &str = "hyper_transpose";
/// Keys of a block of the sort, and bins of a digit: twins of `sort.cuh`.
const KEYS: usize = 2048;
const BINS: usize = 256;
/// Digits of 8 bits that a key can have, and launches that sort by all of them.
const DIGITS: usize = 4;
const SORT: usize = 3 * DIGITS;

/// Keys and the numbers that are sorted by them, twice over, and what a digit counts.
struct Buffers<'a> {
    keys: [SpanMut<'a, u32>; 2],
    items: [SpanMut<'a, u32>; 2],
    counts: SpanMut<'a, u32>,
    count: usize,
}

impl<'a> Buffers<'a> {
    fn take(workspace: &mut SpanMut<'a, u8>, count: usize, op: &'static str) -> Result<Self> {
        let mut take = |len: usize| workspace.take::<u32>(len, op);
        Ok(Self {
            keys: [take(count)?, take(count)?],
            items: [take(count)?, take(count)?],
            counts: take(BINS * count.div_ceil(KEYS) + 1)?,
            count,
        })
    }

    /// Sort by keys of at most `most`; what is sorted is in the first buffers then.
    fn sort(&mut self, most: usize, chip: &Chip) -> Result<[Launch<'a>; SORT]> {
        let blocks = self.count.div_ceil(KEYS);
        let digits = (usize::BITS - most.leading_zeros()).div_ceil(8) as usize;
        let named = |name| Launch::new::<f32>(&IMAGE, name);
        let mut all = [named("hyper_sort_count"); SORT];
        for digit in 0..DIGITS {
            let grid = if digit < digits { blocks } else { 0 };
            all[3 * digit] = named("hyper_sort_count")
                .read(self.keys[0].shared())
                .write(&self.counts)
                .u32(self.count)
                .u32(8 * digit)
                .over([grid, 1, 1], BLOCK as u32, 4 * BINS, chip)?;
            all[3 * digit + 1] = named("hyper_sort_scan").write(&self.counts).u32(BINS * blocks).over(
                [grid.min(1), 1, 1],
                1024,
                0,
                chip,
            )?;
            all[3 * digit + 2] = named("hyper_sort_move")
                .read(self.keys[0].shared())
                .read(self.items[0].shared())
                .read(self.counts.shared())
                .write(&self.keys[1])
                .write(&self.items[1])
                .u32(self.count)
                .u32(8 * digit)
                .over([grid, 1, 1], BLOCK as u32, 4 * 9 * BINS, chip)?;
            if grid > 0 {
                self.keys.swap(0, 1);
                self.items.swap(0, 1);
            }
        }
        Ok(all)
    }
}

/// Bytes of scratch of [`build`] and [`transpose`]: the sort, and the row of each entry.
pub fn workspace(p: &Plan) -> usize {
    let pairs = p.shape().entries();
    (5 * pairs + BINS * pairs.div_ceil(KEYS) + 1).saturating_mul(4).saturating_add(7 * 256)
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
    let mut buffers = Buffers::take(&mut workspace, pairs, BUILD)?;
    let row_of = workspace.take::<u32>(pairs, BUILD)?;
    let blocks = pairs.div_ceil(KEYS);
    let over = |launch: Launch<'a>, count: usize| launch.over([count.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, chip);
    let named = |name| {
        Launch::new::<A>(&IMAGE, name).read(rows).read(columns).u32(shape.rows()).u32(shape.columns()).u32(pairs)
    };

    let first = over(named("hyper_pairs_by_column").write(&buffers.keys[0]).write(&buffers.items[0]), pairs)?;
    let mut all = [first; 6 + 2 * SORT];
    all[1..=SORT].copy_from_slice(&buffers.sort(shape.columns(), chip)?);
    all[1 + SORT] = over(named("hyper_pairs_by_row").write(&buffers.keys[0]).read(buffers.items[0].shared()), pairs)?;
    all[2 + SORT..2 + 2 * SORT].copy_from_slice(&buffers.sort(shape.rows(), chip)?);
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
    all[5 + 2 * SORT] = starts(&row_of, &offsets, pairs, shape.rows(), chip)?;
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
    let mut buffers = Buffers::take(&mut workspace, entries, TURN)?;
    let named = |name| from.read(Launch::new::<f32>(&IMAGE, name), &shape);
    let over = |launch: Launch<'a>| launch.over([entries.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, chip);

    let first = over(named("hyper_entries_by_column").write(&buffers.keys[0]).write(&buffers.items[0]))?;
    let mut all = [first; 3 + SORT];
    all[1..=SORT].copy_from_slice(&buffers.sort(shape.columns(), chip)?);
    let (keys, items) = (buffers.keys[0].shared(), buffers.items[0].shared());
    all[1 + SORT] = over(named("hyper_entries_turned").read(keys).read(items).write(&members).write(&places))?;
    all[2 + SORT] = starts(&buffers.keys[0], &offsets, entries, shape.columns(), chip)?;
    Ok(all)
}

/// Where each row begins, among sorted keys.
fn starts<'a>(
    keys: &SpanMut<'a, u32>,
    offsets: &SpanMut<'a, u32>,
    count: usize,
    rows: usize,
    chip: &Chip,
) -> Result<Launch<'a>> {
    Launch::new::<f32>(&IMAGE, "hyper_starts").read(keys.shared()).write(offsets).u32(count).u32(rows).over(
        [(rows + 1).div_ceil(BLOCK), 1, 1],
        BLOCK as u32,
        0,
        chip,
    )
}
