use super::{Act, IMAGE, Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// Blocks of a row: a thread takes 16 bytes.
fn packs<T>(n: usize) -> usize {
    n.div_ceil(BLOCK as usize * (16 / size_of::<T>()))
}

/// Twin of the numbers in act.cu.
fn number(act: Act) -> usize {
    match act {
        Act::Silu => 0,
        Act::Gelu => 1,
        Act::GeluTanh => 2,
    }
}

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    gate: Span<'a, T>,
    up: Option<Span<'a, T>>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, n] = p.out();
    let gate = gate.holds(p.gate.span(), "act", "gate")?;
    let up = up.map(|up| up.holds(p.up().span(), "act", "up")).transpose()?;
    let y = y.holds(rows * n, "act", "y")?;
    let packs = packs::<T>(n);
    Ok([Launch::new::<T>(&IMAGE, "act_apply")
        .read(gate)
        .read(up)
        .write(&y)
        .u32(number(p.act))
        .u32(n)
        .u64(p.gate.strides()[0])
        .u64(p.up().strides()[0])
        .u32(packs)
        .over([rows * packs, 1, 1], BLOCK, 0, chip)?])
}

/// The launch of a backward call; nothing if no gradient is asked for.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    gate: Span<'a, T>,
    up: Option<Span<'a, T>>,
    dy: Span<'a, T>,
    dgate: Option<SpanMut<'a, T>>,
    dup: Option<SpanMut<'a, T>>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, n] = p.out();
    let gate = gate.holds(p.gate.span(), "act", "gate")?;
    let up = up.map(|up| up.holds(p.up().span(), "act", "up")).transpose()?;
    let dy = dy.holds(p.dy.span(), "act", "dy")?;
    let dgate = dgate.map(|dgate| dgate.holds(rows * n, "act", "dgate")).transpose()?;
    let dup = dup.map(|dup| dup.holds(rows * n, "act", "dup")).transpose()?;
    let packs = packs::<T>(n);
    let blocks = if dgate.is_some() || dup.is_some() { rows * packs } else { 0 };
    Ok([Launch::new::<T>(&IMAGE, "act_backward")
        .read(gate)
        .read(up)
        .read(dy)
        .write(dgate.as_ref())
        .write(dup.as_ref())
        .u32(number(p.act))
        .u32(n)
        .u64(p.gate.strides()[0])
        .u64(p.up().strides()[0])
        .u64(p.dy.strides()[0])
        .u32(packs)
        .over([blocks, 1, 1], BLOCK, 0, chip)?])
}
