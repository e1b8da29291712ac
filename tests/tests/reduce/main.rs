//! One table of cases for each; every implementation of the reductions goes through it.
mod classes;
mod moments;
mod pearson;

use latens_core::{Device, Error, Float, Layout, Reduce, Tensor, bf16, f16, reduce, reduce_into};
use latens_cpu::Level;
use latens_kernels::reduce as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, small};

/// `[rows, n, padding]`.
const CASES: &[[usize; 3]] = &[
    [0, 4, 0],
    [4, 0, 0],
    [0, 0, 0],
    [1, 1, 0],
    [3, 31, 1],
    [33, 32, 0],
    [31, 33, 7],
    [300, 5, 0],
    [2, 1000, 3],
    [5, 300, 0],
    [1, 5000, 0],
];

fn check<T: Float<Acc: Poison> + Poison>(x: &[T], [rows, n, padding]: [usize; 3], cases: &mut Cases) {
    let layout = Layout::strided([rows, n], [n + padding, 1]).unwrap();
    let x = &x[..layout.span()];
    for (how, axis) in
        [Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::SumSquares].into_iter().flat_map(|how| [(how, 0), (how, 1)])
    {
        let what = format!("{how:?} {axis} {rows} {n}");
        let equal = |place: &str, got: &[T::Acc], want: &[T::Acc]| match how {
            Reduce::Max => assert!(
                same(got, want),
                "{place} {what}: {:?} {:?}",
                got.first().map(|x| x.wide()),
                want.first().map(|x| x.wide())
            ),
            _ => close(&format!("{place} {what}"), got, want, 1e-11),
        };
        let p = family::plan(&layout, how, axis).unwrap();
        let mut want = vec![T::Acc::POISON; p.out()[0]];
        family::forward(&p, x, &mut want);
        cases.ran("reference");
        for level in Level::all() {
            let mut y = Fenced::<T::Acc, 1>::new(p.out(), &Device::Host);
            latens_cpu::reduce::forward_at(level, &p, x, y.slice());
            equal(&format!("{level:?}"), &y.full(), &want);
            cases.ran("cpu");
        }
        for device in devices() {
            let x = Tensor::from_slice(x, layout, &device).unwrap();
            equal(place(&device), &reduce(x.view(), how, axis).unwrap().to_vec().unwrap(), &want);
            let mut into = Fenced::<T::Acc, 1>::new(p.out(), &device);
            reduce_into(x.view(), how, axis, into.view_mut()).unwrap();
            equal(place(&device), &into.full(), &want);
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("reduce").in_type::<T>();
    for (seed, &case @ [rows, n, padding]) in CASES.iter().enumerate() {
        let count = rows * (n + padding);
        check(&normal::<T>(count, 1.0, seed as u64), case, &mut cases);
        check(&numbers::<T>(count, seed as u64), case, &mut cases);
        if small() && count > 1000 {
            continue;
        }
        for special in [f64::NAN, f64::NEG_INFINITY, -0.0] {
            check(&vec![T::narrow(special); count], case, &mut cases);
        }
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
    for device in devices() {
        let x = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let range = Error::Range { op: "reduce", arg: "axis", max: 1, got: 2 };
        assert_eq!(reduce(x.view(), Reduce::Sum, 2).err(), Some(range));
        let mut y = Fenced::<f32, 1>::new([2], &device);
        let size = Error::Size { op: "reduce", arg: "y", want: 3, got: 2 };
        assert_eq!(reduce_into(x.view(), Reduce::Sum, 0, y.view_mut()), Err(size));
    }
}
