//! [`latens_kernels::reduce::moments`] on the host. Of columns, a task has some rows of some columns; of those it takes few
//! at a time, which stay in the nearest cache: their mean, then the squares around it, both in `f32`; parts join in `f64`.
use crate::once::once;
use crate::{Level, math, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::reduce::classes::join;
use latens_kernels::{
    Accumulate, DType, Float,
    reduce::moments::{self as family, Plan},
};

/// Columns of a task.
pub(super) const COLUMNS: usize = 128;
/// Rows that are looked at together.
pub(super) const FEW: usize = 32;
/// Rows of a task.
pub(super) const ROWS: usize = 1024;
/// Entries of a row that are added up in `f32`.
const PIECE: usize = 4096;

/// Mean and squares of some columns, of so many rows.
#[derive(Clone)]
pub(super) struct Moments {
    pub(super) count: f64,
    pub(super) mean: Vec<f64>,
    pub(super) square: Vec<f64>,
}

impl Moments {
    /// Of no rows.
    pub(super) fn none(columns: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; columns], square: vec![0.0; columns] }
    }

    /// With the rows of another part.
    pub(super) fn join(&mut self, other: &Self) {
        for ((mean, square), (&center, &around)) in
            self.mean.iter_mut().zip(&mut self.square).zip(other.mean.iter().zip(&other.square))
        {
            [*mean, *square] = join([self.count, *mean, *square], [other.count, center, around]);
        }
        self.count += other.count;
    }

    /// With some rows, at most [`FEW`], all of one width.
    pub(super) fn join_rows<T: Float>(&mut self, level: Level, some: &[&[T]]) {
        let Some(first) = some.first() else { return };
        let (mut from, mut mean, mut square) = ([0.0_f32; COLUMNS], [0.0_f32; COLUMNS], [0.0_f32; COLUMNS]);
        let (n, count) = (first.len(), some.len() as f64);
        level.run(
            #[inline(always)]
            |_| {
                anchors(first, &mut from);
                center(some, &from, &mut mean);
                for row in some {
                    for (((square, x), from), mean) in square[..n].iter_mut().zip(*row).zip(&from).zip(&mean) {
                        let off = (x.to_f32() - from) - mean;
                        *square += off * off;
                    }
                }
                let (share, weight) = (count / (self.count + count), self.count * count / (self.count + count));
                let parts = from.iter().zip(&mean).zip(&square);
                for ((to, around), ((&from, &mean), &square)) in self.mean.iter_mut().zip(&mut self.square).zip(parts) {
                    let off = f64::from(from) + f64::from(mean) - *to;
                    *to += off * share;
                    *around += f64::from(square) + off * off * weight;
                }
            },
        );
        self.count += count;
    }

    /// The mean, which is no number where an entry was none.
    pub(super) fn center(&self, at: usize) -> f64 {
        if self.square[at].is_nan() { f64::NAN } else { self.mean[at] }
    }
}

/// What differences are taken from: a row, and 0 where it is not finite.
#[inline(always)]
pub(super) fn anchors<T: Float>(row: &[T], from: &mut [f32; COLUMNS]) {
    for (from, x) in from.iter_mut().zip(row) {
        let x = x.to_f32();
        *from = if x.abs() < f32::INFINITY { x } else { 0.0 };
    }
}

/// The mean of rows, less `from`.
#[inline(always)]
pub(super) fn center<T: Float>(some: &[&[T]], from: &[f32; COLUMNS], mean: &mut [f32; COLUMNS]) {
    for row in some {
        for ((mean, x), from) in mean.iter_mut().zip(*row).zip(from) {
            *mean += x.to_f32() - from;
        }
    }
    mean.iter_mut().for_each(|mean| *mean /= some.len() as f32);
}

once! {
    /// See [`latens_kernels::reduce::moments::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        mean: &mut [T::Acc],
        variance: &mut [T::Acc],
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], mean: &mut [T::Acc], variance: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 || p.count() == 0 {
        return family::forward(p, x, mean, variance);
    }
    let ([out], stride, count) = (p.out(), p.x().strides()[0], p.count() as f64);
    let (mean, variance) = (&mut mean[..out], &mut variance[..out]);
    if p.axis() == 1 {
        return rows::each(1, mean, variance, |r, mean, variance| {
            let [center, square] = of_row(level, &x[r * stride..][..p.count()]);
            (mean[0], variance[0]) = (T::Acc::narrow(center), T::Acc::narrow(square / count));
        });
    }
    let groups = p.count().div_ceil(ROWS);
    let part = |task: usize| {
        let (first, begin) = (task / groups * COLUMNS, task % groups * ROWS);
        let (n, end) = (COLUMNS.min(out - first), p.count().min(begin + ROWS));
        let mut all = Moments::none(n);
        for begin in (begin..end).step_by(FEW) {
            let mut some = [&x[..0]; FEW];
            let count = FEW.min(end - begin);
            (0..count).for_each(|i| some[i] = &x[(begin + i) * stride + first..][..n]);
            all.join_rows(level, &some[..count]);
        }
        all
    };
    let parts = rows::collect(out.div_ceil(COLUMNS) * groups, part);
    for (tile, parts) in parts.chunks(groups).enumerate() {
        let mut all = Moments::none(parts[0].mean.len());
        parts.iter().for_each(|part| all.join(part));
        for at in 0..all.mean.len() {
            mean[tile * COLUMNS + at] = T::Acc::narrow(all.center(at));
            variance[tile * COLUMNS + at] = T::Acc::narrow(all.square[at] / count);
        }
    }
}

/// Mean and squares of a row.
fn of_row<T: Float>(level: Level, row: &[T]) -> [f64; 2] {
    let from = Some(row[0].to_f32()).filter(|x| x.is_finite()).unwrap_or(0.0);
    let total = |of: &dyn Fn(&[T]) -> f32| row.chunks(PIECE).map(|piece| f64::from(of(piece))).sum::<f64>();
    let sum = total(&|piece| {
        level.run(
            #[inline(always)]
            |_| math::sum(piece, |x| x.to_f32() - from),
        )
    });
    let center = sum / row.len() as f64;
    let near = center as f32;
    let square = total(&|piece| {
        level.run(
            #[inline(always)]
            |_| {
                math::sum(piece, |x| {
                    let off = (x.to_f32() - from) - near;
                    off * off
                })
            },
        )
    });
    [if square.is_nan() { f64::NAN } else { f64::from(from) + center }, square]
}

once! {
    /// See [`latens_kernels::reduce::moments::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        mean: &[T::Acc],
        dmean: Option<&[T::Acc]>,
        dvariance: Option<&[T::Acc]>,
        dx: &mut [T],
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    mean: &[T::Acc],
    dmean: Option<&[T::Acc]>,
    dvariance: Option<&[T::Acc]>,
    dx: &mut [T],
) {
    if T::DTYPE == DType::F64 {
        return family::backward(p, x, mean, dmean, dvariance, dx);
    }
    let ([rows, n], share, add) = (p.x().dims(), 1.0 / p.count() as f32, p.accumulate() == Accumulate::Add);
    let put = |dx: &mut T, slope: f32| *dx = T::from_f32(if add { dx.to_f32() + slope } else { slope });
    // Slope and mean of a number, and with them of its entries.
    let of = |at: usize| {
        let [first, second] = [dmean, dvariance].map(|slopes| slopes.map_or(0.0, |slopes| slopes[at].to_f32()) * share);
        [first, 2.0 * second, if dvariance.is_some() { mean[at].to_f32() } else { 0.0 }]
    };
    let numbers: Vec<[f32; 3]> = (0..p.out()[0]).map(of).collect();
    let spread = dvariance.is_some();
    rows::each_one(n, &mut dx[..rows * n], |r, dx| {
        let row = &x[r * p.x().strides()[0]..][..n];
        level.run(
            #[inline(always)]
            |_| match (p.axis(), spread) {
                (1, true) => dx.iter_mut().zip(row).for_each(|(dx, x)| {
                    let [first, second, mean] = numbers[r];
                    put(dx, first + second * (x.to_f32() - mean));
                }),
                (1, false) => dx.iter_mut().for_each(|dx| put(dx, numbers[r][0])),
                (_, true) => dx.iter_mut().zip(row).zip(&numbers).for_each(|((dx, x), &[first, second, mean])| {
                    put(dx, first + second * (x.to_f32() - mean));
                }),
                (_, false) => dx.iter_mut().zip(&numbers).for_each(|(dx, &[first, ..])| put(dx, first)),
            },
        );
    });
}
