//! What is done to a Gram matrix: the same operations in the same order on every device, all of `f64`.
use crate::{math, philox};

/// A squared length, relative to that of the whole column, below which what is left of a column is rounding.
pub const DEFICIENT: f64 = 1e-12;
/// If every column keeps this part of its squared length, one pass makes them orthonormal up to the rounding of `f32`.
pub const GOOD: f64 = 1e-6;

/// What [`factor`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor {
    /// Columns that are combinations of those before them.
    pub deficient: usize,
    /// The least relative squared length of the others.
    pub least: f64,
}

/// From the Gram matrix `s` of the columns of `P` (its lower half counts; it is overwritten) the upper triangular `w` with
/// which the columns of `P w` are orthonormal: scaled to a diagonal of 1, Cholesky, inverse. `rank` rows of `rank`. Columns
/// of `w` that belong to a deficient column of `P` are 0, and so is its part in the others.
pub fn factor(s: &mut [f64], w: &mut [f64], rank: usize) -> Factor {
    let at = |i: usize, j: usize| i * rank + j;
    let mut found = Factor { deficient: 0, least: 1.0 };
    let mut scale = alloc::vec![0.0; rank];
    for (j, scale) in scale.iter_mut().enumerate() {
        *scale = if s[at(j, j)] > 0.0 { 1.0 / math::sqrt(s[at(j, j)]) } else { 0.0 };
    }
    for i in 0..rank {
        for j in 0..=i {
            s[at(i, j)] = s[at(i, j)] * scale[i] * scale[j];
        }
    }
    for j in 0..rank {
        let pivot = s[at(j, j)];
        let good = pivot > DEFICIENT;
        let root = if good { math::sqrt(pivot) } else { 0.0 };
        (found.deficient, found.least) =
            (found.deficient + usize::from(!good), if good { found.least.min(pivot) } else { found.least });
        s[at(j, j)] = root;
        for i in j + 1..rank {
            s[at(i, j)] = if good { s[at(i, j)] / root } else { 0.0 };
        }
        for i in j + 1..rank {
            for k in j + 1..=i {
                s[at(i, k)] -= s[at(i, j)] * s[at(k, j)];
            }
        }
    }
    // Row i of the inverse of the factor is column i of w; a deficient row is 0.
    w[..rank * rank].fill(0.0);
    for j in 0..rank {
        for i in j..rank {
            let mut sum = if i == j { 1.0 } else { 0.0 };
            for k in j..i {
                sum -= s[at(i, k)] * w[at(j, k)];
            }
            w[at(j, i)] = if s[at(i, i)] > 0.0 { sum / s[at(i, i)] } else { 0.0 };
        }
    }
    for (k, scale) in scale.iter().enumerate() {
        w[at(k, k)..at(k, rank - 1) + 1].iter_mut().for_each(|w| *w *= scale);
    }
    found
}

/// A number in `[-1, 1)`, a multiple of 2^-23: what replaces an entry of a deficient column.
pub fn draw(seed: u64, matrix: usize, attempt: usize, row: usize, column: usize) -> f64 {
    let bits = philox(seed, [row as u32, column as u32, matrix as u32, attempt as u32])[0];
    f64::from(bits >> 8) / f64::from(1 << 23) - 1.0
}
