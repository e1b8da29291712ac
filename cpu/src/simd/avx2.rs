//! Eight lanes.
#![allow(unsafe_code)]
use super::lane::{Lane, table};
use core::arch::x86_64::*;

macro_rules! operations {
    ($($name:ident: $instruction:ident),*) => {$(
        #[inline(always)]
        fn $name(self, b: Self) -> Self {
            // SAFETY: the level is proof of the instruction.
            unsafe { $instruction(self, b) }
        }
    )*};
}
pub(super) use operations;

const TABLE: [i32; 8] = table();

impl Lane for __m256 {
    const N: usize = 8;
    const STATES: usize = 16;
    const BACK: usize = 4;
    const UNITS: f32 = 8.0;
    operations!(add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, div: _mm256_div_ps);
    #[inline(always)]
    fn apart<R>(work: impl FnOnce() -> R) -> R {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma,f16c")]
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
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        // SAFETY: as above, and the slice is long enough.
        unsafe { _mm256_loadu_ps(from[..8].as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), self) }
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the level is proof of the instruction.
        unsafe { _mm256_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    fn below(self, bound: Self, then: Self, or: Self) -> Self {
        // SAFETY: the level is proof of the instructions.
        unsafe { _mm256_blendv_ps(or, then, _mm256_cmp_ps::<_CMP_LT_OQ>(self, bound)) }
    }
    #[inline(always)]
    fn larger(self, b: Self) -> Self {
        // SAFETY: the level is proof of the instructions.
        unsafe {
            let size = _mm256_and_si256(_mm256_castps_si256(b), _mm256_set1_epi32(i32::MAX));
            _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(self), size))
        }
    }
    #[inline(always)]
    fn scaled(shifted: Self, rest: Self) -> Self {
        // SAFETY: the level is proof of the instructions; the table holds 8 numbers.
        unsafe {
            let k = _mm256_castps_si256(shifted);
            let entry = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(TABLE.as_ptr().cast()), k);
            let power = _mm256_castsi256_ps(_mm256_add_epi32(entry, _mm256_slli_epi32::<20>(k)));
            let q = rest.mul_add(Self::splat(1.083_910_6e-4), Self::splat(3.754_025_5e-3));
            let q = rest.mul_add(q, Self::splat(8.664_34e-2));
            power.mul(rest).mul_add(q, power)
        }
    }
    #[inline(always)]
    fn add_sums(from: &[Self], to: &mut [f32]) {
        let (from, rest) = from.as_chunks::<8>();
        let (to, to_rest) = to.as_chunks_mut::<8>();
        for (from, to) in from.iter().zip(to) {
            // SAFETY: the level is proof of the instructions.
            let sums = unsafe {
                let (a, b) = (fours(from, 0), fours(from, 4));
                _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
            };
            Self::load(to).add(sums).store(to);
        }
        for (from, to) in rest.iter().zip(to_rest) {
            let mut x = [0.0; 8];
            from.store(&mut x);
            *to += ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
        }
    }
}

/// Of four registers, the sums of halves: number `i` of each half belongs to register `i`.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn fours(from: &[__m256], at: usize) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let ab = _mm256_hadd_ps(from[at], from[at + 1]);
        let cd = _mm256_hadd_ps(from[at + 2], from[at + 3]);
        _mm256_hadd_ps(ab, cd)
    }
}
