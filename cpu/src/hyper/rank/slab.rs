//! Columns that are walked together.
use super::{BLOCK, Walk};
use crate::rows;
use crate::simd::best;
use alloc::{vec, vec::Vec};
use latens_kernels::hyper::rank::Plan;

/// Edges of a task: few, for those with many members come last.
const EDGES: usize = 512;

/// How a step goes on: `next = damping * sums + again * seed`, where that is not done.
struct Step<const W: usize> {
    damping: f32,
    again: [f32; W],
    done: [bool; W],
}

impl<const G: usize> Walk<G> {
    /// Columns `first..first + width`, with `W` at least `width`.
    pub(super) fn slab<const W: usize>(
        &self,
        p: &Plan,
        seeds: &[f32],
        (first, width): (usize, usize),
        rank: &mut [f32],
        change: &mut [f32],
    ) {
        let ([_, columns], walk, [stride, _]) = (p.out(), p.walk(), p.seeds().strides());
        let vertices = self.degrees.len();
        let mut seed = vec![[0.0; W]; vertices];
        rows::each_one(BLOCK, &mut seed, |block, seed| {
            for (seed, &v) in seed.iter_mut().zip(&self.order.rows[block * BLOCK..]) {
                seed[..width].copy_from_slice(&seeds[v as usize * stride + first..][..width]);
            }
        });
        // NaN in columns with a seed that is not a finite number, else 0: added to what is lost, it makes the whole column NaN.
        let mut spoiled = [0.0; W];
        seed.iter().for_each(|seed| spoiled.iter_mut().zip(seed).for_each(|(spoiled, x)| *spoiled += 0.0 * x));
        // One more than there are, which stays 0, for members that rows do not have.
        let mut now: Vec<[f32; W]> = seed.iter().zip(&self.inverse).map(|(seed, of)| seed.map(|x| x * of)).collect();
        now.push([0.0; W]);
        let mut held = vec![[0.0; W]; self.of_edges.len() + 1];
        let mut changes = vec![[0.0; W]; vertices.div_ceil(BLOCK)];
        let (mut changed, mut done) = ([0.0; W], core::array::from_fn(|c| c >= width));
        for at in 1..=walk.steps {
            let mut again = self.lost(&now).map(|lost| 1.0 - walk.damping + walk.damping * lost);
            again.iter_mut().zip(spoiled).for_each(|(again, spoiled)| *again += spoiled);
            let step = Step { damping: walk.damping, again, done };
            self.hold(&now, &mut held);
            if walk.tolerance == 0.0 && at < walk.steps {
                // What does not change any more stays as it is: nobody has to look before the end.
                self.receive::<W, false>(&held, &mut now, &seed, &step, &mut changes);
                continue;
            }
            self.receive::<W, true>(&held, &mut now, &seed, &step, &mut changes);
            for c in (0..width).filter(|&c| !done[c]) {
                changed[c] = changes.iter().map(|change| f64::from(change[c])).sum::<f64>() as f32;
            }
            done.iter_mut().zip(changed).for_each(|(done, change)| *done |= change <= walk.tolerance);
            if done.iter().all(|&done| done) {
                break;
            }
        }
        change[first..][..width].copy_from_slice(&changed[..width]);
        rows::each_one(BLOCK * columns, rank, |block, rank| {
            for (rank, &place) in rank.chunks_exact_mut(columns).zip(&self.order.places[block * BLOCK..]) {
                let now = now[place as usize].map(|now| now * self.degrees[place as usize]);
                rank[first..][..width].copy_from_slice(&now[..width]);
            }
        });
    }

    /// What walks lose at vertices without edges, for each column.
    fn lost<const W: usize>(&self, now: &[[f32; W]]) -> [f32; W] {
        let mut lost = [0.0_f64; W];
        for &v in &self.dangling {
            lost.iter_mut().zip(now[v]).for_each(|(lost, now)| *lost += f64::from(now));
        }
        lost.map(|lost| lost as f32)
    }

    /// What each edge holds.
    fn hold<const W: usize>(&self, now: &[[f32; W]], held: &mut [[f32; W]]) {
        rows::gather(EDGES, &mut held[..self.of_edges.len()], |first, held| {
            best(
                #[inline(always)]
                |fused| {
                    let (of_edges, _) = self.of_edges[first..].as_chunks::<G>();
                    for (at, (held, of_edges)) in held.as_chunks_mut::<G>().0.iter_mut().zip(of_edges).enumerate() {
                        let sums = self.edges.sum(fused, first / G + at, now);
                        for g in 0..G {
                            for c in 0..W {
                                held[g][c] = of_edges[g] * sums[g][c];
                            }
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
        rows::each_pair((BLOCK, &mut now[..seeds.len()]), (1, changes), |block, now, changes| {
            let first = block * BLOCK;
            let (seeds, _) = seeds[first..].as_chunks::<G>();
            let (degrees, _) = self.degrees[first..].as_chunks::<G>();
            let (inverse, _) = self.inverse[first..].as_chunks::<G>();
            changes[0] = best(
                #[inline(always)]
                |fused| {
                    let mut change = [0.0; W];
                    for (at, now) in now.as_chunks_mut::<G>().0.iter_mut().enumerate() {
                        let sums = self.vertices.sum(fused, first / G + at, held);
                        let (seed, degree, inverse) = (&seeds[at], &degrees[at], &inverse[at]);
                        for g in 0..G {
                            for c in 0..W {
                                let next = fused.mul_add(*damping, sums[g][c], again[c] * seed[g][c]) * inverse[g];
                                // One column that is done is walked no more.
                                let next = if W > 1 && done[c] { now[g][c] } else { next };
                                if WATCH {
                                    change[c] += (next - now[g][c]).abs() * degree[g];
                                }
                                now[g][c] = next;
                            }
                        }
                    }
                    change
                },
            );
        });
    }
}
