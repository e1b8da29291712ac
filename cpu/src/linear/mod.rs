//! [`latens_kernels::linear`] on the host.
mod few;
mod product;

pub use crate::level::Level;
use crate::once::once;
use crate::tile::pack::Matrix;
use alloc::vec;
use core::ops::RangeInclusive;
use latens_kernels::{Accumulate, DType, Float, linear::Plan};

/// Rows of `x` for which not `w` is packed but they are: about a panel of them. For 30 of f32 a product took 0.5 to 0.8 of the time with `w` of
/// 576 or 1536 by 576 or 1536, 0.9 with 49152 by 576 (Emerald Rapids, one thread, beside other work); for 9 and 12 it took up to 1.5 times as long,
/// and so for 48 and 64 with the longest `w`.
const FEW: RangeInclusive<usize> = 17..=32;

once! {
    /// See [`latens_kernels::linear::forward`].
    pub fn forward;
    /// [`forward`] by the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        w: &[T],
        bias: Option<&[T::Acc]>,
        y: &mut [T],
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let ([x_row, w_row, _], [m, n, k]) = (strides(p), [p.m(), p.n(), p.k()]);
    let x = Matrix { data: x, rows: m, columns: k, down: x_row, across: 1 };
    let w = Matrix { data: w, rows: n, columns: k, down: w_row, across: 1 };
    let (y, add) = (&mut y[..m * n], p.accumulate() == Accumulate::Add);
    if (1..=few::MOST).contains(&m) && T::DTYPE != DType::F64 {
        return few::forward(level, x, w, bias, y, add);
    }
    // Rows of f32 are read where they lie.
    if FEW.contains(&m) && T::DTYPE == DType::F32 {
        return product::turned(level, w, x.transposed(), bias, y, add);
    }
    product(level, x, w.transposed(), bias, y, add);
}

once! {
    /// See [`latens_kernels::linear::backward`].
    pub fn backward;
    /// [`backward`] by the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        w: &[T],
        dy: &[T],
        dx: Option<&mut [T]>,
        dw: Option<&mut [T::Acc]>,
        db: Option<&mut [T::Acc]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    dw: Option<&mut [T::Acc]>,
    db: Option<&mut [T::Acc]>,
) {
    let ([x_row, w_row, dy_row], [m, n, k]) = (strides(p), [p.m(), p.n(), p.k()]);
    let x = Matrix { data: x, rows: m, columns: k, down: x_row, across: 1 };
    let w = Matrix { data: w, rows: n, columns: k, down: w_row, across: 1 };
    let dy = Matrix { data: dy, rows: m, columns: n, down: dy_row, across: 1 };
    let add = p.accumulate() == Accumulate::Add;
    if let Some(dx) = dx {
        product(level, dy, w, None, &mut dx[..m * k], add);
    }
    if let Some(dw) = dw {
        product(level, dy.transposed(), x, None, &mut dw[..n * k], add);
    }
    if let Some(db) = db {
        columns(dy, &mut db[..n], add);
    }
}

/// Distances between rows of `x`, `w` and `dy`.
fn strides(p: &Plan) -> [usize; 3] {
    [p.x(), p.w(), p.dy()].map(|layout| layout.strides()[0])
}

/// `out = a·b + bias`, or `out += ..`; `out` is packed.
pub(crate) fn product<T: Float, O: Float>(
    level: Level,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
) {
    match T::DTYPE {
        DType::F64 => product::exact(a, b, bias, out, add),
        _ => product::product(level, a, b, bias, out, add),
    }
}

/// The sum of every column of `dy`, in `f64`.
pub(crate) fn columns<T: Float, O: Float>(dy: Matrix<'_, T>, db: &mut [O], add: bool) {
    let mut sums = vec![0.0; db.len()];
    for i in 0..dy.rows {
        for (sum, dy) in sums.iter_mut().zip(&dy.data[i * dy.down..]) {
            *sum += dy.wide();
        }
    }
    for (db, sum) in db.iter_mut().zip(sums) {
        *db = O::narrow(if add { db.wide() + sum } else { sum });
    }
}
