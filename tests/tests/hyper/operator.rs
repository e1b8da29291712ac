//! The operator of hypergraph networks beside its dense form.
use crate::graph::{Graph, tensor};
use latens_core::{Tensor, hyper_convolution, hyper_convolve, hyper_convolve_backward};
use latens_tests::{close, devices, normal, place, uniform};

/// `Dv^-1/2 H W De^-1 Hᵀ Dv^-1/2` as rows.
fn dense(graph: &Graph, weights: &[f32]) -> Vec<Vec<f64>> {
    let [edges, vertices] = [graph.shape.rows(), graph.shape.columns()];
    let member = graph.dense(|_| 1.0);
    let weight = |e: usize| f64::from(weights[e]);
    let of_vertex = |v: usize| (0..edges).map(|e| weight(e) * member[e][v]).sum::<f64>();
    let of_edge = |e: usize| member[e].iter().sum::<f64>();
    let root = |d: f64| if d > 0.0 { d.sqrt().recip() } else { 0.0 };
    let through = |u: usize, v: usize| {
        let sum: f64 = (0..edges)
            .filter(|&e| of_edge(e) > 0.0)
            .map(|e| member[e][u] * weight(e) * member[e][v] / of_edge(e))
            .sum();
        root(of_vertex(u)) * sum * root(of_vertex(v))
    };
    (0..vertices).map(|u| (0..vertices).map(|v| through(u, v)).collect()).collect()
}

#[test]
fn as_the_dense_operator() {
    let graph = Graph::random([40, 60, 130], 21);
    let weights = uniform::<f32>(40, 0.2, 2.0, 1);
    let (x, dy) = (normal::<f32>(60 * 9, 1.0, 2), normal::<f32>(60 * 9, 1.0, 3));
    let operator = dense(&graph, &weights);
    let apply = |x: &[f32]| -> Vec<f64> {
        let entry = |v: usize, k: usize| (0..60).map(|u| operator[v][u] * f64::from(x[u * 9 + k])).sum();
        (0..60 * 9).map(|at| entry(at / 9, at % 9)).collect()
    };
    for device in devices() {
        let (on, weights) = (graph.on(&device), tensor(&weights, &device));
        let by = hyper_convolution(&on, Some(weights.view())).unwrap();
        let [x_on, dy_on] = [&x, &dy].map(|x| Tensor::from_vec(x.clone(), [60, 9], &device).unwrap());
        let y = hyper_convolve(&on, &by, x_on.view()).unwrap().to_vec().unwrap();
        close(place(&device), &y, &apply(&x), 1e-11);
        // Symmetric: its own gradient.
        let dx = hyper_convolve_backward(&on, &by, dy_on.view()).unwrap().to_vec().unwrap();
        close(place(&device), &dx, &apply(&dy), 1e-11);
    }
}

/// Edges of two are those of a graph: the operator is `(I + D^-1/2 A D^-1/2) / 2`, where vertices have edges.
#[test]
fn of_a_graph() {
    let pairs: Vec<(u32, u32)> =
        (0..20_u32).flat_map(|u| (u + 1..20).map(move |v| (u, v))).filter(|(u, v)| (u * v + u) % 5 == 1).collect();
    let edges: Vec<u32> = (0..pairs.len() as u32).flat_map(|e| [e, e]).collect();
    let vertices: Vec<u32> = pairs.iter().flat_map(|&(u, v)| [u, v]).collect();
    let (count, ones) = (pairs.len(), vec![1.0; edges.len()]);
    let graph = Graph::of(edges, vertices, ones, [count, 20]);
    let mut adjacent = vec![vec![0.0_f64; 20]; 20];
    for &(u, v) in &pairs {
        (adjacent[u as usize][v as usize], adjacent[v as usize][u as usize]) = (1.0, 1.0);
    }
    let degree: Vec<f64> = adjacent.iter().map(|row| row.iter().sum()).collect();
    assert!(degree.contains(&0.0), "somebody is lonely");
    let x = normal::<f32>(20, 1.0, 1);
    let entry = |u: usize| -> f64 {
        let near = (0..20).filter(|&v| adjacent[u][v] > 0.0).map(|v| f64::from(x[v]) / (degree[u] * degree[v]).sqrt());
        if degree[u] > 0.0 { (f64::from(x[u]) + near.sum::<f64>()) / 2.0 } else { 0.0 }
    };
    let want: Vec<f64> = (0..20).map(entry).collect();
    for device in devices() {
        let on = graph.on(&device);
        let by = hyper_convolution::<f32>(&on, None).unwrap();
        let x = Tensor::from_vec(x.clone(), [20, 1], &device).unwrap();
        close(place(&device), &hyper_convolve(&on, &by, x.view()).unwrap().to_vec().unwrap(), &want, 1e-11);
    }
}
