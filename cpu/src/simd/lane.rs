//! Numbers that lie side by side in one register, and the functions that scans take of them.
//!
//! `2^(k / UNITS)` comes from a table of one or two registers where there is an instruction that looks up in them, and what
//! is left of the exponent, at most half a unit, from a polynomial: of degree 2 for 32 units to the octave (AVX-512), 3 for 8
//! (AVX2), 5 for one. The relative error of [`Lane::power`] is at most 1.5e-7 (5.3e-8, 2.5e-8 and 9.2e-8 before rounding);
//! the tests of `latens_cpu::scan::function_at` measure it. `math` has exponentials of its own, of single numbers, for loops that
//! the compiler turns into vector instructions; these are for code whose numbers stay in registers.
use crate::cast::{cast, cast_mut};
use crate::math::{LN_2_PARTS, ROUND};
use latens_kernels::Float;

/// Octaves between which a power is a normal number.
const OCTAVES: [f32; 2] = [-126.0, 127.0];

/// The most lanes.
pub(crate) const LANES: usize = 16;

/// Several `f32` in one register. Only [`run`](super::run) brings a type whose instructions the processor has.
pub(crate) trait Lane: Copy {
    /// How many.
    const N: usize;
    /// States that a scan takes forward at once: as many as fit in registers, or more where those beside them cost nothing.
    const STATES: usize;
    /// States that it takes back at once, in registers with their sums.
    const BACK: usize;
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
    /// The larger of `self`, which has no sign, and the size of `b`, by their bits: infinities and NaN are above all others.
    fn larger(self, b: Self) -> Self;
    /// `2^(k / UNITS) (1 + ..)` for `k`, the integer in the low bits of `k + ROUND`, and a rest of at most half.
    fn scaled(shifted: Self, rest: Self) -> Self;

    /// Do work, marked `#[inline(always)]`, in a function of its own, compiled for these instructions: so that a loop has all
    /// registers, however much surrounds it.
    fn apart<R>(work: impl FnOnce() -> R) -> R;

    /// [`load`](Lane::load) from elements of any type.
    #[inline(always)]
    fn widen<T: Float>(from: &[T]) -> Self {
        if let Some(from) = cast::<T, f32>(from) {
            return Self::load(from);
        }
        let mut wide = [0.0; LANES];
        wide[..Self::N].iter_mut().zip(&from[..Self::N]).for_each(|(to, from)| *to = from.to_f32());
        Self::load(&wide)
    }

    /// [`store`](Lane::store) to elements of any type.
    #[inline(always)]
    fn narrow<T: Float>(self, to: &mut [T]) {
        if let Some(to) = cast_mut::<T, f32>(to) {
            return self.store(to);
        }
        let mut wide = [0.0; LANES];
        self.store(&mut wide);
        to[..Self::N].iter_mut().zip(wide).for_each(|(to, from)| *to = T::from_f32(from));
    }

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
        let zero = Self::splat(0.0);
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
        Self::splat(20.0).below(self, self, soft)
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

/// `2^(j/N)`, less `j` shifted to where it counts `N`ths of an exponent: adding `k` shifted so for `k = N e + j` leaves `e` in
/// the exponent.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
pub(super) const fn table<const N: usize>() -> [i32; N] {
    // 2^(1/32) in 60 binary digits after the point, by repeated multiplication with rounding.
    const STEP: u128 = 1_178_167_198_179_750_971;
    let (mut table, mut power, mut j) = ([0; N], 1_u128 << 60, 0);
    while j < 32 {
        if j % (32 / N) == 0 {
            let (i, mantissa) = (j / (32 / N), ((power - (1 << 60)) + (1 << 36)) >> 37);
            table[i] = (127 << 23) + mantissa as i32 - ((i as i32) << (23 - N.trailing_zeros()));
        }
        power = (power * STEP + (1 << 59)) >> 60;
        j += 1;
    }
    table
}
