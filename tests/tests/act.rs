//! One table of cases; every implementation of the activations goes through it.
use latens_core::{
    Act, Device, Error, Float, Layout, Tensor, act_backward, act_backward_into, act_into, bf16, f16, gated,
    gated_backward, gelu, silu,
};
use latens_cpu::Level;
use latens_cpu::act::backward_at;
use latens_kernels::act as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same};

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

/// Gradients: those asked for, poison for the other.
fn check_backward<T: Float + Poison>(
    act: Act,
    gate: &[T],
    up: &[T],
    [rows, n, a, b]: [usize; 4],
    limit: f64,
    cases: &mut Cases,
) {
    let [of_gate, of_up, of_dy] = [a, b, a + b].map(|gap| Layout::strided([rows, n], [n + gap, 1]).unwrap());
    let (gate, up, dy) = (&gate[..of_gate.span()], &up[..of_up.span()], &normal::<T>(of_dy.span(), 1.0, 91)[..]);
    let out = |device: &Device| [(); 2].map(|()| Fenced::<T, 2>::new([rows, n], device));
    for (gates, asked) in [(false, [true, false]), (true, [true; 2]), (true, [true, false]), (true, [false, true])] {
        let what = format!("{act:?} {gates} {asked:?} {rows} {n}");
        let (layout, up) = (gates.then_some(&of_up), gates.then_some(up));
        let p = family::plan_backward(act, &of_gate, layout, &of_dy, asked[1]).unwrap();
        let mut want = out(&Device::Host);
        let [dgate, dup] = &mut want;
        family::backward(&p, gate, up, dy, asked[0].then(|| dgate.slice()), asked[1].then(|| dup.slice()));
        let near = |what: &str, got: &[Fenced<T, 2>; 2]| {
            for (i, asked) in asked.into_iter().enumerate() {
                let got = if asked { got[i].full() } else { got[i].take() };
                close(&format!("{what} {i}"), &got, &want[i].take(), limit);
            }
        };
        cases.ran("reference");

        for level in Level::all() {
            let mut got = out(&Device::Host);
            let [dgate, dup] = &mut got;
            backward_at(level, &p, gate, up, dy, asked[0].then(|| dgate.slice()), asked[1].then(|| dup.slice()));
            near(&format!("{level:?} {what}"), &got);
            cases.ran("cpu");
        }

        for device in devices() {
            let what = format!("{} {what}", place(&device));
            let [gate, dy] = [(gate, of_gate), (dy, of_dy)].map(|(x, l)| Tensor::from_slice(x, l, &device).unwrap());
            let up = up.map(|up| Tensor::from_slice(up, of_up, &device).unwrap());
            let up = up.as_ref().map(Tensor::view);
            let mut got = out(&device);
            let [dgate, dup] = &mut got;
            let to = (asked[0].then(|| dgate.view_mut()), asked[1].then(|| dup.view_mut()));
            act_backward_into(gate.view(), up, dy.view(), act, to.0, to.1).unwrap();
            near(&what, &got);
            // Into memory of its own, where packs are aligned: the same bits.
            let again = match up {
                Some(up) => gated_backward(gate.view(), up, dy.view(), act).map(|(dgate, dup)| vec![dgate, dup]),
                None => act_backward(gate.view(), dy.view(), act).map(|dx| vec![dx]),
            };
            for (i, again) in again.unwrap().iter().enumerate().filter(|&(i, _)| asked[i]) {
                assert!(same(&got[i].take(), &again.to_vec().unwrap()), "{what}: two runs differ");
            }
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float + Poison>(limit: f64) {
    let mut cases = Cases::of("act").in_type::<T>();
    for (seed, &case @ [rows, n, a, b]) in CASES.iter().enumerate() {
        let (gate, up) = (normal::<T>(rows * (n + a), 3.0, seed as u64), normal::<T>(rows * (n + b), 1.0, 90));
        for act in ACTS {
            check(act, &gate, &up, case, limit, &mut cases);
            check(act, &numbers(gate.len(), seed as u64), &up, case, limit, &mut cases);
            check_backward(act, &gate, &up, case, limit, &mut cases);
            check_backward(act, &numbers(gate.len(), seed as u64), &up, case, limit, &mut cases);
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

/// Slopes of the reference are those of its function; those of the implementations stay near, and have their limits far out.
#[test]
fn slopes() {
    for act in ACTS {
        for x in (-400..=400).map(|i| f64::from(i) * 0.02) {
            let (h, slope) = (1e-5, family::slope(act, x));
            let want = (family::apply(act, x + h) - family::apply(act, x - h)) / (2.0 * h);
            assert!((slope - want).abs() < 1e-9, "{act:?} {x}: {slope} {want}");
        }
        let far = [1e2, 1e4, 1e15, f64::from(f32::MAX), f64::INFINITY];
        let mut x: Vec<f32> = far.iter().flat_map(|&x| [x as f32, -x as f32]).chain([0.0, -0.0, f32::NAN]).collect();
        for (x, limit) in x.iter().zip([1.0, 0.0].into_iter().cycle()).take(2 * far.len()) {
            assert!((family::slope(act, f64::from(*x)) - limit).abs() < 1e-40, "{act:?} {x}");
        }
        x.extend((-30_000..=30_000).map(|i| i as f32 * 4e-3));
        let layout = Layout::packed([1, x.len()]).unwrap();
        let near = |what: &str, slopes: &[f32]| {
            for (&x, &slope) in x.iter().zip(slopes) {
                // As for the functions, below; and the slope itself passes through 0 between -2 and 0.
                let floor = if act == Act::Silu { 1e-30 } else { 1e-8 };
                let (want, floor) = (family::slope(act, f64::from(x)), if x.abs() < 2.0 { 0.1 } else { floor });
                let off = (f64::from(slope) - want).abs();
                assert!(
                    off <= 8e-6 * want.abs().max(floor) || x.is_nan() && slope.is_nan(),
                    "{what} {act:?} {x}: {slope} {want}"
                );
            }
        };
        let (p, ones) = (family::plan_backward(act, &layout, None, &layout, false).unwrap(), vec![1.0; x.len()]);
        for level in Level::all() {
            let mut slopes = vec![0.0; x.len()];
            backward_at(level, &p, &x, None, &ones, Some(&mut slopes), None);
            near(&format!("{level:?}"), &slopes);
        }
        for device in devices() {
            let [x, ones] = [&x, &ones].map(|x| Tensor::from_slice(x, layout, &device).unwrap());
            near(place(&device), &act_backward(x.view(), ones.view(), act).unwrap().to_vec().unwrap());
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let [a, b] = [[2, 3], [3, 2]].map(|dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap());
        let size = Error::Size { op: "gated", arg: "up", want: 2, got: 3 };
        assert_eq!(gated(a.view(), b.view(), Act::Silu).err(), Some(size));
        assert_eq!(
            gated_backward(a.view(), a.view(), b.view(), Act::Gelu).err(),
            Some(Error::Size { op: "gated", arg: "dy", want: 2, got: 3 })
        );
        assert_eq!(
            act_backward(a.view(), b.view(), Act::Gelu).err(),
            Some(Error::Size { op: "act", arg: "dy", want: 2, got: 3 })
        );
        let mut dup = Tensor::zeros([2, 3], &device).unwrap();
        let alone = act_backward_into(a.view(), None, a.view(), Act::Silu, None, Some(dup.view_mut())).err();
        assert_eq!(alone, Some(Error::Value { op: "act", arg: "dup", want: "left out where there is no up" }));
        if !device.is_host() {
            let host = Tensor::<f32, 2>::zeros([2, 3], &Device::Host).unwrap();
            let device = Error::Device { op: "gated", arg: "up" };
            assert_eq!(gated(a.view(), host.view(), Act::Silu).err(), Some(device));
        }
    }
}
