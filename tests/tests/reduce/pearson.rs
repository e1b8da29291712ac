//! Correlations, and their gradients.
use latens_core::{
    Accumulate, Device, Error, Float, Layout, Tensor, bf16, f16, pearson, pearson_backward, pearson_backward_into,
    pearson_into,
};
use latens_cpu::Level;
use latens_cpu::reduce::pearson as cpu;
use latens_kernels::reduce::pearson as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, small, vector};

/// Writes the gradients that are wanted.
type Make<'a, T> = &'a dyn Fn(Option<&mut [T]>, Option<&mut [T]>);

/// `[rows, n, columns of y, padding]`.
const CASES: &[[usize; 4]] = &[
    [0, 4, 4, 0],
    [4, 0, 0, 0],
    [4, 0, 1, 0],
    [1, 1, 1, 0],
    [2, 3, 1, 1],
    [31, 33, 33, 7],
    [33, 32, 1, 0],
    [257, 5, 5, 2],
    [1025, 129, 1, 0],
    [1100, 130, 130, 0],
];

#[derive(Clone)]
struct Case<T> {
    layouts: [Layout<2>; 2],
    x: Vec<T>,
    y: Vec<T>,
}

/// Related columns, some far from 0; then, unless there are many, special numbers, and equal ones.
fn cases<T: Float>() -> Vec<Case<T>> {
    let mut all = Vec::new();
    let sizes = CASES.iter().filter(|sizes| !small() || sizes[0] * sizes[1] < 10_000);
    for (seed, &[rows, n, columns, padding]) in (1..).zip(sizes) {
        let layouts = [n, columns].map(|n| Layout::strided([rows, n], [n + padding, 1]).unwrap());
        let [count, other] = layouts.map(|layout| layout.span());
        let (x, noise) = (normal::<T>(count, 1.0, seed), normal::<T>(other, 1.0, seed + 50));
        let share = |i: usize| if count == other { x[i].wide() } else { 0.0 };
        let y = noise.iter().enumerate().map(|(i, noise)| T::narrow(20.0 + noise.wide() - share(i))).collect();
        all.push(Case { layouts, x: x.clone(), y });
        if count > 2000 {
            continue;
        }
        all.push(Case { layouts, x: numbers(count, seed), y: noise.clone() });
        all.push(Case { layouts, x: vec![T::narrow(0.1); count], y: noise });
    }
    all
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn plan(&self) -> family::Plan {
        family::plan(&self.layouts[0], &self.layouts[1]).unwrap()
    }

    fn forward(&self, make: impl Fn(&family::Plan, &mut [T::Acc], &mut [T::Acc])) -> [Vec<T::Acc>; 2] {
        let p = self.plan();
        let mut r = Fenced::<T::Acc, 1>::new(p.out(), &Device::Host);
        let mut saved = Fenced::<T::Acc, 2>::new(p.saved(), &Device::Host);
        make(&p, r.slice(), saved.slice());
        [r.full(), saved.full()]
    }

    fn on(&self, device: &Device) -> [Tensor<T, 2>; 2] {
        let of = |data, layout| Tensor::from_slice(data, layout, device).unwrap();
        [of(&self.x, self.layouts[0]), of(&self.y, self.layouts[1])]
    }

    fn outputs(&self, accumulate: Accumulate, device: &Device) -> [Fenced<T, 2>; 2] {
        self.layouts.map(|layout| match accumulate {
            Accumulate::Replace => Fenced::new(layout.dims(), device),
            Accumulate::Add => Fenced::holding(&normal(layout.len(), 0.1, 9), layout.dims(), device),
        })
    }

    /// Terms of which gradients are the differences: errors are measured beside them.
    fn scale(&self, [r, saved]: &[Vec<T::Acc>; 2], dr: &[T::Acc]) -> [Vec<f64>; 2] {
        let ([rows, n], shared) = (self.layouts[0].dims(), self.plan().shared());
        let mut all = self.layouts.map(|layout| vec![0.0_f64; layout.len()]);
        for (i, j) in (0..rows).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let [mean, center, size, extent] = [0, 1, 2, 3].map(|of| saved[of * n + j].wide());
            if size * extent == 0.0 {
                continue;
            }
            let at = if shared { 0 } else { j };
            let u = (self.x[i * self.layouts[0].strides()[0] + j].wide() - mean) / size;
            let w = (self.y[i * self.layouts[1].strides()[0] + at].wide() - center) / extent;
            let (dr, r) = (dr[j].wide().abs(), r[j].wide().abs());
            all[0][i * n + j] = dr * (w.abs() + r * u.abs()) / size;
            all[1][if shared { i } else { i * n + j }] += dr * (u.abs() + r * w.abs()) / extent;
        }
        all
    }
}

fn near<T: Float>(got: &[Vec<T>; 2], want: &[Vec<T>; 2], scale: &[Vec<f64>; 2], limit: f64, what: &str) {
    for i in 0..2 {
        let beside = |x: &[T]| x.iter().map(|x| x.wide()).chain(scale[i].iter().copied()).collect::<Vec<_>>();
        close(&format!("{what} {}", ["dx", "dy"][i]), &beside(&got[i]), &beside(&want[i]), limit);
    }
}

fn table<T: Float<Acc: Poison> + Poison>(limit: f64) {
    let mut count = Cases::of("reduce pearson").in_type::<T>();
    for (number, case) in cases::<T>().into_iter().enumerate() {
        let what = format!("{number} {:?}", case.layouts.map(|layout| layout.dims()));
        let want = case.forward(|p, r, saved| family::forward(p, &case.x, &case.y, r, saved));
        count.ran("reference");
        let check = |got: &[Vec<T::Acc>; 2], what: &str| {
            close(&format!("{what} r"), &got[0], &want[0], 1e-11);
            close(&format!("{what} saved"), &got[1], &want[1], 1e-11);
        };
        for level in Level::all() {
            let got = case.forward(|p, r, saved| cpu::forward_at(level, p, &case.x, &case.y, r, saved));
            check(&got, &format!("{level:?} {what}"));
            count.ran("cpu");
        }
        for device in devices() {
            let ([x, y], p) = (case.on(&device), case.plan());
            let mut r = Fenced::<T::Acc, 1>::new(p.out(), &device);
            let mut saved = Fenced::<T::Acc, 2>::new(p.saved(), &device);
            pearson_into(x.view(), y.view(), r.view_mut(), saved.view_mut()).unwrap();
            check(&[r.full(), saved.full()], &format!("{} {what}", place(&device)));
            let again = pearson(x.view(), y.view()).unwrap();
            assert!(same(&again.0.to_vec().unwrap(), &r.full()) && same(&again.1.to_vec().unwrap(), &saved.full()));
            count.ran(place(&device));
        }
        for accumulate in [Accumulate::Replace, Accumulate::Add] {
            gradients(&case, &want, accumulate, limit, &what, &mut count);
        }
    }
}

fn gradients<T: Float<Acc: Poison> + Poison>(
    case: &Case<T>,
    results: &[Vec<T::Acc>; 2],
    accumulate: Accumulate,
    limit: f64,
    what: &str,
    count: &mut Cases,
) {
    let ([r, saved], n, what) = (results, results[0].len(), format!("{what} {accumulate:?}"));
    let (dr, one) = (normal::<T::Acc>(n, 1.0, 77), Layout::packed([n]).unwrap());
    let p = family::plan_backward(
        &case.layouts[0],
        &case.layouts[1],
        &one,
        &Layout::packed([4, n]).unwrap(),
        &one,
        accumulate,
    );
    let (p, scale) = (p.unwrap(), case.scale(results, &dr));
    let host = |make: Make<'_, T>| {
        let [mut dx, mut dy] = case.outputs(accumulate, &Device::Host);
        make(Some(dx.slice()), Some(dy.slice()));
        [dx.full(), dy.full()]
    };
    let want = host(&|dx, dy| family::backward(&p, &case.x, &case.y, r, saved, &dr, dx, dy));
    count.ran("reference");
    for level in Level::all() {
        let got = host(&|dx, dy| cpu::backward_at(level, &p, &case.x, &case.y, r, saved, &dr, dx, dy));
        near(&got, &want, &scale, limit, &format!("{level:?} {what}"));
        count.ran("cpu");
    }
    for device in devices() {
        let ([x, y], [r, dr]) = (case.on(&device), [r, &dr].map(|x| vector(x, &device)));
        let saved = Tensor::from_vec(saved.clone(), [4, n], &device).unwrap();
        let [mut dx, mut dy] = case.outputs(accumulate, &device);
        let call = |dx: Option<&mut Fenced<T, 2>>, dy: Option<&mut Fenced<T, 2>>| {
            let (r, saved, dr) = (r.view(), saved.view(), dr.view());
            let [dx, dy] = [dx, dy].map(|to| to.map(Fenced::view_mut));
            pearson_backward_into(x.view(), y.view(), r, saved, dr, accumulate, dx, dy).unwrap();
        };
        call(Some(&mut dx), Some(&mut dy));
        let got = [dx.full(), dy.full()];
        near(&got, &want, &scale, limit, &format!("{} {what}", place(&device)));
        // One at a time: the same bits, and nothing else is touched.
        let [mut only, mut other] = case.outputs(accumulate, &device);
        call(None, Some(&mut other));
        call(Some(&mut only), None);
        assert!(same(&only.full(), &got[0]) && same(&other.full(), &got[1]), "{what}");
        if accumulate == Accumulate::Replace {
            let all = pearson_backward(x.view(), y.view(), r.view(), saved.view(), dr.view()).unwrap();
            assert!(same(&all.0.to_vec().unwrap(), &got[0]) && same(&all.1.to_vec().unwrap(), &got[1]), "{what}");
        }
        count.ran(place(&device));
    }
}

#[test]
fn f32_table() {
    table::<f32>(1e-11);
}
#[test]
fn f16_table() {
    table::<f16>(1e-6);
}
#[test]
fn bf16_table() {
    table::<bf16>(1e-5);
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    for columns in [3, 1] {
        let layouts = [3, columns].map(|n| Layout::strided([5, n], [n + 1, 1]).unwrap());
        let [x, y] = layouts.map(|layout| normal::<f64>(layout.span(), 1.0, 4 + layout.span() as u64));
        let (p, dr) = (family::plan(&layouts[0], &layouts[1]).unwrap(), [0.5, -1.0, 2.0]);
        let loss = |x: &[f64], y: &[f64]| -> f64 {
            let (mut r, mut saved) = ([0.0; 3], [0.0; 12]);
            family::forward(&p, x, y, &mut r, &mut saved);
            r.iter().zip(dr).map(|(r, dr)| r * dr).sum()
        };
        let (mut r, mut saved, mut dx, mut dy) = ([0.0; 3], [0.0; 12], vec![0.0; 15], vec![0.0; 5 * columns]);
        family::forward(&p, &x, &y, &mut r, &mut saved);
        cpu::backward(&p, &x, &y, &r, &saved, &dr, Some(&mut dx), Some(&mut dy));
        let slope = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let [up, down] = [1e-5, -1e-5].map(|by| {
                let mut of = of.to_vec();
                of[at] += by;
                loss(&of)
            });
            (up - down) / 2e-5
        };
        for (i, dx) in dx.into_iter().enumerate() {
            let want = slope(&x, i / 3 * 4 + i % 3, &|x| loss(x, &y));
            assert!((dx - want).abs() < 1e-8, "dx {columns} {i}: {dx} {want}");
        }
        for (i, dy) in dy.into_iter().enumerate() {
            let want = slope(&y, i / columns * (columns + 1) + i % columns, &|y| loss(&x, y));
            assert!((dy - want).abs() < 1e-8, "dy {columns} {i}: {dy} {want}");
        }
    }
}

/// Straight lines have correlations of 1 and -1, and what does not vary has none, and no gradient.
#[test]
fn known_correlations() {
    let line: Vec<f32> = (0..600).map(|i| if i % 3 == 2 { 0.7 } else { 300.0 + (i / 3) as f32 }).collect();
    let other: Vec<f32> = (0..600).map(|i| [2.0, -3.0, 1.0][i % 3] * (i / 3) as f32).collect();
    for device in devices() {
        let [x, y] = [line.clone(), other.clone()].map(|x| Tensor::from_vec(x, [200, 3], &device).unwrap());
        let (r, saved) = pearson(x.view(), y.view()).unwrap();
        let values = r.to_vec().unwrap();
        assert!((values[0] - 1.0).abs() < 1e-6 && values[0] <= 1.0, "{} {values:?}", place(&device));
        assert!((values[1] + 1.0).abs() < 1e-6 && values[1] >= -1.0 && values[2] == 0.0, "{values:?}");
        let dr = vector(&[1.0_f32; 3], &device);
        let (dx, dy) = pearson_backward(x.view(), y.view(), r.view(), saved.view(), dr.view()).unwrap();
        for d in [dx, dy].map(|d| d.to_vec().unwrap()) {
            assert!(d.chunks(3).all(|d| d[2] == 0.0 && d[0].abs() < 1e-6), "{} {:?}", place(&device), &d[..3]);
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let of = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let call = |y| pearson(of([4, 3]).view(), of(y).view()).err();
        assert_eq!((call([4, 3]), call([4, 1])), (None, None));
        assert_eq!(call([5, 3]), Some(Error::Size { op: "pearson", arg: "y", want: 4, got: 5 }));
        assert_eq!(call([4, 2]), Some(Error::Size { op: "pearson", arg: "y", want: 3, got: 2 }));
        let one = |n: usize| vector(&vec![0.0_f32; n], &device);
        let back = |r, saved, dr| {
            let (x, r, dr) = (of([4, 3]), one(r), one(dr));
            pearson_backward(x.view(), x.view(), r.view(), of(saved).view(), dr.view()).err()
        };
        assert_eq!(back(3, [4, 3], 3), None);
        assert_eq!(back(2, [4, 3], 3), Some(Error::Size { op: "pearson", arg: "r", want: 3, got: 2 }));
        assert_eq!(back(3, [3, 3], 3), Some(Error::Size { op: "pearson", arg: "saved", want: 4, got: 3 }));
        assert_eq!(back(3, [4, 3], 4), Some(Error::Size { op: "pearson", arg: "dr", want: 3, got: 4 }));
    }
}
