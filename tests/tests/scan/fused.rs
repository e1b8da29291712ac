//! A convolution, its SiLU, softplus and the gate inside a scan: forward only, by every implementation.
use crate::cases::{orders, packed};
use latens_core::{
    DType, Device, Float, Layout, Scan, Taps, Tensor, bf16, f16, scan_into, scan_step_into, scan_workspace,
};
use latens_cpu::scan::{Level, forward_at};
use latens_kernels::route::Tables;
use latens_kernels::scan::{self as family, Inputs, Layouts, Plan};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, uniform};

#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    len: usize,
    width: usize,
    states: usize,
    taps: usize,
    /// Orders that share `u`.
    orders: usize,
    bounds: Option<&'static [u32]>,
    bias: bool,
    window: bool,
    /// Softplus, gate, skip and a bias of `delta`.
    full: bool,
    padding: usize,
}

const PLAIN: Sizes = Sizes {
    batch: 1,
    len: 5,
    width: 3,
    states: 4,
    taps: 4,
    orders: 0,
    bounds: None,
    bias: false,
    window: false,
    full: false,
    padding: 0,
};
/// Sequences shorter than the taps, windows that reach into the second row, blocks of 128 lanes and of 16 positions.
const CASES: &[Sizes] = &[
    Sizes { taps: 2, ..PLAIN },
    Sizes { taps: 3, bias: true, ..PLAIN },
    Sizes { len: 1, width: 2, window: true, ..PLAIN },
    Sizes { len: 2, taps: 4, bias: true, window: true, full: true, ..PLAIN },
    Sizes { len: 0, window: true, full: true, ..PLAIN },
    Sizes {
        batch: 3,
        len: 17,
        width: 19,
        states: 16,
        taps: 3,
        bias: true,
        window: true,
        full: true,
        padding: 3,
        ..PLAIN
    },
    Sizes { batch: 2, len: 33, width: 7, states: 8, taps: 2, window: true, full: true, ..PLAIN },
    Sizes { len: 130, width: 5, states: 17, taps: 4, bias: true, full: true, padding: 1, ..PLAIN },
    Sizes {
        len: 13,
        width: 4,
        bounds: Some(&[0, 0, 1, 3, 3, 9, 13, 13]),
        bias: true,
        window: true,
        full: true,
        ..PLAIN
    },
    Sizes {
        len: 150,
        width: 3,
        states: 16,
        taps: 3,
        bounds: Some(&[0, 62, 66, 150]),
        window: true,
        full: true,
        ..PLAIN
    },
    Sizes { batch: 2, len: 17, width: 6, orders: 2, taps: 2, bias: true, window: true, full: true, ..PLAIN },
    Sizes {
        len: 70,
        width: 9,
        orders: 4,
        bounds: Some(&[0, 20, 21, 70]),
        bias: true,
        window: true,
        full: true,
        ..PLAIN
    },
];

struct Case<T: Float> {
    plan: Plan,
    u: Vec<T>,
    delta: Vec<T>,
    a: Vec<T::Acc>,
    b: Vec<T>,
    c: Vec<T>,
    skip: Option<Vec<T::Acc>>,
    bias: Option<Vec<T::Acc>>,
    gate: Option<Vec<T>>,
    taps: Vec<T::Acc>,
    taps_bias: Option<Vec<T::Acc>>,
    window: Option<Vec<T>>,
    bounds: Option<Vec<u32>>,
    orders: Option<Vec<u32>>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new(s: Sizes, seed: u64) -> Self {
        let channels = s.width * s.orders.max(1);
        let strided = |n: usize| {
            let row = n + s.padding;
            Layout::strided([s.batch, s.len, n], [row * s.len, row, 1]).unwrap()
        };
        let sequences = s.bounds.map_or(s.batch, |bounds| bounds.len() - 1);
        let each = |given: bool| given.then(|| Layout::packed([channels]).unwrap());
        let layouts = Layouts {
            u: strided(s.width),
            delta: strided(channels),
            a: Layout::packed([channels, s.states]).unwrap(),
            b: strided(s.states),
            c: strided(s.states),
            skip: each(s.full),
            bias: each(s.full),
            gate: s.full.then(|| strided(s.width)),
            taps: Some(Layout::strided([channels, s.taps], [s.taps + s.padding, 1]).unwrap()),
            taps_bias: each(s.bias),
            window: s.window.then(|| Layout::packed([sequences, s.taps - 1, channels]).unwrap()),
            bounds: s.bounds.map(|bounds| Layout::packed([bounds.len()]).unwrap()),
            orders: (s.orders > 0).then(|| Layout::packed([s.orders, s.len]).unwrap()),
            initial: None,
            softplus: s.full,
        };
        let l = &layouts;
        let delta = if s.full { normal(l.delta.span(), 1.0, seed) } else { uniform(l.delta.span(), 0.01, 0.5, seed) };
        Case {
            plan: family::plan(l).unwrap(),
            u: normal(l.u.span(), 1.0, seed + 1),
            delta,
            a: uniform(l.a.span(), -4.0, 0.0, seed + 2),
            b: normal(l.b.span(), 1.0, seed + 3),
            c: normal(l.c.span(), 1.0, seed + 4),
            skip: l.skip.map(|_| normal(channels, 1.0, seed + 5)),
            bias: l.bias.map(|_| uniform(channels, -4.0, -1.0, seed + 6)),
            gate: l.gate.map(|gate| normal(gate.span(), 1.0, seed + 7)),
            taps: normal(l.taps.unwrap().span(), 0.5, seed + 8),
            taps_bias: l.taps_bias.map(|_| normal(channels, 1.0, seed + 9)),
            window: l.window.map(|window| normal(window.len(), 1.0, seed + 10)),
            bounds: s.bounds.map(<[u32]>::to_vec),
            orders: (s.orders > 0).then(|| orders(s.orders, s.len)),
        }
    }

    fn host(&self, level: Option<Level>) -> (Vec<T>, Vec<T::Acc>) {
        let x = Inputs {
            u: &self.u[..],
            delta: &self.delta[..],
            a: &self.a[..],
            b: &self.b[..],
            c: &self.c[..],
            skip: self.skip.as_deref(),
            bias: self.bias.as_deref(),
            gate: self.gate.as_deref(),
            taps: Some(&self.taps[..]),
            taps_bias: self.taps_bias.as_deref(),
            window: self.window.as_deref(),
            tables: Tables { bounds: self.bounds.as_deref(), orders: self.orders.as_deref() },
            initial: None,
        };
        let p = &self.plan;
        let (mut y, mut last) = (Fenced::new(p.out(), &Device::Host), Fenced::new(p.state(), &Device::Host));
        match level {
            None => family::forward(p, x, y.slice(), Some(last.slice())),
            Some(level) => forward_at(level, p, x, y.slice(), Some(last.slice())),
        }
        .unwrap();
        (y.full(), last.full())
    }

    /// The call on a device, for `then`.
    fn call<R>(&self, device: &Device, then: impl FnOnce(&Scan<'_, T>) -> R) -> R {
        let (p, l) = (&self.plan, self.plan.layouts());
        let three = |x: &[T], layout| Tensor::from_slice(x, layout, device).unwrap();
        let (u, delta, b, c) =
            (three(&self.u, l.u), three(&self.delta, l.delta), three(&self.b, l.b), three(&self.c, l.c));
        let [a, taps] = [(&self.a, l.a), (&self.taps, l.taps.unwrap())]
            .map(|(x, layout)| Tensor::from_slice(x, layout, device).unwrap());
        let [skip, bias, taps_bias] =
            [&self.skip, &self.bias, &self.taps_bias].map(|x| x.as_ref().map(|x| packed(x, [x.len()], device)));
        let gate = self.gate.as_ref().map(|gate| three(gate, l.gate.unwrap()));
        let window = self.window.as_ref().map(|window| three(window, l.window.unwrap()));
        let bounds = self.bounds.as_ref().map(|bounds| packed(bounds, [bounds.len()], device));
        let orders = self.orders.as_ref().map(|orders| packed(orders, [p.route().orders(), p.route().len()], device));
        then(&Scan {
            skip: skip.as_ref().map(Tensor::view),
            bias: bias.as_ref().map(Tensor::view),
            gate: gate.as_ref().map(Tensor::view),
            softplus: l.softplus,
            taps: Some(Taps {
                weight: taps.view(),
                bias: taps_bias.as_ref().map(Tensor::view),
                window: window.as_ref().map(Tensor::view),
            }),
            bounds: bounds.as_ref().map(Tensor::view),
            orders: orders.as_ref().map(Tensor::view),
            ..Scan::new(u.view(), delta.view(), a.view(), b.view(), c.view())
        })
    }

    fn core(&self, device: &Device) -> (Vec<T>, Vec<T::Acc>) {
        let (mut y, mut last) = (Fenced::new(self.plan.out(), device), Fenced::new(self.plan.state(), device));
        self.call(device, |call| {
            let mut workspace = Tensor::empty([scan_workspace(call).unwrap()], device).unwrap();
            scan_into(call, y.view_mut(), Some(last.view_mut()), workspace.view_mut()).unwrap();
        });
        (y.full(), last.full())
    }
}

fn limits<T: Float>() -> [f64; 2] {
    match T::DTYPE {
        DType::BF16 => [1e-5, 1e-10],
        DType::F16 => [1e-6, 1e-10],
        DType::F64 => [1e-24; 2],
        _ => [1e-10; 2],
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let (mut cases, [of_y, of_last]) = (Cases::of("scan_fused").in_type::<T>(), limits::<T>());
    for (seed, &sizes) in CASES.iter().enumerate() {
        let case = Case::<T>::new(sizes, 400 + 20 * seed as u64);
        let (want, want_last) = case.host(None);
        cases.ran("reference");
        let near = |what: &str, (y, last): &(Vec<T>, Vec<T::Acc>)| {
            close(&format!("{what} {sizes:?} y"), y, &want, of_y);
            close(&format!("{what} {sizes:?} last"), last, &want_last, of_last);
        };
        for level in Level::all() {
            near(&format!("{level:?}"), &case.host(Some(level)));
            cases.ran("cpu");
        }
        for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
            near(place(&device), &case.core(&device));
            cases.ran(place(&device));
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f64_table() {
    table::<f64>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

/// A row at a time, with the rows before it as a window: what inference does.
#[test]
fn steps_with_a_window_are_the_whole() {
    for (taps, seed) in [(2, 1), (3, 2), (4, 3)] {
        let sizes = Sizes { len: 9, width: 6, states: 8, taps, bias: true, full: true, ..PLAIN };
        let case = Case::<f32>::new(sizes, seed);
        let whole = case.host(None);
        for device in devices() {
            let mut state = Tensor::zeros(case.plan.state(), &device).unwrap();
            let mut rows = Vec::new();
            case.call(&device, |call| {
                for t in 0..sizes.len {
                    // The rows before `t`, zeros before the first.
                    let mut before = vec![0.0_f32; (taps - 1) * sizes.width];
                    let known = t.min(taps - 1) * sizes.width;
                    let from = before.len() - known;
                    before[from..].copy_from_slice(&case.u[t * sizes.width - known..t * sizes.width]);
                    let window = packed(&before, [1, taps - 1, sizes.width], &device);
                    let [u, delta, b, c] = [call.u, call.delta, call.b, call.c].map(|x| x.narrow(1, t, t + 1).unwrap());
                    let step = Scan {
                        u,
                        delta,
                        b,
                        c,
                        gate: call.gate.map(|gate| gate.narrow(1, t, t + 1).unwrap()),
                        taps: call.taps.map(|taps| Taps { window: Some(window.view()), ..taps }),
                        ..*call
                    };
                    let mut y = Tensor::zeros([1, 1, sizes.width], &device).unwrap();
                    scan_step_into(&step, state.view_mut(), y.view_mut()).unwrap();
                    rows.extend(y.to_vec().unwrap());
                }
            });
            close(&format!("{} {taps} taps", place(&device)), &rows, &whole.0, 1e-11);
            close(&format!("{} {taps} taps, state", place(&device)), &state.to_vec().unwrap(), &whole.1, 1e-11);
        }
    }
}
