use crate::simd::{best, prefetch_at};
use crate::{Level, once::once};
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
    let (mut attempt, mut passes, wide) = (0, 0, Level::best().has_512_bits());
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
            |_| {
                if wide {
                    transform(left, rank, &mut slab, &tiles, true)
                } else {
                    transform(left, rank, &mut slab, &tiles, false)
                }
            },
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
            let rows = slab.chunks_exact(blocks).take(count).enumerate().map(|(r, x)| {
                prefetch_at(left, next + r * rank + bj * WIDE);
                x
            });
            let sums = if bi == bj {
                lower(rows.map(|x| &x[bi]))
            } else {
                // To the compiler not the same memory: it would multiply each pair of a block once, and then shuffle.
                let others = core::hint::black_box(&*slab).chunks_exact(blocks);
                square(rows.zip(others).map(|(x, y)| (&x[bi], &y[bj])))
            };
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

/// Products of the pairs of one block: of each column with itself, with the next, and so on to the fourth next, and after the last
/// column the first. That is each pair once, eight at a time, and few enough sums for the registers.
#[inline(always)]
fn lower<'a>(rows: impl Iterator<Item = &'a [f64; WIDE]>) -> [[f64; WIDE]; WIDE] {
    let (mut own, mut next, mut second, mut third, mut far) =
        ([0.0; WIDE], [0.0; WIDE], [0.0; WIDE], [0.0; WIDE], [0.0; HALF]);
    for x in rows {
        own = plus(own, x, x);
        next = plus(next, x, &turned(x, 1));
        second = plus(second, x, &turned(x, 2));
        third = plus(third, x, &turned(x, 3));
        far = plus(far, &turned(x, 0), &turned(x, HALF));
    }
    // In memory before they are put in their places: or the compiler would sum in vectors as the places lie.
    let (near, far) = core::hint::black_box(([own, next, second, third], far));
    let mut sums = [[0.0; WIDE]; WIDE];
    for (apart, found) in near.iter().map(|near| &near[..]).chain([&far[..]]).enumerate() {
        for (c, &sum) in found.iter().enumerate() {
            let other = (c + apart) % WIDE;
            sums[c.max(other)][c.min(other)] = sum;
        }
    }
    sums
}

/// `N` columns from one of them on, and after the last the first.
#[inline(always)]
fn turned<const N: usize>(x: &[f64; WIDE], by: usize) -> [f64; N] {
    core::array::from_fn(|c| x[(c + by) % WIDE])
}

/// `sum + x * y`, rounded twice.
#[inline(always)]
fn plus<const N: usize>(sum: [f64; N], x: &[f64; N], y: &[f64; N]) -> [f64; N] {
    core::array::from_fn(|c| sum[c] + x[c] * y[c])
}

/// `P w`. Tiles of `w`: those of its first eight columns, from above, then those of the next. Below its diagonal `w` is 0 and adds
/// nothing: with few lanes, four columns do without the last four rows.
#[inline(always)]
fn transform<A: Float>(left: &mut [A], rank: usize, slab: &mut [[f64; WIDE]], w: &[[[f64; WIDE]; WIDE]], wide: bool) {
    let blocks = rank.div_ceil(WIDE);
    for rows in left.chunks_mut(SLAB * rank) {
        widen(rows, rank, slab);
        for (block, w) in w.chunks_exact(blocks).enumerate() {
            let Some((last, above)) = w[..=block].split_last() else { continue };
            let last = *last;
            for (row, from) in rows.chunks_exact_mut(rank).zip(slab.chunks_exact(blocks)) {
                let mut sums = [0.0; WIDE];
                for (x, w) in from.iter().zip(above) {
                    sums = times(sums, x, w);
                }
                let x = &from[block];
                sums = if wide { times(sums, x, &last) } else { halves(sums, x, &last) };
                let row = &mut row[block * WIDE..];
                match row.first_chunk_mut::<WIDE>() {
                    Some(row) => *row = sums.map(A::narrow),
                    None => row.iter_mut().zip(sums).for_each(|(x, sum)| *x = A::narrow(sum)),
                }
            }
        }
    }
}

/// `sums + x w`, term by term.
#[inline(always)]
fn times(mut sums: [f64; WIDE], x: &[f64; WIDE], w: &[[f64; WIDE]; WIDE]) -> [f64; WIDE] {
    for (x, w) in x.iter().zip(w) {
        sums = plus(sums, &[*x; WIDE], w);
    }
    sums
}

/// The same of a tile on the diagonal.
#[inline(always)]
fn halves(sums: [f64; WIDE], x: &[f64; WIDE], w: &[[f64; WIDE]; WIDE]) -> [f64; WIDE] {
    let (mut first, mut second): ([f64; HALF], [f64; HALF]) = (turned(&sums, 0), turned(&sums, HALF));
    for k in 0..HALF {
        first = plus(first, &[x[k]; HALF], &turned(&w[k], 0));
    }
    for k in 0..WIDE {
        second = plus(second, &[x[k]; HALF], &turned(&w[k], HALF));
    }
    core::array::from_fn(|c| if c < HALF { first[c] } else { second[c - HALF] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A processor runs one of the two ways of a diagonal tile: they agree in every bit.
    #[test]
    fn both_widths() {
        for rank in 1..20_usize {
            let blocks = rank.div_ceil(WIDE);
            let number = |i: usize| ((i * 2654435761) % 1009) as f64 / 1009.0 - 0.5;
            let mut w = vec![[[0.0; WIDE]; WIDE]; blocks * blocks];
            for (k, c) in (0..rank).flat_map(|k| (k..rank).map(move |c| (k, c))) {
                w[c / WIDE * blocks + k / WIDE][k % WIDE][c % WIDE] = number(k * rank + c);
            }
            let from: Vec<f32> = (0..(SLAB + 3) * rank).map(|i| number(i) as f32).collect();
            let [wide, narrow] = [true, false].map(|wide| {
                let (mut left, mut slab) = (from.clone(), vec![[0.0; WIDE]; SLAB * blocks]);
                transform(&mut left, rank, &mut slab, &w, wide);
                left.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            });
            assert_eq!(wide, narrow, "rank {rank}");
            assert_ne!(wide, from.iter().map(|x| x.to_bits()).collect::<Vec<u32>>());
        }
    }
}
