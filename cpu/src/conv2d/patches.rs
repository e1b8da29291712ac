//! What taps read, pixel by pixel, as the rows of a matrix.
use crate::{rows, tile::pack::Matrix};
use alloc::{vec, vec::Vec};
use core::ops::Range;
use latens_kernels::{Float, conv2d::Plan};

/// Entries of the patches that are written at a time, and rows of them at least: taps are packed anew for each time.
const ENTRIES: usize = 1 << 20;
const ROWS: usize = 512;

/// Along a direction: places `start + step * i`, of which each reads at these offsets from `begin + pace * i`.
#[derive(Clone)]
struct Axis {
    count: usize,
    start: usize,
    step: usize,
    begin: isize,
    pace: usize,
    /// A tap and its offset.
    taps: Vec<(usize, isize)>,
}

/// The pixels of `x` that the same taps read: one place of each stride.
pub(super) struct Class {
    batch: usize,
    axes: [Axis; 2],
}

impl Class {
    /// Taps that read.
    pub(super) fn terms(&self) -> usize {
        self.axes[0].taps.len() * self.axes[1].taps.len()
    }
    /// In order.
    pub(super) fn taps(&self) -> impl Iterator<Item = (usize, usize)> {
        let [down, across] = [&self.axes[0].taps, &self.axes[1].taps];
        down.iter().flat_map(move |(u, _)| across.iter().map(move |(v, _)| (*u, *v)))
    }
    /// Image, row and column of a pixel.
    pub(super) fn pixel(&self, at: usize) -> [usize; 3] {
        let [down, across] = &self.axes;
        let [b, i, j] = split(at, down.count, across.count);
        [b, down.start + i * down.step, across.start + j * across.step]
    }
}

fn split(at: usize, rows: usize, columns: usize) -> [usize; 3] {
    [at / columns / rows, at / columns % rows, at % columns]
}

/// The classes of `x`: each pixel is in one.
pub(super) fn classes(p: &Plan) -> Vec<Class> {
    let (how, [batch, height, width, _], [_, taps_y, taps_x, _]) = (p.how(), p.x().dims(), p.w().dims());
    // Tap u of place i of y reads i s - p + u d: for pixel at with (at + p) % s = rest, it is place (at + p) / s - u d / s
    // of those u with u d % s = rest.
    let axis = |d: usize, size: usize, taps: usize, start: usize| {
        let (stride, dilation, at) = (how.stride[d], how.dilation[d], start + how.padding[d]);
        let reads = (0..taps).filter(|u| u * dilation % stride == at % stride);
        let taps = reads.map(|u| (u, -((u * dilation / stride) as isize))).collect();
        let count = size.saturating_sub(start).div_ceil(stride);
        Axis { count, start, step: stride, begin: (at / stride) as isize, pace: 1, taps }
    };
    let mut all = Vec::new();
    for (top, left) in (0..how.stride[0].min(height)).flat_map(|i| (0..how.stride[1].min(width)).map(move |j| (i, j))) {
        all.push(Class { batch, axes: [axis(0, height, taps_y, top), axis(1, width, taps_x, left)] });
    }
    all
}

/// Rows of numbers that taps read, for one group of channels.
pub(super) struct Patches<'a, T> {
    from: &'a [T],
    /// Of image, row and column.
    strides: [usize; 3],
    sizes: [usize; 2],
    channels: Range<usize>,
    pixels: usize,
    axes: [Axis; 2],
    /// Taps of a row lie one after the other in memory.
    joined: bool,
}

impl<'a, T: Float> Patches<'a, T> {
    /// Of `x`, a row for each pixel of `y`.
    pub(super) fn of_x(p: &Plan, x: &'a [T], group: usize) -> Self {
        let ([_, rows, columns, _], [_, taps_y, taps_x, _], how) = (p.out(), p.w().dims(), p.how());
        let axes = [(rows, taps_y), (columns, taps_x)];
        let axis = |d: usize| Axis {
            count: axes[d].0,
            start: 0,
            step: 1,
            begin: -(how.padding[d] as isize),
            pace: how.stride[d],
            taps: (0..axes[d].1).map(|u| (u, (u * how.dilation[d]) as isize)).collect(),
        };
        let ([_, height, width, all], [channels, _]) = (p.x().dims(), p.group());
        let [image, row, column, _] = p.x().strides();
        Self {
            from: x,
            strides: [image, row, column],
            sizes: [height, width],
            channels: group * channels..(group + 1) * channels,
            pixels: p.pixels(),
            axes: [0, 1].map(axis),
            joined: how.dilation[1] == 1 && channels == all && column == all,
        }
    }

    /// Of `dy`, which has no gaps, a row for each pixel of a class.
    pub(super) fn of_dy(p: &Plan, dy: &'a [T], group: usize, class: &Class) -> Self {
        let ([_, rows, columns, n], [_, of_group]) = (p.out(), p.group());
        Self {
            from: dy,
            strides: [rows * columns * n, columns * n, n],
            sizes: [rows, columns],
            channels: group * of_group..(group + 1) * of_group,
            pixels: class.batch * class.axes[0].count * class.axes[1].count,
            axes: class.axes.clone(),
            joined: false,
        }
    }

    /// Call `work` with some pixels at a time and their rows, in order. How many follows from the sizes alone.
    pub(super) fn tiles(&self, mut work: impl FnMut(Range<usize>, Matrix<'_, T>)) {
        let terms = self.axes[0].taps.len() * self.axes[1].taps.len() * self.channels.len();
        let most = (ENTRIES / terms.max(1)).max(ROWS).min(self.pixels);
        let mut patches = vec![T::default(); most * terms];
        for start in (0..self.pixels).step_by(most.max(1)) {
            let pixels = start..self.pixels.min(start + most);
            let patches = &mut patches[..pixels.len() * terms];
            rows::each_one(terms, patches, |row, to| self.row(start + row, to));
            let matrix = Matrix { data: patches, rows: pixels.len(), columns: terms, down: terms, across: 1 };
            work(pixels, matrix);
        }
    }

    /// What is read for a pixel.
    fn row(&self, pixel: usize, to: &mut [T]) {
        let [down, across] = &self.axes;
        let ([b, i, j], channels) = (split(pixel, down.count, across.count), self.channels.len());
        let [top, left] = [(down, i), (across, j)].map(|(axis, i)| axis.begin + (i * axis.pace) as isize);
        for ((_, offset), to) in down.taps.iter().zip(to.chunks_exact_mut(across.taps.len() * channels)) {
            let Some(row) = within(top + offset, self.sizes[0]) else {
                to.fill(T::default());
                continue;
            };
            let row = b * self.strides[0] + row * self.strides[1] + self.channels.start;
            if self.joined && left >= 0 && left as usize + across.taps.len() <= self.sizes[1] {
                to.copy_from_slice(&self.from[row + left as usize * self.strides[2]..][..to.len()]);
                continue;
            }
            for ((_, offset), to) in across.taps.iter().zip(to.chunks_exact_mut(channels)) {
                match within(left + offset, self.sizes[1]) {
                    Some(column) => to.copy_from_slice(&self.from[row + column * self.strides[2]..][..channels]),
                    None => to.fill(T::default()),
                }
            }
        }
    }
}

fn within(at: isize, size: usize) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < size)
}
