//! What a chunk is made of, as `f32` where products want it.
#![allow(clippy::needless_range_loop)] // rows of several arrays at once
use super::product::{Matrix, Start, Terms, product};
use super::{CHUNK, Call};
use crate::level::Fused;
use crate::math;
use latens_kernels::{Float, Layout, route::Sequence};

/// Rows `first..first + count` of a sequence.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub sequence: Sequence,
    pub first: usize,
    pub count: usize,
}

impl Rows {
    /// The chunks of a sequence.
    pub(super) fn of(sequence: Sequence) -> impl DoubleEndedIterator<Item = Rows> + ExactSizeIterator {
        let chunks = sequence.len().div_ceil(CHUNK);
        (0..chunks).map(move |k| Rows { sequence, first: k * CHUNK, count: CHUNK.min(sequence.len() - k * CHUNK) })
    }
}

/// `b` and `c` of a chunk and group: by row, and turned over; and the products of every `c` with every `b`.
pub(super) struct Shared {
    pub b: Matrix,
    pub c: Matrix,
    pub b_turned: Matrix,
    pub c_turned: Matrix,
    pub scores: Matrix,
}

impl Shared {
    pub(super) fn new(states: usize) -> Self {
        let (by_row, turned) = (Matrix::new(CHUNK, states), Matrix::new(states, CHUNK));
        Shared {
            b: by_row.clone(),
            c: by_row,
            b_turned: turned.clone(),
            c_turned: turned,
            scores: Matrix::new(CHUNK, CHUNK),
        }
    }

    pub(super) fn load<T: Float>(&mut self, call: &Call<'_, T>, rows: &Rows, group: usize) {
        let (l, states) = (call.p.layouts(), call.p.states());
        for (to, turned, from, layout) in
            [(&mut self.b, &mut self.b_turned, call.x.b, &l.b), (&mut self.c, &mut self.c_turned, call.x.c, &l.c)]
        {
            widen(call, rows, from, layout, group * states, states, to);
            turned.turn(to, states, rows.count);
        }
        let sizes = [rows.count, states];
        product(call.level, &mut self.scores, Start::Zero, sizes, &self.c, &self.b_turned, Terms::All);
    }
}

/// `count` columns of a chunk's rows, from `column` on.
pub(super) fn widen<T: Float>(
    call: &Call<'_, T>,
    rows: &Rows,
    from: &[T],
    layout: &Layout<3>,
    column: usize,
    count: usize,
    to: &mut Matrix,
) {
    call.level.run(
        #[inline(always)]
        |_| {
            for i in 0..rows.count {
                let at = call.p.at(layout, call.row(&rows.sequence, rows.first + i)) + column;
                let from = &from[at..][..count];
                to.row_mut(i).iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
            }
        },
    );
}

/// Decays of a chunk and head.
pub(super) struct Decays {
    /// What `delta` was made of, and itself.
    pub raw: [f32; CHUNK],
    pub delta: [f32; CHUNK],
    /// The sum of `delta a` from the chunk's first row on, in two numbers.
    high: [f32; CHUNK],
    low: [f32; CHUNK],
    /// The decay from before the chunk up to a row, and from it to the chunk's end.
    pub from: [f32; CHUNK],
    pub upto: [f32; CHUNK],
    /// Of the whole chunk.
    pub whole: f32,
}

impl Decays {
    pub(super) fn new<T: Float>(call: &Call<'_, T>, rows: &Rows, head: usize) -> Self {
        let (l, none) = (call.p.layouts(), [0.0; CHUNK]);
        let mut to = Decays { raw: none, delta: none, high: none, low: none, from: none, upto: none, whole: 1.0 };
        let bias = call.x.bias.map_or(0.0, |bias| bias[head].to_f32());
        for i in 0..rows.count {
            let at = call.p.at(&l.delta, call.row(&rows.sequence, rows.first + i)) + head;
            to.raw[i] = call.x.delta[at].to_f32() + bias;
        }
        let (a, count) = (f64::from(call.x.a[head].to_f32()), rows.count);
        call.level.run(
            #[inline(always)]
            |fused| {
                to.delta = to.raw;
                if l.softplus {
                    to.delta.iter_mut().for_each(|x| *x = math::softplus(fused, *x));
                }
                to.cumulate(a, count);
                for i in 0..CHUNK {
                    to.from[i] = math::exp(fused, to.high[i]);
                    let rest = (to.high[count - 1] - to.high[i]) + (to.low[count - 1] - to.low[i]);
                    to.upto[i] = math::exp(fused, rest);
                }
                to.whole = to.from[count - 1];
            },
        );
        to
    }

    /// A step beyond 6000 either way is one of 0 or infinity in `f32`, alone or with all growth that `f32` has room for in a
    /// chunk; held there, it leaves the digits of its neighbours.
    #[inline(always)]
    fn cumulate(&mut self, a: f64, count: usize) {
        let mut sum = 0.0_f64;
        for i in 0..count {
            let step = f64::from(self.delta[i]) * a;
            let step = if step < -6000.0 { -6000.0 } else { step };
            sum += if step > 6000.0 { 6000.0 } else { step };
            self.high[i] = sum as f32;
            self.low[i] = (sum - f64::from(self.high[i])) as f32;
        }
    }

    /// `to[i, j] = of[i, j] *` the decay from row `j` to row `i`, for `j <= i`; what lies above the diagonal is any number.
    #[inline(always)]
    pub(super) fn weigh(&self, fused: Fused, of: &Matrix, count: usize, to: &mut Matrix) {
        for i in 0..count {
            let (high, low, n) = (self.high[i], self.low[i], (i + 1).next_multiple_of(16));
            let (from, to) = (&of.row(i)[..n], &mut to.row_mut(i)[..n]);
            for j in 0..n {
                let exponent = (high - self.high[j]) + (low - self.low[j]);
                to[j] = from[j] * math::exp(fused, exponent);
            }
        }
    }
}
