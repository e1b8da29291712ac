use super::Plan;
use crate::{Float, Result};

/// The definition.
///
/// # Errors
/// `Range` if an id is not in the table; nothing is written then.
pub fn forward<T: Float>(p: &Plan, table: &[T], ids: &[u32], y: &mut [T]) -> Result<()> {
    p.check(ids)?;
    let [n, dim] = p.out();
    for i in 0..n {
        let row = ids[i] as usize * p.table.strides()[0];
        y[i * dim..(i + 1) * dim].copy_from_slice(&table[row..row + dim]);
    }
    Ok(())
}
