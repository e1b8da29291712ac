//! [`latens_kernels::sae::encode`] on the host: tiles of pre-activations are made and searched in the first-level
//! cache, so none of them is ever stored.
use super::Level;
use super::candidates::{Candidates, Flat, put};
use super::search::Search;
use crate::once::once;
use alloc::vec::Vec;
use latens_kernels::sae::encode::{self, Plan, Select};
use latens_kernels::{DType, Float, Result};

once! {
    /// See [`encode::forward`].
    pub fn forward;
    /// [`forward`] with these instructions.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        w_enc: &[T],
        bias: &[T::Acc],
        values: &mut [T::Acc],
        latents: &mut [u32],
    ) = forward_impl;
}

fn forward_impl<T: Float>(
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
    let search = Search::new(level, p, x, w_enc, bias).largest(p.k());
    rows(&search, p, 0.0_f32.next_up(), true, |latent| latent, values, latents, &mut []);
}

once! {
    /// See [`encode::subset`]. The rows of the subset are copied together first.
    ///
    /// # Errors
    /// As there.
    pub fn subset<T>(
        p: &Plan,
        x: &[T],
        w_enc: &[T],
        bias: &[T::Acc],
        subset: &[u32],
        count: &[u32],
        values: &mut [T::Acc],
        latents: &mut [u32],
    ) -> Result<()> = subset_impl;
}

fn subset_impl<T: Float>(
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
    let search = Search { w: &w, w_stride: p.dim(), n: listed.len(), ..Search::new(Level::best(), p, x, w_enc, &bias) };
    rows(&search.largest(p.k()), p, 0.0_f32.next_up(), true, |at| listed[at as usize], values, latents, &mut []);
    Ok(())
}

once! {
    /// See [`encode::threshold`].
    pub fn threshold<T>(
        p: &Plan,
        x: &[T],
        w_enc: &[T],
        bias: &[T::Acc],
        values: &mut [T::Acc],
        latents: &mut [u32],
        counts: &mut [u32],
    ) = threshold_impl;
}

fn threshold_impl<T: Float>(
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
    let search = Search::new(Level::best(), p, x, w_enc, bias);
    rows(&search, p, least, false, |latent| latent, values, latents, counts);
}

once! {
    /// See [`encode::flat`].
    pub fn flat<T>(
        p: &Plan,
        x: &[T],
        w_enc: &[T],
        bias: &[T::Acc],
        values: &mut [T::Acc],
        latents: &mut [u32],
        offsets: &mut [u32],
    ) = flat_impl;
}

fn flat_impl<T: Float>(
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
    let search = Search::new(Level::best(), p, x, w_enc, bias);
    let mut all = Flat::new(0..0, total);
    if total > 0 {
        search.run(|rows, _| Flat::new(rows, total)).1.into_iter().for_each(|found| all.take(found));
    }
    all.put(p.rows(), p.n() as u32, &mut values[..total], &mut latents[..total], offsets);
}

/// Search all rows, and put out the largest of each.
fn rows<T: Float>(
    search: &Search<T>,
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
    let (blocks, found) = search.run(|rows, latents| Candidates::new(rows.len(), k, latents.len(), least, rising));
    let ranges = found.len() / blocks.len();
    let (values, latents) = (&mut values[..slots], &mut latents[..slots]);
    let mut keys = Vec::new();
    for (block, parts) in blocks.iter().zip(found.chunks(ranges)) {
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
