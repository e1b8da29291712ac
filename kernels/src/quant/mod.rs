//! Numbers in 1 to 8 bits, a scale to a block of them; what rounding takes away is kept for the next call.
//!
//! | argument  | shape             | type  |
//! |-----------|-------------------|-------|
//! | `x`       | `[n]`             | float |
//! | `error`   | `[n]`, read and written, may be absent | `f32` |
//! | `codes`   | `[bytes]`, [`Plan::bytes_of_codes`]: see [`pack`] | `u8` |
//! | `scales`  | `[blocks, 1]`, with an offset `[blocks, 2]` for `Affine` | `f32` |
//! | `dropped` | `[1]`, added to   | `u32` |
//!
//! A block is `block` numbers in a row, a power of two from 32 to 4096; the last may be shorter. `a = x + error`, and in a block
//! with largest size `m = max |a|`, `low = min a` and `high = max a`:
//!
//! | format            | bits | scale                    | number of a code                                     |
//! |-------------------|------|--------------------------|------------------------------------------------------|
//! | `Symmetric(b)`    | 2-8  | `m / L`, `L = 2^(b-1)-1` | `q scale`, `q` from `-L` to `L` in two's complement  |
//! | `Affine(b)`       | 1-8  | `(high-low) / (2^b-1)`, offset `low` | `low + q scale`                          |
//! | `Normal4`         | 4    | `m`                      | `scale` times a quantile of the normal distribution  |
//! | `Dynamic8`        | 8    | `m`                      | `scale` times [`code::DYNAMIC`]: seven decades       |
//! | `Sign`            | 1    | mean of `\|a\|`; `m` if rounded by chance | `scale` for 1 (`a >= 0`), `-scale` for 0 |
//!
//! **Rounding.** `Nearest` takes the nearest number (of two, the even `q`, or the smaller number of a table). `Stochastic` takes the one
//! below or above so that the mean is `a`, with the draw `philox(seed, [i / 4, step])[i % 4]` for entry `i`.
//! **Error** becomes `a` less the number of its code: what is sent and what is kept always add up to what came, to rounding:
//! a step loses at most `2^-24 (|a| + |error|)`. `Sign` by chance sends the largest size for all, so what is kept may double with
//! each step: use it without `error`.
//! **Sum** takes the codes of several ranks, adds their numbers in the order of ranks in `f32`, times `factor`, and makes codes
//! again, with an `error` of its own.
//!
//! **NaN and infinities** in `x` (or in a sum) count as 0 and are added to `dropped`; `error` never takes one in, and one that is in it
//! counts as 0. What overflows becomes the largest number. A block whose size or range is below 2^-100 has scale 0: its numbers
//! are 0 (`low` for `Affine`). **Empty** nothing is written. **Determinism** exact: codes, scales, errors and sums have the same bits on every
//! device. All steps are in `f32`; `f64` is rounded first. **Errors** `Size`, `Value` for a block, a number of bits or a format that there is not.
//! **Moves** [`Plan::bytes`]: the floor is a copy of as many.
//! **Source** block-wise codes: Dettmers et al. 2022, 2023; Alistarh et al. 2017; signs: Karimireddy et al. 2019.
pub mod code;
mod launch;
pub mod pack;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{Codes, launch, launch_dequant, launch_sum};
pub use reference::{dequant, forward, sum};

/// The device code.
pub static IMAGE: Image = Image { name: "quant", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/quant.fatbin")) };

/// Which numbers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Whole multiples of the scale, to both sides of 0, in so many bits.
    Symmetric(u8),
    /// Whole multiples of the scale from the lowest number on, in so many bits.
    Affine(u8),
    /// Quantiles of the normal distribution.
    Normal4,
    /// Seven decades, finer towards the top.
    Dynamic8,
    /// The sign.
    Sign,
}

impl Format {
    /// Bits of a code.
    pub fn bits(self) -> usize {
        match self {
            Format::Symmetric(bits) | Format::Affine(bits) => bits.into(),
            Format::Normal4 => 4,
            Format::Dynamic8 => 8,
            Format::Sign => 1,
        }
    }

    /// Numbers that a block needs besides its codes.
    pub fn width(self) -> usize {
        if matches!(self, Format::Affine(_)) { 2 } else { 1 }
    }

    /// Its number in messages and in `quant.cu`.
    pub fn number(self) -> u8 {
        match self {
            Format::Symmetric(_) => 0,
            Format::Affine(_) => 1,
            Format::Normal4 => 2,
            Format::Dynamic8 => 3,
            Format::Sign => 4,
        }
    }
}

/// How a number becomes one of those there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest.
    Nearest,
    /// One of the two around it, so that the mean is right.
    Stochastic {
        /// Names the draws.
        seed: u64,
        /// Names the draws of this call.
        step: u64,
    },
}

/// How numbers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which numbers.
    pub format: Format,
    /// Numbers that share a scale.
    pub block: usize,
    /// How they are found.
    pub rounding: Rounding,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    settings: Settings,
    n: usize,
}

/// Check a call over `n` numbers.
///
/// # Errors
/// `Value` as the contract says; `TooLarge` for more blocks than a grid has.
pub fn plan(n: usize, settings: &Settings) -> Result<Plan> {
    let value = |arg, want| Err(Error::Value { op: "quant", arg, want });
    if !settings.block.is_power_of_two() || !(32..=4096).contains(&settings.block) {
        return value("block", "a power of two from 32 to 4096");
    }
    match settings.format {
        Format::Symmetric(bits) if !(2..=8).contains(&bits) => return value("format", "of 2 to 8 bits"),
        Format::Affine(bits) if !(1..=8).contains(&bits) => return value("format", "of 1 to 8 bits"),
        _ => {}
    }
    if n > 1 << 48 { Err(Error::TooLarge) } else { Ok(Plan { settings: *settings, n }) }
}

/// [`plan`] for the numbers `x`, and the memory of their errors.
///
/// # Errors
/// As [`plan`]; `Size` if `error` is of another length.
pub fn plan_of(x: &Layout<1>, error: Option<&Layout<1>>, settings: &Settings) -> Result<Plan> {
    let [n] = x.dims();
    match error.map(Layout::len).filter(|&len| len != n) {
        Some(got) => Err(Error::Size { op: "quant", arg: "error", want: n, got }),
        None => plan(n, settings),
    }
}

impl Plan {
    /// How.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// Numbers.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Numbers of a block, but for the last.
    pub fn block(&self) -> usize {
        self.settings.block
    }
    /// Blocks.
    pub fn blocks(&self) -> usize {
        self.n.div_ceil(self.settings.block)
    }
    /// Length of `codes`.
    pub fn bytes_of_codes(&self) -> usize {
        pack::bytes(self.n, self.settings.format.bits())
    }
    /// Bytes of the codes of a block, but for the last.
    pub fn bytes_of_block(&self) -> usize {
        self.settings.block / 8 * self.settings.format.bits()
    }
    /// Shape of `scales`.
    pub fn scales(&self) -> [usize; 2] {
        [self.blocks(), self.settings.format.width()]
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes, with or without errors.
    pub fn bytes(&self, size: usize, error: bool) -> usize {
        let [blocks, width] = self.scales();
        self.n * (size + if error { 8 } else { 0 }) + self.bytes_of_codes() + 4 * blocks * width
    }
}
