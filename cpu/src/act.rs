//! [`latens_kernels::act`] on the host.
use crate::once::once;
use crate::{Level, level::Fused, math, rows};
use latens_kernels::{
    DType, Float,
    act::{Act, Plan},
};

once! {
    /// See [`latens_kernels::act::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, gate: &[T], up: Option<&[T]>, y: &mut [T]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, gate: &[T], up: Option<&[T]>, y: &mut [T]) {
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

once! {
    /// See [`latens_kernels::act::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        gate: &[T],
        up: Option<&[T]>,
        dy: &[T],
        dgate: Option<&mut [T]>,
        dup: Option<&mut [T]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    gate: &[T],
    up: Option<&[T]>,
    dy: &[T],
    dgate: Option<&mut [T]>,
    dup: Option<&mut [T]>,
) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::act::backward(p, gate, up, dy, dgate, dup);
    }
    match p.act() {
        Act::Silu => gradients(level, p, gate, up, dy, dgate, dup, math::silu_sloped),
        Act::Gelu => gradients(level, p, gate, up, dy, dgate, dup, math::gelu_sloped),
        Act::GeluTanh => gradients(level, p, gate, up, dy, dgate, dup, math::gelu_tanh_sloped),
    }
}

fn gradients<T: Float>(
    level: Level,
    p: &Plan,
    gate: &[T],
    up: Option<&[T]>,
    dy: &[T],
    dgate: Option<&mut [T]>,
    dup: Option<&mut [T]>,
    act: impl Fn(Fused, f32) -> (f32, f32) + Sync,
) {
    let [rows, n] = p.out();
    let gate = |r: usize| &gate[r * p.gate().strides()[0]..][..n];
    let up = |r: usize| up.map(|up| &up[r * p.up().strides()[0]..][..n]);
    let dy = |r: usize| &dy[r * p.dy().strides()[0]..][..n];
    match (dgate, dup) {
        (Some(dgate), Some(dup)) => rows::each(n, &mut dgate[..rows * n], &mut dup[..rows * n], |r, dgate, dup| {
            level.run(
                #[inline(always)]
                |fused| {
                    let inputs = gate(r).iter().zip(up(r).unwrap_or_default()).zip(dy(r));
                    for ((dgate, dup), ((gate, up), dy)) in dgate.iter_mut().zip(dup).zip(inputs) {
                        let ((y, slope), dy) = (act(fused, gate.to_f32()), dy.to_f32());
                        (*dgate, *dup) = (T::from_f32(dy * up.to_f32() * slope), T::from_f32(dy * y));
                    }
                },
            );
        }),
        (Some(dgate), None) => rows::each_one(n, &mut dgate[..rows * n], |r, dgate| {
            level.run(
                #[inline(always)]
                |fused| match up(r) {
                    Some(up) => {
                        for (((dgate, gate), up), dy) in dgate.iter_mut().zip(gate(r)).zip(up).zip(dy(r)) {
                            *dgate = T::from_f32(dy.to_f32() * up.to_f32() * act(fused, gate.to_f32()).1);
                        }
                    }
                    None => {
                        for ((dgate, gate), dy) in dgate.iter_mut().zip(gate(r)).zip(dy(r)) {
                            *dgate = T::from_f32(dy.to_f32() * act(fused, gate.to_f32()).1);
                        }
                    }
                },
            );
        }),
        (None, Some(dup)) => rows::each_one(n, &mut dup[..rows * n], |r, dup| {
            level.run(
                #[inline(always)]
                |fused| {
                    for ((dup, gate), dy) in dup.iter_mut().zip(gate(r)).zip(dy(r)) {
                        *dup = T::from_f32(dy.to_f32() * act(fused, gate.to_f32()).0);
                    }
                },
            );
        }),
        (None, None) => {}
    }
}
