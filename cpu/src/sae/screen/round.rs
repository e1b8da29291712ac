//! A row in 16 bits for each number, and what that loses.
use crate::cast::cast;
use crate::tile::{LANES, halves};
use crate::{level::Level, math::root};
use latens_kernels::Float;

/// What is known of a rounded row.
pub(super) struct Row {
    /// Not less than the norm of what is left.
    pub norm: f32,
    /// Not less than the norm of what is lost.
    pub lost: f32,
    /// What whole numbers stand for; 1 of `bf16`.
    pub scale: f32,
}

/// Of which nothing is known.
const UNKNOWN: Row = Row { norm: f32::INFINITY, lost: f32::INFINITY, scale: 0.0 };
/// Within these norms no square or product that counts leaves the range of `f32`.
const SAFE: core::ops::RangeInclusive<f32> = 1e-15..=1e15;
/// Sums are made in lanes, so that they may be in registers.
const PARTS: usize = 2 * LANES;
/// What the roundings of a sum of squares may take from a norm, and more.
const ROOM: f32 = 1.001;

/// Round a row of `f32` to pairs: of `bf16` if the level multiplies them, else of whole numbers.
pub(super) fn round<T: Float>(level: Level, row: &[T], pairs: &mut [u32]) -> Row {
    let row = cast::<T, f32>(row).expect("rows of f32");
    let to = &mut halves(pairs)[..row.len()];
    if !level.pairs() {
        return whole_row(level, row, to);
    }
    let (mut norm, mut lost) = ([0.0; PARTS], [0.0; PARTS]);
    level.run(
        #[inline(always)]
        |_| each(row, to, &mut norm, &mut lost),
    );
    let [norm, lost] = [norm, lost].map(|squares| root(folded(level, squares, |a, b| a + b)) * ROOM);
    if SAFE.contains(&norm) || row.iter().all(|&x| x == 0.0) { Row { norm, lost, scale: 1.0 } } else { UNKNOWN }
}

/// In whole numbers. What is lost is half a multiple at most for each number: adding up what it is would take as long as the rest,
/// to make it a little more than half.
fn whole_row(level: Level, row: &[f32], to: &mut [u16]) -> Row {
    let (scale, norm) = scale(level, row);
    if scale == 0.0 {
        to.fill(0);
        return if row.iter().all(|&x| x == 0.0) { Row { norm: 0.0, lost: 0.0, scale } } else { UNKNOWN };
    }
    let inverse = 1.0 / scale; // a power of two
    level.run(
        #[inline(always)]
        |_| row.iter().zip(to).for_each(|(&x, to)| *to = whole(x, inverse)),
    );
    let lost = 0.5 * scale * root(row.len() as f32) * ROOM;
    Row { norm: norm + lost, lost, scale }
}

/// Write the nearest `bf16` of every number, and add up squares of it and of the rest.
#[inline(always)]
fn each(row: &[f32], to: &mut [u16], norm: &mut [f32; PARTS], lost: &mut [f32; PARTS]) {
    let (rows, rest) = row.as_chunks::<PARTS>();
    let (to_rows, to_rest) = to.as_chunks_mut::<PARTS>();
    for (x, to) in rows.iter().zip(to_rows) {
        for i in 0..PARTS {
            to[i] = one(x[i], &mut norm[i], &mut lost[i]);
        }
    }
    for (i, (&x, to)) in rest.iter().zip(to_rest).enumerate() {
        *to = one(x, &mut norm[i], &mut lost[i]);
    }
}

/// All parts by halves: one after the other they would take longer than the row.
fn folded(level: Level, mut parts: [f32; PARTS], with: impl Fn(f32, f32) -> f32) -> f32 {
    level.run(
        #[inline(always)]
        |_| {
            let mut half = PARTS / 2;
            while half > 0 {
                let (low, high) = parts.split_at_mut(half);
                low.iter_mut().zip(high).for_each(|(a, b)| *a = with(*a, *b));
                half /= 2;
            }
            parts[0]
        },
    )
}

#[inline(always)]
fn one(x: f32, norm: &mut f32, lost: &mut f32) -> u16 {
    let (bits, kept) = brief(x);
    *norm += kept * kept;
    *lost += (x - kept) * (x - kept);
    bits
}

/// The nearest `bf16`.
#[inline(always)]
fn brief(x: f32) -> (u16, f32) {
    let bits = x.to_bits();
    let near = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) & 0xffff_0000;
    // Subnormal numbers are zero to products of pairs.
    let near = if near & 0x7f80_0000 == 0 { 0 } else { near };
    ((near >> 16) as u16, f32::from_bits(near))
}

/// The nearest whole multiple of what `inverse` is the inverse of; of numbers within 32767 multiples.
#[inline(always)]
fn whole(x: f32, inverse: f32) -> u16 {
    /// Adding it rounds to a whole number, which stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    (x * inverse + ROUND).to_bits() as u16
}

/// The least power of two whose multiples reach the largest number of a row within 32767, and its norm within the root of
/// 2^31: then no sum of products of two such rows, nor of their beginnings, leaves 32 bits (Cauchy-Schwarz); and a number
/// not below the norm. 0 where there is none.
fn scale(level: Level, row: &[f32]) -> (f32, f32) {
    let (mut squares, mut largest) = ([0.0_f32; PARTS], [0.0_f32; PARTS]);
    level.run(
        #[inline(always)]
        |_| {
            let (rows, rest) = row.as_chunks::<PARTS>();
            for x in rows {
                for i in 0..PARTS {
                    squares[i] += x[i] * x[i];
                    largest[i] = largest[i].max(x[i].abs());
                }
            }
            for (i, x) in rest.iter().enumerate() {
                squares[i] += x * x;
                largest[i] = largest[i].max(x.abs());
            }
        },
    );
    let norm = root(folded(level, squares, |a, b| a + b)) * ROOM;
    let largest = folded(level, largest, f32::max);
    // Rounding moves every number by half a multiple at most.
    let reach = 46_340.0 - 0.51 * root(row.len() as f32) - 1.0;
    if !SAFE.contains(&norm) || reach < 1.0 {
        return (0.0, norm);
    }
    let least = (norm / reach).max(largest / 32_766.0);
    // The next power of two: its bits but for the exponent are zero.
    (f32::from_bits((least.to_bits() + 0x007f_ffff) & 0x7f80_0000), norm)
}
