#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
use super::lane::{Lane, Level, Sheet, Task};
use super::tile::{Block, Positions, STEPS, Tile, at, decay, fetch, put, tiles};
use super::{BACKWARD, Call, Span};
use crate::rows;
use alloc::{vec, vec::Vec};
use latens_kernels::{Float, route::Sequence, scan::Gradients};

/// States that are taken back through a block at a time.
const STATES: usize = 16;

/// Where all tasks write: gradients of columns of their own.
struct Sheets<T: Float> {
    du: Option<Sheet<T>>,
    ddelta: Option<Sheet<T>>,
    dgate: Option<Sheet<T>>,
    dinitial: Option<Sheet<T::Acc>>,
}

/// What a task sums: of parameters over its batch entry, and of `b` and `c` over its channels.
struct Part {
    span: Span,
    /// `[orders, columns, states]`, then `[orders, columns]` twice.
    a: Vec<f32>,
    skip: Vec<f32>,
    bias: Vec<f32>,
    /// `[units, len, 2, states]`, for each unit that the task has channels of in each order.
    shared: Vec<(usize, Vec<f32>)>,
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
    fn run<V: Lane>(self) -> Part {
        let p = self.call.p;
        let (len, states, orders) = (p.route().len(), p.states(), p.route().orders());
        let mut all: Vec<Order<V>> = (0..orders).map(|order| self.order(order)).collect();
        let width = all.first().map_or(0, |order| order.tiles.len());
        // First what all orders give before the gate, then its gradient.
        let mut g = vec![V::splat(0.0); len * width];
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
                    let mut out = [V::splat(0.0); STEPS];
                    for t in 0..block.count {
                        out[t] = tile.skip.mul(block.u[t]);
                    }
                    tile.scan(call, &block, &mut out);
                    if call.x.gate.is_some() {
                        for t in 0..block.count {
                            let sum = &mut outs[block.rows[t] * width + k];
                            *sum = sum.add(out[t]);
                        }
                    }
                }
            }
        }
    }

    /// From the output before the gate to its gradient, by row and tile; the gradient of the gate on the way.
    #[inline(always)]
    fn gate<V: Lane>(&self, all: &[Order<V>], g: &mut [V]) {
        let (call, p) = (self.call, self.call.p);
        let Some(order) = all.first() else { return };
        let width = order.tiles.len();
        for (i, g) in g.iter_mut().enumerate() {
            let (batch, row, tile) = (self.span.batch, i / width, &order.tiles[i % width]);
            let dy: V = fetch(&self.dy[at(&p.dy(), batch, row) + tile.column..], tile.count);
            let (Some(gate), Some(layout)) = (call.x.gate, &p.layouts().gate) else {
                *g = dy;
                continue;
            };
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
        for s in sequences.iter().rev() {
            for k in 0..order.tiles.len() {
                order.tiles[k].gather(self.dlast, s, p.channels(), &mut order.later[k]);
            }
            for first in (s.begin..s.end).step_by(STEPS).rev() {
                let now = Positions::new(call, s, order.number, first);
                let before = if first > s.begin { first - STEPS } else { s.end };
                let soon = Positions::new(call, s, order.number, before);
                for k in (0..order.tiles.len()).rev() {
                    kept -= states;
                    let group = order.tiles[k].group;
                    let sums = shared[begin..].iter_mut().find(|(of, _)| *of == group);
                    let Some((_, sums)) = sums else { continue };
                    order.tiles[k].read(call, s, &now, &soon, &mut block);
                    self.block(order, k, kept, &block, g, du, sums);
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

    /// One tile back through a block.
    #[inline(always)]
    fn block<V: Lane>(
        &self,
        order: &mut Order<V>,
        k: usize,
        kept: usize,
        block: &Block<V>,
        g: &[V],
        du: &mut [V],
        sums: &mut [f32],
    ) {
        let (p, zero, width) = (self.call.p, V::splat(0.0), order.tiles.len());
        let states = p.states();
        let (mut of, mut by_b, mut by_a) = ([zero; STEPS], [zero; STEPS], [zero; STEPS]);
        for t in 0..block.count {
            of[t] = g[block.rows[t] * width + k];
        }
        for n in (0..states).step_by(STATES) {
            let h = &order.kept[kept + n..kept + states.min(n + STATES)];
            let later = &mut order.later[k][n..states.min(n + STATES)];
            let da = &mut order.a[k][n..states.min(n + STATES)];
            let tile = &order.tiles[k];
            match (h.len(), block.tame) {
                (STATES, true) => {
                    self.states::<V, STATES, true>(tile, n, h, later, da, block, &of, &mut by_b, &mut by_a, sums)
                }
                (STATES, false) => {
                    self.states::<V, STATES, false>(tile, n, h, later, da, block, &of, &mut by_b, &mut by_a, sums)
                }
                _ => {
                    for i in 0..h.len() {
                        let one = i..i + 1;
                        let (h, later, da) = (&h[one.clone()], &mut later[one.clone()], &mut da[one]);
                        self.states::<V, 1, false>(tile, n + i, h, later, da, block, &of, &mut by_b, &mut by_a, sums);
                    }
                }
            }
        }
        self.inputs(order, k, block, &of, &by_b, &by_a, du);
    }

    /// Some states of it: made again with their decays, then their gradients.
    #[inline(always)]
    fn states<V: Lane, const COUNT: usize, const TAME: bool>(
        &self,
        tile: &Tile<V>,
        first: usize,
        kept: &[V],
        later: &mut [V],
        da: &mut [V],
        block: &Block<V>,
        g: &[V; STEPS],
        by_b: &mut [V; STEPS],
        by_a: &mut [V; STEPS],
        sums: &mut [f32],
    ) {
        let (call, states, zero) = (self.call, self.call.p.states(), V::splat(0.0));
        let (mut h, mut decays) = ([[zero; COUNT]; STEPS + 1], [[zero; COUNT]; STEPS]);
        let (mut a, mut want) = ([zero; COUNT], [zero; COUNT]);
        h[0].copy_from_slice(kept);
        a.copy_from_slice(&tile.a[first..][..COUNT]);
        want.copy_from_slice(later);
        for t in 0..block.count {
            let b = &call.b.data[block.b[t] + first..][..COUNT];
            for n in 0..COUNT {
                decays[t][n] = decay::<V, TAME>(block.delta[t].mul(a[n]));
                h[t + 1][n] = decays[t][n].mul_add(h[t][n], block.entry[t].mul(V::splat(b[n])));
            }
        }
        let mut sum_a = [zero; COUNT];
        for t in (0..block.count).rev() {
            let (b, c) = (&call.b.data[block.b[t] + first..][..COUNT], &call.c.data[block.c[t] + first..][..COUNT]);
            let (mut of_b, mut of_c) = ([zero; COUNT], [zero; COUNT]);
            let (mut sum_b, mut through) = (by_b[t], by_a[t]);
            for n in 0..COUNT {
                let dh = g[t].mul_add(V::splat(c[n]), want[n]);
                let back = decays[t][n].mul(dh);
                let decayed = back.mul(h[t][n]);
                sum_b = dh.mul_add(V::splat(b[n]), sum_b);
                through = decayed.mul_add(a[n], through);
                sum_a[n] = block.delta[t].mul_add(decayed, sum_a[n]);
                of_b[n] = block.entry[t].mul(dh);
                of_c[n] = g[t].mul(h[t + 1][n]);
                want[n] = back;
            }
            (by_b[t], by_a[t]) = (sum_b, through);
            let row = block.rows[t] * 2 * states + first;
            V::add_sums(&of_b, &mut sums[row..][..COUNT]);
            V::add_sums(&of_c, &mut sums[row + states..][..COUNT]);
        }
        later.copy_from_slice(&want);
        for (da, sum) in da.iter_mut().zip(sum_a) {
            *da = da.add(sum);
        }
    }

    /// The gradients of `u`, `delta` and what they share, from the sums over states.
    #[inline(always)]
    fn inputs<V: Lane>(
        &self,
        order: &mut Order<V>,
        k: usize,
        block: &Block<V>,
        g: &[V; STEPS],
        by_b: &[V; STEPS],
        by_a: &[V; STEPS],
        du: &mut [V],
    ) {
        let (p, width, tile) = (self.call.p, order.tiles.len(), &order.tiles[k]);
        let (shared, one, zero) = (p.columns() != p.channels(), V::splat(1.0), V::splat(0.0));
        // Of the scaled `a`.
        let scale = V::splat(1.0 / V::scale());
        let (mut skip, mut bias) = (zero, zero);
        for t in 0..block.count {
            let (row, u) = (self.span.batch * p.route().len() + block.rows[t], block.u[t]);
            let of_u = block.delta[t].mul_add(by_b[t], tile.skip.mul(g[t]));
            let mut of_delta = u.mul_add(by_b[t], by_a[t].mul(scale));
            if p.layouts().softplus {
                let raw = block.raw[t];
                of_delta = of_delta.mul(V::splat(20.0).below(raw, one, raw.sigmoid()));
            }
            skip = g[t].mul_add(u, skip);
            bias = bias.add(of_delta);
            if shared {
                let sum = &mut du[block.rows[t] * width + k];
                *sum = sum.add(of_u);
            } else if let Some(to) = &self.to.du {
                // SAFETY: these channels of this batch entry are this task's.
                put(of_u, unsafe { to.part(row * p.columns() + tile.channel, tile.count) });
            }
            if let Some(to) = &self.to.ddelta {
                // SAFETY: as above.
                put(of_delta, unsafe { to.part(row * p.channels() + tile.channel, tile.count) });
            }
        }
        (order.skip[k], order.bias[k]) = (order.skip[k].add(skip), order.bias[k].add(bias));
    }
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
    let parts =
        rows::collect(spans.len(), |task| level.run(Backward { call, span: spans[task], dy, dlast, to: &sheets }));
    parameters(call, &parts, da, dskip, dbias);
    for (which, to) in [db, dc].into_iter().enumerate() {
        if let Some(to) = to {
            shared(call, &parts, which, to);
        }
    }
}

/// Sums over batch entries, in their order.
fn parameters<T: Float>(
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
fn shared<T: Float>(call: &Call<'_, T>, parts: &[Part], which: usize, to: &mut [T]) {
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
