//! [`latens_kernels::sae::gate`] on the host: slots in order forward; backward, slots sorted by latent, a run of latents a task.
//!
//! Floors: 12 bytes a slot forward, 16 a slot and 28 a latent backward.
use super::backward::{Hits, PARTS};
use super::tasks;
use crate::once::once;
use crate::rows::{self, threads};
use alloc::vec::Vec;
use latens_kernels::sae::{Codes, gate};
use latens_kernels::{DType, Float, math, sae};

pub use sae::gate::{Parts, Penalty, Plan, Push};

/// Slots of a task.
const SLOTS: usize = 1 << 14;

once! {
    /// See [`gate::forward`].
    pub fn forward<A>(p: &Plan, values: &[A], latents: &[u32], parts: Parts<'_, A>, y: &mut [A]) = forward_impl;
}

fn forward_impl<A: Float>(p: &Plan, values: &[A], latents: &[u32], parts: Parts<'_, A>, y: &mut [A]) {
    if A::DTYPE == DType::F64 {
        return gate::forward(p, values, latents, parts, y);
    }
    rows::each_one(SLOTS, &mut y[..p.shape().slots()], |task, y| {
        let first = task * SLOTS;
        for ((y, v), &latent) in y.iter_mut().zip(&values[first..]).zip(&latents[first..]) {
            let is = (latent as usize) < p.n();
            *y = if is { A::from_f32(Gate::of(p, &parts, latent as usize).open(v.to_f32())) } else { A::default() };
        }
    });
}

once! {
    /// See [`gate::backward`].
    pub fn backward<A>(p: &Plan, codes: Codes<A>, parts: Parts<'_, A>, slopes: &mut [A], sums: &mut [A]) = backward_impl;
}

fn backward_impl<A: Float>(p: &Plan, codes: Codes<A>, parts: Parts<'_, A>, slopes: &mut [A], sums: &mut [A]) {
    if A::DTYPE == DType::F64 {
        return gate::backward(p, codes, parts, slopes, sums);
    }
    let (n, slots) = (p.n(), p.shape().slots());
    let (hits, slopes) = (Hits::sorted(n, p.shape(), &codes), &mut slopes[..slots]);
    let mut first = 0;
    let ranges: Vec<_> = hits.cuts(threads() * PARTS).map(|end| core::mem::replace(&mut first, end)..end).collect();
    let from = &*slopes;
    let done = tasks(ranges, |_, range| {
        let (mut sums, mut through) = (Vec::with_capacity(range.len()), Vec::new());
        for latent in range {
            let hits = &hits.list[hits.ends[latent] as usize..hits.ends[latent + 1] as usize];
            let gate = Gate::of(p, &parts, latent);
            let slots = hits.iter().map(|hit| hit.slot as usize);
            let values = slots.map(|slot| (codes.values[slot].to_f32(), from[slot].to_f32()));
            sums.push(gate.slopes(&p.push(), values, &mut through));
        }
        (sums, through)
    });
    slopes.fill(A::default());
    let (all, through): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    for (slope, hit) in through.into_iter().flatten().zip(&hits.list) {
        slopes[hit.slot as usize] = A::from_f32(slope);
    }
    for (latent, of) in all.into_iter().flatten().enumerate() {
        of.into_iter().enumerate().for_each(|(i, sum)| sums[i * n + latent] = A::from_f32(sum));
    }
}

/// The gate of one latent.
struct Gate {
    floor: f32,
    scale: f32,
    shift: f32,
    weight: f32,
}

impl Gate {
    #[inline(always)]
    fn of<A: Float>(p: &Plan, parts: &Parts<A>, latent: usize) -> Self {
        let part = |of: Option<&[A]>, none: f32| of.map_or(none, |of| of[latent].to_f32());
        let (scale, shift, weight) = (part(parts.scale, 1.0), part(parts.shift, 0.0), part(parts.weight, 1.0));
        Self { floor: p.floor(), scale, shift, weight }
    }

    #[inline(always)]
    fn open(&self, v: f32) -> f32 {
        let y = self.scale * v + self.shift;
        if v > self.floor && y > 0.0 { y } else { 0.0 }
    }

    /// The sums over values and the slopes of what came of them, whose own slopes are put down.
    fn slopes(&self, push: &Push, values: impl Iterator<Item = (f32, f32)>, through: &mut Vec<f32>) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for (v, slope) in values {
            let y = self.open(v);
            let pushed = if push.by == 0.0 { 0.0 } else { push.by * penalty(push.penalty, self.weight * y) };
            let s = slope + self.weight * pushed;
            if y > 0.0 {
                sums[0] += v * s;
                sums[1] += s;
                sums[3] += pushed * y;
            }
            if v < 2.0 * self.floor {
                sums[2] += (self.shift + self.floor) * s + push.step;
            }
            through.push(if y > 0.0 { self.scale * s + 0.0 } else { 0.0 });
        }
        sums[2] = if self.floor > 0.0 { -sums[2] / (2.0 * self.floor) } else { 0.0 };
        sums.map(|sum| sum + 0.0)
    }
}

/// `φ'(u)`.
fn penalty(penalty: Penalty, u: f32) -> f32 {
    // In `f64`, for powers and exponentials of one number at a time are few beside the products of rows.
    let u = f64::from(u);
    let slope = match penalty {
        Penalty::Power(1.0) => 1.0,
        Penalty::Power(_) if u <= 0.0 => 0.0,
        Penalty::Power(p) => f64::from(p) * math::pow(u, f64::from(p) - 1.0),
        Penalty::Tanh(c) => {
            let (c, small) = (f64::from(c), math::exp(-2.0 * f64::from(c) * u));
            4.0 * c * small / ((1.0 + small) * (1.0 + small))
        }
    };
    slope as f32
}
