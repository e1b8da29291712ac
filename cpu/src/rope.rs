//! [`latens_kernels::rope`] on the host.
use crate::once::once;
use crate::{Level, rows};
use alloc::vec::Vec;
use latens_kernels::{
    DType, Float,
    rope::{Pairing, Plan},
};

once! {
    /// See [`latens_kernels::rope::forward`]; which way, the plan says. Angles are counted in 2^-64 turns, where whole turns vanish by themselves: exact
    /// for any position.
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, x: &mut [T], positions: &[u32]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &mut [T], positions: &[u32]) {
    let [tokens, heads, dim] = p.dims();
    if T::DTYPE == DType::F64 || dim == 0 || heads == 0 {
        return latens_kernels::rope::forward(p, x, positions);
    }
    let rates: Vec<u64> = (0..dim / 2).map(|i| turns(p.rate(i))).collect();
    let [token, head] = p.strides();
    let turn_token = |t: usize, x: &mut [T]| {
        let mut angles: Vec<(f32, f32)> = Vec::with_capacity(dim / 2);
        angles.extend(rates.iter().map(|rate| sin_cos(rate.wrapping_mul(u64::from(positions[t])))));
        for h in 0..heads {
            turn(level, p.pairing(), &mut x[h * head..][..dim], &angles);
        }
    };
    let x = &mut x[..p.span()];
    // Where heads are outermost in no token's way, tokens are apart; the last one may be shorter than the stride.
    rows::each_one(token.max(1), x, |t, x| {
        if t < tokens {
            turn_token(t, x)
        }
    });
}

/// `rate` radians in 2^-64 turns, whole turns dropped.
fn turns(rate: f64) -> u64 {
    if rate < 0.0 {
        return turns(-rate).wrapping_neg();
    }
    let turns = rate / core::f64::consts::TAU;
    let whole = turns as u64 as f64;
    // 2^64 times a fraction below 1, in two steps that are exact.
    let high = (turns - whole) * 4_294_967_296.0;
    let low = (high - high as u32 as f64) * 4_294_967_296.0;
    u64::from(high as u32) << 32 | low as u64
}

/// Sine and cosine of an angle in 2^-64 turns.
#[inline(always)]
fn sin_cos(turns: u64) -> (f32, f32) {
    let quarter = turns.wrapping_add(1 << 61) >> 62;
    let rest = turns.wrapping_sub(quarter << 62) as i64; // at most an eighth of a turn
    let r = rest as f64 * (core::f64::consts::TAU / 18_446_744_073_709_551_616.0);
    let z = -r * r;
    let sin = r * (1.0 + z / 6.0 * (1.0 + z / 20.0 * (1.0 + z / 42.0 * (1.0 + z / 72.0))));
    let cos = 1.0 + z / 2.0 * (1.0 + z / 12.0 * (1.0 + z / 30.0 * (1.0 + z / 56.0 * (1.0 + z / 90.0))));
    let (s, c) = if quarter & 1 == 0 { (sin, cos) } else { (cos, -sin) };
    if quarter & 2 == 0 { (s as f32, c as f32) } else { (-s as f32, -c as f32) }
}

fn turn<T: Float>(level: Level, pairing: Pairing, x: &mut [T], angles: &[(f32, f32)]) {
    level.run(
        #[inline(always)]
        |_| match pairing {
            Pairing::Halves => {
                let (first, second) = x.split_at_mut(angles.len());
                for ((a, b), &(sin, cos)) in first.iter_mut().zip(second).zip(angles) {
                    let (u, v) = (a.to_f32(), b.to_f32());
                    (*a, *b) = (T::from_f32(u * cos - v * sin), T::from_f32(u * sin + v * cos));
                }
            }
            Pairing::Interleaved => {
                for (pair, &(sin, cos)) in x.chunks_exact_mut(2).zip(angles) {
                    let (u, v) = (pair[0].to_f32(), pair[1].to_f32());
                    (pair[0], pair[1]) = (T::from_f32(u * cos - v * sin), T::from_f32(u * sin + v * cos));
                }
            }
        },
    );
}
