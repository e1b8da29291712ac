use super::{IMAGE, Plan};
use crate::{Chip, DType, Element, Error, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Entries that one block takes: twin of `THREADS * EACH` in `map.cu`.
const PART: usize = 2048;

/// The launch of a copy.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch_copy<'a, T: Element>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<T>(&IMAGE, "map_copy").read(x.holds(p.spans[0], "copy", "x")?);
    over(p, chip, shape(p, launch.write(&y.holds(p.spans[1], "copy", "y")?)))
}

/// The launch of a cast.
///
/// # Errors
/// As [`launch_copy`].
pub fn launch_cast<'a, T: Float, U: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: SpanMut<'a, U>,
) -> Result<[Launch<'a>; 1]> {
    let kernel = match U::DTYPE {
        DType::F32 => "map_cast_f32",
        DType::F16 => "map_cast_f16",
        DType::BF16 => "map_cast_bf16",
        got => return Err(Error::Type { op: "cast", arg: "y", got }),
    };
    let launch = Launch::new::<T>(&IMAGE, kernel).read(x.holds(p.spans[0], "cast", "x")?);
    over(p, chip, shape(p, launch.write(&y.holds(p.spans[1], "cast", "y")?)))
}

/// The launch of `y += x`.
///
/// # Errors
/// As [`launch_copy`].
pub fn launch_add<'a, T: Float>(p: &Plan, chip: &Chip, x: Span<'a, T>, y: SpanMut<'a, T>) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<T>(&IMAGE, "map_add").read(x.holds(p.spans[0], "add", "x")?);
    over(p, chip, shape(p, launch.write(&y.holds(p.spans[1], "add", "y")?)))
}

/// The launch of `y *= factor`.
///
/// # Errors
/// As [`launch_copy`].
pub fn launch_scale<'a, T: Float>(p: &Plan, chip: &Chip, factor: f32, y: SpanMut<'a, T>) -> Result<[Launch<'a>; 1]> {
    let y = y.holds(p.spans[1], "scale", "y")?;
    let launch = Launch::new::<T>(&IMAGE, "map_scale").write(&y).write(&y);
    over(p, chip, shape(p, launch).f32(factor))
}

/// The arguments that every kernel has after `x` and `y`.
fn shape<'a>(p: &Plan, launch: Launch<'a>) -> Launch<'a> {
    let launch = launch.u64(p.n()).u32(p.n().div_ceil(PART)).u32(p.dims[1]).u32(p.dims[2]);
    p.strides.as_flattened().iter().fold(launch, |launch, &stride| launch.u64(stride))
}

fn over<'a>(p: &Plan, chip: &Chip, launch: Launch<'a>) -> Result<[Launch<'a>; 1]> {
    let blocks = p.rows().checked_mul(p.n().div_ceil(PART)).ok_or(Error::TooLarge)?;
    Ok([launch.over([blocks, 1, 1], BLOCK, 0, chip)?])
}
