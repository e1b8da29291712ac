use super::{IMAGE, OP, Plan};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};

/// Twins of `THREADS`, `WARPS` and `KEYS` in `call.cuh`.
const BLOCK: u32 = 128;
const WARPS: usize = 4;
const KEYS: usize = 32;
/// Rows, queries of heads that share a key head, of a block.
const ROWS: usize = 16;

/// What every kernel is told, but for the number of its tiles.
#[derive(Clone, Copy)]
struct Call<'a, T: Float> {
    q: Span<'a, T>,
    k: Span<'a, T>,
    v: Span<'a, T>,
}

impl<'a, T: Float> Call<'a, T> {
    fn held(p: &Plan, q: Span<'a, T>, k: Span<'a, T>, v: Span<'a, T>) -> Result<Self> {
        Ok(Self {
            q: q.holds(p.q.span(), OP, "q")?,
            k: k.holds(p.k.span(), OP, "k")?,
            v: v.holds(p.v.span(), OP, "v")?,
        })
    }

    fn named(&self, p: &Plan, kernel: &'static str, tiles: usize) -> Launch<'a> {
        let launch = Launch::new::<T>(&IMAGE, kernel).read(self.q).read(self.k).read(self.v);
        let strides = p.layouts().map(|layout| layout.strides());
        let launch =
            strides.iter().flat_map(|strides| &strides[..3]).fold(launch, |launch, &stride| launch.u64(stride));
        launch
            .u32(p.t())
            .u32(p.s())
            .u32(p.group())
            .u32(p.kv_heads())
            .u32(p.out()[3])
            .u32(p.mask.block())
            .u32(tiles)
            .f32(p.scale)
    }
}

/// Of the kernels for heads of up to 64, 128 and 256 entries, the one for these.
fn kernel(p: &Plan, names: [&'static str; 3]) -> &'static str {
    names[match p.out()[3] {
        0..=64 => 0,
        65..=128 => 1,
        _ => 2,
    }]
}

/// Tiles of `size` rows of one key head, and blocks for those of all.
fn tiles(p: &Plan, rows: usize, size: usize) -> Result<[usize; 2]> {
    let ([batch, _, heads, _], tiles) = (p.out(), rows.div_ceil(size));
    // Without heads of queries there is nothing that keys could be divided by.
    let blocks = if heads == 0 { Some(0) } else { (batch * p.kv_heads()).checked_mul(tiles) };
    Ok([tiles, blocks.ok_or(Error::TooLarge)?])
}

/// Rows of one key head.
fn rows(p: &Plan) -> Result<usize> {
    p.t().checked_mul(p.group()).filter(|&rows| rows < u32::MAX as usize - ROWS).ok_or(Error::TooLarge)
}

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
    lse: Option<SpanMut<'a, T::Acc>>,
) -> Result<[Launch<'a>; 1]> {
    let call = Call::held(p, q, k, v)?;
    let y = y.holds(p.q.len(), OP, "y")?;
    let lse = lse.map(|lse| lse.holds(p.lse().iter().product(), OP, "lse")).transpose()?;
    let ([tiles, blocks], dim) = (tiles(p, rows(p)?, ROWS)?, p.out()[3]);
    let name = kernel(p, ["attention_64", "attention_128", "attention_256"]);
    // Queries, keys, values and weights, as the kernel lays them out.
    let shared = 4 * (ROWS * dim + KEYS * (dim | 1) + KEYS * dim + ROWS * KEYS);
    Ok([call.named(p, name, tiles).write(&y).write(lse.as_ref()).over([blocks, 1, 1], BLOCK, shared, chip)?])
}

/// Bytes of scratch of [`launch_backward`].
///
/// # Errors
/// `TooLarge` if they are more than can be counted.
pub fn workspace_backward(p: &Plan) -> Result<usize> {
    let rows = p.lse().iter().try_fold(4_usize, |product, &size| product.checked_mul(size));
    rows.and_then(|bytes| bytes.checked_add(256)).ok_or(Error::TooLarge)
}

/// The launches of a backward call: products of results and their gradients, then those of queries, then of keys and values.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    q: Span<'a, T>,
    k: Span<'a, T>,
    v: Span<'a, T>,
    y: Span<'a, T>,
    lse: Span<'a, T::Acc>,
    dy: Span<'a, T>,
    dq: Option<SpanMut<'a, T>>,
    dk: Option<SpanMut<'a, T>>,
    dv: Option<SpanMut<'a, T>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 3]> {
    let (call, [_, t, heads, dim]) = (Call::held(p, q, k, v)?, p.out());
    let count = p.lse().iter().product();
    let y = y.holds(p.q.len(), OP, "y")?;
    let lse = lse.holds(count, OP, "lse")?;
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dq = dq.map(|dq| dq.holds(p.q.len(), OP, "dq")).transpose()?;
    let dk = dk.map(|dk| dk.holds(p.k.len(), OP, "dk")).transpose()?;
    let dv = dv.map(|dv| dv.holds(p.v.len(), OP, "dv")).transpose()?;
    let whole = workspace.take::<f32>(count, OP)?;
    let [db, dt, dh, _] = p.dy.strides();

    let wholes = Launch::new::<T>(&IMAGE, "attention_whole").read(y).read(dy).u64(db).u64(dt).u64(dh);
    let wholes = wholes.u32(t).u32(heads).u32(dim).u64(count).write(&whole);
    let wholes = wholes.over([count.div_ceil(WARPS), 1, 1], BLOCK, 0, chip)?;
    let back = |launch: Launch<'a>| launch.read(dy).read(lse).read(whole.shared()).u64(db).u64(dt).u64(dh);

    let [tiles_of_q, blocks] = tiles(p, rows(p)?, ROWS)?;
    let name = kernel(p, ["attention_queries_64", "attention_queries_128", "attention_queries_256"]);
    // Queries, their gradients, keys and slopes.
    let shared = 4 * (2 * ROWS * dim + KEYS * (dim | 1) + ROWS * KEYS);
    let queries = back(call.named(p, name, tiles_of_q)).write(dq.as_ref());
    let queries = queries.over([if dq.is_some() { blocks } else { 0 }, 1, 1], BLOCK, shared, chip)?;

    let [tiles_of_k, blocks] = tiles(p, p.s(), KEYS)?;
    let name = kernel(p, ["attention_keys_64", "attention_keys_128", "attention_keys_256"]);
    // Twin of `Tall`. Keys, values, queries and gradients of results, weights and slopes.
    let tall = if dim > 128 { 8 } else { 16 };
    let shared = 4 * (2 * KEYS * (dim | 1) + 2 * tall * dim + 2 * tall * KEYS);
    let wanted = dk.is_some() || dv.is_some();
    let keys = back(call.named(p, name, tiles_of_k)).write(dk.as_ref()).write(dv.as_ref());
    let keys = keys.over([if wanted { blocks } else { 0 }, 1, 1], BLOCK, shared, chip)?;
    Ok([wholes, queries, keys])
}
