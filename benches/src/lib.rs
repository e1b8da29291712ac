//! What the benchmarks and `compare` share: inputs, peers behind pipes, and rows of a report.
#![forbid(unsafe_code)]
pub mod conv1d;
mod conv2d;
pub mod entropy;
pub mod family;
pub mod hyper;
pub mod lm;
pub mod lm_grad;
pub mod loss;
pub mod lowrank;
pub mod models;
mod norm;
pub mod peer;
pub mod quant;
pub mod report;
pub mod sae;
mod sae_step;
pub mod scan;
pub mod sparsify;

use latens_core::Philox;
use std::time::Instant;

/// Any error, with its text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `count` numbers, near enough to normal: sums of four uniforms, mean 0, variance 1.
pub fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| ((0..4).map(|_| draw.uniform()).sum::<f32>() - 2.0) * 3.0_f32.sqrt()).collect()
}

/// Mean milliseconds of `repeats` calls.
pub fn time(repeats: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for _ in 0..repeats {
        call()?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e3 / repeats as f64)
}

/// Two of ours in turn; the medians of both, in milliseconds.
pub fn turns(mut a: impl FnMut() -> Result<()>, mut b: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    let (mut ms_of_a, mut ms_of_b) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        ms_of_a.push(time(2, &mut a)?);
        ms_of_b.push(time(2, &mut b)?);
    }
    Ok((median(ms_of_a), median(ms_of_b)))
}

/// The middle of `ms`.
pub fn median(mut ms: Vec<f64>) -> f64 {
    ms.sort_by(f64::total_cmp);
    ms[ms.len() / 2]
}

/// `|a - b|² / |b|²`, the measure of agreement: 0 is equal. Infinite where it is no number: NaN agrees with nothing.
pub fn disagreement(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let square = |x: f64| x * x;
    let (error, norm) = a.iter().zip(b).fold((0.0, 0.0), |(error, norm), (&a, &b)| {
        (error + square(f64::from(a) - f64::from(b)), norm + square(f64::from(b)))
    });
    let off = error / f64::max(norm, 1e-30);
    if off.is_nan() { f64::INFINITY } else { off }
}
