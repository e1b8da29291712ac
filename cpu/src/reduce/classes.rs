//! [`latens_kernels::reduce::classes`] on the host: rows are put in order of their labels, then a task has some rows of a class
//! and some columns, as in [`moments`](super::moments).
use super::moments::{COLUMNS, FEW, Moments, ROWS};
use crate::once::once;
use crate::{Level, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Accumulate, DType, Float,
    reduce::classes::{self as family, Plan, grown, join},
};

once! {
    /// See [`latens_kernels::reduce::classes::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        labels: &[u32],
        counts: &mut [u32],
        means: &mut [T::Acc],
        squares: &mut [T::Acc],
        ignored: &mut [u32],
    ) = forward_impl;
}

fn forward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    labels: &[u32],
    counts: &mut [u32],
    means: &mut [T::Acc],
    squares: &mut [T::Acc],
    ignored: &mut [u32],
) {
    if T::DTYPE == DType::F64 {
        return family::forward(p, x, labels, counts, means, squares, ignored);
    }
    let ([classes, n], add) = (p.out(), p.accumulate() == Accumulate::Add);
    let (order, starts) = sorted(&labels[..p.x().dims()[0]], classes);
    let members = |class: usize| &order[starts[class]..starts[class + 1]];
    let held = &*counts;
    rows::each(n, &mut means[..classes * n], &mut squares[..classes * n], |class, means, squares| {
        let members = members(class);
        if add && members.is_empty() {
            return;
        }
        let batch = of_class(level, p, x, members);
        let held = if add { f64::from(held[class]) } else { 0.0 };
        for (at, (mean, square)) in means.iter_mut().zip(squares).enumerate() {
            let before = if add { [held, mean.wide(), square.wide()] } else { [0.0; 3] };
            let tile = &batch[at / COLUMNS];
            let here = [tile.count, tile.mean[at % COLUMNS], tile.square[at % COLUMNS]];
            let [center, around] = join(before, here);
            *mean = T::Acc::narrow(if around.is_nan() { f64::NAN } else { center });
            *square = T::Acc::narrow(around);
        }
    });
    for (class, count) in counts[..classes].iter_mut().enumerate() {
        *count = grown(p.accumulate(), *count, members(class).len());
    }
    ignored[0] = grown(p.accumulate(), ignored[0], order.len() - starts[classes]);
}

/// The moments of the rows of a class, by tiles of columns.
fn of_class<T: Float>(level: Level, p: &Plan, x: &[T], members: &[u32]) -> Vec<Moments> {
    let ([_, n], stride, groups) = (p.out(), p.x().strides()[0], members.len().div_ceil(ROWS).max(1));
    let part = |task: usize| {
        let (first, begin) = (task / groups * COLUMNS, task % groups * ROWS);
        let width = COLUMNS.min(n - first);
        let mut all = Moments::none(width);
        for few in members[begin..members.len().min(begin + ROWS)].chunks(FEW) {
            let mut some = [&x[..0]; FEW];
            some.iter_mut().zip(few).for_each(|(row, &i)| *row = &x[i as usize * stride + first..][..width]);
            all.join_rows(level, &some[..few.len()]);
        }
        all
    };
    let parts = rows::collect(n.div_ceil(COLUMNS) * groups, part);
    let whole = |parts: &[Moments]| {
        let mut all = Moments::none(parts[0].mean.len());
        parts.iter().for_each(|part| all.join(part));
        all
    };
    parts.chunks(groups).map(whole).collect()
}

/// The numbers of rows by rising label, those of equal ones in their order and those of none last; those of class `c` are
/// `starts[c]..starts[c + 1]`.
fn sorted(labels: &[u32], classes: usize) -> (Vec<u32>, Vec<usize>) {
    let key = |label: u32| (label as usize).min(classes);
    let mut starts = vec![0; classes + 2];
    labels.iter().for_each(|&label| starts[key(label) + 1] += 1);
    (0..=classes).for_each(|class| starts[class + 1] += starts[class]);
    let (mut next, mut order) = (starts.clone(), vec![0; labels.len()]);
    for (i, &label) in (0_u32..).zip(labels) {
        let to = &mut next[key(label)];
        order[*to] = i;
        *to += 1;
    }
    (order, starts)
}
