use super::{IMAGE, Plan, Rounding};
use crate::{Accumulate, Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Blocks of numbers in a block of threads: one to a warp.
const EACH: usize = BLOCK as usize / 32;
const OP: &str = "quant";

/// The memory of codes.
pub struct Codes<'a> {
    /// The codes.
    pub codes: SpanMut<'a, u8>,
    /// Their scales.
    pub scales: SpanMut<'a, f32>,
    /// What was not finite.
    pub dropped: SpanMut<'a, u32>,
}

/// The launch that makes codes.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    error: Option<SpanMut<'a, f32>>,
    to: Codes<'a>,
) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<T>(&IMAGE, "quant_pack").read(x.holds(p.n, OP, "x")?);
    quantise(p, chip, launch, error, to)
}

/// The launch that makes codes of a sum.
///
/// # Errors
/// As [`launch`].
pub fn launch_sum<'a>(
    p: &Plan,
    chip: &Chip,
    ranks: usize,
    factor: f32,
    (codes, scales): (Span<'a, u8>, Span<'a, f32>),
    error: Option<SpanMut<'a, f32>>,
    to: Codes<'a>,
) -> Result<[Launch<'a>; 1]> {
    let [blocks, width] = p.scales();
    let codes = codes.holds(ranks * p.bytes_of_codes(), OP, "codes")?;
    let scales = scales.holds(ranks * blocks * width, OP, "scales")?;
    let launch = Launch::new::<f32>(&IMAGE, "quant_sum").read(codes).read(scales);
    let launch = launch.u32(ranks).u64(p.bytes_of_codes()).u64(blocks * width).f32(factor);
    quantise(p, chip, launch, error, to)
}

/// The launch that makes numbers.
///
/// # Errors
/// As [`launch`].
pub fn launch_dequant<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Span<'a, u8>,
    scales: Span<'a, f32>,
    accumulate: Accumulate,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [blocks, width] = p.scales();
    let launch = Launch::new::<T>(&IMAGE, "quant_unpack")
        .read(codes.holds(p.bytes_of_codes(), OP, "codes")?)
        .read(scales.holds(blocks * width, OP, "scales")?)
        .write(&y.holds(p.n, OP, "y")?);
    let blocks = p.n.div_ceil(BLOCK as usize).min(32 * chip.multiprocessors as usize);
    let add = usize::from(accumulate == Accumulate::Add);
    Ok([shape(p, launch).u32(add).over([blocks, 1, 1], BLOCK, 0, chip)?])
}

fn quantise<'a>(
    p: &Plan,
    chip: &Chip,
    launch: Launch<'a>,
    error: Option<SpanMut<'a, f32>>,
    to: Codes<'a>,
) -> Result<[Launch<'a>; 1]> {
    let [blocks, width] = p.scales();
    let error = error.map(|error| error.holds(p.n, OP, "error")).transpose()?;
    let launch = launch
        .write(error.as_ref())
        .write(&to.codes.holds(p.bytes_of_codes(), OP, "codes")?)
        .write(&to.scales.holds(blocks * width, OP, "scales")?)
        .write(&to.dropped.holds(1, OP, "dropped")?);
    let (chance, seed, step) = match p.settings.rounding {
        Rounding::Nearest => (0, 0, 0),
        Rounding::Stochastic { seed, step } => (1, seed, step),
    };
    let launch = shape(p, launch).u32(chance).u64(seed as usize).u64(step as usize);
    Ok([launch.over([blocks.div_ceil(EACH), 1, 1], BLOCK, 0, chip)?])
}

fn shape<'a>(p: &Plan, launch: Launch<'a>) -> Launch<'a> {
    let format = p.settings.format;
    launch.u64(p.n).u32(p.block()).u32(format.number().into()).u32(format.bits())
}
