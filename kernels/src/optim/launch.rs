use super::{AdamW, Constants, IMAGE, Plan, Scheduled};
use crate::{Chip, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
const STEP: &str = "adamw";
const DECODER: &str = "decoder_step";

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
    let launch = arrays(Launch::new::<f32>(&IMAGE, "optim_adamw"), p.n, STEP, w, g, m, v)?;
    entries(constants(launch, &p.constants), p.n, chip)
}

/// The launch of a scheduled step over any parameters.
///
/// # Errors
/// As [`launch`].
pub fn launch_scheduled<'a>(
    p: &Scheduled,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
    schedule: Span<'a, f32>,
    at: Span<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let launch = arrays(Launch::new::<f32>(&IMAGE, "optim_adamw_scheduled"), p.n, STEP, w, g, m, v)?;
    entries(scheduled(launch, p, STEP, schedule, at)?, p.n, chip)
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
    let launch = arrays(Launch::new::<f32>(&IMAGE, "optim_decoder"), p.rows * p.n, DECODER, w, g, m, v)?;
    rows(constants(launch, &p.constants), [p.rows, p.n], chip)
}

/// The launch of a scheduled step over the rows of a decoder.
///
/// # Errors
/// As [`launch`].
pub fn launch_decoder_scheduled<'a>(
    p: &Scheduled,
    chip: &Chip,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
    schedule: Span<'a, f32>,
    at: Span<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<f32>(&IMAGE, "optim_decoder_scheduled");
    let launch = arrays(launch, p.rows * p.n, DECODER, w, g, m, v)?;
    rows(scheduled(launch, p, DECODER, schedule, at)?, [p.rows, p.n], chip)
}

/// The launch that moves the counter of a schedule on.
///
/// # Errors
/// As [`launch`].
pub fn launch_advance<'a>(chip: &Chip, at: SpanMut<'a, u32>) -> Result<[Launch<'a>; 1]> {
    let launch = Launch::new::<u32>(&IMAGE, "optim_advance").write(&at.holds(1, "advance", "at")?);
    Ok([launch.over([1, 1, 1], 32, 0, chip)?])
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

/// What every step begins with.
fn arrays<'a>(
    launch: Launch<'a>,
    len: usize,
    op: &'static str,
    w: SpanMut<'a, f32>,
    g: Span<'a, f32>,
    m: SpanMut<'a, f32>,
    v: SpanMut<'a, f32>,
) -> Result<Launch<'a>> {
    let launch = launch.write(&w.holds(len, op, "w")?).read(g.holds(len, op, "g")?);
    Ok(launch.write(&m.holds(len, op, "m")?).write(&v.holds(len, op, "v")?))
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
