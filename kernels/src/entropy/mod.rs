//! Entropy of the elements of many tensors, from a sample of each, with its error bar.
//!
//! | argument   | shape           | type         |
//! |------------|-----------------|--------------|
//! | `x`        | `[len]`, the buffer of all tensors | float |
//! | `segments` | [`Segments`]    | `u32` words  |
//! | `values`   | `[segments, 8]` | `Float::Acc` |
//! | `counts`   | `[segments, 3]`: finite elements of the sample, NaN, infinities | `u32` |
//!
//! A row of `values` is: the entropy in nats; its standard error; the correction for empty bins; the lowest and the highest
//! element of the sample; its mean and variance; the number of bins that are not empty. With `n` elements, `n_k` of them in
//! bin `k`, `K` bins not empty, and bins of width `w = (high - low) / bins`:
//!
//! ```text
//! Discrete      ln n - Σ n_k ln n_k / n                     correction (K - 1) / 2n   (Miller and Madow)
//! Differential  that + ln w                                 the same
//! Gaussian      ln(2 π e variance) / 2                      none
//! ```
//! Element `x` is in bin `min(⌊(x u - low u) * (bins / (high u - low u))⌋, bins - 1)`, computed in `Float::Acc` step by step
//! with the power of two `u` that brings `high - low` near 1 ([`Scale`]), so that every device counts alike, and neither the
//! widest nor the narrowest range fails. `Discrete` does not change with the scale
//! of `x`, and so says nothing about shrinking gradients; the others do.
//!
//! **Sample.** [`Sampling::Chunks`] cuts a segment into chunks of `chunk` elements and takes one of every `stride`, drawn by
//! `philox(seed, [s / 4, segment, step])[s % 4]` for the `s`-th `stride` of chunks: memory is read in whole lines, and
//! `1 / stride` of it. [`Sampling::Released`] is the rule of the published program: of the elements that are finite, every
//! `stride`-th; all of the memory is read.
//! **Error.** The sample is cut into runs of [`RUN`] elements (of the segment, for `Released`); run `r` is in group
//! `r % 16`; the estimate is repeated without each group that has elements, and their spread gives the standard error
//! (jackknife, groups of whole runs, so that neighbours may depend on each other). It is infinite if there are fewer than
//! two groups, or an estimate is. It says nothing about a bias: bins much wider than what they should show.
//!
//! **NaN and infinities** are counted apart and never sampled (`Released` counts those of all elements, `Chunks` those that
//! it meets). **Empty** segments, and those without finite elements: entropy 0 for `Discrete` and NaN for others, other
//! columns NaN, infinite error. **Equal elements**: 0 for `Discrete`, `-inf` for others. **Determinism** stable; `counts`,
//! lowest, highest and filled bins exact; the rest close to the reference within 1e-10 normalised squared error by column.
//! The variance keeps 1e-15 of the mean square. **Errors** `Size` if `x` is shorter than the table, `Range` or `Value` for settings out of
//! range, `TooLarge` if a segment has more than 2^32 - 1 elements to look at.
//! **Launches** on a device: three, four for `Released`, two for `Gaussian`, however many segments there are; see [`launch()`].
//! **Moves** [`Plan::bytes`]: what is sampled, twice (16-bit elements of a large segment once on the host, as their patterns are
//! counted). The host adds about one table access an element, which is the floor there: 1 to 1.5 cycles.
//! **Source** the sampler and the released rule: EDGC (2025); the correction: Miller 1955.
mod estimate;
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result, Segments, philox};
use core::ops::Range;
pub use estimate::{Group, Scale, State, estimate};
pub use launch::launch;
pub use reference::forward;

/// The device code.
pub static IMAGE: Image = Image { name: "entropy", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/entropy.fatbin")) };

const OP: &str = "entropy";
/// Elements of a run.
pub const RUN: usize = 1024;
/// Groups of runs.
pub const GROUPS: usize = 16;
/// Numbers of a row of `values`.
pub const COLUMNS: usize = 8;
/// The most bins.
pub const BINS: usize = 4096;

/// What is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// Of a histogram between the lowest and the highest element.
    Discrete,
    /// Of that histogram as a density.
    Differential,
    /// Of the normal distribution of that variance.
    Gaussian,
}

/// Which elements are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Whole chunks, drawn.
    Chunks {
        /// Elements of a chunk: a power of two from 32 to [`RUN`].
        chunk: usize,
        /// One chunk of so many.
        stride: usize,
        /// Names the draws.
        seed: u64,
        /// Names the draws of this call.
        step: u64,
    },
    /// Every `stride`-th finite element.
    Released {
        /// One element of so many.
        stride: usize,
    },
}

/// How entropy is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What.
    pub estimator: Estimator,
    /// Bins of the histogram, 2 to [`BINS`].
    pub bins: usize,
    /// Whether the correction for empty bins is added.
    pub correct: bool,
    /// Of which elements.
    pub sampling: Sampling,
}

impl Settings {
    /// The rule of the published program: every fourth finite element, 1000 bins, nothing corrected.
    pub const RELEASED: Self =
        Self { estimator: Estimator::Discrete, bins: 1000, correct: false, sampling: Sampling::Released { stride: 4 } };

    /// Density of 1000 bins, corrected, of the fraction `beta` of chunks of 256: drawn by `seed`, anew in each `step`.
    pub fn drawn(beta: f64, seed: u64, step: u64) -> Self {
        let stride = if beta > 0.0 { (1.0 / beta) as usize } else { 0 };
        let sampling = Sampling::Chunks { chunk: 256, stride, seed, step };
        Self { estimator: Estimator::Differential, bins: 1000, correct: true, sampling }
    }

    /// Whether the entropy is to be looked at in `step`, if a fraction `alpha` of steps is: the first level of sampling.
    pub fn due(alpha: f64, step: u64) -> bool {
        alpha > 0.0 && step.is_multiple_of(((1.0 / alpha) as u64).max(1))
    }
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    settings: Settings,
    segments: &'a Segments,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range`, `Value` or `TooLarge` as the contract says.
pub fn plan<'a>(x: &Layout<1>, segments: &'a Segments, settings: &Settings) -> Result<Plan<'a>> {
    let (want, got) = (segments.span(), x.dims()[0]);
    if got < want {
        return Err(Error::Size { op: OP, arg: "x", want, got });
    }
    let value = |arg, want| Error::Value { op: OP, arg, want };
    if !(2..=BINS).contains(&settings.bins) {
        return Err(value("bins", "from 2 to 4096"));
    }
    let stride = match settings.sampling {
        Sampling::Chunks { chunk, stride, .. } => {
            if !chunk.is_power_of_two() || !(32..=RUN).contains(&chunk) {
                return Err(value("chunk", "a power of two from 32 to 1024"));
            }
            stride
        }
        Sampling::Released { stride } => stride,
    };
    if stride == 0 || stride > i32::MAX as usize {
        return Err(value("stride", "from 1 to 2^31 - 1"));
    }
    if segments.count() > i32::MAX as usize {
        return Err(Error::Range { op: OP, arg: "segments", max: i32::MAX as usize, got: segments.count() });
    }
    let p = Plan { settings: *settings, segments };
    if (0..segments.count()).any(|segment| p.sampled(segment) > u32::MAX as usize) {
        return Err(Error::TooLarge);
    }
    Ok(p)
}

impl<'a> Plan<'a> {
    /// How.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// Of which tensors.
    pub fn segments(&self) -> &'a Segments {
        self.segments
    }
    /// Shapes of `values` and `counts`.
    pub fn out(&self) -> [[usize; 2]; 2] {
        [[self.segments.count(), COLUMNS], [self.segments.count(), 3]]
    }
    /// Whether there is a histogram.
    pub fn has_bins(&self) -> bool {
        self.settings.estimator != Estimator::Gaussian
    }

    /// Elements of a segment that are looked at, up to the rest of a last chunk.
    pub fn sampled(&self, segment: usize) -> usize {
        let len = self.segments.all()[segment].len();
        match self.settings.sampling {
            Sampling::Chunks { chunk, stride, .. } => len.div_ceil(chunk).div_ceil(stride) * chunk,
            Sampling::Released { .. } => len,
        }
    }

    /// Runs of a segment.
    pub fn runs(&self, segment: usize) -> usize {
        self.sampled(segment).div_ceil(RUN)
    }

    /// Where the elements of a run lie in `x`: its chunks in order. For `Released` all elements that it chooses from.
    pub fn parts(&self, segment: usize, run: usize) -> impl Iterator<Item = Range<usize>> {
        let within = self.segments.all()[segment];
        let (chunk, sampling) = match self.settings.sampling {
            Sampling::Chunks { chunk, .. } => (chunk, self.settings.sampling),
            sampling => (RUN, sampling),
        };
        let (each, chunks) = (RUN / chunk, within.len().div_ceil(chunk));
        let mut draws = [0; 4];
        (run * each..(run + 1) * each).map_while(move |s| {
            let at = match sampling {
                Sampling::Chunks { stride, seed, step, .. } => {
                    let left = chunks.checked_sub(s * stride).filter(|&left| left > 0)?;
                    if s % 4 == 0 || s == run * each {
                        let counter = [(s / 4) as u32, segment as u32, step as u32, (step >> 32) as u32];
                        draws = philox(seed, counter);
                    }
                    s * stride + ((u64::from(draws[s % 4]) * left.min(stride) as u64) >> 32) as usize
                }
                Sampling::Released { .. } => s,
            };
            let from = within.start + at * chunk;
            (at < chunks).then(|| from..(from + chunk).min(within.end()))
        })
    }

    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let all = self.segments.all().iter().enumerate();
        let read: usize = all.map(|(i, segment)| self.sampled(i).min(segment.len())).sum();
        let twice = if self.has_bins() { 2 } else { 1 };
        twice * read * size + self.segments.count() * (4 * COLUMNS + 12 + 4 * Segments::WORDS)
    }

    /// Bytes of scratch on a device.
    pub fn workspace(&self) -> usize {
        launch::workspace(self)
    }
}
