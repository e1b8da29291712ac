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

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn wide(lanes: &[f32], rows: [&[f32]; ROWS], tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (from, k, rows) = (lanes.as_ptr(), lanes.len() / LANES, rows.map(<[f32]>::as_ptr));
    for c in 0..k {
        // SAFETY: c is less than the length of every row.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from.add(c * HALF)), _mm512_loadu_ps(from.add((k + c) * HALF)));
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = _mm512_set1_ps(*row.add(c));
                *sums = [_mm512_fmadd_ps(x, low, sums[0]), _mm512_fmadd_ps(x, high, sums[1])];
            }
        }
    }
    store(sums, tile);
}

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn paired(lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (from, k, rows) = (lanes.as_ptr(), lanes.len() / LANES, rows.map(<[u32]>::as_ptr));
    for c in 0..k {
        // SAFETY: c is less than the length of every row; a register of numbers may be named as one of pairs.
        unsafe {
            let pairs = |at: usize| -> __m512bh { core::mem::transmute(_mm512_loadu_si512(from.add(at).cast())) };
            let (low, high) = (pairs(c * HALF), pairs((k + c) * HALF));
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x: __m512bh = core::mem::transmute(_mm512_set1_epi32(*row.add(c) as i32));
                *sums = [_mm512_dpbf16_ps(sums[0], x, low), _mm512_dpbf16_ps(sums[1], x, high)];
            }
        }
    }
    store(sums, tile);
}

#[target_feature(enable = "avx512f")]
fn store(sums: [[__m512; 2]; ROWS], tile: &mut Tile) {
    for ([low, high], to) in sums.into_iter().zip(tile) {
        // SAFETY: 16 numbers at 0 and at 16, of 32.
        unsafe {
            _mm512_storeu_ps(to.as_mut_ptr(), low);
            _mm512_storeu_ps(to.as_mut_ptr().add(16), high);
        }
    }
}

/// # Safety
/// As [`Level::transpose16`](crate::level::Level::transpose16) checks.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn transpose16(from: &[u32], stride: usize, to: &mut [u32]) {
    // SAFETY: the caller vouches for 16 numbers in each of 16 rows.
    let row: [__m512i; 16] =
        core::array::from_fn(|r| unsafe { _mm512_loadu_si512(from.as_ptr().add(r * stride).cast()) });
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
