//! Codes of single numbers: twin of `code.cuh`. Every step rounds to `f32`, and none is fused.
use super::{Format, Rounding};
use crate::philox;

/// Sizes below this make a scale of 0.
pub const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// The numbers of [`Format::Normal4`]: quantiles of the normal distribution, with 0 and both ends.
pub const NORMAL: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The numbers of [`Format::Dynamic8`]: of decade `i` of seven the middles of `2^i` equal parts, to both sides; 0; and 1.
pub const DYNAMIC: [f32; 256] = signed();

/// The same for numbers that are never below 0: 0, and of each decade twice as many parts. The second moments of
/// [`optim::adamw8`](crate::optim::adamw8) are kept in it. Source: Dettmers et al., 8-bit Optimizers via Block-wise
/// Quantization (2022).
pub const UNSIGNED: [f32; 256] = unsigned();

const fn signed() -> [f32; 256] {
    let (above, mut table, mut at) = (decades::<128>(1), [0.0; 256], 0);
    while at < 127 {
        table[128 + at] = above[at];
        table[126 - at] = -above[at];
        at += 1;
    }
    table[255] = above[127];
    table
}

const fn unsigned() -> [f32; 256] {
    let (above, mut table, mut at) = (decades::<255>(2), [0.0; 256], 0);
    while at < 255 {
        table[1 + at] = above[at];
        at += 1;
    }
    table
}

/// The numbers above 0, ascending: of decade `i` of seven the middles of `first 2^i` equal parts, and 1.
const fn decades<const N: usize>(first: usize) -> [f32; N] {
    const TENS: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    let mut table = [1.0; N];
    let (mut decade, mut at) = (0, 0);
    while decade < 7 {
        let (mut part, parts) = (0, first << decade);
        while part < parts {
            let middle = (2 * part + 1) as f64 / (2 * parts) as f64;
            table[at] = ((0.1 + 0.9 * middle) * TENS[decade]) as f32;
            (at, part) = (at + 1, part + 1);
        }
        decade += 1;
    }
    assert!(at == N - 1);
    table
}

/// What the codes of one block mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coder {
    /// Which numbers.
    pub format: Format,
    /// The first number of the block in `scales`.
    pub scale: f32,
    /// The second, for `Affine`.
    pub offset: f32,
    /// What brings a number to its code.
    pub inverse: f32,
}

/// What must be known of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Block {
    /// Lowest number.
    pub low: f32,
    /// Highest number.
    pub high: f32,
    /// Sum of sizes: 32 sums, of every 32nd number from each of the first on, then by halves.
    pub sum: f32,
    /// How many.
    pub count: usize,
}

impl Coder {
    /// For numbers that are known.
    #[inline(always)]
    pub fn new(format: Format, rounding: Rounding, block: &Block) -> Self {
        let Block { low, high, sum, count } = *block;
        let size = if high > -low { high } else { -low };
        let ratio = |a: f32, b: f32| if b < LEAST { 0.0 } else { a / b };
        let (scale, inverse, offset) = match format {
            Format::Symmetric(bits) => {
                let top = ((1_u32 << (bits - 1)) - 1) as f32;
                (if size < LEAST { 0.0 } else { scale(0.0, size, top) }, ratio(top, size), 0.0)
            }
            Format::Affine(bits) => {
                let top = ((1_u32 << bits) - 1) as f32;
                let range = finite(high - low);
                (if range < LEAST { 0.0 } else { scale(low, range, top) }, ratio(top, range), low)
            }
            Format::Sign if rounding == Rounding::Nearest => (finite(sum) / count as f32, 0.0, 0.0),
            Format::Normal4 | Format::Dynamic8 | Format::Sign => {
                (if size < LEAST { 0.0 } else { size }, ratio(1.0, size), 0.0)
            }
        };
        Self { format, scale, offset, inverse }
    }

    /// As it was written to `scales`.
    #[inline(always)]
    pub fn of(format: Format, scales: &[f32]) -> Self {
        Self { format, scale: scales[0], offset: scales.get(1).copied().unwrap_or(0.0), inverse: 0.0 }
    }

    /// The code of `a`; `draw` is from `[0, 1)`, `None` takes the nearest.
    #[inline(always)]
    pub fn encode(&self, a: f32, draw: Option<f32>) -> u8 {
        match self.format {
            Format::Symmetric(bits) => {
                let top = ((1_i32 << (bits - 1)) - 1) as f32;
                let q = whole(a * self.inverse, draw);
                (q.clamp(-top, top) as i32 & ((1 << bits) - 1)) as u8
            }
            Format::Affine(bits) => {
                let top = ((1_i32 << bits) - 1) as f32;
                whole((a - self.offset) * self.inverse, draw).clamp(0.0, top) as u8
            }
            Format::Normal4 => search(&NORMAL, a * self.inverse, draw),
            Format::Dynamic8 => search(&DYNAMIC, a * self.inverse, draw),
            Format::Sign => match draw {
                None => u8::from(a >= 0.0),
                Some(draw) => u8::from(draw < 0.5 + 0.5 * (a * self.inverse)),
            },
        }
    }

    /// The number of a code.
    #[inline(always)]
    pub fn decode(&self, code: u8) -> f32 {
        match self.format {
            Format::Symmetric(bits) => {
                let q = ((code << (8 - bits)) as i8) >> (8 - bits);
                f32::from(q) * self.scale
            }
            Format::Affine(_) => self.offset + f32::from(code) * self.scale,
            Format::Normal4 => NORMAL[usize::from(code & 15)] * self.scale,
            Format::Dynamic8 => DYNAMIC[usize::from(code)] * self.scale,
            Format::Sign => {
                if code & 1 == 1 {
                    self.scale
                } else {
                    -self.scale
                }
            }
        }
    }
}

/// Adding and taking away rounds to the nearest whole number, of two to the even, for sizes below 2^22.
pub const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn whole(x: f32, draw: Option<f32>) -> f32 {
    // Also an end that is infinite by rounding stays one.
    let x = x.clamp(-1000.0, 1000.0);
    let Some(draw) = draw else { return x + ROUND - ROUND };
    let x = x + draw;
    let near = x + ROUND - ROUND;
    if near > x { near - 1.0 } else { near }
}

/// The place in an ascending table: of the number nearest to `x`, the smaller of two; or of one of those around it.
fn search(table: &[f32], x: f32, draw: Option<f32>) -> u8 {
    let (mut low, mut high) = (0, table.len() - 1);
    while low < high {
        let middle = (low + high) / 2;
        // Past `middle` if `x` is beyond half way to the next, or has reached the next.
        let beyond = match draw {
            None => x > 0.5 * (table[middle] + table[middle + 1]),
            Some(_) => x >= table[middle + 1],
        };
        (low, high) = if beyond { (middle + 1, high) } else { (low, middle) };
    }
    let up = draw.is_some_and(|draw| low + 1 < table.len() && draw < (x - table[low]) / (table[low + 1] - table[low]));
    low as u8 + u8::from(up)
}

/// `range / top`, rounded down where the largest code would otherwise be a number that is not finite.
#[inline(always)]
fn scale(offset: f32, range: f32, top: f32) -> f32 {
    let scale = range / top;
    if (offset + top * scale).is_finite() { scale } else { f32::from_bits(scale.to_bits() - 1) }
}

/// The nearest finite number.
#[inline(always)]
pub fn finite(x: f32) -> f32 {
    x.clamp(-f32::MAX, f32::MAX)
}

/// The draws for entries `4 i` to `4 i + 3`.
#[inline(always)]
pub fn draws(seed: u64, step: u64, i: u64) -> [f32; 4] {
    let bits = philox(seed, [i as u32, (i >> 32) as u32, step as u32, (step >> 32) as u32]);
    bits.map(|bits| (bits >> 8) as f32 / (1 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    /// The tables of the device are these; a failure prints what the file should hold.
    #[test]
    fn tables_of_the_device() {
        let lines = |table: &[f32]| -> String {
            let rows = table
                .chunks(8)
                .map(|row| row.iter().map(|x| format!("{x:?}f")).collect::<alloc::vec::Vec<_>>().join(", "));
            rows.map(|row| format!("  {row},\n")).collect()
        };
        let want = format!(
            "// Tables of code.rs, whose test compares them.\n#pragma once\n#include \"latens.cuh\"\n\n\
             static __device__ const f32 NORMAL[16] = {{\n{}}};\n\nstatic __device__ const f32 DYNAMIC[256] = {{\n{}}};\n",
            lines(&NORMAL),
            lines(&DYNAMIC)
        );
        assert!(want == include_str!("tables.cuh"), "tables.cuh should be:\n{want}");
    }

    #[test]
    fn tables_ascend() {
        assert!(DYNAMIC.windows(2).all(|pair| pair[0] < pair[1]) && NORMAL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((DYNAMIC[127], DYNAMIC[255]), (0.0, 1.0));
        assert!((DYNAMIC[128] - 0.55e-6).abs() < 1e-12 && (DYNAMIC[0] + 0.992_968_8).abs() < 1e-6);
    }
}
