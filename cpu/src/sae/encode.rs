//! [`latens_kernels::sae::encode`] on the host: tiles of pre-activations are made and searched in the first-level
//! cache, so none of them is ever stored.
use super::candidates::{Candidates, Flat, put};
use super::tile::{LATENTS, Panels, ROWS, Rows, Tile};
use super::{Level, tasks, threads};
use crate::cast::cast;
use alloc::{vec, vec::Vec};
use core::{array::from_fn, ops::Range};
use latens_kernels::sae::encode::{self, Plan, Select};
use latens_kernels::{DType, Float, Result, bf16};

/// See [`encode::forward`].
pub fn forward<T: Float>(p: &Plan, x: &[T], w_enc: &[T], bias: &[T::Acc], values: &mut [T::Acc], latents: &mut [u32]) {
    forward_at(Level::best(), p, x, w_enc, bias, values, latents);
}

/// [`forward`] with these instructions.
pub fn forward_at<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    values: &mut [T::Acc],
    latents: &mut [u32],
) {
    if T::DTYPE == DType::F64 {
        return encode::forward(p, x, w_enc, bias, values, latents);
    }
    let product = Product::new(level, p, x, w_enc, bias);
    rows(&product, p, 0.0_f32.next_up(), true, |latent| latent, values, latents, &mut []);
}

/// See [`encode::subset`]. The rows of the subset are copied together first.
///
/// # Errors
/// As there.
pub fn subset<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    subset: &[u32],
    count: &[u32],
    values: &mut [T::Acc],
    latents: &mut [u32],
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return encode::subset(p, x, w_enc, bias, subset, count, values, latents);
    }
    let listed = encode::listed(p, subset, count)?;
    let mut w = Vec::with_capacity(listed.len() * p.dim());
    for &latent in listed {
        w.extend_from_slice(&w_enc[latent as usize * p.w().strides()[0]..][..p.dim()]);
    }
    let bias: Vec<_> = listed.iter().map(|&latent| bias[latent as usize]).collect();
    let product =
        Product { w: &w, w_stride: p.dim(), n: listed.len(), ..Product::new(Level::best(), p, x, w_enc, &bias) };
    rows(&product, p, 0.0_f32.next_up(), true, |at| listed[at as usize], values, latents, &mut []);
    Ok(())
}

/// See [`encode::threshold`].
pub fn threshold<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    values: &mut [T::Acc],
    latents: &mut [u32],
    counts: &mut [u32],
) {
    let Select::Above(threshold) = p.select() else { unreachable!("a plan of plan_threshold") };
    if T::DTYPE == DType::F64 {
        return encode::threshold(p, x, w_enc, bias, values, latents, counts);
    }
    // Candidates reach a bound, and nothing is above infinity.
    let least = if threshold == f32::INFINITY { f32::NAN } else { threshold.max(0.0).next_up() };
    let product = Product::new(Level::best(), p, x, w_enc, bias);
    rows(&product, p, least, false, |latent| latent, values, latents, counts);
}

/// See [`encode::flat`].
pub fn flat<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    values: &mut [T::Acc],
    latents: &mut [u32],
    offsets: &mut [u32],
) {
    if T::DTYPE == DType::F64 {
        return encode::flat(p, x, w_enc, bias, values, latents, offsets);
    }
    let total = p.shape().slots();
    let product = Product::new(Level::best(), p, x, w_enc, bias);
    let (blocks, ranges) = product.split();
    let mut all = Flat::new(0..0, total);
    if total > 0 {
        let found = tasks((0..blocks.len() * ranges.len()).collect(), |_, task: usize| {
            let rows = blocks[task / ranges.len()].clone();
            let mut sink = Flat::new(rows.clone(), total);
            product.search(rows, ranges[task % ranges.len()].clone(), &mut sink);
            sink
        });
        found.into_iter().for_each(|found| all.take(found));
    }
    all.put(p.rows(), p.n() as u32, &mut values[..total], &mut latents[..total], offsets);
}

/// Search all rows, and put out the largest of each.
fn rows<T: Float>(
    product: &Product<T>,
    p: &Plan,
    least: f32,
    rising: bool,
    names: impl Fn(u32) -> u32,
    values: &mut [T::Acc],
    latents: &mut [u32],
    counts: &mut [u32],
) {
    let (k, slots) = (p.k(), p.shape().slots());
    if k == 0 && counts.is_empty() {
        return;
    }
    let (blocks, ranges) = product.split();
    let found = tasks((0..blocks.len() * ranges.len()).collect(), |_, task: usize| {
        let (rows, latents) = (blocks[task / ranges.len()].clone(), ranges[task % ranges.len()].clone());
        let mut lists = Candidates::new(rows.len(), k, latents.len(), least, rising);
        product.search(rows, latents, &mut lists);
        lists
    });
    let (values, latents) = (&mut values[..slots], &mut latents[..slots]);
    let mut keys = Vec::new();
    for (block, parts) in blocks.iter().zip(found.chunks(ranges.len())) {
        for r in block.clone() {
            let at = r - block.start;
            keys.clear();
            parts.iter().for_each(|part| keys.extend_from_slice(part.row(at)));
            if let Some(count) = counts.get_mut(r) {
                *count = parts.iter().map(|part| part.count(at)).sum();
            }
            let slots = r * k..(r + 1) * k;
            put(&mut keys, k, &names, p.n() as u32, &mut values[slots.clone()], &mut latents[slots]);
        }
    }
}

/// Where candidates go.
pub(super) trait Sink {
    /// What a value must reach to be one, for the rows from `first` on.
    fn bounds(&self, first: usize) -> [f32; ROWS];
    /// Take a candidate, of a row counted from the first of the block.
    fn push(&mut self, row: usize, value: f32, latent: u32);
}

/// `z = x wᵀ + bias`, to be searched.
struct Product<'a, T: Float> {
    level: Level,
    x: &'a [T],
    x_stride: usize,
    rows: usize,
    dim: usize,
    w: &'a [T],
    w_stride: usize,
    n: usize,
    bias: &'a [T::Acc],
}

impl<'a, T: Float> Product<'a, T> {
    fn new(level: Level, p: &Plan, x: &'a [T], w: &'a [T], bias: &'a [T::Acc]) -> Self {
        let ([x_stride, _], [w_stride, _]) = (p.x().strides(), p.w().strides());
        Self { level, x, x_stride, rows: p.rows(), dim: p.dim(), w, w_stride, n: p.n(), bias }
    }

    /// Blocks of rows whose panels stay in the second-level cache while `w` streams past, and ranges of latents where
    /// there are fewer blocks than threads. No number depends on the split.
    fn split(&self) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let threads = threads();
        let cached = (CACHED / (size_of::<T>() * self.dim).max(1)).max(ROWS);
        let panels = self.rows.div_ceil(ROWS);
        let blocks = self.rows.div_ceil(cached).next_multiple_of(threads).clamp(1, panels.max(1));
        let ranges = threads.div_ceil(blocks).min(self.n.div_ceil(LATENTS)).max(1);
        (parts(self.rows, blocks, ROWS), parts(self.n, ranges, LATENTS))
    }

    fn search(&self, rows: Range<usize>, latents: Range<usize>, sink: &mut impl Sink) {
        let (level, dim) = (self.level, self.dim);
        let panels = Panels::pack(level, &self.x[rows.start * self.x_stride..], rows.len(), self.x_stride, dim);
        let mut tile = Tile::new();
        let mut wide = vec![0.0; if T::DTYPE == DType::F32 { 0 } else { LATENTS * dim }];
        for first in latents.clone().step_by(LATENTS) {
            let count = LATENTS.min(latents.end - first);
            let row = |j: usize| &self.w[(first + j.min(count - 1)) * self.w_stride..][..dim];
            let bias = from_fn(|j| self.bias[first + j.min(count - 1)].to_f32());
            let w = match (cast::<T, f32>(&[]), cast::<T, bf16>(&[])) {
                (Some(_), _) => Rows::Wide(from_fn(|j| cast(row(j)).unwrap_or(&[]))),
                (_, Some(_)) if Panels::paired::<T>(level) => Rows::Pairs(from_fn(|j| cast(row(j)).unwrap_or(&[]))),
                _ => {
                    for j in 0..count {
                        super::widen(level, row(j), &mut wide[j * dim..][..dim]);
                    }
                    Rows::Wide(from_fn(|j| &wide[j.min(count - 1) * dim..][..dim]))
                }
            };
            for panel in 0..rows.len().div_ceil(ROWS) {
                tile.fill(level, &panels, panel, &w, dim, &bias, &sink.bounds(panel * ROWS));
                for j in 0..count {
                    let mut hits = tile.hits[j];
                    while hits != 0 {
                        let r = hits.trailing_zeros() as usize;
                        hits &= hits - 1;
                        sink.push(panel * ROWS + r, tile.z[j][r], (first + j) as u32);
                    }
                }
            }
        }
    }
}

/// Bytes of panels that one thread works on.
const CACHED: usize = 512 << 10;

/// `0..len` in `count` parts of nearly equal length, each but the last a multiple of `unit`.
fn parts(len: usize, count: usize, unit: usize) -> Vec<Range<usize>> {
    let step = len.div_ceil(count).next_multiple_of(unit).max(1);
    // One empty part where there is nothing: outputs may have to be filled all the same.
    (0..len.max(1)).step_by(step).map(|start| start..len.min(start + step)).collect()
}
