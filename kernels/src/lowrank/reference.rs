use super::{Factor, GOOD, Matrix, Plan, SLAB, draw, factor};
use crate::{DType, Float, order};
use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

/// The definition of the first stage.
pub fn left<T: Float>(p: &Plan<'_>, g: &[T], e: &mut [T::Acc], q: &[T::Acc], left: &mut [T::Acc], dropped: &mut [u32]) {
    let rank = p.rank;
    for (Matrix { segment, row, column }, dropped) in p.matrices().zip(dropped) {
        *dropped = 0;
        for (g, e) in g[segment.start..segment.end()].iter().zip(&mut e[segment.start..segment.end()]) {
            let a = T::Acc::narrow(g.wide() + e.wide());
            if a.wide().is_finite() {
                *e = a;
            } else {
                *dropped = dropped.wrapping_add(1);
            }
        }
        for (i, k) in (0..segment.rows).flat_map(|i| (0..rank).map(move |k| (i, k))) {
            let a = &e[segment.start + i * segment.columns..][..segment.columns];
            let sum: f64 = a.iter().enumerate().map(|(j, a)| a.wide() * q[(column + j) * rank + k].wide()).sum();
            left[(row + i) * rank + k] = T::Acc::narrow(sum);
        }
    }
}

/// The definition of the product from the right: `A` is what [`left`] left in `e`.
pub fn right<A: Float>(p: &Plan<'_>, a: &[A], left: &[A], q: &mut [A]) {
    let rank = p.rank;
    for Matrix { segment, row, column } in p.matrices() {
        for (j, k) in (0..segment.columns).flat_map(|j| (0..rank).map(move |k| (j, k))) {
            let at = |i: usize| a[segment.start + i * segment.columns + j].wide() * left[(row + i) * rank + k].wide();
            q[(column + j) * rank + k] = A::narrow((0..segment.rows).map(at).sum());
        }
    }
}

/// The definition of the last stage.
pub fn restore<T: Float>(
    p: &Plan<'_>,
    left: &[T::Acc],
    q: &[T::Acc],
    mut e: Option<&mut [T::Acc]>,
    mut y: Option<&mut [T]>,
) {
    let rank = p.rank;
    for Matrix { segment, row, column } in p.matrices() {
        for (i, j) in (0..segment.rows).flat_map(|i| (0..segment.columns).map(move |j| (i, j))) {
            let (p, q) = (&left[(row + i) * rank..][..rank], &q[(column + j) * rank..][..rank]);
            let product = T::narrow(p.iter().zip(q).map(|(p, q)| p.wide() * q.wide()).sum());
            let made = if product.wide().is_finite() { product } else { T::default() };
            let at = segment.start + i * segment.columns + j;
            if let Some(y) = &mut y {
                y[at] = made;
            }
            if let Some(e) = &mut e {
                e[at] = rest(e[at].wide() - made.wide());
            }
        }
    }
}

/// In the type of sums: what overflows becomes the largest number, so that no memory is infinite.
fn rest<A: Float>(x: f64) -> A {
    let largest = if A::DTYPE == DType::F64 { f64::MAX } else { f64::from(f32::MAX) };
    A::narrow(if x > largest {
        largest
    } else if x < -largest {
        -largest
    } else {
        x
    })
}

/// The definition of the orthogonalisation, of the factors of all matrices.
pub fn orthogonalise<A: Float>(p: &Plan<'_>, left: &mut [A], seed: u64) {
    let rank = p.rank;
    for (at, Matrix { segment, row, .. }) in p.matrices().enumerate().filter(|_| rank > 0) {
        let left = &mut left[row * rank..][..segment.rows * rank];
        if left.iter().any(|x| !x.wide().is_finite()) {
            left.fill(A::default());
            continue;
        }
        let (mut s, mut w) = (vec![0.0; rank * rank], vec![0.0; rank * rank]);
        let (mut attempt, mut passes) = (0, 0);
        while passes < 2 {
            gram(left, rank, &mut s);
            let Factor { deficient, least } = factor(&mut s, &mut w, rank);
            if deficient > 0 && attempt < 2 {
                for (k, i) in
                    (0..rank).filter(|&k| w[k * rank + k] == 0.0).flat_map(|k| (0..segment.rows).map(move |i| (k, i)))
                {
                    left[i * rank + k] = A::narrow(draw(seed, at, attempt, i, k));
                }
                attempt += 1;
                continue;
            }
            for row in left.chunks_exact_mut(rank) {
                let old: Vec<f64> = row.iter().map(|x| x.wide()).collect();
                for (j, x) in row.iter_mut().enumerate() {
                    *x = A::narrow((0..=j).fold(0.0, |sum, k| sum + old[k] * w[k * rank + j]));
                }
            }
            passes += if least >= GOOD { 2 } else { 1 };
        }
    }
}

/// Products of columns: summed by slabs of rows, then over the slabs, each in order. Only the lower half is made.
fn gram<A: Float>(left: &[A], rank: usize, s: &mut [f64]) {
    for (i, j) in (0..rank).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        let slab = |slab: &[A]| slab.chunks_exact(rank).fold(0.0, |sum, row| sum + row[i].wide() * row[j].wide());
        s[i * rank + j] = left.chunks(SLAB * rank).map(slab).fold(0.0, |sum, slab| sum + slab);
    }
}

/// The definition of the change of rank: `p` is the plan of the new one, `old` the rank that `from` has.
pub fn resize<A: Float>(p: &Plan<'_>, old: usize, from: &[A], q: &mut [A], seed: u64) {
    let rank = p.rank;
    for (at, Matrix { segment, column, .. }) in p.matrices().enumerate() {
        let kept = longest(&from[column * old..][..segment.columns * old], old, rank);
        for (i, k) in (0..segment.columns).flat_map(|i| (0..rank).map(move |k| (i, k))) {
            q[(column + i) * rank + k] = match kept.get(k) {
                Some(&from_column) => from[(column + i) * old + from_column],
                None => A::narrow(draw(seed, at, 2, i, k)),
            };
        }
    }
}

/// The `rank` longest columns of a matrix with `old` of them, in order; all of them if there are no more. NaN is shortest.
pub fn longest<A: Float>(from: &[A], old: usize, rank: usize) -> Vec<usize> {
    let mut squares = vec![0.0; old];
    for row in from.chunks_exact(old.max(1)) {
        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.wide() * x.wide());
    }
    let mut kept: Vec<usize> = (0..old).collect();
    kept.sort_by_key(|&k| (Reverse(order(squares[k])), k));
    kept.truncate(rank);
    kept.sort_unstable();
    kept
}
