//! One table of cases; every implementation of the steps goes through it.
use latens_core::{
    AdamW, Device, Error, Layout, Tensor, adamw_into, adamw_scheduled_into, advance_into, decoder_step_into,
    decoder_step_scheduled_into,
};
use latens_kernels::optim as family;
use latens_tests::{Cases, Fenced, close, devices, place, uniform};

/// `[rows, n]`.
const CASES: &[[usize; 2]] = &[[0, 4], [3, 0], [1, 1], [5, 31], [3, 32], [2, 257], [40, 7], [2, 20_000]];

const STEPS: &[AdamW] = &[
    AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 1 },
    AdamW { lr: 3e-4, beta1: 0.0, beta2: 0.95, eps: 1e-6, weight_decay: 0.0, step: 7 },
    AdamW { lr: 0.0, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 100_000 },
];

/// `w`, `m`, `v`.
type State = [Vec<f32>; 3];

fn even(count: usize, seed: u64) -> Vec<f32> {
    uniform(count, -1.0, 1.0, seed)
}

/// The state before a step, and the gradient. One row of the decoder has no direction.
fn before([rows, n]: [usize; 2], seed: u64) -> (State, Vec<f32>) {
    let count = rows * n;
    let mut all: State = [even(count, seed), even(count, seed + 1), even(count, seed + 2)];
    all[2].iter_mut().for_each(|v| *v = v.abs());
    if rows > 2 {
        all[0][n..2 * n].fill(0.0);
    }
    (all, even(count, seed + 3))
}

fn core(sizes: [usize; 2], decoder: bool, adamw: &AdamW, (state, g): &(State, Vec<f32>), device: &Device) -> State {
    let mut state = state.each_ref().map(|x| Fenced::holding(x, sizes, device));
    let g = Tensor::from_vec(g.clone(), sizes, device).unwrap();
    let [w, m, v] = state.each_mut().map(Fenced::view_mut);
    let done = if decoder { decoder_step_into(w, g.view(), m, v, adamw) } else { adamw_into(w, g.view(), m, v, adamw) };
    done.unwrap();
    state.map(|x| x.take())
}

/// The same with the rates in memory, in a row among others that must not be taken.
fn scheduled(
    sizes: [usize; 2],
    decoder: bool,
    adamw: &AdamW,
    (state, g): &(State, Vec<f32>),
    device: &Device,
) -> State {
    let mut state = state.each_ref().map(|x| Fenced::holding(x, sizes, device));
    let g = Tensor::from_vec(g.clone(), sizes, device).unwrap();
    let rows = [[f32::NAN; 8], adamw.row().unwrap(), [f32::NAN; 8]].concat();
    let schedule = Tensor::from_vec(rows, [3, 8], device).unwrap();
    let mut at = Tensor::<u32, 1>::zeros([1], device).unwrap();
    advance_into(at.view_mut()).unwrap();
    assert_eq!(at.to_vec().unwrap(), [1]);
    let [w, m, v] = state.each_mut().map(Fenced::view_mut);
    let (schedule, at) = (schedule.view(), at.view());
    let done = if decoder {
        decoder_step_scheduled_into(w, g.view(), m, v, schedule, at)
    } else {
        adamw_scheduled_into(w, g.view(), m, v, schedule, at)
    };
    done.unwrap();
    state.map(|x| x.take())
}

fn near(got: &State, want: &State, what: &str) {
    for (name, (got, want)) in ["w", "m", "v"].into_iter().zip(got.iter().zip(want)) {
        close(&format!("{what} {name}"), got, want, 1e-11);
    }
}

#[test]
fn table() {
    let mut cases = Cases::of("optim");
    for (seed, &sizes) in CASES.iter().enumerate() {
        let layout = Layout::packed(sizes).unwrap();
        for (adamw, decoder) in STEPS.iter().flat_map(|step| [(step, false), (step, true)]) {
            let start = before(sizes, seed as u64);
            let of = if decoder { family::plan_decoder } else { family::plan };
            let p = of(&layout, &layout, &layout, &layout, adamw).unwrap();
            let [reference, fast] = match decoder {
                true => [family::decoder_step, latens_cpu::optim::decoder_step],
                false => [family::adamw, latens_cpu::optim::adamw],
            };
            let [want, cpu] = [reference, fast].map(|step| {
                let mut state = start.0.each_ref().map(|x| Fenced::holding(x, sizes, &Device::Host));
                let [w, m, v] = state.each_mut().map(Fenced::slice);
                step(&p, w, &start.1, m, v);
                state.map(|x| x.take())
            });
            near(&cpu, &want, &format!("cpu {sizes:?} {decoder}"));
            cases.ran("reference");
            cases.ran("cpu");
            for device in devices() {
                let got = core(sizes, decoder, adamw, &start, &device);
                near(&got, &want, &format!("{} {sizes:?} {decoder}", place(&device)));
                assert_eq!(got, core(sizes, decoder, adamw, &start, &device), "two runs differ");
                let rates = scheduled(sizes, decoder, adamw, &start, &device);
                assert_eq!(got, rates, "{} {sizes:?} {decoder}: the schedule differs", place(&device));
                cases.ran(place(&device));
            }
        }
    }
}

/// Rows end with length one, and a row of zeros as it began.
#[test]
fn decoder_rows() {
    for device in devices() {
        let (n, start) = (65, before([4, 65], 5));
        let [w, m, v] = core([4, n], true, &STEPS[0], &start, &device);
        for row in [0, 2, 3] {
            let square: f64 = w[row * n..][..n].iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            assert!((square - 1.0).abs() < 1e-6, "row {row} has length² {square}");
        }
        for (is, was) in [&w, &m, &v].into_iter().zip(&start.0) {
            assert_eq!(is[n..2 * n], was[n..2 * n]);
        }
    }
}

/// A gradient that is not a number spoils its own entry, or its own row, and no more.
#[test]
fn bad_gradients_stay_where_they_are() {
    for (device, decoder) in devices().into_iter().flat_map(|d| [(d.clone(), false), (d, true)]) {
        let (state, mut g) = before([2, 9], 3);
        g[11] = f32::NAN;
        let all = core([2, 9], decoder, &STEPS[0], &(state, g), &device);
        for (at, w) in all[0].iter().enumerate() {
            assert_eq!(w.is_nan(), if decoder { at >= 9 } else { at == 11 }, "{at}");
        }
    }
}

/// A step against the gradient of a parabola, many times, arrives at its foot.
#[test]
fn steps_arrive() {
    for device in devices() {
        let mut state =
            [vec![3.0, -2.0], vec![0.0; 2], vec![0.0; 2]].map(|x| Tensor::from_vec(x, [2], &device).unwrap());
        for step in 1..=400 {
            let adamw = AdamW { lr: 0.05, step, ..AdamW::default() };
            let w = state[0].to_vec().unwrap();
            let g = Tensor::from_vec(vec![w[0] - 1.0, w[1] - 0.5], [2], &device).unwrap();
            let [w, m, v] = state.each_mut().map(Tensor::view_mut);
            adamw_into(w, g.view(), m, v, &adamw).unwrap();
        }
        let w = state[0].to_vec().unwrap();
        assert!((w[0] - 1.0).abs() < 1e-2 && (w[1] - 0.5).abs() < 1e-2, "{w:?}");
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let mut all = [(); 3].map(|()| Tensor::<f32, 2>::zeros([2, 3], &device).unwrap());
        let mut call = |g: &Tensor<f32, 2>, adamw: AdamW| {
            let [w, m, v] = all.each_mut().map(Tensor::view_mut);
            adamw_into(w, g.view(), m, v, &adamw).err()
        };
        let of = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let rates = AdamW::default();
        assert_eq!(call(&of([2, 3]), rates), None);
        assert_eq!(call(&of([2, 4]), rates), Some(Error::Size { op: "adamw", arg: "g", want: 3, got: 4 }));
        let value = |arg, want| Some(Error::Value { op: "adamw", arg, want });
        assert_eq!(call(&of([2, 3]), AdamW { step: 0, ..rates }), value("step", "at least 1"));
        let rate = "a finite number of at least 0";
        assert_eq!(call(&of([2, 3]), AdamW { lr: -1.0, ..rates }), value("lr", rate));
        assert_eq!(call(&of([2, 3]), AdamW { eps: f64::NAN, ..rates }), value("eps", rate));
        assert_eq!(call(&of([2, 3]), AdamW { weight_decay: f64::INFINITY, ..rates }), value("weight_decay", rate));
        assert_eq!(call(&of([2, 3]), AdamW { beta2: 1.0, ..rates }), value("beta2", "at least 0 and less than 1"));
        let wide = of([2, 4]);
        let gaps = wide.view().narrow(1, 0, 3).unwrap();
        let [w, m, v] = all.each_mut().map(Tensor::view_mut);
        let error = decoder_step_into(w, gaps, m, v, &rates).err();
        assert_eq!(error, Some(Error::Stride { op: "decoder_step", arg: "g", want: 3, got: 4 }));
    }
}

/// A counter past the end of its schedule stays with the last row, and the largest counter stays as it is.
#[test]
fn schedules_end_with_their_last_row() {
    for device in devices() {
        let rows = [AdamW { lr: 0.5, ..AdamW::default() }, AdamW { lr: 0.25, ..AdamW::default() }];
        let rows = rows.map(|adamw| adamw.row().unwrap()).concat();
        let schedule = Tensor::from_vec(rows, [2, 8], &device).unwrap();
        for (at, moved) in [(0, 0.5), (1, 0.25), (2, 0.25), (u32::MAX, 0.25)] {
            let mut at = Tensor::from_vec(vec![at], [1], &device).unwrap();
            let mut all = [(); 3].map(|()| Tensor::<f32, 1>::zeros([1], &device).unwrap());
            let g = Tensor::from_vec(vec![-1.0], [1], &device).unwrap();
            let [w, m, v] = all.each_mut().map(Tensor::view_mut);
            adamw_scheduled_into(w, g.view(), m, v, schedule.view(), at.view()).unwrap();
            let w = all[0].to_vec().unwrap()[0];
            assert!((w - moved).abs() < 1e-6, "{w} {moved}");
            let before = at.to_vec().unwrap()[0];
            advance_into(at.view_mut()).unwrap();
            assert_eq!(at.to_vec().unwrap()[0], before.saturating_add(1));
        }
    }
}

#[test]
fn wrong_schedules_are_errors() {
    for device in devices() {
        let mut all = [(); 3].map(|()| Tensor::<f32, 2>::zeros([2, 3], &device).unwrap());
        let g = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let mut call = |schedule: [usize; 2], at: usize| {
            let schedule = Tensor::<f32, 2>::zeros(schedule, &device).unwrap();
            let at = Tensor::<u32, 1>::zeros([at], &device).unwrap();
            let [w, m, v] = all.each_mut().map(Tensor::view_mut);
            decoder_step_scheduled_into(w, g.view(), m, v, schedule.view(), at.view()).err()
        };
        let size = |arg, want, got| Some(Error::Size { op: "decoder_step", arg, want, got });
        assert_eq!(call([1, 8], 1), None);
        assert_eq!(call([0, 8], 1), size("schedule", 1, 0));
        assert_eq!(call([1, 7], 1), size("schedule", 8, 7));
        assert_eq!(call([1, 8], 2), size("at", 1, 2));
        let mut two = Tensor::<u32, 1>::zeros([2], &device).unwrap();
        assert_eq!(advance_into(two.view_mut()), Err(Error::Size { op: "advance", arg: "at", want: 1, got: 2 }));
        assert!(AdamW { step: 0, ..AdamW::default() }.row().is_err());
    }
}
