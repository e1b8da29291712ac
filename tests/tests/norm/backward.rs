//! The gradients.
use crate::{CASES, vector};
use latens_core::{
    Accumulate, Device, Float, Layout, Tensor, bf16, f16, layer_norm_backward, layer_norm_backward_into,
    norm_backward_workspace, rms_norm_backward, rms_norm_backward_into,
};
use latens_cpu::Level;
use latens_cpu::norm::{backward, backward_at};
use latens_kernels::norm::{self as family, Norm};
use latens_tests::{Cases, Fenced, Poison, bytes, close, devices, normal, numbers, place, same, small};

/// More cases: groups of several rows on CUDA, and sums that do not fit the memory of a block there.
const LONG: &[[usize; 3]] = &[[37, 3, 1], [5, 30_011, 0]];

/// What one case hands to every implementation.
struct Case<T: Float> {
    plan: family::Plan,
    x: Vec<T>,
    weight: Vec<T::Acc>,
    dy: Vec<T>,
}

/// What it gets back.
struct Gradients<T: Float> {
    dx: Fenced<T, 2>,
    dweight: Fenced<T::Acc, 1>,
    dbias: Fenced<T::Acc, 1>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    /// Rows of ordinary numbers; `special` ones among them in one of the inputs.
    fn new(norm: Norm, [rows, n, padding]: [usize; 3], accumulate: Accumulate, special: Option<usize>) -> Self {
        let [x, dy] = [padding, 2 * padding].map(|gap| Layout::strided([rows, n], [n + gap, 1]).unwrap());
        let weight = Layout::packed([n]).unwrap();
        let plan = family::plan_backward(norm, &x, &weight, &dy, 1e-5, accumulate).unwrap();
        let draw = |input: usize, count: usize| {
            let seed = (10 * n + rows + input) as u64;
            if special == Some(input) { numbers(count, seed) } else { normal(count, 1.0, seed) }
        };
        Self { plan, x: draw(0, x.span()), weight: normal(n, 1.0, 71), dy: draw(1, dy.span()) }
    }

    /// Outputs before a call: poison, or numbers to add to.
    fn outputs(&self, device: &Device) -> Gradients<T> {
        let dims @ [rows, n] = self.plan.out();
        match self.plan.accumulate() {
            Accumulate::Replace => Gradients {
                dx: Fenced::new(dims, device),
                dweight: Fenced::new([n], device),
                dbias: Fenced::new([n], device),
            },
            Accumulate::Add => Gradients {
                dx: Fenced::holding(&normal(rows * n, 1.0, 7), dims, device),
                dweight: Fenced::holding(&normal(n, 1.0, 8), [n], device),
                dbias: Fenced::holding(&normal(n, 1.0, 9), [n], device),
            },
        }
    }

    /// The reference, or the host by the instructions of `level`.
    fn host(&self, level: Option<Level>) -> Gradients<T> {
        let (Self { plan, x, weight, dy }, mut out) = (self, self.outputs(&Device::Host));
        let (dx, dweight, dbias) = (Some(out.dx.slice()), Some(out.dweight.slice()), Some(out.dbias.slice()));
        match level {
            Some(level) => backward_at(level, plan, x, weight, dy, dx, dweight, dbias),
            None => family::backward(plan, x, weight, dy, dx, dweight, dbias),
        }
        out
    }

    /// The operation on a device, for those outputs that are asked for; `dbias` only of layer norm.
    fn core(&self, device: &Device, asked: [bool; 3]) -> Gradients<T> {
        let (p, mut out) = (&self.plan, self.outputs(device));
        let [x, dy] = [(&self.x, p.x()), (&self.dy, p.dy())].map(|(x, l)| Tensor::from_slice(x, l, device).unwrap());
        let (weight, (x, dy)) = (vector(&self.weight, device), (x.view(), dy.view()));
        // For dx alone no scratch is needed.
        let scratch = if asked == [true, false, false] { 0 } else { norm_backward_workspace(&p.x(), device).unwrap() };
        let mut scratch = bytes(scratch, device);
        let (scratch, (weight, eps, how)) = (scratch.view_mut(), (weight.view(), p.eps(), p.accumulate()));
        let dx = asked[0].then(|| out.dx.view_mut());
        let (dweight, dbias) = (asked[1].then(|| out.dweight.view_mut()), asked[2].then(|| out.dbias.view_mut()));
        match p.norm() {
            Norm::Rms => rms_norm_backward_into(x, weight, dy, eps, how, dx, dweight, scratch),
            Norm::Layer => layer_norm_backward_into(x, weight, dy, eps, how, dx, dweight, dbias, scratch),
        }
        .unwrap();
        out
    }

    /// The same into memory of its own, where packs of entries are aligned: `dx`, and the sums over rows.
    fn allocated(&self, device: &Device) -> (Vec<T>, Vec<T::Acc>) {
        let p = &self.plan;
        let [x, dy] = [(&self.x, p.x()), (&self.dy, p.dy())].map(|(x, l)| Tensor::from_slice(x, l, device).unwrap());
        let weight = vector(&self.weight, device);
        let (dx, sums) = match p.norm() {
            Norm::Rms => {
                let (dx, dweight) = rms_norm_backward(x.view(), weight.view(), dy.view(), p.eps()).unwrap();
                (dx, vec![dweight])
            }
            Norm::Layer => {
                let (dx, dweight, dbias) = layer_norm_backward(x.view(), weight.view(), dy.view(), p.eps()).unwrap();
                (dx, vec![dweight, dbias])
            }
        };
        (dx.to_vec().unwrap(), sums.iter().flat_map(|sums| sums.to_vec().unwrap()).collect())
    }

    /// `dy weight / root`, entry by entry: what is left of it is `dx`, so errors are measured beside it.
    fn scale(&self) -> Vec<f64> {
        let (p, [rows, n]) = (&self.plan, self.plan.out());
        let of = |r: usize| {
            let x = &self.x[r * p.x().strides()[0]..][..n];
            let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(x.wide())).sum::<f64>() / n as f64;
            let center = if p.norm() == Norm::Layer { mean(&|x| x) } else { 0.0 };
            let root = (mean(&|x| (x - center).powi(2)) + f64::from(p.eps())).sqrt();
            let dy = &self.dy[r * p.dy().strides()[0]..][..n];
            dy.iter().zip(&self.weight).map(move |(dy, w)| dy.wide() * w.wide() / root).collect::<Vec<_>>()
        };
        (0..rows).flat_map(of).collect()
    }
}

impl<T: Float<Acc: Poison> + Poison> Gradients<T> {
    fn near(&self, want: &Self, scale: &[f64], limit: f64, biased: bool, what: &str) {
        let beside = |dx: Vec<T>| dx.iter().map(|dx| dx.wide()).chain(scale.iter().copied()).collect::<Vec<_>>();
        close(&format!("{what} dx"), &beside(self.dx.full()), &beside(want.dx.full()), limit);
        close(&format!("{what} dweight"), &self.dweight.full(), &want.dweight.full(), 1e-12);
        if biased {
            close(&format!("{what} dbias"), &self.dbias.full(), &want.dbias.full(), 1e-12);
        }
    }
}

fn check<T: Float<Acc: Poison> + Poison>(case: &Case<T>, limit: f64, what: &str, cases: &mut Cases) {
    let (want, scale, biased) = (case.host(None), case.scale(), case.plan.norm() == Norm::Layer);
    cases.ran("reference");
    for level in Level::all() {
        case.host(Some(level)).near(&want, &scale, limit, true, &format!("{level:?} {what}"));
        cases.ran("cpu");
    }
    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let got = case.core(&device, [true; 3]);
        got.near(&want, &scale, limit, biased, &what);
        // Again, one at a time: the same bits, and nothing else is touched.
        let none = case.outputs(&device);
        let [x, w, b] = [0, 1, 2].map(|only| case.core(&device, [0, 1, 2].map(|i| i == only)));
        assert!(same(&got.dx.take(), &x.dx.take()) && same(&none.dx.take(), &w.dx.take()), "{what}");
        assert!(
            same(&got.dweight.take(), &w.dweight.take()) && same(&none.dweight.take(), &b.dweight.take()),
            "{what}"
        );
        assert!(same(&got.dbias.take(), &b.dbias.take()) && same(&none.dbias.take(), &x.dbias.take()), "{what}");
        if case.plan.accumulate() == Accumulate::Replace {
            let (dx, sums) = case.allocated(&device);
            assert!(same(&got.dx.take(), &dx), "{what}");
            assert!(same(&[got.dweight.take(), got.dbias.take()].concat()[..sums.len()], &sums), "{what}");
        }
        cases.ran(place(&device));
    }
}

fn table<T: Float<Acc: Poison> + Poison>(limit: f64) {
    let mut cases = Cases::of("norm").in_type::<T>();
    for &sizes in CASES.iter().chain(LONG).filter(|sizes| !small() || sizes[0] * sizes[1] < 5000) {
        for norm in [Norm::Rms, Norm::Layer] {
            for (accumulate, special) in [
                (Accumulate::Replace, None),
                (Accumulate::Add, None),
                (Accumulate::Replace, Some(0)),
                (Accumulate::Add, Some(1)),
            ] {
                let what = format!("{norm:?} {sizes:?} {accumulate:?} {special:?}");
                check(&Case::<T>::new(norm, sizes, accumulate, special), limit, &what, &mut cases);
            }
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>(1e-12);
}
#[test]
fn f16_table() {
    table::<f16>(1e-6);
}
#[test]
fn bf16_table() {
    table::<bf16>(5e-5);
}

/// So many rows that groups grow.
#[test]
fn many_rows() {
    let case = Case::<f32>::new(Norm::Layer, [2100, 3, 1], Accumulate::Replace, None);
    check(&case, 1e-12, "many rows", &mut Cases::of("norm"));
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    for norm in [Norm::Rms, Norm::Layer] {
        let case = Case::<f64>::new(norm, [3, 5, 2], Accumulate::Replace, None);
        let (p, dims @ [rows, n]) = (&case.plan, case.plan.out());
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
            let mut y = vec![0.0; rows * n];
            family::forward(p, x, weight, Some(bias), &mut y);
            (0..rows * n).map(|i| y[i] * case.dy[i / n * p.dy().strides()[0] + i % n]).sum()
        };
        let slope = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let [up, down] = [1e-5, -1e-5].map(|by| {
                let mut of = of.to_vec();
                of[at] += by;
                loss(&of)
            });
            (up - down) / 2e-5
        };
        let (out, bias) = (case.host(None), [0.3; 5]);
        let check =
            |what: &str, got: f64, want: f64| assert!((got - want).abs() < 1e-8, "{norm:?} {what} {got} {want}");
        for (i, dx) in out.dx.full().into_iter().enumerate() {
            let at = i / n * p.x().strides()[0] + i % n;
            check("dx", dx, slope(&case.x, at, &|x| loss(x, &case.weight, &bias)));
        }
        for (i, (dweight, dbias)) in out.dweight.full().into_iter().zip(out.dbias.full()).enumerate() {
            check("dweight", dweight, slope(&case.weight, i, &|weight| loss(&case.x, weight, &bias)));
            check("dbias", dbias, slope(&bias, i, &|bias| loss(&case.x, &case.weight, bias)));
        }
        // The host hands numbers of 64 bits to the reference.
        let mut dx = Fenced::<f64, 2>::new(dims, &Device::Host);
        backward(p, &case.x, &case.weight, &case.dy, Some(dx.slice()), None, None);
        assert!(same(&dx.full(), &out.dx.full()));
    }
}

/// Sums over rows come out the same however many threads share the rows.
#[test]
fn threads_do_not_change_the_result() {
    let case = Case::<f32>::new(Norm::Layer, [300, 70, 0], Accumulate::Replace, None);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.core(&Device::Host, [true; 3]))
    };
    let (one, three) = (run(1), run(3));
    assert!(same(&one.dx.full(), &three.dx.full()) && same(&one.dweight.full(), &three.dweight.full()));
    assert!(same(&one.dbias.full(), &three.dbias.full()));
}
