use super::{AdamW, Constants, IMAGE, Plan, Scheduled, adamw8, clip, signum};
use crate::{Accumulate, Chip, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Threads of a partial sum.
const SQUARES: u32 = 512;
/// Numbers of the two tables of codes.
const TABLES: usize = 2 * 256;
const STEP: &str = "adamw";
const DECODER: &str = "decoder_step";

/// What every step works on.
pub struct Arrays<'a> {
    /// Parameters.
    pub w: SpanMut<'a, f32>,
    /// Their gradient.
    pub g: Span<'a, f32>,
    /// Its moving average.
    pub m: SpanMut<'a, f32>,
    /// That of its square.
    pub v: SpanMut<'a, f32>,
}

/// The launch of a step over any parameters.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a>(p: &Plan, chip: &Chip, arrays: Arrays<'a>) -> Result<[Launch<'a>; 1]> {
    let launch = arrays.of("optim_adamw", p.n, STEP)?;
    entries(constants(launch, &p.constants), p.n, chip)
}

/// The launch of a scheduled step over any parameters.
///
/// # Errors
/// As [`launch`].
pub fn launch_scheduled<'a>(
    p: &Scheduled,
    chip: &Chip,
    arrays: Arrays<'a>,
    schedule: Span<'a, f32>,
    at: Span<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let launch = arrays.of("optim_adamw_scheduled", p.n, STEP)?;
    entries(scheduled(launch, p, STEP, schedule, at)?, p.n, chip)
}

/// The launch of a step over the rows of a decoder.
///
/// # Errors
/// As [`launch`].
pub fn launch_decoder<'a>(p: &Plan, chip: &Chip, arrays: Arrays<'a>) -> Result<[Launch<'a>; 1]> {
    let launch = arrays.of("optim_decoder", p.rows * p.n, DECODER)?;
    rows(constants(launch, &p.constants), [p.rows, p.n], chip)
}

/// The launch of a scheduled step over the rows of a decoder.
///
/// # Errors
/// As [`launch`].
pub fn launch_decoder_scheduled<'a>(
    p: &Scheduled,
    chip: &Chip,
    arrays: Arrays<'a>,
    schedule: Span<'a, f32>,
    at: Span<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let launch = arrays.of("optim_decoder_scheduled", p.rows * p.n, DECODER)?;
    rows(scheduled(launch, p, DECODER, schedule, at)?, [p.rows, p.n], chip)
}

/// The launch of a step whose averages are codes, a warp to a block of them.
///
/// # Errors
/// As [`launch`].
pub fn launch_adamw8<'a>(
    p: &adamw8::Plan,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, u8>,
    v: SpanMut<'a, u8>,
    scales: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    let op = "adamw8";
    let launch = Launch::new::<f32>(&IMAGE, "optim_adamw8").write(&w.holds(p.n(), op, "w")?);
    let launch = launch.read(g.holds(p.n(), op, "g")?).write(&m.holds(p.n(), op, "m")?);
    let launch = launch.write(&v.holds(p.n(), op, "v")?).write(&scales.holds(2 * p.blocks(), op, "scales")?);
    let blocks = p.blocks().div_ceil(BLOCK as usize / 32).min(8 * chip.multiprocessors as usize);
    let launch = constants(launch, p.constants()).u64(p.n()).u32(p.block());
    Ok([launch.over([blocks, 1, 1], BLOCK, 4 * TABLES, chip)?])
}

/// The launch of a step along signs.
///
/// # Errors
/// As [`launch`].
pub fn launch_signum<'a>(
    p: &signum::Plan,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    let op = "signum";
    let launch = Launch::new::<f32>(&IMAGE, "optim_signum").write(&w.holds(p.n(), op, "w")?);
    let launch = launch.read(g.holds(p.n(), op, "g")?).write(&m.holds(p.n(), op, "m")?);
    let signum::Constants { beta, rest, keep, lr } = *p.constants();
    entries([beta, rest, keep, lr].into_iter().fold(launch, Launch::f32), p.n(), chip)
}

/// The launch that moves the counter of a schedule on.
///
/// # Errors
/// As [`launch`].
pub fn launch_advance<'a>(chip: &Chip, at: SpanMut<'a, u32>) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<u32>(&IMAGE, "optim_advance").write(&at.holds(1, "advance", "at")?);
    Ok([launch.over([1, 1, 1], 32, 0, chip)?])
}

/// The launch of the partial sums of squares, a block each.
///
/// # Errors
/// As [`launch`].
pub fn launch_squares<'a>(
    p: &clip::Plan,
    chip: &Chip,
    g: Span<'a, f32>,
    squares: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    let op = "clip_squares";
    let launch = Launch::new::<f32>(&IMAGE, "optim_squares").read(g.holds(p.n(), op, "g")?);
    let launch = launch.write(&squares.holds(clip::PARTS, op, "squares")?).u64(p.n()).u32(p.run());
    let add = usize::from(p.accumulate() == Accumulate::Add);
    Ok([launch.u32(add).over([clip::PARTS, 1, 1], SQUARES, 0, chip)?])
}

/// The launch that shortens a part of a gradient.
///
/// # Errors
/// As [`launch`].
pub fn launch_scale<'a>(
    p: &clip::Plan,
    chip: &Chip,
    squares: Span<'a, f32>,
    g: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    let op = "clip_scale";
    let launch = Launch::new::<f32>(&IMAGE, "optim_scale").read(squares.holds(clip::PARTS, op, "squares")?);
    entries(launch.write(&g.holds(p.n(), op, "g")?).f32(p.most()), p.n(), chip)
}

/// Over entries: enough blocks to fill the device a few times; each strides over the rest.
fn entries<'a>(launch: Launch<'a>, n: usize, chip: &Chip) -> Result<[Launch<'a>; 1]> {
    let blocks = n.div_ceil(BLOCK as usize).min(16 * chip.multiprocessors as usize);
    Ok([launch.u64(n).over([blocks, 1, 1], BLOCK, 0, chip)?])
}

/// Over rows, a block each.
fn rows<'a>(launch: Launch<'a>, [rows, n]: [usize; 2], chip: &Chip) -> Result<[Launch<'a>; 1]> {
    let row = if 4 * n <= chip.shared as usize { 4 * n } else { 0 };
    let rows = if n == 0 { 0 } else { rows };
    Ok([launch.u32(n).u32(usize::from(row > 0)).over([rows, 1, 1], BLOCK, row, chip)?])
}

impl<'a> Arrays<'a> {
    /// The launch of `kernel`, which begins with them.
    fn of(self, kernel: &'static str, len: usize, op: &'static str) -> Result<Launch<'a>> {
        let launch = Launch::new::<f32>(&IMAGE, kernel).write(&self.w.holds(len, op, "w")?);
        let launch = launch.read(self.g.holds(len, op, "g")?);
        Ok(launch.write(&self.m.holds(len, op, "m")?).write(&self.v.holds(len, op, "v")?))
    }
}

fn constants<'a>(launch: Launch<'a>, constants: &Constants) -> Launch<'a> {
    constants.row().into_iter().fold(launch, Launch::f32)
}

fn scheduled<'a>(
    launch: Launch<'a>,
    p: &Scheduled,
    op: &'static str,
    schedule: Span<'a, f32>,
    at: Span<'a, u32>,
) -> Result<Launch<'a>> {
    let schedule = schedule.holds(p.steps * AdamW::ROW, op, "schedule")?;
    Ok(launch.read(schedule).read(at.holds(1, op, "at")?).u64(p.steps))
}
