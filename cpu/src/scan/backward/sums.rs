//! Sums over tasks.
use super::super::{Call, Span};
use crate::rows;
use alloc::{vec, vec::Vec};
use latens_kernels::Float;

/// What a task sums: of parameters over its batch entry, and of `b` and `c` over its channels.
pub(super) struct Part {
    pub span: Span,
    /// `[orders, columns, states]`, then `[orders, columns]` twice.
    pub a: Vec<f32>,
    pub skip: Vec<f32>,
    pub bias: Vec<f32>,
    /// `[units, len, 2, states]`, for each unit that the task has channels of in each order.
    pub shared: Vec<(usize, Vec<f32>)>,
}

/// Sums over batch entries, in their order.
pub(super) fn parameters<T: Float>(
    call: &Call<'_, T>,
    parts: &[Part],
    da: Option<&mut [T::Acc]>,
    dskip: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
) {
    let (p, states) = (call.p, call.p.states());
    let mut sums = vec![0.0_f64; p.channels() * (states + 2)];
    for part in parts {
        let columns = part.span.end - part.span.first;
        for (i, (skip, bias)) in part.skip.iter().zip(&part.bias).enumerate() {
            let channel = i / columns * p.width() + part.span.first + i % columns;
            let to = &mut sums[channel * (states + 2)..][..states + 2];
            let of = part.a[i * states..][..states].iter().chain([skip, bias]);
            to.iter_mut().zip(of).for_each(|(to, &of)| *to += f64::from(of));
        }
    }
    let rows = || sums.chunks(states + 2);
    for (to, from) in da.into_iter().flatten().zip(rows().flat_map(|row| &row[..states])) {
        *to = T::Acc::narrow(*from);
    }
    for (at, to) in [dskip, dbias].into_iter().enumerate() {
        to.into_iter().flatten().zip(rows()).for_each(|(to, row)| *to = T::Acc::narrow(row[states + at]));
    }
}

/// The gradients of `b` (0) or `c` (1): sums over tasks, in their order.
pub(super) fn shared<T: Float>(call: &Call<'_, T>, parts: &[Part], which: usize, to: &mut [T]) {
    let (p, states, len) = (call.p, call.p.states(), call.p.route().len());
    let per_batch = parts.len() / p.route().batch().max(1);
    rows::each_one(p.groups() * states, &mut to[..p.route().rows() * p.groups() * states], |row, to| {
        let mut sums = vec![0.0_f32; to.len()];
        for part in &parts[row / len * per_batch..][..per_batch] {
            for (group, of) in &part.shared {
                let of = &of[(row % len * 2 + which) * states..][..states];
                sums[group * states..][..states].iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
            }
        }
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = T::from_f32(sum));
    });
}
