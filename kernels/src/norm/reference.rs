use super::{Norm, Plan};
use crate::{Float, math};

/// The definition, a row at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], weight: &[T::Acc], bias: Option<&[T::Acc]>, y: &mut [T]) {
    for r in 0..p.rows {
        let row = &x[r * p.stride..][..p.n];
        let mean_of = |f: &dyn Fn(f64) -> f64| row.iter().map(|x| f(x.wide())).sum::<f64>() / p.n as f64;
        let center = if p.norm == Norm::Layer { mean_of(&|x| x) } else { 0.0 };
        let root = math::sqrt(mean_of(&|x| (x - center) * (x - center)) + f64::from(p.eps));
        for i in 0..p.n {
            let bias = bias.map_or(0.0, |bias| bias[i].wide());
            y[r * p.n + i] = T::narrow((row[i].wide() - center) / root * weight[i].wide() + bias);
        }
    }
}
