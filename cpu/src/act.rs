//! [`latens_kernels::act`] on the host.
use crate::{Level, level::Fused, math, rows};
use latens_kernels::{
    DType, Float,
    act::{Act, Plan},
};

/// See [`latens_kernels::act::forward`].
pub fn forward<T: Float>(p: &Plan, gate: &[T], up: Option<&[T]>, y: &mut [T]) {
    forward_at(Level::best(), p, gate, up, y);
}

/// [`forward`] with the instructions of `level`.
pub fn forward_at<T: Float>(level: Level, p: &Plan, gate: &[T], up: Option<&[T]>, y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::act::forward(p, gate, up, y);
    }
    match p.act() {
        Act::Silu => apply(level, p, gate, up, y, math::silu),
        Act::Gelu => apply(level, p, gate, up, y, math::gelu),
        Act::GeluTanh => apply(level, p, gate, up, y, math::gelu_tanh),
    }
}

fn apply<T: Float>(
    level: Level,
    p: &Plan,
    gate: &[T],
    up: Option<&[T]>,
    y: &mut [T],
    act: impl Fn(Fused, f32) -> f32 + Sync,
) {
    let [rows, n] = p.out();
    let [gate_stride, up_stride] = [p.gate(), p.up()].map(|layout| layout.strides()[0]);
    rows::each_one(n, &mut y[..rows * n], |r, y| {
        let gate = &gate[r * gate_stride..][..n];
        let up = up.map(|up| &up[r * up_stride..][..n]);
        level.run(
            #[inline(always)]
            |fused| match up {
                Some(up) => {
                    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                        *y = T::from_f32(act(fused, gate.to_f32()) * up.to_f32());
                    }
                }
                None => {
                    for (y, gate) in y.iter_mut().zip(gate) {
                        *y = T::from_f32(act(fused, gate.to_f32()));
                    }
                }
            },
        );
    });
}
