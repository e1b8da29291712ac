//! Columns normalised by the statistics of a batch, and their gradients.
use crate::vector;
use latens_core::{
    Accumulate, Device, Error, Float, Layout, Tensor, batch_norm, batch_norm_backward, batch_norm_backward_into,
    batch_norm_backward_workspace, batch_norm_by, batch_norm_into, bf16, f16,
};
use latens_cpu::Level;
use latens_cpu::norm::batch as cpu;
use latens_kernels::norm::batch as family;
use latens_tests::{Cases, Fenced, Poison, bytes, close, devices, normal, numbers, place, same, small};

/// `[rows, n, padding]`.
const CASES: &[[usize; 3]] =
    &[[0, 5, 0], [3, 0, 0], [2, 1, 0], [5, 31, 1], [33, 33, 7], [40, 260, 0], [300, 3, 2], [2100, 2, 0]];

struct Case<T: Float> {
    plan: family::Plan,
    x: Vec<T>,
    dy: Vec<T>,
    weight: Vec<T::Acc>,
    bias: Option<Vec<T::Acc>>,
}

/// `y`, mean and variance.
type Forward<T> = (Vec<T>, [Vec<<T as Float>::Acc>; 2]);

/// Gradients.
struct Gradients<T: Float> {
    dx: Fenced<T, 2>,
    sums: [Fenced<T::Acc, 1>; 2],
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new([rows, n, padding]: [usize; 3], biased: bool, accumulate: Accumulate, special: bool) -> Self {
        let [x, dy] = [padding, 2 * padding].map(|gap| Layout::strided([rows, n], [n + gap, 1]).unwrap());
        let (one, seed) = (Layout::packed([n]).unwrap(), (10 * n + rows) as u64);
        let given = [("mean", one), ("variance", one), ("weight", one)];
        let plan = family::plan_backward(&x, &given, &dy, 1e-5, accumulate).unwrap();
        let ordinary = normal::<T>(x.span(), 1.0, seed).into_iter().map(|x| T::narrow(x.wide() + 3.0)).collect();
        let x = if special { numbers(x.span(), seed) } else { ordinary };
        let bias = biased.then(|| normal(n, 1.0, 72));
        Self { plan, x, dy: normal(dy.span(), 1.0, seed + 1), weight: normal(n, 1.0, 71), bias }
    }

    fn forward(&self, make: impl FnOnce(&mut [T], &mut [T::Acc], &mut [T::Acc])) -> Forward<T> {
        let (dims, at) = (self.plan.out(), &Device::Host);
        let (mut y, [mut mean, mut variance]) =
            (Fenced::<T, 2>::new(dims, at), [(); 2].map(|()| Fenced::new([dims[1]], at)));
        make(y.slice(), mean.slice(), variance.slice());
        (y.full(), [mean.full(), variance.full()])
    }

    fn outputs(&self, device: &Device) -> Gradients<T> {
        let dims @ [rows, n] = self.plan.out();
        match self.plan.accumulate() {
            Accumulate::Replace => {
                Gradients { dx: Fenced::new(dims, device), sums: [Fenced::new([n], device), Fenced::new([n], device)] }
            }
            Accumulate::Add => Gradients {
                dx: Fenced::holding(&normal(rows * n, 1.0, 7), dims, device),
                sums: [8, 9].map(|seed| Fenced::holding(&normal(n, 1.0, seed), [n], device)),
            },
        }
    }

    /// The reference, or the host by the instructions of `level`.
    fn backward(&self, level: Option<Level>, [mean, variance]: &[Vec<T::Acc>; 2]) -> Gradients<T> {
        let (Self { plan, x, dy, weight, .. }, mut out) = (self, self.outputs(&Device::Host));
        let (given, [dweight, dbias]) = ([&mean[..], &variance[..], &weight[..]], out.sums.each_mut());
        let (dx, dweight, dbias) = (Some(out.dx.slice()), Some(dweight.slice()), Some(dbias.slice()));
        match level {
            Some(level) => cpu::backward_at(level, plan, x, given, dy, dx, dweight, dbias),
            None => family::backward(plan, x, given, dy, dx, dweight, dbias),
        }
        out
    }

    /// The operation on a device, for those outputs that are asked for.
    fn core(&self, [mean, variance]: &[Vec<T::Acc>; 2], device: &Device, asked: [bool; 3]) -> Gradients<T> {
        let (p, mut out) = (&self.plan, self.outputs(device));
        let [x, dy] = [(&self.x, p.x()), (&self.dy, p.dy())].map(|(x, l)| Tensor::from_slice(x, l, device).unwrap());
        let [mean, variance, weight] = [mean, variance, &self.weight].map(|x| vector(x, device));
        let mut work = bytes(batch_norm_backward_workspace(&p.x(), device).unwrap(), device);
        let [dweight, dbias] = out.sums.each_mut();
        let dx = asked[0].then(|| out.dx.view_mut());
        let (dweight, dbias) = (asked[1].then(|| dweight.view_mut()), asked[2].then(|| dbias.view_mut()));
        let (x, dy, mean, variance, weight) = (x.view(), dy.view(), mean.view(), variance.view(), weight.view());
        let (eps, how, work) = (p.eps(), p.accumulate(), work.view_mut());
        batch_norm_backward_into(x, mean, variance, weight, dy, eps, how, dx, dweight, dbias, work).unwrap();
        out
    }

    /// `dy weight / root`: what is left of it is `dx`, so errors are measured beside it.
    fn scale(&self, variance: &[T::Acc]) -> Vec<f64> {
        let ([rows, n], p) = (self.plan.out(), &self.plan);
        let of = |r: usize, j: usize| {
            let root = (variance[j].wide() + f64::from(p.eps())).sqrt();
            self.dy[r * p.dy().strides()[0] + j].wide() * self.weight[j].wide() / root
        };
        (0..rows).flat_map(|r| (0..n).map(move |j| (r, j))).map(|(r, j)| of(r, j)).collect()
    }
}

fn check<T: Float<Acc: Poison> + Poison>(case: &Case<T>, limit: f64, what: &str, cases: &mut Cases) {
    let (p, x, weight, bias) = (&case.plan, &case.x, &case.weight, case.bias.as_deref());
    let want = case.forward(|y, mean, variance| family::train(p, x, weight, bias, y, mean, variance).unwrap());
    let near = |got: &Forward<T>, what: &str| {
        close(&format!("{what} y"), &got.0, &want.0, limit);
        let beside = |of: &[Vec<T::Acc>; 2]| of.concat().iter().map(|x| x.wide()).collect::<Vec<_>>();
        close(&format!("{what} statistics"), &beside(&got.1), &beside(&want.1), 1e-11);
    };
    cases.ran("reference");
    for level in Level::all() {
        let got = case.forward(|y, m, v| cpu::train_at(level, p, x, weight, bias, y, m, v).unwrap());
        near(&got, &format!("{level:?} {what}"));
        cases.ran("cpu");
    }
    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let x = Tensor::from_slice(x, p.x(), &device).unwrap();
        let (weight, bias) = (vector(weight, &device), bias.map(|bias| vector(bias, &device)));
        let bias = || bias.as_ref().map(Tensor::view);
        let mut y = Fenced::<T, 2>::new(p.out(), &device);
        let [mut mean, mut variance] = [(); 2].map(|()| Fenced::<T::Acc, 1>::new([p.out()[1]], &device));
        let (to, m, v) = (y.view_mut(), mean.view_mut(), variance.view_mut());
        batch_norm_into(x.view(), weight.view(), bias(), p.eps(), to, m, v).unwrap();
        near(&(y.full(), [mean.full(), variance.full()]), &what);
        // By the statistics it gave, the same bits.
        let all = batch_norm(x.view(), weight.view(), bias(), p.eps()).unwrap();
        let by = batch_norm_by(x.view(), all.mean.view(), all.variance.view(), weight.view(), bias(), p.eps());
        for again in [all.y, by.unwrap()] {
            assert!(same(&again.to_vec().unwrap(), &y.full()), "{what}: two runs differ");
        }
        cases.ran(place(&device));
    }
    gradients(case, &want.1, limit, what, cases);
}

fn gradients<T: Float<Acc: Poison> + Poison>(
    case: &Case<T>,
    statistics: &[Vec<T::Acc>; 2],
    limit: f64,
    what: &str,
    cases: &mut Cases,
) {
    let (want, scale) = (case.backward(None, statistics), case.scale(&statistics[1]));
    let near = |got: &Gradients<T>, what: &str| {
        let beside = |dx: Vec<T>| dx.iter().map(|dx| dx.wide()).chain(scale.iter().copied()).collect::<Vec<_>>();
        close(&format!("{what} dx"), &beside(got.dx.full()), &beside(want.dx.full()), limit);
        for (got, want) in got.sums.iter().zip(&want.sums) {
            close(&format!("{what} sums"), &got.full(), &want.full(), 1e-11);
        }
    };
    cases.ran("reference");
    for level in Level::all() {
        near(&case.backward(Some(level), statistics), &format!("{level:?} {what}"));
        cases.ran("cpu");
    }
    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let got = case.core(statistics, &device, [true; 3]);
        near(&got, &what);
        // Again, one at a time: the same bits.
        let [x, w, b] = [0, 1, 2].map(|only| case.core(statistics, &device, [0, 1, 2].map(|i| i == only)));
        assert!(same(&got.dx.take(), &x.dx.take()) && same(&got.sums[0].take(), &w.sums[0].take()), "{what}");
        assert!(same(&got.sums[1].take(), &b.sums[1].take()), "{what}");
        cases.ran(place(&device));
    }
}

fn table<T: Float<Acc: Poison> + Poison>(limit: f64) {
    let mut cases = Cases::of("norm batch").in_type::<T>();
    for &sizes in CASES.iter().filter(|sizes| !small() || sizes[0] * sizes[1] < 5000) {
        for (biased, accumulate, special) in
            [(false, Accumulate::Replace, false), (true, Accumulate::Add, false), (true, Accumulate::Replace, true)]
        {
            let what = format!("{sizes:?} {biased} {accumulate:?} {special}");
            check(&Case::<T>::new(sizes, biased, accumulate, special), limit, &what, &mut cases);
        }
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
    table::<bf16>(5e-5);
}

/// The gradients of the reference are the slopes of a training call of the reference.
#[test]
fn gradient() {
    let case = Case::<f64>::new([6, 3, 1], true, Accumulate::Replace, false);
    let (p, bias, [rows, n]) = (&case.plan, case.bias.clone().unwrap(), case.plan.out());
    let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
        let (mut y, mut mean, mut variance) = (vec![0.0; rows * n], vec![0.0; n], vec![0.0; n]);
        family::train(p, x, weight, Some(bias), &mut y, &mut mean, &mut variance).unwrap();
        (0..rows * n).map(|i| y[i] * case.dy[i / n * p.dy().strides()[0] + i % n]).sum()
    };
    let statistics = case.forward(|y, mean, variance| {
        family::train(p, &case.x, &case.weight, Some(&bias), y, mean, variance).unwrap();
    });
    let slope = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
        let [up, down] = [1e-5, -1e-5].map(|by| {
            let mut of = of.to_vec();
            of[at] += by;
            loss(&of)
        });
        (up - down) / 2e-5
    };
    let out = case.backward(Some(Level::best()), &statistics.1);
    let near = |what: &str, got: f64, want: f64| assert!((got - want).abs() < 1e-7, "{what} {got} {want}");
    for (i, dx) in out.dx.full().into_iter().enumerate() {
        let at = i / n * p.x().strides()[0] + i % n;
        near("dx", dx, slope(&case.x, at, &|x| loss(x, &case.weight, &bias)));
    }
    for (i, (dweight, dbias)) in out.sums[0].full().into_iter().zip(out.sums[1].full()).enumerate() {
        near("dweight", dweight, slope(&case.weight, i, &|weight| loss(&case.x, weight, &bias)));
        near("dbias", dbias, slope(&bias, i, &|bias| loss(&case.x, &case.weight, bias)));
    }
}

/// A column that does not vary becomes the bias, and what is no number stays in its column.
#[test]
fn columns_apart() {
    for device in devices() {
        let x: Vec<f32> = (0..60).map(|i| [0.1, i as f32, if i == 32 { f32::NAN } else { 1.0 }][i % 3]).collect();
        let x = Tensor::from_vec(x, [20, 3], &device).unwrap();
        let (weight, bias) = (vector(&[2.0_f32; 3], &device), vector(&[0.5_f32; 3], &device));
        let all = batch_norm(x.view(), weight.view(), Some(bias.view()), 1e-5).unwrap();
        let y = all.y.to_vec().unwrap();
        assert!(y.chunks(3).all(|y| y[0] == 0.5 && y[1].is_finite() && y[2].is_nan()), "{}", place(&device));
        let (mean, variance) = (all.mean.view(), all.variance.view());
        let (dx, ..) = batch_norm_backward(x.view(), mean, variance, weight.view(), x.view(), 1e-5).unwrap();
        let dx = dx.to_vec().unwrap();
        assert!(dx.chunks(3).all(|dx| dx[0].is_finite() && dx[1].is_finite() && dx[2].is_nan()));
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::<f32, 2>::zeros([2, 4], &device).unwrap();
        let [four, three] = [4, 3].map(|n| vector(&vec![1.0_f32; n], &device));
        let size = |arg| Some(Error::Size { op: "batch_norm", arg, want: 4, got: 3 });
        assert_eq!(batch_norm(x.view(), three.view(), None, 0.0).err(), size("weight"));
        assert_eq!(batch_norm(x.view(), four.view(), Some(three.view()), 0.0).err(), size("bias"));
        let by = batch_norm_by(x.view(), four.view(), three.view(), four.view(), None, 0.0).err();
        assert_eq!(by, size("variance"));
        let value = Error::Value { op: "batch_norm", arg: "eps", want: "a number from 0 on" };
        assert_eq!(batch_norm(x.view(), four.view(), None, -1.0).err(), Some(value));
        let dy = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let (mean, variance) = (four.view(), four.view());
        assert_eq!(batch_norm_backward(x.view(), mean, variance, four.view(), dy.view(), 0.0).err(), size("dy"));
    }
}
