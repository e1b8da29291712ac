use super::{IMAGE, Plan, mse};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;

/// One launch of the kernel: what is absent is not computed. `pitch` is the distance between rows of `dlogits`.
fn rows<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    logits: Span<'a, T>,
    targets: Span<'a, u32>,
    dlosses: Option<Span<'a, T::Acc>>,
    losses: Option<SpanMut<'a, T::Acc>>,
    (dlogits, pitch): (Option<&SpanMut<'a, T>>, usize),
) -> Result<[Launch<'a>; 1]> {
    let [rows, classes] = p.logits.dims();
    let logits = logits.holds(p.logits.span(), "loss", "logits")?;
    let targets = targets.holds(rows, "loss", "targets")?;
    let dlosses = dlosses.map(|dlosses| dlosses.holds(rows, "loss", "dlosses")).transpose()?;
    let losses = losses.map(|losses| losses.holds(rows, "loss", "losses")).transpose()?;
    Ok([Launch::new::<T>(&IMAGE, "loss_rows")
        .read(logits)
        .read(targets)
        .read(dlosses)
        .write(losses.as_ref())
        .write(dlogits)
        .u32(classes)
        .u64(p.logits.strides()[0])
        .u64(pitch)
        .f32(p.smoothing)
        .over([rows, 1, 1], BLOCK, 0, chip)?])
}

/// The launch of a forward call.
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
    rows(p, chip, logits, targets, None, Some(losses), (None, 0))
}

/// The launch of a backward call.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    logits: Span<'a, T>,
    targets: Span<'a, u32>,
    dlosses: Span<'a, T::Acc>,
    losses: Option<SpanMut<'a, T::Acc>>,
    dlogits: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let dlogits = dlogits.holds(p.logits.len(), "loss", "dlogits")?;
    rows(p, chip, logits, targets, Some(dlosses), losses, (Some(&dlogits), p.logits.dims()[1]))
}

/// The launch of a backward call over the logits themselves.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward_in_place<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    logits: SpanMut<'a, T>,
    targets: Span<'a, u32>,
    dlosses: Span<'a, T::Acc>,
    losses: Option<SpanMut<'a, T::Acc>>,
) -> Result<[Launch<'a>; 1]> {
    rows(p, chip, logits.shared(), targets, Some(dlosses), losses, (Some(&logits), p.logits.strides()[0]))
}

/// The launch of [`mse`]: what is absent is not computed.
fn squares<'a, T: Float>(
    p: &mse::Plan,
    chip: &Chip,
    [x, y]: [Span<'a, T>; 2],
    dlosses: Option<Span<'a, T::Acc>>,
    losses: Option<SpanMut<'a, T::Acc>>,
    dx: Option<SpanMut<'a, T>>,
) -> Result<[Launch<'a>; 1]> {
    let [rows, n] = p.x.dims();
    let x = x.holds(p.x.span(), mse::OP, "x")?;
    let y = y.holds(p.y.span(), mse::OP, "y")?;
    let dlosses = dlosses.map(|dlosses| dlosses.holds(rows, mse::OP, "dlosses")).transpose()?;
    let losses = losses.map(|losses| losses.holds(rows, mse::OP, "losses")).transpose()?;
    let dx = dx.map(|dx| dx.holds(rows * n, mse::OP, "dx")).transpose()?;
    Ok([Launch::new::<T>(&IMAGE, "loss_squares")
        .read(x)
        .read(y)
        .read(dlosses)
        .write(losses.as_ref())
        .write(dx.as_ref())
        .u32(n)
        .u64(p.x.strides()[0])
        .u64(p.y.strides()[0])
        .u32(usize::from(p.normalise))
        .f32(mse::EPSILON)
        .over([rows, 1, 1], BLOCK, 0, chip)?])
}

/// The launch of a forward call of [`mse`].
///
/// # Errors
/// As [`launch`].
pub fn launch_mse<'a, T: Float>(
    p: &mse::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: Span<'a, T>,
    losses: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    squares(p, chip, [x, y], None, Some(losses), None)
}

/// The launch of a backward call of [`mse`].
///
/// # Errors
/// As [`launch`].
pub fn launch_mse_backward<'a, T: Float>(
    p: &mse::Plan,
    chip: &Chip,
    x: Span<'a, T>,
    y: Span<'a, T>,
    dlosses: Span<'a, T::Acc>,
    losses: Option<SpanMut<'a, T::Acc>>,
    dx: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    squares(p, chip, [x, y], Some(dlosses), losses, Some(dx))
}
