//! One tile back through a block of positions.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // positions of several arrays at once
use super::super::block::{Block, STEPS, put};
use super::super::tile::{Tile, decay};
use super::{Backward, Order};
use crate::simd::Lane;
use latens_kernels::Float;

/// What a block sums over states, by position, and what it is given.
pub(super) struct Slopes<V> {
    /// Of the output.
    pub g: [V; STEPS],
    /// `Σ dh b`.
    pub by_b: [V; STEPS],
    /// `Σ dh a decay h`, with the scaled `a`.
    pub by_a: [V; STEPS],
}

/// States of a tile, made again with their decays from those before the block, then their gradients. What `b` and `c` get,
/// `[STEPS, 2, states]`, is added to what other tiles gave: only when all have, lanes are.
#[inline(always)]
pub(super) fn states<V: Lane, const TAME: bool>(
    tile: &Tile<V>,
    b: &[f32],
    c: &[f32],
    kept: &[V],
    later: &mut [V],
    da: &mut [V],
    block: &Block<V>,
    slopes: &mut Slopes<V>,
    sums: &mut [V],
) {
    V::apart(
        #[inline(always)]
        || {
            let mut n = 0;
            while n < kept.len() {
                n += match kept.len() - n {
                    8.. if V::BACK == 8 => part::<V, TAME, 8>(tile, b, c, n, kept, later, da, block, slopes, sums),
                    4.. => part::<V, TAME, 4>(tile, b, c, n, kept, later, da, block, slopes, sums),
                    _ => part::<V, TAME, 1>(tile, b, c, n, kept, later, da, block, slopes, sums),
                };
            }
        },
    );
}

#[inline(always)]
fn part<V: Lane, const TAME: bool, const COUNT: usize>(
    tile: &Tile<V>,
    b: &[f32],
    c: &[f32],
    first: usize,
    kept: &[V],
    later: &mut [V],
    da: &mut [V],
    block: &Block<V>,
    slopes: &mut Slopes<V>,
    sums: &mut [V],
) -> usize {
    let (states, zero) = (kept.len(), V::splat(0.0));
    let (mut before, mut decays) = ([[zero; COUNT]; STEPS], [[zero; COUNT]; STEPS]);
    let (mut a, mut h, mut want, mut sum_a) = ([zero; COUNT], [zero; COUNT], [zero; COUNT], [zero; COUNT]);
    a.copy_from_slice(&tile.a[first..][..COUNT]);
    h.copy_from_slice(&kept[first..][..COUNT]);
    want.copy_from_slice(&later[first..][..COUNT]);
    for t in 0..block.count {
        let b = &b[block.b[t] + first..][..COUNT];
        let of_c = &mut sums[(2 * t + 1) * states + first..][..COUNT];
        let (delta, entry, g) = (block.delta[t], block.entry[t], slopes.g[t]);
        for n in 0..COUNT {
            before[t][n] = h[n];
            decays[t][n] = decay::<V, TAME>(delta.mul(a[n]));
            h[n] = decays[t][n].mul_add(h[n], entry.mul(V::splat(b[n])));
            of_c[n] = g.mul_add(h[n], of_c[n]);
        }
    }
    for t in (0..block.count).rev() {
        let (b, c) = (&b[block.b[t] + first..][..COUNT], &c[block.c[t] + first..][..COUNT]);
        let of_b = &mut sums[2 * t * states + first..][..COUNT];
        let (delta, entry, g) = (block.delta[t], block.entry[t], slopes.g[t]);
        let (mut by_b, mut by_a) = (slopes.by_b[t], slopes.by_a[t]);
        for n in 0..COUNT {
            let dh = g.mul_add(V::splat(c[n]), want[n]);
            want[n] = decays[t][n].mul(dh);
            let decayed = want[n].mul(before[t][n]);
            by_b = dh.mul_add(V::splat(b[n]), by_b);
            by_a = decayed.mul_add(a[n], by_a);
            sum_a[n] = delta.mul_add(decayed, sum_a[n]);
            of_b[n] = entry.mul_add(dh, of_b[n]);
        }
        (slopes.by_b[t], slopes.by_a[t]) = (by_b, by_a);
    }
    later[first..][..COUNT].copy_from_slice(&want);
    for (da, sum) in da[first..][..COUNT].iter_mut().zip(sum_a) {
        *da = da.add(sum);
    }
    COUNT
}

impl<T: Float> Backward<'_, '_, T> {
    /// The gradients of `u`, `delta` and what they share, from the sums over states.
    #[inline(always)]
    pub(super) fn inputs<V: Lane>(
        &self,
        order: &mut Order<V>,
        k: usize,
        block: &Block<V>,
        Slopes { g, by_b, by_a }: &Slopes<V>,
        du: &mut [V],
    ) {
        let (p, width, tile) = (self.call.p, order.tiles.len(), &order.tiles[k]);
        let (shared, one, zero) = (p.columns() != p.channels(), V::splat(1.0), V::splat(0.0));
        // Of the scaled `a`.
        let scale = V::splat(1.0 / V::scale());
        let mut of_delta = [zero; STEPS];
        for t in 0..block.count {
            of_delta[t] = block.u[t].mul_add(by_b[t], by_a[t].mul(scale));
        }
        for t in 0..if p.layouts().softplus { block.count } else { 0 } {
            let raw = block.raw[t];
            of_delta[t] = of_delta[t].mul(V::splat(20.0).below(raw, one, raw.sigmoid()));
        }
        let (mut skip, mut bias) = (order.skip[k], order.bias[k]);
        for t in 0..block.count {
            let row = self.span.batch * p.route().len() + block.rows[t];
            let of_u = block.delta[t].mul_add(by_b[t], tile.skip.mul(g[t]));
            skip = g[t].mul_add(block.u[t], skip);
            bias = bias.add(of_delta[t]);
            if shared {
                let sum = &mut du[block.rows[t] * width + k];
                *sum = sum.add(of_u);
            } else if let Some(to) = &self.to.du {
                // SAFETY: these channels of this batch entry are this task's.
                put(of_u, unsafe { to.part(row * p.columns() + tile.channel, tile.count) });
            }
            if let Some(to) = &self.to.ddelta {
                // SAFETY: as above.
                put(of_delta[t], unsafe { to.part(row * p.channels() + tile.channel, tile.count) });
            }
        }
        (order.skip[k], order.bias[k]) = (skip, bias);
    }
}
