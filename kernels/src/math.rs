//! Elementary functions of `f64` without std, for the references and for hosts that have none. The error is a few units
//! in the last place; `tests/tests/math.rs` compares them with std over their ranges.
use core::f64::consts::{FRAC_2_PI, FRAC_2_SQRT_PI, LOG2_E, SQRT_2};

/// Adding and taking away rounds to the nearest integer, for numbers below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// `ln 2` in two parts: the first has zeros at its end, so that it times an exponent is exact.
const LN_2_PARTS: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
/// `pi / 2` in three parts, likewise.
const HALF_PI_PARTS: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];

/// `e` to the power `x`.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let x = x.clamp(-746.0, 710.0);
    let k = x * LOG2_E + ROUND - ROUND;
    let r = x - k * LN_2_PARTS[0] - k * LN_2_PARTS[1];
    let series = (1..=14).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    let half = k as i64 / 2; // two factors: 2^k alone may not be a normal number
    series * power_of_two(half) * power_of_two(k as i64 - half)
}

/// The natural logarithm; of a negative number NaN, of 0 minus infinity.
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return if x == 0.0 { f64::NEG_INFINITY } else { x };
    }
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * power_of_two(54), -54) } else { (x, 0) };
    let mut exponent = (x.to_bits() >> 52) as i64 - 1023;
    let mut m = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    if m > SQRT_2 {
        (m, exponent) = (m / 2.0, exponent + 1);
    }
    let e = (exponent + shift) as f64;
    let s = (m - 1.0) / (m + 1.0);
    let series = (0..12).rev().fold(0.0, |sum, n| sum * s * s + 1.0 / f64::from(2 * n + 1));
    e * LN_2_PARTS[0] + (2.0 * s * series + e * LN_2_PARTS[1])
}

/// `x` to the power `y`, for positive `x`.
pub fn pow(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

/// The square root; of a negative number NaN.
pub fn sqrt(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return x;
    }
    if x < 1e-290 {
        return sqrt(x * power_of_two(120)) * power_of_two(-60);
    }
    let mut y = f64::from_bits((x.to_bits() >> 1) + (1023 << 51)); // half the exponent: a few percent off
    for _ in 0..5 {
        y = 0.5 * (y + x / y);
    }
    y
}

/// Sine and cosine. The error is that of rounding `x`: about `1e-16 * |x|`, for `|x|` up to 2^33.
pub fn sin_cos(x: f64) -> (f64, f64) {
    if !x.is_finite() {
        return (f64::NAN, f64::NAN);
    }
    let k = x * FRAC_2_PI + ROUND - ROUND;
    let r = HALF_PI_PARTS.iter().fold(x, |r, part| r - k * part);
    let z = -r * r;
    let sin = r * (1..=9).rev().fold(1.0, |sum, n| 1.0 + sum * z / f64::from(2 * n * (2 * n + 1)));
    let cos = (1..=9).rev().fold(1.0, |sum, n| 1.0 + sum * z / f64::from(2 * n * (2 * n - 1)));
    match k as i64 & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The error function.
pub fn erf(x: f64) -> f64 {
    let size = x.abs();
    if x.is_nan() || size > 6.0 {
        return if x.is_nan() { x } else { 1.0_f64.copysign(x) };
    }
    // 2/sqrt(pi) exp(-x^2) (x + 2/3 x^3 + 4/15 x^5 ..): all terms have one sign, so nothing cancels.
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    FRAC_2_SQRT_PI * exp(-x * x) * sum
}

/// What the error function lacks of 1; for large `x` it keeps its digits.
pub fn erfc(x: f64) -> f64 {
    if x.is_nan() || x < 2.0 {
        return 1.0 - erf(x);
    }
    if x > 28.0 {
        return 0.0; // below the least number
    }
    // exp(-x^2) / sqrt(pi) / (x + 1/2 / (x + 2/2 / (x + 3/2 / ..))), from its far end on.
    let tail = (1..=100).rev().fold(x, |tail, n| x + 0.5 * f64::from(n) / tail);
    0.5 * FRAC_2_SQRT_PI * exp(-x * x) / tail
}

/// `2^k`, a normal number.
fn power_of_two(k: i64) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}
