use super::{IMAGE, Plan};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};

/// Twin of `THREADS` in `attention.cu`.
const BLOCK: u32 = 128;
/// Rows, queries of heads that share a key head, of a block.
const ROWS: usize = 16;
/// Keys that are in shared memory at once.
const KEYS: usize = 32;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    q: Span<'a, T>,
    k: Span<'a, T>,
    v: Span<'a, T>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let op = "attention";
    let [batch, t, heads, dim] = p.out();
    let q = q.holds(p.q.span(), op, "q")?;
    let k = k.holds(p.k.span(), op, "k")?;
    let v = v.holds(p.v.span(), op, "v")?;
    let y = y.holds(p.q.len(), op, "y")?;
    let rows = t.checked_mul(p.group()).filter(|&rows| rows < u32::MAX as usize - ROWS).ok_or(Error::TooLarge)?;
    let tiles = rows.div_ceil(ROWS);
    let blocks = if dim == 0 || heads == 0 { Some(0) } else { (batch * p.kv_heads()).checked_mul(tiles) };
    let kernel = match dim {
        0..=64 => "attention_64",
        65..=128 => "attention_128",
        _ => "attention_256",
    };
    // Queries, keys, values and weights, as the kernel lays them out.
    let shared = 4 * (ROWS * dim + KEYS * (dim | 1) + KEYS * dim + ROWS * KEYS);
    let launch = Launch::new::<T>(&IMAGE, kernel).read(q).read(k).read(v).write(&y);
    let strides = p.layouts().map(|layout| layout.strides());
    let launch = strides.iter().flat_map(|strides| &strides[..3]).fold(launch, |launch, &stride| launch.u64(stride));
    Ok([launch
        .u32(t)
        .u32(p.s())
        .u32(p.group())
        .u32(p.kv_heads())
        .u32(dim)
        .u32(usize::from(p.causal))
        .u32(tiles)
        .f32(p.scale)
        .over([blocks.ok_or(Error::TooLarge)?, 1, 1], BLOCK, shared, chip)?])
}
