//! Launches of [`bias`] and [`mod@track`].
use super::Coded;
use crate::sae::{IMAGE, bias, track};
use crate::{Accumulate, Chip, Float, Launch, Result, Span, SpanMut};

const BIAS: &str = "sae_bias";
/// Rows of `g` and `w_enc` that a block of the bias' gradient adds up.
const PART: usize = 512;
/// Latents that a block of [`dead`] lists.
const LISTED: usize = 4096;

/// The launch of [`bias::forward`].
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn fold<'a, T: Float>(
    p: &bias::Plan,
    chip: &Chip,
    w_enc: Span<'a, T>,
    b_enc: Span<'a, T::Acc>,
    b_dec: Span<'a, T::Acc>,
    out: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    Ok([Launch::new::<T>(&IMAGE, "sae_bias")
        .read(w_enc.holds(p.w().span(), BIAS, "w_enc")?)
        .read(b_enc.holds(p.n(), BIAS, "b_enc")?)
        .read(b_dec.holds(p.dim(), BIAS, "b_dec")?)
        .write(&out.holds(p.n(), BIAS, "bias")?)
        .u32(p.n())
        .u32(p.dim())
        .u64(p.w().strides()[0])
        .over([p.n().div_ceil(8), 1, 1], 256, 0, chip)?])
}

/// Parts of the rows of `g` and `w_enc`: no more than a grid has in its second direction.
fn parts(p: &bias::Plan) -> (usize, usize) {
    let rows = p.g().dims()[0] + p.n();
    let part = rows.div_ceil(65_535).max(PART);
    (part, rows.div_ceil(part))
}

/// Bytes of scratch of [`fold_backward`]: a sum for each part of the rows.
pub fn workspace(p: &bias::Plan) -> usize {
    p.dim().saturating_mul(4 * parts(p).1).saturating_add(256)
}

/// The launches of [`bias::backward`]: sums of parts, then of the parts.
///
/// # Errors
/// As [`fold`].
pub fn fold_backward<'a, T: Float>(
    p: &bias::Plan,
    chip: &Chip,
    g: Span<'a, T>,
    w_enc: Span<'a, T>,
    db_enc: Span<'a, T::Acc>,
    db_dec: SpanMut<'a, T::Acc>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let ((part, count), dim) = (parts(p), p.dim());
    let sums = workspace.take::<f32>(dim * count, BIAS)?;
    Ok([
        Launch::new::<T>(&IMAGE, "sae_bias_parts")
            .read(g.holds(p.g().span(), BIAS, "g")?)
            .read(w_enc.holds(p.w().span(), BIAS, "w_enc")?)
            .read(db_enc.holds(p.n(), BIAS, "db_enc")?)
            .write(&sums)
            .u32(p.g().dims()[0])
            .u32(p.n())
            .u32(dim)
            .u64(p.g().strides()[0])
            .u64(p.w().strides()[0])
            .u32(part)
            .over([dim.div_ceil(32), count, 1], 256, 0, chip)?,
        Launch::new::<f32>(&IMAGE, "sae_bias_sum")
            .read(sums.shared())
            .write(&db_dec.holds(dim, BIAS, "db_dec")?)
            .u32(dim)
            .u32(count)
            .u32(usize::from(p.accumulate() == Accumulate::Add))
            .over([dim.div_ceil(256), 1, 1], 256, 0, chip)?,
    ])
}

/// The launches of [`track::track`]: all are older, then those that fired are new.
///
/// # Errors
/// As [`fold`]; `Type` if the values are no `f32`.
pub fn track<'a, A: Float>(
    p: &track::Plan,
    chip: &Chip,
    codes: Coded<'a, A>,
    since: SpanMut<'a, u32>,
) -> Result<[Launch<'a>; 2]> {
    let codes = codes.checked("sae_track", &p.shape())?;
    let since = since.holds(p.n(), "sae_track", "since")?;
    let fire = codes.read(Launch::new::<A>(&IMAGE, "sae_track_fire"));
    Ok([
        Launch::new::<f32>(&IMAGE, "sae_track_age").write(&since).u32(p.n()).u32(p.tokens as usize).over(
            [p.n().div_ceil(256), 1, 1],
            256,
            0,
            chip,
        )?,
        fire.write(&since).u32(p.shape().rows()).u32(p.n()).f32(p.fired).over(
            [p.shape().rows().div_ceil(8), 1, 1],
            256,
            0,
            chip,
        )?,
    ])
}

/// The launch of [`track::dead`].
///
/// # Errors
/// As [`fold`].
pub fn dead<'a>(
    p: &track::Plan,
    chip: &Chip,
    since: Span<'a, u32>,
    list: SpanMut<'a, u32>,
    count: SpanMut<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    const OP: &str = "sae_dead";
    Ok([Launch::new::<f32>(&IMAGE, "sae_dead")
        .read(since.holds(p.n(), OP, "since")?)
        .write(&list.holds(p.n(), OP, "list")?)
        .write(&count.holds(1, OP, "count")?)
        .u32(p.n())
        .u32(p.limit as usize)
        .u32(LISTED)
        .over([p.n().div_ceil(LISTED).max(1), 1, 1], 1024, 0, chip)?])
}
