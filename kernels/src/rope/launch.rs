use super::{IMAGE, Pairing, Plan};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut, math};

const BLOCK: u32 = 128;
/// Pairs of a block.
const PAIRS: usize = 32;

/// The launch of one call; which way, the plan says.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: SpanMut<'a, T>,
    positions: Span<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let [tokens, heads, dim] = p.dims;
    let x = x.holds(p.span, "rope", "x")?;
    let positions = positions.holds(tokens, "rope", "positions")?;
    let blocks = (dim / 2).div_ceil(PAIRS);
    let all = if heads == 0 { 0 } else { tokens.checked_mul(blocks).ok_or(Error::TooLarge)? };
    Ok([Launch::new::<T>(&IMAGE, "rope_turn")
        .write(&x)
        .read(positions)
        .u32(heads)
        .u32(dim)
        .u64(p.strides[0])
        .u64(p.strides[1])
        .u64(math::ln(p.base).to_bits() as usize)
        .u32(usize::from(p.pairing == Pairing::Halves))
        .u32(usize::from(p.back))
        .u32(blocks)
        .over([all, 1, 1], BLOCK, 0, chip)?])
}
