//! One table of cases; every implementation of top-k goes through it.
use latens_core::{
    Device, Error, Float, Layout, Tensor, bf16, f16, topk, topk_flat, topk_flat_into, topk_flat_workspace, topk_into,
    topk_workspace,
};
use latens_kernels::topk as family;
use latens_tests::{Cases, Fenced, Poison, devices, numbers, place, same, small};

/// `[rows, n, k, padding]`. 16384 entries are one piece of a row on CUDA.
const CASES: &[[usize; 4]] = &[
    [0, 5, 2, 0],
    [3, 0, 0, 0],
    [2, 5, 0, 0],
    [1, 1, 1, 0],
    [4, 7, 7, 0],
    [3, 31, 5, 1],
    [3, 32, 32, 0],
    [2, 33, 8, 3],
    [2, 255, 4, 0],
    [2, 256, 4, 0],
    [2, 257, 4, 7],
    [64, 40, 3, 0],
    [1, 1500, 60, 0],
    [2, 16_384, 3, 0],
    [2, 16_385, 3, 5],
    [1, 40_000, 4, 0],
    [2, 300, 300, 1],
    [1, 700, 699, 0],
    [1, 3000, 2500, 0],
    [1, 20_000, 2100, 0],
    [1, 17_000, 17_000, 0],
];

/// `[rows, n, total, padding]` of the flat form.
const FLAT: &[[usize; 4]] = &[
    [0, 5, 0, 0],
    [3, 0, 0, 0],
    [2, 5, 0, 1],
    [1, 1, 1, 0],
    [3, 7, 21, 2],
    [3, 31, 1, 0],
    [5, 33, 40, 3],
    [300, 5, 77, 0],
    [2, 257, 300, 0],
    [2, 5000, 64, 1],
    [1, 5000, 4999, 0],
];

/// Rows that a selection by digits or by a running bar finds hardest: all equal, all in one bin, falling, rising, all
/// NaN, nothing but zeros of both signs, then [`numbers`].
fn hard<T: Float>(count: usize, seed: u64) -> Vec<Vec<T>> {
    let of = |f: fn(usize) -> f64| (0..count).map(|i| T::narrow(f(i))).collect();
    vec![
        of(|_| 1.0),
        of(|i| 1.0 + (i % 3) as f64 / 512.0),
        of(|i| -(i as f64)),
        of(|i| i as f64),
        of(|_| f64::NAN),
        of(|i| if i % 2 == 0 { 0.0 } else { -0.0 }),
        numbers(count, seed),
    ]
}

fn check<T: Float + Poison>(x: &[T], [rows, n, k, padding]: [usize; 4], cases: &mut Cases) {
    let layout = Layout::strided([rows, n], [n + padding, 1]).unwrap();
    let x = &x[..layout.span()];
    let p = family::plan(&layout, k).unwrap();
    let (mut values, mut indices) = (vec![T::POISON; rows * k], vec![u32::POISON; rows * k]);
    family::forward(&p, x, &mut values, &mut indices);
    cases.ran("reference");

    let (mut v, mut i) =
        (Fenced::<T, 2>::new([rows, k], &Device::Host), Fenced::<u32, 2>::new([rows, k], &Device::Host));
    latens_cpu::topk::forward(&p, x, v.slice(), i.slice());
    assert!(i.take() == indices && same(&v.take(), &values), "cpu {rows} {n} {k}");
    cases.ran("cpu");

    for device in devices() {
        let x = Tensor::from_slice(x, layout, &device).unwrap();
        let place = place(&device);
        let (v, i) = topk(&x, k).unwrap();
        assert_eq!(i.to_vec().unwrap(), indices, "{place} {rows} {n} {k}");
        assert!(same(&v.to_vec().unwrap(), &values), "{place} {rows} {n} {k}");

        let (mut v, mut i) = (Fenced::<T, 2>::new([rows, k], &device), Fenced::<u32, 2>::new([rows, k], &device));
        let mut workspace = Tensor::empty([topk_workspace(&layout, k, &device).unwrap()], &device).unwrap();
        topk_into(x.view(), k, v.view_mut(), i.view_mut(), workspace.view_mut()).unwrap();
        assert!(i.take() == indices && same(&v.take(), &values), "into {place} {rows} {n} {k}");
        cases.ran(place);
    }
}

fn check_flat<T: Float + Poison>(x: &[T], [rows, n, total, padding]: [usize; 4], cases: &mut Cases) {
    let layout = Layout::strided([rows, n], [n + padding, 1]).unwrap();
    let x = &x[..layout.span()];
    let p = family::plan_flat(&layout, total).unwrap();
    let (mut values, mut indices, mut offsets) = (vec![T::POISON; total], vec![0; total], vec![0; rows + 1]);
    family::flat(&p, x, &mut values, &mut indices, &mut offsets);
    assert_eq!(offsets[rows] as usize, total);
    cases.ran("reference");

    let fenced = |device: &Device| {
        (Fenced::<T, 1>::new([total], device), [total, rows + 1].map(|len| Fenced::new([len], device)))
    };
    let (mut v, [mut i, mut o]) = fenced(&Device::Host);
    latens_cpu::topk::flat(&p, x, v.slice(), i.slice(), o.slice());
    assert!(i.take() == indices && o.take() == offsets && same(&v.take(), &values), "cpu {rows} {n} {total}");
    cases.ran("cpu");
    for device in devices() {
        let (x, place) = (Tensor::from_slice(x, layout, &device).unwrap(), place(&device));
        let (v, i, o) = topk_flat(&x, total).unwrap();
        assert_eq!(o.to_vec().unwrap(), offsets, "{place} {rows} {n} {total}");
        assert_eq!(i.to_vec().unwrap(), indices, "{place} {rows} {n} {total}");
        assert!(same(&v.to_vec().unwrap(), &values), "{place} {rows} {n} {total}");

        let (mut v, [mut i, mut o]) = fenced(&device);
        let mut workspace = Tensor::empty([topk_flat_workspace(&layout, total, &device).unwrap()], &device).unwrap();
        topk_flat_into(x.view(), total, v.view_mut(), i.view_mut(), o.view_mut(), workspace.view_mut()).unwrap();
        assert!(i.take() == indices && o.take() == offsets && same(&v.take(), &values), "into {rows} {n} {total}");
        cases.ran(place);
    }
}

fn table<T: Float + Poison>() {
    let mut cases = Cases::of("topk");
    for (seed, &case) in CASES.iter().enumerate() {
        let [rows, n, _, padding] = case;
        if small() && rows * n > 20_000 {
            continue;
        }
        hard::<T>(rows * (n + padding), seed as u64).iter().for_each(|x| check(x, case, &mut cases));
    }
    let mut cases = Cases::of("topk_flat");
    for (seed, &case) in FLAT.iter().enumerate() {
        let [rows, n, _, padding] = case;
        hard::<T>(rows * (n + padding), seed as u64).iter().for_each(|x| check_flat(x, case, &mut cases));
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

#[test]
fn wrong_calls_are_errors() {
    let layout = Layout::packed([1, 4]).unwrap();
    for device in devices() {
        let x = Tensor::from_slice(&[1.0_f32; 4], layout, &device).unwrap();
        assert_eq!(topk(&x, 5).err(), Some(Error::Range { op: "topk", arg: "k", max: 4, got: 5 }));
        assert_eq!(topk_flat(&x, 5).err(), Some(Error::Range { op: "topk_flat", arg: "total", max: 4, got: 5 }));
        if !device.is_host() {
            let other = Device::cuda(0).unwrap();
            let [mut values, mut short] =
                [Tensor::<f32, 2>::empty([1, 2], &other).unwrap(), Tensor::empty([1, 1], &device).unwrap()];
            let mut indices = Tensor::<u32, 2>::empty([1, 2], &device).unwrap();
            let mut none = Tensor::<u8, 1>::empty([0], &device).unwrap();
            let mixed = topk_into(x.view(), 2, values.view_mut(), indices.view_mut(), none.view_mut());
            assert_eq!(mixed, Err(Error::Device { op: "topk", arg: "values" }));
            let small = topk_into(x.view(), 2, short.view_mut(), indices.view_mut(), none.view_mut());
            assert_eq!(small, Err(Error::Size { op: "topk", arg: "values", want: 2, got: 1 }));
            let host_only = Tensor::from_slice(&[1.0_f64; 4], layout, &device).unwrap();
            assert_eq!(
                topk(&host_only, 1).err(),
                Some(Error::Type { op: "topk", arg: "topk_search", got: latens_core::DType::F64 })
            );
        }
    }
}

/// A captured call replays over new contents, and outlives the handles of its memory.
#[test]
fn capture() {
    let layout = Layout::packed([1, 20_000]).unwrap();
    for device in devices() {
        let Device::Cuda(cuda) = &device else { continue };
        let x = Tensor::from_slice(&numbers::<f32>(20_000, 1), layout, &device).unwrap();
        let mut values = Tensor::from_slice(&[0.0_f32; 4], Layout::packed([1, 4]).unwrap(), &device).unwrap();
        let mut indices = Tensor::from_slice(&[9_u32; 4], Layout::packed([1, 4]).unwrap(), &device).unwrap();
        let mut workspace = Tensor::empty([topk_workspace(&layout, 4, &device).unwrap()], &device).unwrap();
        let mut call = || topk_into(x.view(), 4, values.view_mut(), indices.view_mut(), workspace.view_mut());
        let graph = cuda.capture(&mut call).unwrap();
        assert_eq!(cuda.capture(|| topk(&x, 4).map(drop)).err(), Some(Error::Capture));
        assert_eq!(indices.to_vec().unwrap(), [9; 4]);
        graph.replay().unwrap();
        assert_eq!(indices.to_vec().unwrap(), topk(&x, 4).unwrap().1.to_vec().unwrap());
        drop((x, workspace));
        graph.replay().unwrap();
        cuda.wait().unwrap();
    }
}

#[test]
fn devices_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Device>();
    crosses::<Tensor<f32, 2>>();
}

/// The gradient of the reference is the slope of the reference.
#[test]
fn gradient() {
    let (x, grad, h) = ([0.5_f64, 3.0, -1.0, 2.0, 9.0, 8.0, 7.0, 1.0], [1.0, -2.0, 0.5, 4.0], 1e-4);
    let p = family::plan(&Layout::packed([2, 4]).unwrap(), 2).unwrap();
    let loss = |x: &[f64]| {
        let (mut v, mut i) = ([0.0; 4], [0; 4]);
        family::forward(&p, x, &mut v, &mut i);
        (v.iter().zip(grad).map(|(v, g)| v * g).sum::<f64>(), i)
    };
    let mut dx = [0.0; 8];
    family::backward(&p, &grad, &loss(&x).1, &mut dx);
    for (at, slope) in dx.into_iter().enumerate() {
        let moved = |by: f64| loss(&std::array::from_fn::<f64, 8, _>(|j| if j == at { x[j] + by } else { x[j] })).0;
        assert!((slope - (moved(h) - moved(-h)) / (2.0 * h)).abs() < 1e-8);
    }
}
