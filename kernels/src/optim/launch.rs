use super::{IMAGE, Plan};
use crate::{Chip, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// The launch of a step over any parameters.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a>(
    p: &Plan,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    // Enough blocks to fill the device a few times; each strides over the rest.
    let blocks = p.n.div_ceil(BLOCK as usize).min(16 * chip.multiprocessors as usize);
    let launch = arguments(Launch::new::<f32>(&IMAGE, "optim_adamw"), p, "adamw", w, g, m, v)?;
    Ok([launch.u64(p.n).over([blocks, 1, 1], BLOCK, 0, chip)?])
}

/// The launch of a step over the rows of a decoder.
///
/// # Errors
/// As [`launch`].
pub fn launch_decoder<'a>(
    p: &Plan,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    let row = if 4 * p.n <= chip.shared as usize { 4 * p.n } else { 0 };
    let rows = if p.n == 0 { 0 } else { p.rows };
    let launch = arguments(Launch::new::<f32>(&IMAGE, "optim_decoder"), p, "decoder_step", w, g, m, v)?;
    Ok([launch.u32(p.n).u32(usize::from(row > 0)).over([rows, 1, 1], BLOCK, row, chip)?])
}

/// What both kernels begin with.
fn arguments<'a>(
    launch: Launch<'a>,
    p: &Plan,
    op: &'static str,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
) -> Result<Launch<'a>> {
    let (len, c) = (p.rows * p.n, &p.constants);
    let launch = launch
        .write(&w.holds(len, op, "w")?)
        .read(g.holds(len, op, "g")?)
        .write(&m.holds(len, op, "m")?)
        .write(&v.holds(len, op, "v")?);
    let constants = [c.beta1, c.rest1, c.beta2, c.rest2, c.keep, c.rate, c.root, c.eps];
    Ok(constants.into_iter().fold(launch, |launch, constant| launch.f32(constant as f32)))
}
