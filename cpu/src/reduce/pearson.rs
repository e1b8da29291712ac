//! [`latens_kernels::reduce::pearson`] on the host: by tasks as [`moments`](super::moments), two columns at once.
use super::moments::{COLUMNS, FEW, Moments, ROWS, anchors, center};
use crate::once::once;
use crate::{Level, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Accumulate, DType, Float,
    reduce::pearson::{self as family, Plan},
};

/// Moments of some columns of both, and the sums of products of differences from the means.
struct Together {
    x: Moments,
    y: Moments,
    cross: Vec<f64>,
}

impl Together {
    fn none(n: usize) -> Self {
        Self { x: Moments::none(n), y: Moments::none(n), cross: vec![0.0; n] }
    }

    fn join(&mut self, other: &Self) {
        let weight = self.x.count * other.x.count / (self.x.count + other.x.count);
        for (at, cross) in self.cross.iter_mut().enumerate() {
            let off = (other.x.mean[at] - self.x.mean[at]) * (other.y.mean[at] - self.y.mean[at]);
            *cross += other.cross[at] + off * weight;
        }
        self.x.join(&other.x);
        self.y.join(&other.y);
    }

    /// With some rows, at most [`FEW`]; their parts of both columns have one width.
    fn join_rows<T: Float>(&mut self, level: Level, x: &[&[T]], y: &[&[T]]) {
        let (mut from, mut mean) = ([[0.0_f32; COLUMNS]; 2], [[0.0_f32; COLUMNS]; 2]);
        let (mut cross, n) = ([0.0_f32; COLUMNS], self.cross.len());
        level.run(
            #[inline(always)]
            |_| {
                for (some, (from, mean)) in [x, y].into_iter().zip(from.iter_mut().zip(&mut mean)) {
                    anchors(some[0], from);
                    center(some, from, mean);
                }
                for (x, y) in x.iter().zip(y) {
                    let others = from[1].iter().zip(&mean[1]).zip(*y);
                    let ours = from[0].iter().zip(&mean[0]).zip(*x);
                    for (cross, (((from, mean), x), ((base, middle), y))) in cross[..n].iter_mut().zip(ours.zip(others))
                    {
                        *cross += ((x.to_f32() - from) - mean) * ((y.to_f32() - base) - middle);
                    }
                }
            },
        );
        let count = x.len() as f64;
        let weight = self.x.count * count / (self.x.count + count);
        for (at, to) in self.cross.iter_mut().enumerate() {
            let off = |of: usize, held: &Moments| f64::from(from[of][at]) + f64::from(mean[of][at]) - held.mean[at];
            *to += f64::from(cross[at]) + off(0, &self.x) * off(1, &self.y) * weight;
        }
        self.x.join_rows(level, x);
        self.y.join_rows(level, y);
    }
}

once! {
    /// See [`latens_kernels::reduce::pearson::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        y: &[T],
        r: &mut [T::Acc],
        saved: &mut [T::Acc],
    ) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], y: &[T], r: &mut [T::Acc], saved: &mut [T::Acc]) {
    let [rows, n] = p.x().dims();
    if T::DTYPE == DType::F64 || rows == 0 {
        return family::forward(p, x, y, r, saved);
    }
    let ([x_stride, y_stride], groups) = ([p.x(), p.y()].map(|layout| layout.strides()[0]), rows.div_ceil(ROWS));
    let part = |task: usize| {
        let (first, begin) = (task / groups * COLUMNS, task % groups * ROWS);
        let (width, end) = (COLUMNS.min(n - first), rows.min(begin + ROWS));
        let (mut all, mut repeated) =
            (Together::none(width), vec![T::default(); if p.shared() { FEW * width } else { 0 }]);
        for begin in (begin..end).step_by(FEW) {
            let (mut some, count) = ([[&x[..0]; FEW]; 2], FEW.min(end - begin));
            for (i, row) in repeated.chunks_mut(width).take(count).enumerate() {
                row.fill(y[(begin + i) * y_stride]);
            }
            for i in 0..count {
                some[0][i] = &x[(begin + i) * x_stride + first..][..width];
                some[1][i] = match p.shared() {
                    true => &repeated[i * width..][..width],
                    false => &y[(begin + i) * y_stride + first..][..width],
                };
            }
            all.join_rows(level, &some[0][..count], &some[1][..count]);
        }
        all
    };
    let parts = rows::collect(n.div_ceil(COLUMNS) * groups, part);
    for (tile, parts) in parts.chunks(groups).enumerate() {
        let mut all = Together::none(parts[0].cross.len());
        parts.iter().for_each(|part| all.join(part));
        for at in 0..all.cross.len() {
            let [size, extent] = [&all.x, &all.y].map(|of| latens_kernels::math::sqrt(of.square[at]));
            let both = T::Acc::narrow(size * extent).wide();
            let value = if both == 0.0 { 0.0 } else { (all.cross[at] / size / extent).clamp(-1.0, 1.0) };
            let j = tile * COLUMNS + at;
            r[j] = T::Acc::narrow(value);
            for (to, number) in [all.x.center(at), all.y.center(at), size, extent].into_iter().enumerate() {
                saved[to * n + j] = T::Acc::narrow(number);
            }
        }
    }
}

/// What a column is to its entries: means, what differences are multiplied with, and two slopes.
#[derive(Clone, Copy, Default)]
struct Column {
    mean: f32,
    center: f32,
    by_x: f32,
    by_y: f32,
    r: f32,
    slope_x: f32,
    slope_y: f32,
}

impl Column {
    fn new<A: Float>(at: usize, n: usize, r: &[A], saved: &[A], dr: &[A]) -> Self {
        let [mean, center, size, extent] = [0, 1, 2, 3].map(|of| saved[of * n + at].to_f32());
        if size * extent == 0.0 {
            return Self::default();
        }
        let (r, dr) = (r[at].to_f32(), dr[at].to_f32());
        Self { mean, center, by_x: 1.0 / size, by_y: 1.0 / extent, r, slope_x: dr / size, slope_y: dr / extent }
    }

    /// The gradients of an entry of `x` and of one of `y`; of nothing, if the column has no spread.
    #[inline(always)]
    fn slopes(&self, x: f32, y: f32) -> [f32; 2] {
        let (u, w) = ((x - self.mean) * self.by_x, (y - self.center) * self.by_y);
        [self.slope_x * (w - self.r * u), self.slope_y * (u - self.r * w)]
    }
}

once! {
    /// See [`latens_kernels::reduce::pearson::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        y: &[T],
        r: &[T::Acc],
        saved: &[T::Acc],
        dr: &[T::Acc],
        dx: Option<&mut [T]>,
        dy: Option<&mut [T]>,
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    y: &[T],
    r: &[T::Acc],
    saved: &[T::Acc],
    dr: &[T::Acc],
    dx: Option<&mut [T]>,
    dy: Option<&mut [T]>,
) {
    if T::DTYPE == DType::F64 {
        return family::backward(p, x, y, r, saved, dr, dx, dy);
    }
    let ([rows, n], add, shared) = (p.x().dims(), p.accumulate() == Accumulate::Add, p.shared());
    let columns: Vec<Column> = (0..n).map(|at| Column::new(at, n, r, saved, dr)).collect();
    let put = |to: &mut T, slope: f32| *to = T::from_f32(if add { to.to_f32() + slope } else { slope });
    let row_of = |i: usize| &x[i * p.x().strides()[0]..][..n];
    let of_y = |i: usize| &y[i * p.y().strides()[0]..][..p.y().dims()[1]];
    let each = |which: usize, i: usize, to: &mut [T]| {
        let (x, y) = (row_of(i), of_y(i));
        level.run(
            #[inline(always)]
            |_| match shared {
                true => to.iter_mut().zip(x).zip(&columns).for_each(|((to, x), column)| {
                    put(to, column.slopes(x.to_f32(), y[0].to_f32())[which]);
                }),
                false => to.iter_mut().zip(x).zip(y).zip(&columns).for_each(|(((to, x), y), column)| {
                    put(to, column.slopes(x.to_f32(), y.to_f32())[which]);
                }),
            },
        );
    };
    if let Some(dx) = dx {
        rows::each_one(n, &mut dx[..rows * n], |i, dx| each(0, i, dx));
    }
    match dy {
        Some(dy) if shared => rows::each_one(1, &mut dy[..rows], |i, dy| {
            let y = of_y(i)[0].to_f32();
            let sum = row_of(i)
                .iter()
                .zip(&columns)
                .map(|(x, column)| f64::from(column.slopes(x.to_f32(), y)[1]))
                .sum::<f64>();
            put(&mut dy[0], sum as f32);
        }),
        Some(dy) => rows::each_one(n, &mut dy[..rows * n], |i, dy| each(1, i, dy)),
        None => {}
    }
}
