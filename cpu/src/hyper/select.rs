//! [`latens_kernels::hyper::select`] on the host.
use super::by_row;
use crate::once::once;
use crate::topk::Best;
use core::cmp::Reverse;
use latens_kernels::hyper::select::Plan;
use latens_kernels::{Float, hyper::Incidence, order};

once! {
    /// See [`latens_kernels::hyper::select::forward`].
    pub fn forward<A>(p: &Plan, of: Incidence, scores: &[A], values: &mut [A], members: &mut [u32]) = forward_impl;
}

fn forward_impl<A: Float>(p: &Plan, of: Incidence, scores: &[A], values: &mut [A], members: &mut [u32]) {
    let [_, k] = p.out();
    if k == 0 {
        return;
    }
    by_row(of, &p.shape(), (values, k), (members, k), |rows, values, members| {
        for (r, at) in rows.zip(0..) {
            let (values, members) = (&mut values[at * k..][..k], &mut members[at * k..][..k]);
            let mut best = Best::new(k);
            of.columns(r).iter().for_each(|&c| best.push((order(scores[c as usize]), Reverse(c))));
            let mut kept = best.finish();
            kept.sort_unstable_by(|a, b| b.cmp(a));
            values.fill(A::narrow(f64::NEG_INFINITY));
            members.fill(p.shape().columns() as u32);
            for ((value, member), (_, Reverse(c))) in values.iter_mut().zip(members).zip(kept) {
                (*value, *member) = (scores[c as usize], c);
            }
        }
    });
}
