//! Mean squared errors of rows, and their gradients.
use super::limit;
use latens_core::{Device, Error, Float, Layout, Tensor, bf16, f16, mse, mse_backward, mse_backward_into, mse_into};
use latens_cpu::{Level, loss::mse as cpu};
use latens_kernels::loss::mse as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, uniform, vector};

/// `[rows, n, padding of x and, one more, of y]`.
const CASES: &[[usize; 3]] =
    &[[0, 4, 0], [3, 0, 0], [2, 1, 0], [3, 2, 1], [4, 31, 0], [3, 33, 7], [2, 768, 0], [1, 2049, 3], [40, 7, 0]];

struct Case<T: Float> {
    what: String,
    plan: family::Plan,
    x: Vec<T>,
    y: Vec<T>,
    dlosses: Vec<T::Acc>,
}

struct Outputs<T: Float> {
    losses: Fenced<T::Acc, 1>,
    again: Fenced<T::Acc, 1>,
    dx: Fenced<T, 2>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new([rows, n, padding]: [usize; 3], normalise: bool, of: impl Fn(usize, u64) -> Vec<T>) -> Self {
        let [x, y] = [padding, padding + 1].map(|gap| Layout::strided([rows, n], [n + gap, 1]).unwrap());
        let plan = family::plan_backward(&x, &y, &Layout::packed([rows]).unwrap(), normalise).unwrap();
        let (x, y, what) = (of(x.span(), 1), of(y.span(), 2), format!("{rows} {n} {normalise}"));
        Self { what, plan, x, y, dlosses: normal(rows, 1.0, 3) }
    }

    fn outputs(&self, device: &Device) -> Outputs<T> {
        let [losses, again] = [(); 2].map(|()| Fenced::new(self.plan.out(), device));
        Outputs { losses, again, dx: Fenced::new(self.plan.x().dims(), device) }
    }

    fn reference(&self) -> Outputs<T> {
        let mut out = self.outputs(&Device::Host);
        family::forward(&self.plan, &self.x, &self.y, out.losses.slice());
        let again = Some(out.again.slice());
        family::backward(&self.plan, &self.x, &self.y, &self.dlosses, again, out.dx.slice());
        out
    }

    fn at(&self, level: Level) -> Outputs<T> {
        let mut out = self.outputs(&Device::Host);
        cpu::forward_at(level, &self.plan, &self.x, &self.y, out.losses.slice());
        let again = Some(out.again.slice());
        cpu::backward_at(level, &self.plan, &self.x, &self.y, &self.dlosses, again, out.dx.slice());
        out
    }

    fn core(&self, device: &Device) -> Outputs<T> {
        let (mut out, normalise) = (self.outputs(device), self.plan.normalise());
        let [x, y] = [(&self.x, self.plan.x()), (&self.y, self.plan.y())]
            .map(|(x, layout)| Tensor::from_slice(x, layout, device).unwrap());
        let dlosses = vector(&self.dlosses, device);
        mse_into(x.view(), y.view(), normalise, out.losses.view_mut()).unwrap();
        let again = Some(out.again.view_mut());
        mse_backward_into(x.view(), y.view(), dlosses.view(), normalise, again, out.dx.view_mut()).unwrap();
        assert!(same(&mse(x.view(), y.view(), normalise).unwrap().to_vec().unwrap(), &out.losses.take()));
        let (losses, dx) = mse_backward(x.view(), y.view(), dlosses.view(), normalise).unwrap();
        assert!(same(&losses.to_vec().unwrap(), &out.losses.take()) && same(&dx.to_vec().unwrap(), &out.dx.take()));
        mse_backward_into(x.view(), y.view(), dlosses.view(), normalise, None, out.dx.view_mut()).unwrap();
        assert!(same(&dx.to_vec().unwrap(), &out.dx.take()), "two runs differ");
        out
    }
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn near(&self, want: &Self, what: &str) {
        close(&format!("{what} losses"), &self.losses.full(), &want.losses.full(), 1e-11);
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>().max(1e-11));
        assert!(same(&self.again.full(), &self.losses.take()), "{what}: losses on the way to the gradient");
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("loss_mse").in_type::<T>();
    for &sizes in CASES {
        for normalise in [false, true] {
            for case in [
                Case::<T>::new(sizes, normalise, |count, seed| normal(count, 1.0, seed)),
                Case::new(sizes, normalise, |count, seed| uniform(count, 99.0, 101.0, seed)),
                Case::new(sizes, normalise, numbers),
                Case::new(sizes, normalise, |count, seed| vec![T::narrow(0.1 * seed as f64); count]),
            ] {
                let want = case.reference();
                cases.ran("reference");
                for level in Level::all() {
                    case.at(level).near(&want, &format!("{level:?} {}", case.what));
                    cases.ran("cpu");
                }
                for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                    case.core(&device).near(&want, &format!("{} {}", place(&device), case.what));
                    cases.ran(place(&device));
                }
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

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    let ([rows, n], h) = ([3, 5], 1e-5);
    for normalise in [false, true] {
        let case = Case::<f64>::new([rows, n, 2], normalise, |count, seed| normal(count, 1.0, seed));
        let total = |at: usize, by: f64| -> f64 {
            let (mut x, mut losses) = (case.x.clone(), vec![0.0; rows]);
            x[at / n * (n + 2) + at % n] += by;
            family::forward(&case.plan, &x, &case.y, &mut losses);
            losses.iter().zip(&case.dlosses).map(|(loss, dloss)| loss * dloss).sum()
        };
        for (at, slope) in case.reference().dx.full().into_iter().enumerate() {
            assert!((slope - (total(at, h) - total(at, -h)) / (2.0 * h)).abs() < 1e-9, "{at}");
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let of = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "mse", arg, want, got });
        assert_eq!(mse(of([2, 3]).view(), of([2, 4]).view(), false).err(), size("y", 3, 4));
        assert_eq!(mse(of([2, 3]).view(), of([1, 3]).view(), true).err(), size("y", 2, 1));
        let one = vector(&[1.0_f32], &device);
        assert_eq!(mse_backward(of([2, 3]).view(), of([2, 3]).view(), one.view(), true).err(), size("dlosses", 2, 1));
        let mut short = Fenced::<f32, 1>::new([1], &device);
        assert_eq!(mse_into(of([2, 3]).view(), of([2, 3]).view(), false, short.view_mut()).err(), size("losses", 2, 1));
    }
}
