use crate::graph::{CASES, Graph, side, tensor};
use latens_core::{
    Degree, Device, Layout, Weigh, hyper_degree, hyper_degree_into, hyper_weigh, hyper_weigh_backward,
    hyper_weigh_backward_into, hyper_weigh_into,
};
use latens_kernels::hyper::{degree, weigh};
use latens_tests::{Cases, Fenced, close, devices, normal, place, uniform};

const LIMIT: f64 = 1e-11;

/// Which of values, columns and rows are given.
const GIVEN: [[bool; 3]; 4] = [[false, false, false], [true, false, false], [true, true, true], [false, true, false]];

#[test]
fn weigh_table() {
    let mut cases = Cases::of("hyper weigh");
    for (seed, &case) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        for (turned, (of, shape)) in graph.both().into_iter().enumerate() {
            let numbers = |count, seed| uniform::<f32>(count, 0.1, 2.0, seed);
            let all = [numbers(shape.entries(), 1), numbers(shape.columns(), 2), numbers(shape.rows(), 3)];
            let da = normal::<f32>(shape.entries(), 1.0, 4);
            let entries = [shape.entries()];
            for (how, given) in
                [Weigh::Sum, Weigh::Mean, Weigh::Softmax].into_iter().flat_map(|how| GIVEN.map(|given| (how, given)))
            {
                let what = format!("{how:?} {given:?} {case:?} {turned}");
                let layout = |i: usize| given[i].then(|| Layout::packed([all[i].len()]).unwrap());
                let [values, columns, rows] = [layout(0), layout(1), layout(2)];
                let p = weigh::plan(&shape, how, values.as_ref(), columns.as_ref(), rows.as_ref()).unwrap();
                let term = |i: usize| given[i].then_some(&all[i][..]);
                let terms = weigh::Terms { values: term(0), columns: term(1), rows: term(2) };
                let (mut want, mut gradient) = (vec![0.0; shape.entries()], vec![0.0; shape.entries()]);
                weigh::forward(&p, of, terms, &mut want);
                weigh::backward(&p, of, terms, &da, &mut gradient);
                cases.ran("reference");
                let mut out = [0, 1].map(|_| Fenced::<f32, 1>::new(entries, &Device::Host));
                latens_cpu::hyper::weigh::forward(&p, of, terms, out[0].slice());
                latens_cpu::hyper::weigh::backward(&p, of, terms, &da, out[1].slice());
                close(&format!("cpu {what}"), &out[0].full(), &want, LIMIT);
                close(&format!("cpu backward {what}"), &out[1].full(), &gradient, LIMIT);
                cases.ran("cpu");
                for (graph, device) in &on {
                    let of = side(graph, turned == 1);
                    let on = all.clone().map(|numbers| tensor(&numbers, device));
                    let term = |i: usize| given[i].then(|| on[i].view());
                    let da = tensor(&da, device);
                    let a = hyper_weigh(of, how, term(0), term(1), term(2)).unwrap().to_vec().unwrap();
                    close(&format!("{} {what}", place(device)), &a, &want, LIMIT);
                    let b = hyper_weigh_backward(of, how, term(0), term(1), term(2), da.view()).unwrap();
                    close(&format!("{} backward {what}", place(device)), &b.to_vec().unwrap(), &gradient, LIMIT);
                    let mut out = [0, 1].map(|_| Fenced::<f32, 1>::new(entries, device));
                    hyper_weigh_into(of, how, term(0), term(1), term(2), out[0].view_mut()).unwrap();
                    let (t, to) = (term(2), out[1].view_mut());
                    hyper_weigh_backward_into(of, how, term(0), term(1), t, da.view(), to).unwrap();
                    assert_eq!((out[0].full(), out[1].full()), (a, b.to_vec().unwrap()));
                    cases.ran(place(device));
                }
            }
        }
    }
}

#[test]
fn degree_table() {
    let mut cases = Cases::of("hyper degree");
    for (seed, &case) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        for (turned, (of, shape)) in graph.both().into_iter().enumerate() {
            let all = [uniform::<f32>(shape.entries(), 0.0, 2.0, 1), uniform::<f32>(shape.columns(), 0.0, 2.0, 2)];
            for how in [Degree::Sum, Degree::Inverse, Degree::InverseRoot, Degree::Rarity] {
                for given in [[false, false], [true, true], [false, true]] {
                    let what = format!("{how:?} {given:?} {case:?} {turned}");
                    let layout = |i: usize| given[i].then(|| Layout::packed([all[i].len()]).unwrap());
                    let p = degree::plan(&shape, how, layout(0).as_ref(), layout(1).as_ref()).unwrap();
                    let term = |i: usize| given[i].then_some(&all[i][..]);
                    let mut want = vec![0.0; shape.rows()];
                    degree::forward(&p, of, term(0), term(1), &mut want);
                    cases.ran("reference");
                    let mut out = Fenced::<f32, 1>::new([shape.rows()], &Device::Host);
                    latens_cpu::hyper::degree::forward(&p, of, term(0), term(1), out.slice());
                    close(&format!("cpu {what}"), &out.full(), &want, LIMIT);
                    cases.ran("cpu");
                    for (graph, device) in &on {
                        let of = side(graph, turned == 1);
                        let on = all.clone().map(|numbers| tensor(&numbers, device));
                        let term = |i: usize| given[i].then(|| on[i].view());
                        let got = hyper_degree(of, how, term(0), term(1)).unwrap().to_vec().unwrap();
                        close(&format!("{} {what}", place(device)), &got, &want, LIMIT);
                        let mut out = Fenced::<f32, 1>::new([shape.rows()], device);
                        hyper_degree_into(of, how, term(0), term(1), out.view_mut()).unwrap();
                        assert_eq!(out.full(), got);
                        cases.ran(place(device));
                    }
                }
            }
        }
    }
}

/// Weights that cancel, and logits of nothing but minus infinity, weigh nothing; NaN stays in its row.
#[test]
fn special_values() {
    let graph = Graph::of(vec![0, 0, 1, 1, 2], vec![0, 1, 0, 1, 1], vec![1.0; 5], [4, 2]);
    for device in devices() {
        let on = graph.on(&device);
        let weigh = |how, values: [f32; 5]| {
            let values = tensor(&values, &device);
            hyper_weigh(on.edges(), how, Some(values.view()), None, None).unwrap().to_vec().unwrap()
        };
        assert_eq!(weigh(Weigh::Mean, [1.0, -1.0, 0.0, 0.0, 5.0]), [0.0, 0.0, 0.0, 0.0, 1.0]);
        let low = f32::NEG_INFINITY;
        assert_eq!(weigh(Weigh::Softmax, [low, low, low, 3.0, -200.0]), [0.0, 0.0, 0.0, 1.0, 1.0]);
        let spoiled = weigh(Weigh::Mean, [f32::NAN, 1.0, 1.0, 3.0, 1.0]);
        assert!(spoiled[..2].iter().all(|a| a.is_nan()));
        assert_eq!(spoiled[2..], [0.25, 0.75, 1.0]);
    }
}
