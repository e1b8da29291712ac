//! What a processor does in registers: a tile of sums, and the transposition of 16 by 16 numbers.
//!
//! Lanes run along the columns of the result, which are packed (entry (c, lane) at `c * LANES + lane`); a row is read
//! where it lies, one number for all lanes. Terms are added in their order whatever the instructions.
#![allow(unsafe_code)]
use alloc::vec::Vec;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// Columns of a tile.
pub(super) const LANES: usize = 32;
/// Rows of a tile: by two registers they are 24 sums, which with a column of the lanes and one number fit in 32.
pub(super) const ROWS: usize = 12;

/// Sums.
pub(super) type Tile = [[f32; LANES]; ROWS];

/// Instructions that this processor has. Only [`Level::best`] and [`Level::all`] make one, so it is proof of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
enum Kind {
    Portable,
    Avx2,
    Avx512,
    Avx512Bf16,
}

impl Level {
    /// The widest.
    pub fn best() -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                return Self(if has!("avx512bf16") { Kind::Avx512Bf16 } else { Kind::Avx512 });
            }
            if has!("avx2") && has!("fma") {
                return Self(Kind::Avx2);
            }
        }
        Self(Kind::Portable)
    }

    /// Every one that this processor has, from the narrowest, for tests that compare them.
    pub fn all() -> Vec<Self> {
        let kinds = [Kind::Portable, Kind::Avx2, Kind::Avx512, Kind::Avx512Bf16];
        kinds.into_iter().map(Self).filter(|&level| level <= Self::best()).collect()
    }

    /// Whether it multiplies `bf16` in pairs.
    pub(super) fn pairs(self) -> bool {
        self.0 == Kind::Avx512Bf16
    }

    /// Run a closure of plain loops, marked `#[inline(always)]`, as compiled for this level.
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            #[target_feature(enable = "avx2,fma")]
            fn avx2<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            match self.0 {
                // SAFETY: a level is proof of its instructions.
                Kind::Avx512 | Kind::Avx512Bf16 => return unsafe { avx512(work) },
                // SAFETY: as above.
                Kind::Avx2 => return unsafe { avx2(work) },
                Kind::Portable => {}
            }
        }
        work()
    }

    /// The products of `rows` with the lanes, both the bits of `f32`.
    pub(super) fn wide(self, lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
        let k = lanes.len() / LANES;
        assert!(rows.iter().all(|row| row.len() >= k));
        match self.0 {
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            // SAFETY: the level is proof of the instructions, and every row has as many entries as the lanes.
            Kind::Avx512 | Kind::Avx512Bf16 => unsafe { wide512(lanes, rows, tile) },
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { wide256(lanes, rows, tile) },
            _ => {
                for (row, sums) in rows.into_iter().zip(tile) {
                    *sums = [0.0; LANES];
                    for (lanes, &x) in lanes.as_chunks::<LANES>().0.iter().zip(row) {
                        for (sum, &lane) in sums.iter_mut().zip(lanes) {
                            *sum += f32::from_bits(x) * f32::from_bits(lane);
                        }
                    }
                }
            }
        }
    }

    /// The products of `rows` with the lanes, both of pairs of `bf16`: the earlier one in the low half.
    pub(super) fn paired(self, lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
        let k = lanes.len() / LANES;
        assert!(self.pairs() && rows.iter().all(|row| row.len() >= k));
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        // SAFETY: the level is proof of the instructions, and every row has as many entries as the lanes.
        unsafe {
            paired512(lanes, rows, tile);
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let _ = tile;
    }

    /// `to[c * LANES + r] = from[r * stride + c]` for 16 of either; `false`, and nothing done, at a lesser level.
    pub(super) fn transpose16(self, from: &[u32], stride: usize, to: &mut [u32]) -> bool {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if self.0 >= Kind::Avx512 {
            assert!(from.len() >= 15 * stride + 16 && to.len() >= 15 * LANES + 16);
            // SAFETY: the level is proof of the instructions, and the slices are long enough.
            unsafe { transpose512(from, stride, to) };
            return true;
        }
        let _ = (from, stride, to);
        false
    }
}

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn wide512(lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (from, rows) = (lanes.as_ptr().cast::<f32>(), rows.map(|row| row.as_ptr().cast::<f32>()));
    for c in 0..lanes.len() / LANES {
        // SAFETY: c is less than the length of every row.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from.add(c * LANES)), _mm512_loadu_ps(from.add(c * LANES + 16)));
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = _mm512_set1_ps(*row.add(c));
                *sums = [_mm512_fmadd_ps(x, low, sums[0]), _mm512_fmadd_ps(x, high, sums[1])];
            }
        }
    }
    store512(sums, tile);
}

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn paired512(lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (from, rows) = (lanes.as_ptr(), rows.map(<[u32]>::as_ptr));
    for c in 0..lanes.len() / LANES {
        // SAFETY: c is less than the length of every row; a register of numbers may be named as one of pairs.
        unsafe {
            let pairs = |at: usize| -> __m512bh { core::mem::transmute(_mm512_loadu_si512(from.add(at).cast())) };
            let (low, high) = (pairs(c * LANES), pairs(c * LANES + 16));
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x: __m512bh = core::mem::transmute(_mm512_set1_epi32(*row.add(c) as i32));
                *sums = [_mm512_dpbf16_ps(sums[0], x, low), _mm512_dpbf16_ps(sums[1], x, high)];
            }
        }
    }
    store512(sums, tile);
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f")]
fn store512(sums: [[__m512; 2]; ROWS], tile: &mut Tile) {
    for ([low, high], to) in sums.into_iter().zip(tile) {
        // SAFETY: 16 numbers at 0 and at 16, of 32.
        unsafe {
            _mm512_storeu_ps(to.as_mut_ptr(), low);
            _mm512_storeu_ps(to.as_mut_ptr().add(16), high);
        }
    }
}

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
unsafe fn wide256(lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
    const PART: usize = 6; // by two registers: 12 sums, two of the lanes and one number fit in 16
    for (first, half) in [(0, 0), (PART, 0), (0, 16), (PART, 16)] {
        let mut sums = [[_mm256_setzero_ps(); 2]; PART];
        let (from, rows): (_, [_; PART]) =
            (lanes.as_ptr().cast::<f32>(), core::array::from_fn(|i| rows[first + i].as_ptr().cast::<f32>()));
        for c in 0..lanes.len() / LANES {
            // SAFETY: c is less than the length of every row.
            unsafe {
                let at = from.add(c * LANES + half);
                let (low, high) = (_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)));
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let x = _mm256_set1_ps(*row.add(c));
                    *sums = [_mm256_fmadd_ps(x, low, sums[0]), _mm256_fmadd_ps(x, high, sums[1])];
                }
            }
        }
        for (i, [low, high]) in sums.into_iter().enumerate() {
            let to = tile[first + i][half..].as_mut_ptr();
            // SAFETY: 16 numbers from `half` on, of 32.
            unsafe {
                _mm256_storeu_ps(to, low);
                _mm256_storeu_ps(to.add(8), high);
            }
        }
    }
}

/// # Safety
/// As [`Level::transpose16`] checks.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f")]
unsafe fn transpose512(from: &[u32], stride: usize, to: &mut [u32]) {
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
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(column * LANES).cast(), x) };
        }
    }
}
