//! Wrong calls of a selective scan: errors that name the argument, or on a device outputs that are not numbers.
use crate::cases::packed;
use crate::properties::{Small, numbers};
use latens_core::{Device, Error, Scan, Taps, Tensor, scan, scan_backward, scan_into, scan_step_into, scan_workspace};
use latens_tests::{Fenced, Poison, devices};

/// Wrong calls are errors that name the argument.
#[test]
fn wrong_calls() {
    let device = Device::Host;
    let small = Small::new([5, 4, 2], &device);
    let call = small.call();
    let named = |call: Scan<'_, f32>| match scan(&call).map(drop).unwrap_err() {
        Error::Size { arg, .. } | Error::Value { arg, .. } | Error::Range { arg, .. } => arg,
        other => panic!("{other:?}"),
    };
    let other = Small::new([6, 4, 2], &device);
    let wide = Small::new([5, 3, 2], &device);
    assert_eq!(named(Scan { delta: other.delta.view(), ..call }), "delta");
    assert_eq!(named(Scan { b: other.b.view(), ..call }), "b");
    assert_eq!(named(Scan { c: other.c.view(), ..call }), "c");
    assert_eq!(named(Scan { a: wide.a.view(), ..call }), "u");
    let short = packed(&[1.0_f32; 3], [3], &device);
    assert_eq!(named(Scan { skip: Some(short.view()), ..call }), "skip");
    assert_eq!(named(Scan { bias: Some(short.view()), ..call }), "bias");
    let gate = packed(&[1.0_f32; 15], [1, 5, 3], &device);
    assert_eq!(named(Scan { gate: Some(gate.view()), ..call }), "gate");
    for dims in [[2, 4, 2], [1, 3, 2], [1, 4, 3]] {
        let initial = Tensor::zeros(dims, &device).unwrap();
        assert_eq!(named(Scan { initial: Some(initial.view()), ..call }), "initial", "{dims:?}");
    }
    let dy = packed(&[0.0_f32; 24], [1, 6, 4], &device);
    assert!(matches!(scan_backward(&call, dy.view(), None).map(drop), Err(Error::Size { arg: "dy", .. })));
    let dy = packed(&[0.0_f32; 20], [1, 5, 4], &device);
    let dlast = packed(&[0.0_f32; 12], [1, 4, 3], &device);
    let wrong = scan_backward(&call, dy.view(), Some(dlast.view())).map(drop);
    assert!(matches!(wrong, Err(Error::Size { arg: "dlast", want: 2, got: 3, .. })));
}

/// States, groups and channels that do not fit each other; none of them is fine.
#[test]
fn sizes() {
    for device in devices() {
        let error = |call: Scan<'_, f32>| scan(&call).map(drop).unwrap_err();
        let many = Small::new([2, 1, 257], &device);
        assert_eq!(error(many.call()), Error::Range { op: "scan", arg: "states", max: 256, got: 257 });
        let none = Small::new([2, 3, 0], &device);
        assert_eq!(error(none.call()), Error::Size { op: "scan", arg: "a", want: 1, got: 0 });
        // Six channels: of three columns and two orders, and as they are.
        let six = Small::new([4, 6, 2], &device);
        let call = six.call();
        for (groups, fits) in
            [(0, false), (1, true), (2, true), (3, true), (4, false), (5, false), (6, true), (7, false)]
        {
            let shared = Tensor::<f32, 3>::zeros([1, 4, 2 * groups], &device).unwrap();
            let result = scan(&Scan { b: shared.view(), c: shared.view(), ..call }).map(drop);
            assert_eq!(result.is_ok(), fits, "{groups} groups");
            assert!(fits || matches!(result, Err(Error::Value { arg: "b", .. })), "{groups} groups: {result:?}");
        }
        let part = Tensor::<f32, 3>::zeros([1, 4, 3], &device).unwrap();
        let part = Scan { b: part.view(), c: part.view(), ..call };
        assert_eq!(error(part), Error::Size { op: "scan", arg: "b", want: 2, got: 3 });
        let orders = packed(&[0_u32, 1, 2, 3].repeat(4), [4, 4], &device);
        let want = "a multiple of the number of orders";
        let of_orders = Scan { orders: Some(orders.view()), ..call };
        assert_eq!(error(of_orders), Error::Value { op: "scan", arg: "channels", want });
        let orders = packed(&[0_u32, 1, 2, 3].repeat(2), [2, 4], &device);
        let three = Tensor::<f32, 3>::zeros([1, 4, 2 * 3], &device).unwrap();
        let of_orders = Scan { orders: Some(orders.view()), b: three.view(), c: three.view(), ..call };
        assert!(matches!(error(of_orders), Error::Value { arg: "b", .. }), "three groups of two orders");
        let empty = Small::new([4, 0, 2], &device);
        let (y, last) = scan(&empty.call()).unwrap();
        assert_eq!((y.dims(), last.dims()), ([1, 4, 0], [1, 0, 2]));
        let slopes = scan_backward(&empty.call(), y.view(), None).unwrap();
        assert_eq!(numbers(&slopes.b), [0.0; 8]);
        assert_eq!(numbers(&slopes.c), [0.0; 8]);
    }
}

fn taps(weight: &Tensor<f32, 2>) -> Taps<'_, f32> {
    Taps { weight: weight.view(), bias: None, window: None }
}

fn convolved<'a>(call: Scan<'a, f32>, taps: Taps<'a, f32>) -> Result<(), Error> {
    scan(&Scan { taps: Some(taps), ..call }).map(drop)
}

/// Taps: two to four, of every channel, forward only; their bias and window belong to them.
#[test]
fn wrong_taps() {
    for device in devices() {
        let small = Small::new([5, 4, 2], &device);
        let call = small.call();
        let [one, two, five] = [1, 2, 5].map(|count| packed(&vec![1.0_f32; 4 * count], [4, count], &device));
        let size = |arg, want, got| Err(Error::Size { op: "scan", arg, want, got });
        assert_eq!(convolved(call, taps(&one)), size("taps", 2, 1));
        assert_eq!(convolved(call, taps(&five)), Err(Error::Range { op: "scan", arg: "taps", max: 4, got: 5 }));
        let (short, rows) = (packed(&[1.0_f32; 3], [3], &device), packed(&[1.0_f32; 6], [3, 2], &device));
        assert_eq!(convolved(call, taps(&rows)), size("taps", 4, 3));
        assert_eq!(convolved(call, Taps { bias: Some(short.view()), ..taps(&two) }), size("taps_bias", 4, 3));
        for (dims, want, got) in [([2, 1, 4], 1, 2), ([1, 3, 4], 1, 3), ([1, 1, 5], 4, 5)] {
            let window = Tensor::zeros(dims, &device).unwrap();
            assert_eq!(convolved(call, Taps { window: Some(window.view()), ..taps(&two) }), size("window", want, got));
        }
        let given = Scan { taps: Some(taps(&two)), ..call };
        let slopes = scan_backward(&given, small.u.view(), None).map(drop);
        assert!(matches!(slopes, Err(Error::Value { arg: "taps", .. })), "{slopes:?}");
    }
}

/// On the host a bad table is an error, and nothing is written; on a device all outputs are NaN.
#[test]
fn bad_tables() {
    let bounds: [&[u32]; 5] = [&[0, 4, 3, 5], &[1, 2, 3, 5], &[0, 1, 2, 4], &[0, 6], &[0, u32::MAX, 5]];
    let orders: [&[u32]; 3] = [&[0, 1, 2, 3, 3], &[0, 1, 2, 3, 5], &[0, u32::MAX, 2, 3, 4]];
    for device in devices() {
        let small = Small::new([5, 4, 2], &device);
        let all = bounds.map(|bad| ("bounds", bad)).into_iter().chain(orders.map(|bad| ("orders", bad)));
        for (arg, bad) in all {
            let (line, order) = (packed(bad, [bad.len()], &device), packed(bad, [1, bad.len()], &device));
            let call = match arg {
                "bounds" => Scan { bounds: Some(line.view()), ..small.call() },
                _ => Scan { orders: Some(order.view()), ..small.call() },
            };
            let sequences = if arg == "bounds" { bad.len() - 1 } else { 1 };
            let (mut y, mut last) =
                (Fenced::<f32, 3>::new([1, 5, 4], &device), Fenced::<f32, 3>::new([sequences, 4, 2], &device));
            let mut workspace = Tensor::empty([scan_workspace(&call).unwrap()], &device).unwrap();
            let done = scan_into(&call, y.view_mut(), Some(last.view_mut()), workspace.view_mut());
            let back = scan_backward(&call, small.u.view(), None);
            if device.is_host() {
                for error in [done.unwrap_err(), back.map(drop).unwrap_err()] {
                    assert!(matches!(error, Error::Value { arg: named, .. } if named == arg), "{arg}: {error:?}");
                }
                assert!(y.take().iter().chain(&last.take()).all(|&x| x == f32::POISON), "{arg}: something was written");
                continue;
            }
            done.unwrap();
            let back = back.unwrap();
            let mut all = vec![y.take(), last.take(), numbers(&back.u), numbers(&back.delta), numbers(&back.a)];
            all.extend([numbers(&back.b), numbers(&back.c), numbers(&back.skip), numbers(&back.bias)]);
            all.push(numbers(&back.initial));
            for (i, of) in all.iter().enumerate() {
                assert!(of.iter().all(|x| x.is_nan()), "{arg} {bad:?}, output {i}: {of:?}");
            }
        }
    }
}

/// A step is of one row.
#[test]
fn a_step_of_more_rows() {
    for device in devices() {
        let small = Small::new([5, 4, 2], &device);
        let mut state = Tensor::zeros([1, 4, 2], &device).unwrap();
        let mut y = Tensor::zeros([1, 5, 4], &device).unwrap();
        let error = scan_step_into(&small.call(), state.view_mut(), y.view_mut()).unwrap_err();
        assert_eq!(error, Error::Size { op: "scan", arg: "u", want: 1, got: 5 });
    }
}
