//! Gates between encoder and decoder: one table of codes and gates; every implementation goes through it.
use latens_core::{self as core, Accumulate, Device, Error, Float, Layout, Penalty, Push, SaeGate, Tensor, bf16, f16};
use latens_cpu::sae as cpu;
use latens_kernels::sae::{self as family, gate};
use latens_tests::{Batch, Cases, FLAT, Fenced, Poison, close, devices, normal, place, vector};

/// `[rows, dim, n, k, padding]`; a `k` of [`FLAT`] makes rows of different widths.
const CASES: &[[usize; 5]] = &[
    [0, 4, 5, 2, 0],
    [3, 0, 7, 3, 0],
    [3, 4, 0, 2, 0],
    [2, 4, 5, 0, 0],
    [1, 1, 1, 1, 0],
    [5, 31, 12, 4, 1],
    [33, 256, 300, 7, 0],
    [300, 40, 5, 4, 3],
    [0, 4, 5, FLAT, 0],
    [50, 300, 100, FLAT, 0],
];

/// Which parts a gate has, its floor, and the penalty.
const GATES: &[([bool; 3], f32, Push)] = &[
    ([false; 3], 0.0, Push { by: 0.0, penalty: Penalty::Power(1.0), step: 0.0 }),
    ([false, false, true], 0.0, Push { by: 0.3, penalty: Penalty::Power(1.0), step: 0.0 }),
    ([true, true, false], 0.0, Push { by: 0.3, penalty: Penalty::Power(1.0), step: 0.0 }),
    ([true, true, true], 0.0, Push { by: 0.2, penalty: Penalty::Power(0.5), step: 0.0 }),
    ([false, true, false], 0.5, Push { by: 0.0, penalty: Penalty::Power(1.0), step: 0.7 }),
    ([false, true, true], 0.25, Push { by: 0.4, penalty: Penalty::Tanh(4.0), step: 0.1 }),
];

/// Codes, and the parts of a gate.
struct Case<T: Float> {
    batch: Batch<T>,
    parts: [Option<Vec<T::Acc>>; 3],
    slopes: Vec<T::Acc>,
    floor: f32,
    push: Push,
}

impl<T: Float> Case<T> {
    fn new(case: [usize; 5], (has, floor, push): ([bool; 3], f32, Push), seed: u64) -> Self {
        let batch = Batch::<T>::new(case, seed);
        let n = batch.dims()[2];
        let part = |at: usize| {
            let mut part = normal::<T::Acc>(n, 0.5, seed + 10 + at as u64);
            // Weights are lengths, and factors above 0 for the most part.
            let lift = [0.7, 0.0, 0.0][at];
            part.iter_mut().for_each(|x| *x = T::Acc::narrow(if at == 2 { x.wide().abs() } else { x.wide() + lift }));
            part
        };
        let parts = std::array::from_fn(|at| has[at].then(|| part(at)));
        Self { slopes: normal(batch.codes.shape.slots(), 1.0, seed + 20), batch, parts, floor, push }
    }

    fn n(&self) -> usize {
        self.batch.dims()[2]
    }

    fn host(&self) -> gate::Parts<'_, T::Acc> {
        let [scale, shift, weight] = self.parts.each_ref().map(Option::as_deref);
        gate::Parts { scale, shift, weight }
    }

    fn plan(&self) -> gate::Plan {
        let (slots, n) = (self.batch.codes.shape.slots(), self.n());
        let one = Layout::packed([n]).unwrap();
        let parts = ["scale", "shift", "weight"].map(|arg| (arg, Some(&one)));
        let p = gate::plan(&self.batch.codes.shape, n, self.floor, parts).unwrap();
        p.backward(self.push, &Layout::packed([slots]).unwrap(), &Layout::packed([4, n]).unwrap()).unwrap()
    }
}

fn check<T: Poison + Float>(case: &Case<T>, cases: &mut Cases, what: &str)
where
    T::Acc: Poison,
{
    let (p, codes, n) = (case.plan(), &case.batch.codes, case.n());
    let slots = codes.shape.slots();
    let (mut y, mut slopes, mut sums) =
        (vec![T::Acc::default(); slots], case.slopes.clone(), vec![T::Acc::default(); 4 * n]);
    gate::forward(&p, &codes.values, &codes.latents, case.host(), &mut y);
    gate::backward(&p, codes.host(), case.host(), &mut slopes, &mut sums);
    cases.ran("reference");
    let compare = |place: &str, got: [Vec<T::Acc>; 3]| {
        for ((name, got), want) in ["y", "slopes", "sums"].into_iter().zip(got).zip([&y, &slopes, &sums]) {
            close(&format!("{place} {what} {name}"), &got, want, 1e-11);
        }
    };
    let fenced = |device: &Device| {
        let slopes = Fenced::<T::Acc, 1>::holding(&case.slopes, [slots], device);
        (Fenced::<T::Acc, 1>::new([slots], device), slopes, Fenced::<T::Acc, 2>::new([4, n], device))
    };
    let (mut to, mut of, mut all) = fenced(&Device::Host);
    cpu::gate::forward(&p, &codes.values, &codes.latents, case.host(), to.slice());
    cpu::gate::backward(&p, codes.host(), case.host(), of.slice(), all.slice());
    compare("cpu", [to.full(), of.take(), all.full()]);
    cases.ran("cpu");
    for device in devices() {
        let (on, (mut to, mut of, mut all)) = (case.batch.on(&device), fenced(&device));
        let parts = case.parts.each_ref().map(|part| part.as_ref().map(|part| vector(part, &device)));
        let [scale, shift, weight] = parts.each_ref().map(|part| part.as_ref().map(Tensor::view));
        let gate = SaeGate { scale, shift, weight, floor: case.floor };
        let bytes = core::sae_gate_backward_workspace(&codes.shape, n, &device).unwrap();
        let mut workspace = Tensor::empty([bytes], &device).unwrap();
        core::sae_gate_into(on.codes(), n, gate, to.view_mut()).unwrap();
        let (of_slopes, of_sums) = (of.view_mut(), all.view_mut());
        core::sae_gate_backward_into(on.codes(), gate, case.push, of_slopes, of_sums, workspace.view_mut()).unwrap();
        compare(place(&device), [to.full(), of.take(), all.full()]);
        cases.ran(place(&device));
    }
}

/// The gradients of values alone are those of `sae_backward`; and given those, it makes the same of the weights.
fn slopes<T: Poison + Float>(batch: &Batch<T>, cases: &mut Cases, what: &str)
where
    T::Acc: Poison,
{
    let ([_, dim, n], shape) = (batch.dims(), batch.codes.shape);
    let p = family::slopes::plan(&shape, &batch.g.0, &batch.w.0).unwrap();
    let mut want = vec![T::Acc::default(); shape.slots()];
    family::slopes::forward(&p, batch.codes.host(), &batch.g.1, &batch.w.1, &mut want);
    for level in cpu::Level::all() {
        let mut got = Fenced::<T::Acc, 1>::new([shape.slots()], &Device::Host);
        cpu::slopes::forward_at(level, &p, batch.codes.host(), &batch.g.1, &batch.w.1, got.slice());
        close(&format!("{level:?} {what} slopes"), &got.full(), &want, 1e-11);
        cases.ran("cpu");
    }
    for device in devices() {
        let on = batch.on(&device);
        let mut got = Fenced::<T::Acc, 1>::new([shape.slots()], &device);
        core::sae_slopes_into(on.codes(), on.g.view(), on.w.view(), got.view_mut()).unwrap();
        close(&format!("{} {what} slopes", place(&device)), &got.full(), &want, 1e-11);
        let b_dec = on.b_dec.as_ref().map(Tensor::view);
        let whole = core::sae_backward(on.codes(), on.x.view(), on.g.view(), on.w.view(), b_dec).unwrap();
        let through = whole.values.to_vec().unwrap();
        let mut given = Fenced::<T::Acc, 1>::holding(&through, [shape.slots()], &device);
        let wide = || Fenced::<T::Acc, 2>::new([n, dim], &device);
        let (mut dec, mut enc, mut bias) = (wide(), wide(), Fenced::<T::Acc, 1>::new([n], &device));
        let bytes = core::sae_backward_workspace::<T>(&shape, &batch.w.0, &device).unwrap();
        let mut workspace = Tensor::empty([bytes], &device).unwrap();
        let (d, e, b) = (dec.view_mut(), enc.view_mut(), bias.view_mut());
        let (x, g, replace) = (on.x.view(), on.g.view(), Accumulate::Replace);
        core::sae_weights_backward_into(
            on.codes(),
            x,
            g,
            b_dec,
            given.view_mut(),
            replace,
            d,
            e,
            b,
            workspace.view_mut(),
        )
        .unwrap();
        let bits = |of: &[T::Acc]| of.iter().map(|x| x.wide().to_bits()).collect::<Vec<_>>();
        assert!(bits(&given.take()) == bits(&through), "{what}: given slopes were written");
        close(what, &dec.full(), &whole.w_dec.to_vec().unwrap(), 1e-12);
        close(what, &enc.full(), &whole.w_enc.to_vec().unwrap(), 1e-12);
        close(what, &bias.full(), &whole.b_enc.to_vec().unwrap(), 1e-12);
        cases.ran(place(&device));
    }
}

fn table<T: Poison + Float>()
where
    T::Acc: Poison,
{
    let (mut cases, mut alone) = (Cases::of("sae_gate").in_type::<T>(), Cases::of("sae_slopes").in_type::<T>());
    for (seed, &case) in CASES.iter().enumerate() {
        for &gate in GATES {
            check(&Case::<T>::new(case, gate, seed as u64), &mut cases, &format!("{case:?} {gate:?}"));
        }
        slopes(&Batch::<T>::new(case, seed as u64), &mut alone, &format!("{case:?}"));
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}
#[test]
fn f16_table() {
    table::<f16>();
}

/// What gets through, by hand; slots of no row are gated too, but have no gradient.
#[test]
fn by_hand() {
    for device in devices() {
        let [values, shift] = [&[0.4_f32, 0.6, 2.0, f32::NAN][..], &[0.5, -1.0]].map(|of| vector(of, &device));
        let [latents, offsets] = [&[0_u32, 1, 1, 0][..], &[0, 3]].map(|of| vector(of, &device));
        let codes = core::Codes::flat(values.view(), latents.view(), offsets.view()).unwrap();
        let gate = SaeGate { shift: Some(shift.view()), floor: 0.5, ..SaeGate::default() };
        assert_eq!(core::sae_gate(codes, 2, gate).unwrap().to_vec().unwrap(), [0.0, 0.0, 1.0, 0.0]);
        let (mut slopes, mut sums) =
            (vector(&[3.0_f32, 4.0, 5.0, 6.0], &device), Tensor::zeros([4, 2], &device).unwrap());
        let mut workspace =
            Tensor::empty([core::sae_gate_backward_workspace(&codes.shape(), 2, &device).unwrap()], &device).unwrap();
        let push = Push { step: 10.0, ..Push::default() };
        core::sae_gate_backward_into(codes, gate, push, slopes.view_mut(), sums.view_mut(), workspace.view_mut())
            .unwrap();
        assert_eq!(slopes.to_vec().unwrap(), [0.0, 0.0, 5.0, 0.0], "{}", place(&device));
        // Thresholds are 1 and -0.5; the rectangle is 1 wide, and the slots below 1 are in it.
        let want = [0.0, 10.0, 0.0, 5.0, -(1.0 * 3.0 + 10.0), -(-0.5 * 4.0 + 10.0), 0.0, 0.0];
        assert_eq!(sums.to_vec().unwrap(), want, "{}", place(&device));
    }
}

/// A loss with a penalty on what gets through: gradients of all four inputs are its slopes.
#[test]
fn gradients_are_slopes() {
    const N: usize = 5;
    let (latents, h) = ([0_u32, 3, 1, 1, 4, 2, 0, 5], 1e-6);
    let start: [Vec<f64>; 4] = [
        normal::<f64>(8, 1.0, 1).iter().map(|v| v.abs() + 0.1).collect(),
        normal::<f64>(N, 0.2, 2).iter().map(|v| v + 1.0).collect(),
        normal(N, 0.3, 3),
        normal::<f64>(N, 1.0, 4).iter().map(|v| v.abs() + 0.2).collect(),
    ];
    let g = normal::<f64>(8, 1.0, 5);
    let latents = vector(&latents, &Device::Host);
    for (penalty, phi) in [
        (Penalty::Power(1.0), (|u| u) as fn(f64) -> f64),
        (Penalty::Power(0.5), f64::sqrt),
        (Penalty::Tanh(2.0), |u| (2.0 * u).tanh()),
    ] {
        let run = |of: &[Vec<f64>; 4]| {
            let [values, scale, shift, weight] = of.each_ref().map(|of| vector(of, &Device::Host));
            let two = (values.view().reshape([2, 4]).unwrap(), latents.view().reshape([2, 4]).unwrap());
            let codes = core::Codes::fixed(two.0, two.1).unwrap();
            let [a, b, c] = [&scale, &shift, &weight].map(|of| Some(of.view()));
            let gate = SaeGate { scale: a, shift: b, weight: c, floor: 0.0 };
            let y = core::sae_gate(codes, N, gate).unwrap().to_vec().unwrap();
            let weigh = |slot: usize| of[3].get(latents.to_vec().unwrap()[slot] as usize).copied().unwrap_or(0.0);
            let loss: f64 = (0..8).map(|slot| g[slot] * y[slot] + 0.3 * phi(weigh(slot) * y[slot])).sum();
            let (mut slopes, mut sums) = (vector(&g, &Device::Host), Tensor::zeros([4, N], &Device::Host).unwrap());
            let mut none = Tensor::zeros([0], &Device::Host).unwrap();
            let push = Push { by: 0.3, penalty, step: 0.0 };
            core::sae_gate_backward_into(codes, gate, push, slopes.view_mut(), sums.view_mut(), none.view_mut())
                .unwrap();
            let sums = sums.to_vec().unwrap();
            let all = [slopes.to_vec().unwrap(), sums[..N].to_vec(), sums[N..2 * N].to_vec(), sums[3 * N..].to_vec()];
            (loss, all)
        };
        let (_, gradients) = run(&start);
        for (part, gradient) in gradients.iter().enumerate() {
            assert!(gradient.iter().any(|&slope| slope != 0.0));
            for (at, slope) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut of = start.clone();
                    of[part][at] += by;
                    run(&of).0
                };
                // 0.3 is an f32 where it is a setting.
                let want = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((slope - want).abs() < 1e-6 * (1.0 + want.abs()), "{penalty:?} {part} {at}: {slope} {want}");
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let case = Case::<f32>::new([300, 40, 50, 5, 0], GATES[5], 3);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut slopes, mut sums) = (case.slopes.clone(), vec![0.0; 200]);
        pool.install(|| {
            cpu::gate::backward(&case.plan(), case.batch.codes.host(), case.host(), &mut slopes, &mut sums)
        });
        slopes.into_iter().chain(sums).map(f32::to_bits).collect::<Vec<_>>()
    };
    let one = run(1);
    assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one));
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let (values, latents) = (vector(&[1.0_f32; 4], &device), vector(&[0_u32; 4], &device));
        let two = [values.view().reshape([2, 2]).unwrap()];
        let codes = core::Codes::fixed(two[0], latents.view().reshape([2, 2]).unwrap()).unwrap();
        let part = Tensor::<f32, 1>::zeros([3], &device).unwrap();
        let with = |gate| core::sae_gate(codes, 2, gate).err();
        let (op, none) = ("sae_gate", SaeGate::default());
        let wrong = SaeGate { scale: Some(part.view()), ..none };
        assert_eq!(with(wrong), Some(Error::Size { op, arg: "scale", want: 2, got: 3 }));
        let floor = Some(Error::Value { op, arg: "floor", want: "a number of at least 0" });
        for bad in [-1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(with(SaeGate { floor: bad, ..none }), floor);
        }
        let back = |push, slots: usize, rows: usize| {
            let (mut slopes, mut sums) =
                (Tensor::<f32, 1>::zeros([slots], &device).unwrap(), Tensor::zeros([rows, 2], &device).unwrap());
            let bytes = core::sae_gate_backward_workspace(&codes.shape(), 2, &device).unwrap();
            let mut workspace = Tensor::empty([bytes], &device).unwrap();
            core::sae_gate_backward_into(codes, none, push, slopes.view_mut(), sums.view_mut(), workspace.view_mut())
                .err()
        };
        let push = Push::default();
        assert_eq!(back(push, 4, 4), None);
        assert_eq!(back(push, 3, 4), Some(Error::Size { op, arg: "slopes", want: 4, got: 3 }));
        assert_eq!(back(push, 4, 3), Some(Error::Size { op, arg: "sums", want: 4, got: 3 }));
        for (push, arg, want) in [
            (Push { by: f32::NAN, ..push }, "push", "a number"),
            (Push { step: f32::INFINITY, ..push }, "step", "a number"),
            (Push { penalty: Penalty::Power(0.0), ..push }, "penalty", "a number above 0"),
            (Push { penalty: Penalty::Tanh(f32::NAN), ..push }, "penalty", "a number above 0"),
        ] {
            assert_eq!(back(push, 4, 4), Some(Error::Value { op, arg, want }));
        }
    }
}
