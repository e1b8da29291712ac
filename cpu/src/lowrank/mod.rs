//! [`latens_kernels::lowrank`] on the host.
//!
//! A task is a strip of rows, or of columns, of one matrix: its sums belong to it alone and are made in the order of their
//! terms, so neither threads nor strips change them. The gradient is added to the memory strip by strip, just before the
//! strip is multiplied.
mod orthogonalise;
mod tile;

use crate::cast::{cast, cast_mut};
use crate::once::once;
use crate::simd::best;
use alloc::{vec, vec::Vec};
use latens_kernels::{
    Float,
    lowrank::{self, Matrix, Plan},
};
pub use orthogonalise::orthogonalise;
use tile::{Ahead, LANES, ROWS, Rows, Tile, products};

pub use latens_kernels::lowrank::resize;

/// Rows of a strip: tiles, of which the memory stays in the second-level cache.
const STRIP: usize = 4 * ROWS;
/// Columns of a strip of the product from the right, and rows that it takes at a time.
const SLICE: usize = 32 * ROWS;
const DEEP: usize = 64;
/// Panels of rows that are made before they are taken off: with these rows of the memory they stay in the second-level cache.
const PANELS: usize = 32;
const PART: usize = PANELS * LANES;

once! {
    /// See [`latens_kernels::lowrank::left`].
    pub fn left<T>(
        p: &Plan<'_>,
        g: &[T],
        e: &mut [T::Acc],
        q: &[T::Acc],
        left: &mut [T::Acc],
        dropped: &mut [u32],
    ) = left_impl;
}

fn left_impl<T: Float>(
    p: &Plan<'_>,
    g: &[T],
    e: &mut [T::Acc],
    q: &[T::Acc],
    left: &mut [T::Acc],
    dropped: &mut [u32],
) {
    let (Some(e), Some(q), Some(left)) =
        (cast_mut::<_, f32>(&mut *e), cast::<_, f32>(q), cast_mut::<_, f32>(&mut *left))
    else {
        return lowrank::left(p, g, e, q, left, dropped);
    };
    let rank = p.rank();
    let panels = Panels::of(p.matrices().map(|m| (m.column, m.segment.columns)), q, rank);
    let mut tasks = Vec::new();
    let (mut e, mut left) = (Rest::new(e), Rest::new(left));
    for (at, Matrix { segment, .. }) in p.matrices().enumerate() {
        for top in (0..segment.rows).step_by(STRIP) {
            let (rows, start) = (STRIP.min(segment.rows - top), segment.start + top * segment.columns);
            tasks.push((at, start, segment.columns, e.take(start, rows * segment.columns), left.next(rows * rank)));
        }
    }
    let lost = crate::rows::each_of(tasks, |(at, start, columns, e, left)| {
        let gradient = &g[start..][..e.len()];
        let lost = best(
            #[inline(always)]
            |_| fold(gradient, e),
        );
        for (top, left) in left.chunks_mut((ROWS * rank).max(1)).enumerate() {
            // While rows are multiplied, as many of the next strip are asked for, wherever they belong.
            let (data, next) = (&e[top * ROWS * columns..], e.len() + top * ROWS * columns);
            let ahead = [Ahead::of(e, next, ROWS), Ahead::of(g, start + next, ROWS)];
            let rows = Rows { data, count: left.len() / rank, down: columns, across: 1, ahead };
            for panel in 0..rank.div_ceil(LANES) {
                let mut tile = Tile::default();
                products(rows, panels.of_matrix(at, panel), false, &mut tile);
                scatter(&tile, left, rank, panel);
            }
        }
        (at, lost)
    });
    dropped[..p.table().count()].fill(0);
    lost.into_iter().for_each(|(at, lost)| dropped[at] = dropped[at].wrapping_add(lost));
}

/// `e += g` where that is finite; how often it is not.
#[inline(always)]
fn fold<T: Float>(g: &[T], e: &mut [f32]) -> u32 {
    let mut lost = 0;
    for (e, g) in e.iter_mut().zip(g) {
        let sum = *e + g.to_f32();
        let good = sum.is_finite();
        *e = if good { sum } else { *e };
        lost += u32::from(!good);
    }
    lost
}

/// A tile into its columns of a factor.
fn scatter(tile: &Tile, factor: &mut [f32], rank: usize, panel: usize) {
    let width = LANES.min(rank - panel * LANES);
    for (sums, row) in tile.iter().zip(factor.chunks_exact_mut(rank)) {
        row[panel * LANES..][..width].copy_from_slice(&sums[..width]);
    }
}

once! {
    /// See [`latens_kernels::lowrank::right`].
    pub fn right<A>(p: &Plan<'_>, a: &[A], left: &[A], q: &mut [A]) = right_impl;
}

fn right_impl<A: Float>(p: &Plan<'_>, a: &[A], left: &[A], q: &mut [A]) {
    let (Some(a), Some(left), Some(q)) = (cast::<_, f32>(a), cast::<_, f32>(left), cast_mut::<_, f32>(&mut *q)) else {
        return lowrank::right(p, a, left, q);
    };
    let rank = p.rank();
    let panels = Panels::of(p.matrices().map(|m| (m.row, m.segment.rows)), left, rank);
    let mut tasks = Vec::new();
    let mut q = Rest::new(q);
    for (at, Matrix { segment, .. }) in p.matrices().enumerate() {
        for start in (0..segment.columns).step_by(SLICE) {
            tasks.push((at, segment, start, q.next(SLICE.min(segment.columns - start) * rank)));
        }
    }
    crate::rows::each_of(tasks, |(at, segment, start, q)| {
        let columns = q.len() / rank.max(1);
        let mut tiles = vec![Tile::default(); columns.div_ceil(ROWS)];
        for panel in 0..rank.div_ceil(LANES) {
            let panel_lanes = panels.of_matrix(at, panel);
            for (part, lanes) in panel_lanes.chunks(DEEP).enumerate() {
                for (i, tile) in tiles.iter_mut().enumerate() {
                    let first = segment.start + part * DEEP * segment.columns + start + i * ROWS;
                    let (count, across) = (ROWS.min(columns - i * ROWS), segment.columns);
                    let (data, ahead) = (&a[first..segment.end()], [Ahead::of(a, first + DEEP * across, across); 2]);
                    products(Rows { data, count, down: 1, across, ahead }, lanes, part > 0, tile);
                }
            }
            tiles.iter().zip(q.chunks_mut(ROWS * rank)).for_each(|(tile, q)| scatter(tile, q, rank, panel));
        }
    });
}

once! {
    /// See [`latens_kernels::lowrank::restore`].
    pub fn restore<T>(
        p: &Plan<'_>,
        left: &[T::Acc],
        q: &[T::Acc],
        e: Option<&mut [T::Acc]>,
        y: Option<&mut [T]>,
    ) = restore_impl;
}

fn restore_impl<T: Float>(
    p: &Plan<'_>,
    left: &[T::Acc],
    q: &[T::Acc],
    mut e: Option<&mut [T::Acc]>,
    y: Option<&mut [T]>,
) {
    let (Some(left), Some(q)) = (cast::<_, f32>(left), cast::<_, f32>(q)) else {
        return lowrank::restore(p, left, q, e, y);
    };
    let rank = p.rank();
    let lanes = turned(p, q);
    let mut e = e.as_mut().and_then(|e| cast_mut::<_, f32>(e)).map(Rest::new);
    let mut y = y.map(Rest::new);
    let mut tasks = Vec::new();
    for (at, Matrix { segment, row, .. }) in p.matrices().enumerate() {
        for top in (0..segment.rows).step_by(STRIP) {
            let (rows, start) = (STRIP.min(segment.rows - top), segment.start + top * segment.columns);
            let len = rows * segment.columns;
            let left = &left[(row + top) * rank..][..rows * rank];
            let (e, y) = (e.as_mut().map(|e| e.take(start, len)), y.as_mut().map(|y| y.take(start, len)));
            tasks.push((at, segment.columns, left, e, y));
        }
    }
    crate::rows::each_of(tasks, |(at, columns, left, mut e, mut y)| {
        let count = e.as_ref().map_or(0, |e| e.len()).max(y.as_ref().map_or(0, |y| y.len())) / columns.max(1);
        let mut tiles = vec![Tile::default(); PANELS.min(columns.div_ceil(LANES))];
        for (top, first) in (0..count).step_by(ROWS).flat_map(|top| (0..columns).step_by(PART).map(move |c| (top, c))) {
            let (rows, width) = (ROWS.min(count - top), PART.min(columns - first));
            let lanes = lanes[at].chunks(rank.max(1)).skip(first / LANES);
            for (panel, (lanes, tile)) in lanes.zip(&mut tiles).enumerate() {
                // What will be read of these rows is asked for meanwhile: as much of it as this is of the panels.
                let (next, pace) = (top * columns + first + panel * ROWS * LANES, (ROWS * LANES).div_ceil(rank.max(1)));
                let of_e = e.as_ref().map(|e| Ahead::of(e, next, pace));
                let of_y = y.as_ref().map(|y| Ahead::of(y, next, pace));
                let none = Ahead::of(left, 0, 0);
                let ahead = [of_e.unwrap_or(none), of_y.unwrap_or(none)];
                let data = &left[top * rank..];
                products(Rows { data, count: rows, down: rank, across: 1, ahead }, &lanes[..rank], false, tile);
            }
            for i in 0..rows {
                let at = (top + i) * columns + first;
                let (e, y) = (e.as_mut().map(|e| &mut e[at..at + width]), y.as_mut().map(|y| &mut y[at..at + width]));
                best(
                    #[inline(always)]
                    |_| finish(&tiles, i, e, y),
                );
            }
        }
    });
}

/// Sums of row `i`, by panels, to the outputs that there are.
#[inline(always)]
fn finish<T: Float>(tiles: &[Tile], i: usize, e: Option<&mut [f32]>, y: Option<&mut [T]>) {
    if let Some(y) = y {
        for (y, tile) in y.chunks_mut(LANES).zip(tiles) {
            for (y, &sum) in y.iter_mut().zip(&tile[i]) {
                *y = T::from_f32(made::<T>(sum));
            }
        }
    }
    if let Some(e) = e {
        for (e, tile) in e.chunks_mut(LANES).zip(tiles) {
            for (e, &sum) in e.iter_mut().zip(&tile[i]) {
                *e = (*e - made::<T>(sum)).clamp(-f32::MAX, f32::MAX);
            }
        }
    }
}

/// What a sum is in `T`, 0 if that is not finite.
#[inline(always)]
fn made<T: Float>(sum: f32) -> f32 {
    let made = T::from_f32(sum).to_f32();
    if made.is_finite() { made } else { 0.0 }
}

/// Factors of all matrices in lanes: panels of 32 columns, each a row after the other, filled with zeros.
struct Panels<'a> {
    lanes: Vec<[f32; LANES]>,
    whole: Option<&'a [[f32; LANES]]>,
    rows: Vec<(usize, usize)>,
    panels: usize,
}

impl<'a> Panels<'a> {
    fn of(rows: impl Iterator<Item = (usize, usize)>, factor: &'a [f32], rank: usize) -> Self {
        let (rows, panels): (Vec<_>, _) = (rows.collect(), rank.div_ceil(LANES));
        if rank == LANES {
            // They are that already.
            return Self { lanes: Vec::new(), whole: Some(factor.as_chunks().0), rows, panels };
        }
        let all = rows.last().map_or(0, |&(first, count)| first + count);
        let mut lanes = vec![[0.0; LANES]; all * panels];
        let mut rest = Rest::new(&mut lanes);
        let tasks = rows.iter().map(|&(first, count)| (first, count, rest.next(count * panels))).collect();
        crate::rows::each_of(tasks, |(first, count, lanes): (usize, usize, &mut [[f32; LANES]])| {
            for (panel, lanes) in lanes.chunks_mut(count.max(1)).enumerate() {
                let width = LANES.min(rank - panel * LANES);
                for (row, lanes) in factor[first * rank..].chunks_exact(rank).zip(lanes) {
                    lanes[..width].copy_from_slice(&row[panel * LANES..][..width]);
                }
            }
        });
        Self { lanes, whole: None, rows, panels }
    }

    fn of_matrix(&self, at: usize, panel: usize) -> &[[f32; LANES]] {
        let (first, count) = self.rows[at];
        &self.whole.unwrap_or(&self.lanes)[first * self.panels + panel * count..][..count]
    }
}

/// `q` of every matrix with its columns in lanes: panels of 32 of its rows, each a column after the other.
fn turned(p: &Plan<'_>, q: &[f32]) -> Vec<Vec<[f32; LANES]>> {
    let (rank, matrices): (_, Vec<Matrix>) = (p.rank(), p.matrices().collect());
    crate::rows::collect(matrices.len(), |at| {
        let Matrix { segment, column, .. } = matrices[at];
        let q = &q[column * rank..][..segment.columns * rank];
        // Of rank 0 there is one empty column, so that every panel is there.
        let mut lanes = vec![[0.0; LANES]; segment.columns.div_ceil(LANES) * rank.max(1)];
        for (rows, lanes) in q.chunks((LANES * rank).max(1)).zip(lanes.chunks_exact_mut(rank.max(1))) {
            for (lane, row) in rows.chunks_exact(rank).enumerate() {
                row.iter().zip(&mut *lanes).for_each(|(&x, lanes)| lanes[lane] = x);
            }
        }
        lanes
    })
}

/// What is left of a slice from which parts are taken in order.
struct Rest<'a, T> {
    slice: &'a mut [T],
    taken: usize,
}

impl<'a, T> Rest<'a, T> {
    fn new(slice: &'a mut [T]) -> Self {
        Self { slice, taken: 0 }
    }

    /// `len` elements from place `start` of the whole on.
    fn take(&mut self, start: usize, len: usize) -> &'a mut [T] {
        let (_, rest) = core::mem::take(&mut self.slice).split_at_mut(start - self.taken);
        let (part, rest) = rest.split_at_mut(len);
        (self.slice, self.taken) = (rest, start + len);
        part
    }

    /// The next `len` elements.
    fn next(&mut self, len: usize) -> &'a mut [T] {
        self.take(self.taken, len)
    }
}
