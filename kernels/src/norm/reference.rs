use super::{Norm, Plan};
use crate::{Float, math};
use alloc::vec;

/// The mean of `of(i)` over a row.
fn mean(n: usize, of: impl Fn(usize) -> f64) -> f64 {
    (0..n).map(of).sum::<f64>() / n as f64
}

/// What a row is made smaller by, and then divided by.
fn statistics<T: Float>(p: &Plan, x: &[T]) -> (f64, f64) {
    let center = if p.norm == Norm::Layer { mean(x.len(), |i| x[i].wide()) } else { 0.0 };
    let square = mean(x.len(), |i| (x[i].wide() - center) * (x[i].wide() - center));
    (center, math::sqrt(square + f64::from(p.eps)))
}

/// The definition, a row at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], weight: &[T::Acc], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let [rows, n] = p.out();
    for r in 0..rows {
        let x = &x[r * p.x.strides()[0]..][..n];
        let (center, root) = statistics(p, x);
        for i in 0..n {
            let bias = bias.map_or(0.0, |bias| bias[i].wide());
            y[r * n + i] = T::narrow((x[i].wide() - center) / root * weight[i].wide() + bias);
        }
    }
}

/// The gradients, a row at a time; each only if it is asked for.
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    dy: &[T],
    mut dx: Option<&mut [T]>,
    dweight: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
) {
    let [rows, n] = p.out();
    let mut sums = [vec![0.0; n], vec![0.0; n]];
    for r in 0..rows {
        let (x, dy) = (&x[r * p.x.strides()[0]..][..n], &dy[r * p.dy.strides()[0]..][..n]);
        let (center, root) = statistics(p, x);
        let unit = |i: usize| (x[i].wide() - center) / root;
        let g = |i: usize| dy[i].wide() * weight[i].wide();
        let level = if p.norm == Norm::Layer { mean(n, g) } else { 0.0 };
        let along = mean(n, |i| g(i) * unit(i));
        for i in 0..n {
            sums[0][i] += dy[i].wide() * unit(i);
            sums[1][i] += dy[i].wide();
            if let Some(dx) = &mut dx {
                p.accumulate.put(&mut dx[r * n + i], (g(i) - level - unit(i) * along) / root);
            }
        }
    }
    for (out, sums) in [dweight, dbias].into_iter().zip(sums) {
        for (out, sum) in out.into_iter().flatten().zip(sums) {
            p.accumulate.put(out, sum);
        }
    }
}
