use super::{IMAGE, Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    logits: Span<'a, T>,
    targets: Span<'a, u32>,
    losses: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, classes] = p.logits.dims();
    let logits = logits.holds(p.logits.span(), "loss", "logits")?;
    let targets = targets.holds(rows, "loss", "targets")?;
    let losses = losses.holds(rows, "loss", "losses")?;
    Ok([Launch::new::<T>(&IMAGE, "loss_rows")
        .read(logits)
        .read(targets)
        .write(&losses)
        .u32(classes)
        .u64(p.logits.strides()[0])
        .over([rows, 1, 1], BLOCK, 0, chip)?])
}
