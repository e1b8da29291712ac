//! [`latens_kernels::hyper::rank`] on the host.
//!
//! What is kept of a vertex is its rank divided by its degree, for that is what edges gather; it is multiplied back
//! where it is needed, and at the end. A step reads and writes that once, reads the seeds, and gathers twice.
use super::gather::{Members, sum_all};
use crate::cast::{cast, cast_mut};
use crate::{rows, simd::best};
use alloc::{vec, vec::Vec};
use latens_kernels::hyper::rank::{self, Graph, Plan, positive};
use latens_kernels::{DType, Float, hyper::Incidence};

/// Vertices whose changes are summed together, and edges of a task.
const BLOCK: usize = 512;

/// See [`rank::forward`].
pub fn forward<A: Float>(p: &Plan, graph: Graph<A>, seeds: &[A], rank: &mut [A], change: &mut [A]) {
    let [vertices, columns] = p.out();
    let (rank, change) = (&mut rank[..vertices * columns], &mut change[..columns]);
    if A::DTYPE == DType::F64 {
        return rank::forward(p, graph, seeds, rank, change);
    }
    // `A` is `f32` here, and no other type comes so far.
    let (Some(seeds), Some(rank), Some(change)) = (cast(seeds), cast_mut(rank), cast_mut(change)) else { return };
    walk(p, graph, seeds, rank, change);
}

/// What a step does not change.
struct Walk<'a> {
    edges: Incidence<'a>,
    vertices: Incidence<'a>,
    /// By place in `vertices`; empty if all are 1.
    shares: Vec<f32>,
    of_edges: Vec<f32>,
    /// What a kept number is multiplied with to be a rank, and its inverse; 1 without edges.
    degrees: Vec<f32>,
    inverse: Vec<f32>,
    dangling: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new<A: Float>(p: &Plan, graph: Graph<'a, A>) -> Self {
        let (of_edges, vertices) = (graph.of_edges(&p.shape()), graph.vertices);
        let degrees = graph.of_vertices(&p.shape(), &of_edges);
        let dangling = (0..degrees.len()).filter(|&v| degrees[v] == 0.0).collect();
        let share =
            |shares: &[A]| (0..vertices.count()).map(|i| positive(shares[vertices.number(i)].wide()) as f32).collect();
        let whole = |degree: &f64| if *degree == 0.0 { 1.0 } else { *degree };
        Self {
            edges: graph.edges,
            vertices,
            shares: graph.shares.map_or(Vec::new(), share),
            of_edges: of_edges.into_iter().map(|of| of as f32).collect(),
            degrees: degrees.iter().map(|degree| whole(degree) as f32).collect(),
            inverse: degrees.iter().map(|degree| (1.0 / whole(degree)) as f32).collect(),
            dangling,
        }
    }

    /// What walks lose at vertices without edges, for each column.
    fn lost(&self, now: &[f32], columns: usize) -> Vec<f32> {
        let mut lost = vec![0.0; columns];
        for &v in &self.dangling {
            lost.iter_mut().zip(&now[v * columns..]).for_each(|(lost, now)| *lost += now);
        }
        lost
    }

    /// What each edge holds.
    fn hold(&self, now: &[f32], held: &mut [f32], columns: usize) {
        let members = &self.edges.members[..self.edges.count()];
        rows::each_one(BLOCK * columns, held, |block, held| {
            best(
                #[inline(always)]
                |fused| {
                    for (at, held) in held.chunks_mut(columns).enumerate() {
                        let e = block * BLOCK + at;
                        let entries = self.edges.row(e);
                        let row = Members { from: &members[entries.start..], count: entries.len() };
                        sum_all(
                            fused,
                            row,
                            |_| 1.0,
                            (now, columns),
                            columns,
                            |k, sums| {
                                held[k..].iter_mut().zip(sums).for_each(|(held, sum)| *held = self.of_edges[e] * sum);
                            },
                        );
                    }
                },
            );
        });
    }

    /// What each vertex receives; how much the columns changed, by block.
    fn receive(
        &self,
        held: &[f32],
        now: &mut [f32],
        (seeds, stride): (&[f32], usize),
        (again, damping): (&[f32], f32),
        done: &[bool],
        changes: &mut [f32],
    ) {
        let (columns, members) = (done.len(), &self.vertices.members[..self.vertices.count()]);
        rows::each_pair((BLOCK * columns, now), (columns, changes), |block, now, changes| {
            changes.fill(0.0);
            best(
                #[inline(always)]
                |fused| {
                    for (at, now) in now.chunks_mut(columns).enumerate() {
                        let v = block * BLOCK + at;
                        let (entries, seed) = (self.vertices.row(v), &seeds[v * stride..][..columns]);
                        let (degree, inverse) = (self.degrees[v], self.inverse[v]);
                        let row = Members { from: &members[entries.start..], count: entries.len() };
                        let shares = self.shares.get(entries).unwrap_or(&[]);
                        let share = |j: usize| shares.get(j).copied().unwrap_or(1.0);
                        let put = |k: usize, sums: &[f32]| {
                            let n = sums.len();
                            let (now, change) = (&mut now[k..][..n], &mut changes[k..][..n]);
                            let (seed, again, done) = (&seed[k..][..n], &again[k..][..n], &done[k..][..n]);
                            for c in 0..n {
                                let next = fused.mul_add(damping, sums[c], again[c] * seed[c]) * inverse;
                                let next = if done[c] { now[c] } else { next };
                                change[c] += (next - now[c]).abs() * degree;
                                now[c] = next;
                            }
                        };
                        sum_all(fused, row, share, (held, columns), columns, put);
                    }
                },
            );
        });
    }
}

fn walk<A: Float>(p: &Plan, graph: Graph<A>, seeds: &[f32], now: &mut [f32], change: &mut [f32]) {
    let ([vertices, columns], walk, [stride, _]) = (p.out(), p.walk(), p.seeds().strides());
    change.fill(0.0);
    if columns == 0 || vertices == 0 {
        return;
    }
    let of = Walk::new(p, graph);
    for (v, now) in now.chunks_mut(columns).enumerate() {
        now.iter_mut().zip(&seeds[v * stride..]).for_each(|(now, seed)| *now = seed * of.inverse[v]);
    }
    let mut held = vec![0.0; p.shape().rows() * columns];
    let mut changes = vec![0.0; vertices.div_ceil(BLOCK) * columns];
    let mut done = vec![false; columns];
    for _ in 0..walk.steps {
        let mut again = of.lost(now, columns);
        again.iter_mut().for_each(|lost| *lost = 1.0 - walk.damping + walk.damping * *lost);
        of.hold(now, &mut held, columns);
        of.receive(&held, now, (seeds, stride), (&again, walk.damping), &done, &mut changes);
        for (q, change) in change.iter_mut().enumerate().filter(|(q, _)| !done[*q]) {
            *change = changes.iter().skip(q).step_by(columns).sum();
        }
        done.iter_mut().zip(&*change).for_each(|(done, &change)| *done |= change <= walk.tolerance);
        if done.iter().all(|&done| done) {
            break;
        }
    }
    for (now, degree) in now.chunks_mut(columns).zip(&of.degrees) {
        now.iter_mut().for_each(|now| *now *= degree);
    }
}
