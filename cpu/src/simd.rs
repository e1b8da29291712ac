//! The same code for every instruction set that a processor may have, chosen when it runs.
//!
//! [`best`] compiles a closure of plain loops several times: mark it `#[inline(always)]`, or it is compiled once.
//! [`Lane`] names the few instructions that a product of matrices wants by hand; [`run`] picks the lane.
#![allow(unsafe_code)]

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

use crate::cast::{cast, cast_mut};
pub(crate) use crate::level::Fused;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use crate::level::Kind;
use crate::level::Level;
use latens_kernels::Float;

/// Run `work` as compiled for the widest instructions of this processor.
#[inline]
pub(crate) fn best<R>(work: impl FnOnce(Fused) -> R) -> R {
    Level::best().run(work)
}

/// Ask for memory that will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(_x: &[T]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    for line in _x.chunks((64 / size_of::<T>().max(1)).max(1)) {
        // SAFETY: every x86-64 has it, and a prefetch of any address does no harm.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
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
    /// `self - b`.
    fn sub(self, b: Self) -> Self;
    /// Into the first `N` of a slice at least as long.
    fn store(self, to: &mut [f32]);

    /// [`load`](Lane::load) from elements of any type.
    #[inline(always)]
    fn widen<T: Float>(from: &[T]) -> Self {
        if let Some(from) = cast::<T, f32>(from) {
            return Self::load(from);
        }
        let mut wide = [0.0; 16];
        wide[..Self::N].iter_mut().zip(&from[..Self::N]).for_each(|(to, from)| *to = from.to_f32());
        Self::load(&wide)
    }

    /// [`store`](Lane::store) to elements of any type.
    #[inline(always)]
    fn narrow<T: Float>(self, to: &mut [T]) {
        if let Some(to) = cast_mut::<T, f32>(to) {
            return self.store(to);
        }
        let mut wide = [0.0; 16];
        self.store(&mut wide);
        to[..Self::N].iter_mut().zip(wide).for_each(|(to, from)| *to = T::from_f32(from));
    }
}

/// Work that is written over [`Lane`]; mark `run` `#[inline(always)]`.
pub(crate) trait Task {
    /// What comes of it.
    type Output;
    /// Do it.
    fn run<L: Lane, const M: usize, const C: usize>(self, fused: Fused) -> Self::Output;
}

/// Run `task` with the lanes of a level, and the tile of `M` rows by `C` lanes that fills its registers.
#[inline]
pub(crate) fn run<K: Task>(level: Level, task: K) -> K::Output {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn avx512<K: Task>(task: K) -> K::Output {
            task.run::<__m512, 8, 3>(Fused(true))
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<K: Task>(task: K) -> K::Output {
            task.run::<__m256, 4, 2>(Fused(true))
        }
        match level.0 {
            // SAFETY: a level is proof of its instructions.
            Kind::Avx512 | Kind::Avx512Bf16 => return unsafe { avx512(task) },
            // SAFETY: as above.
            Kind::Avx2 => return unsafe { avx2(task) },
            Kind::Portable => {}
        }
    }
    let _ = level;
    task.run::<[f32; 4], 4, 2>(Fused(false))
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
    fn sub(self, b: Self) -> Self {
        core::array::from_fn(|i| self[i] - b[i])
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self);
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
macro_rules! lane {
    ($register:ty, $n:literal, $load:ident, $splat:ident, $mul_add:ident, $sub:ident, $store:ident) => {
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
            fn sub(self, b: Self) -> Self {
                // SAFETY: `run` saw the instruction.
                unsafe { $sub(self, b) }
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
lane!(__m512, 16, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_sub_ps, _mm512_storeu_ps);
#[cfg(all(feature = "std", target_arch = "x86_64"))]
lane!(__m256, 8, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_sub_ps, _mm256_storeu_ps);
