//! The instructions that a processor has, chosen when the program runs: proof that they may be used.
#![allow(unsafe_code)]
use alloc::vec::Vec;

/// Instructions that this processor has. Only [`Level::best`] and [`Level::all`] make one, so it is proof of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
pub(crate) enum Kind {
    /// What the compiler was told to assume.
    Portable,
    /// 8 lanes, fused multiplication and addition.
    Avx2,
    /// 16 lanes.
    Avx512,
    /// Products of pairs of 16-bit whole numbers in one instruction as well.
    Avx512Vnni,
    /// Products of pairs of `bf16` as well; no processor has these without the former.
    Avx512Bf16,
}

impl Level {
    /// The one that is fastest: the widest, but for pairs of `bf16` on Intel's processors. There encoding took 2.2 and 2.8
    /// times as long by them as by whole numbers (the 32 largest in 256 rows of 768 by 16384, and 4096 of 576 by 4608), and products of `bf16` 1.9 and
    /// 1.1 times as long as by `f32` (Emerald Rapids).
    pub fn best() -> Self {
        match Self::widest() {
            Self(Kind::Avx512Bf16) if intel() => Self(Kind::Avx512Vnni),
            widest => widest,
        }
    }

    /// The one with most instructions.
    fn widest() -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                if !(has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")) {
                    return Self(Kind::Avx2);
                }
                return Self(match (has!("avx512vnni"), has!("avx512bf16")) {
                    (true, true) => Kind::Avx512Bf16,
                    (true, false) => Kind::Avx512Vnni,
                    _ => Kind::Avx512,
                });
            }
        }
        Self(Kind::Portable)
    }

    /// Every one, from the narrowest, for tests that compare them.
    pub fn all() -> Vec<Self> {
        let kinds = [Kind::Portable, Kind::Avx2, Kind::Avx512, Kind::Avx512Vnni, Kind::Avx512Bf16];
        kinds.into_iter().map(Self).filter(|&level| level <= Self::widest()).collect()
    }

    /// Whether it multiplies `bf16` in pairs.
    pub fn pairs(self) -> bool {
        self.0 == Kind::Avx512Bf16
    }

    /// Whether it has products of 16-bit numbers that are faster than those of `f32`.
    pub fn screens(self) -> bool {
        self.pairs() || self.whole()
    }

    /// Whether products of 16-bit whole numbers are its faster ones: with 512 bits those of `f32` are as fast, unless product and
    /// sum are one instruction.
    pub(crate) fn whole(self) -> bool {
        matches!(self.0, Kind::Avx2 | Kind::Avx512Vnni)
    }

    /// Whether its registers have 512 bits.
    pub(crate) fn has_512_bits(self) -> bool {
        self.0 >= Kind::Avx512
    }

    /// Run `work` as compiled for this level. It is a closure of plain loops, marked `#[inline(always)]`; it is told
    /// whether a fused multiplication and addition is one instruction.
    #[inline]
    pub(crate) fn run<R>(self, work: impl FnOnce(Fused) -> R) -> R {
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
            match self.0 {
                // SAFETY: a level is proof of its instructions.
                Kind::Avx512 | Kind::Avx512Vnni | Kind::Avx512Bf16 => return unsafe { avx512(work) },
                // SAFETY: as above.
                Kind::Avx2 => return unsafe { avx2(work) },
                Kind::Portable => {}
            }
        }
        work(Fused(false))
    }
}

/// Whether a fused multiplication and addition is one instruction where the code runs.
#[derive(Clone, Copy)]
pub(crate) struct Fused(pub(crate) bool);

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

/// Ask for the line of memory at `row[at]` to be brought near, if there is one. Nothing else happens.
///
/// As far as the second-level cache: it can wait for more lines at once than the first, and rows asked for are more than the
/// first holds. Decoding 256 rows of 32 latents (768, 16384) took 0.8 of the time it took with the first-level hint (Zen 4).
#[inline(always)]
pub(crate) fn prefetch<T>(row: &[T], at: usize) {
    if at < row.len() {
        prefetch_line(row[at..].as_ptr());
    }
}

/// Ask for the line of memory at an address, of whatever is there.
#[inline(always)]
pub(crate) fn prefetch_line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address does no harm: nothing is read.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Whether Intel made this processor. It is asked once: to a virtual machine the question is dear.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn intel() -> bool {
    use std::{arch::x86_64::__cpuid, sync::OnceLock};
    static INTEL: OnceLock<bool> = OnceLock::new();
    *INTEL.get_or_init(|| {
        // SAFETY: every x86-64 processor has this instruction. Newer compilers know, and ask for no such block.
        #[allow(unused_unsafe)]
        let name = unsafe { __cpuid(0) };
        [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
    })
}

#[cfg(not(all(feature = "std", target_arch = "x86_64")))]
fn intel() -> bool {
    false
}
