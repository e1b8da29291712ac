use super::{IMAGE, Norm, Plan, batch};
use crate::reduce::launch_moments;
use crate::{Accumulate, Chip, Error, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Groups of rows that sums over rows go by, at most, and rows of one, at least.
const GROUPS: usize = 512;
const LEAST: usize = 4;
/// Sums that a block of the second launch adds up.
const SUMS: usize = 32;
const ALIGN: usize = 256;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, n] = p.out();
    let x = x.holds(p.x.span(), "norm", "x")?;
    let weight = weight.holds(n, "norm", "weight")?;
    let bias = bias.map(|bias| bias.holds(n, "norm", "bias")).transpose()?;
    let y = y.holds(rows * n, "norm", "y")?;
    Ok([Launch::new::<T>(&IMAGE, "norm_rows")
        .read(x)
        .read(weight)
        .read(bias)
        .write(&y)
        .u32(n)
        .u64(p.x.strides()[0])
        .f32(p.eps)
        .u32(usize::from(p.norm == Norm::Layer))
        .over([if n == 0 { 0 } else { rows }, 1, 1], BLOCK, 0, chip)?])
}

/// Rows of a group.
fn rows_each(rows: usize) -> usize {
    rows.div_ceil(GROUPS).max(LEAST)
}

/// Places for the sums of a group: whole packs of any type, so that every pack has its places.
fn places(n: usize) -> usize {
    n.next_multiple_of(8)
}

/// Bytes of scratch of [`launch_backward`] for `x` of these sizes; none where no sum over rows is asked for.
///
/// # Errors
/// [`Error::TooLarge`] if that is no number.
pub fn workspace_backward([rows, n]: [usize; 2]) -> Result<usize> {
    let groups = rows.div_ceil(rows_each(rows));
    let bytes = n.checked_next_multiple_of(8).and_then(|places| places.checked_mul(2 * 4 * groups));
    bytes.and_then(|bytes| bytes.checked_add(ALIGN)).ok_or(Error::TooLarge)
}

/// The launches of a backward call: rows, and the sums over them, nothing if none is asked for.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    dy: Span<'a, T>,
    dx: Option<SpanMut<'a, T>>,
    dweight: Option<SpanMut<'a, T::Acc>>,
    dbias: Option<SpanMut<'a, T::Acc>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let ([rows, n], add) = (p.out(), usize::from(p.accumulate == Accumulate::Add));
    let x = x.holds(p.x.span(), "norm", "x")?;
    let weight = weight.holds(n, "norm", "weight")?;
    let dy = dy.holds(p.dy.span(), "norm", "dy")?;
    let dx = dx.map(|dx| dx.holds(rows * n, "norm", "dx")).transpose()?;
    let dweight = dweight.map(|dweight| dweight.holds(n, "norm", "dweight")).transpose()?;
    let dbias = dbias.map(|dbias| dbias.holds(n, "norm", "dbias")).transpose()?;

    let (each, places) = (rows_each(rows), places(n));
    let groups = if n == 0 { 0 } else { rows.div_ceil(each) };
    let kinds = usize::from(dweight.is_some()) + usize::from(dbias.is_some());
    let sums = kinds * places;
    let parts = if kinds > 0 { Some(workspace.take::<f32>(groups * sums, "norm")?) } else { None };
    // Where the sums of a group do not fit a block's memory, they gather in the workspace.
    let shared = Some(sums * 4).filter(|&bytes| bytes <= chip.shared as usize);
    let blocks = if kinds > 0 || dx.is_some() { groups } else { 0 };
    let of_rows = Launch::new::<T>(&IMAGE, "norm_backward")
        .read(x)
        .read(weight)
        .read(dy)
        .write(dx.as_ref())
        .write(parts.as_ref())
        .u32(rows)
        .u32(each)
        .u32(n)
        .u32(places)
        .u64(p.x.strides()[0])
        .u64(p.dy.strides()[0])
        .f32(p.eps)
        .u32(usize::from(p.norm == Norm::Layer))
        .u32(add)
        .u32(usize::from(dweight.is_some()))
        .u32(usize::from(dbias.is_some()))
        .u32(usize::from(shared.is_some()))
        .over([blocks, 1, 1], BLOCK, shared.unwrap_or(0), chip)?;
    let of_groups = Launch::new::<f32>(&IMAGE, "norm_sums")
        .read(parts.as_ref().map(SpanMut::shared))
        .write(dweight.as_ref())
        .write(dbias.as_ref())
        .u32(groups)
        .u32(n)
        .u32(places)
        .u32(16 / size_of::<T>())
        .u32(add)
        .over([sums.div_ceil(SUMS), 1, 1], BLOCK, 0, chip)?;
    Ok([of_rows, of_groups])
}

/// Columns of a block of sums, and threads of a column.
const TILE: usize = 32;

/// The launch of columns normalised by given statistics, a block to a row.
///
/// # Errors
/// As [`launch`].
pub fn launch_batch<'a, T: Float>(
    p: &batch::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    [mean, variance, weight]: [Span<'a, T::Acc>; 3],
    bias: Option<Span<'a, T::Acc>>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let (op, [rows, n]) = (batch::OP, p.out());
    let bias = bias.map(|bias| bias.holds(n, op, "bias")).transpose()?;
    Ok([Launch::new::<T>(&IMAGE, "norm_batch")
        .read(x.holds(p.x().span(), op, "x")?)
        .read(mean.holds(n, op, "mean")?)
        .read(variance.holds(n, op, "variance")?)
        .read(weight.holds(n, op, "weight")?)
        .read(bias)
        .write(&y.holds(rows * n, op, "y")?)
        .u32(n)
        .u64(p.x().strides()[0])
        .f32(p.eps())
        .over([if n == 0 { 0 } else { rows }, 1, 1], of_row(n), 0, chip)?])
}

/// The launches of a training call: statistics, and what they do.
///
/// # Errors
/// As [`launch`].
pub fn launch_batch_train<'a, T: Float>(
    p: &batch::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    y: SpanMut<'a, T>,
    [mean, variance]: [SpanMut<'a, T::Acc>; 2],
) -> Result<[Launch<'a>; 2]> {
    let given = [mean.shared(), variance.shared(), weight];
    let [statistics] = launch_moments(&p.moments()?, chip, x, mean, variance)?;
    let [apply] = launch_batch(p, chip, x, given, bias, y)?;
    Ok([statistics, apply])
}

/// Bytes of scratch of [`launch_batch_backward`].
///
/// # Errors
/// [`Error::TooLarge`] if that is no number.
pub fn workspace_batch_backward([_, n]: [usize; 2]) -> Result<usize> {
    n.checked_mul(8).and_then(|bytes| bytes.checked_add(ALIGN)).ok_or(Error::TooLarge)
}

/// The launches of the gradients of a training call: sums over columns, and rows with them.
///
/// # Errors
/// As [`launch`].
pub fn launch_batch_backward<'a, T: Float>(
    p: &batch::Plan,
    chip: &Chip,
    [x, dy]: [Span<'a, T>; 2],
    [mean, variance, weight]: [Span<'a, T::Acc>; 3],
    dx: Option<SpanMut<'a, T>>,
    [dweight, dbias]: [Option<SpanMut<'a, T::Acc>>; 2],
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let (op, [rows, n], add) = (batch::OP, p.out(), usize::from(p.accumulate() == Accumulate::Add));
    let (x, dy) = (x.holds(p.x().span(), op, "x")?, dy.holds(p.dy().span(), op, "dy")?);
    let (mean, variance) = (mean.holds(n, op, "mean")?, variance.holds(n, op, "variance")?);
    let dx = dx.map(|dx| dx.holds(rows * n, op, "dx")).transpose()?;
    let dweight = dweight.map(|dweight| dweight.holds(n, op, "dweight")).transpose()?;
    let dbias = dbias.map(|dbias| dbias.holds(n, op, "dbias")).transpose()?;
    let sums = workspace.take::<f32>(2 * n, op)?;
    let of_columns = Launch::new::<T>(&IMAGE, "norm_batch_sums")
        .read(x)
        .read(mean)
        .read(variance)
        .read(dy)
        .write(&sums)
        .write(dweight.as_ref())
        .write(dbias.as_ref())
        .u64(rows)
        .u32(n)
        .u64(p.x().strides()[0])
        .u64(p.dy().strides()[0])
        .f32(p.eps())
        .u32(add)
        .over([n.div_ceil(TILE), 1, 1], (TILE * TILE) as u32, 2 * 4 * TILE * TILE, chip)?;
    let of_rows = Launch::new::<T>(&IMAGE, "norm_batch_backward")
        .read(x)
        .read(mean)
        .read(variance)
        .read(weight.holds(n, op, "weight")?)
        .read(dy)
        .read(sums.shared())
        .write(dx.as_ref())
        .u32(n)
        .u64(p.x().strides()[0])
        .u64(p.dy().strides()[0])
        .f32(p.eps())
        .f32(1.0 / rows as f32)
        .u32(add)
        .over([if dx.is_some() && n > 0 { rows } else { 0 }, 1, 1], of_row(n), 0, chip)?;
    Ok([of_columns, of_rows])
}

/// Threads of a row, which may be short.
fn of_row(n: usize) -> u32 {
    n.next_multiple_of(32).clamp(32, BLOCK as usize) as u32
}
