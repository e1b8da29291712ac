//! Rows of `w`, rounded, and how far their products may be off.
use super::round::round;
use crate::rows;
use crate::sae::{
    Level,
    search::{ROWS, Search},
};
use crate::tile::{ROWS as LATENTS, Tile};
use alloc::{vec, vec::Vec};
use core::ops::Range;
use latens_kernels::Float;

/// What is known of the rounded rows of a panel.
#[derive(Clone)]
pub struct Panel {
    pub norm: [f32; ROWS],
    pub lost: [f32; ROWS],
    pub scale: [f32; ROWS],
}

/// Bytes of rounded rows of `w` that a panel of `x` is multiplied by before the next one: they, the panel and its lists are
/// in the second-level cache. Twelve rows by all panels of a block of 682, with longer lists, took 1.09 of the time (Zen 3;
/// 256 rows of 768 by 16384 and 4096 of 576 by 4608).
const CHUNK: usize = 128 << 10;

/// What sums of products of two rows, of any order, may be apart by, and as much again, beside their norms.
pub(super) fn sums(dim: usize) -> f32 {
    (dim + 16) as f32 * 2.0 * f32::EPSILON
}

/// How many twelves of rows are a chunk.
pub(super) fn tiles(steps: usize) -> usize {
    (CHUNK / (4 * LATENTS * steps).max(1)).clamp(1, 16)
}

/// Twelve rows of `w`, rounded.
pub struct Rounded {
    pub latents: Range<usize>,
    pub pairs: Vec<u32>,
    bias: [f32; LATENTS],
    /// Of the rows as they are.
    norm: [f32; LATENTS],
    lost: [f32; LATENTS],
    scale: [f32; LATENTS],
}

impl Rounded {
    /// Rows of `w`, for screens that all meet them.
    pub fn all<T: Float>(search: &Search<T>, latents: Range<usize>) -> Vec<Self> {
        rows::collect(latents.len().div_ceil(LATENTS), |at| {
            let first = latents.start + at * LATENTS;
            let mut rounded = Self::new(search.dim.div_ceil(2));
            rounded.stage(search, first..latents.end.min(first + LATENTS));
            rounded
        })
    }

    pub fn new(steps: usize) -> Self {
        let zero = [0.0; LATENTS];
        Self { latents: 0..0, pairs: vec![0; LATENTS * steps], bias: zero, norm: zero, lost: zero, scale: zero }
    }

    /// Round some rows; the last stands for those that there are not.
    pub fn stage<T: Float>(&mut self, search: &Search<T>, latents: Range<usize>) {
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
    pub fn error(&self, known: &Panel, j: usize, r: usize) -> f32 {
        known.lost[r] * self.norm[j] + known.norm[r] * self.lost[j]
    }

    /// Products of whole numbers to high ends, with their bias. Where nothing is known they are NaN or infinite.
    pub fn highs(&self, level: Level, known: &Panel, tile: &mut Tile) {
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
