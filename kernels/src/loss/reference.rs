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
        losses[r] = T::Acc::narrow(if targets[r] == IGNORED { 0.0 } else { surprise(row, targets[r] as usize) });
    }
    Ok(())
}

fn surprise<T: Float>(row: &[T], target: usize) -> f64 {
    let largest = row.iter().map(|x| x.wide()).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| math::exp(x.wide() - largest)).sum();
    math::ln(sum) + largest - row[target].wide()
}
