//! [`latens_kernels::hyper::rank`] on the host.
//!
//! What is kept of a vertex is its rank divided by its degree, for that is what edges gather; it is multiplied back
//! where it is needed, and at the end. A step reads and writes that once, reads the seeds, and gathers twice.
//!
//! Both sides are first put in the order of their numbers of entries: loops over entries then end where the last one did,
//! and no branch is guessed wrong, which for three entries a vertex costs more than the entries. Columns go in slabs of a
//! line of memory, so that a gather reads whole lines of the least that must stay near.
use crate::cast::{cast, cast_mut};
use crate::once::once;
use crate::rows;
use crate::simd::{Fused, best};
use alloc::{vec, vec::Vec};
use latens_kernels::hyper::rank::{self, Graph, Plan, positive};
use latens_kernels::{DType, Float, hyper::Incidence};

/// Vertices whose changes are summed together, and edges of a task.
const BLOCK: usize = 1024;
/// The most columns of a slab.
const WIDE: usize = 16;

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
    let walk = Walk::new(p, graph);
    for first in (0..columns).step_by(WIDE) {
        let slab = (first, WIDE.min(columns - first));
        match slab.1 {
            1 => walk.slab::<1>(p, seeds, slab, rank, change),
            2..=4 => walk.slab::<4>(p, seeds, slab, rank, change),
            5..=8 => walk.slab::<8>(p, seeds, slab, rank, change),
            _ => walk.slab::<WIDE>(p, seeds, slab, rank, change),
        }
    }
}

/// Rows of an incidence, those with few entries first.
struct Side {
    /// Where the entries of a place begin, and at last where they end.
    offsets: Vec<u32>,
    /// Places of members.
    members: Vec<u32>,
}

/// The rows by rising number of entries, and the place of each.
fn sorted(of: Incidence, rows: usize) -> (Vec<u32>, Vec<u32>) {
    let most = (0..rows).map(|r| of.row(r).len()).max().unwrap_or(0);
    let mut next = vec![0_u32; most + 2];
    (0..rows).for_each(|r| next[of.row(r).len() + 1] += 1);
    (0..=most).for_each(|len| next[len + 1] += next[len]);
    let (mut order, mut place) = (vec![0; rows], vec![0; rows]);
    for (r, place) in place.iter_mut().enumerate() {
        let next = &mut next[of.row(r).len()];
        (*place, order[*next as usize]) = (*next, r as u32);
        *next += 1;
    }
    (order, place)
}

impl Side {
    fn new(of: Incidence, order: &[u32], places: &[u32]) -> Self {
        let (mut offsets, mut members) = (vec![0], Vec::with_capacity(of.count()));
        for &r in order {
            members.extend(of.columns(r as usize).iter().map(|&column| places[column as usize]));
            offsets.push(members.len() as u32);
        }
        Self { offsets, members }
    }

    /// Where the entries of some places begin and end, each end the next one's beginning.
    #[inline(always)]
    fn ends(&self, first: usize, count: usize) -> &[u32] {
        &self.offsets[first..=first + count]
    }

    /// The sums of what entries name, times their weights, in an order that the entries alone decide.
    #[inline(always)]
    fn sum<const W: usize>(&self, fused: Fused, [begin, end]: [u32; 2], weights: &[f32], x: &[[f32; W]]) -> [f32; W] {
        let (begin, end) = (begin as usize, end as usize);
        let members = &self.members[begin..end];
        let (mut sums, weights) = ([0.0; W], weights.get(begin..end).filter(|_| !weights.is_empty()));
        let (fours, rest) = members.as_chunks::<4>();
        match weights {
            // A single column: four sums, so that none waits for the last.
            None if W == 1 => {
                let mut parts = [0.0; 4];
                for four in fours {
                    for i in 0..4 {
                        parts[i] += x[four[i] as usize][0];
                    }
                }
                for &member in rest {
                    sums[0] += x[member as usize][0];
                }
                sums[0] += (parts[0] + parts[1]) + (parts[2] + parts[3]);
            }
            // Plain loops: a closure that is not inlined would be compiled without the instructions.
            None => {
                for &member in members {
                    let x = &x[member as usize];
                    for c in 0..W {
                        sums[c] += x[c];
                    }
                }
            }
            Some(weights) => {
                for (&member, &weight) in members.iter().zip(weights) {
                    let x = &x[member as usize];
                    for c in 0..W {
                        sums[c] = fused.mul_add(weight, x[c], sums[c]);
                    }
                }
            }
        }
        sums
    }
}

/// What a step does not change. All numbers are by place.
struct Walk {
    edges: Side,
    vertices: Side,
    /// Rows by place and places by row, of edges and of vertices.
    found: Vec<(Vec<u32>, Vec<u32>)>,
    /// By entry of `vertices`; empty if all are 1.
    shares: Vec<f32>,
    of_edges: Vec<f32>,
    /// What a kept number is multiplied with to be a rank, and its inverse; 1 without edges.
    degrees: Vec<f32>,
    inverse: Vec<f32>,
    dangling: Vec<usize>,
}

/// How a step goes on: `next = damping * sums + again * seed`, where that is not done.
struct Step<const W: usize> {
    damping: f32,
    again: [f32; W],
    done: [bool; W],
}

impl Walk {
    fn new<A: Float>(p: &Plan, graph: Graph<'_, A>) -> Self {
        let shape = p.shape();
        let (of_edges, degrees) = Self::degrees(p, graph);
        let both = [(graph.edges, shape.rows()), (graph.vertices, shape.columns())];
        let found = rows::collect(2, |side| sorted(both[side].0, both[side].1));
        let mut sides = rows::collect(2, |side| Side::new(both[side].0, &found[side].0, &found[1 - side].1));
        let (vertices, edges) = (sides.pop().expect("two"), sides.pop().expect("two"));
        let share = |shares: &[A]| -> Vec<f32> {
            let entries = found[1].0.iter().flat_map(|&v| graph.vertices.row(v as usize));
            entries.map(|i| positive(shares[graph.vertices.number(i)].wide()) as f32).collect()
        };
        let degrees: Vec<f64> = found[1].0.iter().map(|&v| degrees[v as usize]).collect();
        let whole = |degree: &f64| if *degree == 0.0 { 1.0 } else { *degree };
        Self {
            edges,
            vertices,
            shares: graph.shares.map_or(Vec::new(), share),
            of_edges: found[0].0.iter().map(|&e| of_edges[e as usize] as f32).collect(),
            dangling: (0..degrees.len()).filter(|&v| degrees[v] == 0.0).collect(),
            inverse: degrees.iter().map(|degree| (1.0 / whole(degree)) as f32).collect(),
            degrees: degrees.iter().map(|degree| whole(degree) as f32).collect(),
            found,
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

    /// Columns `first..first + width`, with `W` at least `width`.
    fn slab<const W: usize>(
        &self,
        p: &Plan,
        seeds: &[f32],
        (first, width): (usize, usize),
        rank: &mut [f32],
        change: &mut [f32],
    ) {
        let ([vertices, columns], walk, [stride, _]) = (p.out(), p.walk(), p.seeds().strides());
        let mut seed = vec![[0.0; W]; vertices];
        rows::each_one(BLOCK, &mut seed, |block, seed| {
            for (seed, &v) in seed.iter_mut().zip(&self.found[1].0[block * BLOCK..]) {
                seed[..width].copy_from_slice(&seeds[v as usize * stride + first..][..width]);
            }
        });
        let mut now: Vec<[f32; W]> = seed.iter().zip(&self.inverse).map(|(seed, of)| seed.map(|x| x * of)).collect();
        let mut held = vec![[0.0; W]; p.shape().rows()];
        let mut changes = vec![[0.0; W]; vertices.div_ceil(BLOCK)];
        let (mut changed, mut done) = ([0.0; W], core::array::from_fn(|c| c >= width));
        for at in 1..=walk.steps {
            let again = self.lost(&now).map(|lost| 1.0 - walk.damping + walk.damping * lost);
            let step = Step { damping: walk.damping, again, done };
            self.hold(&now, &mut held);
            if walk.tolerance == 0.0 && at < walk.steps {
                // What does not change any more stays as it is: nobody has to look before the end.
                self.receive::<W, false>(&held, &mut now, &seed, &step, &mut changes);
                continue;
            }
            self.receive::<W, true>(&held, &mut now, &seed, &step, &mut changes);
            for c in (0..width).filter(|&c| !done[c]) {
                changed[c] = changes.iter().map(|change| change[c]).sum();
            }
            done.iter_mut().zip(changed).for_each(|(done, change)| *done |= change <= walk.tolerance);
            if done.iter().all(|&done| done) {
                break;
            }
        }
        change[first..][..width].copy_from_slice(&changed[..width]);
        rows::each_one(columns, rank, |v, rank| {
            let place = self.found[1].1[v] as usize;
            let now = now[place].iter().map(|now| now * self.degrees[place]);
            rank[first..][..width].iter_mut().zip(now).for_each(|(rank, now)| *rank = now);
        });
    }

    /// What walks lose at vertices without edges, for each column.
    fn lost<const W: usize>(&self, now: &[[f32; W]]) -> [f32; W] {
        let mut lost = [0.0; W];
        for &v in &self.dangling {
            lost.iter_mut().zip(now[v]).for_each(|(lost, now)| *lost += now);
        }
        lost
    }

    /// What each edge holds.
    fn hold<const W: usize>(&self, now: &[[f32; W]], held: &mut [[f32; W]]) {
        rows::each_one(BLOCK, held, |block, held| {
            best(
                #[inline(always)]
                |fused| {
                    let ends = self.edges.ends(block * BLOCK, held.len());
                    let of_edges = &self.of_edges[block * BLOCK..][..held.len()];
                    for (at, held) in held.iter_mut().enumerate() {
                        let sums = self.edges.sum(fused, [ends[at], ends[at + 1]], &[], now);
                        for c in 0..W {
                            held[c] = of_edges[at] * sums[c];
                        }
                    }
                },
            );
        });
    }

    /// What each vertex receives; how much the columns changed, by block, if that is to be known.
    fn receive<const W: usize, const WATCH: bool>(
        &self,
        held: &[[f32; W]],
        now: &mut [[f32; W]],
        seeds: &[[f32; W]],
        Step { damping, again, done }: &Step<W>,
        changes: &mut [[f32; W]],
    ) {
        rows::each_pair((BLOCK, now), (1, changes), |block, now, changes| {
            let (first, count) = (block * BLOCK, now.len());
            let (seeds, degrees) = (&seeds[first..][..count], &self.degrees[first..][..count]);
            let inverse = &self.inverse[first..][..count];
            changes[0] = best(
                #[inline(always)]
                |fused| {
                    let (mut change, ends) = ([0.0; W], self.vertices.ends(first, count));
                    for (at, now) in now.iter_mut().enumerate() {
                        let sums = self.vertices.sum(fused, [ends[at], ends[at + 1]], &self.shares, held);
                        let (seed, degree, inverse) = (&seeds[at], degrees[at], inverse[at]);
                        for c in 0..W {
                            let next = fused.mul_add(*damping, sums[c], again[c] * seed[c]) * inverse;
                            let next = if done[c] { now[c] } else { next };
                            if WATCH {
                                change[c] += (next - now[c]).abs() * degree;
                            }
                            now[c] = next;
                        }
                    }
                    change
                },
            );
        });
    }
}
