//! [`latens_kernels::loss`] on the host.
use crate::{Level, math, rows};
use latens_kernels::{
    DType, Float, Result,
    loss::{IGNORED, Plan},
};

/// Logits that stay in the first cache between the search for the largest and the sum.
const TILE: usize = 2048;

/// See [`latens_kernels::loss::forward`]. A row is read once: what was summed so far is scaled when a larger logit comes.
///
/// # Errors
/// `Range` if a target is no class and not [`IGNORED`]; nothing is written then.
pub fn forward<T: Float>(p: &Plan, logits: &[T], targets: &[u32], losses: &mut [T::Acc]) -> Result<()> {
    forward_at(Level::best(), p, logits, targets, losses)
}

/// [`forward`] with the instructions of `level`.
///
/// # Errors
/// As [`forward`].
pub fn forward_at<T: Float>(
    level: Level,
    p: &Plan,
    logits: &[T],
    targets: &[u32],
    losses: &mut [T::Acc],
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::loss::forward(p, logits, targets, losses);
    }
    p.check(targets)?;
    let ([rows, classes], stride) = (p.logits().dims(), p.logits().strides()[0]);
    rows::each_one(1, &mut losses[..rows], |r, loss| {
        let target = targets[r];
        let row = &logits[r * stride..][..classes];
        loss[0] =
            T::Acc::narrow(if target == IGNORED { 0.0 } else { log_sum(level, row) - row[target as usize].wide() });
    });
    Ok(())
}

/// `log(sum(exp(row)))`.
fn log_sum<T: Float>(level: Level, row: &[T]) -> f64 {
    let (mut largest, mut total) = (f32::NEG_INFINITY, 0.0_f64);
    for tile in row.chunks(TILE) {
        let (top, sum) = level.run(
            #[inline(always)]
            |fused| {
                let top = math::max(tile, T::to_f32).max(largest);
                let shift = if top == f32::NEG_INFINITY { 0.0 } else { top };
                (top, math::sum(tile, |x| math::exp(fused, x.to_f32() - shift)))
            },
        );
        if top > largest {
            total *= latens_kernels::math::exp(f64::from(largest) - f64::from(top));
        }
        (largest, total) = (top, total + f64::from(sum));
    }
    if largest == f32::NEG_INFINITY { f64::NAN } else { latens_kernels::math::ln(total) + f64::from(largest) }
}
