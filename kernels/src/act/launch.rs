use super::{Act, IMAGE, Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

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
    // Blocks of a row: a thread takes 16 bytes.
    let packs = n.div_ceil(BLOCK as usize * (16 / size_of::<T>()));
    let act = match p.act {
        Act::Silu => 0,
        Act::Gelu => 1,
        Act::GeluTanh => 2,
    };
    Ok([Launch::new::<T>(&IMAGE, "act_apply")
        .read(gate)
        .read(up)
        .write(&y)
        .u32(act)
        .u32(n)
        .u64(p.gate.strides()[0])
        .u64(p.up().strides()[0])
        .u32(packs)
        .over([rows * packs, 1, 1], BLOCK, 0, chip)?])
}
