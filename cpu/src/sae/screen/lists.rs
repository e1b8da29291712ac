//! What may be among the largest of each row.
use crate::level::{Level, prefetch};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Lists of products that are known so far only.
///
/// A full list raises the limit of its row, and drops what is below it.
pub(super) struct Lists {
    level: Level,
    /// How many are wanted of each row.
    k: usize,
    /// The low and high ends of products, and their latents: at most [`capacity`] of each row. NaN or infinite where nothing is
    /// known.
    lows: Vec<f32>,
    highs: Vec<f32>,
    latents: Vec<u32>,
    lens: Vec<u32>,
    /// What a high end must reach; NaN past the last row, which no number is below.
    limits: Vec<f32>,
    /// How often a list had to be decided by its values.
    decided: usize,
}

/// What sums and comparisons of `f32` may add to an error, relative to a bound.
const SLACK: f32 = 1.0 / (1 << 20) as f32;

/// How many a list holds. Of independent latents about as many as are wanted come each time that their number doubles, so
/// longer lists take in more before they raise their limit.
fn capacity(k: usize) -> usize {
    2 * k + 16
}

impl Lists {
    /// Empty ones, for values that reach these bounds.
    pub(super) fn new(level: Level, k: usize, rows: usize, bounds: Vec<f32>) -> Self {
        let slots = rows * capacity(k);
        let (lows, highs, latents) = (vec![0.0; slots], vec![0.0; slots], vec![0; slots]);
        let limits = bounds.into_iter().map(below).collect();
        Self { level, k, lows, highs, latents, lens: vec![0; rows], limits, decided: 0 }
    }

    pub(super) fn limits(&self, first: usize) -> &[f32] {
        &self.limits[first..]
    }

    /// Ask for the ends of some lists, of which others have been looked at in between.
    pub(super) fn ahead(&self, rows: Range<usize>) {
        for (row, &len) in rows.clone().zip(&self.lens[rows]) {
            let at = row * capacity(self.k) + len as usize;
            prefetch(&self.lows, at);
            prefetch(&self.highs, at);
            prefetch(&self.latents, at);
        }
    }

    /// Add a product with this high end whose error is not above this one. `value` computes it whole, of which only a list
    /// of many too near to each other makes use.
    #[inline(always)]
    pub(super) fn push(&mut self, row: usize, high: f32, error: f32, latent: u32, value: impl Fn(u32) -> f32) {
        let (capacity, len) = (capacity(self.k), self.lens[row] as usize);
        let at = row * capacity + len;
        (self.lows[at], self.highs[at], self.latents[at]) = (high - 2.0 * error, high, latent);
        self.lens[row] = len as u32 + 1;
        if len + 1 == capacity {
            self.keep(row);
            if self.lens[row] as usize > capacity - self.k / 4 - 8 {
                self.decide(row, value);
            }
        }
    }

    /// Where the list of a row is.
    fn of(&self, row: usize) -> Range<usize> {
        let first = row * capacity(self.k);
        first..first + self.lens[row] as usize
    }

    /// Raise the limit of a row to the `k`-th largest low end, and drop what cannot reach it.
    #[inline(never)]
    fn keep(&mut self, row: usize) {
        let list = self.of(row);
        let (lows, highs) = (&mut self.lows[list.clone()], &mut self.highs[list.clone()]);
        let (latents, limit) = (&mut self.latents[list], &mut self.limits[row]);
        if let Some(low) = least_of(self.level, lows, self.k, *limit) {
            *limit = limit.max(below(below(low)));
            let mut kept = 0;
            for at in 0..highs.len() {
                // A NaN stays.
                let drops = highs[at] < *limit;
                (lows[kept], highs[kept], latents[kept]) = (lows[at], highs[at], latents[at]);
                kept += usize::from(!drops);
            }
            self.lens[row] = kept as u32;
        }
    }

    /// Errors are too large to part a list: keep the `k` largest by their values.
    #[cold]
    fn decide(&mut self, row: usize, value: impl Fn(u32) -> f32) {
        self.decided += 1;
        let list = self.of(row);
        let mut all: Vec<_> = self.latents[list.clone()].iter().map(|&latent| (value(latent), latent)).collect();
        // Equal values came by rising latent; NaN is last.
        all.sort_by(|a, b| f32::total_cmp(&number(b.0), &number(a.0)));
        for (at, (value, latent)) in list.zip(all) {
            (self.lows[at], self.highs[at], self.latents[at]) = (value, value, latent);
        }
        self.lens[row] = self.k as u32;
        self.keep(row);
    }

    /// Whether errors are so large that the screen may cost more than it saves: about one list for each row had to be
    /// decided, product by product. Where to give up is a guess, not measured.
    pub(super) fn vain(&self) -> bool {
        self.decided > self.lens.len()
    }

    /// Raise the limits of the same rows, of which each of `all` has met other latents.
    pub(super) fn join(all: &mut [&mut Self]) {
        let Some((rows, level, k)) = all.first().map(|lists| (lists.lens.len(), lists.level, lists.k)) else { return };
        let mut lows = Vec::new();
        for row in 0..rows {
            lows.clear();
            let from = all.iter().map(|lists| lists.limits[row]).fold(f32::NEG_INFINITY, f32::max);
            all.iter().for_each(|lists| lows.extend_from_slice(&lists.lows[lists.of(row)]));
            let low = least_of(level, &lows, k, from);
            let limit = low.map_or(from, |low| from.max(below(below(low))));
            all.iter_mut().for_each(|lists| lists.limits[row] = limit);
        }
    }

    /// The latents that are left for a row, in the order in which they came.
    pub(super) fn left(&mut self, row: usize) -> &[u32] {
        self.keep(row);
        &self.latents[self.of(row)]
    }
}

/// What is surely below a bound, however sums were rounded.
pub(super) fn below(bound: f32) -> f32 {
    bound - bound.abs() * SLACK
}

/// NaN, of which nothing is known, as the least.
fn number(low: f32) -> f32 {
    low.max(f32::NEG_INFINITY)
}

/// A number that at least `k` reach and, but for equal ones, no more; of those not below `from`, if so many reach it. `None`
/// if so many numbers there are not.
///
/// By halves of what is between, in the order of bits: counting takes a step for every eight numbers, and no branch hangs on
/// them, where selecting branches on each.
fn least_of(level: Level, lows: &[f32], k: usize, from: f32) -> Option<f32> {
    level.run(
        #[inline(always)]
        |_| {
            let reach = |least: f32| lows.iter().map(|&low| u32::from(low >= least)).sum::<u32>() as usize;
            let mut least = if reach(from) >= k { from } else { f32::NEG_INFINITY };
            if k == 0 || reach(least) < k {
                return None;
            }
            // Fewer reach `above`, a place past infinity at first.
            let (mut low, mut above) = (place(least), place(f32::INFINITY) + 1);
            while above - low > 1 {
                let middle = low + (above - low) / 2;
                let number = at_place(middle);
                match reach(number) {
                    count if count < k => above = middle,
                    count => {
                        (low, least) = (middle, number);
                        if count == k {
                            break;
                        }
                    }
                }
            }
            Some(least)
        },
    )
}

/// Numbers in their order as whole ones; no difference of two that are not NaN leaves 64 bits.
fn place(x: f32) -> i64 {
    let size = i64::from(x.to_bits() & 0x7fff_ffff);
    if x.is_sign_negative() { -1 - size } else { size }
}

/// The number at a place.
fn at_place(place: i64) -> f32 {
    if place < 0 { -f32::from_bits((-1 - place) as u32) } else { f32::from_bits(place as u32) }
}
