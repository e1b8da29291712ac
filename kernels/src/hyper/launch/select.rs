//! The launch of [`select`](crate::hyper::select).
use super::{BLOCK, Rows};
use crate::hyper::{IMAGE, select::Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const OP: &str = "hyper_topk";
/// So few members are sorted as they are.
const WHOLE: usize = 256;
/// Bytes of the bins of one digit: twin of `select.cuh`.
const DIGIT: usize = 4 << 11;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices, `Type` for `f64`.
pub fn launch<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    of: Rows<'a>,
    scores: Span<'a, A>,
    values: SpanMut<'a, A>,
    members: SpanMut<'a, u32>,
) -> Result<[Launch<'a>; 1]> {
    let (shape, [rows, k]) = (p.shape(), p.out());
    let of = of.checked(OP, &shape)?;
    let room = k.max(WHOLE);
    Ok([of
        .read(Launch::new::<A>(&IMAGE, "hyper_select"), &shape)
        .read(scores.holds(shape.columns(), OP, "scores")?)
        .write(&values.holds(rows * k, OP, "values")?)
        .write(&members.holds(rows * k, OP, "members")?)
        .u32(k)
        .u32(room)
        .over([if k == 0 { 0 } else { rows }, 1, 1], BLOCK as u32, 8 * room + DIGIT, chip)?])
}
