//! The elementary functions that references use, beside std's.
use latens_kernels::math;

/// The largest error of `ours`, relative to `theirs` or to `floor` where that is larger.
fn worst(points: impl Iterator<Item = f64>, floor: f64, ours: fn(f64) -> f64, theirs: impl Fn(f64) -> f64) -> f64 {
    points.map(|x| (ours(x) - theirs(x)).abs() / theirs(x).abs().max(floor)).fold(0.0, f64::max)
}

fn grid(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..=20_000).map(move |i| from + (to - from) * f64::from(i) / 20_000.0)
}

#[test]
fn exponential_and_logarithm() {
    assert!(worst(grid(-745.0, 709.7), 1e-300, math::exp, f64::exp) < 1e-15);
    assert!(worst(grid(-1.0, 1.0), 1e-300, math::exp, f64::exp) < 1e-15);
    assert!(worst(grid(-700.0, 700.0).map(f64::exp), 1e-3, math::ln, f64::ln) < 1e-15);
    assert!(worst(grid(0.5, 2.0), 1e-2, math::ln, f64::ln) < 1e-15);
    assert_eq!([math::exp(f64::NEG_INFINITY), math::exp(f64::INFINITY), math::exp(0.0)], [0.0, f64::INFINITY, 1.0]);
    assert_eq!([math::ln(0.0), math::ln(1.0), math::ln(f64::INFINITY)], [f64::NEG_INFINITY, 0.0, f64::INFINITY]);
    assert!(math::exp(f64::NAN).is_nan() && math::ln(-1.0).is_nan());
    assert!((math::pow(10_000.0, -0.3) - 10_000_f64.powf(-0.3)).abs() < 1e-15);
}

#[test]
fn square_root() {
    assert!(worst(grid(-700.0, 700.0).map(f64::exp), 0.0, math::sqrt, f64::sqrt) < 3e-16);
    assert_eq!([math::sqrt(0.0), math::sqrt(4.0), math::sqrt(f64::INFINITY)], [0.0, 2.0, f64::INFINITY]);
    assert!(math::sqrt(-1.0).is_nan());
}

#[test]
fn sine_and_cosine() {
    for (from, to, limit) in [(-4.0, 4.0, 1e-15), (0.0, 1e6, 1e-9), (0.0, 4.3e9, 2e-6)] {
        assert!(worst(grid(from, to), 1.0, |x| math::sin_cos(x).0, f64::sin) < limit);
        assert!(worst(grid(from, to), 1.0, |x| math::sin_cos(x).1, f64::cos) < limit);
    }
    assert!(math::sin_cos(f64::INFINITY).0.is_nan());
}

/// Values of tables of the error function, and its oddness.
#[test]
fn error_function() {
    let known =
        [(0.0, 0.0), (0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)];
    for (x, y) in known {
        assert!((math::erf(x) - y).abs() < 1e-15 && math::erf(-x) == -math::erf(x), "{x}");
    }
    assert_eq!([math::erf(f64::INFINITY), math::erf(-9.0)], [1.0, -1.0]);
}

/// Values of tables of its complement, far out as well.
#[test]
fn complement_of_the_error_function() {
    let known = [
        (-1.0, 1.842_700_792_949_715),
        (0.0, 1.0),
        (1.0, 0.157_299_207_050_285_13),
        (2.0, 4.677_734_981_047_265e-3),
        (3.0, 2.209_049_699_858_543_8e-5),
        (5.0, 1.537_459_794_428_035_1e-12),
        (10.0, 2.088_487_583_762_545e-45),
        (25.0, 8.300_172_571_196_522e-274),
    ];
    for (x, y) in known {
        let got = math::erfc(x);
        assert!((got / y - 1.0).abs() < 1e-13, "{x} {got} {y}");
    }
    assert_eq!([math::erfc(f64::INFINITY), math::erfc(f64::NEG_INFINITY)], [0.0, 2.0]);
    assert!(math::erfc(f64::NAN).is_nan());
}
