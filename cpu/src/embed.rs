//! [`latens_kernels::embed`] on the host.
use crate::once::once;
use crate::{Level, level::prefetch, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{Accumulate, DType, Float, Result, embed::Plan};

once! {
    /// See [`latens_kernels::embed::forward`].
    ///
    /// # Errors
    /// `Range` if an id is not in the table; nothing is written then.
    pub fn forward<T>(p: &Plan, table: &[T], ids: &[u32], y: &mut [T]) -> Result<()> = forward_impl;
}

fn forward_impl<T: Float>(p: &Plan, table: &[T], ids: &[u32], y: &mut [T]) -> Result<()> {
    p.check(ids)?;
    let [n, dim] = p.out();
    rows::each_one(dim, &mut y[..n * dim], |i, y| {
        y.copy_from_slice(&table[ids[i] as usize * p.table().strides()[0]..][..dim]);
    });
    Ok(())
}

once! {
    /// See [`latens_kernels::embed::backward`].
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`: rows are put in the order of their ids, then each row of the table is
    /// summed by one thread.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        dy: &[T],
        ids: &[u32],
        dtable: &mut [T::Acc],
    ) -> Result<()> = backward_impl;
}

fn backward_impl<T: Float>(level: Level, p: &Plan, dy: &[T], ids: &[u32], dtable: &mut [T::Acc]) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::embed::backward(p, dy, ids, dtable);
    }
    p.check(ids)?;
    let ([n, dim], [vocab, _], stride) = (p.out(), p.table().dims(), p.rows().strides()[0]);
    let (order, ends) = sorted(&ids[..n], vocab);
    rows::each_one(dim, &mut dtable[..vocab * dim], |id, sum| {
        if p.accumulate() == Accumulate::Replace {
            sum.fill(T::Acc::default());
        }
        // `Acc` is `f32` here, and no other type comes so far.
        let Some(sum) = crate::cast::cast_mut::<_, f32>(sum) else { return };
        let named = &order[ends[id] as usize..ends[id + 1] as usize];
        for (at, &i) in named.iter().enumerate() {
            let after = named.get(at + 1).map_or(&[][..], |&i| &dy[i as usize * stride..][..dim]);
            add(level, sum, &dy[i as usize * stride..][..dim], after);
        }
    });
    Ok(())
}

/// The numbers of the ids by rising id, those of equal ones in their order; those of `id` are `ends[id]..ends[id + 1]`.
fn sorted(ids: &[u32], vocab: usize) -> (Vec<u32>, Vec<u32>) {
    let mut ends = vec![0; vocab + 1];
    ids.iter().for_each(|&id| ends[id as usize + 1] += 1);
    (0..vocab).for_each(|id| ends[id + 1] += ends[id]);
    let (mut next, mut order) = (ends.clone(), vec![0; ids.len()]);
    for (i, &id) in (0_u32..).zip(ids) {
        let to = &mut next[id as usize];
        order[*to as usize] = i;
        *to += 1;
    }
    (order, ends)
}

/// `sum += row`, while the row that comes after it is asked for.
fn add<T: Float>(level: Level, sum: &mut [f32], row: &[T], after: &[T]) {
    for line in (0..after.len()).step_by(64 / size_of::<T>()) {
        prefetch(after, line);
    }
    level.run(
        #[inline(always)]
        |_| {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += x.to_f32();
            }
        },
    );
}
