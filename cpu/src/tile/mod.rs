//! What a product of matrices does in registers: a tile of sums, and the transposition of 16 by 16 numbers.
//!
//! Lanes run along the columns of the result, which are packed: entry c of all lanes of the first [`HALF`], one entry after
//! the other, then the same of the second. A row is read where it lies, one number for all lanes. Terms are added in their
//! order whatever the instructions.
//!
//! Halves lie apart since two registers of 8 lanes are all that a sum of many rows has room for: a pass over one half reads
//! every line of memory that it asks for. With both side by side products took 1.02 to 1.12 of the time (Zen 3).
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512;
pub(crate) mod pack;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use crate::level::Kind;
use crate::level::Level;
use alloc::{vec, vec::Vec};
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::{_CMP_GE_OQ, _CMP_LT_OQ};
use core::ops::{Deref, DerefMut};

/// Columns of a tile.
pub(crate) const LANES: usize = 32;
/// Of them, those that lie side by side.
pub(crate) const HALF: usize = LANES / 2;
/// Rows of a tile: by two registers they are 24 sums, which with a column of the lanes and one number fit in 32.
pub(crate) const ROWS: usize = 12;

/// Sums.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// Words of packed lanes. They begin where a line of memory does: loads of lanes that cross lines take 5 to 7 percent of a
/// product's time with registers of 8 lanes (Zen 3).
pub(crate) struct Panels {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone)]
#[repr(C, align(64))]
struct Line([u32; 16]);

impl Panels {
    /// So many zeros.
    pub(crate) fn new(len: usize) -> Self {
        Self { lines: vec![Line([0; 16]); len.div_ceil(16)], len }
    }
}

impl Deref for Panels {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        // SAFETY: lines are words and nothing else, at least `len` of them.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Panels {
    fn deref_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Numbers whose bits these are.
pub(crate) fn floats(bits: &[u32]) -> &[f32] {
    // SAFETY: of the same size and alignment, and all bits are a number.
    unsafe { core::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
}

/// The bits of numbers.
pub(crate) fn bits(numbers: &[f32]) -> &[u32] {
    // SAFETY: of the same size and alignment, and all bits are a number.
    unsafe { core::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
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
            Kind::Avx512 | Kind::Avx512Vnni | Kind::Avx512Bf16 => unsafe { avx512::wide(lanes, rows, tile) },
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { avx2::wide(lanes, rows, tile) },
            _ => {
                for (row, sums) in rows.into_iter().zip(tile) {
                    *sums = [0.0; LANES];
                    for (lanes, sums) in lanes.chunks_exact((HALF * k).max(1)).zip(sums.chunks_exact_mut(HALF)) {
                        for (lanes, &x) in lanes.as_chunks::<HALF>().0.iter().zip(row) {
                            sums.iter_mut().zip(lanes).for_each(|(sum, &lane)| *sum += x * lane);
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
            avx512::paired(lanes, rows, tile);
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let _ = tile;
    }

    /// The products of `rows` with the lanes, both of pairs of whole numbers of 16 bits: the earlier one in the low half.
    /// Sums are exact, until they are rounded to the tile's numbers, as long as they and all their beginnings fit in 32 bits.
    pub(crate) fn integers(self, lanes: &[u32], rows: [&[u32]; ROWS], tile: &mut Tile) {
        let k = lanes.len() / LANES;
        assert!(self.whole() && rows.iter().all(|row| row.len() >= k));
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        // SAFETY: the level is proof of the instructions, and every row has as many entries as the lanes.
        unsafe {
            match self.0 {
                Kind::Avx2 => avx2::integers(lanes, rows, tile),
                _ => avx512::integers(lanes, rows, tile),
            }
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let _ = tile;
    }

    /// Which numbers of a tile reach the limits of their lanes, which NaN does not: bit `lane` of `reached[row]`.
    pub(crate) fn reached(self, tile: &Tile, limits: &[f32; LANES]) -> [u32; ROWS] {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        match self.0 {
            Kind::Portable => {}
            // SAFETY: the level is proof of the instructions.
            Kind::Avx2 => return unsafe { avx2::compare::<_CMP_GE_OQ>(tile, limits) },
            // SAFETY: as above.
            _ => return unsafe { avx512::compare::<_CMP_GE_OQ>(tile, limits) },
        }
        compare(tile, limits, |x, limit| x >= limit)
    }

    /// Which numbers of a tile are below the limits of their lanes, which NaN is not.
    pub(crate) fn below(self, tile: &Tile, limits: &[f32; LANES]) -> [u32; ROWS] {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        match self.0 {
            Kind::Portable => {}
            // SAFETY: the level is proof of the instructions.
            Kind::Avx2 => return unsafe { avx2::compare::<_CMP_LT_OQ>(tile, limits) },
            // SAFETY: as above.
            _ => return unsafe { avx512::compare::<_CMP_LT_OQ>(tile, limits) },
        }
        compare(tile, limits, |x, limit| x < limit)
    }

    /// `to[c * HALF + r] = from[r * stride + c]` for [`HALF`] of either; `false`, and nothing done, at a lesser level.
    pub(crate) fn transpose16(self, from: &[u32], stride: usize, to: &mut [u32]) -> bool {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if self.0 >= Kind::Avx2 {
            assert!(from.len() >= (HALF - 1) * stride + HALF && to.len() >= HALF * HALF);
            // SAFETY: the level is proof of the instructions, and the slices are long enough.
            unsafe {
                if self.0 == Kind::Avx2 {
                    avx2::transpose16(from, stride, to)
                } else {
                    avx512::transpose16(from, stride, to)
                }
            };
            return true;
        }
        let _ = (from, stride, to);
        false
    }
}

fn compare(tile: &Tile, limits: &[f32; LANES], holds: impl Fn(f32, f32) -> bool) -> [u32; ROWS] {
    core::array::from_fn(|j| {
        let lanes = tile[j].iter().zip(limits).enumerate();
        lanes.fold(0, |bits, (lane, (&x, &limit))| bits | u32::from(holds(x, limit)) << lane)
    })
}
