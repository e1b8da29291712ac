//! Launches of [`degree`], [`weigh`] and [`pool`].
use super::{BLOCK, Rows, WARPS};
use crate::hyper::{IMAGE, Shape, degree, pool, weigh};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};

const WEIGH: &str = "hyper_weigh";
const POOL: &str = "hyper_pool";
const DOTS: &str = "hyper_dots";

/// What a call of [`weigh`] reads besides the incidence.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a, A> {
    /// By number of entry.
    pub values: Option<Span<'a, A>>,
    /// By column.
    pub columns: Option<Span<'a, A>>,
    /// By row.
    pub rows: Option<Span<'a, A>>,
}

impl<'a, A: Float> Terms<'a, A> {
    /// A kernel that begins with an incidence and these; `how` is a number of `pool.cuh`.
    fn read(self, name: &'static str, shape: &Shape, how: usize, of: Rows<'a>) -> Result<Launch<'a>> {
        let of = of.checked(WEIGH, shape)?;
        let holds = |span: Option<Span<'a, A>>, want, arg| span.map(|span| span.holds(want, WEIGH, arg)).transpose();
        Ok(of
            .read(Launch::new::<A>(&IMAGE, name), shape)
            .read(holds(self.values, shape.entries(), "values")?)
            .read(holds(self.columns, shape.columns(), "columns")?)
            .read(holds(self.rows, shape.rows(), "rows")?)
            .u32(how))
    }
}

fn how(p: &weigh::Plan) -> usize {
    match p.how() {
        weigh::Weigh::Sum => 0,
        weigh::Weigh::Mean => 1,
        weigh::Weigh::Softmax => 2,
    }
}

/// The launch of [`degree::forward`].
///
/// # Errors
/// As [`forward`].
pub fn degrees<'a, A: Float>(
    p: &degree::Plan,
    chip: &Chip,
    of: Rows<'a>,
    values: Option<Span<'a, A>>,
    columns: Option<Span<'a, A>>,
    out: SpanMut<'a, A>,
) -> Result<[Launch<'a>; 1]> {
    let how = match p.how() {
        degree::Degree::Sum => 0,
        degree::Degree::Inverse => 1,
        degree::Degree::InverseRoot => 2,
        degree::Degree::Rarity => 3,
    };
    let out = out.holds(p.shape().rows(), WEIGH, "out")?;
    let grid = [p.shape().rows().div_ceil(WARPS), 1, 1];
    let terms = Terms { values, columns, rows: None };
    Ok([terms.read("hyper_degree", &p.shape(), how, of)?.write(&out).over(grid, BLOCK as u32, 0, chip)?])
}

/// Entries of no row get 0.
fn clear<'a, A: Float>(to: &SpanMut<'a, A>, count: usize, chip: &Chip) -> Result<Launch<'a>> {
    Launch::new::<f32>(&IMAGE, "hyper_clear").write(to).u32(count).over(
        [count.div_ceil(BLOCK), 1, 1],
        BLOCK as u32,
        0,
        chip,
    )
}

/// The launches of [`weigh::forward`].
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices, `Type` for `f64`.
pub fn forward<'a, A: Float>(
    p: &weigh::Plan,
    chip: &Chip,
    of: Rows<'a>,
    terms: Terms<'a, A>,
    a: SpanMut<'a, A>,
) -> Result<[Launch<'a>; 2]> {
    let a = a.holds(p.shape().entries(), WEIGH, "a")?;
    let grid = [p.shape().rows().div_ceil(WARPS), 1, 1];
    let first = clear(&a, p.shape().entries(), chip)?;
    Ok([first, terms.read("hyper_weigh", &p.shape(), how(p), of)?.write(&a).over(grid, BLOCK as u32, 0, chip)?])
}

/// The launches of [`weigh::backward`].
///
/// # Errors
/// As [`forward`].
pub fn backward<'a, A: Float>(
    p: &weigh::Plan,
    chip: &Chip,
    of: Rows<'a>,
    terms: Terms<'a, A>,
    da: Span<'a, A>,
    dvalues: SpanMut<'a, A>,
) -> Result<[Launch<'a>; 2]> {
    let da = da.holds(p.shape().entries(), WEIGH, "da")?;
    let dvalues = dvalues.holds(p.shape().entries(), WEIGH, "dvalues")?;
    let grid = [p.shape().rows().div_ceil(WARPS), 1, 1];
    let kernel = terms.read("hyper_weigh_backward", &p.shape(), how(p), of)?.read(da).write(&dvalues);
    Ok([clear(&dvalues, p.shape().entries(), chip)?, kernel.over(grid, BLOCK as u32, 0, chip)?])
}

/// A kernel that reads an incidence, weights and vectors.
fn pooling<'a, T: Float>(
    name: &'static str,
    p: &pool::Plan,
    of: Rows<'a>,
    a: Option<Span<'a, T::Acc>>,
    x: Span<'a, T>,
) -> Result<Launch<'a>> {
    let shape = p.shape();
    let of = of.checked(POOL, &shape)?;
    let a = a.map(|a| a.holds(shape.entries(), POOL, "a")).transpose()?;
    Ok(of.read(Launch::new::<T>(&IMAGE, name), &shape).read(a).read(x.holds(p.x().span(), POOL, "x")?))
}

/// Blocks of threads of `pieces` for each row.
fn grid(p: &pool::Plan, pieces: usize) -> Result<[usize; 3]> {
    Ok([p.shape().rows().checked_mul(pieces).ok_or(Error::TooLarge)?.div_ceil(BLOCK), 1, 1])
}

/// The launch of [`pool::forward`].
///
/// # Errors
/// As [`forward`].
pub fn sum<'a, T: Float>(
    p: &pool::Plan,
    chip: &Chip,
    of: Rows<'a>,
    a: Option<Span<'a, T::Acc>>,
    x: Span<'a, T>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let y = y.holds(p.shape().rows() * p.dim(), POOL, "y")?;
    let packs = p.dim().div_ceil(16 / size_of::<T>());
    Ok([pooling("hyper_pool", p, of, a, x)?.write(&y).u32(p.dim()).u64(p.x().strides()[0]).over(
        grid(p, packs)?,
        BLOCK as u32,
        0,
        chip,
    )?])
}

/// The launch of [`pool::largest`].
///
/// # Errors
/// As [`forward`].
pub fn largest<'a, T: Float>(
    p: &pool::Plan,
    chip: &Chip,
    of: Rows<'a>,
    a: Option<Span<'a, T::Acc>>,
    x: Span<'a, T>,
    y: SpanMut<'a, T>,
    chosen: SpanMut<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let y = y.holds(p.shape().rows() * p.dim(), POOL, "y")?;
    let chosen = chosen.holds(p.shape().rows() * p.dim(), POOL, "chosen")?;
    let kernel = pooling("hyper_largest", p, of, a, x)?.write(&y).write(&chosen);
    Ok([kernel.u32(p.dim()).u64(p.x().strides()[0]).over(grid(p, p.dim())?, BLOCK as u32, 0, chip)?])
}

/// The launch of [`pool::largest_backward`].
///
/// # Errors
/// As [`forward`].
pub fn largest_backward<'a, T: Float>(
    p: &pool::Plan,
    chip: &Chip,
    of: Rows<'a>,
    a: Option<Span<'a, T::Acc>>,
    dy: Span<'a, T>,
    chosen: Span<'a, u32>,
    dx: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let chosen = chosen.holds(p.shape().columns() * p.dim(), POOL, "chosen")?;
    let dx = dx.holds(p.shape().rows() * p.dim(), POOL, "dx")?;
    let kernel = pooling("hyper_largest_backward", p, of, a, dy)?.read(chosen).write(&dx);
    Ok([kernel.u32(p.dim()).u64(p.x().strides()[0]).over(grid(p, p.dim())?, BLOCK as u32, 0, chip)?])
}

/// The launches of [`pool::dots`].
///
/// # Errors
/// As [`forward`].
pub fn dots<'a, T: Float>(
    p: &pool::Plan,
    chip: &Chip,
    of: Rows<'a>,
    dy: Span<'a, T>,
    x: Span<'a, T>,
    da: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 2]> {
    let shape = p.shape();
    let of = of.checked(DOTS, &shape)?;
    let dy = dy.holds(p.dy().span(), DOTS, "dy")?;
    let x = x.holds(p.x().span(), DOTS, "x")?;
    let da = da.holds(shape.entries(), DOTS, "da")?;
    let kernel = of.read(Launch::new::<T>(&IMAGE, "hyper_dots"), &shape).read(dy).read(x).write(&da).u32(p.dim());
    // With no rows there is nothing to find an entry's row among.
    let entries = if shape.rows() == 0 { 0 } else { shape.entries() };
    Ok([
        clear(&da, shape.entries(), chip)?,
        kernel.u64(p.dy().strides()[0]).u64(p.x().strides()[0]).over(
            [entries.div_ceil(WARPS), 1, 1],
            BLOCK as u32,
            0,
            chip,
        )?,
    ])
}
