//! [`latens_kernels::norm`] on the host.
pub mod batch;

use crate::once::once;
use crate::{Level, math, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Accumulate, DType, Float,
    norm::{Norm, Plan},
};

/// Rows of a block that sums over rows go by.
const ROWS: usize = 16;

once! {
    /// See [`latens_kernels::norm::forward`]. Statistics in `f32`, of the row less its mean.
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        y: &mut [T],
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], weight: &[T::Acc], bias: Option<&[T::Acc]>, y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::norm::forward(p, x, weight, bias, y);
    }
    let [rows, n] = p.out();
    rows::each_one(n, &mut y[..rows * n], |r, y| {
        let row = &x[r * p.x().strides()[0]..][..n];
        level.run(
            #[inline(always)]
            |_| {
                let center = if p.norm() == Norm::Layer { math::sum(row, T::to_f32) / n as f32 } else { 0.0 };
                let square = math::sum(row, |x| (x.to_f32() - center) * (x.to_f32() - center)) / n as f32;
                let factor = factor(square, p);
                let scaled = |x: T, w: T::Acc| (x.to_f32() - center) * factor * w.to_f32();
                let row = row.iter().zip(weight);
                match bias {
                    Some(bias) => {
                        for ((y, (&x, &w)), b) in y.iter_mut().zip(row).zip(bias) {
                            *y = T::from_f32(scaled(x, w) + b.to_f32());
                        }
                    }
                    None => {
                        for (y, (&x, &w)) in y.iter_mut().zip(row) {
                            *y = T::from_f32(scaled(x, w));
                        }
                    }
                }
            },
        );
    });
}

/// What a row is multiplied by.
fn factor(square: f32, p: &Plan) -> f32 {
    (1.0 / latens_kernels::math::sqrt(f64::from(square) + f64::from(p.eps()))) as f32
}

once! {
    /// See [`latens_kernels::norm::backward`]. Sums over rows in `f32` by blocks of a few rows, over blocks in `f64`.
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
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
    weight: &[T::Acc],
    dy: &[T],
    dx: Option<&mut [T]>,
    dweight: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::norm::backward(p, x, weight, dy, dx, dweight, dbias);
    }
    let [rows, n] = p.out();
    if n == 0 {
        return;
    }
    let asked = [dweight.is_some(), dbias.is_some()];
    let block = |first: usize, mut dx: Option<&mut [T]>| {
        let mut sums = asked.map(|asked| vec![0.0; if asked { n } else { 0 }]);
        for r in first..(first + ROWS).min(rows) {
            let [x, dy] = [(x, p.x()), (dy, p.dy())].map(|(of, layout)| &of[r * layout.strides()[0]..][..n]);
            let dx = dx.as_deref_mut().map(|dx| &mut dx[(r - first) * n..][..n]);
            row(level, p, x, weight, dy, dx, &mut sums);
        }
        sums
    };
    let blocks = match dx {
        Some(dx) => rows::gather(ROWS * n, &mut dx[..rows * n], |at, dx| block(at / n, Some(dx))),
        None => rows::collect(rows.div_ceil(ROWS), |at| block(at * ROWS, None)),
    };
    for (which, out) in [dweight, dbias].into_iter().enumerate() {
        let Some(out) = out else { continue };
        rows::pieces(&mut out[..n], |at, out| {
            let mut total = vec![0.0_f64; out.len()];
            for block in &blocks {
                total.iter_mut().zip(&block[which][at..]).for_each(|(total, &sum)| *total += f64::from(sum));
            }
            for (out, total) in out.iter_mut().zip(total) {
                *out = T::Acc::narrow(if p.accumulate() == Accumulate::Add { out.wide() + total } else { total });
            }
        });
    }
}

/// The gradient of a row, and what it adds to the sums over rows, those of `dweight` and `dbias`; empty ones are not asked for.
fn row<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    dy: &[T],
    dx: Option<&mut [T]>,
    [of_weight, of_bias]: &mut [Vec<f32>; 2],
) {
    let (count, add) = (x.len() as f32, p.accumulate() == Accumulate::Add);
    level.run(
        #[inline(always)]
        |_| {
            let [center, mean] = match p.norm() {
                Norm::Rms => [0.0; 2],
                Norm::Layer => math::sums(x, weight, dy, |x, w, dy| [x.to_f32(), dy.to_f32() * w.to_f32()]),
            }
            .map(|sum| sum / count);
            let [square, along] = math::sums(x, weight, dy, |x, w, dy| {
                let off = x.to_f32() - center;
                [off * off, dy.to_f32() * w.to_f32() * off]
            });
            let factor = factor(square / count, p);
            let along = along / count * factor;
            if let Some(dx) = dx {
                for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
                    let unit = (x.to_f32() - center) * factor;
                    let slope = (dy.to_f32() * w.to_f32() - mean - unit * along) * factor;
                    *dx = T::from_f32(if add { dx.to_f32() + slope } else { slope });
                }
            }
            for ((sum, x), dy) in of_weight.iter_mut().zip(x).zip(dy) {
                *sum += dy.to_f32() * ((x.to_f32() - center) * factor);
            }
            for (sum, dy) in of_bias.iter_mut().zip(dy) {
                *sum += dy.to_f32();
            }
        },
    );
}
