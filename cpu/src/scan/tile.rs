//! A few neighbouring channels, one to a lane, through a few positions.
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
use super::lane::{LANES, Lane, prefetch};
use super::{Call, Span};
use alloc::{vec, vec::Vec};
use latens_kernels::{Float, Layout, route::Sequence};

/// Positions of a block: what is made of them stays in the first-level cache.
pub(super) const STEPS: usize = 16;

/// Channels of a tile, their parameters, and the state they are in.
pub(super) struct Tile<V> {
    /// First channel, and its column of `y`.
    pub channel: usize,
    pub column: usize,
    /// Lanes in use; the others hold zeros.
    pub count: usize,
    pub order: usize,
    pub group: usize,
    /// `a`, scaled for [`Lane::power`], by state, and its largest size.
    pub a: Vec<V>,
    pub top: f32,
    pub skip: V,
    pub bias: V,
    pub h: Vec<V>,
}

/// Where a block of positions lies: found once for all tiles. Numbers of rows are those of a batch entry; the others say
/// where rows begin.
pub(super) struct Positions {
    pub first: usize,
    pub count: usize,
    rows: [usize; STEPS],
    delta: [usize; STEPS],
    u: [usize; STEPS],
    b: [usize; STEPS],
    c: [usize; STEPS],
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

    /// Their rows.
    #[inline(always)]
    pub(super) fn rows(&self) -> &[usize] {
        &self.rows[..self.count]
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

/// The first `count` numbers of memory, then zeros.
#[inline(always)]
pub(super) fn fetch<V: Lane, T: Float>(from: &[T], count: usize) -> V {
    if count == V::N
        && let Some(from) = crate::cast::cast::<T, f32>(from)
    {
        return V::load(from);
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
    if to.len() == V::N
        && let Some(to) = crate::cast::cast_mut::<T, f32>(to)
    {
        return v.store(to);
    }
    let mut x = [0.0; LANES];
    v.store(&mut x);
    to.iter_mut().zip(x).for_each(|(to, x)| *to = T::from_f32(x));
}

impl<V: Lane> Block<V> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = [V::splat(0.0); STEPS];
        let (rows, b, c) = ([0; STEPS], [0; STEPS], [0; STEPS]);
        Block { count: 0, rows, delta: none, u: none, entry: none, raw: none, tame: false, b, c }
    }
}

impl<V: Lane> Tile<V> {
    #[inline(always)]
    pub(super) fn new<T: Float>(call: &Call<'_, T>, order: usize, column: usize, count: usize) -> Self {
        let (p, channel) = (call.p, order * call.p.width() + column);
        let stride = p.layouts().a.strides()[0];
        let (mut a, mut most) = (Vec::with_capacity(p.states()), Most::none());
        for n in 0..p.states() {
            let mut x = [0.0; LANES];
            for (lane, x) in x[..count].iter_mut().enumerate() {
                *x = call.x.a[(channel + lane) * stride + n].to_f32() * V::scale();
            }
            let scaled = V::load(&x);
            most.see(scaled);
            a.push(scaled);
        }
        let top = most.number();
        let vector = |of: Option<&[T::Acc]>| of.map_or(V::splat(0.0), |of| fetch(&of[channel..], count));
        let (skip, bias) = (vector(call.x.skip), vector(call.x.bias));
        let group = p.group(channel);
        Tile { channel, column, count, order, group, a, top, skip, bias, h: vec![V::splat(0.0); p.states()] }
    }

    /// A state of one sequence, as tensors hold it, into lanes.
    #[inline(always)]
    pub(super) fn gather<A: Float>(&self, from: Option<&[A]>, s: &Sequence, channels: usize, to: &mut [V]) {
        let states = to.len();
        for (n, to) in to.iter_mut().enumerate() {
            let mut x = [0.0; LANES];
            if let Some(from) = from {
                for (lane, x) in x[..self.count].iter_mut().enumerate() {
                    *x = from[(s.index * channels + self.channel + lane) * states + n].to_f32();
                }
            }
            *to = V::load(&x);
        }
    }

    /// The other way, to the `count * states` numbers of the tile's channels.
    #[inline(always)]
    pub(super) fn scatter<A: Float>(&self, from: &[V], to: &mut [A]) {
        for (n, from) in from.iter().enumerate() {
            let mut x = [0.0; LANES];
            from.store(&mut x);
            for (lane, x) in x[..self.count].iter().enumerate() {
                to[lane * self.a.len() + n] = A::from_f32(*x);
            }
        }
    }

    /// Read the inputs of `now`, and ask for those of `soon`: rows are pages apart, further than the processor looks ahead.
    #[inline(always)]
    pub(super) fn read<T: Float>(
        &self,
        call: &Call<'_, T>,
        s: &Sequence,
        now: &Positions,
        soon: &Positions,
        block: &mut Block<V>,
    ) {
        let (l, mut most) = (call.p.layouts(), Most::none());
        let (shared, column) = (self.group * call.p.states(), self.u_column(call));
        for t in 0..soon.count {
            prefetch(call.x.delta, soon.delta[t] + self.channel);
            prefetch(call.x.u, soon.u[t] + column);
        }
        (block.count, block.rows) = (now.count, now.rows);
        for t in 0..now.count {
            block.b[t] = now.b[t] + shared;
            block.c[t] = now.c[t] + shared;
            let raw: V = fetch::<V, T>(&call.x.delta[now.delta[t] + self.channel..], self.count).add(self.bias);
            let delta = if l.softplus { raw.softplus() } else { raw };
            let u = match call.x.taps {
                None => fetch(&call.x.u[now.u[t] + column..], self.count),
                Some(taps) => self.convolved(call, taps, s, now.first + t),
            };
            block.raw[t] = raw;
            block.delta[t] = delta;
            most.see(delta);
            block.u[t] = u;
            block.entry[t] = delta.mul(u);
        }
        // Not so for a NaN.
        block.tame = most.number() * self.top < 125.0 * V::UNITS;
    }

    #[inline(always)]
    fn u_column<T: Float>(&self, call: &Call<'_, T>) -> usize {
        if call.p.columns() == call.p.channels() { self.channel } else { self.column }
    }

    /// `u` of a position, convolved.
    #[inline(always)]
    fn convolved<T: Float>(&self, call: &Call<'_, T>, taps: &[T::Acc], s: &Sequence, here: usize) -> V {
        let (p, column) = (call.p, self.u_column(call));
        let l = p.layouts();
        let (count, stride) = (p.taps(), l.taps.map_or(0, |taps| taps.strides()[0]));
        let mut sum = call.x.taps_bias.map_or(V::splat(0.0), |bias| fetch(&bias[self.channel..], self.count));
        for w in 0..count {
            let mut tap = [0.0; LANES];
            for (lane, tap) in tap[..self.count].iter_mut().enumerate() {
                *tap = taps[(self.channel + lane) * stride + w].to_f32();
            }
            let x = if here + w + 1 >= count + s.begin {
                let row = call.row(s.batch, self.order, here + w + 1 - count);
                fetch(&call.x.u[at(&l.u, s.batch, row) + column..], self.count)
            } else {
                let before = (s.index * (count - 1) + here + w - s.begin) * p.channels() + self.channel;
                call.x.window.map_or(V::splat(0.0), |window| fetch(&window[before..], self.count))
            };
            sum = V::load(&tap).mul_add(x, sum);
        }
        sum.mul(sum.sigmoid())
    }

    /// Take the states through a block, and add what they give to `out`.
    #[inline(always)]
    pub(super) fn scan<T: Float>(&mut self, call: &Call<'_, T>, block: &Block<V>, out: &mut [V; STEPS]) {
        match block.tame {
            true => self.scan_by::<T, true>(call, block, out),
            false => self.scan_by::<T, false>(call, block, out),
        }
    }

    #[inline(always)]
    fn scan_by<T: Float, const TAME: bool>(&mut self, call: &Call<'_, T>, block: &Block<V>, out: &mut [V; STEPS]) {
        let (mut n, states) = (0, self.h.len());
        while n < states {
            n += match states - n {
                16.. if V::STATES == 16 => self.part::<T, TAME, 16>(call, block, n, out),
                8.. => self.part::<T, TAME, 8>(call, block, n, out),
                4.. => self.part::<T, TAME, 4>(call, block, n, out),
                _ => self.part::<T, TAME, 1>(call, block, n, out),
            };
        }
    }

    /// `COUNT` states, which stay in registers.
    #[inline(always)]
    fn part<T: Float, const TAME: bool, const COUNT: usize>(
        &mut self,
        call: &Call<'_, T>,
        block: &Block<V>,
        first: usize,
        out: &mut [V; STEPS],
    ) -> usize {
        let (mut a, mut h) = ([V::splat(0.0); COUNT], [V::splat(0.0); COUNT]);
        a.copy_from_slice(&self.a[first..][..COUNT]);
        h.copy_from_slice(&self.h[first..][..COUNT]);
        for t in 0..block.count {
            let (b, c) = (&call.b.data[block.b[t] + first..][..COUNT], &call.c.data[block.c[t] + first..][..COUNT]);
            let (delta, entry) = (block.delta[t], block.entry[t]);
            let (mut low, mut high) = (out[t], V::splat(0.0));
            // Two loops, for the compiler does not unroll one of sixteen rounds, and only then h stays in registers.
            for n in 0..COUNT.min(8) {
                h[n] = decay::<V, TAME>(delta.mul(a[n])).mul_add(h[n], entry.mul(V::splat(b[n])));
                low = h[n].mul_add(V::splat(c[n]), low);
            }
            for n in 8..COUNT {
                h[n] = decay::<V, TAME>(delta.mul(a[n])).mul_add(h[n], entry.mul(V::splat(b[n])));
                high = h[n].mul_add(V::splat(c[n]), high);
            }
            out[t] = low.add(high);
        }
        self.h[first..][..COUNT].copy_from_slice(&h);
        COUNT
    }
}

#[inline(always)]
pub(super) fn decay<V: Lane, const TAME: bool>(z: V) -> V {
    if TAME { V::power(z) } else { V::power_of_any(z) }
}

/// The largest size of numbers, or NaN if one of them is NaN or infinite.
struct Most<V> {
    size: V,
    odd: V,
}

impl<V: Lane> Most<V> {
    #[inline(always)]
    fn none() -> Self {
        Most { size: V::splat(0.0), odd: V::splat(0.0) }
    }
    #[inline(always)]
    fn see(&mut self, x: V) {
        let size = x.abs();
        self.size = self.size.below(size, size, self.size);
        self.odd = self.odd.add(x.sub(x));
    }
    #[inline(always)]
    fn number(self) -> f32 {
        let mut x = [0.0; LANES];
        self.size.add(self.odd).store(&mut x);
        x.into_iter().fold(0.0, |most, x| if x <= most { most } else { x })
    }
}

/// Where a row of a batch entry begins.
#[inline(always)]
pub(super) fn at(layout: &Layout<3>, batch: usize, row: usize) -> usize {
    let [entry, step, _] = layout.strides();
    batch * entry + row * step
}

/// Tiles of neighbouring columns of one order.
#[inline(always)]
pub(super) fn tiles<V: Lane, T: Float>(call: &Call<'_, T>, order: usize, span: &Span) -> Vec<Tile<V>> {
    let mut tiles = Vec::new();
    let mut column = span.first;
    while column < span.end {
        // No tile crosses into channels of another group.
        let unit = (column / call.p.unit() + 1) * call.p.unit();
        let count = V::N.min(span.end.min(unit) - column);
        tiles.push(Tile::new(call, order, column, count));
        column += count;
    }
    tiles
}
