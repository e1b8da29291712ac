//! A tile of pre-activations, which lives in the first-level cache only: 32 rows of `x` by 12 latents.
//!
//! Lanes run along the rows of `x`, which are packed once for the call, column by column (a [`Panels`]); a row of
//! `w_enc` is read where it lies, one number for all lanes. So the large matrix, which changes with every step of training, is never
//! packed, and the bound that a number must reach to be a candidate is a vector too.
#![allow(unsafe_code)]
use super::level::{Kind, Level};
use alloc::{vec, vec::Vec};
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;
use latens_kernels::{Float, bf16};

/// Rows of a tile.
pub(super) const ROWS: usize = 32;
/// Latents of a tile.
pub(super) const LATENTS: usize = 12;

/// Pre-activations, and which of them reach the bound of their row: bit `r` of `hits[j]` for `z[j][r]`.
pub(super) struct Tile {
    pub z: [[f32; ROWS]; LATENTS],
    pub hits: [u32; LATENTS],
}

/// Some rows of `x` by columns, in panels of [`ROWS`]; rows past the last are zero.
pub(super) enum Panels {
    /// Entry (k, r) of a panel is at `k * ROWS + r`.
    Wide(Vec<f32>),
    /// Two `bf16` to a number: (2k, r) in the low half and (2k + 1, r) in the high half of `k * ROWS + r`.
    Pairs(Vec<u32>),
}

/// [`LATENTS`] rows of `w_enc`, all `dim` long.
pub(super) enum Rows<'a> {
    Wide([&'a [f32]; LATENTS]),
    Pairs([&'a [bf16]; LATENTS]),
}

impl Panels {
    /// Whether products of `T` are made in pairs at this level.
    pub(super) fn paired<T: Float>(level: Level) -> bool {
        level.0 == Kind::Avx512Bf16 && T::DTYPE == latens_kernels::DType::BF16
    }

    /// Pack `rows` rows of `x`.
    pub(super) fn pack<T: Float>(level: Level, x: &[T], rows: usize, stride: usize, dim: usize) -> Self {
        let panels = rows.div_ceil(ROWS);
        let lanes = |panel: usize| (rows - panel * ROWS).min(ROWS);
        if Self::paired::<T>(level) {
            let half = dim.div_ceil(2);
            let mut packed = vec![0; panels * half * ROWS];
            let bits = |x: T| x.to_f32().to_bits() >> 16;
            for (panel, packed) in packed.chunks_exact_mut((half * ROWS).max(1)).enumerate() {
                for (k, packed) in packed.chunks_exact_mut(ROWS).enumerate() {
                    for (r, packed) in packed[..lanes(panel)].iter_mut().enumerate() {
                        let pair = &x[(panel * ROWS + r) * stride..][..dim][2 * k..];
                        *packed = bits(pair[0]) | pair.get(1).map_or(0, |&x| bits(x) << 16);
                    }
                }
            }
            return Panels::Pairs(packed);
        }
        let mut packed = vec![0.0; panels * dim * ROWS];
        for (panel, packed) in packed.chunks_exact_mut((dim * ROWS).max(1)).enumerate() {
            for (k, packed) in packed.chunks_exact_mut(ROWS).enumerate() {
                for (r, packed) in packed[..lanes(panel)].iter_mut().enumerate() {
                    *packed = x[(panel * ROWS + r) * stride + k].to_f32();
                }
            }
        }
        Panels::Wide(packed)
    }
}

impl Tile {
    pub(super) fn new() -> Self {
        Self { z: [[0.0; ROWS]; LATENTS], hits: [0; LATENTS] }
    }

    /// `z = x wᵀ + bias` of one panel, and the comparison `z >= bound`.
    pub(super) fn fill(
        &mut self,
        level: Level,
        panels: &Panels,
        panel: usize,
        rows: &Rows,
        dim: usize,
        bias: &[f32; LATENTS],
        bound: &[f32; ROWS],
    ) {
        match (panels, rows) {
            (Panels::Wide(x), Rows::Wide(w)) => {
                let x = &x[panel * dim * ROWS..][..dim * ROWS];
                assert!(w.iter().all(|w| w.len() >= dim));
                match level.0 {
                    #[cfg(all(feature = "std", target_arch = "x86_64"))]
                    // SAFETY: the level is proof of the instructions; `x` and every row of `w` are as long as `dim` asks.
                    Kind::Avx512 | Kind::Avx512Bf16 => unsafe { wide512(self, x, w, dim, bias, bound) },
                    #[cfg(all(feature = "std", target_arch = "x86_64"))]
                    // SAFETY: as above.
                    Kind::Avx2 => unsafe { wide256(self, x, w, dim, bias, bound) },
                    _ => portable(self, x, w, dim, bias, bound),
                }
            }
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            (Panels::Pairs(x), Rows::Pairs(w)) => {
                let half = dim.div_ceil(2);
                let x = &x[panel * half * ROWS..][..half * ROWS];
                assert!(level.0 == Kind::Avx512Bf16 && w.iter().all(|w| w.len() >= dim));
                // SAFETY: the level is proof of the instructions; `x` and every row of `w` are as long as `dim` asks.
                unsafe { pairs512(self, x, w, dim, bias, bound) }
            }
            _ => unreachable!("panels and rows are packed for one level"),
        }
    }
}

fn portable(tile: &mut Tile, x: &[f32], w: &[&[f32]; LATENTS], dim: usize, bias: &[f32; LATENTS], bound: &[f32; ROWS]) {
    for (j, w) in w.iter().enumerate() {
        let mut sum = [0.0; ROWS];
        for (x, &w) in x.chunks_exact(ROWS).zip(&w[..dim]) {
            for (sum, x) in sum.iter_mut().zip(x) {
                *sum += x * w;
            }
        }
        tile.hits[j] = 0;
        for (r, sum) in sum.into_iter().enumerate() {
            let z = sum + bias[j];
            tile.z[j][r] = z;
            tile.hits[j] |= u32::from(z >= bound[r]) << r;
        }
    }
}

/// # Safety
/// `x` is a panel of `dim` columns, every row of `w` at least `dim` long, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn wide512(
    tile: &mut Tile,
    x: &[f32],
    w: &[&[f32]; LATENTS],
    dim: usize,
    bias: &[f32; LATENTS],
    bound: &[f32; ROWS],
) {
    let mut sum = [[_mm512_setzero_ps(); 2]; LATENTS];
    let (x, w) = (x.as_ptr(), w.map(<[f32]>::as_ptr));
    for k in 0..dim {
        // SAFETY: k < dim, and the caller vouches for the lengths.
        unsafe {
            let (x0, x1) = (_mm512_loadu_ps(x.add(k * ROWS)), _mm512_loadu_ps(x.add(k * ROWS + 16)));
            for j in 0..LATENTS {
                let w = _mm512_set1_ps(*w[j].add(k));
                sum[j] = [_mm512_fmadd_ps(x0, w, sum[j][0]), _mm512_fmadd_ps(x1, w, sum[j][1])];
            }
        }
    }
    finish512(tile, sum, bias, bound);
}

/// # Safety
/// `x` is a panel of `dim` columns in pairs, every row of `w` at least `dim` long, and the processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pairs512(
    tile: &mut Tile,
    x: &[u32],
    w: &[&[bf16]; LATENTS],
    dim: usize,
    bias: &[f32; LATENTS],
    bound: &[f32; ROWS],
) {
    let mut sum = [[_mm512_setzero_ps(); 2]; LATENTS];
    let (from, ends) = (x.as_ptr(), w.map(|w| if dim % 2 == 1 { w[dim - 1].to_bits() } else { 0 }));
    let w = w.map(|w| w.as_ptr().cast::<i32>());
    // SAFETY: the caller vouches for the lengths; in the last, half a pair of an odd `dim` is not read from `w`.
    unsafe {
        for k in 0..dim / 2 {
            let pairs = |at: usize| -> __m512bh { core::mem::transmute(_mm512_loadu_si512(from.add(at).cast())) };
            let (x0, x1) = (pairs(k * ROWS), pairs(k * ROWS + 16));
            for j in 0..LATENTS {
                let w: __m512bh = core::mem::transmute(_mm512_set1_epi32(w[j].add(k).read_unaligned()));
                sum[j] = [_mm512_dpbf16_ps(sum[j][0], x0, w), _mm512_dpbf16_ps(sum[j][1], x1, w)];
            }
        }
        if dim % 2 == 1 {
            for (sum, end) in sum.iter_mut().zip(ends) {
                for (half, sum) in sum.iter_mut().enumerate() {
                    let x: __m512bh =
                        core::mem::transmute(_mm512_loadu_si512(from.add(dim / 2 * ROWS + half * 16).cast()));
                    let w: __m512bh = core::mem::transmute(_mm512_set1_epi32(i32::from(end)));
                    *sum = _mm512_dpbf16_ps(*sum, x, w);
                }
            }
        }
    }
    finish512(tile, sum, bias, bound);
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn finish512(tile: &mut Tile, sum: [[__m512; 2]; LATENTS], bias: &[f32; LATENTS], bound: &[f32; ROWS]) {
    for j in 0..LATENTS {
        let mut hits = [0; 2];
        for half in 0..2 {
            let z = _mm512_add_ps(sum[j][half], _mm512_set1_ps(bias[j]));
            // SAFETY: 16 numbers from half * 16 on, of 32.
            unsafe {
                let bound = _mm512_loadu_ps(bound.as_ptr().add(half * 16));
                hits[half] = u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(z, bound));
                _mm512_storeu_ps(tile.z[j].as_mut_ptr().add(half * 16), z);
            }
        }
        tile.hits[j] = hits[0] | hits[1] << 16;
    }
}

/// # Safety
/// As [`wide512`].
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
unsafe fn wide256(
    tile: &mut Tile,
    x: &[f32],
    w: &[&[f32]; LATENTS],
    dim: usize,
    bias: &[f32; LATENTS],
    bound: &[f32; ROWS],
) {
    const PART: usize = 6; // by 2 registers: 12 sums, 2 of x and 1 of w fit in 16 registers
    tile.hits = [0; LATENTS];
    for (first, half) in [(0, 0), (PART, 0), (0, 16), (PART, 16)] {
        let mut sum = [[_mm256_setzero_ps(); 2]; PART];
        let (x, w): (_, [_; PART]) = (x.as_ptr(), core::array::from_fn(|j| w[first + j].as_ptr()));
        for k in 0..dim {
            // SAFETY: k < dim, and the caller vouches for the lengths.
            unsafe {
                let at = x.add(k * ROWS + half);
                let (x0, x1) = (_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)));
                for j in 0..PART {
                    let w = _mm256_set1_ps(*w[j].add(k));
                    sum[j] = [_mm256_fmadd_ps(x0, w, sum[j][0]), _mm256_fmadd_ps(x1, w, sum[j][1])];
                }
            }
        }
        for j in 0..PART {
            for (part, sum) in sum[j].into_iter().enumerate() {
                let z = _mm256_add_ps(sum, _mm256_set1_ps(bias[first + j]));
                let at = half + part * 8;
                // SAFETY: 8 numbers from `at` on, of 32.
                unsafe {
                    let bound = _mm256_loadu_ps(bound.as_ptr().add(at));
                    let hits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(z, bound)) as u32;
                    tile.hits[first + j] |= hits << at;
                    _mm256_storeu_ps(tile.z[first + j].as_mut_ptr().add(at), z);
                }
            }
        }
    }
}
