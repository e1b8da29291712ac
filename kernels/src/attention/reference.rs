use super::Plan;
use crate::{Float, Layout, math};
use alloc::{vec, vec::Vec};

/// What all functions below read.
struct Call<'a, T> {
    p: &'a Plan,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
}

impl<'a, T: Float> Call<'a, T> {
    fn query(&self, [b, i, h]: [usize; 3]) -> &'a [T] {
        row(self.q, self.p.q, [b, i, h])
    }

    fn key(&self, [b, _, h]: [usize; 3], j: usize) -> &'a [T] {
        row(self.k, self.p.k, [b, j, h / self.p.group()])
    }

    fn value(&self, [b, _, h]: [usize; 3], j: usize) -> &'a [T] {
        row(self.v, self.p.v, [b, j, h / self.p.group()])
    }

    /// The scores of the keys that a query sees.
    fn scores(&self, at: [usize; 3]) -> Vec<f64> {
        let scale = f64::from(self.p.scale);
        (0..self.p.visible(at[1])).map(|j| scale * dot(self.query(at), self.key(at, j))).collect()
    }

    /// Every query of every head.
    fn all(&self) -> impl Iterator<Item = [usize; 3]> + use<T> {
        let [batch, t, heads, _] = self.p.out();
        (0..batch * t * heads).map(move |n| [n / heads / t, n / heads % t, n % heads])
    }
}

fn row<T>(x: &[T], layout: Layout<4>, [b, i, h]: [usize; 3]) -> &[T] {
    let [batch, token, head, _] = layout.strides();
    &x[b * batch + i * token + h * head..][..layout.dims()[3]]
}

fn dot<T: Float>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum()
}

/// The definition, a query at a time.
pub fn forward<T: Float>(p: &Plan, q: &[T], k: &[T], v: &[T], y: &mut [T], mut lse: Option<&mut [T::Acc]>) {
    let (call, dim) = (Call { p, q, k, v }, p.out()[3]);
    for (n, at) in call.all().enumerate() {
        let scores = call.scores(at);
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| math::exp(score - largest)).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..dim {
            let sum: f64 = weights.iter().enumerate().map(|(j, w)| w / total * call.value(at, j)[d].wide()).sum();
            y[n * dim + d] = T::narrow(sum);
        }
        if let Some(lse) = &mut lse {
            lse[n] = T::Acc::narrow(if scores.is_empty() { f64::NEG_INFINITY } else { largest + math::ln(total) });
        }
    }
}

/// The gradients, a query at a time; one without an output is not computed.
pub fn backward<T: Float>(
    p: &Plan,
    q: &[T],
    k: &[T],
    v: &[T],
    y: &[T],
    lse: &[T::Acc],
    dy: &[T],
    mut dq: Option<&mut [T]>,
    dk: Option<&mut [T]>,
    dv: Option<&mut [T]>,
) {
    let (call, [batch, _, _, dim]) = (Call { p, q, k, v }, p.out());
    let [mut of_keys, mut of_values] = [(); 2].map(|()| vec![0.0; batch * p.s() * p.kv_heads() * dim]);
    for (n, at @ [b, _, h]) in call.all().enumerate() {
        let dy = row(dy, p.dy, at);
        let whole = dot(dy, &y[n * dim..][..dim]);
        let mut of_query = vec![0.0; dim];
        for (j, score) in call.scores(at).into_iter().enumerate() {
            let weight = math::exp(score - lse[n].wide());
            let slope = weight * (dot(dy, call.value(at, j)) - whole) * f64::from(p.scale);
            let to = ((b * p.s() + j) * p.kv_heads() + h / p.group()) * dim;
            for d in 0..dim {
                of_query[d] += slope * call.key(at, j)[d].wide();
                of_keys[to + d] += slope * call.query(at)[d].wide();
                of_values[to + d] += weight * dy[d].wide();
            }
        }
        if let Some(dq) = &mut dq {
            dq[n * dim..][..dim].iter_mut().zip(of_query).for_each(|(dq, sum)| *dq = T::narrow(sum));
        }
    }
    for (to, sums) in [(dk, of_keys), (dv, of_values)] {
        to.into_iter().flatten().zip(sums).for_each(|(to, sum)| *to = T::narrow(sum));
    }
}
