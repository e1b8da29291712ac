//! Every channel on its own: channels in lanes, taps of neighbouring channels side by side.
use super::store;
use crate::{Level, level::Fused, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{Float, conv2d::Plan};

/// Pixels whose gradients of the taps one task sums, about.
const PIXELS: usize = 512;

/// Taps as rows of channels.
fn turned<T: Float>(p: &Plan, w: &[T]) -> Vec<f32> {
    let (terms, n) = (p.terms(), p.w().dims()[0]);
    let mut to = vec![0.0; terms * n];
    for (at, w) in w[..terms * n].iter().enumerate() {
        to[at % terms * n + at / terms] = w.to_f32();
    }
    to
}

/// `sum += a * b`, lane by lane.
#[inline(always)]
fn add_products<T: Float>(fused: Fused, sum: &mut [f32], a: &[f32], b: &[T]) {
    for ((sum, &a), b) in sum.iter_mut().zip(a).zip(b) {
        *sum = fused.mul_add(a, b.to_f32(), *sum);
    }
}

/// Channels of the pixel that a tap reads; nothing for padding.
fn pixel<'a, T>(p: &Plan, x: &'a [T], [b, i, j]: [usize; 3], [u, v]: [usize; 2]) -> Option<&'a [T]> {
    let (row, column, [image, of_row, of_column, _]) = (p.pixel(0, i, u)?, p.pixel(1, j, v)?, p.x().strides());
    Some(&x[b * image + row * of_row + column * of_column..][..p.x().dims()[3]])
}

fn taps(p: &Plan) -> impl Iterator<Item = [usize; 2]> {
    let [_, taps_y, taps_x, _] = p.w().dims();
    (0..taps_y).flat_map(move |u| (0..taps_x).map(move |v| [u, v]))
}

pub(super) fn forward<T: Float>(level: Level, p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let ([_, rows, columns, n], w) = (p.out(), turned(p, w));
    let bias: Vec<f32> = bias.map_or_else(|| vec![0.0; n], |bias| bias[..n].iter().map(|x| x.to_f32()).collect());
    let zeros = vec![T::default(); n];
    rows::each_one(columns * n, y, |row, y| {
        let mut sum = vec![0.0; n];
        level.run(
            #[inline(always)]
            |fused| {
                for (j, y) in y.chunks_exact_mut(n).enumerate() {
                    sum.copy_from_slice(&bias);
                    for (tap, w) in taps(p).zip(w.chunks_exact(n)) {
                        // Padding counts as numbers: a tap that is not finite shows.
                        let x = pixel(p, x, [row / rows, row % rows, j], tap).unwrap_or(&zeros);
                        add_products(fused, &mut sum, w, x);
                    }
                    store(y, &sum, false);
                }
            },
        );
    });
}

pub(super) fn inputs<T: Float>(level: Level, p: &Plan, w: &[T], dy: &[T], dx: &mut [T], add: bool) {
    let ([_, height, width, n], [_, rows, columns, _], w) = (p.x().dims(), p.out(), turned(p, w));
    // Where a pixel was read by a tap.
    let reader = |d: usize, at: usize, tap: usize, count: usize| {
        let at = (at + p.how().padding[d]).checked_sub(tap * p.how().dilation[d])?;
        (at % p.how().stride[d] == 0 && at / p.how().stride[d] < count).then(|| at / p.how().stride[d])
    };
    rows::each_one(width * n, dx, |row, dx| {
        let (mut sum, b) = (vec![0.0; n], row / height);
        level.run(
            #[inline(always)]
            |fused| {
                for (column, dx) in dx.chunks_exact_mut(n).enumerate() {
                    sum.fill(0.0);
                    for ([u, v], w) in taps(p).zip(w.chunks_exact(n)) {
                        let places = (reader(0, row % height, u, rows), reader(1, column, v, columns));
                        if let (Some(i), Some(j)) = places {
                            add_products(fused, &mut sum, w, &dy[((b * rows + i) * columns + j) * n..][..n]);
                        }
                    }
                    store(dx, &sum, add);
                }
            },
        );
    });
}

/// Some rows of `y` at a time, in `f32`; then these sums in order, in `f64`. What a task has follows from the sizes alone.
pub(super) fn weights<T: Float>(level: Level, p: &Plan, x: &[T], dy: &[T], dw: &mut [T::Acc], add: bool) {
    let ([batch, rows, columns, n], terms) = (p.out(), p.terms());
    let each = PIXELS.div_ceil(columns.max(1));
    let zeros = vec![T::default(); n];
    let parts = rows::collect((batch * rows).div_ceil(each), |part| {
        let mut sums = vec![0.0; terms * n];
        let mut of_dy = vec![0.0; n];
        level.run(
            #[inline(always)]
            |fused| {
                for (row, j) in (part * each..(batch * rows).min((part + 1) * each))
                    .flat_map(|row| (0..columns).map(move |j| (row, j)))
                {
                    let from = &dy[(row * columns + j) * n..][..n];
                    of_dy.iter_mut().zip(from).for_each(|(to, dy)| *to = dy.to_f32());
                    for (tap, sums) in taps(p).zip(sums.chunks_exact_mut(n)) {
                        let x = pixel(p, x, [row / rows, row % rows, j], tap).unwrap_or(&zeros);
                        add_products(fused, sums, &of_dy, x);
                    }
                }
            },
        );
        sums
    });
    let mut total = vec![0.0_f64; terms * n];
    for sums in parts {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
    }
    for (at, dw) in dw.iter_mut().enumerate() {
        let sum = total[at % terms * n + at / terms];
        *dw = T::Acc::narrow(if add { dw.wide() + sum } else { sum });
    }
}
