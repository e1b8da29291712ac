//! One table of cases; every implementation of rotary positions goes through it.
use approx::assert_abs_diff_eq;
use latens_core::{
    Device, Error, Float, Layout, Pairing, Tensor, View, ViewMut, bf16, f16, rope_backward_into, rope_into,
};
use latens_cpu::Level;
use latens_kernels::rope as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, error, normal, numbers, place, vector};
use proptest::prelude::*;

/// `[tokens, heads, dim, first position]`.
const CASES: &[[usize; 4]] = &[
    [0, 2, 4, 0],
    [3, 0, 4, 0],
    [3, 2, 0, 0],
    [1, 1, 2, 0],
    [5, 3, 6, 1],
    [4, 9, 64, 500],
    [3, 2, 62, 100_000],
    [40, 1, 128, 0],
    [2, 1, 10, u32::MAX as usize - 1],
];

fn check<T: Float + Poison>(
    x: &[T],
    [tokens, heads, dim, first]: [usize; 4],
    pairing: Pairing,
    back: bool,
    limit: f64,
    cases: &mut Cases,
) {
    let what = format!("{pairing:?} {tokens} {heads} {dim} {first} {back}");
    let plan = if back { family::plan_backward } else { family::plan };
    let into = |y: ViewMut<'_, T, 3>, positions: View<'_, u32, 1>| {
        let turn = if back { rope_backward_into } else { rope_into };
        turn(y, positions, 10_000.0, pairing).unwrap();
    };
    // The largest positions are compared more loosely: there the reference rounds angles of 4e9 radians to f64.
    let limit = if first > 1_000_000 { limit.max(1e-11) } else { limit };
    let positions: Vec<u32> = (0..tokens).map(|t| (first + t) as u32).collect();
    let position_layout = Layout::packed([tokens]).unwrap();
    // Packed; and heads as the first part of longer ones, in tokens with something between.
    for padding in [0, 6] {
        let (head, token) = (dim + padding, heads * (dim + padding) + padding);
        let strides = if padding == 0 { [heads * dim, dim, 1] } else { [token, head, 1] };
        let Ok(layout) = Layout::strided([tokens, heads, dim], strides) else { unreachable!() };
        let p = plan(&layout, &position_layout, 10_000.0, pairing).unwrap();
        let mut want = x[..layout.span()].to_vec();
        family::forward(&p, &mut want, &positions);
        cases.ran("reference");
        for level in Level::all() {
            let mut y = x[..layout.span()].to_vec();
            latens_cpu::rope::forward_at(level, &p, &mut y, &positions);
            close(&format!("{level:?} {what}"), &y, &want, limit);
            cases.ran("cpu");
        }
        for device in devices() {
            let positions = Tensor::from_slice(&positions, position_layout, &device).unwrap();
            let mut y = Tensor::from_slice(&x[..layout.span()], layout, &device).unwrap();
            into(y.view_mut(), positions.view());
            close(&format!("{} {what}", place(&device)), &y.to_vec().unwrap(), &want, limit);
            if padding == 0 {
                let mut y = Fenced::<T, 3>::holding(&x[..layout.span()], [tokens, heads, dim], &device);
                into(y.view_mut(), positions.view());
                close(&format!("{} {what}", place(&device)), &y.take(), &want, limit);
            }
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float + Poison>(limit: f64) {
    let mut cases = Cases::of("rope").in_type::<T>();
    for (seed, &case @ [tokens, heads, dim, _]) in CASES.iter().enumerate() {
        let count = tokens * (heads * (dim + 6) + 6);
        for pairing in [Pairing::Interleaved, Pairing::Halves] {
            for back in [false, true] {
                check(&normal::<T>(count, 1.0, seed as u64), case, pairing, back, limit, &mut cases);
                check(&numbers::<T>(count, seed as u64), [tokens, heads, dim, 0], pairing, back, limit, &mut cases);
            }
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>(1e-12);
}
#[test]
fn f16_table() {
    table::<f16>(1e-6);
}
#[test]
fn bf16_table() {
    table::<bf16>(5e-5);
}

/// Turned and turned back, everything is where it was, at any position.
#[test]
fn there_and_back() {
    let (dims, positions) = ([4, 3, 10], [0, 1, 70_000, u32::MAX]);
    let x = normal::<f32>(120, 1.0, 5);
    for (device, pairing) in devices().iter().flat_map(|d| [(d, Pairing::Interleaved), (d, Pairing::Halves)]) {
        let positions = vector(&positions, device);
        let mut y = Tensor::from_slice(&x, Layout::packed(dims).unwrap(), device).unwrap();
        rope_into(y.view_mut(), positions.view(), 10_000.0, pairing).unwrap();
        assert!(error(&y.to_vec().unwrap(), &x) > 0.1, "not turned");
        rope_backward_into(y.view_mut(), positions.view(), 10_000.0, pairing).unwrap();
        close(place(device), &y.to_vec().unwrap(), &x, 1e-13);
    }
}

/// The gradient of the reference is the slope of the reference.
#[test]
fn gradient() {
    let (layout, positions) = (Layout::strided([3, 2, 6], [20, 8, 1]).unwrap(), [7, 0, 300]);
    let (x, dy) = (normal::<f64>(layout.span(), 1.0, 1), normal::<f64>(layout.span(), 1.0, 2));
    let inside = |at: usize| at % 20 % 8 < 6 && at % 20 < 16;
    for pairing in [Pairing::Interleaved, Pairing::Halves] {
        let [p, back] = [family::plan, family::plan_backward]
            .map(|plan| plan(&layout, &Layout::packed([3]).unwrap(), 100.0, pairing).unwrap());
        let loss = |at: usize, by: f64| -> f64 {
            let mut y = x.clone();
            y[at] += by;
            family::forward(&p, &mut y, &positions);
            (0..y.len()).filter(|&at| inside(at)).map(|at| y[at] * dy[at]).sum()
        };
        let mut dx = dy.clone();
        family::forward(&back, &mut dx, &positions);
        for at in (0..x.len()).filter(|&at| inside(at)) {
            let slope = (loss(at, 1e-3) - loss(at, -1e-3)) / 2e-3;
            assert!((dx[at] - slope).abs() < 1e-10, "{pairing:?} {at} {} {slope}", dx[at]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Turning keeps lengths, and products depend on the difference of positions alone.
    #[test]
    fn lengths_and_differences(half in 1_usize..32, a in 0_u32..3000, b in 0_u32..3000, by in 0_u32..100_000, seed in 0_u64..1000) {
        let dim = 2 * half;
        let x = normal::<f32>(2 * dim, 1.0, seed);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        for (device, pairing) in devices().iter().flat_map(|d| [(d, Pairing::Interleaved), (d, Pairing::Halves)]) {
            let turned = |positions: [u32; 2]| {
                let positions = Tensor::from_slice(&positions, Layout::packed([2]).unwrap(), device).unwrap();
                let mut y = Tensor::from_slice(&x, Layout::packed([2, 1, dim]).unwrap(), device).unwrap();
                rope_into(y.view_mut(), positions.view(), 10_000.0, pairing).unwrap();
                y.to_vec().unwrap()
            };
            let (here, there) = (turned([a, b]), turned([a + by, b + by]));
            let scale = dim as f64 * 1e-5;
            assert_abs_diff_eq!(dot(&here[..dim], &here[..dim]), dot(&x[..dim], &x[..dim]), epsilon = scale);
            assert_abs_diff_eq!(dot(&here[..dim], &here[dim..]), dot(&there[..dim], &there[dim..]), epsilon = scale);
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let call = |dim: usize, tokens: usize, base: f64| {
            let mut x = Tensor::<f32, 3>::zeros([2, 1, dim], &device).unwrap();
            let positions = Tensor::<u32, 1>::zeros([tokens], &device).unwrap();
            rope_into(x.view_mut(), positions.view(), base, Pairing::Halves).err()
        };
        assert_eq!(call(4, 3, 1e4), Some(Error::Size { op: "rope", arg: "positions", want: 2, got: 3 }));
        assert_eq!(call(3, 2, 1e4), Some(Error::Value { op: "rope", arg: "dim", want: "even" }));
        assert_eq!(call(4, 2, -1.0), Some(Error::Value { op: "rope", arg: "base", want: "a positive number" }));
        if !device.is_host() {
            let mut x = Tensor::<f32, 3>::zeros([2, 1, 4], &device).unwrap();
            let positions = Tensor::<u32, 1>::zeros([2], &Device::Host).unwrap();
            let call = rope_into(x.view_mut(), positions.view(), 1e4, Pairing::Halves).err();
            assert_eq!(call, Some(Error::Device { op: "rope", arg: "positions" }));
        }
    }
}
