//! [`latens_kernels::linear`] on the host.
mod product;

use crate::cast::{cast, cast_mut};
use alloc::{borrow::Cow, vec, vec::Vec};
use latens_kernels::{Accumulate, Float, linear::Plan};
use product::{Matrix, product};

/// See [`latens_kernels::linear::forward`].
pub fn forward<T: Float>(p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let (m, n, k) = (p.m(), p.n(), p.k());
    let (x, w) = (wide(x), wide(w));
    let x = Matrix { data: &x, rows: m, columns: k, down: p.x().strides()[0], across: 1 };
    let w = Matrix { data: &w, rows: k, columns: n, down: 1, across: p.w().strides()[0] };
    with_sums(&mut y[..m * n], p.accumulate(), |y, add| {
        let Some(bias) = bias.filter(|_| n > 0) else { return product(x, w, y, add) };
        for row in y.chunks_exact_mut(n) {
            for (y, &bias) in row.iter_mut().zip(bias) {
                *y = if add { T::Acc::narrow(y.wide() + bias.wide()) } else { bias };
            }
        }
        product(x, w, y, true);
    });
}

/// See [`latens_kernels::linear::backward`].
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    dw: Option<&mut [T::Acc]>,
    db: Option<&mut [T::Acc]>,
) {
    let (m, n, k) = (p.m(), p.n(), p.k());
    let (x, w, dy) = (wide(x), wide(w), wide(dy));
    let [x_row, w_row, dy_row] = [p.x(), p.w(), p.dy()].map(|layout| layout.strides()[0]);
    if let Some(dx) = dx {
        let dy = Matrix { data: &dy, rows: m, columns: n, down: dy_row, across: 1 };
        let w = Matrix { data: &w, rows: n, columns: k, down: w_row, across: 1 };
        with_sums(&mut dx[..m * k], p.accumulate(), |dx, add| product(dy, w, dx, add));
    }
    if let Some(dw) = dw {
        let dy = Matrix { data: &dy, rows: n, columns: m, down: 1, across: dy_row };
        let x = Matrix { data: &x, rows: m, columns: k, down: x_row, across: 1 };
        product(dy, x, &mut dw[..n * k], p.accumulate() == Accumulate::Add);
    }
    if let Some(db) = db {
        let mut sums = vec![0.0; n];
        for i in 0..m {
            for (sum, dy) in sums.iter_mut().zip(&dy[i * dy_row..]) {
                *sum += dy.wide();
            }
        }
        for (db, sum) in db.iter_mut().zip(sums) {
            *db = T::Acc::narrow(if p.accumulate() == Accumulate::Add { db.wide() + sum } else { sum });
        }
    }
}

/// The elements as they are summed.
fn wide<T: Float>(x: &[T]) -> Cow<'_, [T::Acc]> {
    cast(x).map_or_else(|| x.iter().map(|x| T::Acc::from_f32(x.to_f32())).collect::<Vec<_>>().into(), Cow::Borrowed)
}

/// Let `work` write sums to `out`, or to memory of its own that is rounded to `out` after. It is told whether to add.
fn with_sums<T: Float>(out: &mut [T], accumulate: Accumulate, work: impl FnOnce(&mut [T::Acc], bool)) {
    let add = accumulate == Accumulate::Add;
    if let Some(out) = cast_mut(out) {
        return work(out, add);
    }
    let mut sums = if add { wide(out).into_owned() } else { vec![T::Acc::default(); out.len()] };
    work(&mut sums, add);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = T::from_f32(sum.to_f32());
    }
}
