//! One block. Loops without a branch, by format, so that they become vector instructions.
use super::{LONGEST, chance, dynamic};
use latens_kernels::quant::code::{Block, Coder, DYNAMIC, NORMAL, ROUND};
use latens_kernels::quant::{Format, Rounding, pack as bits};

/// Memory for a block on its way.
pub(super) struct Scratch {
    pub(super) sums: [f32; LONGEST],
    pub(super) codes: [u8; LONGEST],
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { sums: [0.0; LONGEST], codes: [0; LONGEST] }
    }
}

/// Bits of an infinity.
const INFINITE: u32 = 0x7f80_0000;

/// `x` and its error together, in `to` unless `x` will do; and how many numbers of `x` were dropped.
#[inline(always)]
pub(super) fn gather<'a>(x: &'a [f32], error: Option<&[f32]>, to: &'a mut [f32]) -> (&'a [f32], u32) {
    let or_0 = |x: f32| if x.to_bits() << 1 < INFINITE << 1 { x } else { 0.0 };
    let Some(error) = error else {
        if top(x) < INFINITE {
            return (x, 0);
        }
        to.iter_mut().zip(x).for_each(|(to, &x)| *to = or_0(x));
        return (to, dropped(x));
    };
    for ((to, &x), &error) in to.iter_mut().zip(x).zip(error) {
        let sum = or_0(x) + or_0(error);
        let sum = if sum < f32::MAX { sum } else { f32::MAX };
        *to = if sum > -f32::MAX { sum } else { -f32::MAX };
    }
    (to, dropped(x))
}

#[inline(always)]
fn dropped(x: &[f32]) -> u32 {
    x.iter().map(|x| u32::from(x.to_bits() << 1 >= INFINITE << 1)).sum()
}

/// The largest size, as bits: they rank as sizes do, and what is not finite above all.
#[inline(always)]
fn top(x: &[f32]) -> u32 {
    x.iter().fold(0, |top, x| top.max(x.to_bits() & (u32::MAX >> 1)))
}

/// What `format` must know of a block.
#[inline(always)]
pub(super) fn look(format: Format, a: &[f32]) -> Block {
    let size = if matches!(format, Format::Affine(_)) { 0.0 } else { f32::from_bits(top(a)) };
    // All formats but one ask for the largest size only.
    let mut block = Block { low: -size, high: size, sum: 0.0, count: a.len() };
    match format {
        Format::Affine(_) => {
            let ends = [[f32::INFINITY; 32], [f32::NEG_INFINITY; 32]];
            let [low, high] =
                lanes(a, ends, |[low, high], x| [if x < low { x } else { low }, if x > high { x } else { high }]);
            block.low = low.iter().copied().fold(f32::INFINITY, f32::min) + 0.0;
            block.high = high.iter().copied().fold(f32::NEG_INFINITY, f32::max) + 0.0;
        }
        Format::Sign => {
            let [mut sums] = lanes(a, [[0.0; 32]], |[sum], x| [sum + x.abs()]);
            for half in [16, 8, 4, 2, 1] {
                (0..half).for_each(|i| sums[i] += sums[i + half]);
            }
            block.sum = sums[0];
        }
        _ => {}
    }
    block
}

#[inline(always)]
fn lanes<const N: usize>(
    a: &[f32],
    mut state: [[f32; 32]; N],
    step: impl Fn([f32; N], f32) -> [f32; N],
) -> [[f32; 32]; N] {
    for chunk in a.chunks(32) {
        for (i, &x) in chunk.iter().enumerate() {
            let next = step(core::array::from_fn(|n| state[n][i]), x);
            (0..N).for_each(|n| state[n][i] = next[n]);
        }
    }
    state
}

/// Codes of a block whose first number is `first`, one to a byte.
#[inline(always)]
pub(super) fn codes_of(coder: &Coder, rounding: Rounding, first: usize, a: &[f32], codes: &mut [u8]) {
    let Coder { format, offset, inverse, .. } = *coder;
    if let Rounding::Stochastic { seed, step } = rounding {
        return chance::codes_of(coder, (seed, step), first, a, codes);
    }
    match format {
        // The sum has the whole number in its low bits, in two's complement.
        Format::Symmetric(bits) => {
            let mask = (1_u32 << bits) - 1;
            for (code, a) in codes.iter_mut().zip(a) {
                *code = ((a * inverse + ROUND).to_bits() & mask) as u8;
            }
        }
        Format::Affine(bits) => {
            let top = ((1_u32 << bits) - 1) as f32;
            for (code, a) in codes.iter_mut().zip(a) {
                let q = (a - offset) * inverse;
                *code = ((if q < top { q } else { top }) + ROUND).to_bits() as u8;
            }
        }
        Format::Normal4 => {
            let half_way: [f32; 15] = core::array::from_fn(|i| 0.5 * (NORMAL[i] + NORMAL[i + 1]));
            for (code, a) in codes.iter_mut().zip(a) {
                let x = a * inverse;
                *code = half_way.iter().map(|&edge| u32::from(x > edge)).sum::<u32>() as u8;
            }
        }
        Format::Sign => codes.iter_mut().zip(a).for_each(|(code, &a)| *code = u8::from(a >= 0.0)),
        Format::Dynamic8 => dynamic::nearest_of_all(a, inverse, codes),
    }
}

/// Give each place the number of its code; codes are one to a byte.
#[inline(always)]
pub(super) fn decode<T>(coder: &Coder, codes: &[u8], to: &mut [T], put: impl Fn(&mut T, f32)) {
    let Coder { format, scale, offset, .. } = *coder;
    let all = to.iter_mut().zip(codes);
    match format {
        Format::Symmetric(bits) => {
            let shift = 8 - bits;
            all.for_each(|(to, &code)| put(to, f32::from(((code << shift) as i8) >> shift) * scale));
        }
        Format::Affine(_) => all.for_each(|(to, &code)| put(to, offset + f32::from(code) * scale)),
        Format::Normal4 => all.for_each(|(to, &code)| put(to, NORMAL[usize::from(code & 15)] * scale)),
        Format::Dynamic8 => all.for_each(|(to, &code)| put(to, DYNAMIC[usize::from(code)] * scale)),
        Format::Sign => all.for_each(|(to, &code)| put(to, if code & 1 == 1 { scale } else { -scale })),
    }
}

/// [`bits::pack`]; bytes and halves of bytes are frequent.
#[inline(always)]
pub(super) fn pack(width: usize, codes: &[u8], to: &mut [u8]) {
    if width != 4 {
        return bits::pack(width, codes, to);
    }
    let (pairs, rest) = codes.as_chunks::<2>();
    for (to, &[low, high]) in to.iter_mut().zip(pairs) {
        *to = low | high << 4;
    }
    if let (&[last], Some(to)) = (rest, to.last_mut()) {
        *to = last;
    }
}

/// [`bits::unpack`] of as many codes as there is room for, unless they are bytes already.
#[inline(always)]
pub(super) fn unpack<'a>(width: usize, from: &'a [u8], to: &'a mut [u8]) -> &'a [u8] {
    match width {
        8 => return &from[..to.len()],
        4 => split::<2>(from, to),
        2 => split::<4>(from, to),
        1 => split::<8>(from, to),
        _ => bits::unpack(width, &from[..bits::bytes(to.len(), width)], to),
    }
    to
}

/// Codes that lie `EACH` to a byte.
#[inline(always)]
fn split<const EACH: usize>(from: &[u8], to: &mut [u8]) {
    let (width, mask) = (8 / EACH, (256 >> (8 - 8 / EACH)) - 1);
    let code = |byte: u8, i: usize| (u32::from(byte) >> (i * width)) as u8 & mask as u8;
    let (whole, rest) = to.as_chunks_mut::<EACH>();
    for (to, &byte) in whole.iter_mut().zip(from) {
        *to = core::array::from_fn(|i| code(byte, i));
    }
    rest.iter_mut().enumerate().for_each(|(i, to)| *to = code(from[whole.len()], i));
}
