//! Numbers of neighbouring channels in one register, and the exponential that a scan spends its time on.
//!
//! `2^(k/32)` comes from a table of two registers where there is an instruction that looks up in them (AVX-512), and what
//! is left of the exponent, at most 1/64 of an octave, from a polynomial of degree 2; elsewhere from one of degree 5 over
//! half an octave. The relative error of [`Lane::power`] is at most 1.5e-7 (5.3e-8 and 9.2e-8 before rounding); the tests
//! of `latens_cpu::scan::exp_at` measure it.
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// Instructions that this processor has. Only [`Level::best`] and [`Level::all`] make one, so it is proof of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
enum Kind {
    Portable,
    Avx2,
    Avx512,
}

/// Work written over [`Lane`]; mark `run` `#[inline(always)]`.
pub(super) trait Task {
    type Output;
    fn run<V: Lane>(self) -> Self::Output;
}

impl Level {
    /// The widest.
    pub fn best() -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                return Self(if wide { Kind::Avx512 } else { Kind::Avx2 });
            }
        }
        Self(Kind::Portable)
    }

    /// Every one, from the narrowest, for tests that compare them.
    pub fn all() -> alloc::vec::Vec<Self> {
        let kinds = [Kind::Portable, Kind::Avx2, Kind::Avx512];
        kinds.into_iter().map(Self).filter(|&level| level <= Self::best()).collect()
    }

    /// Do the work by the instructions of this level.
    pub(super) fn run<W: Task>(self, task: W) -> W::Output {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512<W: Task>(task: W) -> W::Output {
                task.run::<__m512>()
            }
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<W: Task>(task: W) -> W::Output {
                task.run::<__m256>()
            }
            match self.0 {
                // SAFETY: a level is proof of its instructions.
                Kind::Avx512 => return unsafe { avx512(task) },
                // SAFETY: as above.
                Kind::Avx2 => return unsafe { avx2(task) },
                Kind::Portable => {}
            }
        }
        task.run::<[f32; 8]>()
    }
}

/// Adding and taking away rounds to the nearest integer, for numbers below 2^22; the low bits of the sum hold it.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts, the first with zeros at its end.
const LN_2_PARTS: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
/// Octaves between which a power is a normal number.
const OCTAVES: [f32; 2] = [-126.0, 127.0];

/// The most lanes.
pub(super) const LANES: usize = 16;

/// Several `f32` in one register. Only [`Level::run`] brings a type whose instructions the processor has.
pub(super) trait Lane: Copy {
    /// How many.
    const N: usize;
    /// States that fit in registers at once.
    const STATES: usize;
    /// Parts of an octave that [`Lane::scaled`] counts in.
    const UNITS: f32;
    fn splat(x: f32) -> Self;
    /// The first `N` of a slice at least as long.
    fn load(from: &[f32]) -> Self;
    /// Into the first `N` of a slice at least as long.
    fn store(self, to: &mut [f32]);
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `self * b + c`.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `then` where `self < bound`, else `or`, also for NaN.
    fn below(self, bound: Self, then: Self, or: Self) -> Self;
    /// `2^(k / UNITS) (1 + ..)` for `k`, the integer in the low bits of `k + ROUND`, and a rest of at most half.
    fn scaled(shifted: Self, rest: Self) -> Self;

    /// `2^(z / UNITS)` for `z / UNITS` between -126 and 127.
    #[inline(always)]
    fn power(z: Self) -> Self {
        let round = Self::splat(ROUND);
        let shifted = z.add(round);
        Self::scaled(shifted, z.sub(shifted.sub(round)))
    }

    /// [`Lane::power`] of any number: 0 below, infinite above, NaN of NaN.
    #[inline(always)]
    fn power_of_any(z: Self) -> Self {
        let [low, high] = OCTAVES.map(|octaves| Self::splat(octaves * Self::UNITS));
        let inside = z.below(low, low, z);
        let power = Self::power(high.below(inside, high, inside));
        let power = z.below(low, Self::splat(0.0), power);
        high.below(z, Self::splat(f32::INFINITY), power)
    }

    /// `e` to the power `x`.
    #[inline(always)]
    fn exp(x: Self) -> Self {
        let [low, high] = OCTAVES.map(|octaves| Self::splat(octaves * Self::UNITS));
        let (scale, round) = (Self::splat(Self::scale()), Self::splat(ROUND));
        let z = x.mul(scale);
        let inside = z.below(low, low, z);
        let inside = high.below(inside, high, inside);
        let shifted = inside.add(round);
        let k = shifted.sub(round);
        let [first, second] = LN_2_PARTS.map(|part| Self::splat(-part / Self::UNITS));
        let rest = k.mul_add(second, k.mul_add(first, x)).mul(scale);
        let power = z.below(low, Self::splat(0.0), Self::scaled(shifted, rest));
        high.below(z, Self::splat(f32::INFINITY), power)
    }

    /// What turns an exponent of `e` into one of [`Lane::power`].
    #[inline(always)]
    fn scale() -> f32 {
        core::f32::consts::LOG2_E * Self::UNITS
    }

    /// `1 / (1 + exp(-x))`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let one = Self::splat(1.0);
        one.div(one.add(Self::exp(Self::splat(0.0).sub(self))))
    }

    /// `ln(1 + exp(x))`, and `x` above 20.
    #[inline(always)]
    fn softplus(self) -> Self {
        const P: [f32; 4] = [0.140_124_05, 0.139_995_38, 0.200_108_51, 0.333_332_06];
        let (zero, one) = (Self::splat(0.0), Self::splat(1.0));
        // max(x, 0) + ln(1 + e), e = exp(-|x|); ln(1 + e) = 2 artanh(s), s = e / (2 + e).
        let e = Self::exp(self.below(zero, self, zero.sub(self)));
        let s = e.div(Self::splat(2.0).add(e));
        let square = s.mul(s);
        let mut p = Self::splat(P[0]);
        p = p.mul_add(square, Self::splat(P[1]));
        p = p.mul_add(square, Self::splat(P[2]));
        p = p.mul_add(square, Self::splat(P[3]));
        let twice = s.add(s);
        let log = twice.mul_add(p.mul(square), twice);
        let soft = self.below(zero, log, self.add(log));
        Self::splat(20.0).below(self, self, soft.mul(one))
    }

    /// The absolute value.
    #[inline(always)]
    fn abs(self) -> Self {
        let zero = Self::splat(0.0);
        self.below(zero, zero.sub(self), self)
    }

    /// Add the sum over the lanes of each to a number.
    #[inline(always)]
    fn add_sums(from: &[Self], to: &mut [f32]) {
        for (from, to) in from.iter().zip(to) {
            let mut x = [0.0; LANES];
            from.store(&mut x);
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    x[i] += x[i + half];
                }
                half /= 2;
            }
            *to += x[0];
        }
    }
}

/// Of a polynomial of degree 5: `2^r = 1 + r (P[4] + r (..))`.
#[allow(clippy::approx_constant)] // fitted, and not ln 2
const P: [f32; 5] = [1.326_474_2e-3, 9.671_522e-3, 5.550_734e-2, 2.402_224_2e-1, 6.931_47e-1];

impl Lane for [f32; 8] {
    const N: usize = 8;
    const STATES: usize = 8;
    const UNITS: f32 = 1.0;
    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; 8]
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let mut to = [0.0; 8];
        to.copy_from_slice(&from[..8]);
        to
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..8].copy_from_slice(&self);
    }
    #[inline(always)]
    fn add(mut self, b: Self) -> Self {
        for i in 0..8 {
            self[i] += b[i];
        }
        self
    }
    #[inline(always)]
    fn sub(mut self, b: Self) -> Self {
        for i in 0..8 {
            self[i] -= b[i];
        }
        self
    }
    #[inline(always)]
    fn mul(mut self, b: Self) -> Self {
        for i in 0..8 {
            self[i] *= b[i];
        }
        self
    }
    #[inline(always)]
    fn div(mut self, b: Self) -> Self {
        for i in 0..8 {
            self[i] /= b[i];
        }
        self
    }
    #[inline(always)]
    fn mul_add(mut self, b: Self, c: Self) -> Self {
        for i in 0..8 {
            self[i] = self[i] * b[i] + c[i];
        }
        self
    }
    #[inline(always)]
    fn below(self, bound: Self, then: Self, mut or: Self) -> Self {
        for i in 0..8 {
            or[i] = if self[i] < bound[i] { then[i] } else { or[i] };
        }
        or
    }
    #[inline(always)]
    fn scaled(shifted: Self, rest: Self) -> Self {
        let mut to = [0.0; 8];
        for i in 0..8 {
            let r = rest[i];
            let p = 1.0 + r * (P[4] + r * (P[3] + r * (P[2] + r * (P[1] + r * P[0]))));
            to[i] = f32::from_bits(p.to_bits().wrapping_add(shifted[i].to_bits() << 23));
        }
        to
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
macro_rules! operations {
    ($($name:ident: $instruction:ident),*) => {$(
        #[inline(always)]
        fn $name(self, b: Self) -> Self {
            // SAFETY: the level is proof of the instruction.
            unsafe { $instruction(self, b) }
        }
    )*};
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
impl Lane for __m256 {
    const N: usize = 8;
    const STATES: usize = 8;
    const UNITS: f32 = 1.0;
    operations!(add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, div: _mm256_div_ps);
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
    fn scaled(shifted: Self, rest: Self) -> Self {
        let mut p = Self::splat(P[0]);
        p = p.mul_add(rest, Self::splat(P[1]));
        p = p.mul_add(rest, Self::splat(P[2]));
        p = p.mul_add(rest, Self::splat(P[3]));
        p = p.mul_add(rest, Self::splat(P[4]));
        p = p.mul_add(rest, Self::splat(1.0));
        // SAFETY: the level is proof of the instructions.
        unsafe {
            let power = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power))
        }
    }
}

/// `2^(j/32)`, less `j << 18` in its bits: adding `k << 18` for `k = 32 e + j` leaves `e` in the exponent.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const TABLE: [i32; 32] = {
    // 2^(1/32) in 60 binary digits after the point, by repeated multiplication with rounding.
    const STEP: u128 = 1_178_167_198_179_750_971;
    let (mut table, mut power, mut j) = ([0; 32], 1_u128 << 60, 0);
    while j < 32 {
        let mantissa = ((power - (1 << 60)) + (1 << 36)) >> 37;
        table[j] = (127 << 23) + mantissa as i32 - ((j as i32) << 18);
        power = (power * STEP + (1 << 59)) >> 60;
        j += 1;
    }
    table
};

#[cfg(all(feature = "std", target_arch = "x86_64"))]
impl Lane for __m512 {
    const N: usize = 16;
    const STATES: usize = 16;
    const UNITS: f32 = 32.0;
    operations!(add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, div: _mm512_div_ps);
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
        if from.len() != 16 {
            for (from, to) in from.iter().zip(to) {
                // SAFETY: the level is proof of the instructions.
                *to += unsafe { _mm512_reduce_add_ps(*from) };
            }
            return;
        }
        // Halves, quarters and eighths of the lanes of sixteen registers meet, until one holds all sums.
        // SAFETY: the level is proof of the instructions.
        unsafe {
            let sums = halves(halves(fours(from, 0), fours(from, 4)), halves(fours(from, 8), fours(from, 12)));
            Self::load(to).add(sums).store(to);
        }
    }
}

/// Of four registers, the sums of quarters: number `i` of each quarter belongs to register `i`.
///
/// # Safety
/// The processor has the instructions.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
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
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[inline(always)]
unsafe fn halves(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
}

/// Ask for the cache line of an element that will be read.
#[inline(always)]
pub(super) fn prefetch<T>(of: &[T], at: usize) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    // SAFETY: a prefetch touches no memory, whatever the address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(of.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    let _ = (of, at);
}

/// Memory of an output that several threads write, each its own columns.
pub(crate) struct Sheet<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: whoever writes says which elements, and promises that nobody else does.
unsafe impl<T: Send> Send for Sheet<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sheet<T> {}

impl<T> Sheet<T> {
    pub(crate) fn new(of: &mut [T]) -> Self {
        Self { start: of.as_mut_ptr(), len: of.len() }
    }

    /// Ask for the cache line of an element that will be written.
    #[inline(always)]
    pub(super) fn prefetch(&self, at: usize) {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(self.start.wrapping_add(at).cast());
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let _ = at;
    }

    /// `count` elements from `at` on.
    ///
    /// # Safety
    /// The slice that was given to [`Sheet::new`] is still borrowed for this, and no other part meets this one.
    #[allow(clippy::mut_from_ref)] // parts are apart
    #[inline(always)]
    pub(crate) unsafe fn part(&self, at: usize, count: usize) -> &mut [T] {
        assert!(at.checked_add(count).is_some_and(|end| end <= self.len));
        // SAFETY: inside, and the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(at), count) }
    }
}
