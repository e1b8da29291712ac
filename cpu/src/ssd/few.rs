//! Few rows, one after the other: the state is read and written once a row, states in lanes.
use super::Call;
use crate::level::Fused;
use crate::math;
use alloc::vec;
use latens_kernels::Float;

/// Partial sums of a product over states.
const SUMS: usize = 16;

/// Row `row` of a head through its state, `[head_dim, states]`, with room for `b` and `c` in `wide`.
#[inline(always)]
fn one<T: Float>(
    call: &Call<'_, T>,
    fused: Fused,
    row: usize,
    head: usize,
    state: &mut [T::Acc],
    wide: &mut [f32],
    y: &mut [T],
) {
    let (p, l, states) = (call.p, call.p.layouts(), call.p.states());
    let (b, c) = wide.split_at_mut(states);
    let group = head / p.per_group() * states;
    for (to, from, layout) in [(&mut *b, call.x.b, &l.b), (&mut *c, call.x.c, &l.c)] {
        let from = &from[p.at(layout, row) + group..][..states];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
    }
    let raw = call.x.delta[p.at(&l.delta, row) + head].to_f32() + call.x.bias.map_or(0.0, |bias| bias[head].to_f32());
    let delta = if l.softplus { math::softplus(fused, raw) } else { raw };
    let (decay, skip) = (math::exp(fused, delta * call.x.a[head].to_f32()), call.skip(head));
    let x = &call.x.x[p.at(&l.x, row) + head * p.head_dim()..][..p.head_dim()];
    let gate = call.x.gate.zip(l.gate).map(|(gate, layout)| &gate[p.at(&layout, row) + head * p.head_dim()..]);
    for (entry, ((h, x), y)) in state.chunks_mut(states).zip(x).zip(y.iter_mut()).enumerate() {
        let (x, mut sums) = (x.to_f32(), [0.0; SUMS]);
        let blocks = h.chunks_mut(SUMS).zip(b.chunks(SUMS)).zip(c.chunks(SUMS));
        for ((h, b), c) in blocks {
            for (((h, b), c), sum) in h.iter_mut().zip(b).zip(c).zip(&mut sums) {
                let now = fused.mul_add(decay, h.to_f32(), delta * x * b);
                *h = T::Acc::from_f32(now);
                *sum = fused.mul_add(now, *c, *sum);
            }
        }
        let out = fused.mul_add(skip, x, sums.iter().sum::<f32>());
        *y = T::from_f32(gate.map_or(out, |gate| out * math::silu(fused, gate[entry].to_f32())));
    }
}

/// A row of a head.
pub(super) fn step<T: Float>(call: &Call<'_, T>, row: usize, head: usize, state: &mut [T::Acc], y: &mut [T]) {
    let mut wide = vec![0.0; 2 * call.p.states()];
    call.level.run(
        #[inline(always)]
        |fused| one(call, fused, row, head, state, &mut wide, y),
    );
}
