//! Four lanes, for whatever the compiler was told to assume.
use super::lane::Lane;

/// Of a polynomial of degree 5: `2^r = 1 + r (P[4] + r (..))`.
#[allow(clippy::approx_constant)] // fitted, and not ln 2
const P: [f32; 5] = [1.326_474_2e-3, 9.671_522e-3, 5.550_734e-2, 2.402_224_2e-1, 6.931_47e-1];

impl Lane for [f32; 4] {
    const N: usize = 4;
    const STATES: usize = 8;
    const BACK: usize = 4;
    const UNITS: f32 = 1.0;
    #[inline(never)]
    fn apart<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; 4]
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let mut to = [0.0; 4];
        to.copy_from_slice(&from[..4]);
        to
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self);
    }
    #[inline(always)]
    fn add(mut self, b: Self) -> Self {
        for i in 0..4 {
            self[i] += b[i];
        }
        self
    }
    #[inline(always)]
    fn sub(mut self, b: Self) -> Self {
        for i in 0..4 {
            self[i] -= b[i];
        }
        self
    }
    #[inline(always)]
    fn mul(mut self, b: Self) -> Self {
        for i in 0..4 {
            self[i] *= b[i];
        }
        self
    }
    #[inline(always)]
    fn div(mut self, b: Self) -> Self {
        for i in 0..4 {
            self[i] /= b[i];
        }
        self
    }
    #[inline(always)]
    fn mul_add(mut self, b: Self, c: Self) -> Self {
        for i in 0..4 {
            self[i] = self[i] * b[i] + c[i];
        }
        self
    }
    #[inline(always)]
    fn below(self, bound: Self, then: Self, mut or: Self) -> Self {
        for i in 0..4 {
            or[i] = if self[i] < bound[i] { then[i] } else { or[i] };
        }
        or
    }
    #[inline(always)]
    fn larger(mut self, b: Self) -> Self {
        for i in 0..4 {
            self[i] = f32::from_bits(self[i].to_bits().max(b[i].abs().to_bits()));
        }
        self
    }
    #[inline(always)]
    fn scaled(shifted: Self, rest: Self) -> Self {
        let mut to = [0.0; 4];
        for i in 0..4 {
            let r = rest[i];
            let p = 1.0 + r * (P[4] + r * (P[3] + r * (P[2] + r * (P[1] + r * P[0]))));
            to[i] = f32::from_bits(p.to_bits().wrapping_add(shifted[i].to_bits() << 23));
        }
        to
    }
}
