//! What must hold of a selective scan whatever computes it: cuts, orders, extremes, bad input.
use crate::cases::{orders, packed};
use latens_core::{Device, Float, Scan, Taps, Tensor, scan};
use latens_cpu::scan::{Function, Level, function_at};
use latens_tests::{close, devices, normal, uniform};

/// A small scan whose tensors the properties below cut, permute and break.
pub struct Small {
    pub u: Tensor<f32, 3>,
    pub delta: Tensor<f32, 3>,
    pub a: Tensor<f32, 2>,
    pub b: Tensor<f32, 3>,
    pub c: Tensor<f32, 3>,
}

impl Small {
    pub fn new([len, width, states]: [usize; 3], device: &Device) -> Self {
        Self {
            u: packed(&normal(len * width, 1.0, 1), [1, len, width], device),
            delta: packed(&uniform(len * width, 0.01, 0.6, 2), [1, len, width], device),
            a: packed(&uniform(width * states, -3.0, 0.0, 3), [width, states], device),
            b: packed(&normal(len * states, 1.0, 4), [1, len, states], device),
            c: packed(&normal(len * states, 1.0, 5), [1, len, states], device),
        }
    }
    pub fn call(&self) -> Scan<'_, f32> {
        Scan::new(self.u.view(), self.delta.view(), self.a.view(), self.b.view(), self.c.view())
    }
}

/// Some of its rows.
fn rows<'a, T: Float>(call: &Scan<'a, T>, from: usize, to: usize) -> Scan<'a, T> {
    let [u, delta, b, c] = [call.u, call.delta, call.b, call.c].map(|x| x.narrow(1, from, to).unwrap());
    Scan { u, delta, b, c, ..*call }
}

pub fn numbers<const R: usize>(x: &Tensor<f32, R>) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// A sequence may be cut anywhere: its state is all that the rest needs; steps are its rows, and packing keeps apart.
#[test]
fn steps_parts_and_packs_are_the_whole() {
    let sizes @ [len, width, states] = [37, 5, 16];
    for device in devices() {
        let small = Small::new(sizes, &device);
        let call = small.call();
        let (whole, end) = scan(&call).unwrap();
        let (whole, end) = (numbers(&whole), numbers(&end));
        for cut in [1, 15, 16, 17, 36] {
            let (first, state) = scan(&rows(&call, 0, cut)).unwrap();
            let (second, last) = scan(&Scan { initial: Some(state.view()), ..rows(&call, cut, len) }).unwrap();
            close("parts", &[numbers(&first), numbers(&second)].concat(), &whole, 1e-13);
            close("last", &numbers(&last), &end, 1e-13);
            let bounds = packed(&[0, cut as u32, len as u32], [3], &device);
            let (both, states) = scan(&Scan { bounds: Some(bounds.view()), ..call }).unwrap();
            let (alone, state_alone) = scan(&rows(&call, cut, len)).unwrap();
            close("packed", &numbers(&both), &[numbers(&first), numbers(&alone)].concat(), 1e-13);
            close("states", &numbers(&states), &[numbers(&state), numbers(&state_alone)].concat(), 1e-13);
        }
        let mut state = Tensor::zeros([1, width, states], &device).unwrap();
        for t in 0..len {
            let row = rows(&call, t, t + 1);
            let mut y = Tensor::zeros([1, 1, width], &device).unwrap();
            latens_core::scan_step_into(&row, state.view_mut(), y.view_mut()).unwrap();
            close("step", &numbers(&y), &whole[t * width..][..width], 1e-12);
        }
        close("state", &numbers(&state), &end, 1e-12);
    }
}

/// An order is the scan of gathered rows, put back; several orders add up, and a convolution inside is one before.
#[test]
fn orders_and_taps_are_what_they_replace() {
    let sizes @ [len, width, states] = [23, 6, 8];
    for device in devices() {
        let small = Small::new(sizes, &device);
        let (call, table) = (small.call(), orders(2, len));
        let gather = |x: &Tensor<f32, 3>, order: &[u32]| {
            let (from, n) = (numbers(x), x.dims()[2]);
            let rows: Vec<f32> = order.iter().flat_map(|&r| from[r as usize * n..][..n].to_vec()).collect();
            packed(&rows, [1, len, n], &device)
        };
        let mut want = vec![0.0_f32; len * width];
        for order in table.chunks(len) {
            let [u, delta, b, c] = [&small.u, &small.delta, &small.b, &small.c].map(|x| gather(x, order));
            let y = numbers(&scan(&Scan::new(u.view(), delta.view(), small.a.view(), b.view(), c.view())).unwrap().0);
            for (&row, y) in order.iter().zip(y.chunks(width)) {
                want[row as usize * width..][..width].iter_mut().zip(y).for_each(|(want, y)| *want += y);
            }
        }
        // Both orders have the same parameters here.
        let twice = |x: &Tensor<f32, 3>| {
            let n = x.dims()[2];
            let rows: Vec<f32> = numbers(x).chunks(n).flat_map(|row| [row, row].concat()).collect();
            packed(&rows, [1, len, 2 * n], &device)
        };
        let (delta, a) = (
            twice(&small.delta),
            packed(&[numbers(&small.a), numbers(&small.a)].concat(), [2 * width, states], &device),
        );
        let table = packed(&table, [2, len], &device);
        let both = Scan { delta: delta.view(), a: a.view(), orders: Some(table.view()), ..call };
        close("orders", &numbers(&scan(&both).unwrap().0), &want, 1e-12);

        let weight = packed(&normal::<f32>(2 * width * 4, 0.5, 9), [2 * width, 4], &device);
        let conv = latens_core::Conv1d {
            silu: true,
            orders: Some(table.view()),
            ..latens_core::Conv1d::new(call.u, weight.view())
        };
        let u = latens_core::conv1d(&conv).unwrap().0;
        let want = numbers(&scan(&Scan { u: u.view(), ..both }).unwrap().0);
        let taps = Taps { weight: weight.view(), bias: None, window: None };
        close("taps", &numbers(&scan(&Scan { taps: Some(taps), ..both }).unwrap().0), &want, 1e-11);
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// A batch entry is what it is alone, in every bit, and two runs are one.
#[test]
fn batch_entries_do_not_meet() {
    let [len, width, states] = [33, 20, 16];
    for device in devices() {
        let small = Small::new([len, width, states], &device);
        let alone = numbers(&scan(&small.call()).unwrap().0);
        let thrice = |x: &Tensor<f32, 3>| packed(&numbers(x).repeat(3), [3, len, x.dims()[2]], &device);
        let [u, delta, b, c] = [&small.u, &small.delta, &small.b, &small.c].map(thrice);
        let call = Scan::new(u.view(), delta.view(), small.a.view(), b.view(), c.view());
        let all = numbers(&scan(&call).unwrap().0);
        assert_eq!(bits(&all), bits(&alone.repeat(3)), "batch entries differ");
        assert_eq!(bits(&all), bits(&numbers(&scan(&call).unwrap().0)), "two runs differ");
    }
}

/// A NaN or an infinity of `u` or `delta` stays in its channel, and in rows from its own on.
#[test]
fn what_is_not_a_number_stays_in_its_channel() {
    let sizes @ [len, width, _] = [40, 19, 16];
    let (row, channel) = (17, 4);
    for device in devices() {
        let clean = Small::new(sizes, &device);
        let want = numbers(&scan(&clean.call()).unwrap().0);
        for (what, bad) in [
            ("u", f32::NAN),
            ("u", f32::INFINITY),
            ("u", f32::NEG_INFINITY),
            ("delta", f32::NAN),
            ("delta", f32::INFINITY),
        ] {
            let mut small = Small::new(sizes, &device);
            let of = if what == "u" { &mut small.u } else { &mut small.delta };
            let mut x = numbers(of);
            x[row * width + channel] = bad;
            *of = packed(&x, [1, len, width], &device);
            let got = numbers(&scan(&small.call()).unwrap().0);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let inside = i % width == channel && i / width >= row;
                let right = if inside { !got.is_finite() } else { got.to_bits() == want.to_bits() };
                assert!(right, "{bad} in {what}, {i}: {got}");
            }
        }
    }
}

/// The exponential that the host spends its time on.
#[test]
fn functions_are_accurate() {
    let x: Vec<f32> = (0..200_000).map(|i| -86.0 + i as f32 * 8.6e-4).collect();
    for level in Level::all() {
        let mut worst = [0.0_f64; 4];
        for (k, function) in
            [Function::Decay, Function::Exp, Function::Softplus, Function::Sigmoid].into_iter().enumerate()
        {
            let mut y = x.clone();
            function_at(level, function, &mut y);
            for (&x, y) in x.iter().zip(y) {
                let e = f64::from(x).exp();
                // The rounding of the exponent itself, as every float exponential of a product has it.
                let slack = if k == 0 { f64::from(x.abs()) * 1.2e-7 } else { 0.0 };
                let want = [e, e, if x > 20.0 { x.into() } else { e.ln_1p() }, 1.0 / (1.0 + (-f64::from(x)).exp())][k];
                worst[k] = worst[k].max((f64::from(y) / want - 1.0).abs() - slack);
            }
        }
        println!("{level:?}: relative errors {worst:?}");
        assert!(worst[0] < 2.5e-7 && worst[1..].iter().all(|&worst| worst < 6e-7), "{level:?}: {worst:?}");
    }
}
