use latens_core::{
    Compressed, Device, Float, Layout, Tensor, bf16, f16, hyper_compress, hyper_compress_into, hyper_search,
    hyper_search_compressed, hyper_search_compressed_into, hyper_search_compressed_workspace, hyper_search_into,
    hyper_search_workspace,
};
use latens_kernels::Philox;
use latens_kernels::hyper::search as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same};

/// `[queries, n, dim, k, gap]`.
const CASES: &[[usize; 5]] = &[
    [0, 5, 3, 2, 0],
    [2, 0, 3, 0, 0],
    [2, 5, 0, 3, 0],
    [1, 1, 1, 1, 0],
    [1, 40, 7, 5, 1],
    [3, 33, 32, 33, 0],
    [2, 300, 65, 10, 3],
    [6, 600, 16, 60, 0],
];

/// Whole numbers: their sums are exact in any order, and many are equal.
fn whole<T: Float>(count: usize, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| T::narrow(f64::from(draw.below(7)) - 3.0)).collect()
}

fn check<T: Float<Acc: Poison> + Poison>(
    [count, n, dim, k, gap]: [usize; 5],
    queries: &[T],
    corpus: &[T],
    exact: bool,
    cases: &mut Cases,
) {
    let what = format!("{count} {n} {dim} {k}");
    let layouts = [count, n].map(|rows| Layout::strided([rows, dim], [dim + gap, 1]).unwrap());
    let (queries, corpus) = (&queries[..layouts[0].span()], &corpus[..layouts[1].span()]);
    let p = family::plan(&layouts[0], &layouts[1], k).unwrap();
    let (mut want, mut whose) = (vec![T::Acc::default(); count * k], vec![0; count * k]);
    family::forward(&p, queries, corpus, &mut want, &mut whose);
    cases.ran("reference");
    let agree = |who: &str, values: &[T::Acc], ids: &[u32]| {
        if exact {
            assert!(same(values, &want), "{who} {what}: {:?}", values.iter().zip(&want).position(|(a, b)| a != b));
            assert_eq!(ids, whose, "{who} {what}");
        } else {
            close(&format!("{who} {what}"), values, &want, 1e-11);
        }
    };
    let out =
        |device: &Device| (Fenced::<T::Acc, 2>::new([count, k], device), Fenced::<u32, 2>::new([count, k], device));
    let (mut values, mut ids) = out(&Device::Host);
    latens_cpu::hyper::search::forward(&p, queries, corpus, values.slice(), ids.slice());
    agree("cpu", &values.take(), &ids.take());
    cases.ran("cpu");

    // The copy: all rows are candidates, then some.
    let q = family::plan_compress(&layouts[1]).unwrap();
    let (mut codes, mut bounds) = (vec![0; n * dim], vec![0.0; n * 3]);
    family::compress(&q, corpus, &mut codes, &mut bounds);
    let (mut to_codes, mut to_bounds) =
        (Fenced::<i8, 2>::new([n, dim], &Device::Host), Fenced::<f32, 2>::new([n, 3], &Device::Host));
    latens_cpu::hyper::search::compress(&q, corpus, to_codes.slice(), to_bounds.slice());
    assert!(to_codes.take() == codes && same(&to_bounds.take(), &bounds), "cpu compress {what}");
    for candidates in [n, n.min(k + 20)] {
        let [of_codes, of_bounds] = [[n, dim], [n, 3]].map(|dims| Layout::packed(dims).unwrap());
        let p = family::plan_compressed(&layouts[0], &layouts[1], &of_codes, &of_bounds, k, candidates).unwrap();
        #[allow(clippy::type_complexity)] // as long as its three outputs
        let run = |f: &dyn Fn(&mut [T::Acc], &mut [u32], &mut [u32])| {
            let (mut values, mut ids) = out(&Device::Host);
            let mut complete = Fenced::<u32, 1>::new([count], &Device::Host);
            f(values.slice(), ids.slice(), complete.slice());
            (values.take(), ids.take(), complete.take())
        };
        let proved = |who: &str, (values, ids, complete): (Vec<T::Acc>, Vec<u32>, Vec<u32>)| {
            if complete.iter().all(|&complete| complete == 1) {
                agree(who, &values, &ids);
            }
            assert!(candidates < n || complete == vec![1; count], "{who} {what}: all rows, and not proved");
        };
        proved("reference", run(&|v, i, c| family::compressed(&p, queries, corpus, &codes, &bounds, v, i, c)));
        cases.ran("reference");
        proved(
            "cpu",
            run(&|v, i, c| latens_cpu::hyper::search::compressed(&p, queries, corpus, &codes, &bounds, v, i, c)),
        );
        cases.ran("cpu");
        for device in devices() {
            let on = |data: &[T], layout| Tensor::from_slice(data, layout, &device).unwrap();
            let (queries, corpus) = (on(queries, layouts[0]), on(corpus, layouts[1]));
            let copy = hyper_compress(corpus.view()).unwrap();
            compress_agrees(&copy, &codes, &bounds, &format!("{} {what}", place(&device)));
            let (mut c, mut b) = (Fenced::<i8, 2>::new([n, dim], &device), Fenced::<f32, 2>::new([n, 3], &device));
            hyper_compress_into(corpus.view(), c.view_mut(), b.view_mut()).unwrap();
            assert!(c.take() == copy.codes.to_vec().unwrap() && same(&b.take(), &copy.bounds.to_vec().unwrap()));
            let (v, i, c) = hyper_search_compressed(queries.view(), corpus.view(), &copy, k, candidates).unwrap();
            let found = (v.to_vec().unwrap(), i.to_vec().unwrap(), c.to_vec().unwrap());
            let (mut values, mut ids) = out(&device);
            let mut complete = Fenced::<u32, 1>::new([count], &device);
            let [a, b] = layouts;
            let bytes = hyper_search_compressed_workspace(&a, &b, k, candidates, &device).unwrap();
            let mut workspace = Tensor::<u8, 1>::empty([bytes], &device).unwrap();
            let (codes, bounds) = (copy.codes.view(), copy.bounds.view());
            let (v, i, c, w) = (values.view_mut(), ids.view_mut(), complete.view_mut(), workspace.view_mut());
            hyper_search_compressed_into(queries.view(), corpus.view(), codes, bounds, k, candidates, v, i, c, w)
                .unwrap();
            assert!(same(&values.take(), &found.0) && ids.take() == found.1 && complete.take() == found.2);
            proved(place(&device), found);

            let (v, i) = hyper_search(queries.view(), corpus.view(), k).unwrap();
            agree(place(&device), &v.to_vec().unwrap(), &i.to_vec().unwrap());
            let bytes = hyper_search_workspace(&a, &b, k, &device).unwrap();
            let mut workspace = Tensor::<u8, 1>::empty([bytes], &device).unwrap();
            let (mut values, mut ids) = out(&device);
            let (v, i, w) = (values.view_mut(), ids.view_mut(), workspace.view_mut());
            hyper_search_into(queries.view(), corpus.view(), k, v, i, w).unwrap();
            agree(place(&device), &values.take(), &ids.take());
            cases.ran(place(&device));
        }
    }
}

/// Codes and scales to the bit, lengths to rounding.
fn compress_agrees(copy: &Compressed, codes: &[i8], bounds: &[f32], what: &str) {
    assert!(copy.codes.to_vec().unwrap() == codes, "codes {what}");
    let got = copy.bounds.to_vec().unwrap();
    let scales = |bounds: &[f32]| bounds.iter().step_by(3).copied().collect::<Vec<_>>();
    assert_eq!(scales(&got), scales(bounds), "scales {what}");
    close(&format!("bounds {what}"), &got, bounds, 1e-9);
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("hyper search");
    for (seed, &case @ [count, n, dim, _, gap]) in CASES.iter().enumerate() {
        let lengths = [count, n].map(|rows| rows * (dim + gap));
        let seed = seed as u64;
        check(case, &whole::<T>(lengths[0], seed), &whole::<T>(lengths[1], seed + 100), true, &mut cases);
        let mut special = whole::<T>(lengths[1], seed + 200);
        special.iter_mut().step_by(97).for_each(|x| *x = T::narrow(f64::NAN));
        check(case, &whole::<T>(lengths[0], seed), &special, true, &mut cases);
        check(case, &normal::<T>(lengths[0], 1.0, seed), &normal::<T>(lengths[1], 1.0, seed + 9), false, &mut cases);
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

/// With a tenth of the rows as candidates, most queries are proved; and none is that is wrong.
#[test]
fn most_are_proved() {
    let (n, dim, count, k) = (4000, 96, 20, 10);
    let (x, q) = (normal::<f32>(n * dim, 1.0, 1), normal::<f32>(count * dim, 1.0, 2));
    let corpus = Tensor::from_vec(x, [n, dim], &Device::Host).unwrap();
    let queries = Tensor::from_vec(q, [count, dim], &Device::Host).unwrap();
    let copy = hyper_compress(corpus.view()).unwrap();
    let (values, ids) = hyper_search(queries.view(), corpus.view(), k).unwrap();
    let (values, ids) = (values.to_vec().unwrap(), ids.to_vec().unwrap());
    let mut proofs = Vec::new();
    for candidates in [k, n / 10] {
        let found = hyper_search_compressed(queries.view(), corpus.view(), &copy, k, candidates).unwrap();
        let (v, i, complete) = (found.0.to_vec().unwrap(), found.1.to_vec().unwrap(), found.2.to_vec().unwrap());
        for q in (0..count).filter(|&q| complete[q] == 1) {
            assert_eq!((&v[q * k..][..k], &i[q * k..][..k]), (&values[q * k..][..k], &ids[q * k..][..k]));
        }
        proofs.push(complete.iter().sum::<u32>());
    }
    assert!(proofs[0] == 0 && proofs[1] > 15, "{proofs:?}");
}
