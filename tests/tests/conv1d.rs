//! One table of cases; every implementation of the causal convolution goes through it.
use latens_core::{
    Conv1d, Device, Error, Float, Order, Tensor, bf16, conv1d, conv1d_backward, conv1d_into, conv1d_step_into,
    conv1d_workspace, f16,
};
use latens_kernels::conv1d as family;
use latens_tests::conv1d::{Case, PLAIN, Sizes, tensor};
use latens_tests::{Cases, Fenced, Poison, devices, normal, place, same, small, vector};

const CASES: &[Sizes] = &[
    Sizes { len: 0, initial: true, ..PLAIN },
    Sizes { batch: 0, ..PLAIN },
    Sizes { each: 0, ..PLAIN },
    Sizes { len: 1, each: 1, width: 2, ..PLAIN },
    Sizes { len: 2, initial: true, ..PLAIN },
    Sizes { batch: 3, len: 16, each: 7, width: 3, padding: 5, initial: true, ..PLAIN },
    Sizes { batch: 2, len: 63, each: 17, ..PLAIN },
    Sizes { len: 64, each: 33, initial: true, ..PLAIN },
    Sizes { batch: 2, len: 65, each: 130, width: 2, initial: true, padding: 1, ..PLAIN },
    Sizes { len: 130, each: 5, padding: 2, ..PLAIN },
    Sizes { len: 13, each: 4, bounds: Some(&[0, 0, 1, 3, 3, 9, 13, 13]), initial: true, ..PLAIN },
    Sizes { len: 70, each: 3, bounds: Some(&[0, 62, 66, 70]), width: 3, ..PLAIN },
    Sizes { batch: 2, len: 17, each: 6, orders: 4, initial: true, padding: 3, ..PLAIN },
    Sizes { batch: 2, len: 17, each: 6, orders: -4, ..PLAIN },
    Sizes { len: 50, each: 9, orders: 3, bounds: Some(&[0, 20, 21, 50]), initial: true, ..PLAIN },
    Sizes { len: 0, each: 2, bounds: Some(&[0]), ..PLAIN },
    Sizes { len: 197, each: 64, orders: 2, ..PLAIN },
];

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("conv1d").in_type::<T>();
    for (seed, &sizes) in CASES.iter().enumerate().filter(|(_, s)| !small() || s.len * s.each < 5000) {
        for silu in [false, true] {
            let (what, case) =
                (format!("{sizes:?} {silu}"), Case::<T>::new(sizes, silu, 10 * seed as u64 + u64::from(silu)));
            let want = case.host(true);
            cases.ran("reference");
            case.host(false).near(&want, &format!("cpu {what}"));
            cases.ran("cpu");
            for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                let got = case.core(&device);
                got.near(&want, &format!("{} {what}", place(&device)));
                assert_eq!(got.bits(), case.core(&device).bits(), "{} {what}: two runs differ", place(&device));
                cases.ran(place(&device));
            }
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
    let packed = Sizes { len: 7, each: 2, bounds: Some(&[0, 1, 1, 7]), initial: true, padding: 1, ..PLAIN };
    let shared = Sizes { batch: 2, len: 5, each: 2, orders: 2, initial: true, width: 3, ..PLAIN };
    for sizes in [packed, shared] {
        let case = Case::<f64>::new(sizes, true, 4);
        let p = &case.plan;
        let out = case.host(true);
        let dlast = case.dlast.as_ref().unwrap();
        let loss = |x: &[f64], weight: &[f64], bias: &[f64], initial: &[f64]| -> f64 {
            let (mut y, mut last) = (vec![0.0; p.out().iter().product()], vec![0.0; dlast.len()]);
            family::forward(p, x, weight, Some(bias), case.tables(), Some(initial), &mut y, Some(&mut last)).unwrap();
            let rows = y.chunks(p.channels()).enumerate();
            let of_y: f64 = rows.flat_map(|(r, y)| y.iter().zip(&case.dy[p.dy_row(r)..])).map(|(y, d)| y * d).sum();
            of_y + last.iter().zip(dlast).map(|(l, d)| l * d).sum::<f64>()
        };
        let (bias, initial) = (case.bias.as_ref().unwrap(), case.initial.as_ref().unwrap());
        let slope = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let [up, down] = [1e-5, -1e-5].map(|by| {
                let mut of = of.to_vec();
                of[at] += by;
                loss(&of)
            });
            (up - down) / 2e-5
        };
        let check = |what: &str, got: f64, want: f64| assert!((got - want).abs() < 1e-8, "{what} {got} {want}");
        for (i, dx) in out.dx.full().into_iter().enumerate() {
            let at = p.x_row(i / p.columns()) + i % p.columns();
            check("dx", dx, slope(&case.x, at, &|x| loss(x, &case.weight, bias, initial)));
        }
        for (i, dw) in out.dweight.full().into_iter().enumerate() {
            let at = i / p.width() * p.weight().strides()[0] + i % p.width();
            check("dweight", dw, slope(&case.weight, at, &|weight| loss(&case.x, weight, bias, initial)));
        }
        for (i, db) in out.dbias.full().into_iter().enumerate() {
            check("dbias", db, slope(bias, i, &|bias| loss(&case.x, &case.weight, bias, initial)));
        }
        for (i, di) in out.dinitial.full().into_iter().enumerate() {
            check("dinitial", di, slope(initial, i, &|initial| loss(&case.x, &case.weight, bias, initial)));
        }
    }
}

/// Steps are the rows of a sequence, and a sequence may be cut anywhere: its state is all that the rest needs.
#[test]
fn steps_and_parts_are_the_whole() {
    fn check<T: Float>(device: &Device) {
        let (batch, len, channels, width) = (2, 9, 5, 4);
        let x = tensor(&normal::<T>(batch * len * channels, 1.0, 1), [batch, len, channels], device);
        let weight = tensor(&normal::<T::Acc>(channels * width, 1.0, 2), [channels, width], device);
        let bias = vector(&normal::<T::Acc>(channels, 1.0, 3), device);
        let call = Conv1d { bias: Some(bias.view()), silu: true, ..Conv1d::new(x.view(), weight.view()) };
        let (whole, end) = conv1d(&call).unwrap();
        let whole = whole.to_vec().unwrap();
        let of = |y: Vec<T>, from: usize, to: usize| {
            let want = (0..batch).flat_map(|b| &whole[(b * len + from) * channels..(b * len + to) * channels]);
            assert!(same(&y, &want.copied().collect::<Vec<_>>()), "{} {from}..{to}", place(device));
        };
        for cut in 1..len {
            let [first, second] = [(0, cut), (cut, len)].map(|(a, b)| x.view().narrow(1, a, b).unwrap());
            let (y, state) = conv1d(&Conv1d { x: first, ..call }).unwrap();
            of(y.to_vec().unwrap(), 0, cut);
            let (y, last) = conv1d(&Conv1d { x: second, initial: Some(state.view()), ..call }).unwrap();
            of(y.to_vec().unwrap(), cut, len);
            assert!(same(&last.to_vec().unwrap(), &end.to_vec().unwrap()));
        }
        let mut state = Tensor::zeros([batch, width - 1, channels], device).unwrap();
        for t in 0..len {
            let host = x.to_vec().unwrap();
            let row: Vec<T> = (0..batch).flat_map(|b| host[(b * len + t) * channels..][..channels].to_vec()).collect();
            let row = tensor(&row, [batch, channels], device);
            let mut y = Tensor::zeros([batch, channels], device).unwrap();
            conv1d_step_into(row.view(), weight.view(), call.bias, true, state.view_mut(), y.view_mut()).unwrap();
            of(y.to_vec().unwrap(), t, t + 1);
        }
        assert!(same(&state.to_vec().unwrap(), &end.to_vec().unwrap()));
    }
    for device in devices() {
        check::<f32>(&device);
        check::<bf16>(&device);
    }
    check::<f64>(&Device::Host);
}

/// What is not a number reaches the rows that read it, in its channel, and no other, of `y` as of `dx`.
#[test]
fn what_is_not_a_number_stays_where_it_is_read() {
    let (batch, len, channels, row, channel) = (2, 70, 5, 62, 3);
    for (device, width) in devices().into_iter().flat_map(|device| [2, 3, 4].map(|width| (device.clone(), width))) {
        let clean = normal::<f32>(batch * len * channels, 1.0, 1);
        let weight = tensor(&normal::<f32>(channels * width, 1.0, 2), [channels, width], &device);
        let run = |x: &[f32], dy: &[f32], silu: bool| {
            let [x, dy] = [x, dy].map(|x| tensor(x, [batch, len, channels], &device));
            let call = Conv1d { silu, ..Conv1d::new(x.view(), weight.view()) };
            let slopes = conv1d_backward(&call, dy.view(), None).unwrap();
            [conv1d(&call).unwrap().0.to_vec().unwrap(), slopes.x.to_vec().unwrap()]
        };
        let dirty = |bad: f32| {
            let mut dirty = clean.clone();
            dirty[(len + row) * channels + channel] = bad;
            dirty
        };
        for (silu, bad) in [false, true].into_iter().flat_map(|silu| [f32::NAN, f32::INFINITY].map(|bad| (silu, bad))) {
            let [y, dx] = run(&clean, &clean, silu);
            let [of_x, _] = run(&dirty(bad), &clean, silu);
            let [_, of_dy] = run(&clean, &dirty(bad), silu);
            let reached = |i: usize| (i / channels / len == 1 && i % channels == channel).then_some(i / channels % len);
            for i in 0..y.len() {
                let after = reached(i).is_some_and(|t| (row..row + width).contains(&t));
                let before = reached(i).is_some_and(|t| (row + 1 - width..=row).contains(&t));
                for (what, inside, got, want) in [("y", after, of_x[i], y[i]), ("dx", before, of_dy[i], dx[i])] {
                    // SiLU of minus infinity is no number, and neither is infinity times zero: only numbers are wrong.
                    let right = if inside { !got.is_finite() } else { got.to_bits() == want.to_bits() };
                    assert!(right, "{} {bad} width {width} silu {silu} {what} {i}: {got}", place(&device));
                }
            }
        }
    }
}

/// SiLU at its ends: 0 from below far down, no number at minus infinity, itself far up.
#[test]
fn silu_at_its_ends() {
    for device in devices() {
        let x = [-1e4_f32, f32::NEG_INFINITY, 1e4, f32::INFINITY, f32::NAN, -100.0, 0.0];
        // The last tap alone: y is SiLU of x, and a batch entry has one row.
        let weight = tensor(&[0.0_f32, 1.0], [1, 2], &device);
        let x = tensor(&x, [7, 1, 1], &device);
        let call = Conv1d { silu: true, ..Conv1d::new(x.view(), weight.view()) };
        let y = conv1d(&call).unwrap().0.to_vec().unwrap();
        assert_eq!(y[0].to_bits(), (-0.0_f32).to_bits(), "{}: {y:?}", place(&device));
        assert!(y[1].is_nan() && y[4].is_nan(), "{}: {y:?}", place(&device));
        assert_eq!((y[2], y[3], y[6]), (1e4, f32::INFINITY, 0.0), "{}: {y:?}", place(&device));
        assert!(y[5] <= 0.0 && y[5] > -1e-41, "{}: {y:?}", place(&device));
        // Its slope is 0 far down and 1 far up.
        let dy = tensor(&[1.0_f32; 7], [7, 1, 1], &device);
        let dx = conv1d_backward(&call, dy.view(), None).unwrap().x.to_vec().unwrap();
        assert_eq!((dx[0], dx[2], dx[6]), (0.0, 1.0, 0.5), "{}: {dx:?}", place(&device));
    }
}

/// Orders of pictures name every row once and keep the class token in its place.
#[test]
fn orders_of_pictures() {
    assert_eq!(Order::Column.table(2, 3, None).unwrap(), [0, 3, 1, 4, 2, 5]);
    assert_eq!(Order::Column.table(2, 2, Some(2)).unwrap(), [0, 3, 2, 1, 4]);
    assert_eq!(Order::ColumnReverse.table(2, 2, Some(2)).unwrap(), [4, 1, 2, 3, 0]);
    assert_eq!(Order::Reverse.table(1, 3, None).unwrap(), [2, 1, 0]);
    for (height, width) in [(1 << 32, 1 << 32), (usize::MAX, 2), (1 << 16, 1 << 15)] {
        let error = Order::Forward.table(height, width, None).unwrap_err().to_string();
        assert!(error.contains("height * width"), "{error}");
    }
    let cluster = Order::Cluster { side: 2 };
    assert_eq!(cluster.table(2, 4, None).unwrap(), [0, 1, 4, 5, 2, 3, 6, 7]);
    assert_eq!(cluster.table(4, 2, Some(0)).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let range = Error::Range { op: "scan_order", arg: "token", max: 4, got: 5 };
    assert_eq!(Order::Forward.table(2, 2, Some(5)), Err(range));
    let value = Error::Value { op: "scan_order", arg: "side", want: "a divisor of both sides of the picture" };
    assert_eq!(cluster.table(3, 2, None), Err(value));
    assert_eq!(Order::Cluster { side: usize::MAX }.table(0, 0, None).unwrap(), Vec::<u32>::new());
}

/// On the host a bad table is an error, and nothing is written; on CUDA all outputs are NaN.
#[test]
fn bad_tables() {
    let bounds: [&[u32]; 4] = [&[0, 3, 2, 4], &[1, 4], &[0, 5], &[0, 3]];
    let orders: [&[u32]; 3] = [&[0, 1, 2, 2], &[0, 1, 2, 4], &[0, 1, 2, u32::MAX]];
    for device in devices() {
        let (x, weight) = (tensor(&[1.0_f32; 8], [1, 4, 2], &device), tensor(&[1.0_f32; 6], [2, 3], &device));
        let check = |call: Conv1d<'_, f32>, sequences: usize, error: Error| {
            let (mut y, mut last) =
                (Fenced::<f32, 3>::new([1, 4, 2], &device), Fenced::new([sequences, 2, 2], &device));
            let mut workspace = Tensor::empty([conv1d_workspace(&call).unwrap()], &device).unwrap();
            let done = conv1d_into(&call, y.view_mut(), Some(last.view_mut()), workspace.view_mut());
            let back = conv1d_backward(&call, x.view(), None);
            if device.is_host() {
                assert_eq!((done, back.err()), (Err(error), Some(error)));
                assert_eq!(y.take(), [f32::POISON; 8]);
            } else {
                done.unwrap();
                let back = back.unwrap();
                let gradients = [back.x.to_vec().unwrap(), back.weight.to_vec().unwrap(), back.bias.to_vec().unwrap()];
                let all = [y.take(), last.take(), gradients.concat(), back.initial.to_vec().unwrap()].concat();
                assert!(all.iter().all(|x| x.is_nan()), "{all:?}");
            }
        };
        for bad in bounds {
            let table = vector(bad, &device);
            let want = "ascending from 0 to the number of positions";
            let call = Conv1d { bounds: Some(table.view()), silu: true, ..Conv1d::new(x.view(), weight.view()) };
            check(call, bad.len() - 1, Error::Value { op: "conv1d", arg: "bounds", want });
        }
        for bad in orders {
            let table = tensor(bad, [1, 4], &device);
            let want = "a permutation of the rows in each order";
            let call = Conv1d { orders: Some(table.view()), ..Conv1d::new(x.view(), weight.view()) };
            check(call, 1, Error::Value { op: "conv1d", arg: "orders", want });
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let zeros = |dims| Tensor::<f32, 3>::zeros(dims, &device).unwrap();
        let (x, weight) = (zeros([2, 4, 3]), tensor(&[0.0_f32; 9], [3, 3], &device));
        let call = Conv1d::new(x.view(), weight.view());
        let size = |arg, want, got| Some(Error::Size { op: "conv1d", arg, want, got });
        let range = Some(Error::Range { op: "conv1d", arg: "width", max: 4, got: 5 });
        for (width, error) in [(0, size("width", 2, 0)), (1, size("width", 2, 1)), (5, range)] {
            let weight = tensor(&vec![0.0_f32; 3 * width], [3, width], &device);
            assert_eq!(conv1d(&Conv1d { weight: weight.view(), ..call }).err(), error);
        }
        let (other, short) = (tensor(&[0.0_f32; 6], [2, 3], &device), vector(&[0.0_f32; 2], &device));
        assert_eq!(conv1d(&Conv1d { weight: other.view(), ..call }).err(), size("x", 2, 3));
        assert_eq!(conv1d(&Conv1d { bias: Some(short.view()), ..call }).err(), size("bias", 3, 2));
        let state = zeros([2, 3, 3]);
        assert_eq!(conv1d(&Conv1d { initial: Some(state.view()), ..call }).err(), size("initial", 2, 3));
        let (bounds, orders) = (vector(&[0_u32, 4], &device), tensor(&[0_u32; 6], [2, 3], &device));
        let value = Error::Value { op: "conv1d", arg: "bounds", want: "given for a batch of one only" };
        assert_eq!(conv1d(&Conv1d { bounds: Some(bounds.view()), ..call }).err(), Some(value));
        assert_eq!(conv1d(&Conv1d { orders: Some(orders.view()), ..call }).err(), size("orders", 4, 3));
        let orders = tensor(&[0_u32; 8], [2, 4], &device);
        let value = Error::Value { op: "conv1d", arg: "channels", want: "a multiple of the number of orders" };
        assert_eq!(conv1d(&Conv1d { orders: Some(orders.view()), ..call }).err(), Some(value));
        assert_eq!(conv1d_backward(&call, state.view(), None).err(), size("dy", 4, 3));
        assert_eq!(conv1d_backward(&call, x.view(), Some(state.view())).err(), size("dlast", 2, 3));
        let mut y = Fenced::<f32, 3>::new([2, 4, 2], &device);
        let mut workspace = Tensor::empty([0], &device).unwrap();
        assert_eq!(conv1d_into(&call, y.view_mut(), None, workspace.view_mut()).err(), size("y", 3, 2));
    }
}
