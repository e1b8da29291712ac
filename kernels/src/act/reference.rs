use super::{Act, Plan};
use crate::{Float, math};
use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// The definition, an entry at a time.
pub fn forward<T: Float>(p: &Plan, gate: &[T], up: Option<&[T]>, y: &mut [T]) {
    let [rows, n] = p.out();
    let [gate_stride, up_stride] = [p.gate(), p.up()].map(|layout| layout.strides()[0]);
    for (r, i) in (0..rows * n).map(|at| (at / n, at % n)) {
        let up = up.map_or(1.0, |up| up[r * up_stride + i].wide());
        y[r * n + i] = T::narrow(apply(p.act, gate[r * gate_stride + i].wide()) * up);
    }
}

/// The gradients, an entry at a time; each only if it is asked for.
pub fn backward<T: Float>(
    p: &Plan,
    gate: &[T],
    up: Option<&[T]>,
    dy: &[T],
    mut dgate: Option<&mut [T]>,
    mut dup: Option<&mut [T]>,
) {
    let [rows, n] = p.out();
    let [gate_stride, up_stride, dy_stride] = [p.gate(), p.up(), p.dy()].map(|layout| layout.strides()[0]);
    for (r, i) in (0..rows * n).map(|at| (at / n, at % n)) {
        let (gate, dy) = (gate[r * gate_stride + i].wide(), dy[r * dy_stride + i].wide());
        let up = up.map_or(1.0, |up| up[r * up_stride + i].wide());
        if let Some(dgate) = &mut dgate {
            dgate[r * n + i] = T::narrow(dy * up * slope(p.act, gate));
        }
        if let Some(dup) = &mut dup {
            dup[r * n + i] = T::narrow(dy * apply(p.act, gate));
        }
    }
}

/// The function at one place.
pub fn apply(act: Act, x: f64) -> f64 {
    let [share, ..] = share(act, x);
    x * share
}

/// Its slope there.
pub fn slope(act: Act, x: f64) -> f64 {
    let [share, rise, by] = share(act, x);
    // Where the share no longer rises, `by` may be infinite.
    if rise == 0.0 { share } else { share + rise * by }
}

/// What `x` is multiplied by, and how much it changes with `x`, times `x`, in two factors.
fn share(act: Act, x: f64) -> [f64; 3] {
    match act {
        Act::Silu => {
            let [share, rest] = sigmoid(x);
            [share, share * rest, x]
        }
        Act::Gelu => {
            let density = FRAC_2_SQRT_PI / SQRT_2 / 2.0 * math::exp(-0.5 * x * x);
            [0.5 * math::erfc(-x * FRAC_1_SQRT_2), density, x]
        }
        // 1 + tanh(u) is twice the sigmoid of 2u.
        Act::GeluTanh => {
            let twice = 2.0 * FRAC_2_SQRT_PI / SQRT_2;
            let [share, rest] = sigmoid(twice * (x + 0.044715 * x * x * x));
            [share, share * rest, x * twice * (1.0 + 3.0 * 0.044715 * x * x)]
        }
    }
}

/// `1 / (1 + exp(-x))`, and what it lacks of 1: neither loses its digits where it is small.
fn sigmoid(x: f64) -> [f64; 2] {
    let small = math::exp(-x.abs());
    let [less, more] = [small / (1.0 + small), 1.0 / (1.0 + small)];
    if x < 0.0 { [less, more] } else { [more, less] }
}
