//! Tiles in registers of 16 lanes.
#![allow(unsafe_code)]
use super::{HALF, LANES, ROWS, Tile};
use core::arch::x86_64::*;

#[target_feature(enable = "avx512f")]
pub(super) fn compare<const HOLDS: i32>(tile: &Tile, limits: &[f32; LANES]) -> [u32; ROWS] {
    core::array::from_fn(|j| {
        let half = |at: usize| {
            // SAFETY: 16 numbers at 0 and at 16, of 32.
            let [x, limit] = [&tile[j], limits].map(|row| unsafe { _mm512_loadu_ps(row.as_ptr().add(at)) });
            u32::from(_mm512_cmp_ps_mask::<HOLDS>(x, limit))
        };
        half(0) | half(16) << 16
    })
}

/// A tile of sums over numbers, or pairs of numbers, of one kind; terms are added in their order.
macro_rules! tile {
    ($name:ident, $features:literal, $term:ty, $zero:ident, $splat:expr, $load:expr, $number:expr, $mul_add:expr) => {
        /// # Safety
        /// Every row is as long as the lanes, and the processor has the instructions.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(lanes: &[$term], rows: [&[$term]; ROWS], tile: &mut Tile) {
            let mut sums = [[$zero(); 2]; ROWS];
            let (from, k, rows) = (lanes.as_ptr(), lanes.len() / LANES, rows.map(<[$term]>::as_ptr));
            for c in 0..k {
                // SAFETY: c is less than the length of every row, and both halves have k entries of so many lanes.
                unsafe {
                    let (low, high) = ($load(from.add(c * HALF)), $load(from.add((k + c) * HALF)));
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let x = $splat(*row.add(c));
                        *sums = [$mul_add(sums[0], x, low), $mul_add(sums[1], x, high)];
                    }
                }
            }
            for ([low, high], to) in sums.into_iter().zip(tile) {
                // SAFETY: 16 numbers at 0 and at 16, of 32.
                unsafe {
                    _mm512_storeu_ps(to.as_mut_ptr(), $number(low));
                    _mm512_storeu_ps(to.as_mut_ptr().add(HALF), $number(high));
                }
            }
        }
    };
}

tile!(
    wide,
    "avx512f",
    f32,
    _mm512_setzero_ps,
    |x: f32| _mm512_set1_ps(x),
    |from: *const f32| _mm512_loadu_ps(from),
    |sum| sum,
    |sum, x, lane| _mm512_fmadd_ps(x, lane, sum)
);
tile!(
    integers,
    "avx512f,avx512vnni",
    u32,
    _mm512_setzero_si512,
    |pair: u32| _mm512_set1_epi32(pair as i32),
    |from: *const u32| _mm512_loadu_si512(from.cast()),
    |sum| _mm512_cvtepi32_ps(sum),
    |sum, x, lane| _mm512_dpwssd_epi32(sum, x, lane)
);
// A register of numbers may be named as one of pairs.
tile!(
    paired,
    "avx512f,avx512bf16",
    u32,
    _mm512_setzero_ps,
    |pair: u32| core::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair as i32)),
    |from: *const u32| core::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())),
    |sum| sum,
    |sum, x, lane| _mm512_dpbf16_ps(sum, x, lane)
);

/// # Safety
/// As [`Level::transpose16`](crate::level::Level::transpose16) checks.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn transpose16(from: &[u32], stride: usize, to: &mut [u32]) {
    let row: [__m512i; 16] = core::array::from_fn(|r| {
        // SAFETY: the caller vouches for 16 numbers in each of 16 rows.
        unsafe { _mm512_loadu_si512(from.as_ptr().add(r * stride).cast()) }
    });
    // Pairs of rows, then fours: quad[4g + c] has, in its quarter q, column 4q + c of the rows 4g..4g + 4.
    let two: [__m512i; 16] = core::array::from_fn(|i| {
        let (a, b) = (row[i / 2 * 2], row[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    let quad: [__m512i; 16] = core::array::from_fn(|i| {
        let (a, b) = (two[i / 4 * 4 + i % 4 / 2], two[i / 4 * 4 + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    for c in 0..4 {
        let even = |a, b| _mm512_shuffle_i32x4::<0x88>(a, b);
        let odd = |a, b| _mm512_shuffle_i32x4::<0xdd>(a, b);
        let (a, b) = (even(quad[c], quad[4 + c]), even(quad[8 + c], quad[12 + c]));
        let (d, e) = (odd(quad[c], quad[4 + c]), odd(quad[8 + c], quad[12 + c]));
        for (column, x) in [(c, even(a, b)), (4 + c, even(d, e)), (8 + c, odd(a, b)), (12 + c, odd(d, e))] {
            // SAFETY: the caller vouches for 16 numbers in each of 16 columns.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(column * HALF).cast(), x) };
        }
    }
}
