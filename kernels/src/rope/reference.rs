use super::Plan;
use crate::{Float, math};

/// The definition, a pair at a time; which way, the plan says.
pub fn forward<T: Float>(p: &Plan, x: &mut [T], positions: &[u32]) {
    let [tokens, heads, dim] = p.dims;
    for (t, &position) in positions[..tokens].iter().enumerate() {
        for i in 0..dim / 2 {
            let (sin, cos) = math::sin_cos(f64::from(position) * p.rate(i));
            for h in 0..heads {
                let [a, b] = p.pair(i).map(|at| t * p.strides[0] + h * p.strides[1] + at);
                let (u, v) = (x[a].wide(), x[b].wide());
                (x[a], x[b]) = (T::narrow(u * cos - v * sin), T::narrow(u * sin + v * cos));
            }
        }
    }
}
