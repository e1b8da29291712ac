use super::{Constants, Plan};
use crate::math::sqrt;

/// One entry: the step it takes, after its averages have moved.
fn step(c: &Constants, w: f32, g: f64, m: &mut f32, v: &mut f32) -> f64 {
    let (mean, square) = (c.beta1 * f64::from(*m) + c.rest1 * g, c.beta2 * f64::from(*v) + c.rest2 * g * g);
    (*m, *v) = (mean as f32, square as f32);
    c.keep * f64::from(w) - c.rate * mean / (c.root * sqrt(square) + c.eps)
}

/// The counter of a schedule, after a step.
pub fn advance(at: &mut [u32]) {
    at[0] = at[0].saturating_add(1);
}

/// A step of every entry.
pub fn adamw(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    for i in 0..p.rows * p.n {
        w[i] = step(&p.constants, w[i], f64::from(g[i]), &mut m[i], &mut v[i]) as f32;
    }
}

/// Project, step, renormalise every row.
pub fn decoder_step(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    for row in (0..p.rows).map(|r| r * p.n..(r + 1) * p.n) {
        let (w, g, m, v) = (&mut w[row.clone()], &g[row.clone()], &mut m[row.clone()], &mut v[row]);
        let square = dot(w, w);
        if square == 0.0 {
            continue;
        }
        let along = dot(w, g) / square;
        let project = |w: f32, g: f32| f64::from(g) - along * f64::from(w);
        let mut moved = alloc::vec::Vec::new();
        for i in 0..p.n {
            moved.push(step(&p.constants, w[i], project(w[i], g[i]), &mut m[i], &mut v[i]));
        }
        let length = sqrt(moved.iter().map(|w| w * w).sum());
        for (w, moved) in w.iter_mut().zip(moved) {
            *w = if length == 0.0 { 0.0 } else { moved / length } as f32;
        }
    }
}
