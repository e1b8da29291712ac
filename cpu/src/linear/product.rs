//! The product of two matrices of any strides.
//!
//! A task takes some panels of columns and packs them, then takes as many rows as its second-level cache holds beside a
//! panel, and passes them over every panel. Long sums are made part by part, each from zero: a part of a panel stays in the
//! cache, and fewer terms are rounded into a large sum. No sum is shared between tasks, so threads cannot change its order.
#![allow(unsafe_code)]
use crate::cast::cast;
use crate::level::{Level, prefetch_line};
use crate::tile::pack::{self, Matrix, entries, in_pairs, rows, steps};
use crate::tile::{LANES, Panels, ROWS, Tile, floats};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, marker::PhantomData, ops::Range};
use latens_kernels::Float;

/// The most panels of a task.
const PANELS: usize = 12;
/// Entries of the rows that are passed over its panels at a time: 160 KB, beside which a panel of the usual sizes fits in
/// half a megabyte. With three panels, twelve rows at a time and halves of lanes side by side, products took 1.1 to 1.2
/// of the time (Zen 3).
const BLOCK: usize = 40 << 10;
/// The longest sum that is made at once, in words of a row; longer ones have parts of at most half as many.
const LONG: usize = 2048;

/// `out = a·b + bias`, or `out += ..`; `out` is packed. The order of a sum depends on the sizes only.
pub(super) fn product<T: Float, O: Float>(
    level: Level,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
) {
    go(level, a, b, bias, out, add, false);
}

/// `out = (a·b)ᵀ + bias`, or `out += ..`, with a bias for each row of `a`, in the same order of sums as the product of what is turned round. Where
/// `b` has few columns, they are what is packed: the large matrix is read where it lies.
pub(super) fn turned<T: Float, O: Float>(
    level: Level,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
) {
    go(level, a, b, bias, out, add, true);
}

fn go<T: Float, O: Float>(
    level: Level,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [O],
    add: bool,
    turned: bool,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(b.rows == k && out.len() == m * n && a.data.len() >= a.span() && b.data.len() >= b.span());
    if out.is_empty() {
        return;
    }
    let steps = steps::<T>(level, k);
    // Rows of f32 are read where they lie.
    let plain = cast::<T, f32>(a.data).filter(|_| a.across == 1);
    let product = Product {
        level,
        a,
        plain,
        packed: if plain.is_some() { Vec::new() } else { packed(level, a, steps) },
        steps,
        part: if steps > LONG { steps.div_ceil(steps.div_ceil(LONG / 2)) } else { steps },
        bias: bias.map(|bias| bias[..if turned { m } else { n }].iter().map(|x| x.to_f32()).collect()),
        add,
        out: Out { start: out.as_mut_ptr(), n: if turned { m } else { n }, len: out.len(), borrow: PhantomData },
        turned,
        columns: n,
    };
    let (panels, tiles, threads) = (n.div_ceil(LANES), m.div_ceil(ROWS), crate::rows::threads());
    let group = PANELS.min(panels.div_ceil(2 * threads));
    let groups = panels.div_ceil(group);
    // Few panels: rows are shared out as well, and panels packed more than once, which counts where they are all there is to pack.
    let parts = (if turned { 2 } else { 4 } * threads).div_ceil(groups).min(tiles);
    let part = tiles.div_ceil(parts);
    crate::rows::collect(groups * parts, |task| {
        let (first, start) = (task % groups * group, task / groups * part);
        product.run(b, first..panels.min(first + group), start..tiles.min(start + part));
    });
}

/// What tasks share.
struct Product<'a, T: Float, O> {
    level: Level,
    a: Matrix<'a, T>,
    plain: Option<&'a [f32]>,
    packed: Vec<u32>,
    /// Words of a packed row.
    steps: usize,
    /// Of them, those that are summed at once.
    part: usize,
    bias: Option<Vec<f32>>,
    add: bool,
    out: Out<'a, O>,
    /// Whether rows of the product are columns of the output.
    turned: bool,
    /// Columns of the product.
    columns: usize,
}

impl<T: Float, O: Float> Product<'_, T, O> {
    /// The product of some tiles of rows with some panels, which no other task has.
    fn run(&self, b: Matrix<'_, T>, panels: Range<usize>, tiles: Range<usize>) {
        let block = (BLOCK / (ROWS * self.part).max(1)).max(1);
        let mut right = Panels::new(panels.len() * LANES * self.part);
        let parts = self.steps.div_ceil(self.part.max(1)).max(1);
        let mut sums = vec![[[0.0; LANES]; ROWS]; if parts > 1 { panels.len() * tiles.len() } else { 0 }];
        let mut tile = [[0.0; LANES]; ROWS];
        for part in 0..parts {
            let words = part * self.part..self.steps.min((part + 1) * self.part);
            let size = LANES * words.len();
            let (b, to) = (entries(self.level, b, &words), &mut right[..panels.len() * size]);
            self.level.run(
                #[inline(always)]
                |_| pack::panels(self.level, b, panels.start * LANES, to, size.max(1)),
            );
            for start in tiles.clone().step_by(block) {
                for (at, panel) in panels.clone().enumerate() {
                    for rows in start..tiles.end.min(start + block) {
                        let (top, left, last) = (rows * ROWS, panel * LANES, part + 1 == parts);
                        if last && !self.turned {
                            (top..self.a.rows.min(top + ROWS)).for_each(|row| self.out.ahead(row, left));
                        }
                        self.tile(&right[at * size..][..size], top, words.clone(), &mut tile);
                        if let Some(sums) = sums.get_mut(at * tiles.len() + rows - tiles.start) {
                            let pairs = sums.as_flattened_mut().iter_mut().zip(tile.as_flattened());
                            pairs.for_each(|(sum, x)| *sum += x);
                            tile = *sums;
                        }
                        if last && self.turned {
                            self.store_turned(&tile, top, left);
                        } else if last {
                            self.store(&mut tile, top, left);
                        }
                    }
                }
            }
        }
    }

    /// One tile of sums over some words of the rows from `top` on.
    fn tile(&self, right: &[u32], top: usize, words: Range<usize>, tile: &mut Tile) {
        let (m, level) = (self.a.rows, self.level);
        let row = |i: usize| (top + i).min(m - 1);
        if let Some(data) = self.plain {
            level.wide(floats(right), from_fn(|i| &data[row(i) * self.a.down..][words.clone()]), tile);
        } else {
            let from: [&[u32]; ROWS] = from_fn(|i| &self.packed[row(i) * self.steps..][words.clone()]);
            match in_pairs::<T>(level) {
                true => level.paired(right, from, tile),
                false => level.wide(floats(right), from.map(floats), tile),
            }
        }
    }

    /// A tile to the output turned round: from column `top` and row `left` on.
    fn store_turned(&self, tile: &Tile, top: usize, left: usize) {
        let count = ROWS.min(self.a.rows - top);
        self.level.run(
            #[inline(always)]
            |_| {
                for lane in 0..LANES.min(self.columns - left) {
                    let mut sums = [0.0; LANES];
                    sums.iter_mut().zip(tile).for_each(|(sum, row)| *sum = row[lane]);
                    // SAFETY: tasks differ in their panels or in their rows, so no other one writes these entries.
                    let to = unsafe { self.out.row(left + lane, top, count) };
                    finish(&mut sums, self.bias.as_deref().map(|bias| &bias[top..]), self.add, to);
                }
            },
        );
    }

    /// A tile to the output, from row `top` and column `left` on.
    fn store(&self, tile: &mut Tile, top: usize, left: usize) {
        let (m, n) = (self.a.rows, self.out.n);
        self.level.run(
            #[inline(always)]
            |_| {
                for (row, sums) in tile.iter_mut().enumerate().take(m - top) {
                    // SAFETY: tasks differ in their panels or in their rows, so no other one writes these entries.
                    let to = unsafe { self.out.row(top + row, left, (n - left).min(LANES)) };
                    finish(sums, self.bias.as_deref().map(|bias| &bias[left..]), self.add, to);
                }
            },
        );
    }
}

/// The rows of `a`, each in `steps` words.
fn packed<T: Float>(level: Level, a: Matrix<'_, T>, steps: usize) -> Vec<u32> {
    let mut packed = vec![0; a.rows * steps];
    crate::rows::each_one(4 * ROWS * steps, &mut packed, |at, to| {
        level.run(
            #[inline(always)]
            |_| rows(level, a, at * 4 * ROWS, to),
        )
    });
    packed
}

/// Sums of one row, with its bias, to the output.
#[inline(always)]
fn finish<O: Float>(sums: &mut [f32; LANES], bias: Option<&[f32]>, add: bool, to: &mut [O]) {
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    if add {
        sums.iter_mut().zip(&*to).for_each(|(sum, old)| *sum += old.to_f32());
    }
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = O::from_f32(*sum));
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
    #[inline(always)]
    unsafe fn row(&self, row: usize, column: usize, count: usize) -> &mut [O] {
        let at = row * self.n + column;
        assert!(at + count <= self.len);
        // SAFETY: inside of the borrowed slice, and nobody else's by the promise.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(at), count) }
    }
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
