//! [`latens_kernels::hyper::rank`] on the host.
//!
//! What is kept of a vertex is its rank divided by its degree, for that is what edges gather; it is multiplied back
//! where it is needed, and at the end. A step reads and writes that once, reads the seeds, and gathers twice.
//!
//! Both sides are first put in the order of their numbers of entries: loops over entries then end where the last one did,
//! and no branch is guessed wrong, which for three entries a vertex costs more than the entries. Columns go in slabs of a
//! line of memory, so that a gather reads whole lines of the least that must stay near. Where there is one column, eight
//! rows are summed at once, for one alone is three additions that wait for each other (steps took 0.65 to 0.74 of the time, Zen 3).
mod side;
mod slab;

use crate::cast::{cast, cast_mut};
use crate::once::once;
use crate::rows;
use alloc::vec::Vec;
use latens_kernels::hyper::rank::{self, Graph, Plan, positive};
use latens_kernels::{DType, Float, hyper::Incidence};
use side::{Side, Sorted};

/// Vertices whose changes are summed together, and edges of a task.
const BLOCK: usize = 1024;
/// The most columns of a slab.
const WIDE: usize = 16;
/// Rows that are summed at once where there is one column.
const ROWS: usize = 8;

once! {
    /// See [`rank::forward`].
    pub fn forward<A>(p: &Plan, graph: Graph<A>, seeds: &[A], rank: &mut [A], change: &mut [A]) = forward_impl;
}

fn forward_impl<A: Float>(p: &Plan, graph: Graph<A>, seeds: &[A], rank: &mut [A], change: &mut [A]) {
    let [vertices, columns] = p.out();
    let (rank, change) = (&mut rank[..vertices * columns], &mut change[..columns]);
    if A::DTYPE == DType::F64 {
        return rank::forward(p, graph, seeds, rank, change);
    }
    // `A` is `f32` here, and no other type comes so far.
    let (Some(seeds), Some(rank), Some(change)) = (cast(seeds), cast_mut(rank), cast_mut(change)) else { return };
    change.fill(0.0);
    if columns == 0 || vertices == 0 {
        return;
    }
    if columns == 1 {
        return Walk::<ROWS>::new(p, graph).slab::<1>(p, seeds, (0, 1), rank, change);
    }
    let walk = Walk::<1>::new(p, graph);
    for first in (0..columns).step_by(WIDE) {
        let slab = (first, WIDE.min(columns - first));
        match slab.1 {
            1..=4 => walk.slab::<4>(p, seeds, slab, rank, change),
            5..=8 => walk.slab::<8>(p, seeds, slab, rank, change),
            _ => walk.slab::<WIDE>(p, seeds, slab, rank, change),
        }
    }
}

/// What a step does not change. All numbers are by place, and as many as groups of `G` rows hold.
struct Walk<const G: usize> {
    edges: Side<G>,
    vertices: Side<G>,
    /// The order of the vertices.
    order: Sorted,
    of_edges: Vec<f32>,
    /// What a kept number is multiplied with to be a rank, and its inverse; 1 without edges.
    degrees: Vec<f32>,
    inverse: Vec<f32>,
    dangling: Vec<usize>,
}

/// `make` of the row of each place, then `rest` up to whole groups of `G`.
fn by_place<const G: usize>(order: &Sorted, rest: f32, make: impl Fn(usize) -> f32) -> Vec<f32> {
    let mut made: Vec<f32> = order.rows.iter().map(|&r| make(r as usize)).collect();
    made.resize(made.len().next_multiple_of(G), rest);
    made
}

impl<const G: usize> Walk<G> {
    fn new<A: Float>(p: &Plan, graph: Graph<'_, A>) -> Self {
        let shape = p.shape();
        let (of_edges, degrees) = Self::degrees(p, graph);
        let both = [(graph.edges, shape.rows()), (graph.vertices, shape.columns())];
        let mut orders = rows::collect(2, |side| Sorted::new(both[side].0, both[side].1));
        let share = graph.shares.map(|shares| move |i| positive(shares[graph.vertices.number(i)].wide()) as f32);
        let mut sides = rows::collect(2, |side| {
            let share = share.as_ref().filter(|_| side == 1).map(|share| share as &dyn Fn(usize) -> f32);
            Side::new(both[side].0, &orders[side], &orders[1 - side], share)
        });
        let (vertices, edges) = (sides.pop().expect("two"), sides.pop().expect("two"));
        let (order, of_edge) = (orders.pop().expect("two"), orders.pop().expect("two"));
        let whole = |v: usize| if degrees[v] == 0.0 { 1.0 } else { degrees[v] };
        Self {
            edges,
            vertices,
            of_edges: by_place::<G>(&of_edge, 0.0, |e| of_edges[e] as f32),
            dangling: (0..order.rows.len()).filter(|&at| degrees[order.rows[at] as usize] == 0.0).collect(),
            inverse: by_place::<G>(&order, 1.0, |v| (1.0 / whole(v)) as f32),
            degrees: by_place::<G>(&order, 1.0, |v| whole(v) as f32),
            order,
        }
    }

    /// What edges and vertices are divided by, in the order of the graph.
    fn degrees<A: Float>(p: &Plan, graph: Graph<'_, A>) -> (Vec<f64>, Vec<f64>) {
        let shape = p.shape();
        if graph.weights.is_none() && graph.shares.is_none() {
            // Every edge of a vertex has a member, so all of them count.
            let count = |of: Incidence, r: usize| of.row(r).len() as f64;
            let of_edge = |count: f64| if count > 0.0 { 1.0 / count } else { 0.0 };
            let of_edges = (0..shape.rows()).map(|e| of_edge(count(graph.edges, e))).collect();
            return (of_edges, (0..shape.columns()).map(|v| count(graph.vertices, v)).collect());
        }
        let of_edges = graph.of_edges(&shape);
        let degrees = graph.of_vertices(&shape, &of_edges);
        (of_edges, degrees)
    }
}
