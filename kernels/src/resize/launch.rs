use super::{IMAGE, OP, Plan, Tables};
use crate::{Accumulate, Chip, Element, Error, Float, Launch, Layout, Result, Span, SpanMut};

const BLOCK: u32 = 256;
const ALIGN: usize = 256;

/// Bytes of scratch of [`launch`] and [`launch_backward`], for what lies between the passes.
///
/// # Errors
/// [`Error::TooLarge`] if that is no number.
pub fn workspace(p: &Plan) -> Result<usize> {
    let bytes = p.between().into_iter().product::<usize>().checked_mul(4);
    bytes.and_then(|bytes| bytes.checked_add(ALIGN)).ok_or(Error::TooLarge)
}

/// The tables on a device, as [`Tables::words`] gives them.
#[derive(Clone, Copy)]
struct Words<'a> {
    rows: Span<'a, u32>,
    weights: Span<'a, f32>,
}

impl<'a> Words<'a> {
    fn new(tables: &Tables, rows: Span<'a, u32>, weights: Span<'a, f32>) -> Result<Self> {
        let [of_rows, of_weights] = tables.lengths();
        let rows = rows.holds(of_rows, OP, "tables")?;
        Ok(Self { rows, weights: weights.holds(of_weights, OP, "tables")? })
    }
}

/// One pass over direction `d`, by table `at` of the four: a thread for each entry of `to`, of sizes `out`.
fn pass<'a, T: Element, I: Element, O: Element>(
    kernel: &'static str,
    chip: &Chip,
    (tables, words, at): (&Tables, Words<'a>, usize),
    (from, layout): (Span<'a, I>, Layout<4>),
    (to, out): (&SpanMut<'a, O>, [usize; 4]),
    add: bool,
) -> Result<Launch<'a>> {
    let ([rows, weights], [batch, height, width, channels], d) = (tables.before(at), out, at % 2);
    let launch = Launch::new::<T>(&IMAGE, kernel)
        .read(words.rows.from(3 * rows))
        .read(words.weights.from(weights))
        .read(from)
        .write(to)
        .u32(batch * height * width)
        .u32(height)
        .u32(width)
        .u32(channels)
        .u32(layout.dims()[d + 1])
        .u32(tables.lengths()[1] - weights)
        .u32(d)
        .u32(usize::from(add));
    let launch = layout.strides()[..3].iter().fold(launch, |launch, &stride| launch.u64(stride));
    let count = out.into_iter().product::<usize>();
    launch.over([count.div_ceil(BLOCK as usize), 1, 1], BLOCK, 0, chip)
}

/// The launches of a forward call: columns, then rows.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    tables: &Tables,
    (rows, weights): (Span<'a, u32>, Span<'a, f32>),
    x: Span<'a, T>,
    y: SpanMut<'a, T>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let (words, between) = (Words::new(tables, rows, weights)?, Layout::packed(p.between())?);
    let x = x.holds(p.x.span(), OP, "x")?;
    let y = y.holds(p.dy.len(), OP, "y")?;
    let part = workspace.take::<f32>(between.len(), OP)?;
    Ok([
        pass::<T, _, _>("resize_first", chip, (tables, words, 1), (x, p.x), (&part, p.between()), false)?,
        pass::<T, _, _>("resize_second", chip, (tables, words, 0), (part.shared(), between), (&y, p.out()), false)?,
    ])
}

/// The launches of a backward call: rows, then columns.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    tables: &Tables,
    (rows, weights): (Span<'a, u32>, Span<'a, f32>),
    dy: Span<'a, T>,
    dx: SpanMut<'a, T>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let (words, between) = (Words::new(tables, rows, weights)?, Layout::packed(p.between())?);
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dx = dx.holds(p.x.len(), OP, "dx")?;
    let (part, add) = (workspace.take::<f32>(between.len(), OP)?, p.accumulate == Accumulate::Add);
    Ok([
        pass::<T, _, _>("resize_first", chip, (tables, words, 2), (dy, p.dy), (&part, p.between()), false)?,
        pass::<T, _, _>("resize_second", chip, (tables, words, 3), (part.shared(), between), (&dx, p.x.dims()), add)?,
    ])
}
