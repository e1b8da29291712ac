//! Functions of `f32` without a branch, so that a loop over them becomes vector instructions.
#![allow(clippy::excessive_precision)] // parts of constants are exact, and read as they were computed
use crate::simd::Fused;

/// Adding and taking away rounds to the nearest integer, for numbers below 2^22; the low bits of the sum hold it.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts, the first with zeros at its end.
pub(crate) const LN_2_PARTS: [f32; 2] = [0.693_359_375, -2.121_944_4e-4];

/// After 1/7!, what the series of the exponential is multiplied into.
const SERIES: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `e` to the power `x`, within 2 units in the last place; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(fused: Fused, x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = fused.mul_add(x, core::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = fused.mul_add(k, -LN_2_PARTS[0], x);
    let r = fused.mul_add(k, -LN_2_PARTS[1], r);
    let mut p = 1.0 / 5040.0;
    for term in SERIES {
        p = fused.mul_add(p, r, term);
    }
    // Two factors, for 2^k alone may not be a normal number.
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    p * power(k >> 1) * power(k.wrapping_sub(k >> 1))
}

/// [`exp`] of what is not above 0, as differences from the largest are: 0 where it would be less than a normal number.
#[inline(always)]
pub(crate) fn exp_of_less(fused: Fused, x: f32) -> f32 {
    let shifted = fused.mul_add(x, core::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = fused.mul_add(k, -LN_2_PARTS[0], x);
    let r = fused.mul_add(k, -LN_2_PARTS[1], r);
    let mut p = 1.0 / 5040.0;
    for term in SERIES {
        p = fused.mul_add(p, r, term);
    }
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let y = p * f32::from_bits((k.wrapping_add(127) as u32) << 23);
    if x < -87.0 { 0.0 } else { y }
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn silu(fused: Fused, x: f32) -> f32 {
    x / (1.0 + exp(fused, -x))
}

/// The part of a normal distribution below `x`, and its density there, by the complement of the error function, so that
/// nothing cancels for negative `x`.
#[inline(always)]
fn normal(fused: Fused, x: f32) -> (f32, f32) {
    // erfc(z) = exp(-z^2) t p(2t - 1), t = 1 / (1 + z/2): p fitted to a relative error of 4e-7 on 0 <= z <= 23.
    const P: [f32; 8] = [
        3.706_965e-4,
        1.478_611e-3,
        -3.210_759_7e-3,
        -1.073_741_9e-2,
        1.821_511_2e-2,
        1.397_342_5e-1,
        3.435_806_6e-1,
        5.107_913_6e-1,
    ];
    let z = x.abs() * core::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = -2.225_525_7e-4;
    for term in P {
        p = fused.mul_add(p, 2.0 * t - 1.0, term);
    }
    let power = exp(fused, -0.5 * x * x);
    let half = 0.5 * power * t * p;
    (if x > 0.0 { 1.0 - half } else { half }, 0.398_942_3 * power)
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
#[inline(always)]
pub(crate) fn gelu(fused: Fused, x: f32) -> f32 {
    x * normal(fused, x).0
}

/// `2 sqrt(2 / pi)`.
const TWICE: f32 = 1.595_769_1;

/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
#[inline(always)]
pub(crate) fn gelu_tanh(fused: Fused, x: f32) -> f32 {
    x / (1.0 + exp(fused, -TWICE * (x + 0.044_715 * x * x * x)))
}

/// `1 / (1 + exp(-x))`, and what it lacks of 1: neither loses its digits where it is small.
#[inline(always)]
fn sigmoid(fused: Fused, x: f32) -> (f32, f32) {
    let small = exp(fused, -x.abs());
    let more = 1.0 / (1.0 + small);
    if x < 0.0 { (small * more, more) } else { (more, small * more) }
}

/// `x` times a share of it, and the slope of that: the share changes by `rise * by / x`. Where it no longer rises, `by` may be
/// infinite.
#[inline(always)]
fn sloped(x: f32, share: f32, rise: f32, by: f32) -> (f32, f32) {
    (x * share, share + if rise == 0.0 { 0.0 } else { rise * by })
}

/// [`silu`], and its slope.
#[inline(always)]
pub(crate) fn silu_sloped(fused: Fused, x: f32) -> (f32, f32) {
    let (share, rest) = sigmoid(fused, x);
    sloped(x, share, share * rest, x)
}

/// [`gelu`], and its slope.
#[inline(always)]
pub(crate) fn gelu_sloped(fused: Fused, x: f32) -> (f32, f32) {
    let (share, density) = normal(fused, x);
    sloped(x, share, density, x)
}

/// [`gelu_tanh`], and its slope.
#[inline(always)]
pub(crate) fn gelu_tanh_sloped(fused: Fused, x: f32) -> (f32, f32) {
    let (share, rest) = sigmoid(fused, TWICE * (x + 0.044_715 * x * x * x));
    sloped(x, share, share * rest, x * TWICE * (1.0 + 0.134_145 * x * x))
}

/// The sum of `of(x)` over a row, in 32 partial sums: the same bits whatever the processor's width.
#[inline(always)]
pub(crate) fn sum<T: Copy>(row: &[T], of: impl Fn(T) -> f32) -> f32 {
    let mut parts = [0.0_f32; 32];
    let chunks = row.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part += of(x);
        }
    }
    for (part, &x) in parts.iter_mut().zip(rest) {
        *part += of(x);
    }
    fold(parts, |a, b| a + b)
}

/// Two sums of `of(a, b, c)` over three rows of one length, as [`sum`].
#[inline(always)]
pub(crate) fn sums<A: Copy, B: Copy, C: Copy>(a: &[A], b: &[B], c: &[C], of: impl Fn(A, B, C) -> [f32; 2]) -> [f32; 2] {
    let (mut first, mut second) = ([0.0_f32; 32], [0.0_f32; 32]);
    let ((a, a_rest), (b, b_rest), (c, c_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>(), c.as_chunks::<32>());
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..32 {
            let [x, y] = of(a[i], b[i], c[i]);
            (first[i], second[i]) = (first[i] + x, second[i] + y);
        }
    }
    for (i, ((&a, &b), &c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
        let [x, y] = of(a, b, c);
        (first[i], second[i]) = (first[i] + x, second[i] + y);
    }
    [first, second].map(|parts| fold(parts, |a, b| a + b))
}

/// The largest of `of(x)` over a row, NaN dropped; `-inf` of nothing.
#[inline(always)]
pub(crate) fn max<T: Copy>(row: &[T], of: impl Fn(T) -> f32) -> f32 {
    let mut parts = [f32::NEG_INFINITY; 32];
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let chunks = row.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part = larger(*part, of(x));
        }
    }
    for (part, &x) in parts.iter_mut().zip(rest) {
        *part = larger(*part, of(x));
    }
    fold(parts, larger)
}

#[inline(always)]
fn fold(mut parts: [f32; 32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = 16;
    while half > 0 {
        for i in 0..half {
            parts[i] = of(parts[i], parts[i + half]);
        }
        half /= 2;
    }
    parts[0]
}

/// The square root: an instruction where there is `std`, else the function of the references.
#[inline(always)]
pub(crate) fn root(x: f32) -> f32 {
    #[cfg(feature = "std")]
    {
        x.sqrt()
    }
    #[cfg(not(feature = "std"))]
    {
        latens_kernels::math::sqrt(f64::from(x)) as f32
    }
}

/// `ln(1 + exp(x))`, and `x` above 20.
#[inline(always)]
pub(crate) fn softplus(fused: Fused, x: f32) -> f32 {
    const P: [f32; 4] = [0.140_124_05, 0.139_995_38, 0.200_108_51, 0.333_332_06];
    // max(x, 0) + ln(1 + e), e = exp(-|x|); ln(1 + e) = 2 artanh(s), s = e / (2 + e).
    let e = exp(fused, -x.abs());
    let s = e / (2.0 + e);
    let square = s * s;
    let p = P[1..].iter().fold(P[0], |p, &term| fused.mul_add(p, square, term));
    let log = fused.mul_add(2.0 * s, p * square, 2.0 * s);
    let soft = if x < 0.0 { log } else { x + log };
    if x > 20.0 { x } else { soft }
}
