#![allow(unsafe_code)]
use super::chunk::{Decays, Rows, Shared, widen};
use super::product::{Matrix, Start, Terms, product};
use super::{CHUNK, Call, Part, few};
use crate::math;
use crate::sheet::Sheet;
use alloc::vec::Vec;
use latens_kernels::Float;

/// Rows up to which a sequence is a recurrence.
const FEW: usize = 4;

/// Matrices of a head that a chunk goes through.
pub(super) struct Room {
    /// `x` by row; times `delta`, and the decay to the end of the chunk.
    pub x: Matrix,
    pub entry: Matrix,
    pub left: Matrix,
    /// `c` with the decay from before the chunk, and products of `c` and `b` with that between rows.
    pub c: Matrix,
    pub pairs: Matrix,
    pub out: Matrix,
}

impl Room {
    pub(super) fn new(head_dim: usize, states: usize) -> Self {
        let wide = Matrix::new(CHUNK, head_dim);
        Room {
            x: wide.clone(),
            entry: wide.clone(),
            left: wide.clone(),
            c: Matrix::new(CHUNK, states),
            pairs: Matrix::new(CHUNK, CHUNK),
            out: wide,
        }
    }

    /// Read `x` of a head.
    pub(super) fn load<T: Float>(&mut self, call: &Call<'_, T>, rows: &Rows, head: usize, decays: &Decays) {
        let head_dim = call.p.head_dim();
        widen(call, rows, call.x.x, &call.p.layouts().x, head * head_dim, head_dim, &mut self.x);
        call.level.run(
            #[inline(always)]
            |_| {
                self.entry.scale_rows(&self.x, &decays.delta[..rows.count]);
                self.left.scale_rows(&self.entry, &decays.upto[..rows.count]);
            },
        );
    }

    /// What a chunk puts out before skip and gate, from the state before it.
    pub(super) fn read<T: Float>(
        &mut self,
        call: &Call<'_, T>,
        rows: &Rows,
        shared: &Shared,
        decays: &Decays,
        state: &Matrix,
    ) {
        let (level, count) = (call.level, rows.count);
        level.run(
            #[inline(always)]
            |fused| {
                decays.weigh(fused, &shared.scores, count, &mut self.pairs);
                self.c.scale_rows(&shared.c, &decays.from[..count]);
            },
        );
        product(level, &mut self.out, Start::Zero, [count, call.p.states()], &self.c, state, Terms::All);
        let start = Start::Times(1.0);
        product(level, &mut self.out, start, [count, count], &self.pairs, &self.entry, Terms::UpToRow);
    }

    /// Take a state past a chunk.
    pub(super) fn pass<T: Float>(
        &self,
        call: &Call<'_, T>,
        rows: &Rows,
        shared: &Shared,
        decays: &Decays,
        state: &mut Matrix,
    ) {
        let (start, sizes) = (Start::Times(decays.whole), [call.p.states(), rows.count]);
        product(call.level, state, start, sizes, &shared.b_turned, &self.left, Terms::All);
    }
}

/// A state `[head_dim, states]` turned over; zeros without one.
pub(super) fn turned<A: Float>(from: Option<&[A]>, states: usize, to: &mut Matrix) {
    let Some(from) = from else { return to.data.fill(0.0) };
    for (entry, from) in from.chunks(states).enumerate() {
        from.iter().enumerate().for_each(|(n, from)| to.row_mut(n)[entry] = from.to_f32());
    }
}

/// The other way round.
pub(super) fn turned_back<A: Float>(from: &Matrix, states: usize, to: &mut [A]) {
    for (entry, to) in to.chunks_mut(states).enumerate() {
        to.iter_mut().enumerate().for_each(|(n, to)| *to = A::from_f32(from.row(n)[entry]));
    }
}

/// Some heads of a sequence.
pub(super) fn forward<T: Float>(call: &Call<'_, T>, part: &Part, y: &Sheet<T>, last: Option<&Sheet<T::Acc>>) {
    let (p, s) = (call.p, part.sequence);
    if s.len() <= FEW {
        return recurrence(call, part, y, last);
    }
    let (head_dim, states) = (p.head_dim(), p.states());
    let (mut shared, mut room) = (Shared::new(states), Room::new(head_dim, states));
    let heads = part.head..part.head + part.count;
    let mut state: Vec<Matrix> = heads
        .clone()
        .map(|head| {
            let (mut to, (at, count)) = (Matrix::new(states, head_dim), call.state(s.index, head));
            turned(call.x.initial.map(|initial| &initial[at..][..count]), states, &mut to);
            to
        })
        .collect();
    for rows in Rows::of(s) {
        shared.load(call, &rows, part.head / p.per_group());
        for (head, state) in heads.clone().zip(&mut state) {
            let decays = Decays::new(call, &rows, head);
            room.load(call, &rows, head, &decays);
            room.read(call, &rows, &shared, &decays, state);
            finish(call, &rows, head, &room, y);
            room.pass(call, &rows, &shared, &decays, state);
        }
    }
    let Some(last) = last else { return };
    for (head, state) in heads.zip(&state) {
        let (at, count) = call.state(s.index, head);
        // SAFETY: `last` is borrowed by the call, and the state of a head is one task's.
        turned_back(state, states, unsafe { last.part(at, count) });
    }
}

/// Skip and gate, to the rows of `y`.
fn finish<T: Float>(call: &Call<'_, T>, rows: &Rows, head: usize, room: &Room, y: &Sheet<T>) {
    let (p, l, head_dim, skip) = (call.p, call.p.layouts(), call.p.head_dim(), call.skip(head));
    call.level.run(
        #[inline(always)]
        |fused| {
            for i in 0..rows.count {
                let row = call.row(&rows.sequence, rows.first + i);
                let from = room.out.row(i).iter().zip(room.x.row(i));
                // SAFETY: `y` is borrowed by the call, and a head's columns of a row are one task's.
                let to = unsafe { y.part(row * p.width() + head * head_dim, head_dim) };
                match (call.x.gate, l.gate) {
                    (Some(gate), Some(layout)) => {
                        let gate = &gate[p.at(&layout, row) + head * head_dim..][..head_dim];
                        for ((to, (y, x)), z) in to.iter_mut().zip(from).zip(gate) {
                            *to = T::from_f32(fused.mul_add(skip, *x, *y) * math::silu(fused, z.to_f32()));
                        }
                    }
                    _ => {
                        for (to, (y, x)) in to.iter_mut().zip(from) {
                            *to = T::from_f32(fused.mul_add(skip, *x, *y));
                        }
                    }
                }
            }
        },
    );
}

/// Row by row.
fn recurrence<T: Float>(call: &Call<'_, T>, part: &Part, y: &Sheet<T>, last: Option<&Sheet<T::Acc>>) {
    let (p, s, head_dim) = (call.p, part.sequence, call.p.head_dim());
    for head in part.head..part.head + part.count {
        let (at, count) = call.state(s.index, head);
        let zeros = || alloc::vec![T::Acc::from_f32(0.0); count];
        let mut state = call.x.initial.map_or_else(zeros, |initial| initial[at..][..count].to_vec());
        for row in (0..s.len()).map(|i| call.row(&s, i)) {
            // SAFETY: `y` is borrowed by the call, and a head's columns of a row are one task's.
            let y = unsafe { y.part(row * p.width() + head * head_dim, head_dim) };
            few::step(call, row, head, &mut state, y);
        }
        if let Some(last) = last {
            // SAFETY: `last` is borrowed by the call, and the state of a head is one task's.
            unsafe { last.part(at, count) }.copy_from_slice(&state);
        }
    }
}
