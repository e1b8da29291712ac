//! Every backward beside central differences in f64.
use crate::graph::{Graph, tensor};
use latens_core::{
    Device, Tensor, Weigh, hyper_convolution, hyper_convolve, hyper_convolve_backward, hyper_dots, hyper_largest,
    hyper_largest_backward, hyper_pool, hyper_weigh, hyper_weigh_backward,
};
use latens_tests::{close, normal, uniform};

const HOST: Device = Device::Host;

/// The slopes of `of` at `at`, along each coordinate.
fn slopes(at: &[f64], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-6;
    let along = |i: usize, by: f64| {
        let mut at = at.to_vec();
        at[i] += by;
        of(&at)
    };
    (0..at.len()).map(|i| (along(i, step) - along(i, -step)) / (2.0 * step)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn weights() {
    let graph = Graph::random([6, 8, 25], 1);
    let on = graph.on(&HOST);
    for (how, turned) in
        [Weigh::Sum, Weigh::Mean, Weigh::Softmax].into_iter().flat_map(|how| [(how, false), (how, true)])
    {
        let of = if turned { on.vertices() } else { on.edges() };
        let [columns, rows] =
            [of.shape().columns(), of.shape().rows()].map(|count| tensor(&uniform::<f64>(count, 0.3, 1.5, 2), &HOST));
        let (values, da) = (uniform::<f64>(25, 0.3, 1.5, 3), normal::<f64>(25, 1.0, 4));
        let weigh = |values: &[f64]| {
            let values = tensor(values, &HOST);
            hyper_weigh(of, how, Some(values.view()), Some(columns.view()), Some(rows.view()))
                .unwrap()
                .to_vec()
                .unwrap()
        };
        let want = slopes(&values, |values| dot(&weigh(values), &da));
        let (values, da) = (tensor(&values, &HOST), tensor(&da, &HOST));
        let (columns, rows) = (Some(columns.view()), Some(rows.view()));
        let got = hyper_weigh_backward(of, how, Some(values.view()), columns, rows, da.view()).unwrap();
        close(&format!("{how:?} {turned}"), &got.to_vec().unwrap(), &want, 1e-14);
    }
}

#[test]
fn pooling() {
    let graph = Graph::random([6, 8, 25], 2);
    let on = graph.on(&HOST);
    let (x, a, dy) = (normal::<f64>(8 * 3, 1.0, 1), normal::<f64>(25, 1.0, 2), normal::<f64>(6 * 3, 1.0, 3));
    let matrix = |data: &[f64], rows| Tensor::from_vec(data.to_vec(), [rows, 3], &HOST).unwrap();
    let pool = |a: &[f64], x: &[f64]| {
        let (a, x) = (tensor(a, &HOST), matrix(x, 8));
        dot(&hyper_pool(on.edges(), Some(a.view()), x.view()).unwrap().to_vec().unwrap(), &dy)
    };
    let (of_a, of_x, of_dy) = (tensor(&a, &HOST), matrix(&x, 8), matrix(&dy, 6));
    let dx = hyper_pool(on.vertices(), Some(of_a.view()), of_dy.view()).unwrap().to_vec().unwrap();
    close("dx", &dx, &slopes(&x, |x| pool(&a, x)), 1e-14);
    let da = hyper_dots(on.edges(), of_dy.view(), of_x.view()).unwrap().to_vec().unwrap();
    close("da", &da, &slopes(&a, |a| pool(a, &x)), 1e-14);
    let turned = hyper_dots(on.vertices(), of_x.view(), of_dy.view()).unwrap().to_vec().unwrap();
    close("da, turned over", &turned, &da, 0.0);
}

#[test]
fn largest() {
    let graph = Graph::random([6, 8, 25], 3);
    let on = graph.on(&HOST);
    let (x, a, dy) = (normal::<f64>(8 * 3, 1.0, 1), normal::<f64>(25, 1.0, 2), normal::<f64>(6 * 3, 1.0, 3));
    let a = tensor(&a, &HOST);
    let largest = |x: &[f64]| {
        let x = Tensor::from_vec(x.to_vec(), [8, 3], &HOST).unwrap();
        hyper_largest(on.edges(), Some(a.view()), x.view()).unwrap()
    };
    let (_, chosen) = largest(&x);
    let of_dy = Tensor::from_vec(dy.clone(), [6, 3], &HOST).unwrap();
    let dx = hyper_largest_backward(on.vertices(), Some(a.view()), of_dy.view(), chosen.view()).unwrap();
    let want = slopes(&x, |x| dot(&largest(x).0.to_vec().unwrap(), &dy));
    close("dx", &dx.to_vec().unwrap(), &want, 1e-14);
}

#[test]
fn convolution() {
    let graph = Graph::random([6, 8, 25], 4);
    let on = graph.on(&HOST);
    let weights = tensor(&uniform::<f64>(6, 0.5, 2.0, 1), &HOST);
    let by = hyper_convolution(&on, Some(weights.view())).unwrap();
    let (x, dy) = (normal::<f64>(8 * 3, 1.0, 1), normal::<f64>(8 * 3, 1.0, 2));
    let matrix = |data: &[f64]| Tensor::from_vec(data.to_vec(), [8, 3], &HOST).unwrap();
    let want = slopes(&x, |x| dot(&hyper_convolve(&on, &by, matrix(x).view()).unwrap().to_vec().unwrap(), &dy));
    let got = hyper_convolve_backward(&on, &by, matrix(&dy).view()).unwrap();
    close("dx", &got.to_vec().unwrap(), &want, 1e-14);
}
