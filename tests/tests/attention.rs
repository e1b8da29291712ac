//! One table of cases; every implementation of attention and its gradients goes through it.
use approx::assert_relative_eq;
use latens_core::{
    Attention, Device, Error, Float, Mask, Tensor, attention, attention_backward, attention_into, bf16, f16,
};
use latens_cpu::Level;
use latens_kernels::attention as family;
use latens_tests::attention::{Case, Kind};
use latens_tests::{Cases, Fenced, Poison, devices, normal, place, small};
use proptest::prelude::*;

/// `[batch, t, s, heads, kv_heads, dim, padding between heads, block of the mask]`: 0 shows everything, 1 is causal.
const CASES: &[[usize; 8]] = &[
    [0, 3, 3, 2, 1, 8, 0, 1],
    [1, 0, 3, 2, 1, 8, 0, 0],
    [1, 3, 0, 2, 1, 8, 0, 0],
    [1, 2, 2, 1, 1, 0, 0, 1],
    [1, 1, 1, 1, 1, 1, 0, 1],
    [2, 3, 3, 2, 2, 5, 3, 1],
    [1, 5, 9, 3, 1, 16, 0, 1],
    [2, 7, 7, 6, 2, 33, 1, 0],
    [1, 9, 4, 2, 1, 8, 0, 1],
    [2, 1, 70, 9, 3, 64, 0, 1],
    [1, 17, 65, 9, 3, 64, 8, 1],
    [1, 80, 144, 2, 1, 16, 0, 1],
    [1, 40, 130, 4, 2, 20, 0, 1],
    [1, 70, 70, 50, 1, 4, 0, 1],
    [1, 3, 5, 1, 1, 256, 0, 0],
    [1, 35, 40, 1, 1, 130, 2, 1],
    [1, 150, 150, 2, 1, 12, 0, 1],
    [1, 13, 13, 2, 2, 6, 0, 4],
    [2, 20, 11, 3, 1, 9, 1, 5],
    [1, 6, 40, 2, 1, 10, 0, 64],
];

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("attention").in_type::<T>();
    for &sizes in CASES.iter().filter(|case| !small() || case[1] * case[2] * case[3] < 3000) {
        // A NaN among values spoils the queries that see it, and no other; one in a query, the keys that it sees.
        for kind in [Kind::Plain, Kind::Gaps, Kind::Special] {
            let case = Case::<T>::new(sizes, kind);
            let want = case.reference();
            cases.ran("reference");
            for level in Level::all() {
                case.at(level, &want).near(&want, &format!("{level:?} {sizes:?} {kind:?}"));
                cases.ran("cpu");
            }
            for device in devices() {
                let got = case.core(&device, &want, [true; 3]);
                got.near(&want, &format!("{} {sizes:?} {kind:?}", place(&device)));
                let again = case.core(&device, &want, [true; 3]);
                assert!(
                    kind != Kind::Plain || got.bits() == again.bits(),
                    "{} {sizes:?}: two runs differ",
                    place(&device)
                );
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
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

/// A gradient that nobody wants is not touched, and the others are the same.
#[test]
fn wanted_gradients() {
    let case = Case::<f32>::new([1, 9, 12, 4, 2, 7, 1, 1], Kind::Plain);
    let want = case.reference();
    for device in devices() {
        let all = case.core(&device, &want, [true; 3]).gradients();
        for only in 0..3 {
            let got = case.core(&device, &want, core::array::from_fn(|i| i == only)).gradients();
            for i in 0..3 {
                let untouched = vec![f32::POISON; all[i].len()];
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got[i]), bits(if i == only { &all[i] } else { &untouched }), "{only} {i}");
            }
        }
    }
}

/// The gradients of the reference are the slopes of the reference.
#[test]
fn gradient() {
    for block in [0, 1, 3] {
        let case = Case::<f64>::new([2, 4, 5, 4, 2, 3, 1, block], Kind::Plain);
        let (p, [q_layout, k_layout, _], [q, k, v, dy]) = (case.plan_backward(), case.layouts, &case.data);
        // The sum of y times dy.
        let sum = |q: &[f64], k: &[f64], v: &[f64]| -> f64 {
            let mut y = vec![0.0; q_layout.len()];
            family::forward(&p, q, k, v, &mut y, None);
            let [batch, t, heads, dim] = p.out();
            let [of_batch, token, head, _] = p.dy().strides();
            let places = (0..batch * t * heads).map(|n| [n / heads / t, n / heads % t, n % heads]);
            let at = places.flat_map(|[b, i, h]| (0..dim).map(move |d| b * of_batch + i * token + h * head + d));
            y.iter().zip(at).map(|(y, at)| y * dy[at]).sum()
        };
        let gradients = case.reference().gradients();
        for (which, (layout, got)) in [q_layout, k_layout, k_layout].iter().zip(&gradients).enumerate() {
            let [_, _, heads, dim] = layout.dims();
            for (n, &got) in got.iter().enumerate() {
                let (row, h, d) = (n / dim / heads, n / dim % heads, n % dim);
                let at = row * layout.strides()[1] + h * layout.strides()[2] + d;
                let moved = |by: f64| {
                    let mut inputs = [q.clone(), k.clone(), v.clone()];
                    inputs[which][at] += by;
                    sum(&inputs[0], &inputs[1], &inputs[2])
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert_relative_eq!(got, slope, epsilon = 1e-8, max_relative = 1e-6);
            }
        }
    }
}

fn tensor(dims: [usize; 4], seed: u64, device: &Device) -> Tensor<f32, 4> {
    Tensor::from_vec(normal(dims.iter().product(), 1.0, seed), dims, device).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Fed token by token over the filled part of a cache, or all at once: the same. And no query sees a later key.
    #[test]
    fn cache_equals_no_cache(t in 1_usize..20, group in 1_usize..4, dim in 1_usize..20, seed in 0_u64..1000) {
        for device in devices() {
            let (heads, room) = (2 * group, t + 3);
            let q = tensor([1, t, heads, dim], seed, &device);
            let [k, v] = [1, 2].map(|n| tensor([1, room, 2, dim], seed + n, &device));
            let all = |t: usize, first: usize| {
                let q = q.view().narrow(1, first, t).unwrap();
                let [k, v] = [&k, &v].map(|x| x.view().narrow(1, 0, t).unwrap());
                attention(&Attention { scale: 0.3, ..Attention::new(q, k, v) }).unwrap().to_vec().unwrap()
            };
            let whole = all(t, 0);
            for i in 0..t {
                let row = &whole[i * heads * dim..(i + 1) * heads * dim];
                assert_relative_eq!(&all(i + 1, i)[..], row, epsilon = 1e-5, max_relative = 1e-4);
                assert_relative_eq!(&all(i + 1, 0)[i * heads * dim..], row, epsilon = 1e-5, max_relative = 1e-4);
            }
        }
    }

    /// Heads that share keys are heads with equal keys.
    #[test]
    fn groups_are_repeated_keys(s in 1_usize..40, group in 1_usize..5, dim in 1_usize..20, seed in 0_u64..1000) {
        for device in devices() {
            let q = tensor([2, 3, 2 * group, dim], seed, &device);
            let shared = [1, 2].map(|n| tensor([2, s, 2, dim], seed + n, &device));
            let repeated = shared.each_ref().map(|x| {
                let x = x.to_vec().unwrap();
                let all = x.chunks(dim.max(1)).flat_map(|head| head.repeat(group)).collect();
                Tensor::from_vec(all, [2, s, 2 * group, dim], &device).unwrap()
            });
            let [a, b] = [&shared, &repeated].map(|[k, v]| {
                let call = Attention { mask: Mask::Full, ..Attention::new(q.view(), k.view(), v.view()) };
                attention(&call).unwrap().to_vec().unwrap()
            });
            assert_relative_eq!(&a[..], &b[..], epsilon = 1e-5, max_relative = 1e-4);
        }
    }
}

/// Where there is nothing to see, zeros: queries before the first key, and no keys at all.
#[test]
fn nothing_to_see_is_zero() {
    for device in devices() {
        let (q, k) = (tensor([1, 5, 2, 4], 1, &device), tensor([1, 2, 1, 4], 2, &device));
        let call = Attention::new(q.view(), k.view(), k.view());
        let (mut y, mut lse) =
            (Fenced::<f32, 4>::new([1, 5, 2, 4], &device), Fenced::<f32, 3>::new([1, 5, 2], &device));
        attention_into(&call, y.view_mut(), Some(lse.view_mut())).unwrap();
        let (y, lse) = (y.full(), lse.full());
        assert!(y[..3 * 8].iter().all(|&y| y == 0.0) && y[3 * 8..].iter().all(|&y| y != 0.0));
        assert!(lse[..6].iter().all(|&lse| lse == f32::NEG_INFINITY) && lse[6..].iter().all(|lse| lse.is_finite()));
        // Their gradients are zeros.
        let [y, dy] = [y, vec![1.0; 40]].map(|x| Tensor::from_vec(x, [1, 5, 2, 4], &device).unwrap());
        let lse = Tensor::from_vec(lse, [1, 5, 2], &device).unwrap();
        let dq = attention_backward(&call, y.view(), lse.view(), dy.view()).unwrap().q.to_vec().unwrap();
        assert!(dq[..3 * 8].iter().all(|&dq| dq == 0.0) && dq.iter().all(|dq| dq.is_finite()));
        let none = k.view().narrow(1, 0, 0).unwrap();
        let call = Attention { mask: Mask::Full, ..Attention::new(q.view(), none, none) };
        assert_eq!(attention(&call).unwrap().to_vec().unwrap(), [0.0; 40]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let at = |dims| Tensor::<f32, 4>::zeros(dims, &device).unwrap();
        let (q, k) = (at([1, 2, 3, 4]), at([1, 5, 1, 4]));
        let call = |k: &Tensor<f32, 4>, v: &Tensor<f32, 4>, scale, mask| {
            attention(&Attention { q: q.view(), k: k.view(), v: v.view(), scale, mask }).err()
        };
        let (size, causal) = (|arg, want, got| Some(Error::Size { op: "attention", arg, want, got }), Mask::Causal);
        assert_eq!(call(&at([1, 5, 1, 3]), &k, 1.0, causal), size("k", 4, 3));
        assert_eq!(call(&at([2, 5, 1, 4]), &k, 1.0, causal), size("k", 1, 2));
        assert_eq!(call(&k, &at([1, 4, 1, 4]), 1.0, causal), size("v", 5, 4));
        let value = |arg, want| Some(Error::Value { op: "attention", arg, want });
        let heads = value("heads", "a multiple of the number of key heads");
        assert_eq!(call(&at([1, 5, 2, 4]), &at([1, 5, 2, 4]), 1.0, causal), heads);
        assert_eq!(call(&k, &k, f32::NAN, causal), value("scale", "a finite number"));
        assert_eq!(call(&k, &k, 1.0, Mask::Blocks(0)), value("mask", "blocks of at least one position"));
        let long = at([1, 2, 1, 257]);
        let range = Error::Range { op: "attention", arg: "dim", max: 256, got: 257 };
        assert_eq!(attention(&Attention::new(long.view(), long.view(), long.view())).err(), Some(range));

        let call = Attention::new(q.view(), k.view(), k.view());
        let lse = |dims| Tensor::<f32, 3>::zeros(dims, &device).unwrap();
        let back = |y: &Tensor<f32, 4>, lse: &Tensor<f32, 3>, dy: &Tensor<f32, 4>| {
            attention_backward(&call, y.view(), lse.view(), dy.view()).err()
        };
        let (log, wide) = (lse([1, 2, 3]), at([1, 2, 4, 4]));
        assert_eq!(back(&k, &log, &q), size("y", 2, 5));
        assert_eq!(back(&q, &lse([1, 2, 2]), &q), size("lse", 3, 2));
        assert_eq!(back(&q, &log, &k), size("dy", 2, 5));
        let narrow = wide.view().narrow(2, 0, 3).unwrap();
        let stride = Error::Stride { op: "attention", arg: "y", want: 24, got: 32 };
        assert_eq!(attention_backward(&call, narrow, log.view(), q.view()).err(), Some(stride));
        assert!(attention_backward(&call, q.view(), log.view(), narrow).is_ok());
    }
}
