use super::{IGNORED, Plan};
use crate::{Float, Result, math};

/// The definition, a row at a time.
///
/// # Errors
/// `Range` if a target is no class and not [`IGNORED`]; nothing is written then.
pub fn forward<T: Float>(p: &Plan, logits: &[T], targets: &[u32], losses: &mut [T::Acc]) -> Result<()> {
    p.check(targets)?;
    let [rows, classes] = p.logits.dims();
    for r in 0..rows {
        let row = &logits[r * p.logits.strides()[0]..][..classes];
        losses[r] = T::Acc::narrow(if targets[r] == IGNORED { 0.0 } else { surprise(p, row, targets[r] as usize) });
    }
    Ok(())
}

/// The gradients, and the losses if they are asked for.
///
/// # Errors
/// As [`forward`].
pub fn backward<T: Float>(
    p: &Plan,
    logits: &[T],
    targets: &[u32],
    dlosses: &[T::Acc],
    losses: Option<&mut [T::Acc]>,
    dlogits: &mut [T],
) -> Result<()> {
    p.check(targets)?;
    if let Some(losses) = losses {
        forward(p, logits, targets, losses)?;
    }
    let [rows, classes] = p.logits.dims();
    for r in 0..rows {
        let row = &mut dlogits[r * classes..][..classes];
        row.copy_from_slice(&logits[r * p.logits.strides()[0]..][..classes]);
        slope(p, row, targets[r], dlosses[r].wide());
    }
    Ok(())
}

/// [`backward`] over the logits themselves: each row becomes its gradient.
///
/// # Errors
/// As [`forward`].
pub fn backward_in_place<T: Float>(
    p: &Plan,
    logits: &mut [T],
    targets: &[u32],
    dlosses: &[T::Acc],
    losses: Option<&mut [T::Acc]>,
) -> Result<()> {
    p.check(targets)?;
    if let Some(losses) = losses {
        forward(p, logits, targets, losses)?;
    }
    let [rows, classes] = p.logits.dims();
    for r in 0..rows {
        let row = &mut logits[r * p.logits.strides()[0]..][..classes];
        slope(p, row, targets[r], dlosses[r].wide());
    }
    Ok(())
}

/// The logarithm of the sum of exponentials.
fn log_sum<T: Float>(row: &[T]) -> f64 {
    let largest = row.iter().map(|x| x.wide()).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| math::exp(x.wide() - largest)).sum();
    math::ln(sum) + largest
}

fn surprise<T: Float>(p: &Plan, row: &[T], target: usize) -> f64 {
    let (log, s) = (log_sum(row), f64::from(p.smoothing));
    let sharp = log - row[target].wide();
    if s == 0.0 {
        return sharp; // 0 times an infinite mean is nothing
    }
    let mean = row.iter().map(|x| x.wide()).sum::<f64>() / row.len() as f64;
    (1.0 - s) * sharp + s * (log - mean)
}

/// A row of logits becomes its gradient.
fn slope<T: Float>(p: &Plan, row: &mut [T], target: u32, dloss: f64) {
    if target == IGNORED {
        return row.fill(T::default());
    }
    let (log, s, classes) = (log_sum(row), f64::from(p.smoothing), row.len() as f64);
    for (c, x) in row.iter_mut().enumerate() {
        let wanted = s / classes + if c == target as usize { 1.0 - s } else { 0.0 };
        *x = T::narrow(dloss * (math::exp(x.wide() - log) - wanted));
    }
}
