//! The product of two matrices of any strides.
//!
//! A task takes some panels of columns, packs them for its second-level cache, and passes every row over them: a tile of
//! rows stays in the first-level cache meanwhile. No sum is shared between tasks, so threads cannot change its order.
#![allow(unsafe_code)]
use crate::cast::cast;
use crate::level::{Level, prefetch_line};
use crate::tile::pack::{Matrix, in_pairs, lanes, rows, steps};
use crate::tile::{LANES, Panels, ROWS, floats};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, marker::PhantomData};
use latens_kernels::Float;

/// Entries of the packed panels of a task: a quarter of a megabyte, half of the second-level cache of Zen 3. As many
/// as filled it took 1.1 to 1.2 of the time there.
const PANELS: usize = 1 << 16;

/// `out = a·b + bias`, or `out += ..`; `out` is packed. The order of a sum depends on the sizes only.
pub(super) fn product<T: Float, O: Float>(
    level: Level,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(b.rows == k && out.len() == m * n && a.data.len() >= a.span() && b.data.len() >= b.span());
    if out.is_empty() {
        return;
    }
    let bias: Option<Vec<f32>> = bias.map(|bias| bias[..n].iter().map(|x| x.to_f32()).collect());
    let steps = steps::<T>(level, k);
    // Rows of f32 are read where they lie.
    let plain = cast::<T, f32>(a.data).filter(|_| a.across == 1);
    let packed = if plain.is_some() { Vec::new() } else { packed(level, a, steps) };

    let panels = n.div_ceil(LANES);
    let group = (PANELS / (LANES * steps).max(1)).clamp(1, 8).min(panels.div_ceil(2 * crate::rows::threads()));
    let (groups, tiles) = (panels.div_ceil(group), m.div_ceil(ROWS));
    // Few panels: rows are shared out as well, and panels packed more than once.
    let parts = (4 * crate::rows::threads()).div_ceil(groups).min(tiles);
    let part = tiles.div_ceil(parts);
    let out = Out { start: out.as_mut_ptr(), n, len: out.len(), borrow: PhantomData };
    let work = |task: usize| {
        let (first, start) = (task % groups * group, task / groups * part);
        let mut right = Panels::new(group.min(panels - first) * LANES * steps);
        for (panel, to) in right.chunks_exact_mut((LANES * steps).max(1)).enumerate() {
            level.run(
                #[inline(always)]
                |_| lanes(level, b, (first + panel) * LANES, to),
            );
        }
        let mut tile = [[0.0; LANES]; ROWS];
        for top in (start..(start + part).min(tiles)).map(|tile| tile * ROWS) {
            for panel in 0..group.min(panels - first) {
                let row = |i: usize| (top + i).min(m - 1);
                let right = &right[panel * LANES * steps..][..LANES * steps];
                let left = (first + panel) * LANES;
                for row in top..(top + ROWS).min(m) {
                    out.ahead(row, left);
                }
                if let Some(data) = plain {
                    level.wide(floats(right), from_fn(|i| &data[row(i) * a.down..][..k]), &mut tile);
                } else {
                    let from: [&[u32]; ROWS] = from_fn(|i| &packed[row(i) * steps..][..steps]);
                    match in_pairs::<T>(level) {
                        true => level.paired(right, from, &mut tile),
                        false => level.wide(floats(right), from.map(floats), &mut tile),
                    }
                }
                for (row, sums) in tile.iter().enumerate().take(m - top) {
                    // SAFETY: tasks differ in `first` or in `start`, so no other one writes these entries.
                    let to = unsafe { out.row(top + row, left, (n - left).min(LANES)) };
                    let bias = bias.as_deref().map(|bias| &bias[left..]);
                    level.run(
                        #[inline(always)]
                        |_| finish(sums, bias, add, to),
                    );
                }
            }
        }
    };
    crate::rows::collect(groups * parts, work);
}

/// The rows of `a`, each in `steps` words.
fn packed<T: Float>(level: Level, a: Matrix<'_, T>, steps: usize) -> Vec<u32> {
    let mut packed = vec![0; a.rows * steps];
    each(packed.chunks_mut((ROWS * steps).max(1)), |at, to| {
        level.run(
            #[inline(always)]
            |_| rows(level, a, at * ROWS, to),
        )
    });
    packed
}

/// Sums of one row, with its bias, to the output.
#[inline(always)]
fn finish<O: Float>(sums: &[f32; LANES], bias: Option<&[f32]>, add: bool, to: &mut [O]) {
    let mut sums = *sums;
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    if add {
        sums.iter_mut().zip(&*to).for_each(|(sum, old)| *sum += old.to_f32());
    }
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = O::from_f32(sum));
}

/// An output whose parts are written by several threads.
struct Out<'a, O> {
    start: *mut O,
    n: usize,
    len: usize,
    borrow: PhantomData<&'a mut [O]>,
}

// SAFETY: it is a borrowed slice of elements that may cross threads; `row` hands out each part once.
unsafe impl<O: Send> Sync for Out<'_, O> {}

impl<O> Out<'_, O> {
    /// Ask for the memory of the tile's part of a row: rows lie far apart, and writing to them would wait for each.
    fn ahead(&self, row: usize, column: usize) {
        for line in (0..LANES * size_of::<O>()).step_by(64) {
            prefetch_line(self.start.wrapping_add(row * self.n + column).wrapping_byte_add(line));
        }
    }

    /// `count` entries of a row, from `column` on.
    ///
    /// # Safety
    /// No two such parts that are alive at once meet.
    #[allow(clippy::mut_from_ref)] // that is the promise
    unsafe fn row(&self, row: usize, column: usize, count: usize) -> &mut [O] {
        let at = row * self.n + column;
        assert!(at + count <= self.len);
        // SAFETY: inside of the borrowed slice, and nobody else's by the promise.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(at), count) }
    }
}

/// Call `work` for every part, on every core where there are threads.
fn each<'a>(parts: core::slice::ChunksMut<'a, u32>, work: impl Fn(usize, &'a mut [u32]) + Sync) {
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        parts.enumerate().par_bridge().for_each(|(at, part)| work(at, part));
    }
    #[cfg(not(feature = "std"))]
    parts.enumerate().for_each(|(at, part)| work(at, part));
}

/// [`product`] of `f64`, in plain loops: it is not for speed.
pub(super) fn exact<T: Float, O: Float>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
) {
    let n = b.columns;
    for (at, out) in out.iter_mut().enumerate() {
        let sum: f64 = (0..a.columns).map(|c| a.at(at / n, c).wide() * b.at(c, at % n).wide()).sum();
        let sum = sum + bias.map_or(0.0, |bias| bias[at % n].wide());
        *out = O::narrow(if add { out.wide() } else { 0.0 } + sum);
    }
}
