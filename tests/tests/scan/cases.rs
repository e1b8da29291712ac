//! One table of cases; every implementation of the selective scan goes through it.
use latens_core::{
    DType, Device, Element, Float, Layout, Scan, ScanGradientsMut, Tensor, View, bf16, f16, scan_backward,
    scan_backward_into, scan_backward_workspace, scan_into, scan_workspace,
};
use latens_cpu::scan::{Level, backward_at, forward_at};
use latens_kernels::scan::{self as family, Gradients, Inputs, Layouts, Plan};
use latens_kernels::{Result, route::Tables};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same, small, uniform};

/// Sizes and choices. A block on CUDA has 128 lanes and stages 16 positions, a tile on the host has 16 channels.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    len: usize,
    /// Channels of an order.
    width: usize,
    states: usize,
    groups: usize,
    /// Orders that share `u`; 0 for none, negative for columns of their own.
    orders: isize,
    bounds: Option<&'static [u32]>,
    /// Everything optional.
    full: bool,
    padding: usize,
}

const PLAIN: Sizes =
    Sizes { batch: 1, len: 5, width: 3, states: 4, groups: 1, orders: 0, bounds: None, full: false, padding: 0 };
const CASES: &[Sizes] = &[
    Sizes { len: 0, full: true, ..PLAIN },
    Sizes { batch: 0, full: true, ..PLAIN },
    Sizes { len: 1, width: 1, states: 1, full: true, ..PLAIN },
    Sizes { len: 2, width: 7, states: 8, ..PLAIN },
    Sizes { len: 3, width: 1, states: 64, full: true, ..PLAIN },
    Sizes { batch: 3, len: 15, width: 7, states: 17, full: true, padding: 3, ..PLAIN },
    Sizes { batch: 2, len: 16, width: 33, states: 16, ..PLAIN },
    Sizes { batch: 2, len: 17, width: 16, states: 8, full: true, ..PLAIN },
    Sizes { len: 127, width: 5, states: 16, full: true, padding: 1, ..PLAIN },
    Sizes { len: 128, width: 70, states: 16, full: true, ..PLAIN },
    Sizes { len: 129, width: 2, states: 3, full: true, ..PLAIN },
    Sizes { len: 19, width: 6, states: 32, groups: 3, full: true, ..PLAIN },
    Sizes { len: 197, width: 24, states: 16, groups: 2, full: true, padding: 2, ..PLAIN },
    Sizes { len: 20, width: 2, states: 100, full: true, ..PLAIN },
    Sizes { len: 13, width: 4, states: 5, bounds: Some(&[0, 0, 1, 3, 3, 9, 13, 13]), full: true, ..PLAIN },
    Sizes { len: 150, width: 3, states: 16, bounds: Some(&[0, 16, 62, 66, 128, 150]), full: true, ..PLAIN },
    Sizes { batch: 2, len: 17, width: 6, states: 8, orders: 4, full: true, padding: 3, ..PLAIN },
    Sizes { batch: 2, len: 17, width: 6, states: 8, orders: -4, groups: 4, full: true, ..PLAIN },
    Sizes { batch: 2, len: 11, width: 6, states: 2, orders: 2, groups: 4, full: true, ..PLAIN },
    Sizes { len: 70, width: 9, states: 16, orders: 4, groups: 2, bounds: Some(&[0, 20, 21, 70]), full: true, ..PLAIN },
    Sizes { len: 0, width: 2, bounds: Some(&[0, 0]), full: true, ..PLAIN },
    Sizes { len: 577, width: 17, states: 16, full: true, ..PLAIN },
    // Lengths and widths of pictures and backbones, the other sides small.
    Sizes { len: 626, width: 3, states: 17, full: true, ..PLAIN },
    Sizes { len: 2305, width: 2, states: 16, full: true, ..PLAIN },
    Sizes { len: 6085, width: 1, states: 16, full: true, padding: 1, ..PLAIN },
    Sizes { batch: 2, len: 2, width: 192, states: 64, full: true, ..PLAIN },
    Sizes { len: 5, width: 768, states: 16, full: true, ..PLAIN },
    Sizes { len: 2, width: 1024, states: 17, full: true, ..PLAIN },
    Sizes { len: 3, width: 192, states: 16, orders: 4, groups: 4, full: true, ..PLAIN },
];

/// Orders of `len` rows: forward, reverse, and others that step through.
pub fn orders(count: usize, len: usize) -> Vec<u32> {
    let prime = |o: usize| [2, 3, 5, 7, 13, 19, 23].into_iter().filter(|p| !len.is_multiple_of(*p)).nth(o).unwrap();
    let order = |o: usize, p: usize| match o {
        0 => p,
        1 => len - 1 - p,
        _ => p * prime(o) % len,
    };
    (0..count).flat_map(|o| (0..len).map(move |p| order(o, p) as u32)).collect()
}

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        DType::F64 => 1e-24,
        _ => 1e-10,
    }
}

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
    bounds: Option<Vec<u32>>,
    orders: Option<Vec<u32>>,
    initial: Option<Vec<T::Acc>>,
    dy: Vec<T>,
    dlast: Option<Vec<T::Acc>>,
}

struct Outputs<T: Float> {
    y: Fenced<T, 3>,
    last: Fenced<T::Acc, 3>,
    du: Fenced<T, 3>,
    ddelta: Fenced<T, 3>,
    da: Fenced<T::Acc, 2>,
    db: Fenced<T, 3>,
    dc: Fenced<T, 3>,
    dskip: Fenced<T::Acc, 1>,
    dbias: Fenced<T::Acc, 1>,
    dgate: Option<Fenced<T, 3>>,
    dinitial: Fenced<T::Acc, 3>,
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn new(p: &Plan, device: &Device) -> Self {
        let l = p.layouts();
        Outputs {
            y: Fenced::new(p.out(), device),
            last: Fenced::new(p.state(), device),
            du: Fenced::new(l.u.dims(), device),
            ddelta: Fenced::new(l.delta.dims(), device),
            da: Fenced::new(l.a.dims(), device),
            db: Fenced::new(l.b.dims(), device),
            dc: Fenced::new(l.c.dims(), device),
            dskip: Fenced::new([p.channels()], device),
            dbias: Fenced::new([p.channels()], device),
            dgate: l.gate.map(|gate| Fenced::new(gate.dims(), device)),
            dinitial: Fenced::new(p.state(), device),
        }
    }

    fn gradients(&mut self) -> Gradients<&mut [T], &mut [T::Acc]> {
        Gradients {
            du: Some(self.du.slice()),
            ddelta: Some(self.ddelta.slice()),
            da: Some(self.da.slice()),
            db: Some(self.db.slice()),
            dc: Some(self.dc.slice()),
            dskip: Some(self.dskip.slice()),
            dbias: Some(self.dbias.slice()),
            dgate: self.dgate.as_mut().map(Fenced::slice),
            dinitial: Some(self.dinitial.slice()),
        }
    }

    /// All numbers: those stored as `T`, and those summed as `Acc`.
    fn all(&self) -> ([Vec<T>; 6], [Vec<T::Acc>; 5]) {
        let gate = self.dgate.as_ref().map_or(Vec::new(), Fenced::full);
        (
            [self.y.full(), self.du.full(), self.ddelta.full(), self.db.full(), self.dc.full(), gate],
            [self.last.full(), self.da.full(), self.dskip.full(), self.dbias.full(), self.dinitial.full()],
        )
    }

    fn near(&self, want: &Self, what: &str) {
        let ((stored, summed), (want_stored, want_summed)) = (self.all(), want.all());
        for (name, (got, want)) in
            ["y", "du", "ddelta", "db", "dc", "dgate"].into_iter().zip(stored.iter().zip(&want_stored))
        {
            close(&format!("{what} {name}"), got, want, limit::<T>());
        }
        for (name, (got, want)) in
            ["last", "da", "dskip", "dbias", "dinitial"].into_iter().zip(summed.iter().zip(&want_summed))
        {
            close(&format!("{what} {name}"), got, want, if T::DTYPE == DType::F64 { 1e-24 } else { 1e-10 });
        }
    }

    fn bits(&self) -> Vec<u64> {
        let (stored, summed) = self.all();
        let stored = stored.concat().into_iter().map(|x| x.wide().to_bits()).collect::<Vec<_>>();
        stored.into_iter().chain(summed.concat().iter().map(|x| x.wide().to_bits())).collect()
    }
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new(s: Sizes, seed: u64) -> Self {
        let count = s.orders.unsigned_abs();
        let channels = s.width * count.max(1);
        let columns = if s.orders < 0 { channels } else { s.width };
        let strided = |n: usize| {
            let row = n + s.padding;
            Layout::strided([s.batch, s.len, n], [row * (s.len + s.padding), row, 1]).unwrap()
        };
        let vector = |n: usize| s.full.then(|| Layout::packed([n]).unwrap());
        let bounds = s.bounds.map(<[u32]>::to_vec);
        let orders = (count > 0).then(|| orders(count, s.len));
        let sequences = bounds.as_ref().map_or(s.batch, |bounds| bounds.len() - 1);
        let state = s.full.then(|| Layout::packed([sequences, channels, s.states]).unwrap());
        let layouts = Layouts {
            u: strided(columns),
            delta: strided(channels),
            a: Layout::strided([channels, s.states], [s.states + s.padding, 1]).unwrap(),
            b: strided(s.groups * s.states),
            c: strided(s.groups * s.states),
            skip: vector(channels),
            bias: vector(channels),
            gate: s.full.then(|| strided(s.width)),
            taps: None,
            taps_bias: None,
            window: None,
            bounds: bounds.as_ref().map(|bounds| Layout::packed([bounds.len()]).unwrap()),
            orders: orders.as_ref().map(|_| Layout::packed([count, s.len]).unwrap()),
            initial: state,
            softplus: s.full,
        };
        let dy = strided(s.width);
        let (l, a) = (&layouts, &layouts.a);
        // Without softplus delta is positive anyway, as decays are.
        let delta =
            if s.full { normal(l.delta.span(), 1.0, seed + 1) } else { uniform(l.delta.span(), 0.01, 0.5, seed) };
        Case {
            plan: family::plan_backward(&family::plan(l).unwrap(), &dy, state.as_ref()).unwrap(),
            u: normal(l.u.span(), 1.0, seed),
            delta,
            a: uniform(a.span(), -4.0, 0.0, seed + 2),
            b: normal(l.b.span(), 1.0, seed + 3),
            c: normal(l.c.span(), 1.0, seed + 4),
            skip: s.full.then(|| normal(channels, 1.0, seed + 5)),
            bias: s.full.then(|| uniform(channels, -4.0, -1.0, seed + 6)),
            gate: l.gate.map(|gate| normal(gate.span(), 1.0, seed + 7)),
            bounds,
            orders,
            initial: state.map(|state| normal(state.len(), 1.0, seed + 8)),
            dy: normal(dy.span(), 1.0, seed + 9),
            dlast: state.map(|state| normal(state.len(), 1.0, seed + 10)),
        }
    }

    fn inputs(&self) -> Inputs<&[T], &[T::Acc], &[u32]> {
        Inputs {
            u: &self.u,
            delta: &self.delta,
            a: &self.a,
            b: &self.b,
            c: &self.c,
            skip: self.skip.as_deref(),
            bias: self.bias.as_deref(),
            gate: self.gate.as_deref(),
            taps: None,
            taps_bias: None,
            window: None,
            tables: Tables { bounds: self.bounds.as_deref(), orders: self.orders.as_deref() },
            initial: self.initial.as_deref(),
        }
    }

    /// By the reference, or by the host's instructions of a level.
    fn host(&self, level: Option<Level>) -> Outputs<T> {
        let mut out = Outputs::new(&self.plan, &Device::Host);
        let (p, x, dlast) = (&self.plan, self.inputs(), self.dlast.as_deref());
        let both: Result<()> = match level {
            None => family::forward(p, x, out.y.slice(), Some(out.last.slice()))
                .and_then(|()| family::backward(p, x, &self.dy, dlast, out.gradients())),
            Some(level) => forward_at(level, p, x, out.y.slice(), Some(out.last.slice()))
                .and_then(|()| backward_at(level, p, x, &self.dy, dlast, out.gradients())),
        };
        both.unwrap();
        out
    }

    /// By the operations on a device.
    fn core(&self, device: &Device) -> Outputs<T> {
        let (p, mut out) = (&self.plan, Outputs::new(&self.plan, device));
        let l = p.layouts();
        let three = |x: &[T], layout| Tensor::from_slice(x, layout, device).unwrap();
        let (u, delta, dy) = (three(&self.u, l.u), three(&self.delta, l.delta), three(&self.dy, p.dy()));
        let (b, c, a) = (three(&self.b, l.b), three(&self.c, l.c), Tensor::from_slice(&self.a, l.a, device).unwrap());
        let gate = self.gate.as_ref().map(|gate| three(gate, l.gate.unwrap()));
        let [skip, bias] = [&self.skip, &self.bias].map(|x| x.as_ref().map(|x| packed(x, [x.len()], device)));
        let bounds = self.bounds.as_ref().map(|bounds| packed(bounds, [bounds.len()], device));
        let orders = self.orders.as_ref().map(|orders| packed(orders, [p.route().orders(), p.route().len()], device));
        let [initial, dlast] = [&self.initial, &self.dlast].map(|x| x.as_ref().map(|x| packed(x, p.state(), device)));
        let call = Scan {
            skip: skip.as_ref().map(Tensor::view),
            bias: bias.as_ref().map(Tensor::view),
            gate: gate.as_ref().map(Tensor::view),
            softplus: l.softplus,
            bounds: bounds.as_ref().map(Tensor::view),
            orders: orders.as_ref().map(Tensor::view),
            initial: initial.as_ref().map(Tensor::view),
            ..Scan::new(u.view(), delta.view(), a.view(), b.view(), c.view())
        };
        let dlast: Option<View<_, 3>> = dlast.as_ref().map(Tensor::view);
        let mut workspace = Tensor::empty([scan_workspace(&call).unwrap()], device).unwrap();
        scan_into(&call, out.y.view_mut(), Some(out.last.view_mut()), workspace.view_mut()).unwrap();
        let mut workspace = Tensor::empty([scan_backward_workspace(&call).unwrap()], device).unwrap();
        let to = ScanGradientsMut {
            u: Some(out.du.view_mut()),
            delta: Some(out.ddelta.view_mut()),
            a: Some(out.da.view_mut()),
            b: Some(out.db.view_mut()),
            c: Some(out.dc.view_mut()),
            skip: Some(out.dskip.view_mut()),
            bias: Some(out.dbias.view_mut()),
            gate: out.dgate.as_mut().map(Fenced::view_mut),
            initial: Some(out.dinitial.view_mut()),
        };
        scan_backward_into(&call, dy.view(), dlast, to, workspace.view_mut()).unwrap();
        let gradients = scan_backward(&call, dy.view(), dlast).unwrap();
        assert!(same(&gradients.u.to_vec().unwrap(), &out.du.full()), "the allocating form differs");
        out
    }
}

pub fn packed<T: Element, const R: usize>(x: &[T], dims: [usize; R], device: &Device) -> Tensor<T, R> {
    Tensor::from_slice(x, Layout::packed(dims).unwrap(), device).unwrap()
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("scan").in_type::<T>();
    for (seed, &sizes) in CASES.iter().enumerate().filter(|(_, s)| !small() || s.len * s.width * s.states < 20_000) {
        let (what, case) = (format!("{sizes:?}"), Case::<T>::new(sizes, 20 * seed as u64));
        let want = case.host(None);
        cases.ran("reference");
        for level in Level::all() {
            case.host(Some(level)).near(&want, &format!("{level:?} {what}"));
            cases.ran("cpu");
        }
        for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
            let got = case.core(&device);
            got.near(&want, &format!("{} {what}", place(&device)));
            assert_eq!(got.bits(), case.core(&device).bits(), "{} {what}: two runs differ", place(&device));
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

/// The gradients of the reference are the slopes of the reference, for every input.
#[test]
fn gradient() {
    let bounds = Sizes { len: 6, width: 2, states: 3, bounds: Some(&[0, 2, 2, 6]), full: true, ..PLAIN };
    let orders = Sizes { batch: 2, len: 5, width: 2, states: 2, orders: 2, groups: 2, full: true, ..PLAIN };
    for sizes in [bounds, orders, Sizes { orders: -2, groups: 1, ..orders }] {
        let case = Case::<f64>::new(sizes, 4);
        let (p, out) = (&case.plan, case.host(None));
        let loss = |x: Inputs<&[f64], &[f64], &[u32]>| -> f64 {
            let (mut y, mut last) = (vec![0.0; p.out().iter().product()], vec![0.0; p.state().iter().product()]);
            family::forward(p, x, &mut y, Some(&mut last)).unwrap();
            let dlast = case.dlast.as_ref().unwrap();
            y.iter().zip(&case.dy).chain(last.iter().zip(dlast)).map(|(y, d)| y * d).sum()
        };
        let check = |what: &str, of: &[f64], got: Vec<f64>, loss: &dyn Fn(&[f64]) -> f64| {
            assert_eq!(of.len(), got.len(), "{what}");
            for (at, got) in got.into_iter().enumerate() {
                let [up, down] = [1e-5, -1e-5].map(|by| {
                    let mut of = of.to_vec();
                    of[at] += by;
                    loss(&of)
                });
                let want = (up - down) / 2e-5;
                assert!((got - want).abs() < 1e-7 * (1.0 + want.abs()), "{what} {at}: {got} {want}");
            }
        };
        let x = case.inputs();
        check("u", x.u, out.du.full(), &|u| loss(Inputs { u, ..x }));
        check("delta", x.delta, out.ddelta.full(), &|delta| loss(Inputs { delta, ..x }));
        check("a", x.a, out.da.full(), &|a| loss(Inputs { a, ..x }));
        check("b", x.b, out.db.full(), &|b| loss(Inputs { b, ..x }));
        check("c", x.c, out.dc.full(), &|c| loss(Inputs { c, ..x }));
        check("skip", x.skip.unwrap(), out.dskip.full(), &|skip| loss(Inputs { skip: Some(skip), ..x }));
        check("bias", x.bias.unwrap(), out.dbias.full(), &|bias| loss(Inputs { bias: Some(bias), ..x }));
        let dgate = out.dgate.as_ref().unwrap().full();
        check("gate", x.gate.unwrap(), dgate, &|gate| loss(Inputs { gate: Some(gate), ..x }));
        check("initial", x.initial.unwrap(), out.dinitial.full(), &|h| loss(Inputs { initial: Some(h), ..x }));
    }
}

/// Tables that a plan does not know, and missing ones that it does, are refused: rows would be written twice, or never.
#[test]
fn tables_are_those_of_the_plan() {
    let plain = Case::<f32>::new(Sizes { len: 8, width: 3, states: 4, ..PLAIN }, 1);
    let bounds = Case::<f32>::new(Sizes { len: 8, width: 3, states: 4, bounds: Some(&[0, 3, 8]), ..PLAIN }, 2);
    let orders = Case::<f32>::new(Sizes { len: 8, width: 3, states: 4, orders: 2, ..PLAIN }, 3);
    let none = Tables::default();
    let refused = [
        (&plain, Tables { bounds: Some(&[0, 3, 8][..]), orders: None }, "bounds"),
        (&plain, Tables { bounds: None, orders: orders.orders.as_deref() }, "orders"),
        (&bounds, none, "bounds"),
        (&orders, none, "orders"),
    ];
    for (case, tables, arg) in refused {
        let (p, x) = (&case.plan, Inputs { tables, ..case.inputs() });
        let named = |result: Result<()>| assert!(result.unwrap_err().to_string().contains(arg), "{arg}");
        let mut out = Outputs::<f32>::new(p, &Device::Host);
        named(family::forward(p, x, out.y.slice(), None));
        named(latens_cpu::scan::forward(p, x, out.y.slice(), None));
        named(latens_cpu::scan::step(p, x, out.last.slice(), out.y.slice()));
        named(latens_cpu::scan::backward(p, x, &case.dy, None, out.gradients()));
    }
}
