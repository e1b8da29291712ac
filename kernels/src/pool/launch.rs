use super::{IMAGE, Plan, Pooling, op};
use crate::{Accumulate, Chip, Float, Launch, Layout, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// The arguments that all kernels end with.
fn shaped<'a>(launch: Launch<'a>, p: &Plan) -> Launch<'a> {
    let ([_, height, width, channels], [_, rows, columns, _], window) = (p.x.dims(), p.out(), p.window);
    let sizes = [height, width, channels, rows, columns];
    let launch =
        sizes.into_iter().chain(window.size).chain(window.stride).chain(window.padding).fold(launch, Launch::u32);
    launch.u32(usize::from(p.pooling == Pooling::Average { count_padding: true }))
}

fn strides<'a>(launch: Launch<'a>, layout: Layout<4>) -> Launch<'a> {
    layout.strides()[..3].iter().fold(launch, |launch, &stride| launch.u64(stride))
}

fn pixels(dims: [usize; 4]) -> usize {
    dims[..3].iter().product()
}

/// The launch of a forward call: a thread for each entry of `y`.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: SpanMut<'a, T>,
    indices: Option<SpanMut<'a, u32>>,
) -> Result<[Launch<'a>; 1]> {
    let (op, count) = (op(p.pooling), p.dy.len());
    let x = x.holds(p.x.span(), op, "x")?;
    let y = y.holds(count, op, "y")?;
    let indices = indices.map(|indices| indices.holds(count, op, "indices")).transpose()?;
    let kernel = if p.pooling == Pooling::Max { "pool_max" } else { "pool_average" };
    let launch = Launch::new::<T>(&IMAGE, kernel).read(x).write(&y).write(indices.as_ref()).u32(pixels(p.out()));
    Ok([strides(shaped(launch, p), p.x).over([count.div_ceil(BLOCK as usize), 1, 1], BLOCK, 0, chip)?])
}

/// The launch of a backward call: a thread for each entry of `dx`.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    dy: Span<'a, T>,
    indices: Option<Span<'a, u32>>,
    dx: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let (op, count) = (op(p.pooling), p.x.len());
    let dy = dy.holds(p.dy.span(), op, "dy")?;
    let indices = indices.map(|indices| indices.holds(p.indices.span(), op, "indices")).transpose()?;
    let dx = dx.holds(count, op, "dx")?;
    let kernel = if p.pooling == Pooling::Max { "pool_max_backward" } else { "pool_average_backward" };
    let add = usize::from(p.accumulate == Accumulate::Add);
    let launch = Launch::new::<T>(&IMAGE, kernel).read(dy).read(indices).write(&dx).u32(pixels(p.x.dims())).u32(add);
    let launch = strides(strides(shaped(launch, p), p.dy), p.indices);
    Ok([launch.over([count.div_ceil(BLOCK as usize), 1, 1], BLOCK, 0, chip)?])
}
