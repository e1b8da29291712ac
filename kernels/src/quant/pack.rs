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
use alloc::{vec, vec::Vec};

const OP: &str = "quant";

/// The version that is written.
pub const VERSION: u8 = 1;
/// Bytes of a head.
pub const HEAD: usize = 32;

/// Bytes of `n` codes of so many bits.
pub fn bytes(n: usize, bits: usize) -> usize {
    n / 8 * bits + (n % 8 * bits).div_ceil(8)
}

/// Codes, one to a byte, as a stream of bits. The first byte of `to` begins with the first code.
///
/// # Panics
/// Unless `bits` is from 1 to 8.
pub fn pack(bits: usize, codes: &[u8], to: &mut [u8]) {
    assert!((1..=8).contains(&bits), "pack: bits is {bits}, expected 1 to 8");
    for (codes, to) in codes.chunks(8).zip(to.chunks_mut(bits)) {
        let word = codes.iter().rev().fold(0_u64, |word, &code| word << bits | u64::from(code));
        to.copy_from_slice(&word.to_le_bytes()[..to.len()]);
    }
}

/// The codes of a stream of bits.
///
/// # Panics
/// Unless `bits` is from 1 to 8.
pub fn unpack(bits: usize, from: &[u8], codes: &mut [u8]) {
    assert!((1..=8).contains(&bits), "unpack: bits is {bits}, expected 1 to 8");
    let mask = ((1_u16 << bits) - 1) as u8;
    for (codes, from) in codes.chunks_mut(8).zip(from.chunks(bits)) {
        let mut word = [0; 8];
        word[..from.len()].copy_from_slice(from);
        let word = u64::from_le_bytes(word);
        codes.iter_mut().enumerate().for_each(|(i, code)| *code = (word >> (i * bits)) as u8 & mask);
    }
}

/// Bytes of a whole message.
pub fn message(p: &Plan) -> usize {
    let [blocks, width] = p.scales();
    HEAD + 4 * blocks * width + p.bytes_of_codes()
}

/// A whole message.
///
/// # Errors
/// `Size` if `codes` or `scales` are not as the plan says.
pub fn write(p: &Plan, codes: &[u8], scales: &[f32]) -> Result<Vec<u8>> {
    check(p, codes.len(), scales.len())?;
    let mut to = vec![0; message(p)];
    write_into(p, codes, scales, &mut to)?;
    Ok(to)
}

/// [`write`](fn@write) into memory of the caller.
///
/// # Errors
/// `Size` if `codes`, `scales` or `to` are not as the plan says; nothing is written then.
pub fn write_into(p: &Plan, codes: &[u8], scales: &[f32], to: &mut [u8]) -> Result<()> {
    check(p, codes.len(), scales.len())?;
    if to.len() != message(p) {
        return Err(Error::Size { op: OP, arg: "message", want: message(p), got: to.len() });
    }
    let format = p.settings().format;
    let (head, rest) = to.split_at_mut(HEAD);
    head.fill(0);
    head[..4].copy_from_slice(b"LTNQ");
    head[4..7].copy_from_slice(&[VERSION, format.number(), format.bits() as u8]);
    head[8..12].copy_from_slice(&(p.block() as u32).to_le_bytes());
    head[16..24].copy_from_slice(&(p.n() as u64).to_le_bytes());
    head[24..].copy_from_slice(&(rest.len() as u64).to_le_bytes());
    let (to_scales, to_codes) = rest.split_at_mut(4 * scales.len());
    to_scales.chunks_exact_mut(4).zip(scales).for_each(|(to, scale)| to.copy_from_slice(&scale.to_le_bytes()));
    to_codes.copy_from_slice(codes);
    Ok(())
}

/// The plan of a message, of which all but scales and codes is checked.
///
/// # Errors
/// `Value` for what is no message of this version; `Size` if it is too short or too long.
pub fn head(message: &[u8]) -> Result<Plan> {
    let value = |want| Error::Value { op: OP, arg: "message", want };
    let size = |want| Error::Size { op: OP, arg: "message", want, got: message.len() };
    let (head, rest) = message.split_first_chunk::<HEAD>().ok_or(size(HEAD))?;
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
    let want = self::message(&p);
    if message.len() != want {
        return Err(size(want));
    }
    if u64_at(24) == rest.len() as u64 { Ok(p) } else { Err(value("of as many bytes as its head counts")) }
}

/// What a message says: its plan, its scales and its codes.
///
/// # Errors
/// As [`head`].
pub fn read(message: &[u8]) -> Result<(Plan, Vec<f32>, &[u8])> {
    let p = head(message)?;
    let (scales, codes) = parts(&p, message);
    Ok((p, scales.collect(), codes))
}

/// [`read`] into memory of the caller.
///
/// # Errors
/// As [`head`]; `Size` if `codes` or `scales` are not as the message says. Nothing is written then.
pub fn read_into(message: &[u8], codes: &mut [u8], scales: &mut [f32]) -> Result<Plan> {
    let p = head(message)?;
    check(&p, codes.len(), scales.len())?;
    let (from_scales, from_codes) = parts(&p, message);
    scales.iter_mut().zip(from_scales).for_each(|(to, from)| *to = from);
    codes.copy_from_slice(from_codes);
    Ok(p)
}

/// The scales and the codes of a message whose head is right.
fn parts<'a>(p: &Plan, message: &'a [u8]) -> (impl Iterator<Item = f32> + 'a, &'a [u8]) {
    let (scales, codes) = message[HEAD..].split_at(message.len() - HEAD - p.bytes_of_codes());
    (scales.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])), codes)
}

fn check(p: &Plan, codes: usize, scales: usize) -> Result<()> {
    let [blocks, width] = p.scales();
    for (arg, want, got) in [("codes", p.bytes_of_codes(), codes), ("scales", blocks * width, scales)] {
        if want != got {
            return Err(Error::Size { op: OP, arg, want, got });
        }
    }
    Ok(())
}
