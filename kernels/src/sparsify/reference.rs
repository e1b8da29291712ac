use super::{Plan, SumPlan};
use crate::{Accumulate, Float, order};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The definition: rank the finite sums by magnitude, send the first `k` of them in order of index.
pub fn forward<T: Float>(
    p: &Plan,
    g: &[T],
    e: &mut [T::Acc],
    values: &mut [T::Acc],
    indices: &mut [u32],
    counts: &mut [u32],
) {
    let mut kept = Vec::new();
    for (i, (g, e)) in g[..p.n].iter().zip(&mut *e).enumerate() {
        let a = T::Acc::narrow(g.wide() + e.wide());
        if a.wide().is_finite() {
            *e = a;
            kept.push(i);
        }
    }
    counts[1] = (p.n - kept.len()) as u32;
    kept.sort_by_key(|&i| (Reverse(order(e[i].wide().abs())), i));
    kept.truncate(p.k);
    kept.sort_unstable();
    counts[0] = kept.len() as u32;
    values[..p.k].fill(T::Acc::default());
    indices[..p.k].fill(p.n as u32);
    for (j, i) in kept.into_iter().enumerate() {
        (values[j], indices[j]) = (e[i], i as u32);
        e[i] = T::Acc::default();
    }
}

/// The definition of the sum: every rank in turn adds what it sent.
pub fn sum<T: Float>(p: &SumPlan, values: &[T::Acc], indices: &[u32], y: &mut [T]) {
    let mut sums = alloc::vec![T::Acc::default(); p.n];
    for (&value, &index) in values.iter().zip(indices).take(p.ranks * p.k) {
        if let Some(sum) = sums.get_mut(index as usize) {
            *sum = T::Acc::narrow(sum.wide() + value.wide());
        }
    }
    for (y, sum) in y[..p.n].iter_mut().zip(sums) {
        let scaled = T::Acc::narrow(f64::from(p.scale) * sum.wide());
        *y = match p.accumulate {
            Accumulate::Replace => T::narrow(scaled.wide()),
            Accumulate::Add => T::narrow(T::Acc::narrow(y.wide() + scaled.wide()).wide()),
        };
    }
}
