use super::{IMAGE, Norm, Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, n] = p.out();
    let x = x.holds(p.span, "norm", "x")?;
    let weight = weight.holds(n, "norm", "weight")?;
    let bias = bias.map(|bias| bias.holds(n, "norm", "bias")).transpose()?;
    let y = y.holds(rows * n, "norm", "y")?;
    Ok([Launch::new::<T>(&IMAGE, "norm_rows")
        .read(x)
        .read(weight)
        .read(bias)
        .write(&y)
        .u32(n)
        .u64(p.stride)
        .f32(p.eps)
        .u32(usize::from(p.norm == Norm::Layer))
        .over([if n == 0 { 0 } else { rows }, 1, 1], BLOCK, 0, chip)?])
}
