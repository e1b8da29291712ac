//! A few positions of a few channels: where they lie, and what is read of them.
use super::Call;
use crate::simd::{LANES, Lane};
use latens_kernels::{Float, Layout, route::Sequence};

/// Positions of a block: what is made of them stays in the first-level cache.
pub(super) const STEPS: usize = 16;

/// Where a block of positions lies: found once for all tiles. Numbers of rows are those of a batch entry; the others say
/// where rows begin.
pub(super) struct Positions {
    pub first: usize,
    pub count: usize,
    pub rows: [usize; STEPS],
    pub delta: [usize; STEPS],
    pub u: [usize; STEPS],
    pub b: [usize; STEPS],
    pub c: [usize; STEPS],
}

impl Positions {
    /// Those of a sequence from `first` on, fewer at its end, none past it.
    #[inline(always)]
    pub(super) fn new<T: Float>(call: &Call<'_, T>, s: &Sequence, order: usize, first: usize) -> Self {
        let (l, none) = (call.p.layouts(), [0; STEPS]);
        let count = STEPS.min(s.end.saturating_sub(first));
        let mut to = Positions { first, count, rows: none, delta: none, u: none, b: none, c: none };
        for t in 0..count {
            let row = call.row(s.batch, order, first + t);
            to.rows[t] = row;
            to.delta[t] = at(&l.delta, s.batch, row);
            to.u[t] = at(&l.u, s.batch, row);
            to.b[t] = call.b.at(s.batch, row);
            to.c[t] = call.c.at(s.batch, row);
        }
        to
    }
}

/// What a block of positions reads: rows, and the exponents' other factor.
pub(super) struct Block<V> {
    pub count: usize,
    pub rows: [usize; STEPS],
    pub delta: [V; STEPS],
    pub u: [V; STEPS],
    /// `delta u`, what `b` is multiplied by.
    pub entry: [V; STEPS],
    /// What `delta` was made of.
    pub raw: [V; STEPS],
    /// Whether no decay underflows or overflows, so that [`Lane::power`] may be taken.
    pub tame: bool,
    pub b: [usize; STEPS],
    pub c: [usize; STEPS],
}

impl<V: Lane> Block<V> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = [V::splat(0.0); STEPS];
        let (rows, b, c) = ([0; STEPS], [0; STEPS], [0; STEPS]);
        Block { count: 0, rows, delta: none, u: none, entry: none, raw: none, tame: false, b, c }
    }
}

/// The first `count` numbers of memory, then zeros.
#[inline(always)]
pub(super) fn fetch<V: Lane, T: Float>(from: &[T], count: usize) -> V {
    if count == V::N {
        return V::widen(from);
    }
    let mut x = [0.0; LANES];
    for (x, from) in x.iter_mut().zip(&from[..count]) {
        *x = from.to_f32();
    }
    V::load(&x)
}

/// Into memory, as many as it has room for.
#[inline(always)]
pub(super) fn put<V: Lane, T: Float>(v: V, to: &mut [T]) {
    if to.len() == V::N {
        return v.narrow(to);
    }
    let mut x = [0.0; LANES];
    v.store(&mut x);
    to.iter_mut().zip(x).for_each(|(to, x)| *to = T::from_f32(x));
}

/// The largest size of numbers, by their bits, so that infinities and NaN are above all others.
#[derive(Clone, Copy)]
pub(super) struct Most<V>(V);

impl<V: Lane> Most<V> {
    #[inline(always)]
    pub(super) fn none() -> Self {
        Most(V::splat(0.0))
    }
    #[inline(always)]
    pub(super) fn see(&mut self, x: V) {
        self.0 = self.0.larger(x);
    }
    /// Not a number if one of them was none.
    #[inline(always)]
    pub(super) fn number(self) -> f32 {
        let mut x = [0.0; LANES];
        self.0.store(&mut x);
        f32::from_bits(x.into_iter().fold(0, |most, x| most.max(x.to_bits())))
    }
}

/// Where a row of a batch entry begins.
#[inline(always)]
pub(super) fn at(layout: &Layout<3>, batch: usize, row: usize) -> usize {
    let [entry, step, _] = layout.strides();
    batch * entry + row * step
}
