//! [`latens_kernels::pool`] on the host: a row of the output is a task, channels are lanes. Floor: the bytes of the contract.
use crate::once::once;
use crate::{Level, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Accumulate, DType, Float, Layout,
    pool::{Plan, Pooling},
};

once! {
    /// See [`latens_kernels::pool::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, x: &[T], y: &mut [T], indices: Option<&mut [u32]>) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], y: &mut [T], indices: Option<&mut [u32]>) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::pool::forward(p, x, y, indices);
    }
    let [_, _, columns, channels] = p.out();
    let (width, y) = (columns * channels, &mut y[..p.dy().len()]);
    match (p.pooling(), indices) {
        (Pooling::Max, Some(indices)) => {
            let indices = &mut indices[..y.len()];
            rows::each(width, y, indices, |row, y, indices| largest(level, p, x, row, y, Some(indices)));
        }
        (Pooling::Max, None) => rows::each_one(width, y, |row, y| largest(level, p, x, row, y, None)),
        _ => rows::each_one(width, y, |row, y| average(level, p, x, row, y)),
    }
}

/// The channels of a pixel.
fn pixel<'a, T>(layout: &Layout<4>, data: &'a [T], b: usize, row: usize, column: usize) -> &'a [T] {
    let [image, of_row, of_column, _] = layout.strides();
    &data[b * image + row * of_row + column * of_column..][..layout.dims()[3]]
}

/// Row `row` of all rows of `y`.
fn largest<T: Float>(level: Level, p: &Plan, x: &[T], row: usize, y: &mut [T], mut indices: Option<&mut [u32]>) {
    let ([_, rows, _, channels], width, layout) = (p.out(), p.x().dims()[2], p.x());
    let (b, down) = (row / rows, p.pixels(0, row % rows));
    let (mut top, mut at): (Vec<f32>, Vec<u32>) = (vec![0.0; channels], vec![0; channels]);
    level.run(
        #[inline(always)]
        |_| {
            for (j, y) in y.chunks_exact_mut(channels).enumerate() {
                let across = p.pixels(1, j);
                let first = pixel(&layout, x, b, down.start, across.start);
                top.iter_mut().zip(first).for_each(|(top, x)| *top = x.to_f32());
                at.fill((down.start * width + across.start) as u32);
                for (row, column) in down.clone().flat_map(|row| across.clone().map(move |column| (row, column))) {
                    let (here, x) = ((row * width + column) as u32, pixel(&layout, x, b, row, column));
                    for ((top, at), x) in top.iter_mut().zip(&mut at).zip(x) {
                        let x = x.to_f32();
                        // A NaN gives way to any number, an equal one to none.
                        let more = x > *top || (top.is_nan() && !x.is_nan());
                        *top = if more { x } else { *top };
                        *at = if more { here } else { *at };
                    }
                }
                y.iter_mut().zip(&top).for_each(|(y, &top)| *y = T::from_f32(top));
                if let Some(indices) = &mut indices {
                    indices[j * channels..][..channels].copy_from_slice(&at);
                }
            }
        },
    );
}

fn average<T: Float>(level: Level, p: &Plan, x: &[T], row: usize, y: &mut [T]) {
    let ([_, rows, _, channels], layout) = (p.out(), p.x());
    let (b, down) = (row / rows, p.pixels(0, row % rows));
    let mut sum = vec![0.0_f32; channels];
    level.run(
        #[inline(always)]
        |_| {
            for (j, y) in y.chunks_exact_mut(channels).enumerate() {
                let across = p.pixels(1, j);
                sum.fill(0.0);
                for (row, column) in down.clone().flat_map(|row| across.clone().map(move |column| (row, column))) {
                    let x = pixel(&layout, x, b, row, column);
                    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.to_f32());
                }
                let divisor = p.divisor(down.len(), across.len()) as f32;
                y.iter_mut().zip(&sum).for_each(|(y, &sum)| *y = T::from_f32(sum / divisor));
            }
        },
    );
}

once! {
    /// See [`latens_kernels::pool::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(level: Level, p: &Plan, dy: &[T], indices: &[u32], dx: &mut [T]) = backward_impl;
}

fn backward_impl<T: Float>(level: Level, p: &Plan, dy: &[T], indices: &[u32], dx: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::pool::backward(p, dy, indices, dx);
    }
    let [_, height, width, channels] = p.x().dims();
    let (of_dy, of_indices, add) = (p.dy(), p.indices(), p.accumulate() == Accumulate::Add);
    rows::each_one(width * channels, &mut dx[..p.x().len()], |row, dx| {
        let (b, row) = (row / height, row % height);
        let mut sum = vec![0.0_f32; channels];
        level.run(
            #[inline(always)]
            |_| {
                for (column, dx) in dx.chunks_exact_mut(channels).enumerate() {
                    sum.fill(0.0);
                    let across = p.windows(1, column);
                    for (i, j) in p.windows(0, row).flat_map(|i| across.clone().map(move |j| (i, j))) {
                        let dy = sum.iter_mut().zip(pixel(&of_dy, dy, b, i, j));
                        if p.pooling() == Pooling::Max {
                            let here = (row * width + column) as u32;
                            for ((sum, dy), &index) in dy.zip(pixel(&of_indices, indices, b, i, j)) {
                                *sum += if index == here { dy.to_f32() } else { 0.0 };
                            }
                        } else {
                            let divisor = p.divisor(p.pixels(0, i).len(), p.pixels(1, j).len()) as f32;
                            dy.for_each(|(sum, dy)| *sum += dy.to_f32() / divisor);
                        }
                    }
                    for (dx, &sum) in dx.iter_mut().zip(&sum) {
                        *dx = T::from_f32(if add { dx.to_f32() + sum } else { sum });
                    }
                }
            },
        );
    });
}
