use super::{Plan, Reduce, along};
use crate::{Float, order};

/// The definition, a number at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], y: &mut [T::Acc]) {
    let [along, across] = along(&p.x, p.axis);
    for (o, y) in y[..p.out()[0]].iter_mut().enumerate() {
        let entries = (0..p.count()).map(|i| x[o * across + i * along].wide());
        *y = T::Acc::narrow(match p.reduce {
            Reduce::Sum => entries.sum(),
            Reduce::Mean => entries.sum::<f64>() / p.count() as f64,
            Reduce::SumSquares => entries.map(|x| x * x).sum(),
            Reduce::Max => entries.max_by_key(|&x| order(x)).unwrap_or(f64::NEG_INFINITY) + 0.0,
        });
    }
}
