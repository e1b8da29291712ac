//! Products of small matrices of `f32` whose rows lie one after the other, padded to whole lanes.
#![allow(clippy::needless_range_loop)] // registers of several arrays at once
use crate::level::{Fused, Level};
use crate::simd::{self, Lane, Task};
use alloc::{vec, vec::Vec};

/// Numbers that widths are multiples of: the most lanes of a register.
const PAD: usize = 16;

/// Rows of `width` numbers, a multiple of the lanes. What lies past the columns in use is any number.
#[derive(Clone)]
pub(super) struct Matrix {
    pub data: Vec<f32>,
    pub width: usize,
}

impl Matrix {
    /// Zeros.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let width = columns.next_multiple_of(PAD);
        Self { data: vec![0.0; rows * width], width }
    }
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..][..self.width]
    }
    #[inline(always)]
    pub(super) fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.width..][..self.width]
    }

    /// `self[i, j] = from[j, i]` for as many rows and columns of `self`.
    #[inline(always)]
    pub(super) fn turn(&mut self, from: &Matrix, rows: usize, columns: usize) {
        // Squares, so that both sides stay in the first-level cache.
        for (i0, j0) in (0..rows).step_by(8).flat_map(|i| (0..columns).step_by(8).map(move |j| (i, j))) {
            for i in i0..rows.min(i0 + 8) {
                for j in j0..columns.min(j0 + 8) {
                    self.data[i * self.width + j] = from.data[j * from.width + i];
                }
            }
        }
    }

    /// `self[i, ..] = from[i, ..] * factor[i]`.
    #[inline(always)]
    pub(super) fn scale_rows(&mut self, from: &Matrix, factors: &[f32]) {
        for (i, factor) in factors.iter().enumerate() {
            for (to, from) in self.row_mut(i).iter_mut().zip(from.row(i)) {
                *to = from * factor;
            }
        }
    }

    /// `self[i, j] = from[i, j] * factor[j]`.
    #[inline(always)]
    pub(super) fn scale_columns(&mut self, from: &Matrix, rows: usize, factors: &[f32]) {
        for i in 0..rows {
            for ((to, from), factor) in self.row_mut(i).iter_mut().zip(from.row(i)).zip(factors) {
                *to = from * factor;
            }
        }
    }
}

/// Which terms a sum has. Others are not multiplied by zero but left out, so what is no number there stays there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    All,
    UpToRow,
    FromRow,
}

/// What sums begin from.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Zero,
    /// What is there, times a number.
    Times(f32),
}

/// `to[i, c] = start + Σ a[i, k] b[k, c]` over `k < depth`, for `rows` rows and all columns of `b`.
pub(super) fn product(
    level: Level,
    to: &mut Matrix,
    start: Start,
    [rows, depth]: [usize; 2],
    a: &Matrix,
    b: &Matrix,
    terms: Terms,
) {
    assert!(to.width == b.width && a.width >= depth);
    simd::run(level, Product { to, start, rows, depth, a, b, terms });
}

struct Product<'a> {
    to: &'a mut Matrix,
    start: Start,
    rows: usize,
    depth: usize,
    a: &'a Matrix,
    b: &'a Matrix,
    terms: Terms,
}

impl Task for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(mut self, _: Fused) {
        let mut column = 0;
        while column < self.b.width {
            if self.b.width - column >= 2 * L::N {
                self.columns::<L, M, 2>(column);
                column += 2 * L::N;
            } else {
                self.columns::<L, M, 1>(column);
                column += L::N;
            }
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn columns<L: Lane, const M: usize, const C: usize>(&mut self, column: usize) {
        let whole = self.rows / M * M;
        for row in (0..whole).step_by(M) {
            self.tile::<L, M, C>(row, column);
        }
        for row in whole..self.rows {
            self.tile::<L, 1, C>(row, column);
        }
    }

    #[inline(always)]
    fn tile<L: Lane, const M: usize, const C: usize>(&mut self, row: usize, column: usize) {
        let mut sums = [[L::splat(0.0); C]; M];
        let width = self.to.width;
        if let Start::Times(factor) = self.start {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    let there = L::load(&self.to.data[(row + r) * width + column + c * L::N..]);
                    *sum = there.mul_add(L::splat(factor), *sum);
                }
            }
        }
        // All rows have the terms from begin to end; near the diagonal each has its own.
        let (begin, end) = match self.terms {
            Terms::All => (0, self.depth),
            Terms::UpToRow => (0, row.min(self.depth)),
            Terms::FromRow => ((row + M).min(self.depth), self.depth),
        };
        let depth = end - begin;
        let a: [&[f32]; M] = core::array::from_fn(|r| &self.a.data[(row + r) * self.a.width + begin..][..depth]);
        for k in 0..depth {
            let b = &self.b.data[(begin + k) * width + column..][..C * L::N];
            for r in 0..M {
                let a = L::splat(a[r][k]);
                for c in 0..C {
                    sums[r][c] = a.mul_add(L::load(&b[c * L::N..]), sums[r][c]);
                }
            }
        }
        if self.terms != Terms::All {
            for r in 0..M {
                let range = if self.terms == Terms::UpToRow { row..row + r + 1 } else { row + r..row + M };
                for k in range.start..range.end.min(self.depth) {
                    let a = L::splat(self.a.data[(row + r) * self.a.width + k]);
                    for c in 0..C {
                        sums[r][c] = a.mul_add(L::load(&self.b.data[k * width + column + c * L::N..]), sums[r][c]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                sum.store(&mut self.to.data[(row + r) * width + column + c * L::N..]);
            }
        }
    }
}
