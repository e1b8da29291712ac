//! Slopes, numbers that are not finite, threads, and calls that are refused.
use crate::{CASES, Case, LARGE, Sizes};
use latens_core::{
    Accumulate, Conv2d, Device, Error, Float, Layout, Tensor, bf16, conv2d, conv2d_backward_into,
    conv2d_backward_workspace, conv2d_into,
};
use latens_cpu::Level;
use latens_kernels::conv2d as family;
use latens_tests::{Poison, bytes, close, devices, place, same};

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    for sizes in [&CASES[6], &CASES[7], &CASES[10], &CASES[16], &CASES[19]] {
        let case = Case::<f64>::new(sizes, Accumulate::Replace, 2);
        let (p, [_, rows, columns, n]) = (&case.plan, case.plan.out());
        let loss = |x: &[f64], w: &[f64], bias: &[f64]| -> f64 {
            let mut y = vec![0.0; p.dy().len()];
            family::forward(p, x, w, Some(bias), &mut y);
            let dy = |at: usize| {
                let [image, row, column, _] = p.dy().strides();
                let (pixel, o) = (at / n, at % n);
                case.dy[pixel / columns / rows * image + pixel / columns % rows * row + pixel % columns * column + o]
            };
            y.iter().enumerate().map(|(at, y)| y * dy(at)).sum()
        };
        let slope = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let [up, down] = [1e-4, -1e-4].map(|by| {
                let mut of = of.to_vec();
                of[at] += by;
                loss(&of)
            });
            (up - down) / 2e-4
        };
        let near =
            |what: &str, got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{sizes:?} {what} {got} {want}");
        let place = |layout: Layout<4>, at: usize| {
            let ([_, b, c, d], [image, row, column, _]) = (layout.dims(), layout.strides());
            at / d / c / b * image + at / d / c % b * row + at / d % c * column + at % d
        };
        let (out, bias) = (case.host(None), case.bias.as_ref().unwrap());
        for (at, dx) in out.dx.full().into_iter().enumerate() {
            near("dx", dx, slope(&case.x, place(p.x(), at), &|x| loss(x, &case.w, bias)));
        }
        for (at, dw) in out.dw.full().into_iter().enumerate() {
            near("dw", dw, slope(&case.w, place(p.w(), at), &|w| loss(&case.x, w, bias)));
        }
        for (at, db) in out.db.full().into_iter().enumerate() {
            near("db", db, slope(bias, at, &|bias| loss(&case.x, &case.w, bias)));
        }
    }
}

/// NaN and infinities stay in their image; the others have the bits they have without it.
#[test]
fn images_keep_apart() {
    fn check<T: Float<Acc: Poison> + Poison>(sizes: &Sizes) {
        let mut case = Case::<T>::new(sizes, Accumulate::Replace, 2);
        for device in devices() {
            let clean = case.core(&device, [true, false, false]);
            let (x, dy) = (case.x.clone(), case.dy.clone());
            (case.x[0], case.x[1], case.dy[0]) = (T::narrow(f64::NAN), T::narrow(f64::INFINITY), T::narrow(f64::NAN));
            let wrong = case.core(&device, [true, false, false]);
            (case.x, case.dy) = (x, dy);
            let batch = case.plan.out()[0];
            for [clean, wrong] in [[clean.y.full(), wrong.y.full()], [clean.dx.full(), wrong.dx.full()]] {
                let image = clean.len() / batch;
                assert!(wrong[..image].iter().any(|y| y.wide().is_nan()), "{sizes:?}");
                assert!(same(&clean[image..], &wrong[image..]), "{sizes:?}");
            }
        }
    }
    for sizes in [&CASES[5], &CASES[12], &CASES[15], &CASES[17], &CASES[18], &CASES[23]] {
        check::<f32>(sizes);
        check::<bf16>(sizes);
    }
}

/// Padding counts as zeros, also before a weight that is not finite.
#[test]
fn weights_that_are_not_finite_show() {
    for sizes in [&CASES[5], &CASES[15], &CASES[17]] {
        let mut case = Case::<f32>::new(sizes, Accumulate::Replace, 2);
        case.w[0] = f32::INFINITY;
        let want = case.host(None).y.full();
        assert!(want.iter().any(|y| y.is_nan()) && want.iter().any(|y| y.is_finite()));
        for level in Level::all() {
            close("host", &case.host(Some(level)).y.full(), &want, 1e-11);
        }
        for device in devices() {
            close(place(&device), &case.core(&device, [false; 3]).y.full(), &want, 1e-11);
        }
    }
}

/// Sums over pixels come out the same however many threads share them.
#[test]
fn threads_do_not_change_the_result() {
    for sizes in [&LARGE[0], &CASES[24], &CASES[25], &CASES[18]] {
        let case = Case::<f32>::new(sizes, Accumulate::Replace, 2);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.core(&Device::Host, [true; 3]))
        };
        let (one, three) = (run(1), run(3));
        assert!(same(&one.y.full(), &three.y.full()) && same(&one.dx.full(), &three.dx.full()));
        assert!(same(&one.dw.full(), &three.dw.full()) && same(&one.db.full(), &three.db.full()));
    }
}

#[test]
fn wrong_calls_are_errors() {
    let packed = |dims| Layout::packed(dims).unwrap();
    let plan = |x: [usize; 4], w: [usize; 4], how| family::plan(&packed(x), &packed(w), None, how).map(|p| p.out());
    let value = |arg, want| Err(Error::Value { op: "conv2d", arg, want });
    let range = |arg, max, got| Err(Error::Range { op: "conv2d", arg, max, got });
    let size = |arg, want, got| Error::Size { op: "conv2d", arg, want, got };
    let (x, w, one) = ([1, 5, 6, 4], [8, 3, 3, 4], Conv2d::default());
    assert_eq!(plan(x, w, one), Ok([1, 3, 4, 8]));
    assert_eq!(plan([0, 5, 6, 4], w, one), Ok([0, 3, 4, 8]));
    assert_eq!(plan(x, w, Conv2d { stride: [1, 0], ..one }), value("stride", "at least 1"));
    assert_eq!(plan(x, w, Conv2d { dilation: [0, 1], ..one }), value("dilation", "at least 1"));
    assert_eq!(plan(x, [8, 0, 3, 4], one), value("w", "of at least one tap"));
    let divisor = value("groups", "a divisor of the channels of x and of y");
    assert_eq!(plan(x, w, Conv2d { groups: 0, ..one }), divisor);
    assert_eq!(plan(x, w, Conv2d { groups: 3, ..one }), divisor);
    assert_eq!(plan(x, [7, 3, 3, 2], Conv2d { groups: 2, ..one }), divisor);
    assert_eq!(plan(x, w, Conv2d { groups: 2, ..one }), Err(size("w", 2, 4)));
    // Taps that reach past the image.
    assert_eq!(plan(x, [8, 6, 3, 4], one), range("reach of the taps", 5, 6));
    assert_eq!(plan(x, [8, 6, 3, 4], Conv2d { padding: [1, 0], ..one }), Ok([1, 2, 4, 8]));
    assert_eq!(plan(x, w, Conv2d { dilation: [1, 3], ..one }), range("reach of the taps", 6, 7));
    assert_eq!(plan([1, 0, 6, 4], w, one), range("reach of the taps", 0, 3));
    // Sizes near overflow.
    let max = i32::MAX as usize;
    assert_eq!(plan(x, w, Conv2d { padding: [usize::MAX / 2, 0], ..one }), Err(Error::TooLarge));
    assert_eq!(plan(x, w, Conv2d { padding: [max / 2, 0], ..one }), range("padded image", max, max / 2 * 2 + 5));
    assert_eq!(plan(x, w, Conv2d { dilation: [usize::MAX, 1], ..one }), Err(Error::TooLarge));
    assert_eq!(plan([1, 5, 6, 1 << 40], [1, 1, 1, 1 << 40], one), range("channels of x", max, 1 << 40));
    let wide = Conv2d { padding: [1 << 29, 1 << 29], ..one };
    assert_eq!(plan([1 << 20, 5, 6, 4], w, wide), Err(Error::TooLarge));

    for device in devices() {
        let of = |dims| Tensor::<f32, 4>::zeros(dims, &device).unwrap();
        let (x, w, y) = (of([1, 5, 6, 4]), of([8, 3, 3, 4]), of([1, 3, 4, 8]));
        let bias = Tensor::zeros([3], &device).unwrap();
        assert_eq!(conv2d(x.view(), w.view(), Some(bias.view()), one).err(), Some(size("bias", 8, 3)));
        let into = |mut y: Tensor<f32, 4>| conv2d_into(x.view(), w.view(), None, one, y.view_mut()).err();
        assert_eq!(into(of([1, 3, 5, 8])), Some(size("y", 4, 5)));
        assert_eq!(into(of([1, 3, 4, 8])), None);
        let back = |dy: &Tensor<f32, 4>, mut dw: Tensor<f32, 4>, scratch: usize| {
            let (mut scratch, dw) = (bytes(scratch, &device), Some(dw.view_mut()));
            let (x, w, dy, scratch) = (x.view(), w.view(), dy.view(), scratch.view_mut());
            conv2d_backward_into(x, w, dy, one, Accumulate::Replace, None, dw, None, scratch).err()
        };
        let enough = conv2d_backward_workspace(&x.layout(), &w.layout(), one, &device).unwrap();
        assert_eq!(back(&of([1, 3, 4, 7]), of([8, 3, 3, 4]), enough), Some(size("dy", 8, 7)));
        assert_eq!(back(&y, of([8, 3, 2, 4]), enough), Some(size("dw", 3, 2)));
        assert_eq!(back(&y, of([8, 3, 3, 4]), enough), None);
        if !device.is_host() {
            assert!(matches!(back(&y, of([8, 3, 3, 4]), 16), Some(Error::Size { arg: "workspace", .. })));
            let there = Tensor::<f32, 4>::zeros([8, 3, 3, 4], &Device::Host).unwrap();
            let error = Some(Error::Device { op: "conv2d", arg: "w" });
            assert_eq!(conv2d(x.view(), there.view(), None, one).err(), error);
        }
    }
}
