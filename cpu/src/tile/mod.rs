//! What a product of matrices does in registers: a tile of sums, and the transposition of 16 by 16 numbers.
//!
//! Lanes run along the columns of the result, which are packed (entry (c, lane) at `c * LANES + lane`); a row is read
//! where it lies, one number for all lanes. Terms are added in their order whatever the instructions.
#![allow(unsafe_code)]
pub(crate) mod pack;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use crate::level::Kind;
use crate::level::Level;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// Columns of a tile.
pub(crate) const LANES: usize = 32;
/// Rows of a tile: by two registers they are 24 sums, which with a column of the lanes and one number fit in 32.
pub(crate) const ROWS: usize = 12;

/// Sums.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// Numbers whose bits these are.
pub(crate) fn floats(bits: &[u32]) -> &[f32] {
    // SAFETY: of the same size and alignment, and all bits are a number.
    unsafe { core::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
}

/// Numbers by halves, in the order of memory.
pub(crate) fn halves(bits: &mut [u32]) -> &mut [u16] {
    // SAFETY: twice as many of half the size, and all bits are a number.
    unsafe { core::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), 2 * bits.len()) }
}

impl Level {
    /// The products of `rows` with the lanes.
    pub(crate) fn wide(self, lanes: &[f32], rows: [&[f32]; ROWS], tile: &mut Tile) {
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
                            *sum += x * lane;
                        }
                    }
                }
            }
        }
    }

    /// The products of `rows` with the lanes, both of pairs of `bf16`: the earlier one in the low half.
    pub(crate) fn paired(self, lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
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

    /// Which numbers of a tile reach their limits, which NaN does not: bit `lane` of `reached[row]`.
    pub(crate) fn reached(self, tile: &Tile, limits: &Tile) -> [u32; ROWS] {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if self.0 >= Kind::Avx512 {
            // SAFETY: the level is proof of the instructions.
            return unsafe { compare512::<_CMP_GE_OQ>(tile, limits) };
        }
        compare(tile, limits, |x, limit| x >= limit)
    }

    /// Which numbers of a tile are below their limits, which NaN is not.
    pub(crate) fn below(self, tile: &Tile, limits: &Tile) -> [u32; ROWS] {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if self.0 >= Kind::Avx512 {
            // SAFETY: the level is proof of the instructions.
            return unsafe { compare512::<_CMP_LT_OQ>(tile, limits) };
        }
        compare(tile, limits, |x, limit| x < limit)
    }

    /// `to[c * LANES + r] = from[r * stride + c]` for 16 of either; `false`, and nothing done, at a lesser level.
    pub(crate) fn transpose16(self, from: &[u32], stride: usize, to: &mut [u32]) -> bool {
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

fn compare(tile: &Tile, limits: &Tile, holds: impl Fn(f32, f32) -> bool) -> [u32; ROWS] {
    core::array::from_fn(|j| {
        let lanes = tile[j].iter().zip(&limits[j]).enumerate();
        lanes.fold(0, |bits, (lane, (&x, &limit))| bits | u32::from(holds(x, limit)) << lane)
    })
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f")]
fn compare512<const HOLDS: i32>(tile: &Tile, limits: &Tile) -> [u32; ROWS] {
    core::array::from_fn(|j| {
        let half = |at: usize| {
            // SAFETY: 16 numbers at 0 and at 16, of 32.
            let [x, limit] = [&tile[j], &limits[j]].map(|row| unsafe { _mm512_loadu_ps(row.as_ptr().add(at)) });
            u32::from(_mm512_cmp_ps_mask::<HOLDS>(x, limit))
        };
        half(0) | half(16) << 16
    })
}

/// # Safety
/// Every row is as long as the lanes, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn wide512(lanes: &[f32], rows: [&[f32]; ROWS], tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (from, rows) = (lanes.as_ptr(), rows.map(<[f32]>::as_ptr));
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
unsafe fn wide256(lanes: &[f32], rows: [&[f32]; ROWS], tile: &mut Tile) {
    const PART: usize = 6; // by two registers: 12 sums, two of the lanes and one number fit in 16
    for (first, half) in [(0, 0), (PART, 0), (0, 16), (PART, 16)] {
        let mut sums = [[_mm256_setzero_ps(); 2]; PART];
        let (from, rows): (_, [_; PART]) = (lanes.as_ptr(), core::array::from_fn(|i| rows[first + i].as_ptr()));
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
