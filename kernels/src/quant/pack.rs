//! Codes as bytes, and the head of a message.
//!
//! Version 1: code `i` of `b` bits is bits `b i` to `b i + b - 1` of a stream; bit `k` of the stream is bit `k % 8`, from the least,
//! of byte `k / 8`. Bits that are left over are 0. As blocks are multiples of 32, each begins with a byte of its own.
//!
//! A message is a head of 32 bytes, the scales, and the codes. All numbers in it have their lowest byte first, whatever the
//! machine.
//!
//! | bytes  | meaning                                    |
//! |--------|--------------------------------------------|
//! | 0-3    | the letters `LTNQ`                         |
//! | 4      | version: 1                                 |
//! | 5      | [`Format::number`]                         |
//! | 6      | bits of a code                             |
//! | 7      | 0                                          |
//! | 8-11   | numbers of a block                         |
//! | 12-15  | 0                                          |
//! | 16-23  | numbers                                    |
//! | 24-31  | bytes that follow                          |
use super::{Format, Plan, Rounding, Settings, plan};
use crate::{Error, Result};
use alloc::vec::Vec;

/// The version that is written.
pub const VERSION: u8 = 1;
/// Bytes of a head.
pub const HEAD: usize = 32;

/// Bytes of `n` codes of so many bits.
pub fn bytes(n: usize, bits: usize) -> usize {
    n / 8 * bits + (n % 8 * bits).div_ceil(8)
}

/// Codes, one to a byte, as a stream of bits. The first byte of `to` begins with the first code.
pub fn pack(bits: usize, codes: &[u8], to: &mut [u8]) {
    for (codes, to) in codes.chunks(8).zip(to.chunks_mut(bits)) {
        let word = codes.iter().rev().fold(0_u64, |word, &code| word << bits | u64::from(code));
        to.copy_from_slice(&word.to_le_bytes()[..to.len()]);
    }
}

/// The codes of a stream of bits.
pub fn unpack(bits: usize, from: &[u8], codes: &mut [u8]) {
    let mask = ((1_u16 << bits) - 1) as u8;
    for (codes, from) in codes.chunks_mut(8).zip(from.chunks(bits)) {
        let mut word = [0; 8];
        word[..from.len()].copy_from_slice(from);
        let word = u64::from_le_bytes(word);
        codes.iter_mut().enumerate().for_each(|(i, code)| *code = (word >> (i * bits)) as u8 & mask);
    }
}

/// A whole message.
///
/// # Errors
/// `Size` if `codes` or `scales` are not as the plan says.
pub fn write(p: &Plan, codes: &[u8], scales: &[f32]) -> Result<Vec<u8>> {
    let [blocks, width] = p.scales();
    for (arg, want, got) in [("codes", p.bytes_of_codes(), codes.len()), ("scales", blocks * width, scales.len())] {
        if want != got {
            return Err(Error::Size { op: "quant", arg, want, got });
        }
    }
    let format = p.settings().format;
    let mut message = Vec::with_capacity(HEAD + 4 * scales.len() + codes.len());
    message.extend(b"LTNQ");
    message.extend([VERSION, format.number(), format.bits() as u8, 0]);
    message.extend((p.block() as u32).to_le_bytes());
    message.extend([0; 4]);
    message.extend((p.n() as u64).to_le_bytes());
    message.extend(((4 * scales.len() + codes.len()) as u64).to_le_bytes());
    message.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
    message.extend(codes);
    Ok(message)
}

/// What a message says: its plan, its scales and its codes.
///
/// # Errors
/// `Value` for what is no message of this version; `Size` if it is too short or too long.
pub fn read(message: &[u8]) -> Result<(Plan, Vec<f32>, &[u8])> {
    let value = |want| Error::Value { op: "quant", arg: "message", want };
    let size = |want, got| Error::Size { op: "quant", arg: "message", want, got };
    let (head, rest) = message.split_first_chunk::<HEAD>().ok_or(size(HEAD, message.len()))?;
    let u64_at = |at: usize| head[at..at + 8].iter().rev().fold(0_u64, |x, &byte| x << 8 | u64::from(byte));
    if &head[..4] != b"LTNQ" {
        return Err(value("a message that begins with LTNQ"));
    }
    if head[4] != VERSION {
        return Err(value("of version 1"));
    }
    let format = match (head[5], head[6]) {
        (0, bits) => Format::Symmetric(bits),
        (1, bits) => Format::Affine(bits),
        (2, 4) => Format::Normal4,
        (3, 8) => Format::Dynamic8,
        (4, 1) => Format::Sign,
        _ => return Err(value("of a format there is")),
    };
    if head[7] != 0 || u64_at(8) >> 32 != 0 {
        return Err(value("zero in bytes without meaning"));
    }
    let n = usize::try_from(u64_at(16)).map_err(|_| Error::TooLarge)?;
    let settings = Settings { format, block: u64_at(8) as usize, rounding: Rounding::Nearest };
    let p = plan(n, &settings)?;
    let [blocks, width] = p.scales();
    let (scales, want) = (4 * blocks * width, 4 * blocks * width + p.bytes_of_codes());
    if rest.len() != want || u64_at(24) != want as u64 {
        return Err(size(HEAD + want, message.len()));
    }
    let (scales, codes) = rest.split_at(scales);
    Ok((p, scales.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(), codes))
}
