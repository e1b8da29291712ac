//! [`latens_kernels::entropy`] on the host.
//!
//! A large segment of 16-bit elements is read once: what is counted are the 65536 patterns of its bits, from which
//! moments and any bins follow. Otherwise the sample is read twice, the second time mostly from a cache.
mod direct;
mod patterns;
mod sample;

use crate::once::once;
use crate::rows;
use alloc::{vec, vec::Vec};
use latens_kernels::entropy::{COLUMNS, GROUPS, Group, Plan, Scale, State, estimate};
use latens_kernels::{DType, Float};
use sample::Sample;

/// Elements from which on counting patterns pays: the tables are 4 MB.
const MANY: usize = 1 << 20;
/// Whole numbers whose `n ln n` is looked up.
const KNOWN: usize = 4096;

once! {
    /// See [`latens_kernels::entropy::forward`].
    pub fn forward<T>(p: &Plan<'_>, x: &[T], values: &mut [T::Acc], counts: &mut [u32]) = forward_impl;
}

fn forward_impl<T: Float>(p: &Plan<'_>, x: &[T], values: &mut [T::Acc], counts: &mut [u32]) {
    forward_from(p, x, values, counts, MANY);
}

once! {
    /// [`forward`] that counts patterns from `many` elements on: for tests of both ways.
    pub fn forward_from<T>(
        p: &Plan<'_>,
        x: &[T],
        values: &mut [T::Acc],
        counts: &mut [u32],
        many: usize,
    ) = forward_from_impl;
}

fn forward_from_impl<T: Float>(p: &Plan<'_>, x: &[T], values: &mut [T::Acc], counts: &mut [u32], many: usize) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::entropy::forward(p, x, values, counts);
    }
    let segments = p.segments().count();
    let largest = (0..segments).map(|segment| p.sampled(segment)).max().unwrap_or(0);
    let known: Vec<f64> = (0..largest.min(KNOWN) as u32).map(x_ln_x).collect();
    let x_ln_x = |n: u32| known.get(n as usize).copied().unwrap_or_else(|| x_ln_x(n));
    let found = rows::collect(segments, |segment| {
        let sample = Sample::new(p, segment, x);
        let counted = (p.sampled(segment) >= many).then(|| patterns::count(&sample)).flatten();
        let (groups, bins) = counted.unwrap_or_else(|| twice(&sample));
        let state = State { groups: core::array::from_fn(|g| groups[g].with(&sample.apart(g))), bins: &bins };
        estimate(p, &state, x_ln_x)
    });
    for ((values, counts), found) in values.chunks_mut(COLUMNS).zip(counts.chunks_mut(3)).zip(found) {
        values.iter_mut().zip(found.0).for_each(|(to, x)| *to = T::Acc::narrow(x));
        counts.copy_from_slice(&found.1);
    }
}

/// Moments of all groups, then their bins.
fn twice<T: Float>(sample: &Sample<'_, T>) -> (Vec<Group>, Vec<u32>) {
    let groups = rows::collect(GROUPS, |g| direct::moments(sample, g));
    let p = sample.plan();
    if !p.has_bins() {
        return (groups, Vec::new());
    }
    let width = p.settings().bins;
    let scale = scale(&groups, width);
    let mut bins = vec![0; GROUPS * width];
    rows::each_one(width, &mut bins, |g, bins| direct::bins(sample, g, &scale, bins));
    (groups, bins)
}

fn scale(groups: &[Group], width: usize) -> Scale<f32> {
    let all = groups.iter().fold(Group::default(), |all, group| all.with(group));
    Scale::new(all.low, all.high, width)
}

fn x_ln_x(n: u32) -> f64 {
    let x = f64::from(n);
    if n == 0 {
        return 0.0;
    }
    #[cfg(feature = "std")]
    return x * x.ln();
    #[cfg(not(feature = "std"))]
    return x * latens_kernels::math::ln(x);
}
