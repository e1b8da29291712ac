//! [`latens_kernels::optim::adamw8`] on the host: a task has some blocks, and goes over each while it is in the nearest cache,
//! in loops without a branch.
use super::{Narrow, PIECE};
use crate::Level;
use crate::quant::dynamic::{nearest_of_all, nearest_unsigned_of_all};
use crate::rows;
use alloc::vec::Vec;
use latens_kernels::optim::adamw8::{LONGEST, Plan, key, scale};
use latens_kernels::quant::code::{DYNAMIC, UNSIGNED};

/// What a task works on.
struct Task<'a> {
    w: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [u8],
    v: &'a mut [u8],
    scales: &'a mut [f32],
}

/// See [`latens_kernels::optim::adamw8::adamw8`].
pub fn adamw8(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], scales: &mut [f32]) {
    adamw8_at(Level::best(), p, w, g, m, v, scales);
}

/// [`adamw8`] with the instructions of `level`.
pub fn adamw8_at(level: Level, p: &Plan, w: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], scales: &mut [f32]) {
    let (c, n, blocks) = (Narrow::from(p.constants()), p.n(), (PIECE / p.block()).max(1));
    let width = blocks * p.block();
    let averages = m[..n].chunks_mut(width).zip(v[..n].chunks_mut(width)).zip(scales.chunks_mut(2 * blocks));
    let all = w[..n].chunks_mut(width).zip(g[..n].chunks(width)).zip(averages);
    let tasks: Vec<_> = all.map(|((w, g), ((m, v), scales))| Task { w, g, m, v, scales }).collect();
    rows::tasks(tasks, |task| {
        let mut scratch = [[0.0; LONGEST]; 2];
        let Task { w, g, m, v, scales } = task;
        let averages = m.chunks_mut(p.block()).zip(v.chunks_mut(p.block())).zip(scales.as_chunks_mut::<2>().0);
        for ((w, g), ((m, v), scales)) in w.chunks_mut(p.block()).zip(g.chunks(p.block())).zip(averages) {
            level.run(
                #[inline(always)]
                |_| block(&c, w, g, [m, v], scales, scratch.each_mut().map(|numbers| &mut numbers[..w.len()])),
            );
        }
    });
}

/// A block; `means` and `squares` are room for its averages.
#[inline(always)]
fn block(
    c: &Narrow,
    w: &mut [f32],
    g: &[f32],
    [m, v]: [&mut [u8]; 2],
    scales: &mut [f32; 2],
    [means, squares]: [&mut [f32]; 2],
) {
    decode(&DYNAMIC, m, scales[0], means);
    decode(&UNSIGNED, v, scales[1], squares);
    for (((w, mean), square), &g) in w.iter_mut().zip(&mut *means).zip(&mut *squares).zip(g) {
        *w = c.step(*w, g, mean, square);
    }
    let top = |numbers: &[f32]| numbers.iter().fold(0, |top, &x| key(x).max(top));
    let ([of_m, to_m], [of_v, to_v]) = (ends(top(means)), ends(top(squares)));
    *scales = [of_m, of_v];
    match to_m == 0.0 {
        true => m.fill(0),
        false => nearest_of_all(means, to_m, m),
    }
    match to_v == 0.0 {
        true => v.fill(0),
        false => nearest_unsigned_of_all(squares, to_v, v),
    }
}

/// [`scale`], with 0 for what brings nothing to a code.
fn ends(key: u32) -> [f32; 2] {
    let (scale, inverse) = scale(key);
    [scale, inverse.unwrap_or(0.0)]
}

#[inline(always)]
fn decode(table: &[f32; 256], codes: &[u8], scale: f32, to: &mut [f32]) {
    to.iter_mut().zip(codes).for_each(|(to, &code)| *to = table[usize::from(code)] * scale);
}
