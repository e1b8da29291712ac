//! One table of cases; every implementation of the state space dual goes through it.
use latens_core::{
    DType, Device, Element, Float, Layout, Ssd, SsdGradientsMut, Tensor, View, bf16, f16, ssd, ssd_backward,
    ssd_backward_into, ssd_backward_workspace, ssd_into, ssd_workspace,
};
use latens_cpu::Level;
use latens_cpu::ssd::{backward_at, forward_at};
use latens_kernels::Result;
use latens_kernels::ssd::{self as family, Gradients, Inputs, Layouts, Plan};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same, small, uniform};

/// Sizes and choices. A chunk has 64 rows everywhere, a tile on CUDA 64 entries or states, a task on the host 4 heads.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    len: usize,
    heads: usize,
    head_dim: usize,
    states: usize,
    groups: usize,
    bounds: Option<&'static [u32]>,
    /// Everything optional.
    full: bool,
    padding: usize,
}

const PLAIN: Sizes =
    Sizes { batch: 1, len: 5, heads: 3, head_dim: 4, states: 4, groups: 1, bounds: None, full: false, padding: 0 };
const CASES: &[Sizes] = &[
    Sizes { len: 0, full: true, ..PLAIN },
    Sizes { batch: 0, full: true, ..PLAIN },
    Sizes { len: 1, heads: 1, head_dim: 1, states: 1, full: true, ..PLAIN },
    Sizes { len: 3, heads: 1, head_dim: 64, states: 128, full: true, ..PLAIN },
    Sizes { len: 7, heads: 2, head_dim: 5, states: 3, ..PLAIN },
    Sizes { batch: 3, len: 15, heads: 8, head_dim: 7, states: 17, groups: 8, full: true, padding: 3, ..PLAIN },
    Sizes { batch: 2, len: 16, heads: 3, head_dim: 16, states: 16, ..PLAIN },
    Sizes { batch: 2, len: 17, heads: 8, head_dim: 1, states: 1, groups: 2, full: true, ..PLAIN },
    Sizes { len: 63, heads: 1, head_dim: 33, states: 16, full: true, padding: 1, ..PLAIN },
    Sizes { batch: 2, len: 64, heads: 3, head_dim: 16, states: 64, full: true, ..PLAIN },
    Sizes { len: 65, heads: 6, head_dim: 19, states: 17, groups: 3, full: true, ..PLAIN },
    Sizes { len: 129, heads: 8, head_dim: 16, states: 16, full: true, padding: 2, ..PLAIN },
    Sizes { len: 130, heads: 2, head_dim: 64, states: 64, ..PLAIN },
    Sizes { len: 20, heads: 2, head_dim: 70, states: 130, full: true, ..PLAIN },
    Sizes { len: 70, heads: 1, head_dim: 3, states: 256, full: true, ..PLAIN },
    Sizes { len: 197, heads: 5, head_dim: 16, states: 16, full: true, ..PLAIN },
    Sizes { len: 197, heads: 2, head_dim: 64, states: 128, groups: 2, full: true, ..PLAIN },
    Sizes { len: 13, heads: 4, head_dim: 5, bounds: Some(&[0, 0, 1, 3, 3, 9, 13, 13]), full: true, ..PLAIN },
    Sizes { len: 300, head_dim: 9, states: 16, bounds: Some(&[0, 64, 65, 66, 192, 197, 300]), full: true, ..PLAIN },
    Sizes { len: 150, heads: 6, groups: 2, bounds: Some(&[0, 70, 150]), full: true, padding: 3, ..PLAIN },
    Sizes { len: 0, bounds: Some(&[0, 0]), full: true, ..PLAIN },
    Sizes { len: 0, bounds: Some(&[0]), full: true, ..PLAIN },
];

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
    x: Vec<T>,
    delta: Vec<T>,
    a: Vec<T::Acc>,
    b: Vec<T>,
    c: Vec<T>,
    skip: Option<Vec<T::Acc>>,
    bias: Option<Vec<T::Acc>>,
    gate: Option<Vec<T>>,
    bounds: Option<Vec<u32>>,
    initial: Option<Vec<T::Acc>>,
    dy: Vec<T>,
    dlast: Option<Vec<T::Acc>>,
}

struct Outputs<T: Float> {
    y: Fenced<T, 3>,
    last: Fenced<T::Acc, 4>,
    dx: Fenced<T, 3>,
    ddelta: Fenced<T, 3>,
    da: Fenced<T::Acc, 1>,
    db: Fenced<T, 3>,
    dc: Fenced<T, 3>,
    dskip: Fenced<T::Acc, 1>,
    dbias: Fenced<T::Acc, 1>,
    dgate: Option<Fenced<T, 3>>,
    dinitial: Fenced<T::Acc, 4>,
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn new(p: &Plan, device: &Device) -> Self {
        let l = p.layouts();
        Outputs {
            y: Fenced::new(p.out(), device),
            last: Fenced::new(p.state(), device),
            dx: Fenced::new(l.x.dims(), device),
            ddelta: Fenced::new(l.delta.dims(), device),
            da: Fenced::new(l.a.dims(), device),
            db: Fenced::new(l.b.dims(), device),
            dc: Fenced::new(l.c.dims(), device),
            dskip: Fenced::new([p.heads()], device),
            dbias: Fenced::new([p.heads()], device),
            dgate: l.gate.map(|gate| Fenced::new(gate.dims(), device)),
            dinitial: Fenced::new(p.state(), device),
        }
    }

    fn gradients(&mut self) -> Gradients<&mut [T], &mut [T::Acc]> {
        Gradients {
            dx: Some(self.dx.slice()),
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
            [self.y.full(), self.dx.full(), self.ddelta.full(), self.db.full(), self.dc.full(), gate],
            [self.last.full(), self.da.full(), self.dskip.full(), self.dbias.full(), self.dinitial.full()],
        )
    }

    fn near(&self, want: &Self, what: &str) {
        let ((stored, summed), (want_stored, want_summed)) = (self.all(), want.all());
        for (name, (got, want)) in
            ["y", "dx", "ddelta", "db", "dc", "dgate"].into_iter().zip(stored.iter().zip(&want_stored))
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
        let width = s.heads * s.head_dim;
        let strided = |n: usize| {
            let row = n + s.padding;
            Layout::strided([s.batch, s.len, n], [row * (s.len + s.padding), row, 1]).unwrap()
        };
        let vector = |n: usize| s.full.then(|| Layout::packed([n]).unwrap());
        let bounds = s.bounds.map(<[u32]>::to_vec);
        let sequences = bounds.as_ref().map_or(s.batch, |bounds| bounds.len() - 1);
        let state = s.full.then(|| Layout::packed([sequences, s.heads, s.head_dim, s.states]).unwrap());
        let layouts = Layouts {
            x: strided(width),
            delta: strided(s.heads),
            a: Layout::packed([s.heads]).unwrap(),
            b: strided(s.groups * s.states),
            c: strided(s.groups * s.states),
            skip: vector(s.heads),
            bias: vector(s.heads),
            gate: s.full.then(|| strided(width)),
            bounds: bounds.as_ref().map(|bounds| Layout::packed([bounds.len()]).unwrap()),
            initial: state,
            groups: s.groups,
            softplus: s.full,
        };
        let (l, dy) = (&layouts, strided(width));
        // Without softplus delta is positive anyway, as decays are.
        let delta =
            if s.full { normal(l.delta.span(), 1.0, seed + 1) } else { uniform(l.delta.span(), 0.01, 0.5, seed) };
        Case {
            plan: family::plan_backward(&family::plan(l).unwrap(), &dy, state.as_ref()).unwrap(),
            x: normal(l.x.span(), 1.0, seed),
            delta,
            a: uniform(s.heads, -4.0, 0.0, seed + 2),
            b: normal(l.b.span(), 1.0, seed + 3),
            c: normal(l.c.span(), 1.0, seed + 4),
            skip: s.full.then(|| normal(s.heads, 1.0, seed + 5)),
            bias: s.full.then(|| uniform(s.heads, -4.0, -1.0, seed + 6)),
            gate: l.gate.map(|gate| normal(gate.span(), 1.0, seed + 7)),
            bounds,
            initial: state.map(|state| normal(state.len(), 1.0, seed + 8)),
            dy: normal(dy.span(), 1.0, seed + 9),
            dlast: state.map(|state| normal(state.len(), 1.0, seed + 10)),
        }
    }

    fn inputs(&self) -> Inputs<&[T], &[T::Acc], &[u32]> {
        Inputs {
            x: &self.x,
            delta: &self.delta,
            a: &self.a,
            b: &self.b,
            c: &self.c,
            skip: self.skip.as_deref(),
            bias: self.bias.as_deref(),
            gate: self.gate.as_deref(),
            bounds: self.bounds.as_deref(),
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
        let (x, delta, dy) = (three(&self.x, l.x), three(&self.delta, l.delta), three(&self.dy, p.dy()));
        let (b, c, a) = (three(&self.b, l.b), three(&self.c, l.c), packed(&self.a, [p.heads()], device));
        let gate = self.gate.as_ref().map(|gate| three(gate, l.gate.unwrap()));
        let [skip, bias] = [&self.skip, &self.bias].map(|x| x.as_ref().map(|x| packed(x, [x.len()], device)));
        let bounds = self.bounds.as_ref().map(|bounds| packed(bounds, [bounds.len()], device));
        let [initial, dlast] = [&self.initial, &self.dlast].map(|x| x.as_ref().map(|x| packed(x, p.state(), device)));
        let call = Ssd {
            groups: l.groups,
            skip: skip.as_ref().map(Tensor::view),
            bias: bias.as_ref().map(Tensor::view),
            gate: gate.as_ref().map(Tensor::view),
            softplus: l.softplus,
            bounds: bounds.as_ref().map(Tensor::view),
            initial: initial.as_ref().map(Tensor::view),
            ..Ssd::new(x.view(), delta.view(), a.view(), b.view(), c.view())
        };
        let dlast: Option<View<_, 4>> = dlast.as_ref().map(Tensor::view);
        let mut workspace = Tensor::empty([ssd_workspace(&call).unwrap()], device).unwrap();
        ssd_into(&call, out.y.view_mut(), Some(out.last.view_mut()), workspace.view_mut()).unwrap();
        let mut workspace = Tensor::empty([ssd_backward_workspace(&call).unwrap()], device).unwrap();
        let to = SsdGradientsMut {
            x: Some(out.dx.view_mut()),
            delta: Some(out.ddelta.view_mut()),
            a: Some(out.da.view_mut()),
            b: Some(out.db.view_mut()),
            c: Some(out.dc.view_mut()),
            skip: Some(out.dskip.view_mut()),
            bias: Some(out.dbias.view_mut()),
            gate: out.dgate.as_mut().map(Fenced::view_mut),
            initial: Some(out.dinitial.view_mut()),
        };
        ssd_backward_into(&call, dy.view(), dlast, to, workspace.view_mut()).unwrap();
        let (y, last) = ssd(&call).unwrap();
        assert!(same(&y.to_vec().unwrap(), &out.y.full()) && same(&last.to_vec().unwrap(), &out.last.full()));
        let gradients = ssd_backward(&call, dy.view(), dlast).unwrap();
        assert!(same(&gradients.x.to_vec().unwrap(), &out.dx.full()), "the allocating form differs");
        out
    }
}

fn packed<T: Element, const R: usize>(x: &[T], dims: [usize; R], device: &Device) -> Tensor<T, R> {
    Tensor::from_slice(x, Layout::packed(dims).unwrap(), device).unwrap()
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("ssd").in_type::<T>();
    for (seed, &sizes) in
        CASES.iter().enumerate().filter(|(_, s)| !small() || s.len * s.heads * s.head_dim * s.states < 140_000)
    {
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
    let bounds = Sizes { len: 6, heads: 2, head_dim: 2, states: 3, bounds: Some(&[0, 2, 2, 6]), full: true, ..PLAIN };
    let groups = Sizes { batch: 2, heads: 4, head_dim: 3, states: 2, groups: 2, full: true, ..PLAIN };
    for sizes in [bounds, groups] {
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
        check("x", x.x, out.dx.full(), &|input| loss(Inputs { x: input, ..x }));
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
