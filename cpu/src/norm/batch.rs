//! [`latens_kernels::norm::batch`] on the host: sums over rows in `f32` by blocks of rows, over blocks in `f64`, in their order.
use crate::once::once;
use crate::{Level, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Accumulate, DType, Float, Result,
    norm::batch::{self as family, Plan},
};

/// Rows of a block.
const ROWS: usize = 128;

/// What a column is to its entries.
#[derive(Clone, Copy)]
struct Column {
    mean: f32,
    factor: f32,
    scale: f32,
    shift: f32,
}

/// Of all columns; `shift` is the bias.
fn columns<A: Float>(p: &Plan, mean: &[A], variance: &[A], weight: &[A], bias: Option<&[A]>) -> Vec<Column> {
    let of = |j: usize| {
        let root = latens_kernels::math::sqrt(variance[j].wide() + f64::from(p.eps()));
        let (factor, shift) = ((1.0 / root) as f32, bias.map_or(0.0, |bias| bias[j].to_f32()));
        Column { mean: mean[j].to_f32(), factor, scale: (weight[j].wide() / root) as f32, shift }
    };
    (0..p.out()[1]).map(of).collect()
}

once! {
    /// See [`latens_kernels::norm::batch::train`].
    ///
    /// # Errors
    /// None for a plan that was made.
    pub fn train;
    /// [`train`] with the instructions of `level`.
    ///
    /// # Errors
    /// As [`train`].
    pub fn train_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        y: &mut [T],
        mean: &mut [T::Acc],
        variance: &mut [T::Acc],
    ) -> Result<()> = train_impl;
}

fn train_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    y: &mut [T],
    mean: &mut [T::Acc],
    variance: &mut [T::Acc],
) -> Result<()> {
    crate::reduce::moments::forward_at(level, &p.moments()?, x, mean, variance);
    forward_at(level, p, x, mean, variance, weight, bias, y);
    Ok(())
}

once! {
    /// See [`latens_kernels::norm::batch::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        mean: &[T::Acc],
        variance: &[T::Acc],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        y: &mut [T],
    ) = forward_impl;
}

fn forward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    mean: &[T::Acc],
    variance: &[T::Acc],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    y: &mut [T],
) {
    if T::DTYPE == DType::F64 {
        return family::forward(p, x, mean, variance, weight, bias, y);
    }
    let ([rows, n], columns) = (p.out(), columns(p, mean, variance, weight, bias));
    rows::each_one(n, &mut y[..rows * n], |r, y| {
        let row = &x[r * p.x().strides()[0]..][..n];
        level.run(
            #[inline(always)]
            |_| {
                for ((y, x), column) in y.iter_mut().zip(row).zip(&columns) {
                    *y = T::from_f32((x.to_f32() - column.mean) * column.scale + column.shift);
                }
            },
        );
    });
}

once! {
    /// See [`latens_kernels::norm::batch::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        statistics: [&[T::Acc]; 3],
        dy: &[T],
        dx: Option<&mut [T]>,
        dweight: Option<&mut [T::Acc]>,
        dbias: Option<&mut [T::Acc]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    [mean, variance, weight]: [&[T::Acc]; 3],
    dy: &[T],
    dx: Option<&mut [T]>,
    dweight: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
) {
    if T::DTYPE == DType::F64 {
        return family::backward(p, x, [mean, variance, weight], dy, dx, dweight, dbias);
    }
    let ([rows, n], add) = (p.out(), p.accumulate() == Accumulate::Add);
    let columns = columns(p, mean, variance, weight, None);
    let row_of = |r: usize| (&x[r * p.x().strides()[0]..][..n], &dy[r * p.dy().strides()[0]..][..n]);
    let [along, all] = sums(level, rows, &columns, row_of);
    if let Some(dx) = dx {
        let share = 1.0 / rows as f32;
        let [along, all] = [&along, &all].map(|sums| sums.iter().map(|&sum| sum as f32 * share).collect::<Vec<_>>());
        rows::each_one(n, &mut dx[..rows * n], |r, dx| {
            let (x, dy) = row_of(r);
            level.run(
                #[inline(always)]
                |_| {
                    let sums = along.iter().zip(&all).zip(&columns);
                    for (((dx, x), dy), ((along, all), column)) in dx.iter_mut().zip(x).zip(dy).zip(sums) {
                        let unit = (x.to_f32() - column.mean) * column.factor;
                        let slope = column.scale * (dy.to_f32() - (all + unit * along));
                        *dx = T::from_f32(if add { dx.to_f32() + slope } else { slope });
                    }
                },
            );
        });
    }
    for (out, sums) in [dweight, dbias].into_iter().zip([along, all]) {
        for (out, sum) in out.into_iter().flatten().zip(sums) {
            *out = T::Acc::narrow(if add { out.wide() + sum } else { sum });
        }
    }
}

/// The sums over rows of `dy u` and of `dy`.
fn sums<'a, T: Float>(
    level: Level,
    rows: usize,
    columns: &[Column],
    row_of: impl Fn(usize) -> (&'a [T], &'a [T]) + Sync + Send,
) -> [Vec<f64>; 2] {
    let n = columns.len();
    let blocks = rows::collect(rows.div_ceil(ROWS), |block| {
        let mut sums = [vec![0.0_f32; n], vec![0.0_f32; n]];
        for r in block * ROWS..rows.min((block + 1) * ROWS) {
            let ((x, dy), [along, all]) = (row_of(r), &mut sums);
            level.run(
                #[inline(always)]
                |_| {
                    for ((((along, all), x), dy), column) in along.iter_mut().zip(all).zip(x).zip(dy).zip(columns) {
                        let d = dy.to_f32();
                        *along += d * ((x.to_f32() - column.mean) * column.factor);
                        *all += d;
                    }
                },
            );
        }
        sums
    });
    let mut totals = [vec![0.0_f64; n], vec![0.0_f64; n]];
    for block in &blocks {
        for (total, sums) in totals.iter_mut().zip(block) {
            total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
        }
    }
    totals
}
