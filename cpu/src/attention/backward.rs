//! The gradients of attention on the host.
//!
//! A part is a run of pairs, a query and a head of one group each, against all keys that they see. It makes scores and the
//! gradients of weights in tiles of keys by pairs, and adds up what belongs to its queries and, by itself, to the keys; the
//! sums over parts come last, in their order. How many parts there are depends on the shape alone.
use super::product::{self, product, tiles};
use super::{KEYS, ROWS, finite, tile};
use crate::level::Level;
use crate::once::once;
use crate::simd::{Fused, Lane, Task, run};
use crate::{math, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{DType, Float, attention::Plan};

/// Parts of the pairs of one group: as many sums over keys are held at once.
const PARTS: usize = 8;

/// What is read.
#[derive(Clone, Copy)]
struct Call<'a, T: Float> {
    p: &'a Plan,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    y: &'a [T],
    lse: &'a [T::Acc],
    dy: &'a [T],
    /// Whether gradients of queries, of keys and of values are wanted.
    wanted: [bool; 3],
}

once! {
    /// See [`latens_kernels::attention::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        q: &[T],
        k: &[T],
        v: &[T],
        y: &[T],
        lse: &[T::Acc],
        dy: &[T],
        dq: Option<&mut [T]>,
        dk: Option<&mut [T]>,
        dv: Option<&mut [T]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    q: &[T],
    k: &[T],
    v: &[T],
    y: &[T],
    lse: &[T::Acc],
    dy: &[T],
    dq: Option<&mut [T]>,
    dk: Option<&mut [T]>,
    dv: Option<&mut [T]>,
) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::attention::backward(p, q, k, v, y, lse, dy, dq, dk, dv);
    }
    let ([batch, t, heads, dim], group, kv_heads) = (p.out(), p.group(), p.kv_heads());
    let wanted = [dq.is_some(), dk.is_some(), dv.is_some()];
    let call = Call { p, q, k, v, y, lse, dy, wanted };
    let pairs = t * group;
    let size = pairs.div_ceil(PARTS).next_multiple_of(ROWS).max(4 * ROWS);
    let count = pairs.div_ceil(size);
    let done = rows::collect(batch * kv_heads * count, |task| {
        let (head, first) = (task / count, task % count * size);
        let part = Part::new(call, [head / kv_heads, head % kv_heads], first, (pairs - first).min(size));
        run(level, part)
    });
    if let Some(dq) = dq {
        rows::each_one(heads * dim, &mut dq[..batch * t * heads * dim], |row, dq| {
            for (h, dq) in dq.chunks_exact_mut(dim.max(1)).enumerate() {
                let (b, pair) = (row / t, row % t * group + h % group);
                let sums = &done[(b * kv_heads + h / group) * count + pair / size];
                let at = pair % size / ROWS * sums.depth * ROWS + pair % ROWS;
                for (d, dq) in dq.iter_mut().enumerate() {
                    *dq = T::from_f32(sums.q[at + d * ROWS] * p.scale());
                }
            }
        });
    }
    let (s, width) = (p.s(), kv_heads * dim);
    let of_keys: fn(&Sums) -> &[f32] = |sums| &sums.k;
    let of_values: fn(&Sums) -> &[f32] = |sums| &sums.v;
    for (to, of) in [(dk, of_keys), (dv, of_values)] {
        let Some(to) = to else { continue };
        rows::each_one(width, &mut to[..batch * s * width], |row, to| {
            for (g, to) in to.chunks_exact_mut(dim.max(1)).enumerate() {
                let parts = &done[(row / s * kv_heads + g) * count..][..count];
                let parts = parts.iter().filter_map(|sums| of(sums).get(row % s * sums.depth..)?.get(..dim));
                let mut sum = [0.0; latens_kernels::attention::DIM];
                parts.for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
                to.iter_mut().zip(sum).for_each(|(to, sum)| *to = T::from_f32(sum));
            }
        });
    }
}

/// What a part adds up.
struct Sums {
    depth: usize,
    /// `[blocks, depth, ROWS]`, before the scale.
    q: Vec<f32>,
    /// `[keys, depth]`.
    k: Vec<f32>,
    /// `[keys, depth]`.
    v: Vec<f32>,
}

/// A run of pairs of group `g` of a batch entry, with what they bring: blocks of [`ROWS`], each as rows of `depth` entries and
/// turned.
struct Part<'a, T: Float> {
    call: Call<'a, T>,
    b: usize,
    g: usize,
    depth: usize,
    blocks: Vec<Block>,
}

struct Block {
    /// Queries times the scale, `[ROWS, depth]` and `[depth, ROWS]`.
    q: [Vec<f32>; 2],
    /// Gradients of results, in the same way.
    dy: [Vec<f32>; 2],
    lse: [f32; ROWS],
    /// Products of results with their gradients.
    whole: [f32; ROWS],
    visible: [u32; ROWS],
    /// Whether all of it is finite.
    finite: bool,
}

impl<'a, T: Float> Part<'a, T> {
    fn new(call: Call<'a, T>, [b, g]: [usize; 2], first: usize, pairs: usize) -> Self {
        let depth = call.p.out()[3].next_multiple_of(16);
        let blocks = (first..first + pairs).step_by(ROWS);
        let mut part = Self { call, b, g, depth, blocks: Vec::new() };
        part.blocks = blocks.map(|at| part.block(at, (first + pairs - at).min(ROWS))).collect();
        part
    }

    fn block(&self, first: usize, pairs: usize) -> Block {
        let Call { p, q, y, lse, dy, .. } = self.call;
        let ([_, t, heads, dim], depth) = (p.out(), self.depth);
        let [strides, dy_strides] = [p.layouts()[0], p.dy()].map(|layout| layout.strides());
        let room = || [vec![0.0; ROWS * depth], vec![0.0; ROWS * depth]];
        let (mut of_q, mut of_dy) = (room(), room());
        let (mut sums, mut whole, mut visible, mut strange) = ([0.0; ROWS], [0.0; ROWS], [0; ROWS], 0.0);
        for row in 0..pairs {
            let (i, h) = ((first + row) / p.group(), self.g * p.group() + (first + row) % p.group());
            let at = |strides: [usize; 4]| self.b * strides[0] + i * strides[1] + h * strides[2];
            let n = (self.b * t + i) * heads + h;
            let (q, dy, y) = (&q[at(strides)..][..dim], &dy[at(dy_strides)..][..dim], &y[n * dim..][..dim]);
            for d in 0..dim {
                let (x, slope) = (q[d].to_f32() * p.scale(), dy[d].to_f32());
                (of_q[0][row * depth + d], of_q[1][d * ROWS + row]) = (x, x);
                (of_dy[0][row * depth + d], of_dy[1][d * ROWS + row]) = (slope, slope);
                whole[row] += slope * y[d].to_f32();
                strange += x * 0.0 + slope * 0.0;
            }
            (sums[row], visible[row]) = (lse[n].to_f32(), p.visible(i) as u32);
            // What sees no key has no sum.
            strange += if visible[row] == 0 { 0.0 } else { whole[row] * 0.0 + sums[row] * 0.0 };
        }
        Block { q: of_q, dy: of_dy, lse: sums, whole, visible, finite: strange == 0.0 }
    }
}

impl<T: Float> Task for Part<'_, T> {
    type Output = Sums;
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> Sums {
        let ([_, _, _, dim], [_, k_layout, v_layout], depth) = (self.call.p.out(), self.call.p.layouts(), self.depth);
        let [of_q, of_k, of_v] = self.call.wanted;
        let seen = self.blocks.iter().flat_map(|block| block.visible).max().unwrap_or(0) as usize;
        let room = |wanted: bool| vec![0.0; if wanted { seen.next_multiple_of(KEYS) * depth } else { 0 }];
        let dq = vec![0.0; self.blocks.len() * depth * ROWS];
        let mut sums = Sums { depth, q: dq, k: room(of_k), v: room(of_v) };
        let [mut k, mut v] = [(); 2].map(|()| vec![0.0; KEYS * depth]);
        let [mut weights, mut slopes] = [(); 2].map(|()| vec![0.0; KEYS * ROWS]);
        for first in (0..seen).step_by(KEYS) {
            let keys = (seen - first).min(KEYS);
            let place =
                |strides: [usize; 4]| (self.b * strides[0] + first * strides[1] + self.g * strides[2], strides[1]);
            tile(self.call.k, place(k_layout.strides()), keys, dim, &mut k, depth);
            tile(self.call.v, place(v_layout.strides()), keys, dim, &mut v, depth);
            let all_finite = finite(&k[..keys * depth]) & finite(&v[..keys * depth]);
            let m = keys.next_multiple_of(product::ROWS);
            for (block, dq) in self.blocks.iter().zip(sums.q.chunks_exact_mut((depth * ROWS).max(1))) {
                if block.visible.iter().all(|&visible| visible as usize <= first) {
                    continue;
                }
                product::<L, M, C>([m, dim, ROWS], &k, [depth, 1], (&block.q[1], ROWS), (&mut weights, ROWS), false);
                product::<L, M, C>([m, dim, ROWS], &v, [depth, 1], (&block.dy[1], ROWS), (&mut slopes, ROWS), false);
                shares(fused, block, first as u32, keys, &mut weights, &mut slopes);
                let mut of_keys = sums.k.get_mut(first * depth..).filter(|_| of_k);
                let mut of_values = sums.v.get_mut(first * depth..).filter(|_| of_v);
                if !(all_finite && block.finite) {
                    blind(block, [&k, &weights, &slopes], [first, keys, depth], dq, of_keys, of_values);
                    continue;
                }
                if let Some(dv) = &mut of_values {
                    columns::<L, M, C>([m, ROWS, depth], &weights, &block.dy[0], dv);
                }
                if let Some(dk) = &mut of_keys {
                    columns::<L, M, C>([m, ROWS, depth], &slopes, &block.q[0], dk);
                }
                if of_q {
                    product::<L, M, C>([depth, keys, ROWS], &k, [1, depth], (&slopes, ROWS), (dq, ROWS), true);
                }
            }
        }
        sums
    }
}

/// `c[m, depth] += a[m, ROWS] b[ROWS, depth]`: as many registers side by side as fit, then one by one.
#[inline(always)]
fn columns<L: Lane, const M: usize, const C: usize>([m, rows, depth]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32]) {
    let wide = L::N * if L::N == 8 { 2 } else { C };
    let most = depth / wide * wide;
    product::<L, M, C>([m, rows, most], a, [ROWS, 1], (b, depth), (c, depth), true);
    tiles::<L, M, 1>([m, rows, depth - most], a, [ROWS, 1], (&b[most..], depth), (&mut c[most..], depth), true);
}

/// Scores to weights, and gradients of weights to those of scores; zeros of keys that a pair does not see.
#[inline(always)]
fn shares(fused: Fused, block: &Block, first: u32, keys: usize, weights: &mut [f32], slopes: &mut [f32]) {
    for j in 0..KEYS {
        let (weights, slopes) = (&mut weights[j * ROWS..][..ROWS], &mut slopes[j * ROWS..][..ROWS]);
        if j >= keys {
            // Rows that fill up a tile.
            weights.fill(0.0);
            slopes.fill(0.0);
            continue;
        }
        let key = first + j as u32;
        for row in 0..ROWS {
            let seen = key < block.visible[row];
            let weight = math::exp(fused, weights[row] - block.lse[row]);
            let slope = weight * (slopes[row] - block.whole[row]);
            (weights[row], slopes[row]) = if seen { (weight, slope) } else { (0.0, 0.0) };
        }
    }
}

/// The last three products where something is not finite: a zero times it would not be zero, so pairs of a query and a key
/// that it does not see are left out one by one.
#[cold]
fn blind(
    block: &Block,
    [k, weights, slopes]: [&[f32]; 3],
    [first, keys, depth]: [usize; 3],
    dq: &mut [f32],
    mut dk: Option<&mut [f32]>,
    mut dv: Option<&mut [f32]>,
) {
    for row in 0..ROWS {
        for j in 0..(block.visible[row] as usize).saturating_sub(first).min(keys) {
            let (weight, slope) = (weights[j * ROWS + row], slopes[j * ROWS + row]);
            for d in 0..depth {
                dq[d * ROWS + row] += slope * k[j * depth + d];
                if let Some(dk) = &mut dk {
                    dk[j * depth + d] += slope * block.q[0][row * depth + d];
                }
                if let Some(dv) = &mut dv {
                    dv[j * depth + d] += weight * block.dy[0][row * depth + d];
                }
            }
        }
    }
}
