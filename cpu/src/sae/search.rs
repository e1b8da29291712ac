//! `z = x wᵀ + bias` in tiles that live in the first-level cache, each searched for candidates at once.
//!
//! Lanes run along the rows of `x`, packed once for a block of them. A row of `w_enc`, which changes with every step of
//! training, is read where it lies, or staged with eleven others.
use super::screen::{Rounded, Screen};
use super::{Level, tasks};
use crate::rows::threads;
use crate::tile::pack::{Matrix, in_pairs, lanes, rows, steps};
use crate::tile::{LANES, Panels, ROWS as LATENTS, Tile, floats};
use crate::{cast::cast, level::prefetch};
use alloc::{vec, vec::Vec};
use core::{array::from_fn, ops::Range};
use latens_kernels::sae::encode::Plan;
use latens_kernels::{DType, Float};

/// Rows of `x` in a tile.
pub(super) const ROWS: usize = LANES;

/// Where candidates go.
pub(super) trait Sink {
    /// What a value of a row must reach to be one; NaN past the last row.
    fn bound(&self, row: usize) -> f32;
    /// The bounds of the rows from `first` on.
    #[inline(always)]
    fn bounds(&self, first: usize) -> [f32; ROWS] {
        from_fn(|r| self.bound(first + r))
    }
    /// Take a candidate, of a row counted from the first of the block.
    fn push(&mut self, row: usize, value: f32, latent: u32);
}

/// A product that is to be searched.
pub(super) struct Search<'a, T: Float> {
    pub level: Level,
    pub x: &'a [T],
    pub x_stride: usize,
    pub rows: usize,
    pub dim: usize,
    pub w: &'a [T],
    pub w_stride: usize,
    pub n: usize,
    pub bias: &'a [T::Acc],
    /// How many are wanted of each row, if only what may be among them is to be computed: see [`Screen`].
    pub screened: Option<usize>,
}

/// Latents for each one wanted from which on screening pays.
const WORTH: usize = 64;
/// Rows of `x` from which on whole numbers pay: all rows of `w` are rounded for them.
const MANY: usize = 128;
/// The longest rows that are screened: sums of more squares could be off by more than is allowed for.
const LONGEST: usize = 1 << 20;

impl<'a, T: Float> Search<'a, T> {
    pub(super) fn new(level: Level, p: &Plan, x: &'a [T], w: &'a [T], bias: &'a [T::Acc]) -> Self {
        let ([x_stride, _], [w_stride, _]) = (p.x().strides(), p.w().strides());
        Self { level, x, x_stride, rows: p.rows(), dim: p.dim(), w, w_stride, n: p.n(), bias, screened: None }
    }

    /// The same, for the `k` largest of each row.
    pub(super) fn largest(self, k: usize) -> Self {
        let enough = self.level.pairs() || self.rows >= MANY;
        let fits = k > 0 && self.n >= WORTH * k && self.dim <= LONGEST;
        let pays = self.level.screens() && T::DTYPE == DType::F32 && enough && fits;
        Self { screened: pays.then_some(k), ..self }
    }

    /// Search all rows, in blocks that `sink` makes sinks for. They come back in order, those of a block together, with
    /// the blocks.
    pub(super) fn run<S: Sink + Send>(
        &self,
        sink: impl Fn(Range<usize>, Range<usize>) -> S + Sync + Send,
    ) -> (Vec<Range<usize>>, Vec<S>) {
        let (blocks, ranges) = self.split();
        let parts: Vec<_> =
            blocks.iter().flat_map(|rows| ranges.iter().map(move |latents| (rows.clone(), latents.clone()))).collect();
        let found = match self.screened {
            Some(k) => self.screen(k, parts, ranges.len(), sink),
            None => tasks(parts, |_, (rows, latents)| {
                let mut sink = sink(rows.clone(), latents.clone());
                self.search(rows, latents, &mut sink);
                sink
            }),
        };
        (blocks, found)
    }

    /// As [`Search::run`] for parts that are blocks by `ranges` ranges, by way of the `k` that may be largest.
    fn screen<S: Sink + Send>(
        &self,
        k: usize,
        parts: Vec<(Range<usize>, Range<usize>)>,
        ranges: usize,
        sink: impl Fn(Range<usize>, Range<usize>) -> S + Sync + Send,
    ) -> Vec<S> {
        // What a wave of blocks holds is dropped before the next begins.
        let wave = if ranges == 1 { WAVE * threads() } else { parts.len() };
        parts.chunks(wave.max(1)).flat_map(|parts| self.wave(k, parts.to_vec(), ranges, &sink)).collect()
    }

    /// Blocks whose screens live at once.
    fn wave<S: Sink + Send>(
        &self,
        k: usize,
        parts: Vec<(Range<usize>, Range<usize>)>,
        ranges: usize,
        sink: impl Fn(Range<usize>, Range<usize>) -> S + Sync + Send,
    ) -> Vec<S> {
        let shared = parts.len() > 1 && ranges == 1;
        let mut screens = tasks(parts, |_, (rows, latents)| {
            let sink = sink(rows.clone(), latents.clone());
            let mut screen = Screen::new(self, rows, latents, k, &sink);
            if !shared {
                screen.scan();
            }
            (screen, sink)
        });
        if shared {
            // Blocks that meet the same latents: each of these is rounded once.
            let each = (SHARED / (4 * self.dim.div_ceil(2)).max(1)).next_multiple_of(LATENTS);
            for first in (0..self.n).step_by(each) {
                if screens.iter().all(|(screen, _)| screen.gave_up()) {
                    break;
                }
                let rounded = Rounded::all(self, first..self.n.min(first + each));
                screens = tasks(screens, |_, (mut screen, sink)| {
                    screen.take(&rounded);
                    (screen, sink)
                });
            }
        }
        // Ranges are told what others found before they compute what is left: of all of them only `k` a row count.
        for of_block in screens.chunks_mut(ranges).filter(|_| ranges > 1) {
            Screen::join(&mut of_block.iter_mut().map(|(screen, _)| screen).collect::<Vec<_>>());
        }
        tasks(screens, |_, (screen, mut sink)| {
            screen.settle(&mut sink);
            sink
        })
    }

    /// Blocks of rows, and ranges of latents where there are fewer blocks than threads. No number depends on the split.
    fn split(&self) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let (threads, panels) = (threads(), self.rows.div_ceil(ROWS).max(1));
        let blocks = if self.screened.is_some() {
            let wanted = self.rows.div_ceil(MOST).next_multiple_of(threads);
            wanted.min(self.rows / FEW).max(1)
        } else {
            // Panels stay in the second-level cache while `w` streams past.
            let cached = (CACHED / (size_of::<T>() * self.dim).max(1)).max(ROWS);
            self.rows.div_ceil(cached).next_multiple_of(threads).clamp(1, panels)
        };
        let ranges = threads.div_ceil(blocks).min(self.n.div_ceil(LATENTS)).max(1);
        (parts(self.rows, blocks, ROWS), parts(self.n, ranges, LATENTS))
    }

    /// A row of `w`.
    pub(super) fn row(&self, latent: usize) -> &'a [T] {
        &self.w[latent * self.w_stride..][..self.dim]
    }

    /// Ask for these rows of `w`: one of `parts` parts of them. Between products: a line with every fourth term of a product took
    /// 1.06 to 1.08 of the processor's time (Ice Lake; 256 rows of 768 by 16384, 4096 of 576 by 4608).
    #[inline]
    pub(super) fn ahead(&self, latents: Range<usize>, part: usize, parts: usize) {
        let (first, count) = (latents.start, latents.len());
        for latent in first + count * part / parts..first + count * (part + 1) / parts {
            let row = self.row(latent);
            (0..row.len()).step_by(64 / size_of::<T>()).for_each(|at| prefetch(row, at));
        }
    }

    /// Every number of the product, compared with the bound of its row.
    pub(super) fn search(&self, block: Range<usize>, latents: Range<usize>, sink: &mut impl Sink) {
        let (level, dim, steps) = (self.level, self.dim, steps::<T>(self.level, self.dim));
        let x = &self.x[block.start * self.x_stride..];
        let x = Matrix { data: x, rows: dim, columns: block.len(), down: 1, across: self.x_stride };
        let mut panels = Panels::new(block.len().div_ceil(ROWS) * steps * ROWS);
        for (panel, to) in panels.chunks_exact_mut((steps * ROWS).max(1)).enumerate() {
            level.run(
                #[inline(always)]
                |_| lanes(level, x, panel * ROWS, to),
            );
        }
        let mut tile: Tile = [[0.0; ROWS]; LATENTS];
        let mut staged = vec![0; LATENTS * steps];
        for first in latents.clone().step_by(LATENTS) {
            let count = LATENTS.min(latents.end - first);
            let bias: [f32; LATENTS] = from_fn(|j| self.bias[first + j.min(count - 1)].to_f32());
            let wide: [Option<&[f32]>; LATENTS] = from_fn(|j| cast(self.row(first + j.min(count - 1))));
            if wide[0].is_none() {
                let w = &self.w[first * self.w_stride..];
                let w = Matrix { data: w, rows: count, columns: dim, down: self.w_stride, across: 1 };
                level.run(
                    #[inline(always)]
                    |_| rows(level, w, 0, &mut staged[..count * steps]),
                );
            }
            let staged: [&[u32]; LATENTS] = from_fn(|j| &staged[j.min(count - 1) * steps..][..steps]);
            let all = block.len().div_ceil(ROWS);
            let next = first + count..latents.end.min(first + count + LATENTS);
            for panel in 0..all {
                self.ahead(next.clone(), panel, all);
                let lanes = &panels[panel * steps * ROWS..][..steps * ROWS];
                match wide[0] {
                    Some(_) => level.wide(floats(lanes), wide.map(Option::unwrap_or_default), &mut tile),
                    None if in_pairs::<T>(level) => level.paired(lanes, staged, &mut tile),
                    None => level.wide(floats(lanes), staged.map(floats), &mut tile),
                }
                add_bias(level, &mut tile, &bias);
                let hits = level.reached(&tile, &sink.bounds(panel * ROWS));
                for (j, mut hits) in hits.into_iter().enumerate().take(count) {
                    while hits != 0 {
                        let r = hits.trailing_zeros() as usize;
                        hits &= hits - 1;
                        sink.push(panel * ROWS + r, tile[j][r], (first + j) as u32);
                    }
                }
            }
        }
    }
}

/// `z += bias`, the same for a row of the tile.
fn add_bias(level: Level, tile: &mut Tile, bias: &[f32; LATENTS]) {
    level.run(
        #[inline(always)]
        |_| {
            for (z, bias) in tile.iter_mut().zip(bias) {
                z.iter_mut().for_each(|z| *z += bias);
            }
        },
    );
}

/// Bytes of rows that one thread works on.
const CACHED: usize = 512 << 10;
/// Rows of a block that is screened, of which each has a list: so many at most.
const MOST: usize = 1024;
/// Bytes of rounded rows of `w` that blocks share at a time.
const SHARED: usize = 8 << 20;
/// Blocks for each thread that share them, of which each holds its rows rounded, and their lists.
const WAVE: usize = 4;
/// Fewer rows are not parted among threads but the latents are.
const FEW: usize = 256;

/// `0..len` in `count` parts of nearly equal length, each but the last a multiple of `unit`.
fn parts(len: usize, count: usize, unit: usize) -> Vec<Range<usize>> {
    let units = len.div_ceil(unit);
    let cut = |part: usize| (units * part / count * unit).min(len);
    // One empty part where there is nothing: outputs may have to be filled all the same.
    (0..count).map(|part| cut(part)..cut(part + 1)).collect()
}
