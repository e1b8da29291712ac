use crate::once::once;
use crate::simd::{best, prefetch_at};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Float,
    lowrank::{Factor, GOOD, Matrix, Plan, SLAB, draw, factor},
};

/// Columns that are summed at once, of either side of a product.
const WIDE: usize = 8;
const HALF: usize = WIDE / 2;

once! {
    /// See [`latens_kernels::lowrank::orthogonalise`]. Matrices are independent; sums are the reference's, bit by bit.
    pub fn orthogonalise<A>(p: &Plan<'_>, left: &mut [A], seed: u64) = orthogonalise_impl;
}

fn orthogonalise_impl<A: Float>(p: &Plan<'_>, left: &mut [A], seed: u64) {
    let rank = p.rank();
    if rank == 0 {
        return;
    }
    let mut rest = super::Rest::new(left);
    let tasks: Vec<(usize, &mut [A])> =
        p.matrices().enumerate().map(|(at, Matrix { segment, .. })| (at, rest.next(segment.rows * rank))).collect();
    crate::rows::each_of(tasks, |(at, left)| one(left, rank, at, seed));
}

fn one<A: Float>(left: &mut [A], rank: usize, at: usize, seed: u64) {
    let apart = rank.next_multiple_of(WIDE);
    let (mut s, mut w) = (vec![0.0; rank * rank], vec![0.0; rank * rank]);
    let mut tiles = vec![[[0.0; WIDE]; WIDE]; (apart / WIDE) * (apart / WIDE)];
    let mut slab = vec![[0.0; WIDE]; SLAB * apart / WIDE];
    let (mut attempt, mut passes) = (0, 0);
    while passes < 2 {
        best(
            #[inline(always)]
            |_| gram(left, rank, &mut slab, &mut s),
        );
        // A column with a number that is not finite has no finite length; in `f64`, nor may one that is very long.
        let finite = (0..rank).all(|k| s[k * rank + k].is_finite());
        if !finite && left.iter().any(|x| !x.wide().is_finite()) {
            return left.fill(A::default());
        }
        let Factor { deficient, least } = factor(&mut s, &mut w, rank);
        if deficient > 0 && attempt < 2 {
            for k in (0..rank).filter(|&k| w[k * rank + k] == 0.0) {
                left.chunks_exact_mut(rank)
                    .enumerate()
                    .for_each(|(i, row)| row[k] = A::narrow(draw(seed, at, attempt, i, k)));
            }
            attempt += 1;
            continue;
        }
        for (k, row) in w.chunks_exact(rank).enumerate() {
            for (c, &w) in row.iter().enumerate() {
                tiles[c / WIDE * (apart / WIDE) + k / WIDE][k % WIDE][c % WIDE] = w;
            }
        }
        best(
            #[inline(always)]
            |_| transform(left, rank, &mut slab, &tiles),
        );
        passes += if least >= GOOD { 2 } else { 1 };
    }
}

/// Rows in `f64`, padded with zeros.
#[inline(always)]
fn widen<A: Float>(rows: &[A], rank: usize, slab: &mut [[f64; WIDE]]) {
    if rank.is_multiple_of(WIDE) {
        // No padding: one loop over all.
        return rows.iter().zip(slab.as_flattened_mut()).for_each(|(x, to)| *to = x.wide());
    }
    for (row, to) in rows.chunks_exact(rank).zip(slab.chunks_exact_mut(rank.div_ceil(WIDE))) {
        for (x, to) in row.chunks(WIDE).zip(to) {
            x.iter().zip(to).for_each(|(x, to)| *to = x.wide());
        }
    }
}

/// The lower half of the products of columns, slab by slab, blocks of 8 by 8 at a time.
#[inline(always)]
fn gram<A: Float>(left: &[A], rank: usize, slab: &mut [[f64; WIDE]], s: &mut [f64]) {
    let blocks = rank.div_ceil(WIDE);
    s.fill(0.0);
    for (at, rows) in left.chunks(SLAB * rank).enumerate() {
        let (count, next) = (rows.len() / rank, (at + 1) * SLAB * rank);
        widen(rows, rank, slab);
        for (bi, bj) in (0..blocks).flat_map(|bi| (0..=bi).map(move |bj| (bi, bj))) {
            let rows = slab.chunks_exact(blocks).take(count);
            // To the compiler not the same memory: it would multiply each pair of a block once, and then shuffle.
            let others = core::hint::black_box(&*slab).chunks_exact(blocks);
            let pairs = rows.zip(others).enumerate().map(|(r, (x, y))| {
                prefetch_at(left, next + r * rank + bj * WIDE);
                (&x[bi], &y[bj])
            });
            let sums = if bi == bj { lower(pairs) } else { square(pairs) };
            for (i, sums) in (bi * WIDE..rank).zip(sums) {
                let to = &mut s[i * rank..][..rank];
                to[(bj * WIDE).min(rank)..].iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
    }
}

/// Products of all pairs of two blocks.
#[inline(always)]
fn square<'a>(rows: impl Iterator<Item = (&'a [f64; WIDE], &'a [f64; WIDE])>) -> [[f64; WIDE]; WIDE] {
    let mut sums = [[0.0; WIDE]; WIDE];
    for (x, y) in rows {
        for (sums, x) in sums.iter_mut().zip(x) {
            sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
        }
    }
    sums
}

/// Products of the pairs of one block, without the quarter above the diagonal. In two loops, for twelve sums in one do not stay in
/// registers, and one that is stored and loaded again for each row is what the others wait for.
#[inline(always)]
fn lower<'a>(rows: impl Iterator<Item = (&'a [f64; WIDE], &'a [f64; WIDE])> + Clone) -> [[f64; WIDE]; WIDE] {
    let (mut left, mut right) = ([[0.0; HALF]; WIDE], [[0.0; HALF]; HALF]);
    for (x, y) in rows.clone() {
        for i in 0..WIDE {
            for c in 0..HALF {
                left[i][c] += x[i] * y[c];
            }
        }
    }
    for (x, y) in rows {
        for i in 0..HALF {
            for c in 0..HALF {
                right[i][c] += x[HALF + i] * y[HALF + c];
            }
        }
    }
    let mut sums = [[0.0; WIDE]; WIDE];
    sums.iter_mut().zip(left).for_each(|(sums, left)| sums[..HALF].copy_from_slice(&left));
    sums[HALF..].iter_mut().zip(right).for_each(|(sums, right)| sums[HALF..].copy_from_slice(&right));
    sums
}

/// Rows that are transformed at once.
const ROWS: usize = 2;

/// `P w`. Tiles of `w`: those of its first eight columns, from above, then those of the next.
#[inline(always)]
fn transform<A: Float>(left: &mut [A], rank: usize, slab: &mut [[f64; WIDE]], w: &[[[f64; WIDE]; WIDE]]) {
    let blocks = rank.div_ceil(WIDE);
    for rows in left.chunks_mut(SLAB * rank) {
        widen(rows, rank, slab);
        for (block, w) in w.chunks_exact(blocks).enumerate() {
            let first = block * WIDE;
            for (rows, from) in rows.chunks_mut(ROWS * rank).zip(slab.chunks_exact(ROWS * blocks)) {
                let sums = apply(from, blocks, &w[..=block]);
                for (r, sums) in sums.into_iter().enumerate() {
                    // By place: rows as chunks would be a division for each few.
                    let Some(row) = rows.get_mut(r * rank + first..(r + 1) * rank) else { break };
                    match row.first_chunk_mut::<WIDE>() {
                        Some(row) => *row = sums.map(A::narrow),
                        None => row.iter_mut().zip(sums).for_each(|(x, sum)| *x = A::narrow(sum)),
                    }
                }
            }
        }
    }
}

/// Rows of `blocks` each, times the tiles of eight columns. Below its diagonal `w` is 0 and adds nothing.
#[inline(always)]
fn apply(from: &[[f64; WIDE]], blocks: usize, w: &[[[f64; WIDE]; WIDE]]) -> [[f64; WIDE]; ROWS] {
    let (mut sums, Some((last, above))) = ([[0.0; WIDE]; ROWS], w.split_last()) else { return [[0.0; WIDE]; ROWS] };
    let from: [&[[f64; WIDE]]; ROWS] = core::array::from_fn(|r| &from[r * blocks..][..w.len()]);
    for (b, w) in above.iter().enumerate() {
        for k in 0..WIDE {
            for r in 0..ROWS {
                for c in 0..WIDE {
                    sums[r][c] += from[r][b][k] * w[k][c];
                }
            }
        }
    }
    // The last four rows of the last tile are 0 in its first four columns.
    let from: [&[f64; WIDE]; ROWS] = from.map(|from| &from[above.len()]);
    for k in 0..HALF {
        for r in 0..ROWS {
            for c in 0..WIDE {
                sums[r][c] += from[r][k] * last[k][c];
            }
        }
    }
    for k in HALF..WIDE {
        for r in 0..ROWS {
            for c in HALF..WIDE {
                sums[r][c] += from[r][k] * last[k][c];
            }
        }
    }
    sums
}
