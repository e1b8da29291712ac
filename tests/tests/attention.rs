//! One table of cases; every implementation of attention goes through it.
use approx::assert_relative_eq;
use latens_core::{Device, Error, Float, Layout, Tensor, attention, attention_into, bf16, f16};
use latens_cpu::Level;
use latens_kernels::attention as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, small};
use proptest::prelude::*;

/// `[batch, t, s, heads, kv_heads, dim, padding between heads, causal]`.
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
    [1, 40, 130, 4, 2, 20, 0, 1],
    [1, 70, 70, 50, 1, 4, 0, 1],
    [1, 3, 5, 1, 1, 256, 0, 0],
    [1, 150, 150, 2, 1, 12, 0, 1],
];

fn layout([batch, t, heads, dim]: [usize; 4], padding: usize) -> Layout<4> {
    let row = heads * (dim + padding);
    Layout::strided([batch, t, heads, dim], [t * row, row, dim + padding, 1]).unwrap()
}

fn check<T: Float + Poison>(
    special: bool,
    [batch, t, s, heads, kv_heads, dim, padding, causal]: [usize; 8],
    limit: f64,
    cases: &mut Cases,
) {
    let what = format!("{batch} {t} {s} {heads}/{kv_heads} {dim} causal {causal}");
    let (q_layout, k_layout) = (layout([batch, t, heads, dim], padding), layout([batch, s, kv_heads, dim], padding));
    let [q, k, v] = [(q_layout, 1), (k_layout, 2), (k_layout, 3)].map(|(layout, seed)| match special {
        true => numbers::<T>(layout.span(), seed),
        false => normal::<T>(layout.span(), 1.5, seed),
    });
    let (scale, causal) = (if special { 0.125 } else { 1.0 / (dim.max(1) as f32).sqrt() }, causal == 1);
    let p = family::plan(&q_layout, &k_layout, &k_layout, scale, causal).unwrap();
    let mut want = vec![T::POISON; batch * t * heads * dim];
    family::forward(&p, &q, &k, &v, &mut want);
    cases.ran("reference");

    for level in Level::all() {
        let mut y = Fenced::<T, 4>::new(p.out(), &Device::Host);
        latens_cpu::attention::forward_at(level, &p, &q, &k, &v, y.slice());
        close(&format!("{level:?} {what}"), &y.full(), &want, limit);
        cases.ran("cpu");
    }

    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let q = Tensor::from_slice(&q, q_layout, &device).unwrap();
        let [k, v] = [&k, &v].map(|x| Tensor::from_slice(x, k_layout, &device).unwrap());
        let y = attention(q.view(), k.view(), v.view(), scale, causal).unwrap();
        close(&what, &y.to_vec().unwrap(), &want, limit);
        let mut into = Fenced::<T, 4>::new(p.out(), &device);
        attention_into(q.view(), k.view(), v.view(), scale, causal, into.view_mut()).unwrap();
        close(&what, &into.full(), &want, limit);
        cases.ran(place(&device));
    }
}

fn table<T: Float + Poison>(limit: f64) {
    let mut cases = Cases::of("attention");
    for &case in CASES.iter().filter(|case| !small() || case[1] * case[2] * case[3] < 3000) {
        check::<T>(false, case, limit, &mut cases);
        // A NaN among values spoils the queries that see it, and no other.
        check::<T>(true, case, limit, &mut cases);
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
                attention(q, k, v, 0.3, true).unwrap().to_vec().unwrap()
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
                attention(q.view(), k.view(), v.view(), 0.5, false).unwrap().to_vec().unwrap()
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
        let y = attention(q.view(), k.view(), k.view(), 1.0, true).unwrap().to_vec().unwrap();
        assert!(y[..3 * 8].iter().all(|&y| y == 0.0) && y[3 * 8..].iter().all(|&y| y != 0.0));
        let none = k.view().narrow(1, 0, 0).unwrap();
        assert_eq!(attention(q.view(), none, none, 1.0, false).unwrap().to_vec().unwrap(), [0.0; 40]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let at = |dims| Tensor::<f32, 4>::zeros(dims, &device).unwrap();
        let (q, k) = (at([1, 2, 3, 4]), at([1, 5, 1, 4]));
        let call =
            |k: &Tensor<f32, 4>, v: &Tensor<f32, 4>, scale| attention(q.view(), k.view(), v.view(), scale, true).err();
        let size = |arg, want, got| Some(Error::Size { op: "attention", arg, want, got });
        assert_eq!(call(&at([1, 5, 1, 3]), &k, 1.0), size("k", 4, 3));
        assert_eq!(call(&at([2, 5, 1, 4]), &k, 1.0), size("k", 1, 2));
        assert_eq!(call(&k, &at([1, 4, 1, 4]), 1.0), size("v", 5, 4));
        let heads = Error::Value { op: "attention", arg: "heads", want: "a multiple of the number of key heads" };
        assert_eq!(call(&at([1, 5, 2, 4]), &at([1, 5, 2, 4]), 1.0), Some(heads));
        let scale = Error::Value { op: "attention", arg: "scale", want: "a finite number" };
        assert_eq!(call(&k, &k, f32::NAN), Some(scale));
        let long = at([1, 2, 1, 257]);
        let range = Error::Range { op: "attention", arg: "dim", max: 256, got: 257 };
        assert_eq!(attention(long.view(), long.view(), long.view(), 1.0, true).err(), Some(range));
    }
}
