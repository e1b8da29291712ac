//! AdamW whose two moving averages are kept in 8 bits, with a scale to a block of entries: one pass decodes them, steps as
//! [`adamw`](super::adamw) does, and encodes them again.
//!
//! | argument | shape                         | type  |
//! |----------|-------------------------------|-------|
//! | `w`      | any                           | `f32` |
//! | `g`      | as `w`: the gradient          | `f32` |
//! | `m`, `v` | as `w`: codes of the averages | `u8`  |
//! | `scales` | `[blocks, 2]`: of `m`, of `v` | `f32` |
//!
//! A block is `block` entries in a row, a multiple of 32 from 64 to 4096; the last may be shorter. Codes and scales of zeros
//! stand for averages of zero: so they are before the first step. With `s` and `t` the scales of a block:
//!
//! ```text
//! m' = beta1 s DYNAMIC[m] + (1 - beta1) g        v' = beta2 t UNSIGNED[v] + (1 - beta2) g²
//! w  = (1 - lr weight_decay) w - lr m' / (1 - beta1^step) / (sqrt(v' / (1 - beta2^step)) + eps)
//! s = the m' of largest size, with its sign;  t = the largest v';  m, v = the codes of m' / s, of v' / t
//! ```
//! The tables are [`DYNAMIC`], with signs, and [`UNSIGNED`].
//! **Codes** are the nearest (of two, that of the smaller number), but a `v'` above 0 has one above 0: what is divided by
//! would be lost where `m'` is not. The scale of `m` has a sign because the table ends with 1 and not with -1: so the largest
//! entry of a block, whatever its sign, keeps its bits, and averages that only decay keep their codes. (Of equal sizes, a
//! positive one gives the scale.) The step takes `m'` and `v'` as they are before they are encoded, and no error is carried on.
//!
//! A block whose largest size is below 2^-100 has scale 0 and codes of 0: a gradient of zeros moves nothing but by
//! `weight_decay`. **NaN** and infinities in `g`, or squares that are infinite, do to `w` at once what they do in `adamw`, to
//! their own entry only; they make the scale of their block NaN and its codes 0, so that the next step makes all of the block
//! NaN. They never leave their block. **Empty** nothing is written. **Determinism** exact: every operation rounds to `f32`, and
//! none is fused. **Errors** as `adamw`, `Size` if `scales` has not two numbers for each block, `Value` for a block that there
//! is not. **Moves** [`Plan::bytes`]: 16 for an entry, and 16 for a block, where `adamw` moves 28 for an entry.
//! **Source** Dettmers et al., 8-bit Optimizers via Block-wise Quantization (2022), where the scale has no sign and a small
//! square may become 0.
use super::{AdamW, Constants, packed};
use crate::math::sqrt;
use crate::quant::code::{DYNAMIC, LEAST, UNSIGNED};
use crate::{Error, Layout, Result};
use alloc::vec::Vec;

const OP: &str = "adamw8";
/// The longest block.
pub const LONGEST: usize = 4096;

/// A checked step. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    n: usize,
    block: usize,
    constants: Constants,
}

/// Check a step.
///
/// # Errors
/// See the head of the module.
pub fn plan<const R: usize>(
    w: &Layout<R>,
    g: &Layout<R>,
    m: &Layout<R>,
    v: &Layout<R>,
    scales: &Layout<2>,
    block: usize,
    adamw: &AdamW,
) -> Result<Plan> {
    super::shapes(OP, w, [("w", w), ("g", g), ("m", m), ("v", v)])?;
    if !block.is_multiple_of(32) || !(64..=LONGEST).contains(&block) {
        return Err(Error::Value { op: OP, arg: "block", want: "a multiple of 32 from 64 to 4096" });
    }
    for (want, got) in [w.len().div_ceil(block), 2].into_iter().zip(scales.dims()) {
        if want != got {
            return Err(Error::Size { op: OP, arg: "scales", want, got });
        }
    }
    packed(OP, "scales", scales)?;
    adamw.check(OP)?;
    Ok(Plan { n: w.len(), block, constants: adamw.constants() })
}

impl Plan {
    /// Entries.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Entries of a block, but for the last.
    pub fn block(&self) -> usize {
        self.block
    }
    /// Blocks.
    pub fn blocks(&self) -> usize {
        self.n.div_ceil(self.block)
    }
    /// The constants of the step.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }
    /// Bytes that a step must move at least.
    pub fn bytes(&self) -> usize {
        16 * self.n + 16 * self.blocks()
    }
}

/// A number that ranks as the size of `x` does, and of two equal sizes the positive one above the other.
pub fn key(x: f32) -> u32 {
    x.to_bits() << 1 | u32::from(x.is_sign_positive())
}

/// The scale of a block, by the largest [`key`] of its entries, and what brings entries to their codes, or `None` if all
/// codes are 0.
pub fn scale(key: u32) -> (f32, Option<f32>) {
    let size = f32::from_bits(key >> 1);
    match size {
        size if !size.is_finite() => (f32::NAN, None),
        size if size < LEAST => (0.0, None),
        size => {
            let scale = if key & 1 == 1 { size } else { -size };
            (scale, Some(1.0 / scale))
        }
    }
}

/// The definition, a block at a time.
pub fn adamw8(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], scales: &mut [f32]) {
    let [beta1, rest1, beta2, rest2, keep, rate, root, eps] = p.constants.row();
    for (at, scales) in scales[..2 * p.blocks()].chunks_mut(2).enumerate() {
        let places = at * p.block..((at + 1) * p.block).min(p.n);
        let (mut means, mut squares) = (Vec::new(), Vec::new());
        for i in places.clone() {
            let mean = beta1 * (DYNAMIC[usize::from(m[i])] * scales[0]) + rest1 * g[i];
            let square = beta2 * (UNSIGNED[usize::from(v[i])] * scales[1]) + rest2 * g[i] * g[i];
            w[i] = keep * w[i] - rate * mean / (root * sqrt(f64::from(square)) as f32 + eps);
            means.push(mean);
            squares.push(square);
        }
        encode(&DYNAMIC, &means, &mut m[places.clone()], &mut scales[0]);
        encode(&UNSIGNED, &squares, &mut v[places.clone()], &mut scales[1]);
        for (code, square) in v[places].iter_mut().zip(squares) {
            if scales[1] > 0.0 && square > 0.0 {
                *code = (*code).max(1);
            }
        }
    }
}

/// The nearest codes of the numbers of a block, and their scale.
fn encode(table: &[f32; 256], numbers: &[f32], codes: &mut [u8], to: &mut f32) {
    let (scale, inverse) = scale(numbers.iter().map(|&x| key(x)).max().unwrap_or(0));
    *to = scale;
    for (code, x) in codes.iter_mut().zip(numbers) {
        let half_way = |at: usize| 0.5 * (table[at] + table[at + 1]);
        let beyond = |inverse: f32| (0..255).filter(|&at| x * inverse > half_way(at)).count();
        *code = inverse.map_or(0, beyond) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// The tables of the device are these, number by number: of two shortest decimals any may stand there.
    #[test]
    fn tables_of_the_device() {
        let numbers = |name: &str| -> Vec<u32> {
            let (_, table) = include_str!("tables.cuh").split_once(&format!(" {name}[256] = {{")).unwrap();
            let (table, _) = table.split_once('}').unwrap();
            let numbers = table.split(',').map(str::trim).filter(|number| !number.is_empty());
            numbers.map(|number| number.trim_end_matches('f').parse::<f32>().unwrap().to_bits()).collect()
        };
        for (name, table) in [("DYNAMIC", &DYNAMIC), ("UNSIGNED", &UNSIGNED)] {
            assert_eq!(numbers(name), table.map(f32::to_bits), "{name}");
        }
    }

    /// Twice as many numbers to a decade, in order, from 0 to 1.
    #[test]
    fn squares_have_a_table_of_their_own() {
        assert!(UNSIGNED.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((UNSIGNED[0], UNSIGNED[255]), (0.0, 1.0));
        let above = |table: &[f32; 256], least: f32| table.iter().filter(|&&x| x > least && x < 1.0).count();
        assert_eq!((above(&UNSIGNED, 0.1), above(&DYNAMIC, 0.1)), (128, 64));
    }
}
