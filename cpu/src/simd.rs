//! The same code for every instruction set that a processor may have, chosen when it runs.
//!
//! [`best`] compiles a closure of plain loops several times: mark it `#[inline(always)]`, or it is compiled once.
//! [`Lane`] names the few instructions that a product of matrices wants by hand; [`run`] picks the lane.
#![allow(unsafe_code)]

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// Whether a fused multiplication and addition is one instruction where the code runs.
#[derive(Clone, Copy)]
pub(crate) struct Fused(bool);

impl Fused {
    /// `a * b + c`, rounded once where that is fast.
    #[inline(always)]
    pub(crate) fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        #[cfg(feature = "std")]
        if self.0 {
            return a.mul_add(b, c);
        }
        let _ = self.0;
        a * b + c
    }
}

/// Run `work` as compiled for the widest instructions of this processor.
#[inline]
pub(crate) fn best<R>(work: impl FnOnce(Fused) -> R) -> R {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn avx512<R>(work: impl FnOnce(Fused) -> R) -> R {
            work(Fused(true))
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<R>(work: impl FnOnce(Fused) -> R) -> R {
            work(Fused(true))
        }
        if has_avx512() {
            // SAFETY: the processor has these instructions.
            return unsafe { avx512(work) };
        }
        if has_avx2() {
            // SAFETY: the processor has these instructions.
            return unsafe { avx2(work) };
        }
    }
    work(Fused(false))
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has_avx2()
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn has_avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("f16c")
}

/// Several `f32` in one register. Implementations are made by [`run`] only, where the processor has the instructions.
pub(crate) trait Lane: Copy {
    /// How many.
    const N: usize;
    /// The first `N` of a slice at least as long.
    fn load(from: &[f32]) -> Self;
    /// The same number `N` times.
    fn splat(x: f32) -> Self;
    /// `self * b + c`.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Into the first `N` of a slice at least as long.
    fn store(self, to: &mut [f32]);
}

/// Work that is written over [`Lane`]; mark `run` `#[inline(always)]`.
pub(crate) trait Task {
    /// Do it.
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused);
}

/// Run `task` with the widest lanes of this processor, and the tile of `M` rows by `C` lanes that fills its registers.
pub(crate) fn run(task: impl Task) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn avx512(task: impl Task) {
            task.run::<__m512, 8, 3>(Fused(true));
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2(task: impl Task) {
            task.run::<__m256, 4, 2>(Fused(true));
        }
        if has_avx512() {
            // SAFETY: the processor has these instructions.
            return unsafe { avx512(task) };
        }
        if has_avx2() {
            // SAFETY: the processor has these instructions.
            return unsafe { avx2(task) };
        }
    }
    task.run::<[f32; 4], 4, 2>(Fused(false));
}

impl Lane for [f32; 4] {
    const N: usize = 4;
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        core::array::from_fn(|i| from[i])
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; 4]
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        core::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self);
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
macro_rules! lane {
    ($register:ty, $n:literal, $load:ident, $splat:ident, $mul_add:ident, $store:ident) => {
        impl Lane for $register {
            const N: usize = $n;
            #[inline(always)]
            fn load(from: &[f32]) -> Self {
                // SAFETY: the slice is long enough, and `run` saw the instruction.
                unsafe { $load(from[..$n].as_ptr()) }
            }
            #[inline(always)]
            fn splat(x: f32) -> Self {
                // SAFETY: `run` saw the instruction.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: `run` saw the instruction.
                unsafe { $mul_add(self, b, c) }
            }
            #[inline(always)]
            fn store(self, to: &mut [f32]) {
                // SAFETY: the slice is long enough, and `run` saw the instruction.
                unsafe { $store(to[..$n].as_mut_ptr(), self) }
            }
        }
    };
}
#[cfg(all(feature = "std", target_arch = "x86_64"))]
lane!(__m512, 16, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps);
#[cfg(all(feature = "std", target_arch = "x86_64"))]
lane!(__m256, 8, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);
