//! One table of cases; every implementation of the sparsifier goes through it.
use latens_core::{
    Accumulate, Device, Error, Float, Layout, Tensor, bf16, f16, sparsify, sparsify_into, sparsify_sum,
    sparsify_sum_into, sparsify_workspace,
};
use latens_kernels::sparsify as family;
use latens_tests::{Cases, Fenced, Poison, devices, normal, numbers, place, same, small};

/// `[n, k]`. A piece has 4096 entries on CUDA and 32768 on the host, which samples from 131072 on.
const CASES: &[[usize; 2]] = &[
    [0, 0],
    [1, 0],
    [1, 1],
    [5, 5],
    [31, 3],
    [33, 32],
    [100, 0],
    [4096, 40],
    [4097, 4000],
    [9000, 9000],
    [33_000, 100],
    [140_000, 150],
    [140_000, 20_000],
];

/// Gradients that a selection finds hardest: [`numbers`], all equal, all zero but one run, all NaN, one large entry that
/// no sample sees, so large that sums overflow, and plain normal ones.
fn hard<T: Float>(n: usize, seed: u64) -> Vec<Vec<T>> {
    let of = |f: &dyn Fn(usize) -> f64| (0..n).map(|i| T::narrow(f(i))).collect();
    vec![
        numbers(n, seed),
        of(&|i| if i % 2 == 0 { 1.0 } else { -1.0 }),
        of(&|i| if (70..170).contains(&i) { (i % 7) as f64 } else { 0.0 }),
        of(&|_| f64::NAN),
        of(&|i| if i == n / 3 + 77 { 1e4 } else { 1.0 + (i % 64) as f64 / 64.0 }),
        of(&|i| 3e38 * f64::from(i as u32 % 3)),
        normal(n, 1.0, seed),
    ]
}

struct Case<T: Float> {
    g: Vec<T>,
    e: Vec<T::Acc>,
    k: usize,
}

type Sent<A> = (Vec<A>, Vec<A>, Vec<u32>, Vec<u32>);

fn check<T: Float<Acc: Poison> + Poison>(case: &Case<T>, cases: &mut Cases) {
    let Case { g, e, k } = case;
    let (n, k) = (g.len(), *k);
    let layout = Layout::packed([n]).unwrap();
    let p = family::plan(&layout, &layout, k).unwrap();
    let (mut memory, mut values) = (e.clone(), vec![T::Acc::POISON; k]);
    let (mut indices, mut counts) = (vec![u32::POISON; k], vec![u32::POISON; 2]);
    family::forward(&p, g, &mut memory, &mut values, &mut indices, &mut counts);
    adds_up(case, &(memory.clone(), values.clone(), indices.clone(), counts.clone()));
    cases.ran("reference");
    let equal = |what: &str, got: Sent<T::Acc>| {
        assert_eq!(got.3, counts, "{what} {n} {k}");
        assert_eq!(got.2, indices, "{what} {n} {k}");
        assert!(same(&got.1, &values) && same(&got.0, &memory), "{what} {n} {k}");
    };
    let fenced = |device: &Device| {
        let e = Fenced::<T::Acc, 1>::holding(e, [n], device);
        (e, Fenced::<T::Acc, 1>::new([k], device), [k, 2].map(|len| Fenced::<u32, 1>::new([len], device)))
    };

    let (mut m, mut v, [mut i, mut c]) = fenced(&Device::Host);
    latens_cpu::sparsify::forward(&p, g, m.slice(), v.slice(), i.slice(), c.slice());
    equal("cpu", (m.take(), v.take(), i.take(), c.take()));
    cases.ran("cpu");

    for device in devices() {
        let g = Tensor::from_slice(g, layout, &device).unwrap();
        let mut m = Tensor::from_slice(e, layout, &device).unwrap();
        let sent = sparsify(g.view(), m.view_mut(), k).unwrap();
        let [i, c] = [&sent.indices, &sent.counts].map(|tensor| tensor.to_vec().unwrap());
        equal(place(&device), (m.to_vec().unwrap(), sent.values.to_vec().unwrap(), i, c));

        let (mut m, mut v, [mut i, mut c]) = fenced(&device);
        let size = sparsify_workspace(&layout, k, &device).unwrap();
        let mut workspace = Tensor::empty([size], &device).unwrap();
        let (values, indices, counts) = (v.view_mut(), i.view_mut(), c.view_mut());
        sparsify_into(g.view(), m.view_mut(), k, values, indices, counts, workspace.view_mut()).unwrap();
        equal(place(&device), (m.take(), v.take(), i.take(), c.take()));
        cases.ran(place(&device));
    }
}

/// What was sent and what is left is what came; nothing that stays is larger than what was sent; no NaN stays.
fn adds_up<T: Float>(Case { g, e, k }: &Case<T>, (memory, values, indices, counts): &Sent<T::Acc>) {
    let n = g.len();
    let mut sent = vec![None; n];
    let count = counts[0] as usize;
    assert!(indices.windows(2).all(|pair| pair[0] < pair[1] || pair[1] as usize == n));
    assert!(indices[count..].iter().all(|&i| i as usize == n) && values[count..].iter().all(|v| v.wide() == 0.0));
    for (value, &i) in values.iter().zip(indices).take(count) {
        sent[i as usize] = Some(*value);
    }
    let least = values[..count].iter().map(|v| v.wide().abs()).fold(f64::INFINITY, f64::min);
    let mut dropped = 0;
    for i in 0..n {
        let a = T::Acc::narrow(g[i].wide() + e[i].wide());
        if !a.wide().is_finite() {
            dropped += 1;
            assert!(sent[i].is_none() && memory[i] == e[i]);
            continue;
        }
        assert_eq!(sent[i].unwrap_or(memory[i]).wide(), a.wide());
        match sent[i] {
            Some(_) => assert_eq!(memory[i].wide(), 0.0),
            None => assert!(a.wide().abs() <= least || *k == 0),
        }
    }
    assert_eq!(counts[1], dropped);
    assert_eq!(count, (*k).min(n - dropped as usize));
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("sparsify");
    for (seed, &[n, k]) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[0] < 10_000) {
        for (i, g) in hard::<T>(n, seed as u64).into_iter().enumerate() {
            let e = if i % 2 == 0 { vec![T::Acc::default(); n] } else { normal(n, 0.5, 99) };
            check(&Case { g, e, k }, &mut cases);
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

/// `[ranks, k, n]`.
const SUMS: &[[usize; 3]] = &[
    [0, 0, 0],
    [0, 3, 5],
    [3, 0, 5],
    [1, 1, 1],
    [2, 5, 5],
    [3, 40, 100],
    [2, 4000, 4096],
    [5, 200, 9001],
    [2, 900, 70_000],
];

fn check_sum<T: Float<Acc: Poison> + Poison>([ranks, k, n]: [usize; 3], accumulate: Accumulate, cases: &mut Cases) {
    // The packets of real gradients; rank 1 has fewer finite entries than slots.
    let (mut values, mut indices) = (Vec::new(), Vec::new());
    for rank in 0..ranks {
        let mut g = normal::<T>(n, 1.0, rank as u64);
        if rank == 1 {
            g.iter_mut().skip(k / 2).for_each(|g| *g = T::narrow(f64::NAN));
        }
        let layout = Layout::packed([n]).unwrap();
        let p = family::plan(&layout, &layout, k).unwrap();
        let (mut e, mut v) = (vec![T::Acc::default(); n], vec![T::Acc::default(); k]);
        let (mut i, mut c) = (vec![0; k], [0; 2]);
        family::forward(&p, &g, &mut e, &mut v, &mut i, &mut c);
        values.extend(v);
        indices.extend(i);
    }
    let (packets, y) = (Layout::packed([ranks, k]).unwrap(), Layout::packed([n]).unwrap());
    let p = family::plan_sum(&packets, &packets, 0.3, accumulate, &y).unwrap();
    let before = normal::<T>(n, 2.0, 5);
    let mut want = before.clone();
    family::sum(&p, &values, &indices, &mut want);
    if accumulate == Accumulate::Replace {
        let dense: f64 = values.iter().map(|v| v.wide() * f64::from(0.3_f32)).sum();
        let sum: f64 = want.iter().map(|y| y.wide()).sum();
        assert!((dense - sum).abs() <= 0.01 * (values.len() as f64 + 1.0).sqrt(), "{dense} {sum}");
    }
    cases.ran("reference");
    let mut got = Fenced::<T, 1>::holding(&before, [n], &Device::Host);
    latens_cpu::sparsify::sum(&p, &values, &indices, got.slice());
    assert!(same(&got.take(), &want), "cpu {ranks} {k} {n}");
    cases.ran("cpu");
    for device in devices() {
        let values = Tensor::from_slice(&values, packets, &device).unwrap();
        let indices = Tensor::from_slice(&indices, packets, &device).unwrap();
        let mut got = Fenced::<T, 1>::holding(&before, [n], &device);
        sparsify_sum_into(values.view(), indices.view(), 0.3, accumulate, got.view_mut()).unwrap();
        assert!(same(&got.take(), &want), "{} {ranks} {k} {n}", place(&device));
        if accumulate == Accumulate::Replace {
            let got = sparsify_sum::<T>(values.view(), indices.view(), 0.3, n).unwrap();
            assert!(same(&got.to_vec().unwrap(), &want));
        }
        cases.ran(place(&device));
    }
}

#[test]
fn sums() {
    let mut cases = Cases::of("sparsify_sum");
    for &[ranks, k, n] in SUMS.iter().filter(|case| !small() || case[2] < 10_000) {
        for accumulate in [Accumulate::Replace, Accumulate::Add] {
            let k = k.min(n);
            check_sum::<f32>([ranks, k, n], accumulate, &mut cases);
            check_sum::<bf16>([ranks, k, n], accumulate, &mut cases);
            check_sum::<f16>([ranks, k, n], accumulate, &mut cases);
        }
    }
}

/// Over many steps, with a NaN now and then: all that came is sent or in memory, but for what was dropped.
#[test]
fn telescoping() {
    let (n, k) = (300, 12);
    for device in devices() {
        let mut memory = Tensor::<f32, 1>::zeros([n], &device).unwrap();
        let (mut came, mut sent) = (vec![0.0_f64; n], vec![0.0_f64; n]);
        for step in 0..40 {
            // Quarters: sums of them are exact.
            let mut g: Vec<f32> = normal::<f32>(n, 8.0, step).into_iter().map(|x| (4.0 * x).round() / 4.0).collect();
            g[step as usize] = [f32::NAN, f32::INFINITY][step as usize % 2];
            came.iter_mut().zip(&g).filter(|(_, g)| g.is_finite()).for_each(|(came, &g)| *came += f64::from(g));
            let g = Tensor::from_vec(g, [n], &device).unwrap();
            let packet = sparsify(g.view(), memory.view_mut(), k).unwrap();
            assert_eq!(packet.counts.to_vec().unwrap(), [k as u32, 1]);
            for (value, at) in packet.values.to_vec().unwrap().into_iter().zip(packet.indices.to_vec().unwrap()) {
                sent[at as usize] += f64::from(value);
            }
        }
        let left = memory.to_vec().unwrap();
        assert!((0..n).all(|i| came[i] == sent[i] + f64::from(left[i])));
    }
}

#[test]
fn wrong_calls_are_errors() {
    const OP: &str = "sparsify_sum";
    let layout = |n| Layout::packed([n]).unwrap();
    let plan = |g, e, k| family::plan(&layout(g), &layout(e), k).err();
    assert_eq!(plan(4, 4, 5), Some(Error::Range { op: "sparsify", arg: "k", max: 4, got: 5 }));
    assert_eq!(plan(4, 3, 1), Some(Error::Size { op: "sparsify", arg: "e", want: 4, got: 3 }));
    // Sizes past 31 and 32 bits: nothing is allocated.
    let large = u32::MAX as usize;
    assert_eq!(plan(large, large, 1 << 31), None);
    assert_eq!(
        plan(large + 1, large + 1, 1),
        Some(Error::Range { op: "sparsify", arg: "n", max: large, got: large + 1 })
    );
    let p = family::plan(&layout(large), &layout(large), 1 << 31).unwrap();
    assert_eq!(p.bytes(4, 4), 12 * large + (8 << 31));
    assert!(p.workspace() > large / 8 && p.workspace() < large / 7);

    let packets = Layout::packed([2, 3]).unwrap();
    let wide = Layout::packed([2, 4]).unwrap();
    let gaps = Layout::strided([2, 3], [4, 1]).unwrap();
    let plan = |v: &Layout<2>, i: &Layout<2>, n| {
        family::plan_sum(v, i, 1.0, Accumulate::Replace, &Layout::packed([n]).unwrap()).err()
    };
    assert_eq!(plan(&packets, &wide, 9), Some(Error::Size { op: OP, arg: "indices", want: 3, got: 4 }));
    assert_eq!(plan(&packets, &gaps, 9), Some(Error::Stride { op: OP, arg: "indices", want: 3, got: 4 }));
    assert_eq!(plan(&packets, &packets, 2), Some(Error::Range { op: OP, arg: "k", max: 2, got: 3 }));

    let values = Tensor::from_vec(vec![1.0_f32; 6], [2, 3], &Device::Host).unwrap();
    let ascending = Error::Value { op: OP, arg: "indices", want: "ascending in every rank" };
    let beyond = Error::Range { op: OP, arg: "indices", max: 9, got: 10 };
    for (bad, error) in [([1, 0, 2], ascending), ([1, 1, 2], ascending), ([9, 3, 9], ascending), ([1, 2, 10], beyond)] {
        for device in devices() {
            let indices = [[0, 4, 9], bad].concat();
            let indices = Tensor::from_vec(indices, [2, 3], &device).unwrap();
            let values = values.to(&device).unwrap();
            let mut y = Fenced::<f32, 1>::new([9], &device);
            let done = sparsify_sum_into(values.view(), indices.view(), 1.0, Accumulate::Replace, y.view_mut());
            assert_eq!(done.err(), device.is_host().then_some(error));
            y.take(); // on CUDA nothing beside it was touched
        }
    }
}
