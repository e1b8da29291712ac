//! The rows of a corpus that are nearest to queries, by inner product; from the corpus itself, or from a copy in fewer
//! bytes whose candidates are then scored exactly.
//!
//! | argument  | shape          | type |
//! |-----------|----------------|------|
//! | `queries` | `[count, dim]` | float |
//! | `corpus`  | `[n, dim]`     | as `queries` |
//! | `values`  | `[count, k]`   | `Acc` |
//! | `ids`     | `[count, k]`   | `u32` |
//! | `codes`   | `[n, dim]`     | `i8` or `bf16`, of [`compress`], packed |
//! | `bounds`  | `[n, 3]`       | `f32`: scale, `|x - c|` with `c = scale codes`, `|x|`, packed |
//! | `complete` | `[count]`     | `u32`, of [`compressed`]: 1 where the answer is proved to be that of [`forward`] |
//!
//! [`forward`]: scores `s = x · q` of all rows, and the `k` largest as `topk` ranks them: larger first, of equals
//! the smaller id, NaN lowest. For cosines, give rows of length 1.
//!
//! [`compress`]: codes to the nearest, of `i8` with `scale = max |x| / 127`, of `bf16` with 1. A row with a number that is
//! not finite, or larger than 2^40, gets codes of 0 and an infinite distance, so that it is always a candidate.
//!
//! [`compressed`]: the copy gives an upper bound of each score, with all roundings in it: see [`copy`]. The
//! `candidates` rows of largest bound are scored exactly, and the best `k` of those are the answer. It is the answer of
//! `forward` if the `k`-th exact score is above the bound of the last candidate (or all rows are candidates): `complete`
//! says so, for each query, up to rounding where scores are equal but for it. On the host many queries at once, 16 and more, are
//! answered from the corpus itself, whose rows are then read once for all: all are complete, whatever the candidates.
//!
//! **Sums** in `Acc`. **Determinism** stable; close: values within 1e-11 of the sum of squares, ids where scores differ by
//! more than rounding. **Errors** `Size` if shapes disagree, `Range` if `k > n`, `k > candidates` or
//! `candidates > n`, or for a copy `dim > 2^16`. **Moves** [`Plan::bytes`], and for each query `candidates` rows of the corpus.
use super::copy::{self, Codes, Copied, Integers, Lengths};
use super::{at_most, size};
use crate::{Error, Float, Layout, Result, order};
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
    at_most(OP, "dim", copy::DIM, dim)?;
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
    /// Bytes that any implementation must move at least, for elements of `size` bytes of the corpus, or of the copy.
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

fn dot<A: Float, B: Float>(a: &[A], b: &[B]) -> f64 {
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

/// Copy all rows.
pub fn compress<T: Float, C: Copied>(p: &Plan, corpus: &[T], codes: &mut [C], bounds: &mut [f32]) {
    let dim = p.dim();
    for v in 0..p.n() {
        bounds[3 * v..][..3].copy_from_slice(&C::copy(row(&p.corpus, corpus, v), &mut codes[v * dim..][..dim]));
    }
}

/// What each score is at most.
fn upper<T: Float>(p: &Plan, query: &[T], codes: Codes, bounds: &[f32]) -> Vec<f32> {
    let (dim, of) = (p.dim(), |v: usize| &bounds[3 * v..][..3]);
    match codes {
        Codes::Int8(codes) => {
            let whole = Integers::of(query);
            let sum = |v: usize, part: &[i8]| {
                codes[v * dim..][..dim].iter().zip(part).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
            };
            let near = |v| whole.near(sum(v, &whole.high), sum(v, &whole.low), of(v));
            (0..p.n()).map(|v| whole.lengths.bound(near(v), of(v))).collect()
        }
        Codes::Bf16(codes) => {
            let lengths = Lengths::of(query);
            let near = |v: usize| dot(&codes[v * dim..][..dim], query) as f32;
            (0..p.n()).map(|v| lengths.bound(near(v), of(v))).collect()
        }
    }
}

/// The best of the candidates that the copy names.
pub fn compressed<T: Float, C: Copied>(
    p: &Plan,
    queries: &[T],
    corpus: &[T],
    codes: &[C],
    bounds: &[f32],
    values: &mut [T::Acc],
    ids: &mut [u32],
    complete: &mut [u32],
) {
    let k = p.k;
    for (q, complete) in complete[..p.count()].iter_mut().enumerate() {
        let query = row(&p.queries, queries, q);
        let mut ranked: Vec<_> = (0..).zip(upper(p, query, C::codes(codes), bounds)).collect();
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
