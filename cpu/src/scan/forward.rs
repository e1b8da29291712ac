#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
use super::block::{Block, Positions, STEPS, at, fetch, put};
use super::tile::{Tile, tiles};
use super::{Call, Span};
use crate::sheet::Sheet;
use crate::simd::{Fused, LANES, Lane, Task};
use alloc::{vec, vec::Vec};
use latens_kernels::Float;

/// The columns of a span in one batch entry, through all orders and sequences.
pub(super) struct Forward<'a, 'c, T: Float> {
    pub call: &'a Call<'c, T>,
    pub span: Span,
    pub y: &'a Sheet<T>,
    pub last: Option<&'a Sheet<T::Acc>>,
    /// Whether `last` holds what precedes.
    pub carried: bool,
}

impl<T: Float> Task for Forward<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lane, const M: usize, const C: usize>(self, _: Fused) {
        let (call, p) = (self.call, self.call.p);
        let orders = p.route().orders();
        let mut sums: Vec<V> = Vec::new();
        for order in 0..orders {
            let mut tiles = tiles::<V, T>(call, order, &self.span);
            let width = tiles.len();
            if orders > 1 && order == 0 {
                sums = vec![V::splat(0.0); p.route().len() * width];
            }
            self.order(
                order,
                &mut tiles,
                #[inline(always)]
                |tile: &Tile<V>, k: usize, block: &Block<V>, out: &[V; STEPS]| {
                    for t in 0..block.count {
                        if orders == 1 {
                            self.finish(tile, block.rows[t], out[t]);
                        } else {
                            let sum = &mut sums[block.rows[t] * width + k];
                            *sum = sum.add(out[t]);
                            if order + 1 == orders {
                                self.finish(tile, block.rows[t], *sum);
                            }
                        }
                    }
                },
            );
        }
    }
}

impl<T: Float> Forward<'_, '_, T> {
    /// All sequences of one order.
    #[inline(always)]
    fn order<V: Lane>(
        &self,
        order: usize,
        tiles: &mut [Tile<V>],
        mut each: impl FnMut(&Tile<V>, usize, &Block<V>, &[V; STEPS]),
    ) {
        let (call, p) = (self.call, self.call.p);
        let mut block = Block::new();
        for s in call.sequences(self.span.batch) {
            for tile in tiles.iter_mut() {
                let mut h = core::mem::take(&mut tile.h);
                match self.last.filter(|_| self.carried) {
                    Some(last) => {
                        // SAFETY: these channels of this batch entry are this task's.
                        let all = unsafe { self.state(last, tile, s.index) };
                        for (n, h) in h.iter_mut().enumerate() {
                            let mut x = [0.0; LANES];
                            for (lane, x) in x[..tile.count].iter_mut().enumerate() {
                                *x = all[lane * p.states() + n].to_f32();
                            }
                            *h = V::load(&x);
                        }
                    }
                    None => tile.gather(call.x.initial, &s, p.channels(), &mut h),
                }
                tile.h = h;
            }
            let mut soon = Positions::new(call, &s, order, s.begin);
            while soon.count > 0 {
                let now = soon;
                soon = Positions::new(call, &s, order, now.first + STEPS);
                for (k, tile) in tiles.iter_mut().enumerate() {
                    tile.read(call, &s, &now, &soon, &mut block);
                    for row in &soon.rows[..if tile.column % LANES < V::N { soon.count } else { 0 }] {
                        self.y.prefetch((s.batch * p.route().len() + row) * p.width() + tile.column);
                    }
                    let mut out = block.u.map(
                        #[inline(always)]
                        |u| tile.skip.mul(u),
                    );
                    tile.scan(call.b.data, call.c.data, &block, Some(&mut out));
                    V::apart(
                        #[inline(always)]
                        || each(tile, k, &block, &out),
                    );
                }
            }
            for tile in tiles.iter() {
                if let Some(last) = self.last {
                    // SAFETY: as above.
                    tile.scatter(&tile.h, unsafe { self.state(last, tile, s.index) });
                }
            }
        }
    }

    /// Gate and store a row of a tile.
    #[inline(always)]
    fn finish<V: Lane>(&self, tile: &Tile<V>, row: usize, out: V) {
        let p = self.call.p;
        let out = match (self.call.x.gate, &p.layouts().gate) {
            (Some(gate), Some(layout)) => {
                let z: V = fetch(&gate[at(layout, self.span.batch, row) + tile.column..], tile.count);
                out.mul(z).mul(z.sigmoid())
            }
            _ => out,
        };
        let row = self.span.batch * p.route().len() + row;
        // SAFETY: these columns of this batch entry are this task's.
        put(out, unsafe { self.y.part(row * p.width() + tile.column, tile.count) });
    }

    /// # Safety
    /// Nobody else touches these channels of the sequence.
    #[allow(clippy::mut_from_ref)] // of another's memory
    #[inline(always)]
    unsafe fn state<'s, V>(&self, of: &'s Sheet<T::Acc>, tile: &Tile<V>, sequence: usize) -> &'s mut [T::Acc] {
        let (channels, states) = (self.call.p.channels(), self.call.p.states());
        // SAFETY: the caller's promise.
        unsafe { of.part((sequence * channels + tile.channel) * states, tile.count * states) }
    }
}
