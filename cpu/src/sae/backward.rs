//! [`latens_kernels::sae::backward`] on the host: hits are sorted by latent, then every latent is visited once, by one
//! thread. A row names a latent once, so no latent has more than `rows` of the hits, one of `k` parts: hot latents need
//! no splitting. `x - b_dec` is not formed: the part of `b_dec` is taken off the sum at its end.
use super::{Level, gather, tasks};
use crate::once::once;
use crate::rows::threads;
use alloc::{vec, vec::Vec};
use latens_kernels::sae::{Codes, Shape, backward};
use latens_kernels::{Accumulate, DType, Float};

pub use latens_kernels::sae::backward::Plan;

once! {
    /// See [`backward::backward`].
    pub fn backward;
    /// [`backward()`] with these instructions.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        codes: Codes<T::Acc>,
        x: &[T],
        g: &[T],
        w_dec: &[T],
        b_dec: Option<&[T::Acc]>,
        dw_dec: &mut [T::Acc],
        dw_enc: &mut [T::Acc],
        db_enc: &mut [T::Acc],
        dvalues: &mut [T::Acc],
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    codes: Codes<T::Acc>,
    x: &[T],
    g: &[T],
    w_dec: &[T],
    b_dec: Option<&[T::Acc]>,
    dw_dec: &mut [T::Acc],
    dw_enc: &mut [T::Acc],
    db_enc: &mut [T::Acc],
    dvalues: &mut [T::Acc],
) {
    if T::DTYPE == DType::F64 {
        return backward::backward(p, codes, x, g, w_dec, b_dec, dw_dec, dw_enc, db_enc, dvalues);
    }
    let (n, dim) = (p.n(), p.dim());
    let dvalues = &mut dvalues[..p.shape().slots()];
    if !p.given() {
        dvalues.fill(T::Acc::default());
    }
    let hits = Hits::sorted(n, p.shape(), &codes);
    let centre: Option<Vec<f32>> = b_dec.map(|b| b.iter().map(|b| b.to_f32()).collect());
    let given = p.given().then_some(&*dvalues);
    let visit = Visit { level, p, values: codes.values, given, x, g, w_dec, centre: centre.as_deref(), hits: &hits };

    let mut parts = Vec::new();
    let (mut dec, mut enc, mut bias) = (&mut dw_dec[..n * dim], &mut dw_enc[..n * dim], &mut db_enc[..n]);
    let mut first = 0;
    for end in hits.cuts(threads() * PARTS) {
        let (dec_part, enc_part, bias_part);
        (dec_part, dec) = dec.split_at_mut((end - first) * dim);
        (enc_part, enc) = enc.split_at_mut((end - first) * dim);
        (bias_part, bias) = bias.split_at_mut(end - first);
        parts.push((first, dec_part, enc_part, bias_part));
        first = end;
    }
    let slopes = tasks(parts, |_, (first, dec, enc, bias)| {
        let count = hits.ends[first + bias.len()] - hits.ends[first];
        let mut slopes = Vec::with_capacity(count as usize);
        for at in 0..bias.len() {
            let sums = (&mut dec[at * dim..][..dim], &mut enc[at * dim..][..dim], &mut bias[at]);
            visit.latent(first + at, sums, &mut slopes);
        }
        slopes
    });
    if p.given() {
        return;
    }
    for (slope, hit) in slopes.into_iter().flatten().zip(&hits.list) {
        dvalues[hit.slot as usize] = T::Acc::from_f32(slope);
    }
}

/// Parts of the latents for each thread, so that none waits long for the last.
pub(super) const PARTS: usize = 8;

/// Hits of one latent whose rows are read again while they are still in the nearest caches.
const CHUNK: usize = 16;

#[derive(Clone, Copy, Default)]
pub(super) struct Hit {
    pub(super) slot: u32,
    row: u32,
}

/// All slots that name a latent, by rising latent, those of one by rising slot.
pub(super) struct Hits {
    pub(super) list: Vec<Hit>,
    /// The hits of latent `l` are `ends[l]..ends[l + 1]`.
    pub(super) ends: Vec<u32>,
}

impl Hits {
    /// A stable counting sort.
    pub(super) fn sorted<A: Float>(n: usize, shape: Shape, codes: &Codes<A>) -> Self {
        let named = |r: usize| codes.row(&shape, r).filter(|&slot| (codes.latents[slot] as usize) < n);
        let mut ends = vec![0; n + 1];
        for slot in (0..shape.rows()).flat_map(named) {
            ends[codes.latents[slot] as usize + 1] += 1;
        }
        for l in 0..n {
            ends[l + 1] += ends[l];
        }
        let (mut next, mut list) = (ends.clone(), vec![Hit::default(); ends[n] as usize]);
        for row in 0..shape.rows() {
            for slot in named(row) {
                let at = &mut next[codes.latents[slot] as usize];
                list[*at as usize] = Hit { slot: slot as u32, row: row as u32 };
                *at += 1;
            }
        }
        Self { list, ends }
    }

    /// Where to cut the latents so that parts have about as many hits and latents.
    pub(super) fn cuts(&self, parts: usize) -> impl Iterator<Item = usize> {
        let n = self.ends.len() - 1;
        let weight = |l: usize| self.ends[l] as usize + l;
        let all = weight(n);
        (1..=parts).map(move |part| {
            let (mut low, mut high) = (0, n);
            while low < high {
                let middle = (low + high) / 2;
                if weight(middle) * parts < all * part { low = middle + 1 } else { high = middle }
            }
            if part == parts { n } else { low }
        })
    }
}

struct Visit<'a, T: Float> {
    level: Level,
    p: &'a Plan,
    values: &'a [T::Acc],
    given: Option<&'a [T::Acc]>,
    x: &'a [T],
    g: &'a [T],
    w_dec: &'a [T],
    centre: Option<&'a [f32]>,
    hits: &'a Hits,
}

impl<T: Float> Visit<'_, T> {
    /// Add all hits of a latent, and say the gradients of their values.
    fn latent(&self, latent: usize, sums: (&mut [T::Acc], &mut [T::Acc], &mut T::Acc), slopes: &mut Vec<f32>) {
        let hits = &self.hits.list[self.hits.ends[latent] as usize..self.hits.ends[latent + 1] as usize];
        let (dec, enc, bias) = sums;
        if self.p.accumulate() == Accumulate::Replace {
            dec.fill(T::Acc::default());
            enc.fill(T::Acc::default());
            *bias = T::Acc::default();
        }
        if hits.is_empty() {
            return;
        }
        // `Acc` is `f32` here, and no other type comes so far.
        let (Some(dec), Some(enc)) = (crate::cast::cast_mut(dec), crate::cast::cast_mut(enc)) else { return };
        let dim = self.p.dim();
        let ([x_stride, _], [g_stride, _]) = (self.p.x().strides(), self.p.g().strides());
        let w = if self.given.is_some() { &[] } else { &self.w_dec[latent * self.p.w().strides()[0]..][..dim] };
        let mut total = bias.to_f32();
        let mut through = 0.0;
        let level = self.level;
        let value = |hit: &Hit| self.values[hit.slot as usize].to_f32();
        for hits in hits.chunks(CHUNK) {
            let (mut of_g, mut of_x) = ([(0.0, &[][..]); CHUNK], [(0.0, &[][..]); CHUNK]);
            let mut open = 0;
            for (of_g, hit) in of_g.iter_mut().zip(hits) {
                let g = &self.g[hit.row as usize * g_stride..][..dim];
                let mut slope = 0.0;
                if self.given.is_some() || value(hit) > 0.0 {
                    slope = self
                        .given
                        .map_or_else(|| gather::dot(level, g, w) + 0.0, |all| all[hit.slot as usize].to_f32());
                    of_x[open] = (slope, &self.x[hit.row as usize * x_stride..][..dim]);
                    open += 1;
                }
                *of_g = (value(hit), g);
                through += slope;
                slopes.push(slope);
            }
            gather::add_rows(level, dec, &of_g[..hits.len()], &of_x[..open]);
            gather::add_rows(level, enc, &of_x[..open], &[]);
        }
        if let Some(centre) = self.centre.filter(|_| through != 0.0) {
            level.run(
                #[inline(always)]
                |fused| {
                    for (enc, &c) in enc.iter_mut().zip(centre) {
                        *enc = fused.mul_add(-through, c, *enc);
                    }
                },
            );
        }
        total += through;
        *bias = T::Acc::from_f32(total);
    }
}
