//! [`latens_kernels::conv2d`] on the host.
//!
//! Patches of some thousand pixels are written one after the other, as rows of a matrix, and multiplied with the taps by the
//! dense product. `dx` is made of patches of `dy`: pixels of `x` that stand alike to the stride are read by the same taps, so
//! each such class is a product of its own, without terms that are not there. With one tap nothing is written: it is a dense
//! product already. Depthwise, channels are lanes. Floor: the multiplications and additions of the contract.
mod depthwise;
mod patches;

use crate::once::once;
use crate::tile::pack::Matrix;
use crate::{Level, linear, rows};
use alloc::{borrow::Cow, vec, vec::Vec};
use latens_kernels::{Accumulate, DType, Float, Layout, conv2d::Plan, linear as dense};
use patches::Patches;

once! {
    /// See [`latens_kernels::conv2d::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        w: &[T],
        bias: Option<&[T::Acc]>,
        y: &mut [T],
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::conv2d::forward(p, x, w, bias, y);
    }
    let (w, n) = (packed(&p.w(), w), p.w().dims()[0]);
    let y = &mut y[..p.pixels() * n];
    if let Some(dense) = one_tap(p, Accumulate::Replace) {
        return linear::forward_at(level, &dense, &packed(&p.x(), x), &w, bias, y);
    }
    if p.depthwise() {
        return depthwise::forward(level, p, x, &w, bias, y);
    }
    let (terms, [_, of_group]) = (p.terms(), p.group());
    for group in 0..p.how().groups {
        let first = group * of_group;
        let w =
            Matrix { data: &w[first * terms..], rows: of_group, columns: terms, down: terms, across: 1 }.transposed();
        let bias = bias.map(|bias| &bias[first..][..of_group]);
        Patches::of_x(p, x, group).tiles(|pixels, patches| {
            let y = &mut y[pixels.start * n..pixels.end * n];
            if n == of_group {
                return linear::product(level, patches, w, bias, y, false);
            }
            let mut sums = vec![0.0_f32; pixels.len() * of_group];
            linear::product(level, patches, w, bias, &mut sums, false);
            rows::each_one(n, y, |row, y| store(&mut y[first..][..of_group], &sums[row * of_group..], false));
        });
    }
}

once! {
    /// See [`latens_kernels::conv2d::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        w: &[T],
        dy: &[T],
        dx: Option<&mut [T]>,
        dw: Option<&mut [T::Acc]>,
        db: Option<&mut [T::Acc]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    dw: Option<&mut [T::Acc]>,
    db: Option<&mut [T::Acc]>,
) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::conv2d::backward(p, x, w, dy, dx, dw, db);
    }
    let (w, dy, n) = (packed(&p.w(), w), packed(&p.dy(), dy), p.w().dims()[0]);
    if let Some(dense) = one_tap(p, p.accumulate()) {
        return linear::backward_at(level, &dense, &packed(&p.x(), x), &w, &dy, dx, dw, db);
    }
    let add = p.accumulate() == Accumulate::Add;
    if let Some(dx) = dx {
        let dx = &mut dx[..p.x().len()];
        match p.depthwise() {
            true => depthwise::inputs(level, p, &w, &dy, dx, add),
            false => inputs(level, p, &w, &dy, dx, add),
        }
    }
    if let Some(dw) = dw {
        let dw = &mut dw[..n * p.terms()];
        match p.depthwise() {
            true => depthwise::weights(level, p, x, &dy, dw, add),
            false => weights(level, p, x, &dy, dw, add),
        }
    }
    if let Some(db) = db {
        let dy = Matrix { data: &dy, rows: p.pixels(), columns: n, down: n, across: 1 };
        linear::columns(dy, &mut db[..n], add);
    }
}

/// The dense product that a convolution with one tap for each pixel is.
fn one_tap(p: &Plan, accumulate: Accumulate) -> Option<dense::Plan> {
    let ([.., channels], [n, taps_y, taps_x, _], how) = (p.x().dims(), p.w().dims(), p.how());
    if [taps_y, taps_x, how.groups] != [1; 3] || how.stride != [1; 2] || how.padding != [0; 2] {
        return None;
    }
    let [x, w, dy] = [[p.pixels(), channels], [n, channels], [p.pixels(), n]].map(Layout::packed);
    dense::plan_backward(&x.ok()?, &w.ok()?, &dy.ok()?, accumulate).ok()
}

/// The elements without gaps.
fn packed<'a, T: Float>(layout: &Layout<4>, data: &'a [T]) -> Cow<'a, [T]> {
    if layout.is_packed() {
        return Cow::Borrowed(&data[..layout.len()]);
    }
    let ([a, b, c, _], [of_a, of_b, of_c, _]) = (layout.dims(), layout.strides());
    let mut to = Vec::with_capacity(layout.len());
    for at in 0..a * b * c {
        let [a, b, c] = [at / c / b, at / c % b, at % c];
        to.extend_from_slice(&data[a * of_a + b * of_b + c * of_c..][..layout.dims()[3]]);
    }
    Cow::Owned(to)
}

/// Sums to their output.
fn store<T: Float>(to: &mut [T], sums: &[f32], add: bool) {
    for (to, &sum) in to.iter_mut().zip(sums) {
        *to = T::from_f32(if add { to.to_f32() + sum } else { sum });
    }
}

/// `dx`, class by class and group by group.
fn inputs<T: Float>(level: Level, p: &Plan, w: &[T], dy: &[T], dx: &mut [T], add: bool) {
    let ([_, height, width, all], [channels, of_group]) = (p.x().dims(), p.group());
    let (terms, [_, _, taps_x, _]) = (p.terms(), p.w().dims());
    for class in patches::classes(p) {
        for group in 0..p.how().groups {
            let mut turned = Vec::with_capacity(class.terms() * of_group * channels);
            for (u, v) in class.taps() {
                for o in 0..of_group {
                    let at = (group * of_group + o) * terms + (u * taps_x + v) * channels;
                    turned.extend_from_slice(&w[at..][..channels]);
                }
            }
            let rows = class.terms() * of_group;
            let turned = Matrix { data: &turned, rows, columns: channels, down: channels, across: 1 };
            Patches::of_dy(p, dy, group, &class).tiles(|pixels, patches| {
                if p.how().stride == [1; 2] && channels == all {
                    return linear::product(
                        level,
                        patches,
                        turned,
                        None,
                        &mut dx[pixels.start * all..pixels.end * all],
                        add,
                    );
                }
                let mut sums = vec![0.0_f32; pixels.len() * channels];
                linear::product(level, patches, turned, None, &mut sums, false);
                for (pixel, sums) in pixels.zip(sums.chunks_exact(channels.max(1))) {
                    let [b, row, column] = class.pixel(pixel);
                    let at = ((b * height + row) * width + column) * all + group * channels;
                    store(&mut dx[at..][..channels], sums, add);
                }
            });
        }
    }
}

/// `dw`, tile by tile of the pixels in their order.
fn weights<T: Float>(level: Level, p: &Plan, x: &[T], dy: &[T], dw: &mut [T::Acc], add: bool) {
    let (terms, n, [_, of_group]) = (p.terms(), p.w().dims()[0], p.group());
    if p.pixels() == 0 && !add {
        dw.fill(T::Acc::default());
    }
    for (group, dw) in dw.chunks_exact_mut((of_group * terms).max(1)).enumerate() {
        Patches::of_x(p, x, group).tiles(|pixels, patches| {
            let dy = &dy[pixels.start * n + group * of_group..];
            let dy = Matrix { data: dy, rows: pixels.len(), columns: of_group, down: n, across: 1 };
            linear::product(level, dy.transposed(), patches, None, dw, add || pixels.start > 0);
        });
    }
}
