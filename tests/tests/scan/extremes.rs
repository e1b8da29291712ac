//! Numbers at the ends of what a scan is for, forward against a loop in f64 and backward against the reference in f64.
use crate::cases::packed;
use crate::properties::numbers;
use latens_core::{Device, Float, Scan, ScanGradients, Tensor, scan, scan_backward};
use latens_tests::{close, devices, normal};

/// Steps tiny, around the bend of softplus, and huge; decays of none and of all; gates that are open or shut.
#[test]
fn extremes() {
    let [len, width, states] = [6, 8, 3];
    let deltas = [1e-8_f32, 1e-3, 19.999, 20.001, 1e3, 0.5, -20.0, -1e3];
    let decays = [0.0_f32, -1e-6, -1e4];
    for device in devices() {
        let delta: Vec<f32> = (0..len).flat_map(|_| deltas).collect();
        let a = decays.repeat(width);
        let (u, b, c) = (normal(len * width, 1.0, 1), normal(len * states, 1.0, 2), normal(len * states, 1.0, 3));
        let gate: Vec<f32> = (0..len * width).map(|i| [100.0, -100.0, 1.0][i % 3]).collect();
        let three = |x: &[f32], n| packed(x, [1, len, n], &device);
        let (tu, td, tb, tc, tg) =
            (three(&u, width), three(&delta, width), three(&b, states), three(&c, states), three(&gate, width));
        let ta = packed(&a, [width, states], &device);
        for softplus in [false, true] {
            // Without softplus a step back grows: only forward ones then.
            let count = if softplus { width } else { 6 };
            let call = Scan::new(tu.view(), td.view(), ta.view(), tb.view(), tc.view());
            let y = numbers(&scan(&Scan { softplus, gate: Some(tg.view()), ..call }).unwrap().0);
            for (channel, &delta) in deltas.iter().enumerate().take(count) {
                let raw = f64::from(delta);
                let step = if softplus && raw <= 20.0 { raw.exp().ln_1p() } else { raw };
                let mut h = [0.0_f64; 3];
                let (mut got, mut want) = (Vec::new(), Vec::new());
                for t in 0..len {
                    let i = t * width + channel;
                    let mut out = 0.0;
                    for n in 0..states {
                        let entry = step * f64::from(b[t * states + n]) * f64::from(u[i]);
                        h[n] = (step * f64::from(decays[n])).exp() * h[n] + entry;
                        out += f64::from(c[t * states + n]) * h[n];
                    }
                    let z = f64::from(gate[i]);
                    want.push((out * z / (1.0 + (-z).exp())) as f32);
                    got.push(y[i]);
                }
                close(&format!("delta {raw} softplus {softplus}"), &got, &want, 1e-10);
            }
        }
    }
}

const LEN: usize = 40;
const STATES: usize = 3;
/// Steps of a channel in turn; decays of none, hardly any and all, beside ordinary ones.
const STEPS: [f32; 8] = [1e-8, 1e-3, 19.999, 20.001, 1e3, 0.5, -20.0, -1e3];
const DECAYS: [f32; STATES] = [0.0, -1e-6, -1e4];

/// What a call at the extremes reads.
struct Inputs {
    u: Vec<f32>,
    delta: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    gate: Vec<f32>,
    dy: Vec<f32>,
}

impl Inputs {
    /// Channels of one step each or, `mixed`, of all in turn: large ones beside small.
    fn new(channels: usize, mixed: bool, softplus: bool) -> Self {
        // Without softplus a step back grows: only forward ones then.
        let count = if softplus { 8 } else { 6 };
        let step = |i: usize| STEPS[(i % channels + if mixed { i / channels * 3 } else { 0 }) % count];
        Inputs {
            u: normal(LEN * channels, 1.0, 1),
            delta: (0..LEN * channels).map(step).collect(),
            a: (0..channels * STATES).map(|i| if i % 7 == 6 { -0.7 } else { DECAYS[i % STATES] }).collect(),
            b: normal(LEN * STATES, 1.0, 2),
            c: normal(LEN * STATES, 1.0, 3),
            gate: (0..LEN * channels).map(|i| [100.0, -100.0, 1.0][(i % channels + i / channels) % 3]).collect(),
            dy: normal(LEN * channels, 1.0, 4),
        }
    }

    /// Its gradients, computed in `T`.
    fn gradients<T: Float<Acc = T>>(&self, softplus: bool, device: &Device) -> ScanGradients<T> {
        let channels = self.u.len() / LEN;
        let three = |x: &[f32], n: usize| packed(&of::<T>(x), [1, LEN, n], device);
        let (u, delta, gate) = (three(&self.u, channels), three(&self.delta, channels), three(&self.gate, channels));
        let (b, c, dy) = (three(&self.b, STATES), three(&self.c, STATES), three(&self.dy, channels));
        let a = packed(&of::<T>(&self.a), [channels, STATES], device);
        let call = Scan::new(u.view(), delta.view(), a.view(), b.view(), c.view());
        scan_backward(&Scan { softplus, gate: Some(gate.view()), ..call }, dy.view(), None).unwrap()
    }
}

fn of<T: Float>(x: &[f32]) -> Vec<T> {
    x.iter().map(|&x| T::narrow(x.into())).collect()
}

/// The gradients of a channel, apart, so that a large one does not hide a small.
fn column<T: Float, const R: usize>(x: &Tensor<T, R>, channels: usize, channel: usize) -> Vec<T> {
    x.to_vec().unwrap().chunks(channels).map(|row| row[channel]).collect()
}

#[test]
fn gradients() {
    for (mixed, softplus) in [(false, false), (false, true), (true, false), (true, true)] {
        let channels = if softplus { 8 } else { 6 };
        let x = Inputs::new(channels, mixed, softplus);
        let want = x.gradients::<f64>(softplus, &Device::Host);
        for device in devices() {
            let got = x.gradients::<f32>(softplus, &device);
            let near = |name: &str, got: Vec<f32>, want: Vec<f64>| {
                close(&format!("{name} mixed {mixed} softplus {softplus}"), &got, &want, 1e-9);
            };
            for (channel, step) in STEPS.iter().enumerate().take(channels) {
                let name = |name: &str| format!("{name} of channel {channel}, first step {step}");
                let at = |x: &Tensor<f32, 3>| column(x, channels, channel);
                let wide = |x: &Tensor<f64, 3>| column(x, channels, channel);
                near(&name("du"), at(&got.u), wide(&want.u));
                near(&name("ddelta"), at(&got.delta), wide(&want.delta));
                near(&name("dgate"), at(got.gate.as_ref().unwrap()), wide(want.gate.as_ref().unwrap()));
                let da = got.a.to_vec().unwrap()[channel * STATES..][..STATES].to_vec();
                near(&name("da"), da, want.a.to_vec().unwrap()[channel * STATES..][..STATES].to_vec());
            }
            near("db", got.b.to_vec().unwrap(), want.b.to_vec().unwrap());
            near("dc", got.c.to_vec().unwrap(), want.c.to_vec().unwrap());
            near("dinitial", got.initial.to_vec().unwrap(), want.initial.to_vec().unwrap());
        }
    }
}
