//! The largest of each row by a product of 16-bit numbers, twice as fast, and one of `f32` where the choice hangs on it.
//!
//! The numbers are `bf16` where the processor multiplies them in pairs, else whole numbers times a power of two of the row.
//! With x' and w' for what rounding to them leaves, and norms ‖·‖,
//!
//! ```text
//! |x·w - x'·w'| <= ‖x - x'‖ ‖w‖ + ‖x'‖ ‖w - w'‖
//! ```
//!
//! so a rounded product has a low and a high end. What is below the `k`-th largest low end of its row, even at its high
//! end, is no candidate. The rest, a few more than `k`, is computed in `f32` at last, so what is chosen, and every value,
//! is as exact as without the screen, but for the order in which the terms of a sum are added. A row that holds what these
//! numbers or norms cannot (NaN, infinity, magnitudes near the ends of `f32`) has an infinite error: all of it is computed.
mod round;

use super::gather;
use super::search::{ROWS, Search, Sink, add_bias};
use crate::level::prefetch;
use crate::tile::{Panels, ROWS as LATENTS, Sums, Tile, pack::turned};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, ops::Range};
use latens_kernels::Float;
use round::round;

/// A block of rows of `x`, and what may be among the largest of each.
pub(super) struct Screen<'a, T: Float> {
    search: &'a Search<'a, T>,
    block: Range<usize>,
    /// Pairs of rounded numbers in a row.
    steps: usize,
    /// Rows of `x`, rounded and packed.
    panels: Panels,
    norms: Vec<[f32; ROWS]>,
    lost: Vec<[f32; ROWS]>,
    scales: Vec<[f32; ROWS]>,
    /// How many are wanted of each row.
    k: usize,
    /// At most [`Screen::capacity`] of each row.
    lists: Vec<Doubt>,
    lens: Vec<usize>,
    /// What the high end of a product must reach.
    floors: Vec<[f32; ROWS]>,
}

/// A product that is known so far only.
#[derive(Clone, Copy, Default)]
struct Doubt {
    low: f32,
    high: f32,
    latent: u32,
}

/// What sums and comparisons of `f32` may add to an error, relative to a bound.
const SLACK: f32 = 1.0 / (1 << 20) as f32;

impl<'a, T: Float> Screen<'a, T> {
    /// For the `k` largest, of those that reach the bounds of `sink`.
    pub(super) fn new(search: &'a Search<'a, T>, block: Range<usize>, k: usize, sink: &impl Sink) -> Self {
        let (steps, panels) = (search.dim.div_ceil(2), block.len().div_ceil(ROWS));
        let mut screen = Self {
            search,
            steps,
            panels: Panels::new(panels * steps * ROWS),
            norms: vec![[0.0; ROWS]; panels],
            lost: vec![[0.0; ROWS]; panels],
            scales: vec![[0.0; ROWS]; panels],
            k,
            lists: vec![Doubt::default(); block.len() * Self::capacity(k)],
            lens: vec![0; block.len()],
            floors: (0..panels).map(|panel| sink.bounds(panel * ROWS)).collect(),
            block,
        };
        let mut staged = vec![0; ROWS * steps];
        for (panel, to) in screen.panels.chunks_exact_mut((steps * ROWS).max(1)).enumerate() {
            staged.fill(0);
            for r in 0..ROWS.min(screen.block.len() - panel * ROWS) {
                let row = &search.x[(screen.block.start + panel * ROWS + r) * search.x_stride..][..search.dim];
                let rounded = round(search.level, row, &mut staged[r * steps..][..steps]);
                (screen.norms[panel][r], screen.lost[panel][r]) = (rounded.norm, rounded.lost);
                screen.scales[panel][r] = rounded.scale;
            }
            turned(search.level, &staged, to);
        }
        screen
    }

    fn capacity(k: usize) -> usize {
        3 * k + 32
    }

    /// Bytes of the list of a row.
    pub(super) fn list(k: usize) -> usize {
        Self::capacity(k) * size_of::<Doubt>()
    }

    pub(super) fn search(mut self, latents: Range<usize>, sink: &mut impl Sink) {
        let mut rounded = Rounded::new(self.steps);
        let (mut tile, mut errors): (Tile, Tile) = ([[0.0; ROWS]; LATENTS], [[0.0; ROWS]; LATENTS]);
        let mut sums: Sums = [[0; ROWS]; LATENTS];
        let panels = self.norms.len();
        for first in latents.clone().step_by(LATENTS) {
            let count = LATENTS.min(latents.end - first);
            rounded.stage(self.search, first, count);
            for panel in 0..panels {
                self.search.ahead(first + LATENTS, latents.end, panel, panels);
                self.products(panel, &rounded, &mut sums, &mut tile);
                add_bias(self.search.level, &mut tile, &rounded.bias);
                let below = self.below(panel, &rounded, &tile, &mut errors);
                let live = u32::MAX >> (ROWS - ROWS.min(self.block.len() - panel * ROWS));
                for (j, below) in below.into_iter().enumerate().take(count) {
                    let mut hits = !below & live;
                    while hits != 0 {
                        let r = hits.trailing_zeros() as usize;
                        hits &= hits - 1;
                        let (low, high) = (tile[j][r] - errors[j][r], tile[j][r] + errors[j][r]);
                        self.push(panel * ROWS + r, Doubt { low, high, latent: (first + j) as u32 });
                    }
                }
            }
        }
        self.settle(sink);
    }

    /// The products of rounded rows.
    fn products(&self, panel: usize, rounded: &Rounded, sums: &mut Sums, tile: &mut Tile) {
        let (level, steps) = (self.search.level, self.steps);
        let lanes = &self.panels[panel * steps * ROWS..][..steps * ROWS];
        let rows = from_fn(|j| &rounded.pairs[j * steps..][..steps]);
        if level.pairs() {
            return level.paired(lanes, rows, tile);
        }
        level.integers(lanes, rows, sums);
        let scales = &self.scales[panel];
        level.run(
            #[inline(always)]
            |_| {
                for ((tile, sums), scale) in tile.iter_mut().zip(sums).zip(&rounded.scale) {
                    for r in 0..ROWS {
                        tile[r] = sums[r] as f32 * scales[r] * scale;
                    }
                }
            },
        );
    }

    /// Which products are below the floor of their row at their high end. Where nothing is known, which is NaN, none is.
    fn below(&self, panel: usize, rounded: &Rounded, tile: &Tile, errors: &mut Tile) -> [u32; LATENTS] {
        let mut limits: Tile = [[0.0; ROWS]; LATENTS];
        let (norms, lost, floors) = (&self.norms[panel], &self.lost[panel], &self.floors[panel]);
        self.search.level.run(
            #[inline(always)]
            |_| {
                for (j, (limits, errors)) in limits.iter_mut().zip(errors).enumerate() {
                    let (norm, lose) = (rounded.norm[j], rounded.lost[j]);
                    for r in 0..ROWS {
                        errors[r] = lost[r] * (norm + lose) + norms[r] * lose;
                        limits[r] = floors[r] - floors[r] * SLACK - errors[r];
                    }
                }
            },
        );
        self.search.level.below(tile, &limits)
    }

    fn push(&mut self, row: usize, doubt: Doubt) {
        let capacity = Self::capacity(self.k);
        self.lists[row * capacity + self.lens[row]] = doubt;
        self.lens[row] += 1;
        if self.lens[row] == capacity {
            self.keep(row);
            if self.lens[row] > capacity - self.k / 2 - 16 {
                // Errors too large to part them.
                for at in row * capacity..row * capacity + self.lens[row] {
                    let value = self.value(row, self.lists[at].latent as usize);
                    (self.lists[at].low, self.lists[at].high) = (value, value);
                }
                let list = &mut self.lists[row * capacity..][..self.lens[row]];
                // Equal values came by rising latent; NaN is last.
                list.sort_by(|a, b| f32::total_cmp(&number(b.low), &number(a.low)));
                self.lens[row] = self.k;
                self.keep(row);
            }
        }
    }

    /// Raise the floor of a row to the `k`-th largest low end, and drop what cannot reach it.
    #[cold]
    fn keep(&mut self, row: usize) {
        let list = &mut self.lists[row * Self::capacity(self.k)..][..self.lens[row]];
        if list.len() < self.k {
            return;
        }
        let mut lows: Vec<f32> = list.iter().map(|doubt| number(doubt.low)).collect();
        let (_, low, _) = lows.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        let floor = &mut self.floors[row / ROWS][row % ROWS];
        *floor = floor.max(*low - low.abs() * SLACK);
        let mut kept = 0;
        for at in 0..list.len() {
            list[kept] = list[at];
            // A NaN stays.
            let drops = list[at].high < *floor - *floor * SLACK;
            kept += usize::from(!drops);
        }
        self.lens[row] = kept;
    }

    /// The product in `f32`, with its bias.
    fn value(&self, row: usize, latent: usize) -> f32 {
        let x = &self.search.x[(self.block.start + row) * self.search.x_stride..][..self.search.dim];
        gather::dot(self.search.level, x, self.search.row(latent)) + self.search.bias[latent].to_f32()
    }

    /// Compute all that is left, and hand it on.
    fn settle(mut self, sink: &mut impl Sink) {
        /// Products between the asking for a row and its use.
        const AHEAD: usize = 6;
        let mut left = Vec::new();
        for row in 0..self.block.len() {
            self.keep(row);
            let list = &self.lists[row * Self::capacity(self.k)..][..self.lens[row]];
            left.extend(list.iter().map(|doubt| (row, doubt.latent as usize)));
        }
        for (at, &(row, latent)) in left.iter().enumerate() {
            if let Some(&(_, latent)) = left.get(at + AHEAD) {
                let row = self.search.row(latent);
                (0..row.len()).step_by(16).for_each(|at| prefetch(row, at));
            }
            let value = self.value(row, latent);
            if value >= sink.bound(row) {
                sink.push(row, value, latent as u32);
            }
        }
    }
}

/// NaN, of which nothing is known, as the least.
fn number(low: f32) -> f32 {
    low.max(f32::NEG_INFINITY)
}

/// Twelve rows of `w`, rounded.
struct Rounded {
    pairs: Vec<u32>,
    bias: [f32; LATENTS],
    norm: [f32; LATENTS],
    lost: [f32; LATENTS],
    scale: [f32; LATENTS],
}

impl Rounded {
    fn new(steps: usize) -> Self {
        let zero = [0.0; LATENTS];
        Self { pairs: vec![0; LATENTS * steps], bias: zero, norm: zero, lost: zero, scale: zero }
    }

    /// Round `count` rows from `first` on; the last stands for those past the end.
    fn stage<T: Float>(&mut self, search: &Search<T>, first: usize, count: usize) {
        let steps = search.dim.div_ceil(2);
        // Every one of so many additions may round, here and where the value is computed.
        let sums = (search.dim + 16) as f32 * 2.0 * f32::EPSILON;
        for j in 0..LATENTS {
            let latent = first + j.min(count - 1);
            let rounded = round(search.level, search.row(latent), &mut self.pairs[j * steps..][..steps]);
            self.bias[j] = search.bias[latent].to_f32();
            (self.norm[j], self.lost[j]) = (rounded.norm, rounded.lost + sums * rounded.norm);
            self.scale[j] = rounded.scale;
        }
    }
}
