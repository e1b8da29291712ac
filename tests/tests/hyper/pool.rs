use crate::graph::{CASES, Graph, side, tensor};
use latens_core::{
    Device, Float, Layout, Tensor, bf16, f16, hyper_dots, hyper_dots_into, hyper_largest, hyper_largest_backward,
    hyper_largest_backward_into, hyper_largest_into, hyper_pool, hyper_pool_into, hyper_topk, hyper_topk_into,
};
use latens_kernels::hyper::{Incidence, Shape, pool, select};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same, small};

/// Widths of `x`, and gaps between its rows: scores, odd ones, whole slabs and what is left of them.
const WIDTHS: &[[usize; 2]] = &[[0, 0], [1, 0], [1, 2], [3, 1], [8, 0], [33, 0], [171, 3]];

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        latens_core::DType::F16 => 1e-6,
        latens_core::DType::BF16 => 1e-5,
        _ => 1e-11,
    }
}

fn strided(rows: usize, [dim, gap]: [usize; 2]) -> Layout<2> {
    Layout::strided([rows, dim], [dim + gap, 1]).unwrap()
}

/// `x` by the layout's span.
fn values<T: Float>(layout: &Layout<2>, seed: u64) -> Vec<T> {
    normal(layout.span(), 1.0, seed)
}

fn sums<T: Float<Acc: Poison> + Poison>(cases: &mut Cases) {
    for (seed, &case) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[2] < 1000) {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        for (turned, (of, shape)) in graph.both().into_iter().enumerate() {
            for &width in WIDTHS {
                for weighted in [true, false] {
                    let what = format!("{case:?} {turned} {width:?} {weighted}");
                    let layout = strided(shape.columns(), width);
                    let (x, a) = (values::<T>(&layout, 1), normal::<T::Acc>(shape.entries(), 1.0, 2));
                    let p = pool::plan(&shape, None, &layout).unwrap();
                    let given = weighted.then_some(&a[..]);
                    let mut want = vec![T::default(); shape.rows() * width[0]];
                    pool::forward(&p, of, given, &x, &mut want);
                    cases.ran("reference");
                    let mut y = Fenced::<T, 2>::new(p.out(), &Device::Host);
                    latens_cpu::hyper::pool::forward(&p, of, given, &x, y.slice());
                    close(&format!("cpu {what}"), &y.full(), &want, limit::<T>());
                    cases.ran("cpu");
                    for (graph, device) in &on {
                        let (x, a) = (Tensor::from_slice(&x, layout, device).unwrap(), tensor(&a, device));
                        let (of, a) = (side(graph, turned == 1), weighted.then(|| a.view()));
                        let got = hyper_pool(of, a, x.view()).unwrap().to_vec().unwrap();
                        close(&format!("{} {what}", place(device)), &got, &want, limit::<T>());
                        let mut y = Fenced::<T, 2>::new(p.out(), device);
                        hyper_pool_into(of, a, x.view(), y.view_mut()).unwrap();
                        assert!(same(&y.full(), &got), "{what}: another address, other bits");
                        cases.ran(place(device));
                    }
                }
            }
            dots::<T>(of, shape, turned == 1, &on, cases);
        }
    }
}

fn dots<T: Float<Acc: Poison> + Poison>(
    of: Incidence,
    shape: Shape,
    turned: bool,
    on: &[(latens_core::Hypergraph, Device)],
    cases: &mut Cases,
) {
    for width in [[0, 0], [1, 0], [33, 2], [64, 0]] {
        let (rows, columns) = (strided(shape.rows(), width), strided(shape.columns(), width));
        let (dy, x) = (values::<T>(&rows, 3), values::<T>(&columns, 4));
        let p = pool::plan_dots(&shape, &rows, &columns).unwrap();
        let mut want = vec![T::Acc::default(); shape.entries()];
        pool::dots(&p, of, &dy, &x, &mut want);
        cases.ran("reference");
        let mut da = Fenced::<T::Acc, 1>::new([shape.entries()], &Device::Host);
        latens_cpu::hyper::pool::dots(&p, of, &dy, &x, da.slice());
        close("cpu dots", &da.full(), &want, 1e-11);
        cases.ran("cpu");
        for (graph, device) in on {
            let of = side(graph, turned);
            let (dy, x) =
                (Tensor::from_slice(&dy, rows, device).unwrap(), Tensor::from_slice(&x, columns, device).unwrap());
            let got = hyper_dots(of, dy.view(), x.view()).unwrap().to_vec().unwrap();
            close(&format!("{} dots", place(device)), &got, &want, 1e-11);
            let mut da = Fenced::<T::Acc, 1>::new([shape.entries()], device);
            hyper_dots_into(of, dy.view(), x.view(), da.view_mut()).unwrap();
            assert!(same(&da.full(), &got));
            cases.ran(place(device));
        }
    }
}

fn largest<T: Float<Acc: Poison> + Poison>(cases: &mut Cases) {
    for (seed, &case) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[2] < 1000) {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        let ([edges, vertices, pairs], (of, turned)) = (case, (graph.edges(), graph.vertices()));
        for width in [[0, 0], [1, 0], [3, 1], [40, 0]] {
            for weighted in [true, false] {
                let what = format!("{case:?} {width:?} {weighted}");
                let layout = strided(vertices, width);
                let x = numbers::<T>(layout.span(), seed as u64);
                let a = numbers::<T::Acc>(pairs, 7);
                let given = weighted.then_some(&a[..]);
                let p = pool::plan(&graph.shape, None, &layout).unwrap();
                let (mut want, mut whose) = (vec![T::default(); edges * width[0]], vec![0; edges * width[0]]);
                pool::largest(&p, of, given, &x, &mut want, &mut whose);
                // Back again, by weights that are numbers.
                let (packed, plain) = (strided(edges, [width[0], 0]), normal::<T::Acc>(pairs, 1.0, 8));
                let (dy, back) = (values::<T>(&packed, 9), weighted.then_some(&plain[..]));
                let q = pool::plan_largest_backward(&graph.shape.transposed(), true, None, &packed, &packed).unwrap();
                let mut want_dx = vec![T::default(); vertices * width[0]];
                pool::largest_backward(&q, turned, back, &dy, &whose, &mut want_dx);
                cases.ran("reference");
                let (mut y, mut chosen) =
                    (Fenced::<T, 2>::new(p.out(), &Device::Host), Fenced::<u32, 2>::new(p.out(), &Device::Host));
                latens_cpu::hyper::pool::largest(&p, of, given, &x, y.slice(), chosen.slice());
                assert!(same(&y.take(), &want), "cpu {what}");
                assert_eq!(chosen.take(), whose, "cpu {what}");
                let mut dx = Fenced::<T, 2>::new(q.out(), &Device::Host);
                latens_cpu::hyper::pool::largest_backward(&q, turned, back, &dy, &whose, dx.slice());
                close(&format!("cpu backward {what}"), &dx.full(), &want_dx, limit::<T>());
                cases.ran("cpu");
                for (graph, device) in &on {
                    let on = |data: &[T], layout| Tensor::from_slice(data, layout, device).unwrap();
                    let (x, dy) = (on(&x, layout), on(&dy, packed));
                    let [a, plain] = [&a, &plain].map(|a| tensor(a, device));
                    let [a, plain] = [&a, &plain].map(|a| weighted.then(|| a.view()));
                    let (y, chosen) = hyper_largest(graph.edges(), a, x.view()).unwrap();
                    assert!(same(&y.to_vec().unwrap(), &want), "{} {what}", place(device));
                    assert_eq!(chosen.to_vec().unwrap(), whose, "{} {what}", place(device));
                    let dx = hyper_largest_backward(graph.vertices(), plain, dy.view(), chosen.view()).unwrap();
                    let dx = dx.to_vec().unwrap();
                    close(&format!("{} backward {what}", place(device)), &dx, &want_dx, limit::<T>());
                    let (mut y, mut to) =
                        (Fenced::<T, 2>::new(p.out(), device), Fenced::<u32, 2>::new(p.out(), device));
                    hyper_largest_into(graph.edges(), a, x.view(), y.view_mut(), to.view_mut()).unwrap();
                    assert!(same(&y.take(), &want) && to.take() == whose);
                    let mut back = Fenced::<T, 2>::new(q.out(), device);
                    let to = back.view_mut();
                    hyper_largest_backward_into(graph.vertices(), plain, dy.view(), chosen.view(), to).unwrap();
                    assert!(same(&back.full(), &dx));
                    cases.ran(place(device));
                }
            }
        }
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("hyper pool").in_type::<T>();
    sums::<T>(&mut cases);
    largest::<T>(&mut cases);
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
fn topk_table() {
    let mut cases = Cases::of("hyper topk");
    for (seed, &case) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        for (turned, (of, shape)) in graph.both().into_iter().enumerate() {
            let scores = numbers::<f32>(shape.columns(), seed as u64);
            for k in [0, 1, 4, 60, 300] {
                let what = format!("{case:?} {turned} {k}");
                let p = select::plan(&shape, &Layout::packed([shape.columns()]).unwrap(), k).unwrap();
                let (mut want, mut whose) = (vec![0.0; shape.rows() * k], vec![0; shape.rows() * k]);
                select::forward(&p, of, &scores, &mut want, &mut whose);
                cases.ran("reference");
                let out =
                    |device: &Device| (Fenced::<f32, 2>::new(p.out(), device), Fenced::<u32, 2>::new(p.out(), device));
                let (mut values, mut members) = out(&Device::Host);
                latens_cpu::hyper::select::forward(&p, of, &scores, values.slice(), members.slice());
                assert!(same(&values.take(), &want), "cpu {what}");
                assert_eq!(members.take(), whose, "cpu {what}");
                cases.ran("cpu");
                for (graph, device) in &on {
                    let scores = tensor(&scores, device);
                    let of = side(graph, turned == 1);
                    let (values, members) = hyper_topk(of, scores.view(), k).unwrap();
                    assert!(same(&values.to_vec().unwrap(), &want), "{} {what}", place(device));
                    assert_eq!(members.to_vec().unwrap(), whose, "{} {what}", place(device));
                    let (mut values, mut members) = out(device);
                    hyper_topk_into(of, scores.view(), k, values.view_mut(), members.view_mut()).unwrap();
                    assert!(same(&values.take(), &want) && members.take() == whose);
                    cases.ran(place(device));
                }
            }
        }
    }
}

/// Scoring edges by pooled scores is scoring them by pooled vectors.
#[test]
fn reorder() {
    let graph = Graph::random([33, 300, 700], 5);
    let layout = Layout::packed([300, 16]).unwrap();
    let (x, query) = (normal::<f32>(300 * 16, 1.0, 1), normal::<f32>(16, 1.0, 2));
    let dot = |row: &[f32]| row.iter().zip(&query).map(|(x, q)| x * q).sum::<f32>();
    for device in devices() {
        let (on, a) = (graph.on(&device), tensor(&graph.merged, &device));
        let rows = Tensor::from_slice(&x, layout, &device).unwrap();
        let vectors = hyper_pool(on.edges(), Some(a.view()), rows.view()).unwrap().to_vec().unwrap();
        let scores: Vec<f32> = x.chunks(16).map(dot).collect();
        let scores = Tensor::from_vec(scores, [300, 1], &device).unwrap();
        let pooled = hyper_pool(on.edges(), Some(a.view()), scores.view()).unwrap().to_vec().unwrap();
        let want: Vec<f32> = vectors.chunks(16).map(dot).collect();
        close(place(&device), &pooled, &want, 1e-11);
    }
}
