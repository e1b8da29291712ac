//! One table of cases; every implementation of the norms goes through it.
mod backward;
mod batch;

use latens_core::{
    Device, Error, Float, Layout, Tensor, View, bf16, f16, layer_norm, layer_norm_backward, layer_norm_into, rms_norm,
    rms_norm_backward, rms_norm_into,
};
use latens_cpu::Level;
use latens_kernels::norm::{self as family, Norm};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place};

/// `[rows, n, padding]`.
const CASES: &[[usize; 3]] = &[
    [0, 5, 0],
    [3, 0, 0],
    [1, 1, 0],
    [2, 2, 1],
    [3, 31, 1],
    [4, 32, 0],
    [3, 33, 7],
    [2, 255, 0],
    [2, 576, 0],
    [2, 1025, 3],
    [1, 5000, 0],
    [40, 48, 0],
];

fn vector<A: Float>(x: &[A], device: &Device) -> Tensor<A, 1> {
    Tensor::from_slice(x, Layout::packed([x.len()]).unwrap(), device).unwrap()
}

fn check<T: Float<Acc: Poison> + Poison>(
    norm: Norm,
    biased: bool,
    x: &[T],
    [rows, n, padding]: [usize; 3],
    limit: f64,
    cases: &mut Cases,
) {
    let what = format!("{norm:?} {rows} {n} {padding}");
    let layout = Layout::strided([rows, n], [n + padding, 1]).unwrap();
    let (x, eps) = (&x[..layout.span()], 1e-5);
    let (weight, bias) = (normal::<T::Acc>(n, 1.0, 71), normal::<T::Acc>(n, 1.0, 72));
    let vector_layout = Layout::packed([n]).unwrap();
    let p = family::plan(norm, &layout, &vector_layout, biased.then_some(&vector_layout), eps).unwrap();
    let bias = biased.then_some(&*bias);
    let mut want = vec![T::POISON; rows * n];
    family::forward(&p, x, &weight, bias, &mut want);
    cases.ran("reference");

    for level in Level::all() {
        let mut y = Fenced::<T, 2>::new([rows, n], &Device::Host);
        latens_cpu::norm::forward_at(level, &p, x, &weight, bias, y.slice());
        close(&format!("{level:?} {what}"), &y.full(), &want, limit);
        cases.ran("cpu");
    }

    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let x = Tensor::from_slice(x, layout, &device).unwrap();
        let (weight, bias) = (vector(&weight, &device), bias.map(|bias| vector(bias, &device)));
        let bias = || bias.as_ref().map(Tensor::view);
        let mut into = Fenced::<T, 2>::new([rows, n], &device);
        let y = match norm {
            Norm::Rms => {
                rms_norm_into(x.view(), weight.view(), eps, into.view_mut()).unwrap();
                rms_norm(x.view(), weight.view(), eps)
            }
            Norm::Layer => {
                layer_norm_into(x.view(), weight.view(), bias(), eps, into.view_mut()).unwrap();
                layer_norm(x.view(), weight.view(), bias(), eps)
            }
        };
        close(&what, &y.unwrap().to_vec().unwrap(), &want, limit);
        close(&what, &into.full(), &want, limit);
        cases.ran(place(&device));
    }
}

fn table<T: Float<Acc: Poison> + Poison>(limit: f64) {
    let mut cases = Cases::of("norm").in_type::<T>();
    for (seed, &case @ [rows, n, padding]) in CASES.iter().enumerate() {
        let count = rows * (n + padding);
        for (norm, biased) in [(Norm::Rms, false), (Norm::Layer, false), (Norm::Layer, true)] {
            check(norm, biased, &normal::<T>(count, 1.0, seed as u64), case, limit, &mut cases);
            check(norm, biased, &vec![T::narrow(0.5); count], case, limit, &mut cases);
        }
        check(Norm::Rms, false, &numbers::<T>(count, seed as u64), case, limit, &mut cases);
    }
}

#[test]
fn f32_table() {
    table::<f32>(1e-12);
}
#[test]
fn f64_table() {
    // Only the host: a GPU has no kernel of it.
    let x = normal::<f64>(12, 1.0, 3);
    let layout = Layout::packed([3, 4]).unwrap();
    let p = family::plan(Norm::Rms, &layout, &Layout::packed([4]).unwrap(), None, 0.0).unwrap();
    let mut y = vec![0.0; 12];
    latens_cpu::norm::forward(&p, &x, &[1.0; 4], None, &mut y);
    for y in y.chunks(4) {
        assert!((y.iter().map(|y| y * y).sum::<f64>() - 4.0).abs() < 1e-12);
    }
}
#[test]
fn f16_table() {
    table::<f16>(1e-6);
}
#[test]
fn bf16_table() {
    table::<bf16>(5e-5);
}

/// A row far from zero keeps its variance: the mean goes before the square.
#[test]
fn shifted_rows_keep_their_digits() {
    let x: Vec<f32> = (0..256).map(|i| 10_000.0 + (i % 2) as f32).collect();
    for device in devices() {
        let x = Tensor::from_slice(&x, Layout::packed([1, 256]).unwrap(), &device).unwrap();
        let y = layer_norm(x.view(), vector(&[1.0; 256], &device).view(), None, 0.0).unwrap().to_vec().unwrap();
        assert!(y.iter().all(|y| (y.abs() - 1.0).abs() < 1e-3), "{} {:?}", place(&device), &y[..2]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::from_slice(&[1.0_f32; 8], Layout::packed([2, 4]).unwrap(), &device).unwrap();
        let (weight, short) = (vector(&[1.0_f32; 4], &device), vector(&[1.0_f32; 3], &device));
        let call = |weight: View<'_, f32, 1>, eps| rms_norm(x.view(), weight, eps).err();
        assert_eq!(call(short.view(), 0.0), Some(Error::Size { op: "rms_norm", arg: "weight", want: 4, got: 3 }));
        let value = Error::Value { op: "rms_norm", arg: "eps", want: "a number from 0 on" };
        assert_eq!(call(weight.view(), f32::NAN), Some(value));
        assert_eq!(call(weight.view(), -1.0), Some(value));
        let bias = layer_norm(x.view(), weight.view(), Some(short.view()), 0.0).err();
        assert_eq!(bias, Some(Error::Size { op: "layer_norm", arg: "bias", want: 4, got: 3 }));
        let dy = Tensor::zeros([2, 3], &device).unwrap();
        let rms = rms_norm_backward(x.view(), weight.view(), dy.view(), 0.0).err();
        assert_eq!(rms, Some(Error::Size { op: "rms_norm", arg: "dy", want: 4, got: 3 }));
        let layer = layer_norm_backward(x.view(), short.view(), x.view(), 0.0).err();
        assert_eq!(layer, Some(Error::Size { op: "layer_norm", arg: "weight", want: 4, got: 3 }));
        let mut small = Fenced::<f32, 2>::new([2, 3], &device);
        let into = rms_norm_into(x.view(), weight.view(), 0.0, small.view_mut());
        assert_eq!(into, Err(Error::Size { op: "rms_norm", arg: "y", want: 4, got: 3 }));
        if !device.is_host() {
            let elsewhere = vector(&[1.0_f32; 4], &Device::Host);
            assert_eq!(call(elsewhere.view(), 0.0), Some(Error::Device { op: "rms_norm", arg: "weight" }));
        }
    }
}
