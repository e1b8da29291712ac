//! Means and variances, and their gradients.
use latens_core::{
    Accumulate, Device, Error, Float, Layout, Tensor, bf16, f16, moments, moments_backward, moments_backward_into,
    moments_into,
};
use latens_cpu::Level;
use latens_cpu::reduce::moments as cpu;
use latens_kernels::reduce::moments as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, small, vector};

/// Writes means and variances.
type Make<'a, A> = &'a dyn Fn(&mut [A], &mut [A]);

/// `[rows, n, padding]`: around the rows that are looked at together on the host and on CUDA, and around tiles of columns.
const CASES: &[[usize; 3]] = &[
    [0, 4, 0],
    [4, 0, 0],
    [1, 1, 0],
    [3, 31, 1],
    [33, 32, 0],
    [31, 33, 7],
    [257, 5, 2],
    [2, 1000, 3],
    [1, 5000, 0],
    [1025, 129, 0],
    [3000, 2, 1],
];

/// Cases of a table: sizes, and the numbers. Large ones come with ordinary numbers only.
fn cases<T: Float>() -> Vec<([usize; 3], Vec<T>)> {
    let of = |(seed, &sizes @ [rows, n, padding]): (u64, &[usize; 3])| {
        let count = rows * (n + padding);
        // Columns far from 0, equal ones, and special numbers.
        let far = normal::<T>(count, 1.0, seed).into_iter().map(|x| T::narrow(100.0 + x.wide())).collect();
        let equal = vec![T::narrow(0.1); count];
        let all = [normal::<T>(count, 1.0, seed), far, equal, numbers::<T>(count, seed)].map(|x| (sizes, x));
        all.into_iter().take(if count > 2000 { 1 } else { 4 })
    };
    let sizes = CASES.iter().filter(|sizes| !small() || sizes[0] * sizes[1] < 5000);
    (0..).zip(sizes).flat_map(of).collect()
}

fn layout([rows, n, padding]: [usize; 3]) -> Layout<2> {
    Layout::strided([rows, n], [n + padding, 1]).unwrap()
}

type Both<T> = [Vec<<T as Float>::Acc>; 2];

fn near<T: Float>(got: &Both<T>, want: &Both<T>, what: &str) {
    // A mean beside the deviation, of which it may be a small part.
    let beside = |[mean, variance]: &Both<T>| {
        let deviations = variance.iter().map(|variance| variance.wide().sqrt());
        mean.iter().map(|mean| mean.wide()).chain(deviations).collect::<Vec<_>>()
    };
    close(&format!("{what} mean"), &beside(got), &beside(want), 1e-11);
    close(&format!("{what} variance"), &got[1], &want[1], 1e-11);
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut count = Cases::of("reduce moments").in_type::<T>();
    for ((sizes, x), axis) in cases::<T>().into_iter().flat_map(|case| [(case.clone(), 0), (case, 1)]) {
        let (layout, what) = (layout(sizes), format!("{sizes:?} {axis}"));
        let (x, p) = (&x[..layout.span()], family::plan(&layout, axis).unwrap());
        let host = |make: Make<'_, T::Acc>| {
            let [mut mean, mut variance] = [(); 2].map(|()| Fenced::<T::Acc, 1>::new(p.out(), &Device::Host));
            make(mean.slice(), variance.slice());
            [mean.full(), variance.full()]
        };
        let want = host(&|mean, variance| family::forward(&p, x, mean, variance));
        count.ran("reference");
        for level in Level::all() {
            let got = host(&|mean, variance| cpu::forward_at(level, &p, x, mean, variance));
            near::<T>(&got, &want, &format!("{level:?} {what}"));
            count.ran("cpu");
        }
        for device in devices() {
            let what = format!("{} {what}", place(&device));
            let x = Tensor::from_slice(x, layout, &device).unwrap();
            let [mut mean, mut variance] = [(); 2].map(|()| Fenced::<T::Acc, 1>::new(p.out(), &device));
            moments_into(x.view(), axis, mean.view_mut(), variance.view_mut()).unwrap();
            let got = [mean.full(), variance.full()];
            near::<T>(&got, &want, &what);
            let again = moments(x.view(), axis).unwrap();
            let again = [again.0, again.1].map(|x| x.to_vec().unwrap());
            assert!(same(&got[0], &again[0]) && same(&got[1], &again[1]), "{what}: two runs differ");
            count.ran(place(&device));
        }
    }
}

fn gradients<T: Float<Acc: Poison> + Poison>(limit: f64) {
    let mut count = Cases::of("reduce moments").in_type::<T>();
    for ((sizes, x), axis) in cases::<T>().into_iter().flat_map(|case| [(case.clone(), 0), (case, 1)]) {
        let layout = layout(sizes);
        let (x, dims) = (&x[..layout.span()], layout.dims());
        let [out] = family::plan(&layout, axis).unwrap().out();
        // The mean as 32 bits hold it: all implementations are given the same.
        let (mut mean, mut variance) = (vec![T::Acc::default(); out], vec![T::Acc::default(); out]);
        family::forward(&family::plan(&layout, axis).unwrap(), x, &mut mean, &mut variance);
        let slopes = [normal::<T::Acc>(out, 1.0, 3), normal(out, 1.0, 4)];
        for (asked, accumulate) in [
            ([true, true], Accumulate::Replace),
            ([true, true], Accumulate::Add),
            ([true, false], Accumulate::Replace),
            ([false, true], Accumulate::Replace),
            ([false, false], Accumulate::Add),
        ] {
            let what = format!("{sizes:?} {axis} {asked:?} {accumulate:?}");
            let one = Layout::packed([out]).unwrap();
            let [first, second] = [0, 1].map(|i| asked[i].then_some(&*slopes[i]));
            let [of_mean, of_variance] = asked.map(|asked| asked.then_some(&one));
            let p = family::plan_backward(&layout, axis, &one, of_mean, of_variance, accumulate).unwrap();
            let before = |device: &Device| match accumulate {
                Accumulate::Replace => Fenced::<T, 2>::new(dims, device),
                Accumulate::Add => Fenced::holding(&normal(dims[0] * dims[1], 1.0, 9), dims, device),
            };
            let mut want = before(&Device::Host);
            family::backward(&p, x, &mean, first, second, want.slice());
            count.ran("reference");
            for level in Level::all() {
                let mut got = before(&Device::Host);
                cpu::backward_at(level, &p, x, &mean, first, second, got.slice());
                close(&format!("{level:?} {what}"), &got.full(), &want.full(), limit);
                count.ran("cpu");
            }
            for device in devices() {
                let what = format!("{} {what}", place(&device));
                let x = Tensor::from_slice(x, layout, &device).unwrap();
                let (mean, slopes) = (vector(&mean, &device), slopes.each_ref().map(|slopes| vector(slopes, &device)));
                let [first, second] = [0, 1].map(|i| asked[i].then(|| slopes[i].view()));
                let mut dx = before(&device);
                moments_backward_into(x.view(), axis, mean.view(), first, second, accumulate, dx.view_mut()).unwrap();
                close(&what, &dx.full(), &want.full(), limit);
                if accumulate == Accumulate::Replace {
                    let again = moments_backward(x.view(), axis, mean.view(), first, second).unwrap();
                    assert!(same(&again.to_vec().unwrap(), &dx.full()), "{what}: two runs differ");
                }
                count.ran(place(&device));
            }
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
    gradients::<f32>(1e-11);
}
#[test]
fn f16_table() {
    table::<f16>();
    gradients::<f16>(1e-6);
}
#[test]
fn bf16_table() {
    table::<bf16>();
    gradients::<bf16>(1e-5);
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    let (sizes, axes) = ([4, 3, 2], [0, 1]);
    for axis in axes {
        let layout = layout(sizes);
        let x = normal::<f64>(layout.span(), 1.0, 5);
        let p = family::plan(&layout, axis).unwrap();
        let [out] = p.out();
        let [of_mean, of_variance] = [normal::<f64>(out, 1.0, 6), normal(out, 1.0, 7)];
        let loss = |x: &[f64]| -> f64 {
            let (mut mean, mut variance) = (vec![0.0; out], vec![0.0; out]);
            family::forward(&p, x, &mut mean, &mut variance);
            (0..out).map(|i| of_mean[i] * mean[i] + of_variance[i] * variance[i]).sum()
        };
        let (mut mean, mut variance, mut dx) = (vec![0.0; out], vec![0.0; out], vec![0.0; 12]);
        family::forward(&p, &x, &mut mean, &mut variance);
        let one = Layout::packed([out]).unwrap();
        let p = family::plan_backward(&layout, axis, &one, Some(&one), Some(&one), Accumulate::Replace).unwrap();
        cpu::backward(&p, &x, &mean, Some(&of_mean), Some(&of_variance), &mut dx);
        for (i, dx) in dx.into_iter().enumerate() {
            let [up, down] = [1e-5, -1e-5].map(|by| {
                let mut x = x.clone();
                x[i / 3 * 5 + i % 3] += by;
                loss(&x)
            });
            assert!((dx - (up - down) / 2e-5).abs() < 1e-8, "{axis} {i}: {dx} {}", (up - down) / 2e-5);
        }
    }
}

/// A variance keeps its digits far from 0, and equal numbers have none at all.
#[test]
fn nothing_cancels() {
    let x: Vec<f32> = (0..2000).map(|i| 10_000.0 + (i / 2 % 2) as f32).collect();
    let [by_column, by_row] = [Layout::packed([1000, 2]).unwrap(), Layout::packed([2, 1000]).unwrap()];
    for (device, (layout, axis)) in devices().iter().flat_map(|d| [(d, (by_column, 0)), (d, (by_row, 1))]) {
        let of = |x: &[f32]| {
            let x = Tensor::from_slice(x, layout, device).unwrap();
            let (mean, variance) = moments(x.view(), axis).unwrap();
            (mean.to_vec().unwrap(), variance.to_vec().unwrap())
        };
        let (mean, variance) = of(&x);
        assert!(mean.iter().all(|mean| (mean - 10_000.5).abs() < 1e-3), "{} {mean:?}", place(device));
        assert!(variance.iter().all(|variance| (variance - 0.25).abs() < 1e-6), "{} {variance:?}", place(device));
        assert_eq!(of(&[0.1; 2000]), (vec![0.1; 2], vec![0.0; 2]), "{}", place(device));
    }
}

/// What is no number stays in its column.
#[test]
fn bad_numbers_stay_in_their_column() {
    let (layout, mut x) = (Layout::packed([50, 4]).unwrap(), normal::<f32>(200, 1.0, 3));
    (x[2], x[4 * 30 + 1]) = (f32::NAN, f32::INFINITY);
    for device in devices() {
        let x = Tensor::from_slice(&x, layout, &device).unwrap();
        let (mean, variance) = moments(x.view(), 0).unwrap();
        for numbers in [mean, variance].map(|x| x.to_vec().unwrap()) {
            assert_eq!(numbers.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [false, true, true, false]);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let x = Tensor::<f32, 2>::from_vec(normal(2500 * 300, 1.0, 1), [2500, 300], &Device::Host).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| moments(x.view(), 0).unwrap()).1.to_vec().unwrap()
    };
    assert!(same(&run(1), &run(3)));
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let range = Error::Range { op: "moments", arg: "axis", max: 1, got: 2 };
        assert_eq!(moments(x.view(), 2).err(), Some(range));
        let [two, three] = [2, 3].map(|n| vector(&vec![0.0_f32; n], &device));
        let size = |arg| Some(Error::Size { op: "moments", arg, want: 3, got: 2 });
        assert_eq!(moments_backward(x.view(), 0, two.view(), None, None).err(), size("mean"));
        assert_eq!(moments_backward(x.view(), 0, three.view(), Some(two.view()), None).err(), size("dmean"));
        assert_eq!(moments_backward(x.view(), 0, three.view(), None, Some(two.view())).err(), size("dvariance"));
    }
}
