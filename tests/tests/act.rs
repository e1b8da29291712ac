//! One table of cases; every implementation of the activations goes through it.
use latens_core::{Act, Device, Error, Float, Layout, Tensor, act_into, bf16, f16, gated, gelu, silu};
use latens_cpu::Level;
use latens_kernels::act as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place};

/// `[rows, n, padding of gate, padding of up]`.
const CASES: &[[usize; 4]] = &[
    [0, 3, 0, 0],
    [3, 0, 0, 0],
    [1, 1, 0, 0],
    [3, 31, 1, 0],
    [2, 33, 0, 5],
    [5, 64, 64, 64],
    [2, 1000, 3, 8],
    [3, 2048, 0, 0],
];
const ACTS: [Act; 3] = [Act::Silu, Act::Gelu, Act::GeluTanh];

fn check<T: Float + Poison>(
    act: Act,
    gate: &[T],
    up: &[T],
    [rows, n, a, b]: [usize; 4],
    limit: f64,
    cases: &mut Cases,
) {
    let [gate_layout, up_layout] = [a, b].map(|padding| Layout::strided([rows, n], [n + padding, 1]).unwrap());
    let (gate, up) = (&gate[..gate_layout.span()], &up[..up_layout.span()]);
    for gates in [false, true] {
        let what = format!("{act:?} {gates} {rows} {n}");
        let p = family::plan(act, &gate_layout, gates.then_some(&up_layout)).unwrap();
        let mut want = vec![T::POISON; rows * n];
        family::forward(&p, gate, gates.then_some(up), &mut want);
        cases.ran("reference");

        for level in Level::all() {
            let mut y = Fenced::<T, 2>::new([rows, n], &Device::Host);
            latens_cpu::act::forward_at(level, &p, gate, gates.then_some(up), y.slice());
            close(&format!("{level:?} {what}"), &y.full(), &want, limit);
            cases.ran("cpu");
        }

        for device in devices() {
            let what = format!("{} {what}", place(&device));
            let gate = Tensor::from_slice(gate, gate_layout, &device).unwrap();
            let up = Tensor::from_slice(up, up_layout, &device).unwrap();
            let y = match (gates, act) {
                (true, act) => gated(gate.view(), up.view(), act),
                (false, Act::Silu) => silu(gate.view()),
                (false, act) => gelu(gate.view(), act == Act::GeluTanh),
            };
            close(&what, &y.unwrap().to_vec().unwrap(), &want, limit);
            let mut into = Fenced::<T, 2>::new([rows, n], &device);
            act_into(gate.view(), gates.then_some(up.view()), act, into.view_mut()).unwrap();
            close(&what, &into.full(), &want, limit);
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float + Poison>(limit: f64) {
    let mut cases = Cases::of("act");
    for (seed, &case @ [rows, n, a, b]) in CASES.iter().enumerate() {
        let (gate, up) = (normal::<T>(rows * (n + a), 3.0, seed as u64), normal::<T>(rows * (n + b), 1.0, 90));
        for act in ACTS {
            check(act, &gate, &up, case, limit, &mut cases);
            check(act, &numbers(gate.len(), seed as u64), &up, case, limit, &mut cases);
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

/// Beside the formulas of std, over the range; the tail of negative numbers keeps its digits.
#[test]
fn fast_functions_stay_near() {
    let x: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-3).collect();
    let layout = Layout::packed([1, x.len()]).unwrap();
    for act in ACTS {
        let p = family::plan(act, &layout, None).unwrap();
        let mut y = vec![0.0; x.len()];
        latens_cpu::act::forward(&p, &x, None, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            // Far out the reference loses its digits to 1 + erf, and the kernel those of a large exponent.
            let (want, floor) = (family::apply(act, f64::from(x)), if act == Act::Silu { 1e-30 } else { 1e-8 });
            // An exponent of 20, rounded to f32, is off by 1e-6 or two.
            assert!((f64::from(y) - want).abs() <= 4e-6 * want.abs().max(floor), "{act:?} {x}: {y} {want}");
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let [a, b] = [[2, 3], [3, 2]].map(|dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap());
        let size = Error::Size { op: "gated", arg: "up", want: 2, got: 3 };
        assert_eq!(gated(a.view(), b.view(), Act::Silu).err(), Some(size));
        if !device.is_host() {
            let host = Tensor::<f32, 2>::zeros([2, 3], &Device::Host).unwrap();
            let device = Error::Device { op: "gated", arg: "up" };
            assert_eq!(gated(a.view(), host.view(), Act::Silu).err(), Some(device));
        }
    }
}
