use super::{Degree, Hypergraph, Weigh, hyper_degree, hyper_pool, hyper_weigh};
use crate::{Tensor, View};
use latens_kernels::{Float, Result};

/// The coefficients of a hypergraph network's operator, `Dv^-1/2 H W De^-1 Hᵀ Dv^-1/2`, as two poolings.
pub struct Convolution<A> {
    /// Of vertices in edges: `Dv^-1/2` and `De^-1`.
    pub down: Tensor<A, 1>,
    /// Of edges in vertices: `W` and `Dv^-1/2`.
    pub up: Tensor<A, 1>,
}

/// The operator of a hypergraph whose edges have these weights (1 where left out). `Dv` counts edges by weight, `De`
/// members; where a degree is 0 its inverse is, so an isolated vertex comes to 0.
pub fn hyper_convolution<A: Float>(graph: &Hypergraph, weights: Option<View<'_, A, 1>>) -> Result<Convolution<A>> {
    let (edges, vertices) = (graph.edges(), graph.vertices());
    let of_vertices = hyper_degree(vertices, Degree::InverseRoot, None, weights)?;
    let of_edges = hyper_degree::<A>(edges, Degree::Inverse, None, None)?;
    Ok(Convolution {
        down: hyper_weigh(edges, Weigh::Sum, None, Some(of_vertices.view()), Some(of_edges.view()))?,
        up: hyper_weigh(vertices, Weigh::Sum, None, weights, Some(of_vertices.view()))?,
    })
}

/// The operator on `x` \[vertices, dim\].
pub fn hyper_convolve<T: Float>(
    graph: &Hypergraph,
    by: &Convolution<T::Acc>,
    x: View<'_, T, 2>,
) -> Result<Tensor<T, 2>> {
    let held = hyper_pool(graph.edges(), Some(by.down.view()), x)?;
    hyper_pool(graph.vertices(), Some(by.up.view()), held.view())
}

/// The gradient of `x`: the operator turned over.
pub fn hyper_convolve_backward<T: Float>(
    graph: &Hypergraph,
    by: &Convolution<T::Acc>,
    dy: View<'_, T, 2>,
) -> Result<Tensor<T, 2>> {
    let held = hyper_pool(graph.edges(), Some(by.up.view()), dy)?;
    hyper_pool(graph.vertices(), Some(by.down.view()), held.view())
}
