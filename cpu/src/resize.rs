//! [`latens_kernels::resize`] on the host: two passes, rows of the result shared out, and `f32` between them. Across, channels
//! are lanes; down, whole rows are. Floor: the bytes of the contract, and those between the passes twice.
use crate::once::once;
use crate::{Level, rows};
use alloc::vec;
use latens_kernels::{
    Accumulate, DType, Float,
    resize::{Plan, Table, Tables},
};

/// Entries between the passes that are kept at a time, if an image has no more.
const BETWEEN: usize = 1 << 20;

once! {
    /// See [`latens_kernels::resize::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, tables: &Tables, x: &[T], y: &mut [T]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, tables: &Tables, x: &[T], y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::resize::forward(p, tables, x, y);
    }
    images(p, &mut y[..p.dy().len()], |first, y, between| {
        let [_, height, columns, channels] = p.between();
        rows::each_one(columns * channels, between, |row, to| {
            let (image, of_row) = (first + row / height, row % height);
            let [of_image, stride, column, _] = p.x().strides();
            across(level, tables.forward(1), &x[image * of_image + of_row * stride..], column, channels, to, false);
        });
        let rows = p.out()[1];
        rows::each_one(columns * channels, y, |row, y| {
            let from = &between[row / rows * height * columns * channels..];
            down(level, tables.forward(0).row(row % rows), from, columns * channels, y);
        });
    });
}

once! {
    /// See [`latens_kernels::resize::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(level: Level, p: &Plan, tables: &Tables, dy: &[T], dx: &mut [T]) = backward_impl;
}

fn backward_impl<T: Float>(level: Level, p: &Plan, tables: &Tables, dy: &[T], dx: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::resize::backward(p, tables, dy, dx);
    }
    let add = p.accumulate() == Accumulate::Add;
    images(p, &mut dx[..p.x().len()], |first, dx, between| {
        let [_, height, columns, channels] = p.between();
        let [image, row, column, _] = p.dy().strides();
        rows::each_one(columns * channels, between, |at, to| {
            let from = &dy[(first + at / height) * image..];
            if column == channels {
                return down(level, tables.backward(0).row(at % height), from, row, to);
            }
            for (j, to) in to.chunks_exact_mut(channels).enumerate() {
                down(level, tables.backward(0).row(at % height), &from[j * column..], row, to);
            }
        });
        let width = p.x().dims()[2];
        rows::each_one(width * channels, dx, |row, dx| {
            let from = &between[row * columns * channels..];
            across(level, tables.backward(1), from, channels, channels, dx, add);
        });
    });
}

/// Call `work` for some images at a time: the first of them, their part of the output, and memory for what lies between.
fn images<T: Float>(p: &Plan, out: &mut [T], mut work: impl FnMut(usize, &mut [T], &mut [f32])) {
    let [batch, height, columns, channels] = p.between();
    let image = height * columns * channels;
    if batch == 0 || channels == 0 {
        return;
    }
    let (each, of_out) = ((BETWEEN / image).clamp(1, batch), out.len() / batch);
    let mut between = vec![0.0; each * image];
    for (at, out) in out.chunks_mut(each * of_out).enumerate() {
        let count = out.len() / of_out;
        work(at * each, out, &mut between[..count * image]);
    }
}

/// A row of the result from a row of pixels, `stride` apart.
fn across<A: Float, B: Float>(
    level: Level,
    table: &Table,
    from: &[A],
    stride: usize,
    channels: usize,
    to: &mut [B],
    add: bool,
) {
    let mut sum = vec![0.0_f32; channels];
    level.run(
        #[inline(always)]
        |fused| {
            for (j, to) in to.chunks_exact_mut(channels).enumerate() {
                let (first, weights) = table.row(j);
                sum.fill(0.0);
                for (k, &weight) in weights.iter().enumerate() {
                    let pixel = &from[(first + k) * stride..][..channels];
                    for (sum, x) in sum.iter_mut().zip(pixel) {
                        *sum = fused.mul_add(weight as f32, x.to_f32(), *sum);
                    }
                }
                for (to, &sum) in to.iter_mut().zip(&sum) {
                    *to = B::from_f32(if add { to.to_f32() + sum } else { sum });
                }
            }
        },
    );
}

/// A row of the result from rows `stride` apart, with these weights.
fn down<A: Float, B: Float>(level: Level, (first, weights): (usize, &[f64]), from: &[A], stride: usize, to: &mut [B]) {
    let mut sum = vec![0.0_f32; to.len()];
    level.run(
        #[inline(always)]
        |fused| {
            for (k, &weight) in weights.iter().enumerate() {
                let row = &from[(first + k) * stride..][..to.len()];
                for (sum, x) in sum.iter_mut().zip(row) {
                    *sum = fused.mul_add(weight as f32, x.to_f32(), *sum);
                }
            }
            to.iter_mut().zip(&sum).for_each(|(to, &sum)| *to = B::from_f32(sum));
        },
    );
}
