//! [`latens_kernels::hyper::weigh`] on the host.
use super::by_entry;
use crate::once::once;
use crate::{math, simd::best};
use latens_kernels::hyper::weigh::{self, Plan, Terms, Weigh};
use latens_kernels::{DType, Float, hyper::Incidence};

once! {
    /// See [`weigh::forward`].
    pub fn forward<A>(p: &Plan, of: Incidence, terms: Terms<A>, a: &mut [A]) = forward_impl;
}

fn forward_impl<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, a: &mut [A]) {
    if A::DTYPE == DType::F64 {
        return weigh::forward(p, of, terms, a);
    }
    by_entry(of, &p.shape(), a, |r, a| {
        shares(p, of, terms, r, a);
        let row = terms.rows.map_or(1.0, |rows| rows[r].to_f32());
        a.iter_mut().for_each(|a| *a *= row);
    });
}

once! {
    /// See [`weigh::backward`].
    pub fn backward<A>(p: &Plan, of: Incidence, terms: Terms<A>, da: &[A], dvalues: &mut [A]) = backward_impl;
}

fn backward_impl<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, da: &[A], dvalues: &mut [A]) {
    if A::DTYPE == DType::F64 {
        return weigh::backward(p, of, terms, da, dvalues);
    }
    by_entry(of, &p.shape(), dvalues, |r, out| {
        let scale = shares(p, of, terms, r, out);
        let row = terms.rows.map_or(1.0, |rows| rows[r].to_f32());
        let da = |j: usize| da[of.number(of.row(r).start + j)].to_f32();
        let mean = match p.how() {
            Weigh::Sum => 0.0,
            _ => out.iter().enumerate().map(|(j, &share)| share * da(j)).sum::<f32>(),
        };
        for (j, out) in out.iter_mut().enumerate() {
            let column = || terms.columns.map_or(1.0, |columns| columns[of.columns(r)[j] as usize].to_f32());
            let of = if p.how() == Weigh::Softmax { *out } else { scale * column() };
            *out = if of == 0.0 { 0.0 } else { row * of * (da(j) - mean) };
        }
    });
}

/// Shares of the members of a row, without its factor; and what terms were multiplied with to become them.
fn shares<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, r: usize, out: &mut [f32]) -> f32 {
    let first = of.row(r).start;
    let columns = terms.columns.map(|columns| (columns, of.columns(r)));
    let soft = p.how() == Weigh::Softmax;
    for (j, out) in out.iter_mut().enumerate() {
        let value = terms.values.map(|values| values[of.number(first + j)].to_f32());
        let column = columns.map(|(columns, members)| columns[members[j] as usize].to_f32());
        *out = match soft {
            true => value.unwrap_or(0.0) + column.unwrap_or(0.0),
            false => value.unwrap_or(1.0) * column.unwrap_or(1.0),
        };
    }
    if soft {
        let top = math::max(out, |h| h);
        best(
            #[inline(always)]
            |fused| {
                for out in out.iter_mut() {
                    *out = if *out == f32::NEG_INFINITY { 0.0 } else { math::exp(fused, *out - top) };
                }
            },
        );
    }
    if p.how() == Weigh::Sum {
        return 1.0;
    }
    let sum = out.iter().sum::<f32>();
    let scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    // A sum of 0 may have parts that are not: they too weigh nothing.
    out.iter_mut().for_each(|out| *out *= scale);
    scale
}
