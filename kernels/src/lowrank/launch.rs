use super::{IMAGE, Plan};
use crate::{Chip, Error, Float, Launch, Result, Segment, Segments, Span, SpanMut};

const BLOCK: u32 = 256;
/// Rows or columns of a matrix that a block takes: twin of `product.cuh`.
const TILE: usize = 64;
/// Bytes of two tiles of a product in shared memory: 32 steps of 64 rows, and of as many or fewer columns.
const TILES: usize = 4 * 2 * 64 * 33;
/// Columns of a factor that a block takes: twin of `product.cuh`.
const RANKS: usize = 32;

/// The largest rank of which the [`words`] of a matrix are fewer than 2^32, for `basis.cuh` counts them in 32 bits.
const WIDEST: usize = 46_340;

/// Numbers of `f64` that the orthogonalisation of one matrix needs: its Gram matrix and the inverse, scales, sums. Ranks are
/// below 2^31.
pub(super) const fn words(rank: usize) -> usize {
    rank.saturating_mul(2 * rank + 1).saturating_add(BLOCK as usize)
}

impl Plan<'_> {
    fn most(&self, size: impl Fn(&Segment) -> usize) -> usize {
        self.table.all().iter().map(size).max().unwrap_or(0)
    }

    fn words<'a>(&self, op: &'static str, table: Span<'a, u32>) -> Result<Span<'a, u32>> {
        table.holds(self.table.count() * Segments::WORDS, op, "table")
    }
}

/// The launch of [`left`](super::left).
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch_left<'a, T: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    table: Span<'a, u32>,
    g: Span<'a, T>,
    e: SpanMut<'a, T::Acc>,
    q: Span<'a, T::Acc>,
    left: SpanMut<'a, T::Acc>,
    dropped: SpanMut<'a, u32>,
) -> Result<[Launch<'a>; 2]> {
    let op = "lowrank_left";
    let (span, count) = (p.table.span(), p.table.count());
    let (table, g) = (p.words(op, table)?, g.holds(span, op, "g")?);
    let (e, q) = (e.holds(span, op, "e")?, q.holds(p.columns * p.rank, op, "q")?);
    let (left, dropped) = (left.holds(p.rows * p.rank, op, "p")?, dropped.holds(count, op, "dropped")?);
    Ok([
        Launch::new::<T>(&IMAGE, "lowrank_clear").write(&dropped).u32(count).over(
            [count.div_ceil(BLOCK as usize), 1, 1],
            BLOCK,
            0,
            chip,
        )?,
        Launch::new::<T>(&IMAGE, op)
            .read(table)
            .read(g)
            .write(&e)
            .read(q)
            .write(&left)
            .write(&dropped)
            .u64(span)
            .u32(p.rank)
            .over([p.most(|s| s.rows).div_ceil(TILE), count, 1], BLOCK, TILES, chip)?,
    ])
}

/// The launch of [`right`](super::right).
///
/// # Errors
/// As [`launch_left`].
pub fn launch_right<'a, A: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    table: Span<'a, u32>,
    a: Span<'a, A>,
    left: Span<'a, A>,
    q: SpanMut<'a, A>,
) -> Result<[Launch<'a>; 1]> {
    let op = "lowrank_right";
    let (span, count) = (p.table.span(), p.table.count());
    let (table, a) = (p.words(op, table)?, a.holds(span, op, "e")?);
    let (left, q) = (left.holds(p.rows * p.rank, op, "p")?, q.holds(p.columns * p.rank, op, "q")?);
    let tiles = p.most(|s| s.columns).div_ceil(TILE);
    Ok([Launch::new::<A>(&IMAGE, op).read(table).read(a).read(left).write(&q).u64(span).u32(p.rank).over(
        [tiles * p.rank.div_ceil(RANKS), count, 1],
        BLOCK,
        TILES,
        chip,
    )?])
}

/// The launch of [`restore`](super::restore).
///
/// # Errors
/// As [`launch_left`].
pub fn launch_restore<'a, T: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    table: Span<'a, u32>,
    left: Span<'a, T::Acc>,
    q: Span<'a, T::Acc>,
    e: Option<SpanMut<'a, T::Acc>>,
    y: Option<SpanMut<'a, T>>,
) -> Result<[Launch<'a>; 1]> {
    let op = "lowrank_restore";
    let (span, count) = (p.table.span(), p.table.count());
    let table = p.words(op, table)?;
    let (left, q) = (left.holds(p.rows * p.rank, op, "p")?, q.holds(p.columns * p.rank, op, "q")?);
    let e = e.map(|e| e.holds(span, op, "e")).transpose()?;
    let y = y.map(|y| y.holds(span, op, "y")).transpose()?;
    let across = p.most(|s| s.columns).div_ceil(TILE);
    let tiles = p.most(|s| s.rows).div_ceil(TILE).checked_mul(across).ok_or(Error::TooLarge)?;
    Ok([Launch::new::<T>(&IMAGE, op)
        .read(table)
        .read(left)
        .read(q)
        .write(e.as_ref())
        .write(y.as_ref())
        .u64(span)
        .u32(p.rank)
        .u32(across)
        .over([tiles, count, 1], BLOCK, TILES, chip)?])
}

/// The launch of [`orthogonalise`](super::orthogonalise): one block for every matrix.
///
/// # Errors
/// As [`launch_left`]; `Range` for a rank above 46340.
pub fn launch_orthogonalise<'a, A: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    table: Span<'a, u32>,
    left: SpanMut<'a, A>,
    seed: u64,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 1]> {
    let op = "lowrank_orthogonalise";
    let count = p.table.count();
    if p.rank > WIDEST {
        return Err(Error::Range { op, arg: "rank", max: WIDEST, got: p.rank });
    }
    let (table, left) = (p.words(op, table)?, left.holds(p.rows * p.rank, op, "p")?);
    let words = words(p.rank);
    // In shared memory if it fits beside that of other blocks.
    let shared = if 8 * words <= 48 << 10 { 8 * words } else { 0 };
    let scratch = if shared == 0 { Some(workspace.take::<u32>(2 * words * count, op)?) } else { None };
    let seed = usize::try_from(seed).map_err(|_| Error::TooLarge)?;
    Ok([Launch::new::<A>(&IMAGE, op)
        .read(table)
        .write(&left)
        .write(scratch.as_ref())
        .u64(p.table.span())
        .u32(p.rank)
        .u64(seed)
        .over([if p.rank == 0 { 0 } else { count }, 1, 1], BLOCK, shared, chip)?])
}

/// The launch of [`resize`](super::resize): one block for every matrix.
///
/// # Errors
/// As [`launch_left`].
pub fn launch_resize<'a, A: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    table: Span<'a, u32>,
    old: usize,
    from: Span<'a, A>,
    q: SpanMut<'a, A>,
    seed: u64,
) -> Result<[Launch<'a>; 1]> {
    let op = "lowrank_resize";
    let table = p.words(op, table)?;
    let (from, q) = (from.holds(p.columns * old, op, "from")?, q.holds(p.columns * p.rank, op, "q")?);
    let seed = usize::try_from(seed).map_err(|_| Error::TooLarge)?;
    Ok([Launch::new::<A>(&IMAGE, op)
        .read(table)
        .read(from)
        .write(&q)
        .u64(p.table.span())
        .u32(old)
        .u32(p.rank)
        .u64(seed)
        .over([p.table.count(), 1, 1], BLOCK, 12 * old, chip)?])
}
