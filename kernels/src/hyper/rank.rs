//! Personalised PageRank: where a walk is that starts at seeds, goes from vertex to edge to vertex, and now and then
//! starts again; many seeds at once, one for each column.
//!
//! | argument    | shape                 | type  |
//! |-------------|-----------------------|-------|
//! | `edges`     | incidence `[edges, vertices]`, without `places` | |
//! | `vertices`  | the same turned over  |       |
//! | `weights`   | `[edges]`, optional   | `Acc`: how likely an edge is taken |
//! | `shares`    | `[entries]`, optional | `Acc`, by number of entry: how likely an edge leads to that vertex |
//! | `seeds`     | `[vertices, columns]` | `Acc`: where walks start; each column sums to 1 |
//! | `rank`      | `[vertices, columns]` | `Acc` |
//! | `change`    | `[columns]`           | `Acc`: by how much the last step changed the column, as a sum of absolute values |
//!
//! With weights `w` and shares `g` (1 where left out), `δ(e) = Σ g` over the members of `e` and `d(u) = Σ w(e)` over the
//! edges of `u` with `δ(e) > 0`, a step from `u` to `v` has probability `P[u, v] = Σ w(e) / d(u) · g(e, v) / δ(e)`, and
//!
//! ```text
//! π = seeds;  repeat  π = (1 - damping) seeds + damping (Pᵀ π + m seeds),   m = Σ π(u) over d(u) = 0
//! ```
//!
//! until the column changed by `tolerance` or less, `steps` times at most. A column stops for itself, so what it comes
//! to does not depend on the columns beside it. What would leave by a vertex without edges starts again: rows of `P`
//! sum to 1, and so does `rank`. **Weights and shares** that are not positive, NaN included, count as 0. Their sums and what divides
//! by them are `Acc`: of weights below 1e-38 or above 1e38 ranks need not be finite. A walk does not depend on their scale.
//!
//! **Seeds** are walked as they are, negative ones too. A column with one that is NaN or infinite becomes NaN in its first step, all
//! of its ranks and its `change`, and never stops before its `steps`; the columns beside it keep their bits. After no steps
//! `rank` is `seeds`, up to rounding, and `change` 0, whatever they are.
//!
//! **Determinism** stable, the same on the host for every number of threads; close: squared error at most 1e-9 of the sum
//! of squares for equal numbers of steps, `change` within 1e-5. **Errors** `Size` if shapes disagree, `Value` unless
//! `0 <= damping < 1` and `tolerance >= 0`. **Moves** [`Plan::bytes`] in each step.
use super::{Incidence, Shape, length, size};
use crate::{Error, Float, Layout, Result};
use alloc::{vec, vec::Vec};

/// When a walk starts again, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    /// The probability to go on.
    pub damping: f32,
    /// Steps at most.
    pub steps: usize,
    /// The change at which a column ends; 0 for all steps.
    pub tolerance: f32,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    shape: Shape,
    seeds: Layout<2>,
    walk: Walk,
}

/// Check a call; `shape` is that of `edges`, `turned` that of `vertices`.
///
/// # Errors
/// See the module.
pub fn plan(
    shape: &Shape,
    turned: &Shape,
    places: [bool; 2],
    weights: Option<&Layout<1>>,
    shares: Option<&Layout<1>>,
    seeds: &Layout<2>,
    walk: Walk,
) -> Result<Plan> {
    let op = "hyper_rank";
    size(op, "vertices", shape.columns(), turned.rows())?;
    size(op, "vertices", shape.rows(), turned.columns())?;
    size(op, "vertices", shape.entries(), turned.entries())?;
    for (arg, want, got) in [("edges", false, places[0]), ("vertices", true, places[1])] {
        if want != got {
            return Err(Error::Value { op, arg, want: "edges as built, and vertices turned over, with places" });
        }
    }
    length(op, "weights", shape.rows(), weights)?;
    length(op, "shares", shape.entries(), shares)?;
    size(op, "seeds", shape.columns(), seeds.dims()[0])?;
    super::at_most(op, "seeds", i32::MAX as usize, seeds.dims()[1])?;
    if !(0.0..1.0).contains(&walk.damping) {
        return Err(Error::Value { op, arg: "damping", want: "from 0 to less than 1" });
    }
    if walk.tolerance.is_nan() || walk.tolerance < 0.0 {
        return Err(Error::Value { op, arg: "tolerance", want: "0 or more" });
    }
    Ok(Plan { shape: *shape, seeds: *seeds, walk })
}

impl Plan {
    /// Edges by vertices.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// The layout of the seeds.
    pub fn seeds(&self) -> Layout<2> {
        self.seeds
    }
    /// Shape of `rank`.
    pub fn out(&self) -> [usize; 2] {
        self.seeds.dims()
    }
    /// When a walk starts again, and when it ends.
    pub fn walk(&self) -> Walk {
        self.walk
    }
    /// Bytes that a step must move at least, for numbers of `size` bytes: two gathers for each entry, seeds, rank and
    /// what edges hold between.
    pub fn bytes(&self, size: usize) -> usize {
        let [vertices, columns] = self.out();
        2 * self.shape.entries() * (4 + columns * size) + (3 * vertices + 2 * self.shape.rows()) * columns * size
    }
}

/// The hypergraph that is walked.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a, A> {
    /// The members of each edge.
    pub edges: Incidence<'a>,
    /// The edges of each vertex.
    pub vertices: Incidence<'a>,
    /// Of edges.
    pub weights: Option<&'a [A]>,
    /// Of entries.
    pub shares: Option<&'a [A]>,
}

/// A weight that counts.
pub fn positive(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

impl<A: Float> Graph<'_, A> {
    /// `w(e) / δ(e)`, 0 where nothing leads out.
    pub fn of_edges(&self, shape: &Shape) -> Vec<f64> {
        let share = |i: usize| self.shares.map_or(1.0, |shares| positive(shares[i].wide()));
        let edge = |e: usize| {
            let (weight, all) =
                (self.weights.map_or(1.0, |w| positive(w[e].wide())), self.edges.row(e).map(share).sum::<f64>());
            if all > 0.0 { weight / all } else { 0.0 }
        };
        (0..shape.rows()).map(edge).collect()
    }

    /// `d(u)`, given what [`of_edges`](Self::of_edges) says.
    pub fn of_vertices(&self, shape: &Shape, edges: &[f64]) -> Vec<f64> {
        let weight = |&e: &u32| match (edges[e as usize] > 0.0, self.weights) {
            (false, _) => 0.0,
            (_, Some(weights)) => positive(weights[e as usize].wide()),
            (_, None) => 1.0,
        };
        (0..shape.columns()).map(|v| self.vertices.columns(v).iter().map(weight).sum()).collect()
    }
}

/// The definition.
pub fn forward<A: Float>(p: &Plan, graph: Graph<A>, seeds: &[A], rank: &mut [A], change: &mut [A]) {
    let ([vertices, columns], [stride, _], walk) = (p.out(), p.seeds.strides(), p.walk);
    let of_edges = graph.of_edges(&p.shape);
    let degrees = graph.of_vertices(&p.shape, &of_edges);
    let damping = f64::from(walk.damping);
    for q in 0..columns {
        let seed: Vec<f64> = (0..vertices).map(|v| seeds[v * stride + q].wide()).collect();
        // NaN if a seed is not a finite number, else 0: what it is added to, the whole column, comes to nothing.
        let spoiled: f64 = seed.iter().map(|seed| 0.0 * seed).sum();
        let mut now = seed.clone();
        let mut changed = 0.0;
        for _ in 0..walk.steps {
            let lost = spoiled + (0..vertices).filter(|&v| degrees[v] == 0.0).map(|v| now[v]).sum::<f64>();
            let mut next: Vec<f64> = seed.iter().map(|seed| (1.0 - damping) * seed + damping * lost * seed).collect();
            let mut held = vec![0.0; p.shape.rows()];
            for (e, held) in held.iter_mut().enumerate() {
                let arrives =
                    |&u: &u32| if degrees[u as usize] > 0.0 { now[u as usize] / degrees[u as usize] } else { 0.0 };
                *held = of_edges[e] * graph.edges.columns(e).iter().map(arrives).sum::<f64>();
            }
            for (v, next) in next.iter_mut().enumerate() {
                for i in graph.vertices.row(v) {
                    let share = graph.shares.map_or(1.0, |g| positive(g[graph.vertices.number(i)].wide()));
                    *next += damping * share * held[graph.vertices.members[i] as usize];
                }
            }
            changed = now.iter().zip(&next).map(|(now, next)| (now - next).abs()).sum();
            now = next;
            if changed <= f64::from(walk.tolerance) {
                break;
            }
        }
        change[q] = A::narrow(changed);
        now.iter().enumerate().for_each(|(v, now)| rank[v * columns + q] = A::narrow(*now));
    }
}
