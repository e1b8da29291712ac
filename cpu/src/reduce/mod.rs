//! [`latens_kernels::reduce`] on the host.
pub mod classes;
pub mod moments;
pub mod pearson;

use crate::once::once;
use crate::{Level, math, rows};
use latens_kernels::{
    DType, Float,
    reduce::{Plan, Reduce},
};

/// Columns that one thread sums at a time, and rows between two roundings to the total.
const COLUMNS: usize = 256;
const ROWS: usize = 256;

once! {
    /// See [`latens_kernels::reduce::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, x: &[T], y: &mut [T::Acc]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], y: &mut [T::Acc]) {
    // The reference ranks by integers; where there may be nothing but NaN the plain loops cannot tell.
    if T::DTYPE == DType::F64 || p.count() == 0 {
        return latens_kernels::reduce::forward(p, x, y);
    }
    let y = &mut y[..p.out()[0]];
    match p.axis() {
        0 => rows::each_one(COLUMNS, y, |c, y| columns(level, p, x, c * COLUMNS, y)),
        _ => rows::each_one(1, y, |r, y| {
            y[0] = T::Acc::from_f32(row(level, p, &x[r * p.x().strides()[0]..][..p.count()]))
        }),
    }
}

fn row<T: Float>(level: Level, p: &Plan, row: &[T]) -> f32 {
    level.run(
        #[inline(always)]
        |_| match p.reduce() {
            Reduce::Sum => math::sum(row, T::to_f32),
            Reduce::Mean => math::sum(row, T::to_f32) / row.len() as f32,
            Reduce::SumSquares => math::sum(row, |x| x.to_f32() * x.to_f32()),
            Reduce::Max => {
                let top = math::max(row, T::to_f32);
                let nothing = top == f32::NEG_INFINITY && row.iter().all(|x| x.wide().is_nan());
                if nothing { f32::NAN } else { top + 0.0 }
            }
        },
    )
}

fn columns<T: Float>(level: Level, p: &Plan, x: &[T], first: usize, y: &mut [T::Acc]) {
    let (rows, stride) = (p.count(), p.x().strides()[0]);
    let (mut total, n) = ([0.0_f64; COLUMNS], y.len());
    let mut top = [f32::NAN; COLUMNS];
    for begin in (0..rows).step_by(ROWS) {
        let mut sum = [0.0_f32; COLUMNS];
        for r in begin..rows.min(begin + ROWS) {
            let row = &x[r * stride + first..][..n];
            level.run(
                #[inline(always)]
                |_| match p.reduce() {
                    Reduce::Max => {
                        for (top, x) in top.iter_mut().zip(row) {
                            *top = if x.to_f32() > *top || top.is_nan() { x.to_f32() } else { *top };
                        }
                    }
                    Reduce::SumSquares => {
                        for (sum, x) in sum.iter_mut().zip(row) {
                            *sum += x.to_f32() * x.to_f32();
                        }
                    }
                    Reduce::Sum | Reduce::Mean => {
                        for (sum, x) in sum.iter_mut().zip(row) {
                            *sum += x.to_f32();
                        }
                    }
                },
            );
        }
        total.iter_mut().zip(sum).for_each(|(total, sum)| *total += f64::from(sum));
    }
    for ((y, total), top) in y.iter_mut().zip(total).zip(top) {
        *y = T::Acc::narrow(match p.reduce() {
            Reduce::Max => f64::from(top) + 0.0,
            Reduce::Mean => total / rows as f64,
            Reduce::Sum | Reduce::SumSquares => total,
        });
    }
}
