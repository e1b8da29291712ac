//! [`latens_kernels::optim`] on the host.
mod adamw8;

use crate::{Level, math, rows};
pub use adamw8::{adamw8, adamw8_at};
use latens_kernels::Accumulate;
use latens_kernels::optim::{Constants, Plan, clip, signum as signs};

/// Entries that one task steps: a few hundred kilobytes of the four arrays.
const PIECE: usize = 1 << 14;

/// Lanes of a sum: the order of its terms is fixed by this number alone.
const LANES: usize = 32;

/// [`Constants`], narrowed once.
#[derive(Clone, Copy)]
struct Narrow {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    keep: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

impl From<&Constants> for Narrow {
    fn from(c: &Constants) -> Self {
        let [beta1, rest1, beta2, rest2] = [c.beta1, c.rest1, c.beta2, c.rest2].map(|x| x as f32);
        let [keep, rate, root, eps] = [c.keep, c.rate, c.root, c.eps].map(|x| x as f32);
        Self { beta1, rest1, beta2, rest2, keep, rate, root, eps }
    }
}

impl Narrow {
    /// One entry after its step.
    #[inline(always)]
    fn step(&self, w: f32, g: f32, m: &mut f32, v: &mut f32) -> f32 {
        *m = self.beta1 * *m + self.rest1 * g;
        *v = self.beta2 * *v + self.rest2 * g * g;
        self.keep * w - self.rate * *m / (self.root * math::root(*v) + self.eps)
    }
}

/// See [`latens_kernels::optim::adamw`].
pub fn adamw(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (c, n) = (Narrow::from(p.constants()), p.rows() * p.n());
    each_row(PIECE, [&mut w[..n], &mut m[..n], &mut v[..n]], &g[..n], |[w, m, v], g| {
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            *w = c.step(*w, g, m, v);
        }
    });
}

/// See [`latens_kernels::optim::decoder_step`].
pub fn decoder_step(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (c, n) = (Narrow::from(p.constants()), p.rows() * p.n());
    each_row(p.n(), [&mut w[..n], &mut m[..n], &mut v[..n]], &g[..n], |[w, m, v], g| {
        let square = dot(w, w);
        if square == 0.0 {
            return;
        }
        let along = dot(w, g) / square;
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            *w = c.step(*w, g - along * *w, m, v);
        }
        let length = math::root(dot(w, w));
        if length != 0.0 {
            w.iter_mut().for_each(|w| *w /= length);
        }
    });
}

/// See [`latens_kernels::optim::signum::signum`].
pub fn signum(p: &signs::Plan, w: &mut [f32], g: &[f32], m: &mut [f32]) {
    signum_at(Level::best(), p, w, g, m);
}

/// [`signum`] with the instructions of `level`.
pub fn signum_at(level: Level, p: &signs::Plan, w: &mut [f32], g: &[f32], m: &mut [f32]) {
    rows::each(PIECE, &mut w[..p.n()], &mut m[..p.n()], |piece, w, m| {
        level.run(
            #[inline(always)]
            |_| {
                for ((w, m), &g) in w.iter_mut().zip(m).zip(&g[piece * PIECE..]) {
                    (*w, *m) = p.constants().step(*w, g, *m);
                }
            },
        );
    });
}

/// See [`clip::squares`].
pub fn clip_squares(p: &clip::Plan, g: &[f32], squares: &mut [f32]) {
    let g = &g[..p.n()];
    rows::each_one(1, &mut squares[..clip::PARTS], |i, square| {
        let run = &g[(i * p.run()).min(g.len())..((i + 1) * p.run()).min(g.len())];
        // Sums of a few thousand keep their digits; the rest is added in twice as many.
        let sum: f64 = run.chunks(PIECE).map(|piece| f64::from(dot(piece, piece))).sum();
        square[0] = if p.accumulate() == Accumulate::Add { square[0] + sum as f32 } else { sum as f32 };
    });
}

/// See [`clip::scale`].
pub fn clip_scale(p: &clip::Plan, squares: &[f32], g: &mut [f32]) {
    let factor = p.factor(squares);
    if factor != 1.0 {
        rows::pieces(&mut g[..p.n()], |_, g| g.iter_mut().for_each(|g| *g *= factor));
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a * b;
    }
    sums.iter().sum()
}

/// Call `work` for every `width` entries of three arrays that are written and one that is read.
fn each_row(width: usize, [w, m, v]: [&mut [f32]; 3], g: &[f32], work: impl Fn([&mut [f32]; 3], &[f32]) + Sync) {
    if width == 0 {
        return;
    }
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        let parts = (w.par_chunks_mut(width), m.par_chunks_mut(width), v.par_chunks_mut(width), g.par_chunks(width));
        parts.into_par_iter().with_min_len(PIECE.div_ceil(width)).for_each(|(w, m, v, g)| work([w, m, v], g));
    }
    #[cfg(not(feature = "std"))]
    for (((w, m), v), g) in w.chunks_mut(width).zip(m.chunks_mut(width)).zip(v.chunks_mut(width)).zip(g.chunks(width)) {
        work([w, m, v], g);
    }
}
