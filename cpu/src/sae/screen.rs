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
mod rounded;

use super::gather::{self, SIDE_OF_DOTS as SIDE};
use super::search::{ROWS, Search, Sink};
use crate::level::prefetch;
use crate::tile::{Panels, ROWS as LATENTS, Tile, pack::turned};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, ops::Range};
use latens_kernels::Float;
use lists::{Lists, below};
use round::round;
pub(super) use rounded::Rounded;
use rounded::{Panel, sums, tiles};

/// A block of rows of `x`, and what may be among the largest of each.
pub(super) struct Screen<'a, T: Float> {
    search: &'a Search<'a, T>,
    block: Range<usize>,
    latents: Range<usize>,
    /// The first latent that is to be searched without the lists.
    rest: usize,
    /// Pairs of rounded numbers in a row.
    steps: usize,
    /// Rows of `x`, rounded and packed.
    panels: Panels,
    of_panels: Vec<Panel>,
    lists: Lists,
}

impl<'a, T: Float> Screen<'a, T> {
    /// For the `k` largest of some latents, of those that reach the bounds of `sink`.
    pub(super) fn new(
        search: &'a Search<'a, T>,
        block: Range<usize>,
        latents: Range<usize>,
        k: usize,
        sink: &impl Sink,
    ) -> Self {
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
        let rest = latents.end;
        Self { search, block, latents, rest, steps, panels, of_panels, lists }
    }

    /// Fill the lists, rounding what is met.
    pub(super) fn scan(&mut self) {
        let (search, latents, each) = (self.search, self.latents.clone(), tiles(self.steps) * LATENTS);
        let mut chunk = Vec::new();
        for first in latents.clone().step_by(each) {
            let end = latents.end.min(first + each);
            chunk.resize_with((end - first).div_ceil(LATENTS), || Rounded::new(self.steps));
            for (rounded, first) in chunk.iter_mut().zip((first..end).step_by(LATENTS)) {
                rounded.stage(search, first..end.min(first + LATENTS));
            }
            self.meet(&chunk, |part, parts| search.ahead(end..latents.end.min(end + each), part, parts));
            if self.gave_up() {
                break;
            }
        }
    }

    /// Fill the lists from latents that were rounded before, the next ones that there are.
    pub(super) fn take(&mut self, all: &[Rounded]) {
        let mut chunks = all.chunks(tiles(self.steps)).peekable();
        while let Some(chunk) = chunks.next() {
            let next = chunks.peek().copied().unwrap_or_default();
            self.meet(chunk, |part, parts| {
                for rounded in &next[next.len() * part / parts..next.len() * (part + 1) / parts] {
                    (0..rounded.pairs.len()).step_by(16).for_each(|at| prefetch(&rounded.pairs, at));
                }
            });
        }
    }

    /// Whether all that is still to come is searched without the lists.
    pub(super) fn gave_up(&self) -> bool {
        self.rest < self.latents.end
    }

    /// All rows of the block by some of `w`; `ahead` asks for a part of what will be met next.
    fn meet(&mut self, chunk: &[Rounded], ahead: impl Fn(usize, usize)) {
        if self.gave_up() {
            return;
        }
        let panels = self.of_panels.len();
        for panel in 0..panels {
            ahead(panel, panels);
            self.lists.ahead(panel * ROWS..self.block.len().min((panel + 1) * ROWS));
            chunk.iter().for_each(|rounded| self.tile(panel, rounded));
        }
        if let (true, Some(last)) = (self.lists.vain(), chunk.last()) {
            self.rest = last.latents.end;
        }
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
    /// of these.
    pub(super) fn settle(mut self, sink: &mut impl Sink) {
        /// Rows that share those of `w`.
        const TOGETHER: usize = 512;
        /// Products between the asking for a row of `w` and its use.
        const AHEAD: usize = 6;
        let (mut came, mut left) = (Vec::new(), Vec::new());
        let mut begin = vec![0_u32; self.search.n];
        for first in (0..self.block.len()).step_by(TOGETHER) {
            came.clear();
            for row in first..self.block.len().min(first + TOGETHER) {
                came.extend(self.lists.left(row).iter().map(|&latent| (latent, row)));
            }
            by_latent(&came, &mut begin, &mut left);
            let (mut at, mut asked) = (0, u32::MAX);
            for of_latent in left.chunk_by(|a, b| a.0 == b.0) {
                for rows in of_latent.chunks(SIDE) {
                    for &(latent, _) in left.iter().skip(at + AHEAD).take(rows.len()) {
                        if latent != asked {
                            let row = self.search.row(latent as usize);
                            (0..row.len()).step_by(16).for_each(|at| prefetch(row, at));
                            asked = latent;
                        }
                    }
                    at += rows.len();
                    self.candidates(rows, sink);
                }
            }
        }
        if self.gave_up() {
            self.finish(self.rest..self.latents.end, sink);
        }
    }

    /// Compute the products of one latent with some rows, and hand on those that count.
    fn candidates(&self, of: &[(u32, usize)], sink: &mut impl Sink) {
        let search = self.search;
        let Ok(of) = <&[_; SIDE]>::try_from(of) else {
            return of.iter().for_each(|&(latent, row)| self.candidate(row, latent, sink));
        };
        let (latent, bias) = (of[0].0, search.bias[of[0].0 as usize].to_f32());
        let products = gather::dots(search.level, of.map(|(_, row)| self.x(row)), search.row(latent as usize));
        for ((_, row), product) in of.iter().zip(products) {
            let value = product + bias;
            if value >= sink.bound(*row) {
                sink.push(*row, value, latent);
            }
        }
    }

    /// Search without lists. Where that begins hangs on what else is searched, and no number may: what may count is computed as
    /// the rest is, in one order of sums.
    fn finish(&self, latents: Range<usize>, sink: &mut impl Sink) {
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
