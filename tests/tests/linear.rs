//! One table of cases; every implementation of the dense products goes through it.
use latens_core::{
    Accumulate, DType, Device, Error, Float, Layout, Tensor, View, ViewMut, bf16, f16, linear, linear_backward_into,
    linear_into,
};
use latens_cpu::linear::{Level, backward_at, forward_at};
use latens_kernels::linear as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, place, uniform};

/// `[m, n, k, padding]`. A tile on CUDA has 64 rows and columns.
const CASES: &[[usize; 4]] = &[
    [0, 5, 3, 0],
    [4, 0, 3, 0],
    [3, 2, 0, 0],
    [1, 1, 1, 0],
    [1, 33, 17, 0],
    [2, 7, 64, 3],
    [5, 64, 31, 1],
    [8, 40, 129, 0],
    [17, 65, 33, 5],
    [33, 15, 32, 0],
    [64, 64, 64, 0],
    [67, 130, 19, 2],
    [13, 70, 100, 3],
    [9, 33, 95, 0],
    // One panel of rows, which is packed where w is not.
    [20, 45, 37, 2],
    [32, 131, 64, 0],
    [30, 25, 4099, 1],
    // Sums that are made in parts: of y, of dx, of dw.
    [13, 37, 4099, 3],
    [14, 4102, 5, 1],
    [4098, 14, 5, 0],
];

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        _ => 1e-11,
    }
}

/// What one case hands to every implementation.
struct Case<T: Float> {
    sizes: [usize; 3],
    plan: family::Plan,
    accumulate: Accumulate,
    x: Vec<T>,
    w: Vec<T>,
    dy: Vec<T>,
    bias: Option<Vec<T::Acc>>,
}

impl<T: Float + Poison> Case<T>
where
    T::Acc: Poison,
{
    fn new([m, n, k, padding]: [usize; 4], accumulate: Accumulate, seed: u64) -> Self {
        let [x, w, dy] =
            [[m, k], [n, k], [m, n]].map(|[rows, width]| Layout::strided([rows, width], [width + padding, 1]).unwrap());
        let plan = family::plan_backward(&x, &w, &dy, accumulate).unwrap();
        let bias = seed.is_multiple_of(2).then(|| even(n, seed + 3));
        let [x, w, dy] = [x, w, dy].map(|layout| even(layout.span(), seed + layout.span() as u64));
        Self { sizes: [m, n, k], plan, accumulate, x, w, dy, bias }
    }

    /// Outputs before a call: poison, or numbers to add to.
    fn outputs(&self, device: &Device) -> Outputs<T> {
        fn of<T: Poison + Float, const R: usize>(dims: [usize; R], add: bool, device: &Device) -> Fenced<T, R> {
            let count = dims.iter().product();
            if add { Fenced::holding(&even(count, 9), dims, device) } else { Fenced::new(dims, device) }
        }
        let ([m, n, k], add) = (self.sizes, self.accumulate == Accumulate::Add);
        let (y, dx) = (of([m, n], add, device), of([m, k], add, device));
        Outputs { y, dx, dw: of([n, k], add, device), db: of([n], add, device) }
    }

    fn reference(&self) -> Outputs<T> {
        let mut out = self.outputs(&Device::Host);
        family::forward(&self.plan, &self.x, &self.w, self.bias.as_deref(), out.y.slice());
        let (dx, dw, db) = (Some(out.dx.slice()), Some(out.dw.slice()), Some(out.db.slice()));
        family::backward(&self.plan, &self.x, &self.w, &self.dy, dx, dw, db);
        out
    }

    /// What the host makes of it by the instructions of `level`.
    fn at(&self, level: Level) -> Outputs<T> {
        let mut out = self.outputs(&Device::Host);
        forward_at(level, &self.plan, &self.x, &self.w, self.bias.as_deref(), out.y.slice());
        let (dx, dw, db) = (Some(out.dx.slice()), Some(out.dw.slice()), Some(out.db.slice()));
        backward_at(level, &self.plan, &self.x, &self.w, &self.dy, dx, dw, db);
        out
    }

    /// What the operations make of it on a device.
    fn core(&self, device: &Device) -> Outputs<T> {
        let (p, mut out) = (&self.plan, self.outputs(device));
        let [x, w, dy] = [(&self.x, p.x()), (&self.w, p.w()), (&self.dy, p.dy())]
            .map(|(x, layout)| Tensor::from_slice(x, layout, device).unwrap());
        let bias = self.bias.as_ref().map(|bias| Tensor::from_vec(bias.clone(), [bias.len()], device).unwrap());
        let bias: Option<View<_, 1>> = bias.as_ref().map(Tensor::view);
        linear_into(x.view(), w.view(), bias, self.accumulate, out.y.view_mut()).unwrap();
        let (dx, dw, db) = (Some(out.dx.view_mut()), Some(out.dw.view_mut()), Some(out.db.view_mut()));
        linear_backward_into(x.view(), w.view(), dy.view(), self.accumulate, dx, dw, db).unwrap();
        out
    }
}

struct Outputs<T: Float> {
    y: Fenced<T, 2>,
    dx: Fenced<T, 2>,
    dw: Fenced<T::Acc, 2>,
    db: Fenced<T::Acc, 1>,
}

impl<T: Float + Poison> Outputs<T>
where
    T::Acc: Poison,
{
    fn near(&self, want: &Self, what: &str) {
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit::<T>());
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>());
        close(&format!("{what} dw"), &self.dw.full(), &want.dw.full(), 1e-11);
        close(&format!("{what} db"), &self.db.full(), &want.db.full(), 1e-11);
    }

    fn bits(&self) -> Vec<u64> {
        let (stored, summed) = ([self.y.take(), self.dx.take()].concat(), [self.dw.take(), self.db.take()].concat());
        stored.iter().map(|x| x.wide().to_bits()).chain(summed.iter().map(|x| x.wide().to_bits())).collect()
    }
}

fn even<T: Float>(count: usize, seed: u64) -> Vec<T> {
    uniform(count, -1.0, 1.0, seed)
}

fn table<T: Float + Poison>()
where
    T::Acc: Poison,
{
    let mut cases = Cases::of("linear");
    for (seed, &sizes) in CASES.iter().enumerate() {
        for accumulate in [Accumulate::Replace, Accumulate::Add] {
            let case = Case::<T>::new(sizes, accumulate, seed as u64);
            let want = case.reference();
            cases.ran("reference");
            for level in Level::all() {
                let cpu = case.at(level);
                cpu.near(&want, &format!("{level:?} {sizes:?} {accumulate:?}"));
                cases.ran("cpu");
            }
            for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                let got = case.core(&device);
                got.near(&want, &format!("{} {sizes:?} {accumulate:?}", place(&device)));
                assert_eq!(got.bits(), case.core(&device).bits(), "{} {sizes:?}: two runs differ", place(&device));
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

/// A row that is not finite spoils its own row of the result and no other.
#[test]
fn rows_keep_apart() {
    fn check<T: Float>(m: usize) {
        let (n, k) = (37, 50);
        for device in devices() {
            let mut x = even::<T>(m * k, 1);
            let clean = Tensor::from_vec(x.clone(), [m, k], &device).unwrap();
            (x[3], x[(m - 1) * k]) = (T::narrow(f64::NAN), T::narrow(f64::INFINITY));
            let x = Tensor::from_vec(x, [m, k], &device).unwrap();
            let w = Tensor::from_vec(even::<T>(n * k, 2), [n, k], &device).unwrap();
            let [clean, y] = [&clean, &x].map(|x| linear(x.view(), w.view(), None).unwrap().to_vec().unwrap());
            assert!(y[..n].iter().all(|y| y.wide().is_nan()));
            assert!(y[(m - 1) * n..].iter().all(|y| !y.wide().is_finite()));
            let inner = n..(m - 1) * n;
            assert!(y[inner.clone()].iter().zip(&clean[inner]).all(|(a, b)| a.wide() == b.wide()));
        }
    }
    for m in [3, 9, 20, 40] {
        check::<f32>(m);
        check::<f16>(m);
        check::<bf16>(m);
    }
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    let ([m, n, k], h) = ([3, 4, 5], 1e-4);
    let case = Case::<f64>::new([m, n, k, 2], Accumulate::Replace, 2);
    let loss = |x: &[f64], w: &[f64], bias: &[f64]| -> f64 {
        let mut y = vec![0.0; m * n];
        family::forward(&case.plan, x, w, Some(bias), &mut y);
        (0..m * n).map(|e| y[e] * case.dy[e / n * (n + 2) + e % n]).sum()
    };
    let bias = case.bias.clone().unwrap();
    let moved = |of: &[f64], at: usize, by: f64| {
        let mut of = of.to_vec();
        of[at] += by;
        of
    };
    let out = case.reference();
    let (dx, dw, db) = (out.dx.full(), out.dw.full(), out.db.full());
    let slope = |up: f64, down: f64| (up - down) / (2.0 * h);
    assert_eq!([dx.len(), dw.len(), db.len()], [m * k, n * k, n]);
    for (at, dx) in dx.into_iter().enumerate() {
        let x = |by| moved(&case.x, at / k * (k + 2) + at % k, by);
        assert!((dx - slope(loss(&x(h), &case.w, &bias), loss(&x(-h), &case.w, &bias))).abs() < 1e-9);
    }
    for (at, dw) in dw.into_iter().enumerate() {
        let w = |by| moved(&case.w, at / k * (k + 2) + at % k, by);
        assert!((dw - slope(loss(&case.x, &w(h), &bias), loss(&case.x, &w(-h), &bias))).abs() < 1e-9);
    }
    for (at, db) in db.into_iter().enumerate() {
        let b = |by| moved(&bias, at, by);
        assert!((db - slope(loss(&case.x, &case.w, &b(h)), loss(&case.x, &case.w, &b(-h)))).abs() < 1e-9);
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let of = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let (x, w, mut y) = (of([2, 3]), of([4, 3]), of([2, 4]));
        let size = |arg, want, got| Some(Error::Size { op: "linear", arg, want, got });
        assert_eq!(linear(x.view(), of([4, 5]).view(), None).err(), size("w", 3, 5));
        let bias = Tensor::zeros([3], &device).unwrap();
        assert_eq!(linear(x.view(), w.view(), Some(bias.view())).err(), size("bias", 4, 3));
        let into = |y: ViewMut<'_, f32, 2>| linear_into(x.view(), w.view(), None, Accumulate::Replace, y).err();
        assert_eq!(into(of([2, 5]).view_mut()), size("y", 4, 5));
        let mut wide = of([2, 5]);
        let gaps = wide.view_mut().narrow(1, 0, 4).unwrap();
        assert_eq!(into(gaps), Some(Error::Stride { op: "linear", arg: "y", want: 4, got: 5 }));
        assert_eq!(into(y.view_mut()), None);
        let back = |dy: &Tensor<f32, 2>, dw: &mut Tensor<f32, 2>| {
            let call = linear_backward_into;
            call(x.view(), w.view(), dy.view(), Accumulate::Replace, None, Some(dw.view_mut()), None).err()
        };
        assert_eq!(back(&of([3, 4]), &mut of([4, 3])), size("dy", 2, 3));
        assert_eq!(back(&y, &mut of([4, 2])), size("dw", 3, 2));
        if !device.is_host() {
            let there = Tensor::<f32, 2>::zeros([4, 3], &Device::Host).unwrap();
            let error = Some(Error::Device { op: "linear", arg: "w" });
            assert_eq!(linear(x.view(), there.view(), None).err(), error);
        }
    }
}
