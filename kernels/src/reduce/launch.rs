use super::{IMAGE, Plan, Reduce, classes, moments, pearson};
use crate::sort::{self, Kernels, SORT, Sort};
use crate::{Accumulate, Chip, Float, Launch, Result, Span, SpanMut};

/// Threads of a row.
const BLOCK: u32 = 256;
/// Columns of a block, and threads of a column.
const TILE: usize = 32;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(p: &Plan, chip: &Chip, x: Span<'a, T>, y: SpanMut<'a, T::Acc>) -> Result<[Launch<'a>; 1]> {
    let ([rows, n], stride) = (p.x.dims(), p.x.strides()[0]);
    let x = x.holds(p.x.span(), "reduce", "x")?;
    let y = y.holds(p.out()[0], "reduce", "y")?;
    // The numbers are those of `reduce.cu`; a maximum has kernels of its own.
    let (how, [by_row, by_column]) = match p.reduce {
        Reduce::Sum => (0, ["reduce_rows", "reduce_columns"]),
        Reduce::Mean => (1, ["reduce_rows", "reduce_columns"]),
        Reduce::SumSquares => (2, ["reduce_rows", "reduce_columns"]),
        Reduce::Max => (0, ["reduce_rows_max", "reduce_columns_max"]),
    };
    let kernel = Launch::new::<T>(&IMAGE, if p.axis == 1 { by_row } else { by_column }).read(x).write(&y);
    Ok([match p.axis {
        1 => kernel.u32(n).u64(stride).u32(how).over([rows, 1, 1], BLOCK, 0, chip)?,
        _ => kernel.u64(rows).u32(n).u64(stride).u32(how).over(
            [n.div_ceil(TILE), 1, 1],
            (TILE * TILE) as u32,
            4 * TILE * TILE,
            chip,
        )?,
    }])
}

/// The launch of means and variances.
///
/// # Errors
/// As [`launch`].
pub fn launch_moments<'a, T: Float>(
    p: &moments::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    mean: SpanMut<'a, T::Acc>,
    variance: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    let ([rows, n], stride, [out]) = (p.x().dims(), p.x().strides()[0], p.out());
    let (mean, variance) = (mean.holds(out, moments::OP, "mean")?, variance.holds(out, moments::OP, "variance")?);
    let named = ["reduce_moments_columns", "reduce_moments_rows"][p.axis()];
    let kernel = Launch::new::<T>(&IMAGE, named).read(x.holds(p.x().span(), moments::OP, "x")?).write(&mean);
    let kernel = kernel.write(&variance);
    Ok([match p.axis() {
        1 => kernel.u32(n).u64(stride).over([rows, 1, 1], BLOCK, 0, chip)?,
        _ => over_columns(kernel.u64(rows).u32(n).u64(stride), n, 3, chip)?,
    }])
}

/// The launch of their gradient, a block to a row.
///
/// # Errors
/// As [`launch`].
pub fn launch_moments_backward<'a, T: Float>(
    p: &moments::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    mean: Span<'a, T::Acc>,
    dmean: Option<Span<'a, T::Acc>>,
    dvariance: Option<Span<'a, T::Acc>>,
    dx: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let (op, [rows, n], [out]) = (moments::OP, p.x().dims(), p.out());
    let dmean = dmean.map(|dmean| dmean.holds(out, op, "dmean")).transpose()?;
    let dvariance = dvariance.map(|dvariance| dvariance.holds(out, op, "dvariance")).transpose()?;
    let kernel = Launch::new::<T>(&IMAGE, "reduce_moments_backward")
        .read(x.holds(p.x().span(), op, "x")?)
        .read(mean.holds(out, op, "mean")?)
        .read(dmean)
        .read(dvariance)
        .write(&dx.holds(rows * n, op, "dx")?)
        .u32(n)
        .u64(p.x().strides()[0])
        .f32(1.0 / p.count() as f32)
        .u32(p.axis())
        .u32(usize::from(p.accumulate() == Accumulate::Add));
    Ok([kernel.over([if n == 0 { 0 } else { rows }, 1, 1], BLOCK, 0, chip)?])
}

/// The launch of correlations.
///
/// # Errors
/// As [`launch`].
pub fn launch_pearson<'a, T: Float>(
    p: &pearson::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: Span<'a, T>,
    r: SpanMut<'a, T::Acc>,
    saved: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    let (op, [rows, n]) = (pearson::OP, p.x().dims());
    let kernel = Launch::new::<T>(&IMAGE, "reduce_pearson")
        .read(x.holds(p.x().span(), op, "x")?)
        .read(y.holds(p.y().span(), op, "y")?)
        .write(&r.holds(n, op, "r")?)
        .write(&saved.holds(4 * n, op, "saved")?)
        .u64(rows)
        .u32(n)
        .u64(p.x().strides()[0])
        .u64(p.y().strides()[0])
        .u32(usize::from(p.shared()));
    Ok([over_columns(kernel, n, 6, chip)?])
}

/// The launch of their gradients, a block to a row.
///
/// # Errors
/// As [`launch`].
pub fn launch_pearson_backward<'a, T: Float>(
    p: &pearson::Plan,
    chip: &Chip,
    [x, y]: [Span<'a, T>; 2],
    r: Span<'a, T::Acc>,
    saved: Span<'a, T::Acc>,
    dr: Span<'a, T::Acc>,
    [dx, dy]: [Option<SpanMut<'a, T>>; 2],
) -> Result<[Launch<'a>; 1]> {
    let (op, [rows, n]) = (pearson::OP, p.x().dims());
    let dx = dx.map(|dx| dx.holds(rows * n, op, "dx")).transpose()?;
    let dy = dy.map(|dy| dy.holds(p.y().len(), op, "dy")).transpose()?;
    let blocks = if dx.is_some() && n > 0 || dy.is_some() && !p.y().is_empty() { rows } else { 0 };
    let kernel = Launch::new::<T>(&IMAGE, "reduce_pearson_backward")
        .read(x.holds(p.x().span(), op, "x")?)
        .read(y.holds(p.y().span(), op, "y")?)
        .read(r.holds(n, op, "r")?)
        .read(saved.holds(4 * n, op, "saved")?)
        .read(dr.holds(n, op, "dr")?)
        .write(dx.as_ref())
        .write(dy.as_ref())
        .u32(n)
        .u64(p.x().strides()[0])
        .u64(p.y().strides()[0])
        .u32(usize::from(p.shared()))
        .u32(usize::from(p.accumulate() == Accumulate::Add));
    Ok([kernel.over([blocks, 1, 1], BLOCK, 0, chip)?])
}

/// A block to 32 columns, which keeps so many numbers for each thread.
fn over_columns<'a>(kernel: Launch<'a>, n: usize, numbers: usize, chip: &Chip) -> Result<Launch<'a>> {
    kernel.over([n.div_ceil(TILE), 1, 1], (TILE * TILE) as u32, 4 * numbers * TILE * TILE, chip)
}

static KERNELS: Kernels = Kernels {
    image: &IMAGE,
    count: "reduce_sort_count",
    scan: "reduce_sort_scan",
    place: "reduce_sort_move",
    starts: "reduce_starts",
};
/// Launches of [`launch_classes`].
pub const CLASSES: usize = 4 + SORT;
/// Threads of a block of it: 32 columns, 8 threads to each.
const OF_CLASS: u32 = 256;

/// What [`launch_classes`] writes.
pub struct ClassOutputs<'a, A> {
    /// Rows of each class.
    pub counts: SpanMut<'a, u32>,
    /// Their means.
    pub means: SpanMut<'a, A>,
    /// Their sums of squares.
    pub squares: SpanMut<'a, A>,
    /// Rows of none.
    pub ignored: SpanMut<'a, u32>,
}

/// Bytes of scratch of [`launch_classes`]: the sort, and where each class begins in it.
pub fn workspace_classes(p: &classes::Plan) -> usize {
    sort::workspace(p.x().dims()[0]) + 4 * (p.classes() + 1) + 256
}

/// The launches of statistics of classes: keys, the sort, where each class begins, the statistics, and last the counts.
///
/// # Errors
/// As [`launch`].
pub fn launch_classes<'a, T: Float>(
    p: &classes::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    labels: Span<'a, u32>,
    to: ClassOutputs<'a, T::Acc>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; CLASSES]> {
    let (op, [rows, n], classes) = (classes::OP, p.x().dims(), p.classes());
    let (x, labels) = (x.holds(p.x().span(), op, "x")?, labels.holds(rows, op, "labels")?);
    let (counts, ignored) = (to.counts.holds(classes, op, "counts")?, to.ignored.holds(1, op, "ignored")?);
    let (means, squares) = (to.means.holds(classes * n, op, "means")?, to.squares.holds(classes * n, op, "squares")?);
    let add = usize::from(p.accumulate() == Accumulate::Add);
    let mut sort = Sort::take(&KERNELS, &mut workspace, rows, op)?;
    let starts = workspace.take::<u32>(classes + 1, op)?;
    let keys = Launch::new::<f32>(&IMAGE, "reduce_keys")
        .read(labels)
        .write(&sort.keys[0])
        .write(&sort.items[0])
        .u32(rows)
        .u32(classes)
        .over([rows.div_ceil(256), 1, 1], 256, 0, chip)?;
    let mut all = [keys; CLASSES];
    all[1..=SORT].copy_from_slice(&sort.launches(classes, chip)?);
    all[1 + SORT] = sort.starts(sort.keys[0].shared(), &starts, classes, chip)?;
    all[2 + SORT] = Launch::new::<T>(&IMAGE, "reduce_classes")
        .read(x)
        .read(sort.sorted())
        .read(starts.shared())
        .read(counts.shared())
        .write(&means)
        .write(&squares)
        .u32(n)
        .u64(p.x().strides()[0])
        .u32(add)
        .over([classes, n.div_ceil(TILE), 1], OF_CLASS, 4 * 3 * OF_CLASS as usize, chip)?;
    all[3 + SORT] = Launch::new::<f32>(&IMAGE, "reduce_class_counts")
        .read(starts.shared())
        .write(&counts)
        .write(&ignored)
        .u32(rows)
        .u32(classes)
        .u32(add)
        .over([(classes + 1).div_ceil(256), 1, 1], 256, 0, chip)?;
    Ok(all)
}
