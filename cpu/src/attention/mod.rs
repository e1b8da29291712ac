//! [`latens_kernels::attention`] on the host.
//!
//! A block is up to `ROWS` pairs of a query and a head of one group, the heads that share their keys. Everything is kept
//! transposed, a pair in each lane of a register: scores and results are products that broadcast numbers of `k` and `v`
//! as they lie in memory, and the softmax never sums across lanes. Keys come in tiles, with the online softmax between.
mod backward;
mod product;

use crate::cast::cast;
use crate::level::Level;
use crate::math;
use crate::once::once;
use crate::simd::{Fused, Lane, Task, run};
use alloc::{vec, vec::Vec};
pub use backward::{backward, backward_at};
use latens_kernels::{DType, Float, attention::Plan};
use product::{product, tiles};

/// Pairs of a block: a multiple of every register tile.
const ROWS: usize = 48;
/// Keys of a tile.
const KEYS: usize = 64;

once! {
    /// See [`latens_kernels::attention::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        q: &[T],
        k: &[T],
        v: &[T],
        y: &mut [T],
        lse: Option<&mut [T::Acc]>,
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, q: &[T], k: &[T], v: &[T], y: &mut [T], lse: Option<&mut [T::Acc]>) {
    let [batch, t, heads, dim] = p.out();
    let y = &mut y[..batch * t * heads * dim];
    if y.is_empty() || T::DTYPE == DType::F64 {
        // Without entries of y there may be sums all the same.
        return latens_kernels::attention::forward(p, q, k, v, y, lse);
    }
    // A piece of y is a run of queries with all their heads; of a single query, the heads of one group.
    let (group, queries) = (p.group(), (ROWS / p.group()).clamp(1, t));
    let (piece, groups) = if t == 1 { (group, 1) } else { (queries * heads, p.kv_heads()) };
    let (mut none, wanted) = (Vec::new(), lse.is_some());
    let lse = match lse {
        Some(lse) => lse,
        None => {
            none.resize(batch * t * heads, T::Acc::default());
            &mut none
        }
    };
    let work = |scratch: &mut Scratch, b: usize, i: usize, y: &mut [T], lse: &mut [T::Acc]| {
        let first = if t == 1 { 0 } else { i * queries };
        for g in 0..groups {
            let g = if t == 1 { i } else { g };
            let pairs = (t - first).min(queries) * group;
            for from in (0..pairs).step_by(ROWS) {
                let block = Block { p, b, g, first, from, pairs: (pairs - from).min(ROWS) };
                block.load(q, scratch);
                run(level, Scan { block: &block, k, v, scratch });
                block.store(scratch, y, wanted.then_some(&mut *lse), if t == 1 { 0 } else { g });
            }
        }
    };
    let (of_y, of_lse) = (t * heads * dim, t * heads);
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        y.par_chunks_mut(of_y).zip(lse.par_chunks_mut(of_lse)).enumerate().for_each(|(b, (y, lse))| {
            let pieces = y.par_chunks_mut(piece * dim).zip(lse.par_chunks_mut(piece)).enumerate();
            pieces.for_each_init(|| Scratch::new(dim), |scratch, (i, (y, lse))| work(scratch, b, i, y, lse));
        });
    }
    #[cfg(not(feature = "std"))]
    {
        let mut scratch = Scratch::new(dim);
        for (b, (y, lse)) in y.chunks_mut(of_y).zip(lse.chunks_mut(of_lse)).enumerate() {
            let pieces = y.chunks_mut(piece * dim).zip(lse.chunks_mut(piece)).enumerate();
            pieces.for_each(|(i, (y, lse))| work(&mut scratch, b, i, y, lse));
        }
    }
}

/// Pairs `from..from + pairs` of the queries from `first` on and the heads of group `g`.
struct Block<'a> {
    p: &'a Plan,
    b: usize,
    g: usize,
    first: usize,
    from: usize,
    pairs: usize,
}

/// What a block works in, for heads of up to `depth` entries, a multiple of 8.
struct Scratch {
    depth: usize,
    /// `[depth, ROWS]`, times the scale.
    q: Vec<f32>,
    /// `[KEYS, depth]`, a tile.
    k: Vec<f32>,
    /// `[KEYS, depth]`, a tile.
    v: Vec<f32>,
    /// `[KEYS, ROWS]`, then the weights.
    scores: Vec<f32>,
    /// `[depth, ROWS]`, not yet by the sum.
    y: Vec<f32>,
    sum: [f32; ROWS],
    largest: [f32; ROWS],
    /// Keys that each pair sees.
    visible: [u32; ROWS],
}

impl Scratch {
    fn new(dim: usize) -> Self {
        let depth = dim.next_multiple_of(8);
        let [q, y] = [(); 2].map(|()| vec![0.0; depth * ROWS]);
        let [k, v] = [(); 2].map(|()| vec![0.0; KEYS * depth]);
        let (sum, largest, visible) = ([0.0; ROWS], [0.0; ROWS], [0; ROWS]);
        Self { depth, q, k, v, scores: vec![0.0; KEYS * ROWS], y, sum, largest, visible }
    }
}

impl Block<'_> {
    /// The query and the head of a pair.
    fn pair(&self, row: usize) -> (usize, usize) {
        let (at, group) = (self.from + row, self.p.group());
        (self.first + at / group, self.g * group + at % group)
    }

    fn load<T: Float>(&self, q: &[T], to: &mut Scratch) {
        let ([_, _, _, dim], strides) = (self.p.out(), self.p.layouts()[0].strides());
        to.q.fill(0.0);
        to.y.fill(0.0);
        (to.sum, to.largest, to.visible) = ([0.0; ROWS], [f32::NEG_INFINITY; ROWS], [0; ROWS]);
        for row in 0..self.pairs {
            let (i, h) = self.pair(row);
            let query = &q[self.b * strides[0] + i * strides[1] + h * strides[2]..][..dim];
            for (d, x) in query.iter().enumerate() {
                to.q[d * ROWS + row] = x.to_f32() * self.p.scale();
            }
            to.visible[row] = self.p.visible(i) as u32;
        }
    }

    /// The result of each pair by its sum; zeros where there was no key. `y` and `lse` begin at the first query, and at the
    /// first head of a piece, of which this is group `g`.
    fn store<T: Float>(&self, from: &Scratch, y: &mut [T], mut lse: Option<&mut [T::Acc]>, g: usize) {
        let ([_, t, heads, dim], group) = (self.p.out(), self.p.group());
        for row in 0..self.pairs {
            let at = self.from + row;
            let head = if t == 1 { at % group } else { g * group + at % group };
            let to = at / group * heads + head;
            let seen = from.visible[row] != 0;
            let factor = if seen { 1.0 / from.sum[row] } else { 0.0 };
            for (d, y) in y[to * dim..][..dim].iter_mut().enumerate() {
                *y = T::from_f32(from.y[d * ROWS + row] * factor);
            }
            if let Some(lse) = &mut lse {
                let (largest, sum) = (f64::from(from.largest[row]), f64::from(from.sum[row]));
                let log = largest + latens_kernels::math::ln(sum);
                // Only `-inf` among the scores leaves nothing to divide by.
                lse[to] = T::Acc::narrow(if seen && largest == f64::NEG_INFINITY { f64::NAN } else { log });
            }
        }
    }
}

/// All tiles of keys that a block sees, one after the other.
struct Scan<'a, T> {
    block: &'a Block<'a>,
    k: &'a [T],
    v: &'a [T],
    scratch: &'a mut Scratch,
}

impl<T: Float> Task for Scan<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) {
        let Self { block, k, v, scratch } = self;
        let ([_, _, _, dim], [_, k_layout, v_layout]) = (block.p.out(), block.p.layouts());
        let (depth, few) = (scratch.depth, block.pairs <= L::N);
        let end = scratch.visible.iter().copied().max().unwrap_or(0) as usize;
        let open = scratch.visible[..block.pairs].iter().copied().min().unwrap_or(0) as usize;
        for first in (0..end).step_by(KEYS) {
            let keys = (end - first).min(KEYS);
            let place =
                |strides: [usize; 4]| (block.b * strides[0] + first * strides[1] + block.g * strides[2], strides[1]);
            let (of_k, of_v) = (place(k_layout.strides()), place(v_layout.strides()));
            let Scratch { q, k: to_k, scores, .. } = &mut *scratch;
            let rows = keys.next_multiple_of(product::ROWS);
            let (k, k_row) = lying(k, of_k, depth == dim && rows == keys)
                .unwrap_or_else(|| (tile(k, of_k, keys, dim, to_k, depth), depth));
            match few {
                true => tiles::<L, M, 1>([rows, dim, L::N], k, [k_row, 1], (q, ROWS), (scores, ROWS), false),
                false => product::<L, M, C>([rows, dim, ROWS], k, [k_row, 1], (q, ROWS), (scores, ROWS), false),
            }
            softmax(fused, scratch, first, keys, if few { L::N } else { ROWS });
            let Scratch { v: to_v, scores, y, visible, .. } = &mut *scratch;
            let shut = open < first + keys;
            let (v, v_row) =
                lying(v, of_v, depth == dim && !shut).unwrap_or_else(|| (tile(v, of_v, keys, dim, to_v, depth), depth));
            if shut && !finite(&v[..keys * depth]) {
                blind(v, scores, y, depth, visible.map(|visible| (visible as usize).saturating_sub(first).min(keys)));
                continue;
            }
            match few {
                true => tiles::<L, M, 1>([depth, keys, L::N], v, [1, v_row], (scores, ROWS), (y, ROWS), true),
                false => product::<L, M, C>([depth, keys, ROWS], v, [1, v_row], (scores, ROWS), (y, ROWS), true),
            }
        }
    }
}

/// Rows of `k` or `v` where they lie, and how far apart, if that will do: to copy them, and to ask of all whether they are finite,
/// which matters only where some are not to be seen, took 1.3 of the time of attention (2048 tokens, Ice Lake).
#[inline(always)]
fn lying<T: Float>(from: &[T], (at, stride): (usize, usize), will_do: bool) -> Option<(&[f32], usize)> {
    cast(from).filter(|_| will_do).map(|from| (&from[at..], stride))
}

/// Rows of one head of `k` or `v` as `f32`, side by side, in a tile.
#[inline(always)]
fn tile<'a, T: Float>(
    from: &[T],
    (at, stride): (usize, usize),
    keys: usize,
    dim: usize,
    to: &'a mut [f32],
    depth: usize,
) -> &'a [f32] {
    for (j, to) in to.chunks_exact_mut(depth.max(1)).enumerate().take(keys) {
        for (to, x) in to[..dim].iter_mut().zip(&from[at + j * stride..][..dim]) {
            *to = x.to_f32();
        }
    }
    to
}

/// Whether all of these are finite.
#[inline(always)]
fn finite(all: &[f32]) -> bool {
    math::sum(all, |x| x * 0.0) == 0.0
}

/// Scores to weights, against the largest score so far; what was summed before is scaled to it.
#[inline(always)]
fn softmax(fused: Fused, scratch: &mut Scratch, first: usize, keys: usize, lanes: usize) {
    let Scratch { scores, y, sum, largest, visible, depth, .. } = scratch;
    let (sum, largest, visible) = (&mut sum[..lanes], &mut largest[..lanes], &visible[..lanes]);
    let mut top = [f32::NEG_INFINITY; ROWS];
    let top = &mut top[..lanes];
    top.copy_from_slice(largest);
    let open = visible.iter().all(|&visible| visible as usize >= first + keys);
    for j in 0..keys {
        let (key, row) = ((first + j) as u32, &mut scores[j * ROWS..][..lanes]);
        if !open {
            for (score, &visible) in row.iter_mut().zip(visible) {
                *score = if key < visible { *score } else { f32::NEG_INFINITY };
            }
        }
        row.iter().zip(top.iter_mut()).for_each(|(&score, top)| *top = if score > *top { score } else { *top });
    }
    let mut factor = [0.0_f32; ROWS];
    let factor = &mut factor[..lanes];
    for ((factor, &top), largest) in factor.iter_mut().zip(&*top).zip(largest) {
        // Before the first finite score there is nothing to scale.
        *factor = if top == f32::NEG_INFINITY { 1.0 } else { math::exp(fused, *largest - top) };
        *largest = top;
    }
    top.iter_mut().for_each(|top| *top = if *top == f32::NEG_INFINITY { 0.0 } else { *top });
    sum.iter_mut().zip(&*factor).for_each(|(sum, factor)| *sum *= factor);
    for j in 0..keys {
        let row = &mut scores[j * ROWS..][..lanes];
        for ((score, sum), &top) in row.iter_mut().zip(sum.iter_mut()).zip(&*top) {
            *score = math::exp_of_less(fused, *score - top);
            *sum += *score;
        }
    }
    if factor.iter().any(|&factor| factor != 1.0) {
        for d in 0..*depth {
            y[d * ROWS..][..lanes].iter_mut().zip(&*factor).for_each(|(y, factor)| *y *= factor);
        }
    }
}

/// The second product where a value that some pairs must not see is not finite: zero times it would not be zero.
#[cold]
fn blind(v: &[f32], weights: &[f32], y: &mut [f32], depth: usize, visible: [usize; ROWS]) {
    for (row, visible) in visible.into_iter().enumerate() {
        for (j, d) in (0..visible * depth).map(|n| (n / depth, n % depth)) {
            y[d * ROWS + row] += weights[j * ROWS + row] * v[j * depth + d];
        }
    }
}
