//! What must hold of a state space dual whatever computes it: cuts, other families, extremes, bad input.
use latens_core::{
    Device, Element, Error, Float, Layout, Scan, Ssd, Tensor, scan, scan_backward, ssd, ssd_backward, ssd_step_into,
};
use latens_kernels::ssd as family;
use latens_tests::{close, devices, normal, uniform};

fn packed<T: Element, const R: usize>(x: &[T], dims: [usize; R], device: &Device) -> Tensor<T, R> {
    Tensor::from_slice(x, Layout::packed(dims).unwrap(), device).unwrap()
}

fn numbers<const R: usize>(x: &Tensor<f32, R>) -> Vec<f32> {
    x.to_vec().unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// A small call whose tensors the properties below cut and break.
struct Small {
    x: Tensor<f32, 3>,
    delta: Tensor<f32, 3>,
    a: Tensor<f32, 1>,
    b: Tensor<f32, 3>,
    c: Tensor<f32, 3>,
}

/// Rows, heads, entries of a head, states.
const SIZES: [usize; 4] = [150, 3, 5, 16];

impl Small {
    fn new([len, heads, head_dim, states]: [usize; 4], device: &Device) -> Self {
        Self {
            x: packed(&normal(len * heads * head_dim, 1.0, 1), [1, len, heads * head_dim], device),
            delta: packed(&uniform(len * heads, 0.01, 0.6, 2), [1, len, heads], device),
            a: packed(&uniform(heads, -3.0, 0.0, 3), [heads], device),
            b: packed(&normal(len * states, 1.0, 4), [1, len, states], device),
            c: packed(&normal(len * states, 1.0, 5), [1, len, states], device),
        }
    }
    fn call(&self) -> Ssd<'_, f32> {
        Ssd::new(self.x.view(), self.delta.view(), self.a.view(), self.b.view(), self.c.view())
    }
}

/// Some of its rows.
fn rows<'a, T: Float>(call: &Ssd<'a, T>, from: usize, to: usize) -> Ssd<'a, T> {
    let [x, delta, b, c] = [call.x, call.delta, call.b, call.c].map(|x| x.narrow(1, from, to).unwrap());
    Ssd { x, delta, b, c, ..*call }
}

/// A sequence may be cut anywhere: its state is all that the rest needs; steps are its rows.
#[test]
fn steps_and_parts_are_the_whole() {
    let [len, heads, head_dim, states] = SIZES;
    let width = heads * head_dim;
    for device in devices() {
        let small = Small::new(SIZES, &device);
        let call = small.call();
        let (whole, end) = ssd(&call).unwrap();
        let (whole, end) = (numbers(&whole), numbers(&end));
        for cut in [1, 15, 63, 64, 65, 149] {
            let (first, state) = ssd(&rows(&call, 0, cut)).unwrap();
            let (second, last) = ssd(&Ssd { initial: Some(state.view()), ..rows(&call, cut, len) }).unwrap();
            close("parts", &[numbers(&first), numbers(&second)].concat(), &whole, 1e-12);
            close("last", &numbers(&last), &end, 1e-12);
        }
        let mut state = Tensor::zeros([1, heads, head_dim, states], &device).unwrap();
        for t in 0..len {
            let mut y = Tensor::zeros([1, 1, width], &device).unwrap();
            ssd_step_into(&rows(&call, t, t + 1), state.view_mut(), y.view_mut()).unwrap();
            close("step", &numbers(&y), &whole[t * width..][..width], 1e-11);
        }
        close("state", &numbers(&state), &end, 1e-11);
    }
}

/// Packed sequences are what they are alone, in every bit, forward and backward.
#[test]
fn packed_sequences_do_not_meet() {
    let [len, ..] = SIZES;
    let width = SIZES[1] * SIZES[2];
    for device in devices() {
        let small = Small::new(SIZES, &device);
        let (call, dy) = (small.call(), packed(&normal::<f32>(len * width, 1.0, 6), [1, len, width], &device));
        for cut in [5, 64, 70] {
            let bounds = packed(&[0, cut as u32, len as u32], [3], &device);
            let both = Ssd { bounds: Some(bounds.view()), ..call };
            let (y, last) = ssd(&both).unwrap();
            let slopes = ssd_backward(&both, dy.view(), None).unwrap();
            let (mut alone, mut states, mut of_x, mut of_b) = (vec![], vec![], vec![], vec![]);
            for (from, to) in [(0, cut), (cut, len)] {
                let part = rows(&call, from, to);
                let (y, last) = ssd(&part).unwrap();
                let slopes = ssd_backward(&part, dy.view().narrow(1, from, to).unwrap(), None).unwrap();
                alone.extend(numbers(&y));
                states.extend(numbers(&last));
                of_x.extend(numbers(&slopes.x));
                of_b.extend(numbers(&slopes.b));
            }
            assert_eq!(bits(&numbers(&y)), bits(&alone), "{cut}");
            assert_eq!(bits(&numbers(&last)), bits(&states), "{cut}");
            assert_eq!(bits(&numbers(&slopes.x)), bits(&of_x), "{cut}");
            assert_eq!(bits(&numbers(&slopes.b)), bits(&of_b), "{cut}");
        }
    }
}

/// With one decay for all states of a channel a selective scan is the same: a head of as many channels.
#[test]
fn a_scan_of_equal_decays_is_the_same() {
    let [len, heads, head_dim, states] = SIZES;
    let width = heads * head_dim;
    for device in devices() {
        let small = Small::new(SIZES, &device);
        let spread = |of: &[f32], each: usize| of.iter().flat_map(|&x| vec![x; each]).collect::<Vec<_>>();
        let delta = packed(&spread(&numbers(&small.delta), head_dim), [1, len, width], &device);
        let a = packed(&spread(&numbers(&small.a), head_dim * states), [width, states], &device);
        let initial = normal::<f32>(width * states, 1.0, 7);
        let dy = packed(&normal::<f32>(len * width, 1.0, 8), [1, len, width], &device);
        let (narrow, wide) =
            (packed(&initial, [1, heads, head_dim, states], &device), packed(&initial, [1, width, states], &device));
        let call = Ssd { initial: Some(narrow.view()), ..small.call() };
        let other = Scan {
            initial: Some(wide.view()),
            ..Scan::new(small.x.view(), delta.view(), a.view(), small.b.view(), small.c.view())
        };
        let ((y, last), (want, want_last)) = (ssd(&call).unwrap(), scan(&other).unwrap());
        close("y", &numbers(&y), &numbers(&want), 1e-11);
        close("last", &numbers(&last), &numbers(&want_last), 1e-11);
        let got = ssd_backward(&call, dy.view(), None).unwrap();
        let want = scan_backward(&other, dy.view(), None).unwrap();
        close("dx", &numbers(&got.x), &numbers(&want.u), 1e-11);
        close("db", &numbers(&got.b), &numbers(&want.b), 1e-11);
        close("dc", &numbers(&got.c), &numbers(&want.c), 1e-11);
        close("dinitial", &numbers(&got.initial), &numbers(&want.initial), 1e-11);
        let sum = |of: Vec<f32>, each: usize| of.chunks(each).map(|x| x.iter().sum::<f32>()).collect::<Vec<_>>();
        close("ddelta", &numbers(&got.delta), &sum(numbers(&want.delta), head_dim), 1e-10);
        close("da", &numbers(&got.a), &sum(numbers(&want.a), head_dim * states), 1e-10);
    }
}

/// A batch entry is what it is alone, in every bit, and two runs are one.
#[test]
fn batch_entries_do_not_meet() {
    let [len, ..] = SIZES;
    for device in devices() {
        let small = Small::new(SIZES, &device);
        let alone = numbers(&ssd(&small.call()).unwrap().0);
        let thrice = |x: &Tensor<f32, 3>| packed(&numbers(x).repeat(3), [3, len, x.dims()[2]], &device);
        let [x, delta, b, c] = [&small.x, &small.delta, &small.b, &small.c].map(thrice);
        let call = Ssd::new(x.view(), delta.view(), small.a.view(), b.view(), c.view());
        let all = numbers(&ssd(&call).unwrap().0);
        assert_eq!(bits(&all), bits(&alone.repeat(3)), "batch entries differ");
        assert_eq!(bits(&all), bits(&numbers(&ssd(&call).unwrap().0)), "two runs differ");
    }
}

/// What is not a number in `x` stays in its entry of a head, in `delta` in its head, and in rows from its own on.
#[test]
fn what_is_not_a_number_stays_in_its_head() {
    let [len, heads, head_dim, _] = SIZES;
    let (row, head, entry, width) = (17, 1, 2, heads * head_dim);
    for device in devices() {
        let clean = Small::new(SIZES, &device);
        let want = numbers(&ssd(&clean.call()).unwrap().0);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut x, mut delta) = (numbers(&clean.x), numbers(&clean.delta));
            x[row * width + head * head_dim + entry] = bad;
            delta[row * heads + head] = f32::NAN;
            let small = |x: &[f32], delta: &[f32]| Small {
                x: packed(x, [1, len, width], &device),
                delta: packed(delta, [1, len, heads], &device),
                ..Small::new(SIZES, &device)
            };
            let by_x = numbers(&ssd(&small(&x, &numbers(&clean.delta)).call()).unwrap().0);
            let by_delta = numbers(&ssd(&small(&numbers(&clean.x), &delta).call()).unwrap().0);
            for (i, want) in want.iter().enumerate() {
                let (later, column) = (i / width >= row, i % width);
                for (what, inside, got) in [
                    ("x", later && column == head * head_dim + entry, by_x[i]),
                    ("delta", later && column / head_dim == head, by_delta[i]),
                ] {
                    let right = if inside { !got.is_finite() } else { got.to_bits() == want.to_bits() };
                    assert!(right, "{bad} in {what}, {i}: {got}");
                }
            }
        }
    }
}

/// Steps tiny and huge beside each other, decays of none and of all, and a state that grows, against the reference in f64.
#[test]
fn extremes() {
    let [len, heads, head_dim, states] = [140, 8, 3, 5];
    let (decays, steps) = ([0.0_f32, -1e-6, -1e4, 0.05, -1.0, -1e30, 0.0, -0.3], [1e-8_f32, 0.01, 1e3, 0.02, 0.5]);
    let width = heads * head_dim;
    for softplus in [false, true] {
        // A step of 1e3 grows beyond all numbers where a is positive.
        let delta = |i: usize| match (i / heads * 7 % 5, decays[i % heads] > 0.0) {
            (2, true) => 0.03,
            (k, _) => steps[k],
        };
        let delta: Vec<f32> = (0..len * heads).map(delta).collect();
        let (x, dy) = (normal::<f32>(len * width, 1.0, 1), normal::<f32>(len * width, 1.0, 4));
        let (b, c) = (normal::<f32>(len * states, 1.0, 2), normal::<f32>(len * states, 1.0, 3));
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let host = Device::Host;
        let run64 = || {
            let (x, delta, b, c) = (wide(&x), wide(&delta), wide(&b), wide(&c));
            let (x, delta) = (packed(&x, [1, len, width], &host), packed(&delta, [1, len, heads], &host));
            let (b, c) = (packed(&b, [1, len, states], &host), packed(&c, [1, len, states], &host));
            let (a, dy) = (packed(&wide(&decays), [heads], &host), packed(&wide(&dy), [1, len, width], &host));
            let call = Ssd { softplus, ..Ssd::new(x.view(), delta.view(), a.view(), b.view(), c.view()) };
            let slopes = ssd_backward(&call, dy.view(), None).unwrap();
            (ssd(&call).unwrap().0.to_vec().unwrap(), slopes.x.to_vec().unwrap(), slopes.delta.to_vec().unwrap())
        };
        let (y, dx, ddelta) = run64();
        let by_head = |of: &[f64], each: usize, head: usize| -> Vec<f64> {
            of.chunks(heads * each).flat_map(|row| row[head * each..][..each].to_vec()).collect()
        };
        for device in devices() {
            let three = |x: &[f32], n: usize| packed(x, [1, len, n], &device);
            let (tx, td, tb, tc) = (three(&x, width), three(&delta, heads), three(&b, states), three(&c, states));
            let a = packed(&decays, [heads], &device);
            let call = Ssd { softplus, ..Ssd::new(tx.view(), td.view(), a.view(), tb.view(), tc.view()) };
            let got = wide(&numbers(&ssd(&call).unwrap().0));
            let slopes = ssd_backward(&call, three(&dy, width).view(), None).unwrap();
            let (got_x, got_delta) = (wide(&numbers(&slopes.x)), wide(&numbers(&slopes.delta)));
            for (head, decay) in decays.iter().enumerate() {
                let what = format!("a {decay} softplus {softplus}");
                close(&format!("{what} y"), &by_head(&got, head_dim, head), &by_head(&y, head_dim, head), 1e-10);
                close(&format!("{what} dx"), &by_head(&got_x, head_dim, head), &by_head(&dx, head_dim, head), 1e-10);
                close(&format!("{what} ddelta"), &by_head(&got_delta, 1, head), &by_head(&ddelta, 1, head), 1e-10);
            }
        }
    }
}

/// What is no number in `b` or `c` reaches what the reference says, and nothing else: gradients of earlier or later rows that
/// make no pair with it stay numbers.
#[test]
fn what_is_not_a_number_in_b_and_c_stays_in_its_pairs() {
    let [len, heads, head_dim, states] = SIZES;
    let width = heads * head_dim;
    let at = |row: usize, state: usize| row * states + state;
    for (in_b, in_c) in [(Some(at(20, 3)), None), (None, Some(at(90, 5))), (Some(at(70, 0)), Some(at(70, 1)))] {
        let numbers = |count: usize, seed: u64, strange: Option<usize>| {
            let mut x = normal::<f32>(count, 1.0, seed);
            strange.into_iter().for_each(|at| x[at] = f32::NAN);
            x
        };
        let (x, b, c) = (numbers(len * width, 1, None), numbers(len * states, 4, in_b), numbers(len * states, 5, in_c));
        let (delta, a) = (uniform::<f32>(len * heads, 0.01, 0.6, 2), uniform::<f32>(heads, -3.0, 0.0, 3));
        let dy = numbers(len * width, 6, None);
        let want = nans::<f64>(
            [&x, &delta, &a, &b, &c, &dy].map(|x| x.iter().map(|&x| f64::from(x)).collect()),
            SIZES,
            &Device::Host,
        );
        assert!([false, true].iter().all(|nan| want.iter().flatten().any(|of| of == nan)));
        for device in devices() {
            let got = nans::<f32>([&x, &delta, &a, &b, &c, &dy].map(|x| x.clone()), SIZES, &device);
            for (what, (got, want)) in ["y", "dx", "ddelta", "db", "dc"].iter().zip(got.iter().zip(&want)) {
                let off = got.iter().zip(want).position(|(got, want)| got != want);
                assert_eq!(off, None, "{what}, b {in_b:?}, c {in_c:?}");
            }
        }
    }
}

/// Where the output and the gradients of `x`, `delta`, `b` and `c` are no numbers.
fn nans<T: Float<Acc = T>>([x, delta, a, b, c, dy]: [Vec<T>; 6], sizes: [usize; 4], device: &Device) -> [Vec<bool>; 5] {
    let [len, heads, head_dim, states] = sizes;
    let three = |x: &[T], n: usize| packed(x, [1, len, n], device);
    let (x, delta, b, c) = (three(&x, heads * head_dim), three(&delta, heads), three(&b, states), three(&c, states));
    let (a, dy) = (packed(&a, [heads], device), three(&dy, heads * head_dim));
    let call = Ssd::new(x.view(), delta.view(), a.view(), b.view(), c.view());
    let (y, slopes) = (ssd(&call).unwrap().0, ssd_backward(&call, dy.view(), None).unwrap());
    [&y, &slopes.x, &slopes.delta, &slopes.b, &slopes.c]
        .map(|of| of.to_vec().unwrap().into_iter().map(|x| x.wide().is_nan()).collect())
}

/// Wrong calls are errors that name the argument.
#[test]
fn wrong_calls() {
    let device = Device::Host;
    let small = Small::new([5, 4, 2, 6], &device);
    let call = small.call();
    let named = |call: Ssd<'_, f32>| match ssd(&call).map(drop).unwrap_err() {
        Error::Size { arg, .. } | Error::Value { arg, .. } | Error::Range { arg, .. } => arg,
        other => panic!("{other:?}"),
    };
    let longer = Small::new([6, 4, 2, 6], &device);
    let three = Small::new([5, 3, 2, 6], &device);
    assert_eq!(named(Ssd { delta: longer.delta.view(), ..call }), "delta");
    assert_eq!(named(Ssd { b: longer.b.view(), ..call }), "b");
    assert_eq!(named(Ssd { c: longer.c.view(), ..call }), "c");
    assert_eq!(named(Ssd { a: three.a.view(), ..call }), "x");
    assert_eq!(named(Ssd { delta: three.delta.view(), ..call }), "delta");
    assert_eq!(named(Ssd { groups: 3, ..call }), "groups");
    assert_eq!(named(Ssd { groups: 0, ..call }), "groups");
    assert_eq!(named(Ssd { groups: 4, ..call }), "b");
    let many = Small::new([5, 4, 2, family::STATES + 1], &device);
    assert_eq!(named(many.call()), "states");
    let short = packed(&[1.0_f32; 3], [3], &device);
    assert_eq!(named(Ssd { skip: Some(short.view()), ..call }), "skip");
    assert_eq!(named(Ssd { bias: Some(short.view()), ..call }), "bias");
    let state = packed(&[0.0_f32; 48], [1, 4, 6, 2], &device);
    assert_eq!(named(Ssd { initial: Some(state.view()), ..call }), "initial");
    for bounds in [[0_u32, 4, 3, 5], [1, 2, 3, 5], [0, 1, 2, 4]] {
        let bounds = packed(&bounds, [4], &device);
        assert_eq!(named(Ssd { bounds: Some(bounds.view()), ..call }), "bounds");
    }
    let none = packed(&[0_u32], [1], &device);
    assert_eq!(named(Ssd { bounds: Some(none.view()), ..call }), "bounds");
    let dy = packed(&[0.0_f32; 48], [1, 6, 8], &device);
    assert!(ssd_backward(&call, dy.view(), None).is_err(), "dy of other rows");
    let mut state = packed(&[0.0_f32; 48], [1, 4, 2, 6], &device);
    let mut y = packed(&[0.0_f32; 8], [1, 1, 8], &device);
    assert!(ssd_step_into(&call, state.view_mut(), y.view_mut()).is_err(), "a step of five rows");
}

/// Bounds that do not ascend, where the host does not look at them, make outputs that are not numbers.
#[test]
fn bad_bounds_on_a_device() {
    for device in devices().into_iter().filter(|device| !device.is_host()) {
        let small = Small::new(SIZES, &device);
        let bounds = packed(&[0_u32, 200, 40, SIZES[0] as u32], [4], &device);
        let call = Ssd { bounds: Some(bounds.view()), ..small.call() };
        let (y, last) = ssd(&call).unwrap();
        let slopes = ssd_backward(&call, small.x.view(), None).unwrap();
        for of in [&y, &slopes.x, &slopes.delta, &slopes.b, &slopes.c] {
            assert!(numbers(of).iter().all(|x| x.is_nan()));
        }
        for of in [&last, &slopes.initial] {
            assert!(numbers(of).iter().all(|x| x.is_nan()));
        }
        assert!(numbers(&slopes.a).iter().chain(&numbers(&slopes.bias)).all(|x| x.is_nan()));
    }
}
