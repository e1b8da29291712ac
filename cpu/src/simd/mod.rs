//! The same code for every instruction set that a processor may have, chosen when it runs.
//!
//! [`best`] compiles a closure of plain loops several times: mark it `#[inline(always)]`, or it is compiled once.
//! [`Lane`] names the instructions that products of matrices and scans want by hand; [`run`] picks the lane.
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512;
mod lane;
mod portable;

pub(crate) use crate::level::Fused;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use crate::level::Kind;
use crate::level::Level;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;
pub(crate) use lane::{LANES, Lane};

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

/// Ask for the cache line of an element that will be read, if there is one, as near as it gets.
#[inline(always)]
pub(crate) fn prefetch_at<T>(of: &[T], at: usize) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    // SAFETY: every x86-64 has it, and a prefetch touches no memory, whatever the address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(of.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    let _ = (of, at);
}

/// Ask for what lies a page behind a row that is read from memory, in order: a processor's own guesses end with a page. Of 154 MB
/// in rows of 384, read by two cores, 17 GB/s for 11 (Ice Lake; as fast from 3 to 9 KB behind).
#[inline(always)]
pub(crate) fn prefetch_page<T>(row: &[T]) {
    const PAGE: usize = 4096;
    const LINE: usize = 64;
    let size = size_of::<T>().max(1);
    for at in (0..row.len()).step_by((LINE / size).max(1)) {
        prefetch_at(row, at + PAGE / size);
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
            Kind::Avx512 | Kind::Avx512Vnni | Kind::Avx512Bf16 => return unsafe { avx512(task) },
            // SAFETY: as above.
            Kind::Avx2 => return unsafe { avx2(task) },
            Kind::Portable => {}
        }
    }
    let _ = level;
    task.run::<[f32; 4], 4, 2>(Fused(false))
}
