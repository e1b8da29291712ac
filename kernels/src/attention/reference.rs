use super::Plan;
use crate::{Float, math};
use alloc::vec::Vec;

/// The definition, a query at a time.
pub fn forward<T: Float>(p: &Plan, q: &[T], k: &[T], v: &[T], y: &mut [T]) {
    let [batch, t, heads, dim] = p.out();
    let at = |s: [usize; 4], b: usize, i: usize, h: usize| b * s[0] + i * s[1] + h * s[2];
    let [q_strides, k_strides, v_strides] = p.layouts().map(|layout| layout.strides());
    for (b, i, h) in (0..batch * t * heads).map(|n| (n / heads / t, n / heads % t, n % heads)) {
        let query = &q[at(q_strides, b, i, h)..][..dim];
        let key = |j| &k[at(k_strides, b, j, h / p.group())..][..dim];
        let value = |j| &v[at(v_strides, b, j, h / p.group())..][..dim];
        let dot = |j| query.iter().zip(key(j)).map(|(q, k)| q.wide() * k.wide()).sum::<f64>();
        let scores: Vec<f64> = (0..p.visible(i)).map(|j| f64::from(p.scale) * dot(j)).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| math::exp(score - largest)).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..dim {
            let sum: f64 = weights.iter().enumerate().map(|(j, w)| w / total * value(j)[d].wide()).sum();
            y[((b * t + i) * heads + h) * dim + d] = T::narrow(sum);
        }
    }
}
