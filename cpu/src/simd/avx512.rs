//! Sixteen lanes.
#![allow(unsafe_code)]
use super::avx2::operations;
use super::lane::{Lane, table};
use core::arch::x86_64::*;

const TABLE: [i32; 32] = table();

impl Lane for __m512 {
    const N: usize = 16;
    const STATES: usize = 16;
    const BACK: usize = 8;
    const UNITS: f32 = 32.0;
    operations!(add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, div: _mm512_div_ps);
    #[inline(always)]
    fn apart<R>(work: impl FnOnce() -> R) -> R {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn call<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // A function with one caller may be inlined whatever is asked for, but not one that the compiler cannot name.
        let call: unsafe fn(_) -> R = core::hint::black_box(call);
        // SAFETY: the level is proof of the instructions.
        unsafe { call(work) }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the level is proof of the instruction.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        // SAFETY: as above, and the slice is long enough.
        unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr(), self) }
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the level is proof of the instruction.
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    fn below(self, bound: Self, then: Self, or: Self) -> Self {
        // SAFETY: the level is proof of the instructions.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self, bound), or, then) }
    }
    #[inline(always)]
    fn larger(self, b: Self) -> Self {
        // SAFETY: the level is proof of the instructions.
        unsafe {
            let size = _mm512_and_si512(_mm512_castps_si512(b), _mm512_set1_epi32(i32::MAX));
            _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(self), size))
        }
    }
    #[inline(always)]
    fn scaled(shifted: Self, rest: Self) -> Self {
        // SAFETY: the level is proof of the instructions; the table holds 32 numbers.
        unsafe {
            let k = _mm512_castps_si512(shifted);
            let low = _mm512_loadu_si512(TABLE.as_ptr().cast());
            let high = _mm512_loadu_si512(TABLE.as_ptr().add(16).cast());
            let bits = _mm512_add_epi32(_mm512_permutex2var_epi32(low, k, high), _mm512_slli_epi32::<18>(k));
            let power = _mm512_castsi512_ps(bits);
            let q = rest.mul_add(Self::splat(2.345_983_1e-4), Self::splat(2.166_116_6e-2));
            power.mul(rest).mul_add(q, power)
        }
    }
    #[inline(always)]
    fn add_sums(from: &[Self], to: &mut [f32]) {
        let (from, rest) = from.as_chunks::<16>();
        let (to, to_rest) = to.as_chunks_mut::<16>();
        for (from, to) in from.iter().zip(to) {
            // Halves, quarters and eighths of the lanes of sixteen registers meet, until one holds all sums.
            // SAFETY: the level is proof of the instructions.
            let sums =
                unsafe { halves(halves(fours(from, 0), fours(from, 4)), halves(fours(from, 8), fours(from, 12))) };
            Self::load(to).add(sums).store(to);
        }
        for (from, to) in rest.iter().zip(to_rest) {
            // SAFETY: as above.
            *to += unsafe { _mm512_reduce_add_ps(*from) };
        }
    }
}

/// Of four registers, the sums of quarters: number `i` of each quarter belongs to register `i`.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn fours(from: &[__m512], at: usize) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (from[at], from[at + 1]);
        let ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
        let (c, d) = (from[at + 2], from[at + 3]);
        let cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
        let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    }
}

/// Quarters of two registers, those of each added in pairs.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn halves(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
}
