use crate::once::once;
use crate::simd::best;
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
    let mut padded = vec![[0.0; WIDE]; apart * apart / WIDE];
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
        for (row, w) in padded.chunks_exact_mut(apart / WIDE).zip(w.chunks_exact(rank)) {
            row.iter_mut().flatten().zip(w).for_each(|(to, &w)| *to = w);
        }
        best(
            #[inline(always)]
            |_| transform(left, rank, &mut slab, &padded),
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
    for rows in left.chunks(SLAB * rank) {
        let count = rows.len() / rank;
        widen(rows, rank, slab);
        for (bi, bj) in (0..blocks).flat_map(|bi| (0..=bi).map(move |bj| (bi, bj))) {
            let rows = slab.chunks_exact(blocks).take(count);
            let sums =
                if bi == bj { lower(rows.map(|row| &row[bi])) } else { square(rows.map(|row| (&row[bi], &row[bj]))) };
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

/// Products of the pairs of one block, without the quarter above the diagonal: so few sums stay in registers.
#[inline(always)]
fn lower<'a>(rows: impl Iterator<Item = &'a [f64; WIDE]>) -> [[f64; WIDE]; WIDE] {
    let (mut left, mut right) = ([[0.0; HALF]; WIDE], [[0.0; HALF]; HALF]);
    for row in rows {
        for i in 0..WIDE {
            for c in 0..HALF {
                left[i][c] += row[i] * row[c];
            }
        }
        for i in 0..HALF {
            for c in 0..HALF {
                right[i][c] += row[HALF + i] * row[HALF + c];
            }
        }
    }
    let mut sums = [[0.0; WIDE]; WIDE];
    sums.iter_mut().zip(left).for_each(|(sums, left)| sums[..HALF].copy_from_slice(&left));
    sums[HALF..].iter_mut().zip(right).for_each(|(sums, right)| sums[HALF..].copy_from_slice(&right));
    sums
}

/// `P w`, four rows by eight columns at a time; below its diagonal `w` is 0 and adds nothing.
#[inline(always)]
fn transform<A: Float>(left: &mut [A], rank: usize, slab: &mut [[f64; WIDE]], w: &[[f64; WIDE]]) {
    const ROWS: usize = 4;
    let blocks = rank.div_ceil(WIDE);
    for rows in left.chunks_mut(SLAB * rank) {
        widen(rows, rank, slab);
        for (rows, from) in rows.chunks_mut(ROWS * rank).zip(slab.chunks_exact(ROWS * blocks)) {
            let from = from.as_flattened();
            for block in 0..blocks {
                // The last four rows of the block are 0 in its first four columns.
                let (half, depth) = (block * WIDE + HALF, (block + 1) * WIDE);
                let from: [&[f64]; ROWS] = core::array::from_fn(|r| &from[r * blocks * WIDE..][..depth]);
                let mut sums = [[0.0; WIDE]; ROWS];
                for k in 0..half {
                    let w = &w[k * blocks + block];
                    for r in 0..ROWS {
                        sums[r].iter_mut().zip(w).for_each(|(sum, w)| *sum += from[r][k] * w);
                    }
                }
                for k in half..depth {
                    let w = &w[k * blocks + block];
                    for r in 0..ROWS {
                        sums[r][HALF..].iter_mut().zip(&w[HALF..]).for_each(|(sum, w)| *sum += from[r][k] * w);
                    }
                }
                for (row, sums) in rows.chunks_exact_mut(rank).zip(sums) {
                    match row[block * WIDE..].first_chunk_mut::<WIDE>() {
                        Some(row) => *row = sums.map(A::narrow),
                        None => row[block * WIDE..].iter_mut().zip(sums).for_each(|(x, sum)| *x = A::narrow(sum)),
                    }
                }
            }
        }
    }
}
