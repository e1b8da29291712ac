//! The largest of each row by a product of 16-bit numbers, which is faster, and one of `f32` where the choice hangs on it.
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
//! Where that comes to too much, as for rows with one entry far above the others, the latents that are still to come are
//! searched without the screen.
mod lists;
mod round;

use super::search::{ROWS, Search, Sink};
use super::{Level, gather};
use crate::level::prefetch;
use crate::tile::{Panels, ROWS as LATENTS, Tile, pack::turned};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, ops::Range};
use latens_kernels::Float;
use lists::{Lists, below};
use round::round;

/// A block of rows of `x`, and what may be among the largest of each.
pub(super) struct Screen<'a, T: Float> {
    search: &'a Search<'a, T>,
    block: Range<usize>,
    /// Pairs of rounded numbers in a row.
    steps: usize,
    /// Rows of `x`, rounded and packed.
    panels: Panels,
    of_panels: Vec<Panel>,
    lists: Lists,
}

/// What is known of the rounded rows of a panel.
#[derive(Clone)]
struct Panel {
    norm: [f32; ROWS],
    lost: [f32; ROWS],
    scale: [f32; ROWS],
}

/// Bytes of rounded rows of `w` that a panel of `x` is multiplied by before the next one: they, the panel and its lists are
/// in the second-level cache. Twelve rows by all panels of a block of 682, with longer lists, took 1.09 of the time (Zen 3;
/// 256 rows of 768 by 16384 and 4096 of 576 by 4608).
const CHUNK: usize = 128 << 10;

impl<'a, T: Float> Screen<'a, T> {
    /// For the `k` largest, of those that reach the bounds of `sink`.
    pub(super) fn new(search: &'a Search<'a, T>, block: Range<usize>, k: usize, sink: &impl Sink) -> Self {
        let (steps, count) = (search.dim.div_ceil(2), block.len().div_ceil(ROWS));
        let mut panels = Panels::new(count * steps * ROWS);
        let mut of_panels = vec![Panel { norm: [0.0; ROWS], lost: [0.0; ROWS], scale: [0.0; ROWS] }; count];
        let mut staged = vec![0; ROWS * steps];
        let packed = panels.chunks_exact_mut((steps * ROWS).max(1));
        for ((panel, to), known) in packed.enumerate().zip(&mut of_panels) {
            staged.fill(0);
            for r in 0..ROWS.min(block.len() - panel * ROWS) {
                let row = &search.x[(block.start + panel * ROWS + r) * search.x_stride..][..search.dim];
                let rounded = round(search.level, row, &mut staged[r * steps..][..steps]);
                (known.norm[r], known.lost[r], known.scale[r]) = (rounded.norm, rounded.lost, rounded.scale);
            }
            turned(search.level, &staged, to);
        }
        let bounds = (0..count).flat_map(|panel| sink.bounds(panel * ROWS)).collect();
        let lists = Lists::new(search.level, k, block.len(), bounds);
        Self { search, block, steps, panels, of_panels, lists }
    }

    pub(super) fn search(mut self, latents: Range<usize>, sink: &mut impl Sink) {
        let rest = self.scan(latents);
        self.settle(rest, sink);
    }

    /// Fill the lists. What comes back is to be searched without them.
    pub(super) fn scan(&mut self, latents: Range<usize>) -> Range<usize> {
        let tiles = (CHUNK / (4 * LATENTS * self.steps).max(1)).clamp(1, 16);
        let mut chunk = Vec::new();
        for first in latents.clone().step_by(tiles * LATENTS) {
            let end = latents.end.min(first + tiles * LATENTS);
            chunk.resize_with((end - first).div_ceil(LATENTS), || Rounded::new(self.steps));
            for (rounded, first) in chunk.iter_mut().zip((first..end).step_by(LATENTS)) {
                rounded.stage(self.search, first..end.min(first + LATENTS));
            }
            let panels = self.of_panels.len();
            for panel in 0..panels {
                self.search.ahead(end..latents.end.min(end + tiles * LATENTS), panel, panels);
                self.lists.ahead(panel * ROWS..self.block.len().min((panel + 1) * ROWS));
                chunk.iter().for_each(|rounded| self.tile(panel, rounded));
            }
            if self.lists.vain() {
                return end..latents.end;
            }
        }
        latents.end..latents.end
    }

    /// Screens of the same rows and other latents: what they know together.
    pub(super) fn join(all: &mut [&mut Self]) {
        Lists::join(&mut all.iter_mut().map(|screen| &mut screen.lists).collect::<Vec<_>>());
    }

    /// Products of a panel with twelve rows, of which those that may count go to the lists.
    fn tile(&mut self, panel: usize, rounded: &Rounded) {
        let (level, steps, search) = (self.search.level, self.steps, self.search);
        let mut tile: Tile = [[0.0; ROWS]; LATENTS];
        let lanes = &self.panels[panel * steps * ROWS..][..steps * ROWS];
        let rows = from_fn(|j| &rounded.pairs[j * steps..][..steps]);
        if level.pairs() {
            level.paired(lanes, rows, &mut tile);
        } else {
            level.integers(lanes, rows, &mut tile);
        }
        let (known, first) = (&self.of_panels[panel], panel * ROWS);
        rounded.highs(level, known, &mut tile);
        let limits = self.lists.limits(first)[..ROWS].try_into().expect("as many");
        let below = level.below(&tile, limits);
        let live = u32::MAX >> (ROWS - ROWS.min(self.block.len() - first));
        for (j, below) in below.into_iter().enumerate().take(rounded.latents.len()) {
            let latent = (rounded.latents.start + j) as u32;
            let mut hits = !below & live;
            while hits != 0 {
                let r = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                let error = rounded.error(known, j, r);
                let x = &search.x[(self.block.start + first + r) * search.x_stride..][..search.dim];
                self.lists.push(first + r, tile[j][r], error, latent, |latent| value(search, x, latent as usize));
            }
        }
    }

    /// Compute all that is left, and hand it on: latent by latent for some rows, so that rows of `w` are read once for all
    /// of these. Then `rest`.
    pub(super) fn settle(mut self, rest: Range<usize>, sink: &mut impl Sink) {
        /// Rows that share those of `w`.
        const TOGETHER: usize = 512;
        /// Products between the asking for a row and its use.
        const AHEAD: usize = 6;
        let (mut came, mut left) = (Vec::new(), Vec::new());
        let mut begin = vec![0_u32; self.search.n];
        for first in (0..self.block.len()).step_by(TOGETHER) {
            came.clear();
            for row in first..self.block.len().min(first + TOGETHER) {
                came.extend(self.lists.left(row).iter().map(|&latent| (latent, row)));
            }
            by_latent(&came, &mut begin, &mut left);
            for (at, &(latent, row)) in left.iter().enumerate() {
                if let Some(&(latent, row)) = left.get(at + AHEAD) {
                    for row in [self.x(row), self.search.row(latent as usize)] {
                        (0..row.len()).step_by(16).for_each(|at| prefetch(row, at));
                    }
                }
                self.candidate(row, latent, sink);
            }
        }
        if !rest.is_empty() {
            self.rest(rest, sink);
        }
    }

    /// Search without lists. Where that begins hangs on what else is searched, and no number may: what may count is computed as
    /// the rest is, in one order of sums.
    fn rest(&self, latents: Range<usize>, sink: &mut impl Sink) {
        let (level, mut pairs) = (self.search.level, vec![0; self.steps]);
        let mut norm = |row: &[T]| {
            let known = round(level, row, &mut pairs);
            known.norm + known.lost
        };
        let longest = latents.clone().map(|latent| norm(self.search.row(latent))).fold(0.0, f32::max);
        let apart: Vec<f32> =
            (0..self.block.len()).map(|row| sums(self.search.dim) * norm(self.x(row)) * longest).collect();
        for row in (0..apart.len()).filter(|&row| !apart[row].is_finite()) {
            latents.clone().for_each(|latent| self.candidate(row, latent as u32, sink));
        }
        self.search.search(self.block.clone(), latents, &mut Anew { screen: self, sink, apart: &apart });
    }

    /// Compute a product, and hand it on if it counts.
    fn candidate(&self, row: usize, latent: u32, sink: &mut impl Sink) {
        let value = value(self.search, self.x(row), latent as usize);
        if value >= sink.bound(row) {
            sink.push(row, value, latent);
        }
    }

    /// A row of the block.
    fn x(&self, row: usize) -> &'a [T] {
        &self.search.x[(self.block.start + row) * self.search.x_stride..][..self.search.dim]
    }
}

/// Pairs of a latent and a row by rising latent, in the order in which they came where that is equal. `begin` has a place for each
/// latent.
fn by_latent(came: &[(u32, usize)], begin: &mut [u32], to: &mut Vec<(u32, usize)>) {
    begin.fill(0);
    came.iter().for_each(|&(latent, _)| begin[latent as usize] += 1);
    let mut before = 0;
    for begin in begin.iter_mut() {
        before += core::mem::replace(begin, before);
    }
    to.clear();
    to.resize(came.len(), (0, 0));
    for &pair in came {
        let at = &mut begin[pair.0 as usize];
        to[*at as usize] = pair;
        *at += 1;
    }
}

/// The product in `f32` of a row of `x`, with its bias.
fn value<T: Float>(search: &Search<T>, x: &[T], latent: usize) -> f32 {
    gather::dot(search.level, x, search.row(latent)) + search.bias[latent].to_f32()
}

/// What sums of products of two rows, of any order, may be apart by, and as much again, beside their norms.
fn sums(dim: usize) -> f32 {
    (dim + 16) as f32 * 2.0 * f32::EPSILON
}

/// A sink of products that were added up in another order than the sums of [`value`].
struct Anew<'s, 'a, T: Float, S> {
    screen: &'s Screen<'a, T>,
    sink: &'s mut S,
    /// How far apart the two may be, for each row; not finite where all of it is done.
    apart: &'s [f32],
}

impl<T: Float, S: Sink> Sink for Anew<'_, '_, T, S> {
    fn bound(&self, row: usize) -> f32 {
        match self.apart.get(row) {
            Some(apart) if apart.is_finite() => below(self.sink.bound(row)) - apart,
            _ => f32::NAN,
        }
    }

    fn push(&mut self, row: usize, _: f32, latent: u32) {
        self.screen.candidate(row, latent, self.sink);
    }
}

/// Twelve rows of `w`, rounded.
struct Rounded {
    latents: Range<usize>,
    pairs: Vec<u32>,
    bias: [f32; LATENTS],
    /// Of the rows as they are.
    norm: [f32; LATENTS],
    lost: [f32; LATENTS],
    scale: [f32; LATENTS],
}

impl Rounded {
    fn new(steps: usize) -> Self {
        let zero = [0.0; LATENTS];
        Self { latents: 0..0, pairs: vec![0; LATENTS * steps], bias: zero, norm: zero, lost: zero, scale: zero }
    }

    /// Round some rows; the last stands for those that there are not.
    fn stage<T: Float>(&mut self, search: &Search<T>, latents: Range<usize>) {
        let steps = search.dim.div_ceil(2);
        // Every addition may round, here and where the value is computed.
        let sums = sums(search.dim);
        for j in 0..LATENTS {
            let latent = (latents.start + j).min(latents.end - 1);
            let rounded = round(search.level, search.row(latent), &mut self.pairs[j * steps..][..steps]);
            self.bias[j] = search.bias[latent].to_f32();
            self.lost[j] = rounded.lost + sums * rounded.norm;
            self.norm[j] = rounded.norm + self.lost[j];
            self.scale[j] = rounded.scale;
        }
        self.latents = latents;
    }

    /// What the rounded product of a row of `x` may be off by.
    fn error(&self, known: &Panel, j: usize, r: usize) -> f32 {
        known.lost[r] * self.norm[j] + known.norm[r] * self.lost[j]
    }

    /// Products of whole numbers to high ends, with their bias. Where nothing is known they are NaN or infinite.
    fn highs(&self, level: Level, known: &Panel, tile: &mut Tile) {
        level.run(
            #[inline(always)]
            |fused| {
                for (j, tile) in tile.iter_mut().enumerate() {
                    let (scale, bias, norm, lost) = (self.scale[j], self.bias[j], self.norm[j], self.lost[j]);
                    let rows = known.scale.iter().zip(&known.lost).zip(&known.norm);
                    for (z, ((of_row, lost_of_row), norm_of_row)) in tile.iter_mut().zip(rows) {
                        let middle = fused.mul_add(*z, of_row * scale, bias);
                        *z = middle + fused.mul_add(*lost_of_row, norm, norm_of_row * lost);
                    }
                }
            },
        );
    }
}
