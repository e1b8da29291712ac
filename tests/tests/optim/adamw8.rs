//! Steps of AdamW with averages of 8 bits: every implementation through one table, to the bit, and beside those of 32 bits.
use latens_core::{AdamW, Device, Error, Layout, Tensor, adamw_into, adamw8_into};
use latens_cpu::Level;
use latens_kernels::optim::adamw8 as family;
use latens_kernels::quant::code::{DYNAMIC, UNSIGNED};
use latens_tests::{Cases, Fenced, devices, normal, numbers, place, same, small};

/// Entries, and entries of a block.
const SIZES: &[[usize; 2]] =
    &[[0, 64], [1, 64], [63, 64], [65, 64], [256, 256], [1000, 96], [4099, 4096], [700, 256], [40_011, 512]];

const STEPS: &[AdamW] = &[
    AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 1 },
    AdamW { lr: 3e-4, beta1: 0.0, beta2: 0.95, eps: 1e-6, weight_decay: 0.0, step: 7 },
];

/// What a step updates.
#[derive(Clone)]
struct State {
    w: Vec<f32>,
    m: Vec<u8>,
    v: Vec<u8>,
    scales: Vec<f32>,
}

impl State {
    fn new(n: usize, block: usize, seed: u64) -> Self {
        Self { w: normal(n, 1.0, seed), m: vec![0; n], v: vec![0; n], scales: vec![0.0; 2 * n.div_ceil(block)] }
    }

    /// The numbers that `m` and `v` stand for.
    fn averages(&self, block: usize) -> [Vec<f32>; 2] {
        let of = |table: &[f32; 256], codes: &[u8], which: usize| {
            let number = |(i, &code): (usize, &u8)| table[usize::from(code)] * self.scales[i / block * 2 + which];
            codes.iter().enumerate().map(number).collect()
        };
        [of(&DYNAMIC, &self.m, 0), of(&UNSIGNED, &self.v, 1)]
    }

    /// A step on the host, by any implementation.
    fn host(&self, mut step: impl FnMut(&mut [f32], &mut [u8], &mut [u8], &mut [f32])) -> Self {
        let (n, at) = (self.w.len(), &Device::Host);
        let (mut w, mut scales) =
            (Fenced::holding(&self.w, [n], at), Fenced::holding(&self.scales, [self.scales.len()], at));
        let [mut m, mut v] = [&self.m, &self.v].map(|codes| Fenced::holding(codes, [n], at));
        step(w.slice(), m.slice(), v.slice(), scales.slice());
        Self { w: w.take(), m: m.take(), v: v.take(), scales: scales.take() }
    }

    /// The operation on a device.
    fn core(&self, g: &[f32], block: usize, adamw: &AdamW, at: &Device) -> Self {
        let (n, blocks) = (self.w.len(), self.scales.len() / 2);
        let (mut w, mut scales) = (Fenced::holding(&self.w, [n], at), Fenced::holding(&self.scales, [blocks, 2], at));
        let [mut m, mut v] = [&self.m, &self.v].map(|codes| Fenced::holding(codes, [n], at));
        let g = Tensor::from_vec(g.to_vec(), [n], at).unwrap();
        adamw8_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), scales.view_mut(), block, adamw).unwrap();
        Self { w: w.take(), m: m.take(), v: v.take(), scales: scales.take() }
    }

    #[track_caller]
    fn equals(&self, want: &Self, what: &str) {
        assert!(same(&self.scales, &want.scales), "{what}: scales {:?} {:?}", self.scales, want.scales);
        assert!(same(&self.w, &want.w), "{what}: w");
        assert!(self.m == want.m && self.v == want.v, "{what}: codes");
    }
}

fn plan(n: usize, block: usize, adamw: &AdamW) -> family::Plan {
    let (all, scales) = (Layout::packed([n]).unwrap(), Layout::packed([n.div_ceil(block), 2]).unwrap());
    family::plan(&all, &all, &all, &all, &scales, block, adamw).unwrap()
}

/// Three steps in a row, so that codes of all kinds are read, by gradients of several kinds.
#[test]
fn table() {
    let mut cases = Cases::of("optim adamw8");
    for (seed, &[n, block]) in (1..).zip(SIZES.iter().filter(|sizes| !small() || sizes[0] < 5000)) {
        for (adamw, kind) in STEPS.iter().flat_map(|step| [0, 1, 2].map(|kind| (step, kind))) {
            let mut state = State::new(n, block, seed);
            for step in 0..3 {
                let adamw = AdamW { step: adamw.step + step, ..*adamw };
                let p = plan(n, block, &adamw);
                let g: Vec<f32> = match kind {
                    // Sizes over many decades; then what is no number; then blocks of nothing and tiny ones.
                    0 => normal::<f32>(n, 3.0, seed + 30 + step).into_iter().map(|x| x * x * x * x.abs()).collect(),
                    1 => numbers(n, seed + 40 + step),
                    _ => (0..n).map(|i| [0.0, 1e-18, -1e-14, 1e-30][i / block % 4]).collect(),
                };
                let what = format!("{n} {block} {kind} {step}");
                let want = state.host(|w, m, v, scales| family::adamw8(&p, w, &g, m, v, scales));
                cases.ran("reference");
                for level in Level::all() {
                    let got =
                        state.host(|w, m, v, scales| latens_cpu::optim::adamw8_at(level, &p, w, &g, m, v, scales));
                    got.equals(&want, &format!("{level:?} {what}"));
                    cases.ran("cpu");
                }
                for device in devices() {
                    state.core(&g, block, &adamw, &device).equals(&want, &format!("{} {what}", place(&device)));
                    cases.ran(place(&device));
                }
                state = want;
            }
        }
    }
}

/// The most that an average loses when it is encoded, beside the scale: half of what lies between two codes at the top.
const LOST: [f64; 2] = [0.45 / 64.0, 0.45 / 128.0];

/// The first step, from averages of nothing, is that of `adamw`; a later one differs by what the codes have lost so far, which
/// decays as the averages do, and no more.
#[test]
fn steps_are_those_of_adamw() {
    let (n, block) = (1024, 256);
    for device in devices() {
        let start = State::new(n, block, 5);
        let (mut state, mut plain) = (start.clone(), [start.w.clone(), vec![0.0; n], vec![0.0; n]]);
        let mut lost = vec![[0.0; 2]; n / block];
        for step in 1..=30 {
            let adamw = AdamW { lr: 1e-2, weight_decay: 0.1, step, ..AdamW::default() };
            // Squares are of one decade; signs change.
            let g: Vec<f32> = normal::<f32>(n, 0.1, 50 + step).into_iter().map(|x| x.signum() + x).collect();
            for (lost, scales) in lost.iter_mut().zip(state.scales.chunks(2)) {
                for (which, beta) in [adamw.beta1, adamw.beta2].into_iter().enumerate() {
                    lost[which] = beta * (lost[which] + 1.001 * LOST[which] * f64::from(scales[which].abs()));
                }
            }
            let before = state.w.clone();
            state = state.core(&g, block, &adamw, &device);
            let mut all = plain.each_ref().map(|x| Tensor::from_vec(x.clone(), [n], &device).unwrap());
            let gradient = Tensor::from_vec(g, [n], &device).unwrap();
            let [w, m, v] = all.each_mut().map(Tensor::view_mut);
            adamw_into(w, gradient.view(), m, v, &adamw).unwrap();
            let after = all.map(|x| x.to_vec().unwrap());
            let c = adamw.constants();
            for i in 0..n {
                let (m, v, [of_m, of_v]) = (f64::from(after[1][i]), f64::from(after[2][i]), lost[i / block]);
                let length = |m: f64, v: f64| c.rate * m / (c.root * v.max(0.0).sqrt() + c.eps);
                let corners = [m - of_m, m + of_m].into_iter().flat_map(|m| [(m, v - of_v), (m, v + of_v)]);
                let off = corners.map(|(near, square)| (length(near, square) - length(m, v)).abs()).fold(0.0, f64::max);
                // Steps less what the weights themselves lose, which differ by now.
                let [ours, theirs] = [(&state.w, &before), (&after[0], &plain[0])]
                    .map(|(now, was)| f64::from(now[i]) - c.keep * f64::from(was[i]));
                assert!((ours - theirs).abs() <= off + 2e-6, "{step} {i}: {ours} {theirs}, {off} between");
            }
            plain = after;
        }
        let apart = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        let (off, all) = (apart(&state.w, &plain[0]), apart(&plain[0], &start.w));
        assert!(off < 1e-2 * all, "{}: paths part, {off} of {all}", place(&device));
    }
}

/// Codes are the nearest, the largest entry keeps its bits, and no square above 0 is lost.
#[test]
fn codes_are_near() {
    let (n, block) = (512, 128);
    let g: Vec<f32> = normal::<f32>(n, 1.0, 3).into_iter().map(|x| x * x * x).collect();
    for device in devices() {
        let (adamw, off) = (AdamW::default(), |x: f32, y: f32| (x - y).abs());
        let after = State::new(n, block, 1).core(&g, block, &adamw, &device);
        let ([_, rest1, _, rest2, ..], [means, squares]) = (adamw.row().unwrap(), after.averages(block));
        for (i, g) in g.iter().enumerate() {
            let [s, t] = [after.scales[i / block * 2], after.scales[i / block * 2 + 1]];
            let (mean, square) = (rest1 * g, rest2 * g * g);
            if mean == s {
                assert_eq!((means[i], squares[i]), (mean, square));
            }
            let best = |table: &[f32; 256], x: f32| table.iter().fold(f32::INFINITY, |best, &y| best.min(off(x, y)));
            assert!(off(means[i] / s, mean / s) <= best(&DYNAMIC, mean / s) + 1e-6, "m {i}");
            let lifted = after.v[i] == 1 && square > 0.0;
            assert!(lifted || off(squares[i] / t, square / t) <= best(&UNSIGNED, square / t) + 1e-6, "v {i}");
            assert!(square == 0.0 || squares[i] > 0.0, "a square of {square} is lost");
        }
    }
}

/// Without a gradient averages only decay: their codes stay, and so do the weights once the averages are zero.
#[test]
fn nothing_drifts_without_a_gradient() {
    let (n, block) = (300, 64);
    for device in devices() {
        // Whatever the sign of the largest.
        for sign in [1.0, -1.0] {
            let mut g = normal::<f32>(n, 1.0, 8);
            g[70] = 9.0 * sign;
            let mut state = State::new(n, block, 1).core(&g, block, &AdamW::default(), &device);
            let first = state.clone();
            for step in 2..60 {
                state = state.core(&vec![0.0; n], block, &AdamW { step, ..AdamW::default() }, &device);
                assert!(state.m == first.m && state.v == first.v, "{} step {step}", place(&device));
            }
            for (now, was) in state.scales.chunks(2).zip(first.scales.chunks(2)) {
                let [m, v] =
                    [(now[0] / was[0], 0.9_f32), (now[1] / was[1], 0.999)].map(|(is, beta)| is / beta.powi(58));
                assert!((m - 1.0).abs() < 1e-4 && (v - 1.0).abs() < 1e-4, "{m} {v}");
            }
        }
        let zero = State::new(n, block, 1);
        zero.core(&vec![0.0; n], block, &AdamW::default(), &device).equals(&zero, "zeros");
    }
}

/// What is no number spoils its entry, then its block, and nothing else.
#[test]
fn bad_gradients_stay_in_their_block() {
    let (n, block) = (300, 64);
    for device in devices() {
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            let (mut g, start) = (normal::<f32>(n, 1.0, 8), State::new(n, block, 1));
            let clean = start.core(&g, block, &AdamW::default(), &device);
            g[130] = bad;
            let one = start.core(&g, block, &AdamW::default(), &device);
            for i in (0..n).filter(|&i| i != 130) {
                assert_eq!(one.w[i], clean.w[i], "{bad} {i}");
            }
            assert!(!bad.is_nan() || one.w[130].is_nan());
            let mut two = one;
            for step in 2..4 {
                two = two.core(&vec![1.0; n], block, &AdamW { step, ..AdamW::default() }, &device);
            }
            for (i, w) in two.w.iter().enumerate() {
                assert_eq!(w.is_nan(), i / block == 2, "{} {bad} {i}", place(&device));
            }
        }
    }
}

/// A step against the gradient of a parabola, many times, arrives at its foot.
#[test]
fn steps_arrive() {
    for device in devices() {
        let foot: Vec<f32> = normal(128, 1.0, 9);
        let mut state = State::new(128, 64, 2);
        for step in 1..=400 {
            let g: Vec<f32> = state.w.iter().zip(&foot).map(|(w, foot)| w - foot).collect();
            state = state.core(&g, 64, &AdamW { lr: 0.05, step, ..AdamW::default() }, &device);
        }
        let far = state.w.iter().zip(&foot).fold(0.0_f32, |far, (w, foot)| far.max((w - foot).abs()));
        assert!(far < 0.05, "{} {far}", place(&device));
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let floats = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let codes = |dims| Tensor::<u8, 2>::zeros(dims, &device).unwrap();
        let call = |m, scales, block, adamw: &AdamW| {
            let (mut w, g, v) = (floats([2, 100]), floats([2, 100]), &mut codes([2, 100]));
            let (m, scales) = (&mut codes(m), &mut floats(scales));
            adamw8_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), scales.view_mut(), block, adamw).err()
        };
        let adamw = AdamW::default();
        assert_eq!(call([2, 100], [4, 2], 64, &adamw), None);
        let size = |arg, want, got| Some(Error::Size { op: "adamw8", arg, want, got });
        assert_eq!(call([2, 99], [4, 2], 64, &adamw), size("m", 100, 99));
        assert_eq!(call([2, 100], [3, 2], 64, &adamw), size("scales", 4, 3));
        assert_eq!(call([2, 100], [4, 1], 64, &adamw), size("scales", 2, 1));
        let value = |arg, want| Some(Error::Value { op: "adamw8", arg, want });
        for block in [0, 32, 65, 4128] {
            assert_eq!(call([2, 100], [4, 2], block, &adamw), value("block", "a multiple of 32 from 64 to 4096"));
        }
        let wrong = AdamW { step: 0, ..adamw };
        assert_eq!(call([2, 100], [4, 2], 64, &wrong), value("step", "at least 1"));
    }
}
