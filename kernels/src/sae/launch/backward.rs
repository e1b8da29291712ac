//! Launches of [`backward`](crate::sae::backward): sort the slots by latent, then visit every latent.
use super::Coded;
use crate::sae::{IMAGE, backward::Plan};
use crate::sort::{self, Kernels, SORT, Sort};
use crate::{Accumulate, Chip, Error, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_backward";
/// Hits that one block visits: twin of `backward.cuh`.
const CHUNK: usize = 512;
pub(super) static KERNELS: Kernels = Kernels {
    image: &IMAGE,
    count: "sae_order_count",
    scan: "sae_order_scan",
    place: "sae_order_move",
    starts: "sae_order_starts",
};

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
    let bytes = |records: usize| records.checked_add(slots + p.n() + 1)?.checked_mul(4);
    records(p).and_then(bytes).map_or(usize::MAX, |all| all.saturating_add(sort::workspace(slots) + 3 * 256))
}

/// The launches of one call. With the gradients of values given, `w_dec` is `None`, and `dvalues` is only read.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Coded<'a, T::Acc>,
    x: Span<'a, T>,
    g: Span<'a, T>,
    w_dec: Option<Span<'a, T>>,
    b_dec: Option<Span<'a, T::Acc>>,
    to: Gradients<'a, T>,
    dvalues: SpanMut<'a, T::Acc>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 4 + SORT]> {
    let (dim, n, slots) = (p.dim(), p.n(), p.shape().slots());
    let codes = codes.checked(OP, &p.shape())?;
    let x = x.holds(p.x().span(), OP, "x")?;
    let g = g.holds(p.g().span(), OP, "g")?;
    let w_dec = w_dec.map(|w_dec| w_dec.holds(p.w().span(), OP, "w_dec")).transpose()?;
    let b_dec = b_dec.map(|b_dec| b_dec.holds(dim, OP, "b_dec")).transpose()?;
    let dvalues = dvalues.holds(slots, OP, "dvalues")?;
    let mut sort = Sort::take(&KERNELS, &mut workspace, slots, OP)?;
    let (rows, starts) = (workspace.take::<u32>(slots, OP)?, workspace.take::<u32>(n + 1, OP)?);
    let parts = workspace.take::<f32>(records(p).ok_or(Error::TooLarge)?, OP)?;

    let begin = codes
        .read(Launch::new::<f32>(&IMAGE, "sae_order_keys"))
        .write(&sort.keys[0])
        .write(&sort.items[0])
        .write(&rows)
        .write((!p.given()).then_some(&dvalues))
        .u32(p.rows())
        .u32(n)
        .over([slots.div_ceil(256), 1, 1], 256, 0, chip)?;
    let mut all = [begin; 4 + SORT];
    all[1..=SORT].copy_from_slice(&sort.launches(n, chip)?);
    all[1 + SORT] = sort.starts(sort.keys[0].shared(), &starts, n, chip)?;
    let batch = |name| {
        Launch::new::<T>(&IMAGE, name)
            .read(codes.values)
            .read(b_dec)
            .read(x)
            .read(g)
            .read(w_dec)
            .read(sort.sorted())
            .read(rows.shared())
            .read(starts.shared())
            .write(&dvalues)
            .u32(dim)
            .u32(n)
            .u64(p.x().strides()[0])
            .u64(p.g().strides()[0])
            .u64(p.w().strides()[0])
            .u32(usize::from(p.given()))
    };
    // As many threads as a row has pieces of 16 bytes.
    let block = (dim.div_ceil(16 / size_of::<T>()).next_multiple_of(32)).clamp(64, 256) as u32;
    all[2 + SORT] = batch("sae_backward_hot").read(sort.keys[0].shared()).write(&parts).u32(slots).over(
        [slots.div_ceil(CHUNK), 1, 1],
        block,
        12 * CHUNK,
        chip,
    )?;
    all[3 + SORT] = batch("sae_backward")
        .write(&parts)
        .write(&to.dw_dec.holds(n * dim, OP, "dw_dec")?)
        .write(&to.dw_enc.holds(n * dim, OP, "dw_enc")?)
        .write(&to.db_enc.holds(n, OP, "db_enc")?)
        .u32(usize::from(p.accumulate() == Accumulate::Add))
        .over([n, 1, 1], block, 12 * CHUNK, chip)?;
    Ok(all)
}
