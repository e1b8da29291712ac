//! The inner loops: weighted sums of rows that an incidence names, and dot products.
use crate::level::Level;
use crate::simd::{Fused, Lane, Task, prefetch, run};
use latens_kernels::Float;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// The members of a row, what they weigh, and whatever comes after them in memory, to be fetched ahead.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    /// From the first member on, up to the last of all rows.
    pub(super) from: &'a [u32],
    /// How many are of this row.
    pub(super) count: usize,
}

/// Columns `k..k + N` of `Σ weight(i) x[members[i]]`, in the order of members.
#[inline(always)]
pub(super) fn sum<T: Float, const N: usize>(
    fused: Fused,
    members: Members,
    weight: impl Fn(usize) -> f32,
    (x, stride): (&[T], usize),
    k: usize,
) -> [f32; N] {
    let lines = (N * size_of::<T>()).div_ceil(LINE);
    let ahead = (16 / lines).clamp(2, 8);
    let mut kept = [0.0; N];
    for i in 0..members.count {
        let next = members.from.get(i + ahead).and_then(|&next| x.get(next as usize * stride + k..)?.get(..N));
        if let Some(next) = next {
            prefetch(next);
        }
        let (row, weight) = (&x[members.from[i] as usize * stride + k..][..N], weight(i));
        for c in 0..N {
            kept[c] = fused.mul_add(weight, row[c].to_f32(), kept[c]);
        }
    }
    kept
}

/// `Σ weight(i) x[members[i] * stride + k]`: one column, as eight sums, so that no addition waits for the last.
#[inline(always)]
pub(super) fn sum_one<T: Float>(
    fused: Fused,
    members: Members,
    weight: impl Fn(usize) -> f32,
    (x, stride): (&[T], usize),
    k: usize,
) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [0.0_f32; LANES];
    let whole = members.count / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        for (j, lane) in lanes.iter_mut().enumerate() {
            let i = first + j;
            *lane = fused.mul_add(weight(i), x[members.from[i] as usize * stride + k].to_f32(), *lane);
        }
    }
    for i in whole..members.count {
        let lane = &mut lanes[i - whole];
        *lane = fused.mul_add(weight(i), x[members.from[i] as usize * stride + k].to_f32(), *lane);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// Call `put(k, sums)` for all columns `0..dim` of the weighted sum: wide slabs first, what is left one by one.
#[inline(always)]
pub(super) fn sum_all<T: Float>(
    fused: Fused,
    members: Members,
    weight: impl Fn(usize) -> f32 + Copy,
    x: (&[T], usize),
    dim: usize,
    mut put: impl FnMut(usize, &[f32]),
) {
    let mut k = 0;
    while k + 128 <= dim {
        put(k, &sum::<T, 128>(fused, members, weight, x, k));
        k += 128;
    }
    while k + 32 <= dim {
        put(k, &sum::<T, 32>(fused, members, weight, x, k));
        k += 32;
    }
    while k + 8 <= dim {
        put(k, &sum::<T, 8>(fused, members, weight, x, k));
        k += 8;
    }
    for k in k..dim {
        put(k, &[sum_one(fused, members, weight, x, k)]);
    }
}

/// Lanes of a dot product, so that its order is the same from level to level.
const LANES: usize = 32;

/// `Σ rows[r][c] queries[q][c]` for `R` rows and `Q` queries, each sum in the same order whatever stands beside it.
pub(super) fn products<T: Float, const R: usize, const Q: usize>(
    level: Level,
    rows: [&[T]; R],
    queries: [&[f32]; Q],
) -> [[f32; R]; Q] {
    run(level, Products { rows, queries })
}

struct Products<'a, T, const R: usize, const Q: usize> {
    rows: [&'a [T]; R],
    queries: [&'a [f32]; Q],
}

impl<T: Float, const R: usize, const Q: usize> Task for Products<'_, T, R, Q> {
    type Output = [[f32; R]; Q];
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> [[f32; R]; Q] {
        let dim = self.queries[0].len();
        let (rows, queries) = (self.rows.map(|row| &row[..dim]), self.queries.map(|query| &query[..dim]));
        // As many registers as 32 lanes are, of which wide levels leave some out.
        let mut sums = [[[L::splat(0.0); LANES / 4]; R]; Q];
        let whole = dim / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            #[allow(clippy::needless_range_loop)] // it is the last of three indices, and of a slice besides
            for i in 0..LANES / L::N {
                let at = start + i * L::N;
                let queries = queries.map(|query| L::load(&query[at..]));
                for r in 0..R {
                    let row = L::widen(&rows[r][at..]);
                    for q in 0..Q {
                        sums[q][r][i] = row.mul_add(queries[q], sums[q][r][i]);
                    }
                }
            }
        }
        let mut out = [[0.0; R]; Q];
        for q in 0..Q {
            for r in 0..R {
                let mut lanes = [0.0_f32; LANES];
                for i in 0..LANES / L::N {
                    sums[q][r][i].store(&mut lanes[i * L::N..]);
                }
                for (lane, c) in lanes.iter_mut().zip(whole..dim) {
                    *lane = fused.mul_add(rows[r][c].to_f32(), queries[q][c], *lane);
                }
                out[q][r] = total(&mut lanes);
            }
        }
        out
    }
}

#[inline(always)]
fn total(lanes: &mut [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for c in 0..half {
            lanes[c] += lanes[c + half];
        }
        half /= 2;
    }
    lanes[0]
}
