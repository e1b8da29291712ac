//! The candidates of some rows: all that reached the bound when they came, among them the `k` largest.
use super::search::{ROWS, Sink};
use alloc::{vec, vec::Vec};
use core::ops::Range;
use latens_kernels::Float;

/// A value and its latent as one number: larger is first in order, so of equal values the smaller latent.
/// Only values that are not negative have one.
#[inline(always)]
pub(super) fn key(value: f32, latent: u32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(!latent)
}
pub(super) fn value(key: u64) -> f32 {
    f32::from_bits((key >> 32) as u32)
}
pub(super) fn latent(key: u64) -> u32 {
    !(key as u32)
}

/// The lists of some rows. A list that is full keeps its `k` largest, and from then on a candidate must be
/// larger than the least of them: the list is a cache, and the bound never passes one of the `k` largest.
pub(super) struct Candidates {
    k: usize,
    capacity: usize,
    keys: Vec<u64>,
    lens: Vec<u32>,
    /// What a value must reach, for each row and the padding.
    bounds: Vec<f32>,
    /// Whether bounds rise: not where all that reach the first are to be counted.
    rising: bool,
    /// How many came, for each row.
    counts: Vec<u32>,
}

impl Candidates {
    /// Empty lists for values not below `least`, of which `most` may come to each row.
    pub(super) fn new(rows: usize, k: usize, most: usize, least: f32, rising: bool) -> Self {
        let capacity = (2 * k).max(k + 32).min(most.max(1));
        let mut bounds = vec![least; rows.next_multiple_of(ROWS)];
        bounds[rows..].fill(f32::NAN); // no number reaches it
        Self { k, capacity, keys: vec![0; rows * capacity], lens: vec![0; rows], bounds, rising, counts: vec![0; rows] }
    }

    #[cold]
    fn keep(&mut self, row: usize) {
        if self.k == 0 {
            self.lens[row] = 0;
        } else if self.capacity > self.k {
            let list = &mut self.keys[row * self.capacity..][..self.capacity];
            let (_, least, _) = list.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            if self.rising {
                self.bounds[row] = value(*least).next_up();
            }
            self.lens[row] = self.k as u32;
        }
    }

    /// How many candidates came to a row.
    pub(super) fn count(&self, row: usize) -> u32 {
        self.counts[row]
    }

    /// The candidates of a row, in no order.
    pub(super) fn row(&self, row: usize) -> &[u64] {
        &self.keys[row * self.capacity..][..self.lens[row] as usize]
    }
}

impl Sink for Candidates {
    #[inline(always)]
    fn bound(&self, row: usize) -> f32 {
        self.bounds[row]
    }

    #[inline(always)]
    fn push(&mut self, row: usize, value: f32, latent: u32) {
        let len = self.lens[row] as usize;
        self.keys[row * self.capacity + len] = key(value, latent);
        self.lens[row] = len as u32 + 1;
        self.counts[row] += 1;
        if len + 1 == self.capacity {
            self.keep(row);
        }
    }
}

/// Put out the `k` largest by rising latent, then empty slots. `found` is used up.
pub(super) fn put<A: Float>(
    found: &mut Vec<u64>,
    k: usize,
    names: impl Fn(u32) -> u32,
    sentinel: u32,
    values: &mut [A],
    latents: &mut [u32],
) {
    if found.len() > k {
        if k > 0 {
            found.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        }
        found.truncate(k);
    }
    found.sort_unstable_by_key(|&key| latent(key));
    values.fill(A::default());
    latents.fill(sentinel);
    for ((key, out), name) in found.iter().zip(values).zip(latents) {
        (*out, *name) = (A::from_f32(value(*key)), names(latent(*key)));
    }
}

/// The candidates of a batch, one list for all rows: as [`Candidates`], but equal values may come in any order, so the
/// bound is the least value itself.
pub(super) struct Flat {
    rows: Range<usize>,
    total: usize,
    keys: Vec<u128>,
    bound: f32,
}

/// [`key`] with a row between value and latent.
fn flat_key(value: f32, row: usize, latent: u32) -> u128 {
    u128::from(value.to_bits()) << 64 | u128::from(!((row as u64) << 32 | u64::from(latent)))
}

impl Flat {
    /// An empty list for these rows of a batch, of which `total` are wanted.
    pub(super) fn new(rows: Range<usize>, total: usize) -> Self {
        Self { rows, total, keys: Vec::new(), bound: 0.0_f32.next_up() }
    }

    /// Add the candidates of another.
    pub(super) fn take(&mut self, mut other: Self) {
        other.keep();
        self.keys.append(&mut other.keys);
        self.keep();
    }

    fn keep(&mut self) {
        if self.keys.len() > self.total {
            let (_, least, _) = self.keys.select_nth_unstable_by(self.total - 1, |a, b| b.cmp(a));
            self.bound = f32::from_bits((*least >> 64) as u32);
            self.keys.truncate(self.total);
        }
    }

    /// Put out all by rising row and latent, then empty slots, and where rows begin and end.
    pub(super) fn put<A: Float>(
        mut self,
        rows: usize,
        sentinel: u32,
        values: &mut [A],
        latents: &mut [u32],
        offsets: &mut [u32],
    ) {
        let place = |key: u128| !(key as u64);
        self.keys.sort_unstable_by_key(|&key| place(key));
        values.fill(A::default());
        latents.fill(sentinel);
        offsets[..=rows].fill(0);
        for ((&key, out), name) in self.keys.iter().zip(values).zip(latents) {
            (*out, *name) = (A::from_f32(f32::from_bits((key >> 64) as u32)), place(key) as u32);
            offsets[(place(key) >> 32) as usize + 1] += 1;
        }
        for r in 0..rows {
            offsets[r + 1] += offsets[r];
        }
    }
}

impl Sink for Flat {
    #[inline(always)]
    fn bound(&self, row: usize) -> f32 {
        if row < self.rows.len() { self.bound } else { f32::NAN }
    }

    #[inline(always)]
    fn push(&mut self, row: usize, value: f32, latent: u32) {
        self.keys.push(flat_key(value, self.rows.start + row, latent));
        if self.keys.len() >= (2 * self.total).max(1 << 16) {
            self.keep();
        }
    }
}
