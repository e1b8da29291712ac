use super::Plan;
use crate::{Accumulate, Float, Result};
use alloc::vec;

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

/// The gradient of the table, accumulated in `f64`.
///
/// # Errors
/// As [`forward`].
pub fn backward<T: Float>(p: &Plan, dy: &[T], ids: &[u32], dtable: &mut [T::Acc]) -> Result<()> {
    p.check(ids)?;
    let ([n, dim], mut sums) = (p.out(), vec![0.0; p.table.len()]);
    if p.accumulate == Accumulate::Add {
        sums.iter_mut().zip(&*dtable).for_each(|(sum, held)| *sum = held.wide());
    }
    for i in 0..n {
        for c in 0..dim {
            sums[ids[i] as usize * dim + c] += dy[i * p.rows.strides()[0] + c].wide();
        }
    }
    dtable.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::Acc::narrow(sum));
    Ok(())
}
