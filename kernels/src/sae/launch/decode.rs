//! Launches of [`decode`](crate::sae::decode).
use super::Coded;
use crate::sae::{IMAGE, decode::Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_decode";
/// Rows of a block: a warp for each.
const ROWS: usize = 8;

/// What the result is compared with, and the outcome.
pub struct Against<'a, T: Float> {
    /// `[rows, dim]`, laid out as the plan says.
    pub x: Span<'a, T>,
    /// `x - x̂`.
    pub residual: SpanMut<'a, T>,
    /// The sum of its squares, for each row.
    pub error: SpanMut<'a, T::Acc>,
}

/// Slabs of 16 bytes a lane.
fn slabs<T>(p: &Plan) -> usize {
    p.dim().div_ceil(32 * (16 / size_of::<T>()))
}

/// Bytes of scratch of [`launch`]: the squared error of each row and slab.
pub fn workspace<T: Float>(p: &Plan) -> usize {
    if p.x().is_some() { p.rows().saturating_mul(4 * slabs::<T>(p)).saturating_add(256) } else { 0 }
}

/// The launches of one call: gather, then add the errors of slabs.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Coded<'a, T::Acc>,
    w_dec: Span<'a, T>,
    b_dec: Option<Span<'a, T::Acc>>,
    recon: SpanMut<'a, T>,
    against: Option<Against<'a, T>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let (rows, dim, slabs) = (p.rows(), p.dim(), slabs::<T>(p));
    let codes = codes.checked(OP, &p.shape())?;
    let w_dec = w_dec.holds(p.w().span(), OP, "w_dec")?;
    let b_dec = b_dec.map(|b_dec| b_dec.holds(dim, OP, "b_dec")).transpose()?;
    let recon = recon.holds(rows * dim, OP, "recon")?;
    let (mut x, mut residual, mut error, mut errors) = (None, None, None, None);
    if let (Some(against), Some(layout)) = (against, p.x()) {
        x = Some(against.x.holds(layout.span(), OP, "x")?);
        residual = Some(against.residual.holds(rows * dim, OP, "residual")?);
        error = Some(against.error.holds(rows, OP, "error")?);
        errors = Some(workspace.take::<f32>(rows * slabs, OP)?);
    }
    let summed = if error.is_some() { rows.div_ceil(256) } else { 0 };
    Ok([
        codes
            .read(Launch::new::<T>(&IMAGE, "sae_decode"))
            .read(w_dec)
            .read(b_dec)
            .read(x)
            .write(&recon)
            .write(residual.as_ref())
            .write(errors.as_ref())
            .u32(rows)
            .u32(dim)
            .u32(p.n())
            .u64(p.w().strides()[0])
            .u64(p.x().map_or(0, |x| x.strides()[0]))
            .u32(slabs)
            .over([rows.div_ceil(ROWS), slabs, 1], 32 * ROWS as u32, 0, chip)?,
        Launch::new::<f32>(&IMAGE, "sae_decode_error")
            .read(errors.as_ref().map(SpanMut::shared))
            .write(error.as_ref())
            .u32(rows)
            .u32(slabs)
            .over([summed, 1, 1], 256, 0, chip)?,
    ])
}
