use super::{IMAGE, Plan};
use crate::{Accumulate, Chip, Element, Float, Launch, Layout, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Rows, and columns, of the part of a product that one block computes.
const TILE: usize = 64;
/// Bytes that it keeps in shared memory: `DEPTH` columns of either input, each padded. As in linear.cu.
const SHARED: usize = 2 * 16 * (TILE + 4) * 4;
/// Columns that one block sums.
const COLUMNS: usize = 32;

/// An input of a product, by the strides of its two dimensions; the second of `a` meets the first of `b`.
struct Side<'a, T> {
    span: Span<'a, T>,
    down: usize,
    across: usize,
}

impl<'a, T> Side<'a, T> {
    fn of(span: Span<'a, T>, layout: Layout<2>) -> Self {
        Self { span, down: layout.strides()[0], across: 1 }
    }
    fn transposed(self) -> Self {
        Self { down: self.across, across: self.down, ..self }
    }
}

/// `out = a·b + bias`, or `out += ..`: sizes `[m, n, k]`, the last being that of the sum. Nothing if there is no output.
fn product<'a, T: Float, O: Element>(
    kernel: &'static str,
    chip: &Chip,
    [m, n, k]: [usize; 3],
    a: Side<'a, T>,
    b: Side<'a, T>,
    bias: Option<Span<'a, T::Acc>>,
    accumulate: Accumulate,
    out: Option<&SpanMut<'a, O>>,
) -> Result<Launch<'a>> {
    let blocks = if out.is_some() { m.div_ceil(TILE) * n.div_ceil(TILE) } else { 0 };
    Launch::new::<T>(&IMAGE, kernel)
        .read(a.span)
        .read(b.span)
        .read(bias)
        .write(out)
        .u32(m)
        .u32(n)
        .u32(k)
        .u64(a.down)
        .u64(a.across)
        .u64(b.down)
        .u64(b.across)
        .u32(usize::from(accumulate == Accumulate::Add))
        .over([blocks, 1, 1], BLOCK, SHARED, chip)
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
    let x = Side::of(x.holds(p.x.span(), "linear", "x")?, p.x);
    let w = Side::of(w.holds(p.w.span(), "linear", "w")?, p.w).transposed();
    let bias = bias.map(|bias| bias.holds(p.n(), "linear", "bias")).transpose()?;
    let y = y.holds(p.m() * p.n(), "linear", "y")?;
    Ok([product("linear_product", chip, [p.m(), p.n(), p.k()], x, w, bias, p.accumulate, Some(&y))?])
}

/// The launches of a backward call: `dx`, `dw`, `db`, each nothing if it is not asked for.
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
) -> Result<[Launch<'a>; 3]> {
    let (m, n, k) = (p.m(), p.n(), p.k());
    let x = Side::of(x.holds(p.x.span(), "linear", "x")?, p.x);
    let w = Side::of(w.holds(p.w.span(), "linear", "w")?, p.w);
    let dy = dy.holds(p.dy.span(), "linear", "dy")?;
    let dx = dx.map(|dx| dx.holds(m * k, "linear", "dx")).transpose()?;
    let dw = dw.map(|dw| dw.holds(n * k, "linear", "dw")).transpose()?;
    let db = db.map(|db| db.holds(n, "linear", "db")).transpose()?;
    let columns = if db.is_some() { n.div_ceil(COLUMNS) } else { 0 };
    Ok([
        product("linear_product", chip, [m, k, n], Side::of(dy, p.dy), w, None, p.accumulate, dx.as_ref())?,
        product(
            "linear_gradient",
            chip,
            [n, k, m],
            Side::of(dy, p.dy).transposed(),
            x,
            None,
            p.accumulate,
            dw.as_ref(),
        )?,
        Launch::new::<T>(&IMAGE, "linear_columns")
            .read(dy)
            .write(db.as_ref())
            .u32(m)
            .u32(n)
            .u64(p.dy.strides()[0])
            .u32(usize::from(p.accumulate == Accumulate::Add))
            .over([columns, 1, 1], BLOCK, 0, chip)?,
    ])
}
