//! The rows of a corpus that are nearest to queries, by inner product; from the corpus itself, or from a copy of a
//! quarter of its size whose candidates are then scored exactly.
//!
//! | argument  | shape          | type |
//! |-----------|----------------|------|
//! | `queries` | `[count, dim]` | float |
//! | `corpus`  | `[n, dim]`     | as `queries` |
//! | `values`  | `[count, k]`   | `Acc` |
//! | `ids`     | `[count, k]`   | `u32` |
//! | `codes`   | `[n, dim]`     | `i8`, of [`compress`], packed |
//! | `bounds`  | `[n, 3]`       | `f32`: scale, `|x - scale codes|`, `|x|`, packed |
//! | `complete` | `[count]`     | `u32`, of [`compressed`]: 1 where the answer is proved to be that of [`forward`] |
//!
//! [`forward`]: scores `s = x · q` of all rows, and the `k` largest as `topk` ranks them: larger first, of equals
//! the smaller id, NaN lowest. For cosines, give rows of length 1.
//!
//! [`compress`]: `scale = max |x| / 127`, codes to the nearest. A row with a number that is not finite gets codes of 0 and
//! an infinite distance, so that it is always a candidate.
//!
//! [`compressed`]: the query too is written in integers, `q ≈ high + low` of 8 bits each; an integer product gives `s'`,
//! and Cauchy's inequality an upper bound of `s`:
//! `s' + |q| |x - scale codes| + |x| (|q - q'| + 2^-16 |q|)`, the last for roundings. The `candidates` rows of largest
//! bound are scored exactly, and the best `k` of those are the answer. It is the answer of `forward` if the `k`-th exact
//! score is above the bound of the last candidate (or all rows are candidates): `complete` says so, for each query.
//!
//! **Sums** in `Acc`. **Determinism** stable; close: values within 1e-11 of the sum of squares, ids where scores differ by
//! more than rounding. **Errors** `Size` if shapes disagree, `Range` if `k > n`, `k > candidates` or
//! `candidates > n`. **Moves** [`Plan::bytes`], and for each query `candidates` rows of the corpus.
use super::{at_most, size};
use crate::{Error, Float, Layout, Result, math, order};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A checked problem. Only [`plan`], [`plan_compress`] and [`plan_compressed`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    queries: Layout<2>,
    corpus: Layout<2>,
    k: usize,
    candidates: usize,
}

const OP: &str = "hyper_search";

/// Check a call of [`forward`].
///
/// # Errors
/// See the module.
pub fn plan(queries: &Layout<2>, corpus: &Layout<2>, k: usize) -> Result<Plan> {
    let ([count, dim], [n, columns]) = (queries.dims(), corpus.dims());
    size(OP, "corpus", dim, columns)?;
    for (arg, got) in [("queries", count), ("corpus", n), ("dim", dim)] {
        at_most(OP, arg, i32::MAX as usize, got)?;
    }
    count.checked_mul(n).ok_or(Error::TooLarge)?;
    at_most(OP, "k", n, k)?;
    Ok(Plan { queries: *queries, corpus: *corpus, k, candidates: 0 })
}

/// Check a call of [`compress`].
///
/// # Errors
/// See the module.
pub fn plan_compress(corpus: &Layout<2>) -> Result<Plan> {
    plan(&Layout::packed([0, corpus.dims()[1]])?, corpus, 0)
}

/// Check a call of [`compressed`].
///
/// # Errors
/// See the module; [`Error::Stride`] if the copy has gaps.
pub fn plan_compressed(
    queries: &Layout<2>,
    corpus: &Layout<2>,
    codes: &Layout<2>,
    bounds: &Layout<2>,
    k: usize,
    candidates: usize,
) -> Result<Plan> {
    let p = plan(queries, corpus, k)?;
    let [n, dim] = corpus.dims();
    for (arg, layout, want) in [("codes", codes, [n, dim]), ("bounds", bounds, [n, 3])] {
        want.into_iter().zip(layout.dims()).try_for_each(|(want, got)| size(OP, arg, want, got))?;
        if !layout.is_packed() {
            return Err(Error::Stride { op: OP, arg, want: want[1], got: layout.strides()[0] });
        }
    }
    at_most(OP, "candidates", n, candidates)?;
    at_most(OP, "k", candidates, k)?;
    // Sums of 127 * 128 fit an `i32` up to here.
    at_most(OP, "dim", 1 << 16, dim)?;
    Ok(Plan { candidates, ..p })
}

impl Plan {
    /// Queries.
    pub fn count(&self) -> usize {
        self.queries.dims()[0]
    }
    /// Rows of the corpus.
    pub fn n(&self) -> usize {
        self.corpus.dims()[0]
    }
    /// Length of a row.
    pub fn dim(&self) -> usize {
        self.corpus.dims()[1]
    }
    /// Rows found for each query.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Rows scored exactly for each query.
    pub fn candidates(&self) -> usize {
        self.candidates
    }
    /// Shape of the outputs.
    pub fn out(&self) -> [usize; 2] {
        [self.count(), self.k]
    }
    /// The layout of the queries.
    pub fn queries(&self) -> Layout<2> {
        self.queries
    }
    /// The layout of the corpus.
    pub fn corpus(&self) -> Layout<2> {
        self.corpus
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes of the corpus (1: of the copy).
    pub fn bytes(&self, size: usize) -> usize {
        (self.corpus.len() + self.queries.len()) * size + 8 * self.count() * self.k
    }
}

/// The best `k` of `(id, score)` pairs.
fn best<A: Float>(mut ranked: Vec<(u32, A)>, k: usize, values: &mut [A], ids: &mut [u32]) {
    ranked.sort_by_key(|&(id, score)| (Reverse(order(score)), id));
    for (j, (id, score)) in ranked.into_iter().take(k).enumerate() {
        (values[j], ids[j]) = (score, id);
    }
}

fn row<'a, T>(layout: &Layout<2>, data: &'a [T], r: usize) -> &'a [T] {
    &data[r * layout.strides()[0]..][..layout.dims()[1]]
}

fn dot<T: Float>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum::<f64>() + 0.0
}

/// The definition: score every row, rank all, keep the first `k`.
pub fn forward<T: Float>(p: &Plan, queries: &[T], corpus: &[T], values: &mut [T::Acc], ids: &mut [u32]) {
    for q in 0..p.count() {
        let query = row(&p.queries, queries, q);
        let score = |v: usize| (v as u32, T::Acc::narrow(dot(row(&p.corpus, corpus, v), query)));
        let slots = q * p.k..(q + 1) * p.k;
        best((0..p.n()).map(score).collect(), p.k, &mut values[slots.clone()], &mut ids[slots]);
    }
}

/// Write rows in 8 bits.
pub fn compress<T: Float>(p: &Plan, corpus: &[T], codes: &mut [i8], bounds: &mut [f32]) {
    let dim = p.dim();
    for v in 0..p.n() {
        bounds[3 * v..][..3].copy_from_slice(&compress_row(row(&p.corpus, corpus, v), &mut codes[v * dim..][..dim]));
    }
}

/// Write a row in 8 bits, and say its bounds. Quotients are of `f32`, so that codes are the same on every device.
pub fn compress_row<T: Float>(x: &[T], codes: &mut [i8]) -> [f32; 3] {
    let top = size_of(x);
    if !top.is_finite() {
        codes.fill(0);
        return [0.0, f32::INFINITY, f32::INFINITY];
    }
    let scale = top / 127.0;
    let (mut off, mut all) = (0.0, 0.0);
    for (code, x) in codes.iter_mut().zip(x) {
        *code = if scale > 0.0 { nearest(x.to_f32() / scale) } else { 0 };
        let rest = x.wide() - f64::from(*code) * f64::from(scale);
        (off, all) = (off + rest * rest, all + x.wide() * x.wide());
    }
    [scale, math::sqrt(off) as f32, math::sqrt(all) as f32]
}

/// The largest size; NaN if one is.
fn size_of<T: Float>(x: &[T]) -> f32 {
    x.iter().map(|x| x.to_f32().abs()).fold(0.0, |top, x| if x > top || x.is_nan() { x } else { top })
}

/// The nearest integer, ties to even, at most 127 in size.
fn nearest(x: f32) -> i8 {
    const ROUND: f32 = 12_582_912.0;
    (x.clamp(-127.0, 127.0) + ROUND - ROUND) as i8
}

/// A query in integers: `scale (high + low / 254)`, its length, and how far off that is.
#[derive(Clone, Debug)]
pub struct Query {
    /// The larger parts.
    pub high: Vec<i8>,
    /// The smaller parts.
    pub low: Vec<i8>,
    /// What `high` counts; `low` counts a 254th of it.
    pub scale: f32,
    /// `|q|`.
    pub length: f32,
    /// `|q - q'| + 2^-16 |q|`.
    pub off: f32,
}

impl Query {
    /// Of these numbers. One that is not finite makes every bound infinite.
    pub fn of<T: Float>(q: &[T]) -> Self {
        let top = size_of(q);
        let finite = top.is_finite();
        let scale = if finite { top / 127.0 } else { 0.0 };
        let (mut high, mut low) = (Vec::with_capacity(q.len()), Vec::with_capacity(q.len()));
        let (mut off, mut all) = (0.0, 0.0);
        for q in q {
            let h = if scale > 0.0 { nearest(q.to_f32() / scale) } else { 0 };
            let rest = q.wide() - f64::from(h) * f64::from(scale);
            let l = if scale > 0.0 { nearest(rest as f32 / scale * 254.0) } else { 0 };
            let rest = rest - f64::from(l) * f64::from(scale) / 254.0;
            (off, all) = (off + rest * rest, all + q.wide() * q.wide());
            high.push(h);
            low.push(l);
        }
        let length = if finite { math::sqrt(all) as f32 } else { f32::INFINITY };
        let off = if finite { math::sqrt(off) as f32 + length / 65_536.0 } else { f32::INFINITY };
        Self { high, low, scale, length, off }
    }

    /// What a score is at most, from the sums of products with `high` and `low` and the bounds of the row.
    #[inline(always)]
    pub fn bound(&self, high: i32, low: i32, bounds: &[f32]) -> f32 {
        let near = self.scale * bounds[0] * (high as f32 + low as f32 * (1.0 / 254.0));
        let bound = near + bounds[1] * self.length + bounds[2] * self.off;
        if bound.is_nan() { f32::INFINITY } else { bound }
    }
}

/// The best of the candidates that the copy names.
pub fn compressed<T: Float>(
    p: &Plan,
    queries: &[T],
    corpus: &[T],
    codes: &[i8],
    bounds: &[f32],
    values: &mut [T::Acc],
    ids: &mut [u32],
    complete: &mut [u32],
) {
    let (dim, k) = (p.dim(), p.k);
    for (q, complete) in complete[..p.count()].iter_mut().enumerate() {
        let query = row(&p.queries, queries, q);
        let whole = Query::of(query);
        let sum = |codes: &[i8], part: &[i8]| codes.iter().zip(part).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        let bound = |v: usize| {
            let codes = &codes[v * dim..][..dim];
            whole.bound(sum(codes, &whole.high), sum(codes, &whole.low), &bounds[3 * v..][..3])
        };
        let mut ranked: Vec<(u32, f32)> = (0..p.n()).map(|v| (v as u32, bound(v))).collect();
        ranked.sort_by_key(|&(id, bound)| (Reverse(order(bound)), id));
        ranked.truncate(p.candidates);
        let last = ranked.last().map_or(f32::INFINITY, |&(_, bound)| bound);
        let score = |&(id, _): &(u32, f32)| (id, T::Acc::narrow(dot(row(&p.corpus, corpus, id as usize), query)));
        let (values, ids) = (&mut values[q * k..][..k], &mut ids[q * k..][..k]);
        best(ranked.iter().map(score).collect(), k, values, ids);
        let proved = k == 0 || p.candidates == p.n() || values[k - 1].wide() > f64::from(last);
        *complete = u32::from(proved);
    }
}
