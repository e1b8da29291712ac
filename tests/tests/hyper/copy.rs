//! The search of a copy: what it proves is what the search of the corpus finds.
use crate::search::Problem;
use latens_core::{
    Compressed, Copied, Device, Float, Layout, Tensor, bf16, hyper_compress, hyper_compress_into, hyper_search,
    hyper_search_compressed, hyper_search_compressed_into, hyper_search_compressed_workspace,
};
use latens_kernels::hyper::copy::{Integers, Lengths};
use latens_kernels::hyper::search as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same};

/// Values, ids and what is proved.
type Found<A> = (Vec<A>, Vec<u32>, Vec<u32>);

/// Writes all three.
type Search<'a, A> = dyn Fn(&mut [A], &mut [u32], &mut [u32]) + 'a;

/// All rows are candidates, then some.
pub fn check<T: Float<Acc: Poison> + Poison, C: Copied + Poison>(problem: &Problem<T>, cases: &mut Cases) {
    let Problem { layouts: [of_queries, of_corpus], queries, corpus, k, what, .. } = problem;
    let ([n, dim], [count, _]) = (of_corpus.dims(), of_queries.dims());
    let p = family::plan_compress(of_corpus).unwrap();
    let (mut codes, mut bounds) = (vec![C::default(); n * dim], vec![0.0; n * 3]);
    family::compress(&p, corpus, &mut codes, &mut bounds);
    let (mut to_codes, mut to_bounds) =
        (Fenced::<C, 2>::new([n, dim], &Device::Host), Fenced::<f32, 2>::new([n, 3], &Device::Host));
    latens_cpu::hyper::search::compress(&p, corpus, to_codes.slice(), to_bounds.slice());
    assert!(to_codes.take() == codes && same(&to_bounds.take(), &bounds), "cpu compress {what}");
    for candidates in [n, n.min(k + 20)] {
        let [of_codes, of_bounds] = [[n, dim], [n, 3]].map(|dims| Layout::packed(dims).unwrap());
        let p = family::plan_compressed(of_queries, of_corpus, &of_codes, &of_bounds, *k, candidates).unwrap();
        let run = |f: &Search<T::Acc>| {
            let (mut values, mut ids) = problem.out(&Device::Host);
            let mut complete = Fenced::<u32, 1>::new([count], &Device::Host);
            f(values.slice(), ids.slice(), complete.slice());
            (values.take(), ids.take(), complete.take())
        };
        let mut proved = |who: &'static str, (values, ids, complete): Found<T::Acc>| {
            if complete.iter().all(|&complete| complete == 1) {
                problem.agree(who, &values, &ids);
            }
            assert!(candidates < n || complete == vec![1; count], "{who} {what}: all rows, and not proved");
            cases.ran(who);
        };
        proved("reference", run(&|v, i, c| family::compressed(&p, queries, corpus, &codes, &bounds, v, i, c)));
        proved(
            "cpu",
            run(&|v, i, c| latens_cpu::hyper::search::compressed(&p, queries, corpus, &codes, &bounds, v, i, c)),
        );
        for device in devices() {
            let [_, corpus] = problem.on(&device);
            let copy = hyper_compress(corpus.view()).unwrap();
            compress_agrees(&copy, &codes, &bounds, &format!("{} {what}", place(&device)));
            let (mut c, mut b) = (Fenced::<C, 2>::new([n, dim], &device), Fenced::<f32, 2>::new([n, 3], &device));
            hyper_compress_into(corpus.view(), c.view_mut(), b.view_mut()).unwrap();
            assert!(c.take() == copy.codes.to_vec().unwrap() && same(&b.take(), &copy.bounds.to_vec().unwrap()));
            proved(place(&device), on_device(problem, &copy, candidates, &device));
        }
    }
}

/// Both forms of the operation, which agree to the bit.
fn on_device<T: Float<Acc: Poison>, C: Copied>(
    problem: &Problem<T>,
    copy: &Compressed<C>,
    candidates: usize,
    device: &Device,
) -> Found<T::Acc> {
    let ([queries, corpus], k) = (problem.on(device), problem.k);
    let (v, i, c) = hyper_search_compressed(queries.view(), corpus.view(), copy, k, candidates).unwrap();
    let found = (v.to_vec().unwrap(), i.to_vec().unwrap(), c.to_vec().unwrap());
    let (mut values, mut ids) = problem.out(device);
    let mut complete = Fenced::<u32, 1>::new([found.2.len()], device);
    let [a, b] = problem.layouts;
    let bytes = hyper_search_compressed_workspace(&a, &b, k, candidates, device).unwrap();
    let mut workspace = Tensor::<u8, 1>::empty([bytes], device).unwrap();
    let (codes, bounds) = (copy.codes.view(), copy.bounds.view());
    let (v, i, c, w) = (values.view_mut(), ids.view_mut(), complete.view_mut(), workspace.view_mut());
    hyper_search_compressed_into(queries.view(), corpus.view(), codes, bounds, k, candidates, v, i, c, w).unwrap();
    assert!(same(&values.take(), &found.0) && ids.take() == found.1 && complete.take() == found.2);
    found
}

/// Codes and scales to the bit, lengths to rounding.
fn compress_agrees<C: Copied>(copy: &Compressed<C>, codes: &[C], bounds: &[f32], what: &str) {
    assert!(copy.codes.to_vec().unwrap() == codes, "codes {what}");
    let got = copy.bounds.to_vec().unwrap();
    let scales = |bounds: &[f32]| bounds.iter().step_by(3).copied().collect::<Vec<_>>();
    assert_eq!(scales(&got), scales(bounds), "scales {what}");
    close(&format!("bounds {what}"), &got, bounds, 1e-9);
}

fn tensor(x: &[f32], dim: usize, device: &Device) -> Tensor<f32, 2> {
    Tensor::from_vec(x.to_vec(), [x.len() / dim, dim], device).unwrap()
}

/// With a tenth of the rows as candidates, most queries are proved; and none is that is wrong.
fn most_are_proved<C: Copied>() {
    let (n, dim, count, k) = (4000, 96, 12, 10);
    let corpus = tensor(&normal::<f32>(n * dim, 1.0, 1), dim, &Device::Host);
    let queries = tensor(&normal::<f32>(count * dim, 1.0, 2), dim, &Device::Host);
    let copy = hyper_compress::<f32, C>(corpus.view()).unwrap();
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
    assert!(proofs[0] == 0 && proofs[1] > 8, "{proofs:?}");
}

/// For many queries the host searches the corpus itself: all is proved, whatever the candidates.
#[test]
fn many_queries_are_all_proved() {
    let (n, dim, count, k) = (500, 96, 20, 10);
    let corpus = tensor(&normal::<f32>(n * dim, 1.0, 1), dim, &Device::Host);
    let queries = tensor(&normal::<f32>(count * dim, 1.0, 2), dim, &Device::Host);
    let copy = hyper_compress::<f32, i8>(corpus.view()).unwrap();
    let (values, ids) = hyper_search(queries.view(), corpus.view(), k).unwrap();
    let found = hyper_search_compressed(queries.view(), corpus.view(), &copy, k, k).unwrap();
    assert_eq!(found.0.to_vec().unwrap(), values.to_vec().unwrap());
    assert_eq!(found.1.to_vec().unwrap(), ids.to_vec().unwrap());
    assert_eq!(found.2.to_vec().unwrap(), vec![1; count]);
}

#[test]
fn most_are_proved_int8() {
    most_are_proved::<i8>();
}
#[test]
fn most_are_proved_bf16() {
    most_are_proved::<bf16>();
}

/// What the copies say a score is at most.
fn upper(q: &[f32], x: &[f32]) -> [f32; 2] {
    let (mut codes, mut halves) = (vec![0; x.len()], vec![bf16::default(); x.len()]);
    let (whole, lengths) = (Integers::of(q), Lengths::of(q));
    let bounds = i8::copy(x, &mut codes);
    let sum = |part: &[i8]| codes.iter().zip(part).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    let int8 = whole.lengths.bound(whole.near(sum(&whole.high), sum(&whole.low), &bounds), &bounds);
    let bounds = bf16::copy(x, &mut halves);
    let near = halves.iter().zip(q).map(|(c, q)| c.wide() * q.wide()).sum::<f64>();
    [int8, lengths.bound(near as f32, &bounds)]
}

/// The `f32` score of one row, as a device sums it.
fn score(q: &[f32], x: &[f32], device: &Device) -> f32 {
    let (values, _) = hyper_search(tensor(q, q.len(), device).view(), tensor(x, x.len(), device).view(), 1).unwrap();
    values.to_vec().unwrap()[0]
}

/// Numbers whose sum in `f32` rounds up again and again, by more than 2^-16 of `|x| |q|`, a slack that does not grow with
/// their count. All are whole, and no copy loses any, so nothing but slack stands between the score and its bound.
#[test]
fn the_bound_grows_with_the_sum() {
    let dim = 1 << 16;
    // A product of 257 more than a multiple of 512, the step of sums past 2^32: half of the sum of each of 32 lanes.
    let (x, q) = (127.0_f32, (31_000..32_258).rev().find(|q| q * 127 % 512 == 257).unwrap() as f32);
    let exact = f64::from(x) * f64::from(q) * dim as f64;
    let (mut row, mut query) = (vec![x; dim], vec![q; dim]);
    // So that the query is whole numbers of its scale, 254 / 254.
    (query[0], row[0]) = (127.0 * 254.0, 127.0);
    let bounds = upper(&query, &row);
    for device in devices() {
        let score = score(&query, &row, &device);
        assert!(f64::from(score) > exact * (1.0 + 1.0 / 65_536.0), "{}: rounds too well", place(&device));
        assert!(bounds.iter().all(|&bound| score <= bound), "{}: {score} above {bounds:?}", place(&device));
    }
}

/// Bounds hold for numbers of any size: where squares overflow, or are lost, and where codes are.
#[test]
fn bounds_hold_at_any_size() {
    let dim = 40;
    let sizes = |x: &[f32]| -> Vec<Vec<f32>> {
        let scaled = |power: i32| x.iter().map(|&x| (f64::from(x) * f64::from(power).exp2()) as f32).collect();
        (-140..=120).step_by(13).map(scaled).collect()
    };
    let x = normal::<f32>(dim, 1.0, 3);
    let minus: Vec<f32> = x.iter().map(|x| -x).collect();
    let (rows, queries) = ([sizes(&x), sizes(&minus)].concat(), sizes(&normal::<f32>(dim, 1.0, 4)));
    for device in devices() {
        let (corpus, asked) = (tensor(&rows.concat(), dim, &device), tensor(&queries.concat(), dim, &device));
        let (scores, ids) = hyper_search(asked.view(), corpus.view(), rows.len()).unwrap();
        let found = scores.to_vec().unwrap().into_iter().zip(ids.to_vec().unwrap());
        for (at, (score, id)) in found.enumerate() {
            let bounds = upper(&queries[at / rows.len()], &rows[id as usize]);
            let holds = |bound: &f32| score.is_nan() || score <= *bound;
            assert!(bounds.iter().all(holds), "query {} row {id}: {score} above {bounds:?}", at / rows.len());
        }
    }
}

/// Numbers of `f64` that `f32` takes for 0 are not 0: nothing is proved of them by bounds of 0.
#[test]
fn what_f32_cannot_hold_is_not_proved() {
    let host = &Device::Host;
    let of = |x: &[f64]| Tensor::from_slice(x, Layout::packed([x.len(), 1]).unwrap(), host).unwrap();
    let (corpus, query) = (of(&[1e-60, 2e-60, 3e-60]), of(&[1.0]));
    let best = hyper_search(query.view(), corpus.view(), 1).unwrap().1.to_vec().unwrap();
    assert_eq!(best, [2]);
    for candidates in 1..=3 {
        let copy: Compressed<i8> = hyper_compress(corpus.view()).unwrap();
        let (_, ids, complete) = hyper_search_compressed(query.view(), corpus.view(), &copy, 1, candidates).unwrap();
        assert!(complete.to_vec().unwrap() == [0] || ids.to_vec().unwrap() == best, "{candidates} candidates");
    }
}
