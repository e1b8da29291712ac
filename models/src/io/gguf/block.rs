use latens_core::{bf16, f16};
use rayon::prelude::*;
use std::fmt;

/// How the elements of a tensor are kept: plain, or in blocks of whole numbers with scales. The layouts are those of
/// `ggml-common.h` of the ggml project; `d` is a scale and `m` a minimum, both f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, non_camel_case_types)] // the format's own names
#[non_exhaustive]
pub enum Encoding {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

use Encoding::*;

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A decoder of one block.
type Block = fn(&[u8], &mut [f32]);

impl Encoding {
    /// The encoding that has this number in a file.
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => F32,
            1 => F16,
            2 => Q4_0,
            3 => Q4_1,
            6 => Q5_0,
            7 => Q5_1,
            8 => Q8_0,
            10 => Q2_K,
            11 => Q3_K,
            12 => Q4_K,
            13 => Q5_K,
            14 => Q6_K,
            30 => BF16,
            _ => return None,
        })
    }

    /// Elements of a block, its bytes, and its decoder.
    fn block(self) -> (usize, usize, Block) {
        match self {
            F32 => (1, 4, |b, y| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            F16 => (1, 2, |b, y| y[0] = half(b)),
            BF16 => (1, 2, |b, y| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            Q4_0 => (32, 18, q4_0),
            Q4_1 => (32, 20, q4_1),
            Q5_0 => (32, 22, q5_0),
            Q5_1 => (32, 24, q5_1),
            Q8_0 => (32, 34, q8_0),
            Q2_K => (256, 84, q2_k),
            Q3_K => (256, 110, q3_k),
            Q4_K => (256, 144, q4_k),
            Q5_K => (256, 176, q5_k),
            Q6_K => (256, 210, q6_k),
        }
    }

    /// Bytes of a tensor of these sizes, if its rows are whole blocks and the number exists.
    pub(super) fn bytes(self, dims: &[usize]) -> Option<usize> {
        let (elements, bytes, _) = self.block();
        let row = *dims.last()?;
        let all = dims.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim))?;
        // What comes out is f32, so that must be countable too.
        all.checked_mul(4).filter(|&all| row.is_multiple_of(elements) && isize::try_from(all).is_ok())?;
        (all / elements).checked_mul(bytes)
    }

    /// The elements in f32; `None` if `from` is no whole number of blocks.
    pub(super) fn decode(self, from: &[u8]) -> Option<Vec<f32>> {
        const BLOCKS: usize = 1024; // enough for a thread to be worth waking
        let (elements, bytes, block) = self.block();
        if !from.len().is_multiple_of(bytes) {
            return None;
        }
        let mut to = vec![0.0; from.len() / bytes * elements];
        to.par_chunks_mut(BLOCKS * elements).zip(from.par_chunks(BLOCKS * bytes)).for_each(|(to, from)| {
            to.chunks_exact_mut(elements).zip(from.chunks_exact(bytes)).for_each(|(to, from)| block(from, to));
        });
        Some(to)
    }
}

/// The f16 at the front.
fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// d, 16 bytes: element i in the low half of byte i, 16 + i in its high half.
fn q4_0(b: &[u8], y: &mut [f32]) {
    let (d, (low, high)) = (half(b), y.split_at_mut(16));
    for ((b, low), high) in b[2..18].iter().zip(low).zip(high) {
        *low = d * ((b & 15) as f32 - 8.0);
        *high = d * ((b >> 4) as f32 - 8.0);
    }
}

/// d, m, 16 bytes as above.
fn q4_1(b: &[u8], y: &mut [f32]) {
    let (d, m, (low, high)) = (half(b), half(&b[2..]), y.split_at_mut(16));
    for ((b, low), high) in b[4..20].iter().zip(low).zip(high) {
        *low = d * (b & 15) as f32 + m;
        *high = d * (b >> 4) as f32 + m;
    }
}

/// The fifth bits of 32 elements, then 16 bytes as above.
fn five(b: &[u8], i: usize) -> f32 {
    let fifth = b[i / 8] >> (i % 8) & 1;
    (b[4 + i % 16] >> (i / 16 * 4) & 15 | fifth << 4) as f32
}

/// d, then [`five`].
fn q5_0(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    y.iter_mut().enumerate().for_each(|(i, y)| *y = d * (five(&b[2..], i) - 16.0));
}

/// d, m, then [`five`].
fn q5_1(b: &[u8], y: &mut [f32]) {
    let (d, m) = (half(b), half(&b[2..]));
    y.iter_mut().enumerate().for_each(|(i, y)| *y = d * five(&b[4..], i) + m);
}

/// d, 32 signed bytes.
fn q8_0(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    y.iter_mut().zip(&b[2..34]).for_each(|(y, &b)| *y = d * b as i8 as f32);
}

/// 16 scales (low half) and minima (high half), 64 bytes of two-bit numbers, d, m. Each 16 elements share a scale.
fn q2_k(b: &[u8], y: &mut [f32]) {
    let (scales, q, d, m) = (&b[..16], &b[16..80], half(&b[80..]), half(&b[82..]));
    for (i, y) in y.iter_mut().enumerate() {
        let (scale, number) = (scales[i / 16], two(q, i));
        *y = d * (scale & 15) as f32 * number as f32 - m * (scale >> 4) as f32;
    }
}

/// Two-bit number i: 32 bytes hold 128 elements, the first 32 of them in the lowest bits.
fn two(q: &[u8], i: usize) -> u8 {
    q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

/// 32 bytes of third bits, 64 bytes of two-bit numbers, 16 six-bit scales in 12 bytes, d.
fn q3_k(b: &[u8], y: &mut [f32]) {
    let (third, q, scales, d) = (&b[..32], &b[32..96], &b[96..108], half(&b[108..]));
    for (i, y) in y.iter_mut().enumerate() {
        let s = i / 16;
        let scale = scales[s % 8] >> (s / 8 * 4) & 15 | (scales[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
        let high = third[i % 32] >> (i / 32) & 1;
        *y = d * (scale as f32 - 32.0) * (two(q, i) as f32 - 4.0 * (1 - high) as f32);
    }
}

/// Six-bit scale and minimum s of eight, in 12 bytes.
fn six(b: &[u8], s: usize) -> (f32, f32) {
    let (scale, minimum) = match s {
        0..4 => (b[s] & 63, b[s + 4] & 63),
        _ => (b[s + 4] & 15 | b[s - 4] >> 6 << 4, b[s + 4] >> 4 | b[s] >> 6 << 4),
    };
    (scale as f32, minimum as f32)
}

/// d, m, 12 bytes as [`six`], 128 bytes: 32 of them hold 64 elements, low halves first. Each 32 elements share a scale.
fn q4_k(b: &[u8], y: &mut [f32]) {
    let (d, m) = (half(b), half(&b[2..]));
    for (s, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = six(&b[4..16], s);
        let q = &b[16 + s / 2 * 32..][..32];
        y.iter_mut().zip(q).for_each(|(y, q)| *y = d * scale * (q >> (s % 2 * 4) & 15) as f32 - m * minimum);
    }
}

/// d, m, 12 bytes as [`six`], 32 bytes of fifth bits (bit s for the s-th 32 elements), 128 bytes as in [`q4_k`].
fn q5_k(b: &[u8], y: &mut [f32]) {
    let (d, m, fifth) = (half(b), half(&b[2..]), &b[16..48]);
    for (s, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = six(&b[4..16], s);
        let q = &b[48 + s / 2 * 32..][..32];
        for ((y, q), fifth) in y.iter_mut().zip(q).zip(fifth) {
            let number = q >> (s % 2 * 4) & 15 | (fifth >> s & 1) << 4;
            *y = d * scale * number as f32 - m * minimum;
        }
    }
}

/// 128 bytes of low halves, 64 bytes of two-bit high parts as in [`two`], 16 signed scales, d.
fn q6_k(b: &[u8], y: &mut [f32]) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half(&b[208..]));
    for (i, y) in y.iter_mut().enumerate() {
        let low = low[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
        *y = d * scales[i / 16] as i8 as f32 * ((low | two(high, i) << 4) as f32 - 32.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of random bytes, decoded by the `gguf` package of the ggml project (tests/vectors/gguf_blocks.py).
    #[test]
    fn blocks_decode_as_the_format_says() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
        };
        let mut kinds = 0;
        for line in include_str!("../../../../tests/vectors/gguf_blocks.txt").lines() {
            let [number, name, from, to] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let encoding = Encoding::of(number.parse().unwrap()).unwrap();
            assert_eq!(encoding.to_string(), name);
            let want: Vec<f32> = hex(to).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let got = encoding.decode(&hex(from)).unwrap();
            let same =
                got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits() || a == b);
            assert!(same, "{name}: {got:?} {want:?}");
            assert_eq!(encoding.bytes(&[1, want.len()]), Some(from.len() / 2));
            kinds += 1;
        }
        assert_eq!(kinds, 13);
        assert_eq!(Q4_K.decode(&[0; 143]), None);
        assert_eq!(Q4_K.bytes(&[3, 255]), None);
        assert_eq!(F32.bytes(&[1 << 40, 1 << 40]), None);
    }
}
