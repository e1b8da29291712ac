//! [`latens_kernels::hyper::search`] on the host: rows of the corpus are read once for all queries, and scores are looked
//! through while they are in the nearest cache. Of a copy, its bytes are read instead.
use super::{gather, integer::Parts};
use crate::once::once;
use crate::tile::pack::{Matrix, lanes};
use crate::tile::{LANES, Panels, ROWS as LINES, Tile, floats};
use crate::{cast::cast, level::Level, rows, simd::prefetch_page, topk::Best};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, cmp::Reverse};
use latens_kernels::hyper::copy::{Codes, Copied, Integers, Lengths};
use latens_kernels::hyper::search::{self, Plan};
use latens_kernels::{DType, Float, order};

/// Rows scored before their scores are looked through.
const BLOCK: usize = 256;
/// Rows, and queries, of a tile of products that stays in registers.
const ROWS: usize = 2;
const QUERIES: usize = 4;

/// Queries from which on tiles of the dense product are taken, which are of 32: by their rates one at a time, not measured.
const MANY: usize = 8;
/// Queries from which on the corpus itself is searched, and not its copy: by tiles 32 of them take 36 ms (100000 rows of 384, Zen 3),
/// by the copy in 8 bits 85 and in 16 bits 125, one at a time.
const TOO_MANY: usize = 16;

/// The best of a part of the corpus, or of all of it.
type Found = Vec<(u64, Reverse<u32>)>;

/// `best[q]` over all rows, best first, of what `score(first, some, scores)` gives in `scores[q * BLOCK + v]` for the `some`
/// rows from `first` on.
fn over_blocks(n: usize, count: usize, k: usize, score: impl Fn(usize, usize, &mut [f32]) + Send + Sync) -> Vec<Found> {
    let each = n.div_ceil(4 * rows::threads()).next_multiple_of(BLOCK).max(BLOCK);
    let found = rows::collect(n.div_ceil(each), |part| {
        let mut best: Vec<_> = (0..count).map(|_| Best::new(k)).collect();
        let mut scores = vec![0.0_f32; count.next_multiple_of(QUERIES) * BLOCK];
        let end = n.min((part + 1) * each);
        for first in (part * each..end).step_by(BLOCK) {
            let some = BLOCK.min(end - first);
            score(first, some, &mut scores);
            for (best, scores) in best.iter_mut().zip(scores.chunks_exact(BLOCK)) {
                best.scan(&scores[..some], |i| Reverse(first as u32 + i));
            }
        }
        best.into_iter().map(Best::finish).collect::<Vec<Found>>()
    });
    let mut all: Vec<Found> = vec![Vec::new(); count];
    found.into_iter().flatten().enumerate().for_each(|(at, found)| all[at % count].extend(found));
    for found in &mut all {
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(k);
    }
    all
}

/// Row `r` of a matrix.
fn row<'a, T>(layout: &latens_kernels::Layout<2>, data: &'a [T], r: usize) -> &'a [T] {
    &data[r * layout.strides()[0]..][..layout.dims()[1]]
}

/// All queries, in `f32`.
fn widened<T: Float>(p: &Plan, queries: &[T]) -> Vec<f32> {
    (0..p.count()).flat_map(|q| row(&p.queries(), queries, q).iter().map(|x| x.to_f32())).collect()
}

once! {
    /// See [`search::forward`].
    pub fn forward<T>(p: &Plan, queries: &[T], corpus: &[T], values: &mut [T::Acc], ids: &mut [u32]) = forward_impl;
}

fn forward_impl<T: Float>(p: &Plan, queries: &[T], corpus: &[T], values: &mut [T::Acc], ids: &mut [u32]) {
    if T::DTYPE == DType::F64 {
        return search::forward(p, queries, corpus, values, ids);
    }
    let (count, k, dim) = (p.count(), p.k(), p.dim());
    if count == 0 || k == 0 {
        return;
    }
    let queries = widened(p, queries);
    let query = |q: usize| &queries[q.min(count - 1) * dim..][..dim];
    let found = if count >= MANY {
        tiled(p, &queries, corpus)
    } else {
        over_blocks(p.n(), count, k, |first, some, scores| {
            let line = |v: usize| row(&p.corpus(), corpus, first + v.min(some - 1));
            score(count, some, query, line, scores);
        })
    };
    for (q, found) in found.into_iter().enumerate() {
        put(p, found, &mut values[q * k..][..k], &mut ids[q * k..][..k], |id| {
            one(row(&p.corpus(), corpus, id), query(q))
        });
    }
}

/// The best rows of each query and a few more, by tiles of the dense product. The terms of a score are added in another
/// order than by [`one`], so what is found is ranked again by that.
fn tiled<T: Float>(p: &Plan, queries: &[f32], corpus: &[T]) -> Vec<Found> {
    let (level, count, dim) = (Level::best(), p.count(), p.dim());
    let matrix = Matrix { data: queries, rows: dim, columns: count, down: 1, across: dim };
    let panels = (0..count).step_by(LANES).map(|first| {
        let mut panel = Panels::new(dim * LANES);
        lanes(level, matrix, first, &mut panel);
        panel
    });
    let panels: Vec<_> = panels.collect();
    /// Of rows whose scores differ by their last digits, either may come first.
    const SPARE: usize = 16;
    let found = over_blocks(p.n(), count, p.n().min(p.k() + SPARE), |first, some, scores| {
        let (mut tile, mut staged): (Tile, _) = ([[0.0; LANES]; LINES], vec![0.0; LINES * dim]);
        for v in (0..some).step_by(LINES) {
            let line = |r: usize| row(&p.corpus(), corpus, first + (v + r).min(some - 1));
            let wide: [Option<&[f32]>; LINES] = from_fn(|r| cast(line(r)));
            if wide[0].is_none() {
                for (r, to) in staged.chunks_exact_mut(dim.max(1)).enumerate() {
                    to.iter_mut().zip(line(r)).for_each(|(to, x)| *to = x.to_f32());
                }
            }
            let lines = from_fn(|r| wide[r].unwrap_or(&staged[r * dim..][..dim]));
            for (panel, scores) in panels.iter().zip(scores.chunks_mut(LANES * BLOCK)) {
                level.wide(floats(panel), lines, &mut tile);
                for (lane, scores) in scores.chunks_exact_mut(BLOCK).enumerate() {
                    scores[v..some].iter_mut().zip(&tile).for_each(|(score, tile)| *score = tile[lane]);
                }
            }
        }
    });
    let again = |(q, found): (usize, Found)| {
        let query = &queries[q * dim..][..dim];
        let score = |id: u32| order(one(row(&p.corpus(), corpus, id as usize), query));
        let mut found: Found = found.into_iter().map(|(_, Reverse(id))| (score(id), Reverse(id))).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    };
    rows::each_of(found.into_iter().enumerate().collect(), again)
}

/// `scores[q * BLOCK + v]` of some rows.
fn score<'a, T: Float>(
    count: usize,
    some: usize,
    query: impl Fn(usize) -> &'a [f32],
    line: impl Fn(usize) -> &'a [T],
    scores: &mut [f32],
) {
    let level = Level::best();
    if count == 1 {
        // Row after row, as they lie: memory is the limit, and it likes that best.
        for (v, score) in scores[..some].iter_mut().enumerate() {
            prefetch_page(line(v));
            [[*score]] = gather::products(level, [line(v)], [query(0)]);
        }
        return;
    }
    for v in (0..some).step_by(ROWS) {
        let lines = core::array::from_fn::<_, ROWS, _>(|r| line(v + r));
        for q in (0..count).step_by(QUERIES) {
            let queries = core::array::from_fn::<_, QUERIES, _>(|j| query(q + j));
            for (j, sums) in gather::products(level, lines, queries).into_iter().enumerate() {
                scores[(q + j) * BLOCK + v..][..ROWS].copy_from_slice(&sums);
            }
        }
    }
}

/// The score of one row, as [`score`] makes it.
fn one<T: Float>(row: &[T], query: &[f32]) -> f32 {
    gather::products(Level::best(), [row], [query])[0][0]
}

fn put<A: Float>(p: &Plan, found: Found, values: &mut [A], ids: &mut [u32], score: impl Fn(usize) -> f32) {
    for (j, (_, Reverse(id))) in found.into_iter().take(p.k()).enumerate() {
        // Again: what ranks keeps neither NaN nor the sign of 0.
        (values[j], ids[j]) = (A::from_f32(score(id as usize)), id);
    }
}

/// See [`search::compress`].
pub fn compress<T: Float, C: Copied>(p: &Plan, corpus: &[T], codes: &mut [C], bounds: &mut [f32]) {
    let dim = p.dim();
    if dim == 0 {
        return search::compress(p, corpus, codes, bounds);
    }
    let (codes, bounds) = (&mut codes[..p.n() * dim], &mut bounds[..p.n() * 3]);
    rows::each_pair((dim, codes), (3, bounds), |v, codes, bounds| {
        bounds.copy_from_slice(&C::copy(row(&p.corpus(), corpus, v), codes));
    });
}

/// The candidates of each query, best bound first. `queries` are `asked` in `f32`.
fn candidates<T: Float>(p: &Plan, asked: &[T], queries: &[f32], codes: Codes, bounds: &[f32]) -> Vec<Found> {
    let (count, dim) = (p.count(), p.dim());
    let asked = (0..count).map(|q| row(&p.queries(), asked, q));
    match codes {
        Codes::Int8(codes) => {
            let whole: Vec<Integers> = asked.map(Integers::of).collect();
            let parts: Vec<Parts> = whole.iter().map(|query| Parts::new(&query.high, &query.low)).collect();
            over_blocks(p.n(), count, p.candidates(), |first, some, scores| {
                for ((whole, parts), scores) in whole.iter().zip(&parts).zip(scores.chunks_exact_mut(BLOCK)) {
                    for (v, score) in (first..first + some).zip(scores) {
                        let (codes, bounds) = (&codes[v * dim..][..dim], &bounds[3 * v..][..3]);
                        prefetch_page(codes);
                        let [high, low] = parts.products(codes);
                        *score = whole.lengths.bound(whole.near(high, low, bounds), bounds);
                    }
                }
            })
        }
        Codes::Bf16(codes) => {
            let lengths: Vec<Lengths> = asked.map(Lengths::of).collect();
            let query = |q: usize| &queries[q.min(count - 1) * dim..][..dim];
            over_blocks(p.n(), count, p.candidates(), |first, some, scores| {
                score(count, some, query, |v| &codes[(first + v.min(some - 1)) * dim..][..dim], scores);
                for (lengths, scores) in lengths.iter().zip(scores.chunks_exact_mut(BLOCK)) {
                    for (v, score) in (first..first + some).zip(scores) {
                        *score = lengths.bound(*score, &bounds[3 * v..][..3]);
                    }
                }
            })
        }
    }
}

/// See [`search::compressed`].
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
    if T::DTYPE == DType::F64 {
        return search::compressed(p, queries, corpus, codes, bounds, values, ids, complete);
    }
    let (count, k, dim) = (p.count(), p.k(), p.dim());
    let complete = &mut complete[..count];
    if count == 0 || k == 0 {
        return complete.fill(1);
    }
    if count >= TOO_MANY {
        forward(p, queries, corpus, values, ids);
        return complete.fill(1);
    }
    let whole = widened(p, queries);
    let found = candidates(p, queries, &whole, C::codes(codes), bounds);
    for (q, found) in found.into_iter().enumerate() {
        let last = found.last().map_or(u64::MAX, |&(bound, _)| bound);
        let score = |id: usize| one(row(&p.corpus(), corpus, id), &whole[q * dim..][..dim]);
        let mut exact = rows::collect(found.len(), |j| {
            let Reverse(id) = found[j].1;
            (order(score(id as usize)), Reverse(id))
        });
        exact.sort_unstable_by(|a, b| b.cmp(a));
        complete[q] = u32::from(p.candidates() == p.n() || exact[k - 1].0 > last);
        put(p, exact, &mut values[q * k..][..k], &mut ids[q * k..][..k], score);
    }
}
