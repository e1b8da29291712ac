//! What codes keep of numbers: all but half a step, or all on average; and with the error, everything.
use crate::{FORMATS, ROUNDINGS};
use latens_core::{Device, Format, QuantSettings, Rounding, Tensor, dequant, quant};
use latens_tests::normal;

fn sent(x: &[f32], settings: &QuantSettings, error: &mut Tensor<f32, 1>) -> Vec<f32> {
    let x = Tensor::from_vec(x.to_vec(), [x.len()], &Device::Host).unwrap();
    let made = quant(x.view(), settings, Some(error.view_mut())).unwrap();
    dequant::<f32>(made.codes.view(), made.scales.view(), x.dims()[0], settings).unwrap().to_vec().unwrap()
}

/// Whatever the format, what was sent and what is kept add up to what came; NaN and infinities never get into the error.
///
/// A step makes `a = x + e`, sends `y`, and keeps `e' = a - y`. Both rounded sums are off by 2^-24 of their size at most, and
/// nothing else is: what is lost is at most 2^-24 times the sum of all `|a| + |e'|`. That is the bound here; the sums of the
/// test are in `f64`. It is relative to what is kept and not to what came: one bit by chance sends the largest size, which may
/// double what is kept with each step.
#[test]
fn nothing_is_lost() {
    let n = 1000;
    for (&format, rounding) in FORMATS.iter().flat_map(|format| ROUNDINGS.map(|rounding| (format, rounding))) {
        let mut error = Tensor::<f32, 1>::zeros([n], &Device::Host).unwrap();
        let [mut came, mut left, mut size] = [vec![0.0_f64; n], vec![0.0_f64; n], vec![0.0_f64; n]];
        for step in 0..12 {
            let mut x = normal::<f32>(n, 1.0, step);
            let rounding = match rounding {
                Rounding::Stochastic { seed, .. } => Rounding::Stochastic { seed, step },
                nearest => nearest,
            };
            let settings = QuantSettings { format, block: 256, rounding };
            if step % 3 == 1 {
                x[step as usize] = f32::NAN;
                x[500] = f32::INFINITY;
            }
            let before = error.to_vec().unwrap();
            let out = sent(&x, &settings, &mut error);
            let after = error.to_vec().unwrap();
            for i in 0..n {
                let x = if x[i].is_finite() { x[i] } else { 0.0 };
                came[i] += f64::from(x);
                left[i] += f64::from(out[i]);
                size[i] += f64::from((x + before[i]).abs()) + f64::from(after[i].abs());
            }
        }
        let error = error.to_vec().unwrap();
        for i in 0..n {
            let lost = (left[i] + f64::from(error[i]) - came[i]).abs();
            let bound = size[i] * (0.5_f64.powi(24) + 1e-14);
            assert!(error[i].is_finite() && lost <= bound, "{format:?} {rounding:?}: {lost} of {i}, not {bound}");
        }
    }
}

/// Nearest is at most half a step away; by chance a whole one, and right on average.
#[test]
fn roundings() {
    let (n, rounds) = (256, 4000);
    let x = normal::<f32>(n, 1.0, 4);
    let largest = x.iter().fold(0.0, |top: f32, x| top.max(x.abs()));
    for &format in FORMATS {
        let numbers = |rounding| {
            let settings = QuantSettings { format, block: 256, rounding };
            sent(&x, &settings, &mut Tensor::zeros([n], &Device::Host).unwrap())
        };
        let step = match format {
            Format::Symmetric(bits) => largest / ((1 << (bits - 1)) - 1) as f32,
            Format::Affine(bits) => 2.0 * largest / ((1 << bits) - 1) as f32,
            Format::Normal4 => 0.31 * largest,
            Format::Dynamic8 => 0.0142 * largest,
            Format::Sign => 2.0 * largest,
        };
        let near = numbers(Rounding::Nearest);
        let mean = |seed| numbers(Rounding::Stochastic { seed, step: 1 });
        let mut sum = vec![0.0_f64; n];
        for seed in 0..rounds {
            for ((sum, y), x) in sum.iter_mut().zip(mean(seed)).zip(&x) {
                assert!((y - x).abs() <= step * 1.001, "{format:?}: {y} for {x}");
                *sum += f64::from(y);
            }
        }
        for i in 0..n {
            assert!((near[i] - x[i]).abs() <= step * 0.501, "{format:?}: {} for {}", near[i], x[i]);
            // Its lowest number is -0.993.
            if format == Format::Dynamic8 && x[i] < -0.992 * largest {
                continue;
            }
            let off = (sum[i] / rounds as f64 - f64::from(x[i])).abs();
            assert!(off < f64::from(step) * 0.05, "{format:?}: {} on average for {}", sum[i] / rounds as f64, x[i]);
        }
    }
}
