use super::code::{Block, Coder, draws, finite};
use super::{Plan, Rounding, pack};
use crate::{Accumulate, Float};
use alloc::{vec, vec::Vec};

/// The definition, a block at a time.
pub fn forward<T: Float>(
    p: &Plan,
    x: &[T],
    error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
) {
    quantise(p, |i| x[i].to_f32(), error, codes, scales, dropped);
}

/// Numbers of codes, which replace or are added to `y`.
pub fn dequant<T: Float>(p: &Plan, codes: &[u8], scales: &[f32], accumulate: Accumulate, y: &mut [T]) {
    let numbers = numbers(p, codes, scales);
    for (y, x) in y.iter_mut().zip(numbers) {
        *y = T::from_f32(if accumulate == Accumulate::Add { y.to_f32() + x } else { x });
    }
}

/// Codes of the sum of the numbers of `ranks` codes, which lie one after the other, times `factor`.
pub fn sum(
    p: &Plan,
    ranks: usize,
    factor: f32,
    (from_codes, from_scales): (&[u8], &[f32]),
    error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
) {
    let mut sum = vec![0.0_f32; p.n()];
    let [blocks, width] = p.scales();
    for rank in 0..ranks {
        let codes = &from_codes[rank * p.bytes_of_codes()..][..p.bytes_of_codes()];
        let scales = &from_scales[rank * blocks * width..][..blocks * width];
        sum.iter_mut().zip(numbers(p, codes, scales)).for_each(|(sum, x)| *sum += x);
    }
    quantise(p, |i| sum[i] * factor, error, codes, scales, dropped);
}

fn numbers(p: &Plan, codes: &[u8], scales: &[f32]) -> Vec<f32> {
    let format = p.settings().format;
    let mut whole = vec![0; p.n()];
    pack::unpack(format.bits(), codes, &mut whole);
    let blocks = whole.chunks(p.block()).zip(scales.chunks(format.width()));
    blocks.flat_map(|(codes, scales)| codes.iter().map(|&code| Coder::of(format, scales).decode(code))).collect()
}

fn quantise(
    p: &Plan,
    x: impl Fn(usize) -> f32,
    mut error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
) {
    let format = p.settings().format;
    let or_0 = |x: f32| if x.is_finite() { x } else { 0.0 };
    let mut whole = Vec::with_capacity(p.n());
    for (block, scales) in scales.chunks_mut(format.width()).enumerate() {
        let first = block * p.block();
        let places = first..(first + p.block()).min(p.n());
        dropped[0] = dropped[0].wrapping_add(places.clone().filter(|&i| !x(i).is_finite()).count() as u32);
        let kept = |i: usize| error.as_ref().map_or(0.0, |error| or_0(error[i]));
        let a: Vec<f32> = places.clone().map(|i| finite(or_0(x(i)) + kept(i))).collect();
        let coder = Coder::new(format, p.settings().rounding, &look(&a));
        scales.copy_from_slice(&[coder.scale, coder.offset][..format.width()]);
        for (i, a) in places.zip(a) {
            let draw = match p.settings().rounding {
                Rounding::Nearest => None,
                Rounding::Stochastic { seed, step } => Some(draws(seed, step, i as u64 / 4)[i % 4]),
            };
            let code = coder.encode(a, draw);
            whole.push(code);
            if let Some(error) = &mut error {
                error[i] = finite(a - coder.decode(code));
            }
        }
    }
    pack::pack(format.bits(), &whole, &mut codes[..p.bytes_of_codes()]);
}

fn look(a: &[f32]) -> Block {
    let mut sums = [0.0_f32; 32];
    a.iter().enumerate().for_each(|(i, a)| sums[i % 32] += a.abs());
    for half in [16, 8, 4, 2, 1] {
        (0..half).for_each(|i| sums[i] += sums[i + half]);
    }
    let low = a.iter().copied().fold(f32::INFINITY, f32::min);
    let high = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // No zero has a sign.
    Block { low: low + 0.0, high: high + 0.0, sum: sums[0], count: a.len() }
}
