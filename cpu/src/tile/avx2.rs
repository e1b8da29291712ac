//! Tiles in registers of 8 lanes, a quarter at a time.
#![allow(unsafe_code)]
use super::{HALF, LANES, ROWS, Tile};
use core::arch::x86_64::*;

/// Rows of a quarter: by two registers they are 12 sums, which with two of the lanes and one number fit in 16.
const PART: usize = 6;

/// A tile of sums over registers of one kind; terms are added in their order. Lanes are fastest where they begin at a
/// multiple of a register. Taking 128 to 256 terms of all quarters at a time, so that rows and lanes stay in the
/// first-level cache, took 1.00 to 1.08 of the time (Zen 3).
macro_rules! quarters {
    ($name:ident, $term:ty, $zero:ident, $splat:expr, $load:ident, $number:expr, $mul_add:expr) => {
        /// # Safety
        /// Every row is as long as the lanes, and the processor has the instructions.
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn $name(lanes: &[$term], rows: [&[$term]; ROWS], tile: &mut Tile) {
            let k = lanes.len() / LANES;
            for (first, half) in [(0, 0), (PART, 0), (PART, HALF), (0, HALF)] {
                let rows: [_; PART] = core::array::from_fn(|i| rows[first + i].as_ptr());
                // SAFETY: both halves have k entries of so many lanes.
                let from = unsafe { lanes.as_ptr().add(half * k) };
                let mut sums = [[$zero(); 2]; PART];
                for c in 0..k {
                    // SAFETY: c is less than the length of every row.
                    unsafe {
                        let at = from.add(c * HALF);
                        let (low, high) = ($load(at.cast()), $load(at.add(8).cast()));
                        for (sums, row) in sums.iter_mut().zip(rows) {
                            let x = $splat(*row.add(c));
                            *sums = [$mul_add(x, low, sums[0]), $mul_add(x, high, sums[1])];
                        }
                    }
                }
                for ([low, high], to) in sums.into_iter().zip(&mut tile[first..]) {
                    let to = to[half..].as_mut_ptr();
                    // SAFETY: 16 numbers from `half` on, of 32.
                    unsafe {
                        _mm256_storeu_ps(to, $number(low));
                        _mm256_storeu_ps(to.add(8), $number(high));
                    }
                }
            }
        }
    };
}

quarters!(wide, f32, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, |sum| sum, _mm256_fmadd_ps);
quarters!(
    integers,
    u32,
    _mm256_setzero_si256,
    |pair: u32| _mm256_set1_epi32(pair as i32),
    _mm256_loadu_si256,
    _mm256_cvtepi32_ps,
    |a, b, sum| _mm256_add_epi32(_mm256_madd_epi16(a, b), sum)
);

#[target_feature(enable = "avx2")]
pub(super) fn compare<const HOLDS: i32>(tile: &Tile, limits: &[f32; LANES]) -> [u32; ROWS] {
    core::array::from_fn(|j| {
        let eight = |at: usize| {
            // SAFETY: 8 numbers at 0, 8, 16 and 24, of 32.
            let [x, limit] = [&tile[j], limits].map(|row| unsafe { _mm256_loadu_ps(row.as_ptr().add(at)) });
            (_mm256_movemask_ps(_mm256_cmp_ps::<HOLDS>(x, limit)) as u32) << at
        };
        eight(0) | eight(8) | eight(16) | eight(24)
    })
}

/// # Safety
/// As [`Level::transpose16`](crate::level::Level::transpose16) checks.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn transpose16(from: &[u32], stride: usize, to: &mut [u32]) {
    for (r, c) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
        // SAFETY: the caller vouches for 16 numbers in each of 16 rows.
        let row: [__m256; 8] =
            core::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.as_ptr().add((r + i) * stride + c).cast()) });
        // Pairs of rows, then fours: in each half, columns 0 to 3 or 4 to 7 of rows 0 to 3, then of 4 to 7.
        let two: [__m256; 8] = core::array::from_fn(|i| {
            let (a, b) = (row[i / 2 * 2], row[i / 2 * 2 + 1]);
            if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
        });
        let four: [__m256; 8] = core::array::from_fn(|i| {
            let (a, b) = (two[i / 4 * 4 + i % 4 / 2], two[i / 4 * 4 + i % 4 / 2 + 2]);
            let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
            _mm256_castpd_ps(if i % 2 == 0 { _mm256_unpacklo_pd(a, b) } else { _mm256_unpackhi_pd(a, b) })
        });
        for i in 0..4 {
            let low = _mm256_permute2f128_ps::<0x20>(four[i], four[4 + i]);
            let high = _mm256_permute2f128_ps::<0x31>(four[i], four[4 + i]);
            for (column, x) in [(c + i, low), (c + 4 + i, high)] {
                // SAFETY: the caller vouches for 16 numbers in each of 16 columns.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(column * HALF + r).cast(), x) };
            }
        }
    }
}
