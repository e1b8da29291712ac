//! [`latens_kernels::embed`] on the host.
use crate::rows;
use latens_kernels::{Float, Result, embed::Plan};

/// See [`latens_kernels::embed::forward`].
///
/// # Errors
/// `Range` if an id is not in the table; nothing is written then.
pub fn forward<T: Float>(p: &Plan, table: &[T], ids: &[u32], y: &mut [T]) -> Result<()> {
    p.check(ids)?;
    let [n, dim] = p.out();
    rows::each_one(dim, &mut y[..n * dim], |i, y| {
        y.copy_from_slice(&table[ids[i] as usize * p.table().strides()[0]..][..dim]);
    });
    Ok(())
}
