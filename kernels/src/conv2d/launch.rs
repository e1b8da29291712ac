use super::{IMAGE, OP, Plan};
use crate::{Accumulate, Chip, Error, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Rows, and columns, of the part of a product that one block computes, and the bytes it shares. As in conv2d.cu.
const TILE: usize = 64;
const SHARED: usize = 2 * 16 * (TILE + 4) * 4;
/// Channels that a block of sums over pixels has.
const CHANNELS: usize = 32;
/// Groups of fewer channels than this would leave most of a tile empty.
const THIN: usize = 16;
/// Parts of the pixels that gradients of weights are summed over, at most, and pixels of one, at least.
const PARTS: usize = 64;
const LEAST: usize = 1024;
const ALIGN: usize = 256;

/// Whether a thread makes an entry.
fn thin(p: &Plan) -> bool {
    p.how.groups > 1 && p.group().into_iter().all(|channels| channels < THIN)
}

/// Pixels of a part, and parts.
fn parts(p: &Plan) -> [usize; 2] {
    let each = p.pixels().div_ceil(PARTS).max(LEAST);
    [each, p.pixels().div_ceil(each)]
}

/// Bytes of scratch of [`launch_backward`]; none for `dx` alone.
///
/// # Errors
/// [`Error::TooLarge`] if that is no number.
pub fn workspace_backward(p: &Plan) -> Result<usize> {
    let sums = p.terms().checked_add(1).and_then(|terms| terms.checked_mul(p.w.dims()[0]));
    let bytes = sums.and_then(|sums| sums.checked_mul(4 * parts(p)[1]));
    bytes.and_then(|bytes| bytes.checked_add(2 * ALIGN)).ok_or(Error::TooLarge)
}

/// The arguments that all kernels end with.
fn shaped<'a>(launch: Launch<'a>, p: &Plan) -> Launch<'a> {
    let ([_, height, width, _], [_, rows, columns, _], [_, taps_y, taps_x, _]) = (p.x.dims(), p.out(), p.w.dims());
    let ([channels, n], how) = (p.group(), p.how);
    let sizes = [height, width, channels, rows, columns, n, how.groups, taps_y, taps_x];
    let steps = [how.stride, how.padding, how.dilation];
    let launch = sizes.into_iter().chain(steps.into_iter().flatten()).fold(launch, Launch::u32);
    let strides = [p.x, p.w, p.dy].map(|layout| layout.strides());
    strides.iter().flat_map(|strides| &strides[..3]).fold(launch, |launch, &stride| launch.u64(stride))
}

/// Blocks of a product of `rows` and `columns`, for each group.
fn tiles(p: &Plan, rows: usize, columns: usize) -> Result<usize> {
    let tiles = rows.div_ceil(TILE).checked_mul(columns.div_ceil(TILE));
    tiles.and_then(|tiles| tiles.checked_mul(p.how.groups)).ok_or(Error::TooLarge)
}

/// The launch of a forward call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    w: Span<'a, T>,
    bias: Option<Span<'a, T::Acc>>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    counted(p)?;
    let n = p.w.dims()[0];
    let x = x.holds(p.x.span(), OP, "x")?;
    let w = w.holds(p.w.span(), OP, "w")?;
    let bias = bias.map(|bias| bias.holds(n, OP, "bias")).transpose()?;
    let y = y.holds(p.pixels() * n, OP, "y")?;
    let (kernel, blocks, shared) = match thin(p) {
        true => ("conv2d_forward_thin", (p.pixels() * n).div_ceil(BLOCK as usize), 0),
        false => ("conv2d_forward", tiles(p, p.pixels(), p.group()[1])?, SHARED),
    };
    let launch = Launch::new::<T>(&IMAGE, kernel).read(x).read(w).read(bias).write(&y).u32(p.pixels());
    Ok([shaped(launch, p).over([blocks, 1, 1], BLOCK, shared, chip)?])
}

/// That the terms of every sum can be counted.
fn counted(p: &Plan) -> Result<()> {
    let [_, taps_y, taps_x, _] = p.w.dims();
    let terms = p.group().into_iter().max().and_then(|channels| (taps_y * taps_x).checked_mul(channels));
    match terms.is_some_and(|terms| terms <= u32::MAX as usize - TILE) {
        true => Ok(()),
        false => Err(Error::TooLarge),
    }
}

/// The launches of a backward call: `dx`, parts of `dw` and their sums, parts of `db` and their sums; each nothing if it is
/// not asked for.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    w: Span<'a, T>,
    dy: Span<'a, T>,
    dx: Option<SpanMut<'a, T>>,
    dw: Option<SpanMut<'a, T::Acc>>,
    db: Option<SpanMut<'a, T::Acc>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 5]> {
    counted(p)?;
    let (add, [channels, of_group], terms) = (usize::from(p.accumulate == Accumulate::Add), p.group(), p.terms());
    let (n, pixels, [each, count]) = (p.w.dims()[0], p.pixels(), parts(p));
    let x = x.holds(p.x.span(), OP, "x")?;
    let w = w.holds(p.w.span(), OP, "w")?;
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dx = dx.map(|dx| dx.holds(p.x.len(), OP, "dx")).transpose()?;
    let dw = dw.map(|dw| dw.holds(n * terms, OP, "dw")).transpose()?;
    let db = db.map(|db| db.holds(n, OP, "db")).transpose()?;
    let of_w = dw.as_ref().map(|_| workspace.take::<f32>(count * n * terms, OP)).transpose()?;
    let of_b = db.as_ref().map(|_| workspace.take::<f32>(count * n, OP)).transpose()?;

    let of_x: usize = p.x.dims()[..3].iter().product();
    let (kernel, blocks, shared) = match thin(p) {
        true => ("conv2d_inputs_thin", p.x.len().div_ceil(BLOCK as usize), 0),
        false => ("conv2d_inputs", tiles(p, of_x, channels)?, SHARED),
    };
    let inputs = Launch::new::<T>(&IMAGE, kernel).read(w).read(dy).write(dx.as_ref()).u32(of_x).u32(add);
    let inputs = shaped(inputs, p).over([if dx.is_some() { blocks } else { 0 }, 1, 1], BLOCK, shared, chip)?;

    let (kernel, blocks, shared) = match thin(p) {
        true => ("conv2d_weights_thin", n.div_ceil(CHANNELS) * terms, 0),
        false => ("conv2d_weights", tiles(p, of_group, terms)?, SHARED),
    };
    let weights = Launch::new::<T>(&IMAGE, kernel).read(x).read(dy).write(of_w.as_ref()).u32(pixels).u32(each);
    let blocks = if dw.is_some() { blocks } else { 0 };
    let weights = shaped(weights, p).over([blocks, count, 1], BLOCK, shared, chip)?;

    let biases = Launch::new::<T>(&IMAGE, "conv2d_biases").read(dy).write(of_b.as_ref()).u32(pixels).u32(each);
    let blocks = if db.is_some() { n.div_ceil(CHANNELS) } else { 0 };
    let biases = shaped(biases, p).over([blocks, count, 1], BLOCK, 0, chip)?;

    let sums = |parts: Option<&SpanMut<'a, f32>>, out: Option<&SpanMut<'a, T::Acc>>, entries: usize| {
        let blocks = if out.is_some() { entries.div_ceil(BLOCK as usize) } else { 0 };
        let sums = Launch::new::<f32>(&IMAGE, "conv2d_sums").read(parts.map(SpanMut::shared)).write(out);
        sums.u32(count).u64(entries).u32(add).over([blocks, 1, 1], BLOCK, 0, chip)
    };
    let sums = [sums(of_w.as_ref(), dw.as_ref(), n * terms)?, sums(of_b.as_ref(), db.as_ref(), n)?];
    Ok([inputs, weights, sums[0], biases, sums[1]])
}
