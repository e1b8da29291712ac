//! One table of cases; every implementation of the cross-entropy and its gradient goes through it. Squares have their own.
mod mse;

use latens_core::{
    DType, Device, Error, Float, IGNORED, Layout, Tensor, bf16, cross_entropy, cross_entropy_backward,
    cross_entropy_backward_in_place, cross_entropy_backward_into, cross_entropy_into, f16,
};
use latens_cpu::{Level, loss as cpu};
use latens_kernels::loss as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, vector};

/// `[rows, classes, padding]`.
const CASES: &[[usize; 3]] = &[
    [0, 4, 0],
    [4, 0, 0],
    [1, 1, 0],
    [3, 2, 1],
    [4, 31, 0],
    [3, 33, 7],
    [2, 1000, 0],
    [2, 2049, 3],
    [2, 6000, 0],
    [40, 7, 0],
];

fn targets(rows: usize, classes: usize) -> Vec<u32> {
    let target = |r: usize| (r * 31).checked_rem(classes).map_or(IGNORED, |target| target as u32);
    (0..rows).map(|r| if r % 4 == 3 { IGNORED } else { target(r) }).collect()
}

/// Of a gradient.
fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        _ => 1e-12,
    }
}

/// What one case hands to every implementation.
struct Case<T: Float> {
    what: String,
    layout: Layout<2>,
    plan: family::Plan,
    logits: Vec<T>,
    targets: Vec<u32>,
    dlosses: Vec<T::Acc>,
}

/// Losses and gradients; of the calls in place, the logits with their gaps.
struct Outputs<T: Float> {
    losses: Fenced<T::Acc, 1>,
    again: Fenced<T::Acc, 1>,
    dlogits: Fenced<T, 2>,
    held: Vec<T>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new([rows, classes, padding]: [usize; 3], smoothing: f32, logits: &[T]) -> Self {
        let layout = Layout::strided([rows, classes], [classes + padding, 1]).unwrap();
        let row = Layout::packed([rows]).unwrap();
        let plan = family::plan_backward(&layout, &row, &row, smoothing).unwrap();
        let (what, targets) = (format!("{rows} {classes} {smoothing}"), targets(rows, classes));
        let dlosses = normal(rows, 1.0, 3);
        Self { what, layout, plan, logits: logits[..layout.span()].to_vec(), targets, dlosses }
    }

    fn outputs(&self, device: &Device) -> Outputs<T> {
        let [rows, _] = self.layout.dims();
        let [losses, again] = [(); 2].map(|()| Fenced::new([rows], device));
        Outputs { losses, again, dlogits: Fenced::new(self.layout.dims(), device), held: self.logits.clone() }
    }

    fn reference(&self) -> Outputs<T> {
        let (p, mut out) = (&self.plan, self.outputs(&Device::Host));
        let (targets, dlosses) = (&self.targets, &self.dlosses);
        family::forward(p, &self.logits, targets, out.losses.slice()).unwrap();
        family::backward(p, &self.logits, targets, dlosses, None, out.dlogits.slice()).unwrap();
        family::backward_in_place(p, &mut out.held, targets, dlosses, Some(out.again.slice())).unwrap();
        out
    }

    fn at(&self, level: Level) -> Outputs<T> {
        let (p, mut out) = (&self.plan, self.outputs(&Device::Host));
        let (targets, dlosses) = (&self.targets, &self.dlosses);
        cpu::forward_at(level, p, &self.logits, targets, out.losses.slice()).unwrap();
        cpu::backward_at(level, p, &self.logits, targets, dlosses, None, out.dlogits.slice()).unwrap();
        cpu::backward_in_place_at(level, p, &mut out.held, targets, dlosses, Some(out.again.slice())).unwrap();
        out
    }

    fn core(&self, device: &Device) -> Outputs<T> {
        let (smoothing, mut out) = (self.plan.smoothing(), self.outputs(device));
        let mut held = Tensor::from_slice(&self.logits, self.layout, device).unwrap();
        let (targets, dlosses) = (vector(&self.targets, device), vector(&self.dlosses, device));
        let (t, d) = (targets.view(), dlosses.view());
        cross_entropy_into(held.view(), t, smoothing, out.losses.view_mut()).unwrap();
        cross_entropy_backward_into(held.view(), t, d, smoothing, None, out.dlogits.view_mut()).unwrap();
        let (losses, dlogits) = cross_entropy_backward(held.view(), t, d, smoothing).unwrap();
        assert!(same(&losses.to_vec().unwrap(), &out.losses.take()), "{}", self.what);
        assert!(same(&dlogits.to_vec().unwrap(), &out.dlogits.take()), "{}", self.what);
        assert!(same(&cross_entropy(held.view(), t, smoothing).unwrap().to_vec().unwrap(), &out.losses.take()));
        let again = Some(out.again.view_mut());
        cross_entropy_backward_in_place(held.view_mut(), t, d, smoothing, again).unwrap();
        out.held = held.to_vec().unwrap();
        out
    }
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn near(&self, case: &Case<T>, want: &Self, which: &str) {
        let what = format!("{which} {}", case.what);
        close(&format!("{what} losses"), &self.losses.full(), &want.losses.full(), 1e-12);
        close(&format!("{what} dlogits"), &self.dlogits.full(), &want.dlogits.full(), limit::<T>());
        // The three calls agree in every bit, and gaps are as they were.
        assert!(same(&self.again.full(), &self.losses.take()), "{what}: losses on the way to the gradient");
        let (dlogits, [rows, classes]) = (self.dlogits.take(), case.layout.dims());
        let mut held = case.logits.clone();
        for r in 0..rows {
            held[r * case.layout.strides()[0]..][..classes].copy_from_slice(&dlogits[r * classes..][..classes]);
        }
        assert!(same(&self.held, &held), "{what}: in place");
    }
}

fn check<T: Float<Acc: Poison> + Poison>(logits: &[T], sizes: [usize; 3], cases: &mut Cases) {
    for smoothing in [0.0, 0.1] {
        let case = Case::new(sizes, smoothing, logits);
        let want = case.reference();
        want.near(&case, &want, "reference");
        cases.ran("reference");
        for level in Level::all() {
            case.at(level).near(&case, &want, &format!("{level:?}"));
            cases.ran("cpu");
        }
        for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
            let (got, again) = (case.core(&device), case.core(&device));
            got.near(&case, &want, place(&device));
            assert!(same(&got.held, &again.held) && same(&got.losses.take(), &again.losses.take()), "two runs differ");
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("loss").in_type::<T>();
    for (seed, &case @ [rows, classes, padding]) in CASES.iter().enumerate() {
        let count = rows * (classes + padding);
        check(&normal::<T>(count, 4.0, seed as u64), case, &mut cases);
        check(&numbers::<T>(count, seed as u64), case, &mut cases);
        check(&vec![T::narrow(300.0); count], case, &mut cases);
        check(&vec![T::narrow(f64::NEG_INFINITY); count], case, &mut cases);
        // Rising: the largest so far changes all the time.
        check(&(0..count).map(|i| T::narrow(i as f64 * 0.01)).collect::<Vec<_>>(), case, &mut cases);
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

/// Equal logits are as surprising as a fair draw; adding the same to all changes nothing.
#[test]
fn shift_changes_nothing() {
    for device in devices() {
        let targets = vector(&[5_u32], &device);
        let loss = |x: &[f32], smoothing| {
            let logits = Tensor::from_slice(x, Layout::packed([1, x.len()]).unwrap(), &device).unwrap();
            cross_entropy(logits.view(), targets.view(), smoothing).unwrap().to_vec().unwrap()[0]
        };
        let x = normal::<f32>(64, 2.0, 1);
        let moved: Vec<f32> = x.iter().map(|x| x + 64.0).collect();
        for smoothing in [0.0, 0.3] {
            approx::assert_abs_diff_eq!(loss(&[3.0; 64], smoothing), 64_f32.ln(), epsilon = 1e-6);
            approx::assert_abs_diff_eq!(loss(&x, smoothing), loss(&moved, smoothing), epsilon = 2e-5);
        }
    }
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    let ([rows, classes], h) = ([5, 6], 1e-5);
    for smoothing in [0.0, 0.2] {
        let case = Case::<f64>::new([rows, classes, 2], smoothing, &normal(rows * (classes + 2), 2.0, 1));
        let total = |at: usize, by: f64| -> f64 {
            let (mut x, mut losses) = (case.logits.clone(), vec![0.0; rows]);
            x[at / classes * (classes + 2) + at % classes] += by;
            family::forward(&case.plan, &x, &case.targets, &mut losses).unwrap();
            losses.iter().zip(&case.dlosses).map(|(loss, dloss)| loss * dloss).sum()
        };
        for (at, slope) in case.reference().dlogits.full().into_iter().enumerate() {
            assert!((slope - (total(at, h) - total(at, -h)) / (2.0 * h)).abs() < 1e-9, "{at}");
        }
    }
}

/// A row that is not finite spoils its own gradient and no other; an ignored one is not looked at.
#[test]
fn rows_keep_apart() {
    for device in devices() {
        let mut x = normal::<f32>(4 * 50, 1.0, 2);
        let clean = Tensor::from_vec(x.clone(), [4, 50], &device).unwrap();
        (x[7], x[51], x[150]) = (f32::NAN, f32::INFINITY, f32::NAN);
        let x = Tensor::from_vec(x, [4, 50], &device).unwrap();
        let (targets, dlosses) = (vector(&[0, 1, 2, IGNORED], &device), vector(&[0.5, 1.0, 2.0, f32::NAN], &device));
        let [clean, spoilt] = [&clean, &x].map(|x| {
            let (losses, dlogits) = cross_entropy_backward(x.view(), targets.view(), dlosses.view(), 0.1).unwrap();
            (losses.to_vec().unwrap(), dlogits.to_vec().unwrap())
        });
        assert!(spoilt.0[..2].iter().all(|x| x.is_nan()) && spoilt.1[..100].iter().all(|x| x.is_nan()));
        assert!(same(&spoilt.0[2..], &clean.0[2..]) && same(&spoilt.1[100..], &clean.1[100..]));
        assert!(spoilt.0[3] == 0.0 && spoilt.1[150..].iter().all(|&x| x == 0.0));
    }
}

/// On the host a bad target is an error, and nothing is written; on CUDA its loss and its gradients are NaN.
#[test]
fn bad_targets() {
    for device in devices() {
        let mut logits = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let (targets, ones) = (vector(&[3, 1], &device), vector(&[1.0_f32; 2], &device));
        let (t, d, nan) = (targets.view(), ones.view(), f64::NAN);
        let bad = Err(Error::Range { op: "cross_entropy", arg: "targets", max: 2, got: 3 });
        let [mut losses, mut again] = [(); 2].map(|()| Fenced::<f32, 1>::new([2], &device));
        let mut dlogits = Fenced::<f32, 2>::new([2, 3], &device);
        let done = [
            cross_entropy_into(logits.view(), t, 0.0, losses.view_mut()),
            cross_entropy_backward_into(logits.view(), t, d, 0.0, None, dlogits.view_mut()),
            cross_entropy_backward_in_place(logits.view_mut(), t, d, 0.0, Some(again.view_mut())),
        ];
        if device.is_host() {
            assert_eq!(done, [bad; 3]);
            assert_eq!([losses.take(), again.take()], [[f32::POISON; 2]; 2]);
            assert_eq!((dlogits.take(), logits.to_vec().unwrap()), (vec![f32::POISON; 6], vec![0.0; 6]));
        } else {
            assert_eq!(done, [Ok(()); 3]);
            let slopes = [nan, nan, nan, 1.0 / 3.0, -2.0 / 3.0, 1.0 / 3.0];
            close("losses", &losses.take(), &[nan, 3_f64.ln()], 1e-12);
            close("losses again", &again.take(), &[nan, 3_f64.ln()], 1e-12);
            close("dlogits", &dlogits.take(), &slopes, 1e-12);
            close("in place", &logits.to_vec().unwrap(), &slopes, 1e-12);
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let logits = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let (targets, ones) = (vector(&[2, 1], &device), vector(&[1.0_f32; 2], &device));
        let (one, single) = (vector(&[0], &device), vector(&[1.0_f32], &device));
        let size = |arg, want, got| Some(Error::Size { op: "cross_entropy", arg, want, got });
        assert_eq!(cross_entropy(logits.view(), one.view(), 0.0).err(), size("targets", 2, 1));
        let back = |d: &Tensor<f32, 1>, s| cross_entropy_backward(logits.view(), targets.view(), d.view(), s).err();
        assert_eq!(back(&single, 0.0), size("dlosses", 2, 1));
        for smoothing in [-0.1, 1.0, f32::NAN] {
            let want = "a number from 0 to below 1";
            let value = Some(Error::Value { op: "cross_entropy", arg: "smoothing", want });
            assert_eq!(cross_entropy(logits.view(), targets.view(), smoothing).err(), value);
            assert_eq!(back(&ones, smoothing), value);
        }
        let mut small = Fenced::<f32, 2>::new([2, 2], &device);
        let (t, d) = (targets.view(), ones.view());
        let into = cross_entropy_backward_into(logits.view(), t, d, 0.0, None, small.view_mut());
        assert_eq!(into.err(), size("dlogits", 3, 2));
    }
}
