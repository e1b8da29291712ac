//! The one product of this family: a tile of sums, of rows wherever they lie, by packed lanes.
//!
//! It is not the tile that other families share, which reads terms one after the other and begins anew. Here memory is half
//! of the time: columns are read where they lie, slice after slice into the same sums, so that a matrix passes once; and what
//! comes next is asked for while there are products to make. Without that, `left` of 64 matrices of 1024 by 1024 and rank 32
//! took 41 ms in place of 33, on two cores of Zen 4.
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// Columns of a tile.
pub(super) const LANES: usize = 32;
/// Rows of a tile: by two registers they are 24 sums, which with one row of the lanes and one number fit in 32.
pub(super) const ROWS: usize = 12;

/// Sums.
pub(super) type Tile = [[f32; LANES]; ROWS];

/// Rows of numbers: number `c` of row `i` is `data[i * down + c * across]`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub count: usize,
    pub down: usize,
    pub across: usize,
    /// What is asked for meanwhile, a line for every term: so memory and products do not wait for each other.
    #[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
    pub ahead: [Ahead; 2],
}

/// Memory that will be read: where from, and bytes from term to term. It is never read through this.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
pub(super) struct Ahead {
    from: *const u8,
    pace: usize,
}

impl Ahead {
    /// From entry `at` of `x` on, `pace` entries for a term; there need not be so many.
    pub(super) fn of<T>(x: &[T], at: usize, pace: usize) -> Self {
        Self { from: x.as_ptr().wrapping_add(at).cast(), pace: pace * size_of::<T>() }
    }
}

/// `tile[i][lane] = number c of row i * lanes[c][lane]`, summed over `c` in order, and in addition to what is there if
/// `add`; rows past the last repeat it.
pub(super) fn products(rows: Rows<'_>, lanes: &[[f32; LANES]], add: bool, tile: &mut Tile) {
    if !add {
        *tile = Tile::default();
    }
    let Some(last) = lanes.len().checked_sub(1) else { return };
    let starts: [usize; ROWS] = core::array::from_fn(|i| i.min(rows.count - 1) * rows.down);
    assert!(starts[ROWS - 1] + last * rows.across < rows.data.len());
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions, and the last number of the last row is inside.
        return unsafe { add_products512(rows, starts, lanes, tile) };
    }
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: as above.
        return unsafe { add_products256(rows, starts, lanes, tile) };
    }
    crate::simd::best(
        #[inline(always)]
        |fused| {
            for (start, sums) in starts.into_iter().zip(tile) {
                let mut kept = *sums;
                for (lanes, c) in lanes.iter().zip(0..) {
                    let x = rows.data[start + c * rows.across];
                    for (sum, &lane) in kept.iter_mut().zip(lanes) {
                        *sum = fused.mul_add(x, lane, *sum);
                    }
                }
                *sums = kept;
            }
        },
    )
}

/// # Safety
/// The processor has the instructions; `starts[i] + c * across` is inside of `data` for all rows and lanes.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f")]
unsafe fn add_products512(rows: Rows<'_>, starts: [usize; ROWS], lanes: &[[f32; LANES]], tile: &mut Tile) {
    // SAFETY: 16 numbers at 0 and at 16, of 32.
    let halves = |row: &[f32; LANES]| unsafe { [_mm512_loadu_ps(row.as_ptr()), _mm512_loadu_ps(row.as_ptr().add(16))] };
    let mut sums: [[__m512; 2]; ROWS] = core::array::from_fn(|i| halves(&tile[i]));
    // SAFETY: starts are inside, as the caller vouches.
    let rows_at = starts.map(|start| unsafe { rows.data.as_ptr().add(start) });
    let mut at = 0;
    let [mut near, mut far] = rows.ahead.map(|ahead| ahead.from);
    for lanes in lanes {
        let [low, high] = halves(lanes);
        _mm_prefetch::<_MM_HINT_T0>(near.cast());
        _mm_prefetch::<_MM_HINT_T0>(far.cast());
        (near, far) = (near.wrapping_add(rows.ahead[0].pace), far.wrapping_add(rows.ahead[1].pace));
        for (sums, row) in sums.iter_mut().zip(rows_at) {
            // SAFETY: `at` is a lane's multiple of `across`, as the caller vouches.
            let x = _mm512_set1_ps(unsafe { *row.add(at) });
            *sums = [_mm512_fmadd_ps(x, low, sums[0]), _mm512_fmadd_ps(x, high, sums[1])];
        }
        at += rows.across;
    }
    for ([low, high], to) in sums.into_iter().zip(tile) {
        // SAFETY: 16 numbers at 0 and at 16, of 32.
        unsafe {
            _mm512_storeu_ps(to.as_mut_ptr(), low);
            _mm512_storeu_ps(to.as_mut_ptr().add(16), high);
        }
    }
}

/// Copying columns that lie apart together first, as their lines have one place in the first-level cache and each is read in
/// four quarters: `right` took 1.0 to 1.3 of the time (Zen 3).
///
/// # Safety
/// As [`add_products512`].
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_products256(rows: Rows<'_>, starts: [usize; ROWS], lanes: &[[f32; LANES]], tile: &mut Tile) {
    /// Rows of a quarter: by two registers they are 12 sums, which with two of the lanes and one number fit in 16.
    const PART: usize = ROWS / 2;
    let [mut near, mut far] = rows.ahead.map(|ahead| ahead.from);
    for (first, half) in [(0, 0), (PART, 0), (PART, LANES / 2), (0, LANES / 2)] {
        // SAFETY: 8 numbers at `half` and at `half + 8`, of 32.
        let pair = |row: &[f32; LANES]| unsafe {
            [_mm256_loadu_ps(row.as_ptr().add(half)), _mm256_loadu_ps(row.as_ptr().add(half + 8))]
        };
        let mut sums: [[__m256; 2]; PART] = core::array::from_fn(|i| pair(&tile[first + i]));
        // SAFETY: starts are inside, as the caller vouches.
        let rows_at: [_; PART] = core::array::from_fn(|i| unsafe { rows.data.as_ptr().add(starts[first + i]) });
        let mut at = 0;
        for (c, lanes) in lanes.iter().enumerate() {
            let [low, high] = pair(lanes);
            // A quarter of what is asked for in each quarter.
            if c % 4 == 0 {
                _mm_prefetch::<_MM_HINT_T0>(near.cast());
                _mm_prefetch::<_MM_HINT_T0>(far.cast());
                (near, far) = (near.wrapping_add(rows.ahead[0].pace), far.wrapping_add(rows.ahead[1].pace));
            }
            for (sums, row) in sums.iter_mut().zip(rows_at) {
                // SAFETY: `at` is a lane's multiple of `across`, as the caller vouches.
                let x = _mm256_set1_ps(unsafe { *row.add(at) });
                *sums = [_mm256_fmadd_ps(x, low, sums[0]), _mm256_fmadd_ps(x, high, sums[1])];
            }
            at += rows.across;
        }
        for ([low, high], to) in sums.into_iter().zip(&mut tile[first..]) {
            // SAFETY: as for the loads.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr().add(half), low);
                _mm256_storeu_ps(to.as_mut_ptr().add(half + 8), high);
            }
        }
    }
}
