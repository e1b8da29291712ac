//! Launches of [`backward`](crate::sae::backward): sort the slots by latent, then visit every latent.
use super::Coded;
use crate::sae::{IMAGE, backward::Plan};
use crate::{Accumulate, Chip, Error, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_backward";
/// Slots of a block of the sort, and bins of a digit: twins of `order.cuh`.
const BLOCK: usize = 2048;
const BINS: usize = 256;
/// Hits that one block visits: twin of `backward.cuh`.
const CHUNK: usize = 512;
/// Digits of 8 bits that a latent can have.
const DIGITS: usize = 4;

/// The gradients of the weights.
pub struct Gradients<'a, T: Float> {
    /// `[n, dim]`.
    pub dw_dec: SpanMut<'a, T::Acc>,
    /// `[n, dim]`.
    pub dw_enc: SpanMut<'a, T::Acc>,
    /// `[n]`.
    pub db_enc: SpanMut<'a, T::Acc>,
}

/// Numbers of all records of chunks.
fn records(p: &Plan) -> Option<usize> {
    p.shape().slots().div_ceil(CHUNK).checked_mul(2 * (2 * p.dim() + 4))
}

/// Bytes of scratch of [`launch`]: the sort, and the sums of chunks of hot latents.
pub fn workspace(p: &Plan) -> usize {
    let slots = p.shape().slots();
    let numbers = 5 * slots + BINS * slots.div_ceil(BLOCK) + p.n() + 1;
    records(p).and_then(|records| records.checked_add(numbers)?.checked_mul(4)).map_or(usize::MAX, |all| all + 8 * 256)
}

/// Scratch of the sort. What is sorted lies in the first of two.
struct Order<'a> {
    keys: [SpanMut<'a, u32>; 2],
    items: [SpanMut<'a, u32>; 2],
    rows: SpanMut<'a, u32>,
    counts: SpanMut<'a, u32>,
    starts: SpanMut<'a, u32>,
}

/// The launches of the sort, and room for two more.
fn sort<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    codes: &Coded<'a, A>,
    dvalues: &SpanMut<'a, A>,
    mut order: Order<'a>,
) -> Result<([Launch<'a>; 4 + 3 * DIGITS], Order<'a>)> {
    let (n, slots) = (p.n(), p.shape().slots());
    let blocks = slots.div_ceil(BLOCK);
    let named = |name| Launch::new::<f32>(&IMAGE, name);
    let begin = codes
        .read(named("sae_order_keys"))
        .write(&order.keys[0])
        .write(&order.items[0])
        .write(&order.rows)
        .write(dvalues)
        .u32(p.rows())
        .u32(n)
        .over([slots.div_ceil(256), 1, 1], 256, 0, chip)?;
    let mut all = [begin; 4 + 3 * DIGITS];
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(8) as usize;
    for digit in 0..DIGITS {
        let grid = if digit < digits { blocks } else { 0 };
        all[3 * digit + 1] = named("sae_order_count")
            .read(order.keys[0].shared())
            .write(&order.counts)
            .u32(slots)
            .u32(8 * digit)
            .over([grid, 1, 1], 256, 4 * BINS, chip)?;
        all[3 * digit + 2] =
            named("sae_order_scan").write(&order.counts).u32(BINS * blocks).over([grid.min(1), 1, 1], 1024, 0, chip)?;
        all[3 * digit + 3] = named("sae_order_move")
            .read(order.keys[0].shared())
            .read(order.items[0].shared())
            .read(order.counts.shared())
            .write(&order.keys[1])
            .write(&order.items[1])
            .u32(slots)
            .u32(8 * digit)
            .over([grid, 1, 1], 256, 4 * 9 * BINS, chip)?;
        if grid > 0 {
            order.keys.swap(0, 1);
            order.items.swap(0, 1);
        }
    }
    all[3 * DIGITS + 1] = named("sae_order_starts")
        .read(order.keys[0].shared())
        .write(&order.starts)
        .u32(slots)
        .u32(n)
        .over([(n + 1).div_ceil(256), 1, 1], 256, 0, chip)?;
    Ok((all, order))
}

/// The launches of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Coded<'a, T::Acc>,
    x: Span<'a, T>,
    g: Span<'a, T>,
    w_dec: Span<'a, T>,
    b_dec: Option<Span<'a, T::Acc>>,
    to: Gradients<'a, T>,
    dvalues: SpanMut<'a, T::Acc>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 4 + 3 * DIGITS]> {
    let (dim, n, slots) = (p.dim(), p.n(), p.shape().slots());
    let codes = codes.checked(OP, &p.shape())?;
    let x = x.holds(p.x().span(), OP, "x")?;
    let g = g.holds(p.g().span(), OP, "g")?;
    let w_dec = w_dec.holds(p.w().span(), OP, "w_dec")?;
    let b_dec = b_dec.map(|b_dec| b_dec.holds(dim, OP, "b_dec")).transpose()?;
    let dvalues = dvalues.holds(slots, OP, "dvalues")?;
    let mut take = |count: usize| workspace.take::<u32>(count, OP);
    let (keys, items) = ([take(slots)?, take(slots)?], [take(slots)?, take(slots)?]);
    let (rows, counts, starts) = (take(slots)?, take(BINS * slots.div_ceil(BLOCK))?, take(n + 1)?);
    let parts = workspace.take::<f32>(records(p).ok_or(Error::TooLarge)?, OP)?;

    let order = Order { keys, items, rows, counts, starts };
    let (mut all, Order { keys, items, rows, starts, .. }) = sort(p, chip, &codes, &dvalues, order)?;
    let batch = |name| {
        Launch::new::<T>(&IMAGE, name)
            .read(codes.values)
            .read(b_dec)
            .read(x)
            .read(g)
            .read(w_dec)
            .read(items[0].shared())
            .read(rows.shared())
            .read(starts.shared())
            .write(&dvalues)
            .u32(dim)
            .u32(n)
            .u64(p.x().strides()[0])
            .u64(p.g().strides()[0])
            .u64(p.w().strides()[0])
    };
    // As many threads as a row has pieces of 16 bytes.
    let block = (dim.div_ceil(16 / size_of::<T>()).next_multiple_of(32)).clamp(64, 256) as u32;
    all[3 * DIGITS + 2] = batch("sae_backward_hot").read(keys[0].shared()).write(&parts).u32(slots).over(
        [slots.div_ceil(CHUNK), 1, 1],
        block,
        12 * CHUNK,
        chip,
    )?;
    all[3 * DIGITS + 3] = batch("sae_backward")
        .write(&parts)
        .write(&to.dw_dec.holds(n * dim, OP, "dw_dec")?)
        .write(&to.dw_enc.holds(n * dim, OP, "dw_enc")?)
        .write(&to.db_enc.holds(n, OP, "db_enc")?)
        .u32(usize::from(p.accumulate() == Accumulate::Add))
        .over([n, 1, 1], block, 12 * CHUNK, chip)?;
    Ok(all)
}
