//! One table of cases; every implementation of the maps goes through it. All are exact.
use latens_core::{
    Device, Element, Error, Float, Layout, Tensor, add_into, bf16, cast, cast_into, copy_into, f16, scale_into,
};
use latens_cpu::Level;
use latens_kernels::map as family;
use latens_tests::{Cases, Fenced, Poison, devices, numbers, place, same};

/// `[rows, n, padding of x, padding of y]`.
const CASES: &[[usize; 4]] = &[
    [0, 3, 0, 0],
    [3, 0, 0, 0],
    [1, 1, 0, 0],
    [3, 31, 1, 0],
    [2, 33, 0, 5],
    [5, 64, 64, 64],
    [2, 1000, 3, 8],
    [3, 4096, 0, 0],
];

fn layouts([rows, n, a, b]: [usize; 4]) -> [Layout<2>; 2] {
    [a, b].map(|padding| Layout::strided([rows, n], [n + padding, 1]).unwrap())
}

/// Run `work` on every device, over `y` as it was, and compare all of `y`, gaps included.
fn everywhere<T: Float + Poison, U: Float + Poison>(
    what: &str,
    case: [usize; 4],
    x: &[T],
    y: &[U],
    reference: impl Fn(&family::Plan, &[T], &mut [U]),
    cpu: impl Fn(Level, &family::Plan, &[T], &mut [U]),
    op: impl Fn(&Tensor<T, 2>, &mut Tensor<U, 2>),
    cases: &mut Cases,
) {
    let [x_layout, y_layout] = layouts(case);
    let (x, y) = (&x[..x_layout.span()], &y[..y_layout.span()]);
    let p = family::plan("test", &x_layout, &y_layout).unwrap();
    let mut want = y.to_vec();
    reference(&p, x, &mut want);
    cases.ran("reference");
    for level in Level::all() {
        let mut got = Fenced::<U, 1>::holding(y, [y.len()], &Device::Host);
        cpu(level, &p, x, got.slice());
        assert!(same(&got.take(), &want), "{level:?} {what} {case:?}");
        cases.ran("cpu");
    }
    for device in devices() {
        let x = Tensor::from_slice(x, x_layout, &device).unwrap();
        let mut y = Tensor::from_slice(y, y_layout, &device).unwrap();
        op(&x, &mut y);
        assert!(same(&y.to_vec().unwrap(), &want), "{} {what} {case:?}", place(&device));
        cases.ran(place(&device));
    }
}

fn table<T: Float + Poison>() {
    let mut cases = Cases::of("map").in_type::<T>();
    for (seed, &case @ [rows, n, a, b]) in CASES.iter().enumerate() {
        let (x, y) = (numbers::<T>(rows * (n + a), seed as u64), numbers::<T>(rows * (n + b), 50));
        let (copy, add) = (family::copy::<T>, family::add::<T>);
        let fast_copy = |_, p: &_, x: &[T], y: &mut [T]| latens_cpu::map::copy(p, x, y);
        let fast_add = latens_cpu::map::add_at::<T>;
        everywhere(
            "copy",
            case,
            &x,
            &y,
            copy,
            fast_copy,
            |x, y| copy_into(x.view(), y.view_mut()).unwrap(),
            &mut cases,
        );
        everywhere("add", case, &x, &y, add, fast_add, |x, y| add_into(x.view(), y.view_mut()).unwrap(), &mut cases);
        let scale = |p: &_, _: &[T], y: &mut [T]| family::scale(p, 0.3, y);
        let fast = |level, p: &_, _: &[T], y: &mut [T]| latens_cpu::map::scale_at(level, p, 0.3, y);
        everywhere("scale", case, &x, &y, scale, fast, |_, y| scale_into(0.3, y.view_mut()).unwrap(), &mut cases);
        casts::<T, f32>(case, &x, &mut cases);
        casts::<T, f16>(case, &x, &mut cases);
        casts::<T, bf16>(case, &x, &mut cases);
    }
}

fn casts<T: Float + Poison, U: Float + Poison>(case: [usize; 4], x: &[T], cases: &mut Cases) {
    let y = vec![U::POISON; case[0] * (case[1] + case[3])];
    let (plain, fast) = (family::cast::<T, U>, latens_cpu::map::cast_at::<T, U>);
    everywhere("cast", case, x, &y, plain, fast, |x, y| cast_into(x.view(), y.view_mut()).unwrap(), cases);
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

/// Every f16 and bf16 goes to f32 and back; what lies half way between two goes to the even one.
#[test]
fn casts_round_to_nearest() {
    for device in devices() {
        fn whole<T: Float>(from: fn(u16) -> T, device: &Device) {
            let all: Vec<T> = (0..=u16::MAX).map(from).collect();
            let x = Tensor::from_slice(&all, Layout::packed([256, 256]).unwrap(), device).unwrap();
            let back = cast::<f32, T>(cast::<T, f32>(x.view()).unwrap().view()).unwrap();
            assert!(same(&back.to_vec().unwrap(), &all));
        }
        whole(f16::from_bits, &device);
        whole(bf16::from_bits, &device);
        let x = Tensor::from_slice(
            &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1e39_f64 as f32],
            Layout::packed([1, 3]).unwrap(),
            &device,
        );
        let y = cast::<f32, bf16>(x.unwrap().view()).unwrap().to_vec().unwrap();
        assert!(same(&y, &[1.0, 1.0 + 1.0 / 64.0, f64::INFINITY].map(bf16::from_f64)));
    }
}

/// Into part of a cache of rank 4, other types than floats included; the rest stays.
fn cache<T: Element + Poison>(number: impl Fn(usize) -> T) {
    for device in devices() {
        let x: Vec<T> = (0..2 * 3 * 2 * 5).map(&number).collect();
        let x = Tensor::from_slice(&x, Layout::packed([2, 3, 2, 5]).unwrap(), &device).unwrap();
        let mut y = Fenced::<T, 4>::new([2, 7, 2, 5], &device);
        copy_into(x.view(), y.view_mut().narrow(1, 2, 5).unwrap()).unwrap();
        let want: Vec<T> = (0..2 * 7 * 10)
            .map(|at| (at / 70, at / 10 % 7, at % 10))
            .map(|(b, t, i)| if (2..5).contains(&t) { number((b * 3 + t - 2) * 10 + i) } else { T::POISON })
            .collect();
        assert!(y.take() == want, "{}", place(&device));
    }
}
#[test]
fn copies_fill_a_cache() {
    cache(|i| i as f32);
    cache(|i| bf16::from_f32(i as f32));
    cache(|i| i as u32);
    cache(|i| i as i32);
    cache(|i| i as u8);
    cache(|i| i as i8);
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let mut y = Tensor::<f32, 2>::zeros([2, 4], &device).unwrap();
        let size = |op| Err(Error::Size { op, arg: "y", want: 3, got: 4 });
        assert_eq!(add_into(x.view(), y.view_mut()), size("add"));
        assert_eq!(copy_into(x.view(), y.view_mut()), size("copy"));
        assert_eq!(cast_into::<f32, f32>(x.view(), y.view_mut()), size("cast"));
        if !device.is_host() {
            let mut host = Tensor::<f32, 2>::zeros([2, 3], &Device::Host).unwrap();
            assert_eq!(add_into(x.view(), host.view_mut()), Err(Error::Device { op: "add", arg: "y" }));
        }
    }
}

/// The reference rounds `f64` to 16 bits once: a bit that only `f64` has breaks a tie.
#[test]
fn narrowing_rounds_once() {
    let half_way = 1.0 + 2_f64.powi(-11);
    assert_eq!(f16::narrow(half_way).to_f64(), 1.0);
    assert_eq!(f16::narrow(half_way + 2_f64.powi(-40)).to_f64(), 1.0 + 2_f64.powi(-10));
    assert_eq!(bf16::narrow(-1.0 - 2_f64.powi(-8) - 2_f64.powi(-50)).to_f64(), -1.0 - 2_f64.powi(-7));
    assert_eq!(
        [f16::narrow(1e300), f16::narrow(1e-300), f16::narrow(-0.0)].map(f16::to_f64),
        [f64::INFINITY, 0.0, -0.0]
    );
    assert!(bf16::narrow(f64::NAN).is_nan());
}
