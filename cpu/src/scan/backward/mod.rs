#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
mod block;
mod sums;

use super::block::{Block, Positions, STEPS, at, fetch, put};
use super::tile::{Tile, tiles};
use super::{BACKWARD, Call, Span};
use crate::level::Level;
use crate::rows;
use crate::sheet::Sheet;
use crate::simd::{self, Fused, LANES, Lane, Task, prefetch_at};
use alloc::{vec, vec::Vec};
use block::Slopes;
use latens_kernels::{Float, route::Sequence, scan::Gradients};
use sums::{Part, parameters, shared};

/// Where all tasks write: gradients of columns of their own.
struct Sheets<T: Float> {
    du: Option<Sheet<T>>,
    ddelta: Option<Sheet<T>>,
    dgate: Option<Sheet<T>>,
    dinitial: Option<Sheet<T::Acc>>,
}

struct Backward<'a, 'c, T: Float> {
    call: &'a Call<'c, T>,
    span: Span,
    dy: &'a [T],
    dlast: Option<&'a [T::Acc]>,
    to: &'a Sheets<T>,
}

/// What one order of a task is taken back with.
struct Order<V> {
    number: usize,
    tiles: Vec<Tile<V>>,
    /// By tile: what later rows want of the states, and sums for the parameters.
    later: Vec<Vec<V>>,
    a: Vec<Vec<V>>,
    skip: Vec<V>,
    bias: Vec<V>,
    /// States before each block of each tile, in the order in which they were made.
    kept: Vec<V>,
}

impl<T: Float> Task for Backward<'_, '_, T> {
    type Output = Part;

    #[inline(always)]
    fn run<V: Lane, const M: usize, const C: usize>(self, _: Fused) -> Part {
        let p = self.call.p;
        let (len, states, orders) = (p.route().len(), p.states(), p.route().orders());
        let mut all: Vec<Order<V>> = (0..orders).map(|order| self.order(order)).collect();
        let width = all.first().map_or(0, |order| order.tiles.len());
        // First what all orders give before the gate, then its gradient.
        let mut g = vec![V::splat(0.0); if self.call.x.gate.is_some() { len * width } else { 0 }];
        for order in &mut all {
            self.forward(order, &mut g);
        }
        self.gate(&all, &mut g);
        let shared = p.columns() != p.channels();
        let mut du = vec![V::splat(0.0); if shared { len * width } else { 0 }];
        let columns = self.span.end - self.span.first;
        let mut part = Part {
            span: self.span,
            a: vec![0.0; orders * columns * states],
            skip: vec![0.0; orders * columns],
            bias: vec![0.0; orders * columns],
            shared: Vec::new(),
        };
        for (o, order) in all.iter_mut().enumerate() {
            self.back(order, &g, &mut du, &mut part.shared);
            for (k, tile) in order.tiles.iter().enumerate() {
                let at = o * columns + tile.column - self.span.first;
                tile.scatter(&order.a[k], &mut part.a[at * states..]);
                put(order.skip[k], &mut part.skip[at..][..tile.count]);
                put(order.bias[k], &mut part.bias[at..][..tile.count]);
            }
        }
        if let (true, Some(to), Some(order)) = (shared, &self.to.du, all.first()) {
            for (i, du) in du.into_iter().enumerate() {
                let (row, tile) = (self.span.batch * len + i / width, &order.tiles[i % width]);
                // SAFETY: these columns of this batch entry are this task's.
                put(du, unsafe { to.part(row * p.columns() + tile.column, tile.count) });
            }
        }
        part
    }
}

impl<T: Float> Backward<'_, '_, T> {
    #[inline(always)]
    fn order<V: Lane>(&self, order: usize) -> Order<V> {
        let tiles = tiles::<V, T>(self.call, order, &self.span);
        let (zero, states) = (V::splat(0.0), self.call.p.states());
        let vectors = || vec![vec![zero; states]; tiles.len()];
        let (later, a) = (vectors(), vectors());
        let (skip, bias) = (vec![zero; tiles.len()], vec![zero; tiles.len()]);
        Order { number: order, tiles, later, a, skip, bias, kept: Vec::new() }
    }

    /// Scan, keep the state before every block, and add up the outputs if there is a gate to ask for them.
    #[inline(always)]
    fn forward<V: Lane>(&self, order: &mut Order<V>, outs: &mut [V]) {
        let (call, p, width) = (self.call, self.call.p, order.tiles.len());
        let blocks: usize = call.sequences(self.span.batch).map(|s| s.len().div_ceil(STEPS)).sum();
        order.kept.reserve_exact(blocks * width * p.states());
        let mut block = Block::new();
        for s in call.sequences(self.span.batch) {
            for tile in &mut order.tiles {
                let mut h = core::mem::take(&mut tile.h);
                tile.gather(call.x.initial, &s, p.channels(), &mut h);
                tile.h = h;
            }
            let mut soon = Positions::new(call, &s, order.number, s.begin);
            while soon.count > 0 {
                let now = soon;
                soon = Positions::new(call, &s, order.number, now.first + STEPS);
                for (k, tile) in order.tiles.iter_mut().enumerate() {
                    order.kept.extend_from_slice(&tile.h);
                    tile.read(call, &s, &now, &soon, &mut block);
                    if call.x.gate.is_none() {
                        tile.scan(call.b.data, call.c.data, &block, None);
                        continue;
                    }
                    let mut out = block.u.map(
                        #[inline(always)]
                        |u| tile.skip.mul(u),
                    );
                    tile.scan(call.b.data, call.c.data, &block, Some(&mut out));
                    for t in 0..block.count {
                        let sum = &mut outs[block.rows[t] * width + k];
                        *sum = sum.add(out[t]);
                    }
                }
            }
        }
    }

    /// From the output before the gate to its gradient, by row and tile; the gradient of the gate on the way.
    #[inline(always)]
    fn gate<V: Lane>(&self, all: &[Order<V>], g: &mut [V]) {
        let (call, p) = (self.call, self.call.p);
        let (Some(order), Some(gate), Some(layout)) = (all.first(), call.x.gate, &p.layouts().gate) else { return };
        let width = order.tiles.len();
        for (i, g) in g.iter_mut().enumerate() {
            let (batch, row, tile) = (self.span.batch, i / width, &order.tiles[i % width]);
            let dy: V = self.dy(row, tile);
            let z: V = fetch(&gate[at(layout, batch, row) + tile.column..], tile.count);
            let (sigmoid, one) = (z.sigmoid(), V::splat(1.0));
            if let Some(dgate) = &self.to.dgate {
                let slope = sigmoid.mul(z.mul_add(one.sub(sigmoid), one));
                // SAFETY: these columns of this batch entry are this task's.
                put(dy.mul(*g).mul(slope), unsafe {
                    dgate.part((batch * p.route().len() + row) * p.width() + tile.column, tile.count)
                });
            }
            *g = dy.mul(z).mul(sigmoid);
        }
    }

    #[inline(always)]
    fn dy<V: Lane>(&self, row: usize, tile: &Tile<V>) -> V {
        fetch(&self.dy[at(&self.call.p.dy(), self.span.batch, row) + tile.column..], tile.count)
    }

    /// Back through all sequences and blocks of an order, last first.
    #[inline(always)]
    fn back<V: Lane>(&self, order: &mut Order<V>, g: &[V], du: &mut [V], shared: &mut Vec<(usize, Vec<f32>)>) {
        let (call, p) = (self.call, self.call.p);
        let (len, states) = (p.route().len(), p.states());
        // Sums for `b` and `c`, one after another in the order of groups.
        let begin = shared.len();
        for tile in &order.tiles {
            if shared[begin..].last().is_none_or(|(group, _)| *group != tile.group) {
                shared.push((tile.group, vec![0.0; len * 2 * states]));
            }
        }
        let sequences: Vec<Sequence> = call.sequences(self.span.batch).collect();
        let (mut kept, mut block) = (order.kept.len(), Block::new());
        let mut sums = vec![V::splat(0.0); STEPS * 2 * states];
        for s in sequences.iter().rev() {
            for k in 0..order.tiles.len() {
                order.tiles[k].gather(self.dlast, s, p.channels(), &mut order.later[k]);
            }
            for first in (s.begin..s.end).step_by(STEPS).rev() {
                let now = Positions::new(call, s, order.number, first);
                let before = if first > s.begin { first - STEPS } else { s.end };
                let soon = Positions::new(call, s, order.number, before);
                let mut of = shared.len();
                for k in (0..order.tiles.len()).rev() {
                    kept -= states;
                    order.tiles[k].read(call, s, &now, &soon, &mut block);
                    self.prefetch(&order.tiles[k], &soon);
                    self.tile(order, k, kept, &block, g, du, &mut sums);
                    // The next tile may be of another group.
                    let group = order.tiles[k].group;
                    if k == 0 || order.tiles[k - 1].group != group {
                        of -= 1;
                        add_lanes(&mut sums, &now, states, &mut shared[of].1);
                    }
                }
            }
            for (tile, later) in order.tiles.iter().zip(&order.later) {
                if let Some(dinitial) = &self.to.dinitial {
                    let at = (s.index * p.channels() + tile.channel) * states;
                    // SAFETY: these channels of this batch entry are this task's.
                    tile.scatter(later, unsafe { dinitial.part(at, tile.count * states) });
                }
            }
        }
    }

    /// Ask for the rows of the gradients of `soon`.
    #[inline(always)]
    fn prefetch<V: Lane>(&self, tile: &Tile<V>, soon: &Positions) {
        let (p, batch) = (self.call.p, self.span.batch);
        // A line of memory has lanes of several tiles, of which one asks.
        for &row in &soon.rows[..if tile.channel % LANES < V::N { soon.count } else { 0 }] {
            prefetch_at(self.dy, at(&p.dy(), batch, row) + tile.column);
            for (to, width) in [(&self.to.du, p.columns()), (&self.to.ddelta, p.channels())] {
                if let Some(to) = to {
                    to.prefetch((batch * p.route().len() + row) * width + tile.channel);
                }
            }
        }
    }

    /// One tile back through a block.
    #[inline(always)]
    fn tile<V: Lane>(
        &self,
        order: &mut Order<V>,
        k: usize,
        kept: usize,
        block: &Block<V>,
        g: &[V],
        du: &mut [V],
        sums: &mut [V],
    ) {
        let (width, none, tile) = (order.tiles.len(), [V::splat(0.0); STEPS], &order.tiles[k]);
        let mut slopes = Slopes { g: none, by_b: none, by_a: none };
        V::apart(
            #[inline(always)]
            || {
                for t in 0..block.count {
                    let row = block.rows[t];
                    slopes.g[t] = if g.is_empty() { self.dy(row, tile) } else { g[row * width + k] };
                }
            },
        );
        let (b, c, kept) = (self.call.b.data, self.call.c.data, &order.kept[kept..][..tile.a.len()]);
        let (later, da) = (&mut order.later[k], &mut order.a[k]);
        match block.tame {
            true => block::states::<V, true>(tile, b, c, kept, later, da, block, &mut slopes, sums),
            false => block::states::<V, false>(tile, b, c, kept, later, da, block, &mut slopes, sums),
        }
        V::apart(
            #[inline(always)]
            || self.inputs(order, k, block, &slopes, du),
        );
    }
}

/// Add lanes of the sums of a block, and begin anew.
#[inline(always)]
fn add_lanes<V: Lane>(sums: &mut [V], now: &Positions, states: usize, to: &mut [f32]) {
    V::apart(
        #[inline(always)]
        || {
            for (row, sums) in now.rows[..now.count].iter().zip(sums.chunks_exact_mut(2 * states)) {
                V::add_sums(sums, &mut to[row * 2 * states..][..2 * states]);
                sums.fill(V::splat(0.0));
            }
        },
    );
}

/// See [`latens_kernels::scan::backward`].
pub(super) fn backward<T: Float>(
    level: Level,
    call: &Call<'_, T>,
    dy: &[T],
    dlast: Option<&[T::Acc]>,
    to: Gradients<&mut [T], &mut [T::Acc]>,
) {
    let p = call.p;
    // The columns of a task decide in which order its sums are made, so they depend on the shapes alone.
    let spans = super::spans(p, BACKWARD);
    let Gradients { du, ddelta, da, db, dc, dskip, dbias, dgate, dinitial } = to;
    let sheets = Sheets {
        du: du.map(Sheet::new),
        ddelta: ddelta.map(Sheet::new),
        dgate: dgate.filter(|_| call.x.gate.is_some()).map(Sheet::new),
        dinitial: dinitial.map(Sheet::new),
    };
    let parts = rows::collect(spans.len(), |task| {
        simd::run(level, Backward { call, span: spans[task], dy, dlast, to: &sheets })
    });
    parameters(call, &parts, da, dskip, dbias);
    for (which, to) in [db, dc].into_iter().enumerate() {
        if let Some(to) = to {
            shared(call, &parts, which, to);
        }
    }
}
