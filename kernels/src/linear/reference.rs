use super::Plan;
use crate::{Float, Layout};

fn at(layout: Layout<2>, row: usize, column: usize) -> usize {
    row * layout.strides()[0] + column
}

/// `y = x·wᵀ + bias`.
pub fn forward<T: Float>(p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let (m, n, k) = (p.m(), p.n(), p.k());
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let product: f64 = (0..k).map(|c| x[at(p.x, i, c)].wide() * w[at(p.w, j, c)].wide()).sum();
        p.accumulate.put(&mut y[i * n + j], product + bias.map_or(0.0, |bias| bias[j].wide()));
    }
}

/// `dx = dy·w`, `dw = dyᵀ·x`, `db` = the sums of the columns of `dy`; each only if it is asked for.
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
    if let Some(dx) = dx {
        for (i, c) in (0..m).flat_map(|i| (0..k).map(move |c| (i, c))) {
            let sum = (0..n).map(|j| dy[at(p.dy, i, j)].wide() * w[at(p.w, j, c)].wide()).sum();
            p.accumulate.put(&mut dx[i * k + c], sum);
        }
    }
    if let Some(dw) = dw {
        for (j, c) in (0..n).flat_map(|j| (0..k).map(move |c| (j, c))) {
            let sum = (0..m).map(|i| dy[at(p.dy, i, j)].wide() * x[at(p.x, i, c)].wide()).sum();
            p.accumulate.put(&mut dw[j * k + c], sum);
        }
    }
    if let Some(db) = db {
        for (j, db) in db[..n].iter_mut().enumerate() {
            p.accumulate.put(db, (0..m).map(|i| dy[at(p.dy, i, j)].wide()).sum());
        }
    }
}
