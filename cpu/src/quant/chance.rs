//! Stochastic rounding of one block: [`Coder::encode`] with a draw, for whole vectors of numbers.
use super::{LONGEST, dynamic};
use latens_kernels::quant::Format;
use latens_kernels::quant::code::{Coder, DYNAMIC, NORMAL, ROUND};

/// Counters that go through the rounds side by side.
const LANES: usize = 16;
/// Draws that they give.
const DRAWS: usize = 4 * LANES;

/// As `latens_kernels::philox` for the counters from `first` on; word by word.
#[inline(always)]
fn philox(seed: u64, step: u64, first: u64) -> [[u32; LANES]; 4] {
    let counters: [u64; LANES] = core::array::from_fn(|lane| first.wrapping_add(lane as u64));
    let mut x = [
        counters.map(|c| c as u32),
        counters.map(|c| (c >> 32) as u32),
        [step as u32; LANES],
        [(step >> 32) as u32; LANES],
    ];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let mut next = [[0; LANES]; 4];
        for lane in 0..LANES {
            let a = 0xd251_1f53 * u64::from(x[0][lane]);
            let b = 0xcd9e_8d57 * u64::from(x[2][lane]);
            next[0][lane] = (b >> 32) as u32 ^ x[1][lane] ^ key[0];
            next[1][lane] = b as u32;
            next[2][lane] = (a >> 32) as u32 ^ x[3][lane] ^ key[1];
            next[3][lane] = a as u32;
        }
        x = next;
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    x
}

/// The draws of the entries from `first` on, a multiple of 4: as `latens_kernels::quant::code::draws` has them.
#[inline(always)]
fn draw(seed: u64, step: u64, first: usize, to: &mut [f32]) {
    for (i, to) in to.chunks_mut(DRAWS).enumerate() {
        let words = philox(seed, step, first as u64 / 4 + (i * LANES) as u64);
        let mut all = [0.0; DRAWS];
        for lane in 0..LANES {
            for word in 0..4 {
                // A product with a power of two is as exact as the quotient.
                all[4 * lane + word] = (words[word][lane] >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32);
            }
        }
        to.copy_from_slice(&all[..to.len()]);
    }
}

/// The largest whole number that is not above `x + draw`; its size is below 2^22.
#[inline(always)]
fn whole(x: f32, draw: f32) -> f32 {
    let x = if x < 1000.0 { x } else { 1000.0 };
    let x = if x > -1000.0 { x } else { -1000.0 } + draw;
    let near = x + ROUND - ROUND;
    near - if near > x { 1.0 } else { 0.0 }
}

/// The whole number nearest to `q` if it is between the ends, in two's complement.
#[inline(always)]
fn bits(q: f32, low: f32, high: f32) -> u32 {
    let q = if q > low { q } else { low };
    ((if q < high { q } else { high }) + ROUND).to_bits()
}

/// Codes of a block whose first number is `first`, one to a byte.
#[inline(always)]
pub(super) fn codes_of(coder: &Coder, (seed, step): (u64, u64), first: usize, a: &[f32], codes: &mut [u8]) {
    let Coder { format, offset, inverse, .. } = *coder;
    let mut draws = [0.0; LONGEST];
    let draws = &mut draws[..a.len()];
    draw(seed, step, first, draws);
    let all = codes.iter_mut().zip(a).zip(&*draws);
    match format {
        Format::Symmetric(width) => {
            let (top, mask) = (((1_u32 << (width - 1)) - 1) as f32, (1_u32 << width) - 1);
            all.for_each(|((code, a), draw)| *code = (bits(whole(a * inverse, *draw), -top, top) & mask) as u8);
        }
        Format::Affine(width) => {
            let top = ((1_u32 << width) - 1) as f32;
            all.for_each(|((code, a), draw)| *code = bits(whole((a - offset) * inverse, *draw), 0.0, top) as u8);
        }
        Format::Sign => all.for_each(|((code, a), draw)| *code = u8::from(*draw < 0.5 + 0.5 * (a * inverse))),
        Format::Normal4 => {
            let below = |x: f32| NORMAL[1..].iter().map(|&number| u32::from(x >= number)).sum::<u32>() as u8;
            all.for_each(|((code, a), _)| *code = below(a * inverse));
            choose(&NORMAL, inverse, a, draws, codes);
        }
        Format::Dynamic8 => {
            all.for_each(|((code, a), _)| *code = dynamic::below(a * inverse));
            choose(&DYNAMIC, inverse, a, draws, codes);
        }
    }
}

/// From the code below each number, that or the next.
#[inline(always)]
fn choose<const N: usize>(table: &[f32; N], inverse: f32, a: &[f32], draws: &[f32], codes: &mut [u8]) {
    for ((code, a), draw) in codes.iter_mut().zip(a).zip(draws) {
        let below = usize::from(*code).min(N - 1);
        let [low, high] = [table[below], table[(below + 1).min(N - 1)]];
        *code += u8::from((below < N - 1) & (*draw < (a * inverse - low) / (high - low)));
    }
}
