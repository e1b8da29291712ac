//! A few neighbouring channels, one to a lane, through a few positions.
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
use super::block::{Block, Most, Positions, STEPS, at, fetch};
use super::{Call, Span};
use crate::simd::{LANES, Lane, prefetch_at};
use alloc::{vec, vec::Vec};
use latens_kernels::{Float, route::Sequence};

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
        let (l, column, shared) = (call.p.layouts(), self.u_column(call), self.group * call.p.states());
        V::apart(
            #[inline(always)]
            || {
                // A line of memory has lanes of several tiles, of which one asks.
                for t in 0..if self.channel % LANES < V::N { soon.count } else { 0 } {
                    prefetch_at(call.x.delta, soon.delta[t] + self.channel);
                    prefetch_at(call.x.u, soon.u[t] + column);
                }
                (block.count, block.rows) = (now.count, now.rows);
                for t in 0..now.count {
                    block.b[t] = now.b[t] + shared;
                    block.c[t] = now.c[t] + shared;
                    let raw = fetch::<V, T>(&call.x.delta[now.delta[t] + self.channel..], self.count).add(self.bias);
                    (block.raw[t], block.delta[t]) = (raw, raw);
                    block.u[t] = match call.x.taps {
                        None => fetch(&call.x.u[now.u[t] + column..], self.count),
                        Some(taps) => self.convolved(call, taps, s, now.first + t),
                    };
                }
                for delta in &mut block.delta[..if l.softplus { now.count } else { 0 }] {
                    *delta = delta.softplus();
                }
                let mut most = Most::none();
                for t in 0..now.count {
                    most.see(block.delta[t]);
                    block.entry[t] = block.delta[t].mul(block.u[t]);
                }
                // Not so for a NaN.
                block.tame = most.number() * self.top < 125.0 * V::UNITS;
            },
        );
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

    /// Take the states through a block, and add what they give to `out`, if that is asked for.
    #[inline(always)]
    pub(super) fn scan(&mut self, b: &[f32], c: &[f32], block: &Block<V>, out: Option<&mut [V; STEPS]>) {
        match (block.tame, out) {
            (true, Some(out)) => self.scan_by::<true, true>(b, c, block, out),
            (false, Some(out)) => self.scan_by::<false, true>(b, c, block, out),
            (true, None) => self.scan_by::<true, false>(b, c, block, &mut [V::splat(0.0); STEPS]),
            (false, None) => self.scan_by::<false, false>(b, c, block, &mut [V::splat(0.0); STEPS]),
        }
    }

    #[inline(always)]
    fn scan_by<const TAME: bool, const OUT: bool>(
        &mut self,
        b: &[f32],
        c: &[f32],
        block: &Block<V>,
        out: &mut [V; STEPS],
    ) {
        V::apart(
            #[inline(always)]
            || {
                let (mut n, states) = (0, self.h.len());
                while n < states {
                    n += match states - n {
                        16.. if V::STATES == 16 => self.part::<TAME, OUT, 16>(b, c, block, n, out),
                        8.. => self.part::<TAME, OUT, 8>(b, c, block, n, out),
                        4.. => self.part::<TAME, OUT, 4>(b, c, block, n, out),
                        _ => self.part::<TAME, OUT, 1>(b, c, block, n, out),
                    };
                }
            },
        );
    }

    /// `COUNT` states, which stay in registers, or beside them where there are only sixteen.
    #[inline(always)]
    fn part<const TAME: bool, const OUT: bool, const COUNT: usize>(
        &mut self,
        b: &[f32],
        c: &[f32],
        block: &Block<V>,
        first: usize,
        out: &mut [V; STEPS],
    ) -> usize {
        let (mut a, mut h) = ([V::splat(0.0); COUNT], [V::splat(0.0); COUNT]);
        a.copy_from_slice(&self.a[first..][..COUNT]);
        h.copy_from_slice(&self.h[first..][..COUNT]);
        for t in 0..block.count {
            let (b, c) = (&b[block.b[t] + first..][..COUNT], &c[block.c[t] + first..][..COUNT]);
            let (delta, entry) = (block.delta[t], block.entry[t]);
            let (mut low, mut high) = (out[t], V::splat(0.0));
            // Two loops, for the compiler does not unroll one of sixteen rounds, and only then h stays in registers.
            for n in 0..COUNT.min(8) {
                h[n] = decay::<V, TAME>(delta.mul(a[n])).mul_add(h[n], entry.mul(V::splat(b[n])));
                low = if OUT { h[n].mul_add(V::splat(c[n]), low) } else { low };
            }
            for n in 8..COUNT {
                h[n] = decay::<V, TAME>(delta.mul(a[n])).mul_add(h[n], entry.mul(V::splat(b[n])));
                high = if OUT { h[n].mul_add(V::splat(c[n]), high) } else { high };
            }
            if OUT {
                out[t] = low.add(high);
            }
        }
        self.h[first..][..COUNT].copy_from_slice(&h);
        COUNT
    }
}

#[inline(always)]
pub(super) fn decay<V: Lane, const TAME: bool>(z: V) -> V {
    if TAME { V::power(z) } else { V::power_of_any(z) }
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
