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

/// The function at one place. `1 + tanh(u)` is written as `2 / (1 + exp(-2u))`, which does not cancel.
pub fn apply(act: Act, x: f64) -> f64 {
    match act {
        Act::Silu => x / (1.0 + math::exp(-x)),
        Act::Gelu => x * 0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2)),
        Act::GeluTanh => {
            let u = FRAC_2_SQRT_PI / SQRT_2 * (x + 0.044715 * x * x * x);
            x / (1.0 + math::exp(-2.0 * u))
        }
    }
}
