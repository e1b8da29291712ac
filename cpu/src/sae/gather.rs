//! The inner loops over rows of weights, gradients and inputs, with the lanes of a level.
use super::Level;
use crate::level::prefetch;
use crate::simd::{Fused, Lane, Task, run};
use latens_kernels::Float;

/// A row and its factor.
pub(super) type Scaled<'a, T> = (f32, &'a [T]);

/// `sum[c] += Σ scale · row[c]` over rows in order. Eight rows are read side by side; `next` are those of the call that will
/// follow, of which the first are asked for meanwhile.
pub(super) fn add_rows<T: Float>(level: Level, sum: &mut [f32], rows: &[Scaled<T>], next: &[Scaled<T>]) {
    run(level, AddRows { sum, rows, next });
}

struct AddRows<'a, T> {
    sum: &'a mut [f32],
    rows: &'a [Scaled<'a, T>],
    next: &'a [Scaled<'a, T>],
}

/// Rows side by side.
const SIDE: usize = 8;

impl<T: Float> Task for AddRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) {
        let (parts, rest) = self.rows.as_chunks::<SIDE>();
        for (at, part) in parts.iter().enumerate() {
            let after = &self.rows[(at + 1) * SIDE..];
            let after = if after.is_empty() { self.next } else { after };
            add::<L, T, SIDE>(fused, self.sum, part, after);
        }
        for row in rest {
            add::<L, T, 1>(fused, self.sum, &[*row], &[]);
        }
    }
}

#[inline(always)]
fn add<L: Lane, T: Float, const G: usize>(fused: Fused, sum: &mut [f32], rows: &[Scaled<T>; G], after: &[Scaled<T>]) {
    let len = sum.len();
    let rows: [_; G] = core::array::from_fn(|g| (L::splat(rows[g].0), rows[g].0, &rows[g].1[..len]));
    let after: [&[T]; G] = core::array::from_fn(|g| after.get(g).map_or(&[][..], |row| &row.1[..len]));
    // A line of memory at a time is asked for, of each of the rows to come.
    let line = (64 / size_of::<T>()).max(L::N);
    let mut start = 0;
    while start + L::N <= len {
        if start % line == 0 {
            after.iter().for_each(|row| prefetch(row, start));
        }
        let mut kept = L::load(&sum[start..]);
        for (scale, _, row) in &rows {
            kept = scale.mul_add(L::widen(&row[start..]), kept);
        }
        kept.store(&mut sum[start..]);
        start += L::N;
    }
    for c in start..len {
        sum[c] = rows.iter().fold(sum[c], |sum, (_, scale, row)| fused.mul_add(*scale, row[c].to_f32(), sum));
    }
}

/// Lanes of a sum, so that its order is the same at every level.
const LANES: usize = 64;

/// `Σ a[c] b[c]`.
pub(super) fn dot<T: Float, U: Float>(level: Level, a: &[T], b: &[U]) -> f32 {
    run(level, Dot { a, b })
}

/// Rows of which [`dots`] takes the products with one.
pub(super) const SIDE_OF_DOTS: usize = 4;

/// [`dot`] of several rows with one, to the same bits. With sixteen lanes their sums are in registers side by side.
pub(super) fn dots<T: Float>(level: Level, a: [&[T]; SIDE_OF_DOTS], b: &[T]) -> [f32; SIDE_OF_DOTS] {
    run(level, Dots { a, b })
}

struct Dots<'a, T> {
    a: [&'a [T]; SIDE_OF_DOTS],
    b: &'a [T],
}

impl<T: Float> Task for Dots<'_, T> {
    type Output = [f32; SIDE_OF_DOTS];
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> Self::Output {
        if L::N == 16 {
            products::<L, T, T, SIDE_OF_DOTS>(fused, self.a, self.b)
        } else {
            self.a.map(|a| products::<L, T, T, 1>(fused, [a], self.b)[0])
        }
    }
}

struct Dot<'a, T, U> {
    a: &'a [T],
    b: &'a [U],
}

impl<T: Float, U: Float> Task for Dot<'_, T, U> {
    type Output = f32;
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> f32 {
        products::<L, T, U, 1>(fused, [self.a], self.b)[0]
    }
}

/// Rows of equal lengths by one that is as long or longer.
#[inline(always)]
fn products<L: Lane, T: Float, U: Float, const G: usize>(fused: Fused, a: [&[T]; G], b: &[U]) -> [f32; G] {
    let len = a[0].len();
    let (a, b, whole) = (a.map(|a| &a[..len]), &b[..len], len / LANES * LANES);
    let mut sums = [[L::splat(0.0); G]; 16];
    let mut start = 0;
    while start < whole {
        for (i, sums) in sums.iter_mut().enumerate().take(LANES / L::N) {
            let at = start + i * L::N;
            let b = L::widen(&b[at..]);
            for (sum, a) in sums.iter_mut().zip(a) {
                *sum = L::widen(&a[at..]).mul_add(b, *sum);
            }
        }
        start += LANES;
    }
    core::array::from_fn(|g| {
        let mut lanes = [0.0; LANES];
        for (sums, to) in sums.iter().zip(lanes.chunks_exact_mut(L::N)) {
            sums[g].store(to);
        }
        let rest = a[g][whole..].iter().zip(&b[whole..]);
        rest.fold(0.0, |rest, (a, b)| fused.mul_add(a.to_f32(), b.to_f32(), rest)) + total(lanes)
    })
}

/// `recon = sum`, `residual = x - sum`, and the sum of its squares.
pub(super) fn compare<T: Float>(level: Level, sum: &[f32], x: &[T], recon: &mut [T], residual: &mut [T]) -> f32 {
    run(level, Compare { sum, x, recon, residual })
}

struct Compare<'a, T> {
    sum: &'a [f32],
    x: &'a [T],
    recon: &'a mut [T],
    residual: &'a mut [T],
}

impl<T: Float> Task for Compare<'_, T> {
    type Output = f32;
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> f32 {
        let (sum, len) = (self.sum, self.sum.len());
        let (x, recon, residual) = (&self.x[..len], &mut self.recon[..len], &mut self.residual[..len]);
        let mut squares = [L::splat(0.0); 16];
        let whole = len / LANES * LANES;
        let mut start = 0;
        while start < whole {
            for (i, squares) in squares.iter_mut().enumerate().take(LANES / L::N) {
                let at = start + i * L::N;
                let sum = L::load(&sum[at..]);
                let e = L::widen(&x[at..]).sub(sum);
                sum.narrow(&mut recon[at..]);
                e.narrow(&mut residual[at..]);
                *squares = e.mul_add(e, *squares);
            }
            start += LANES;
        }
        let mut lanes = [0.0; LANES];
        for (squares, to) in squares.iter().zip(lanes.chunks_exact_mut(L::N)) {
            squares.store(to);
        }
        for c in whole..len {
            let e = x[c].to_f32() - sum[c];
            recon[c] = T::from_f32(sum[c]);
            residual[c] = T::from_f32(e);
            lanes[c - whole] = fused.mul_add(e, e, lanes[c - whole]);
        }
        total(lanes)
    }
}

#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for c in 0..half {
            lanes[c] += lanes[c + half];
        }
        half /= 2;
    }
    lanes[0]
}
