use super::probe::softplus;
use super::{Inputs, SparseRows};

/// Logistic weights of which most are 0, for telling which latents speak for a label: the least of the mean loss, each kind of label
/// counting half, plus `penalty` times the sum of the sizes of the weights, which are on columns divided by their deviations. By
/// accelerated proximal gradients with a step found by halving, and a new start where they overshoot (Beck and Teboulle 2009;
/// O'Donoghue and Candès 2015). There are labels of both kinds. Columns stay uncentred, so sparse rows stay sparse.
pub(super) fn lasso(x: &SparseRows, labels: &[bool], penalty: f64, steps: usize) -> Vec<f64> {
    let width = x.width();
    let (_, deviation) = Inputs::Sparse(x).moments();
    let scale: Vec<f64> =
        deviation.iter().map(|&deviation| if deviation > 0.0 { 1.0 / deviation } else { 0.0 }).collect();
    let yes = labels.iter().filter(|&&label| label).count();
    let share = |label: bool| 0.5 / if label { yes } else { labels.len() - yes }.max(1) as f64;
    // The last entry is the bias.
    let smooth = |at: &[f64], mut gradient: Option<&mut Vec<f64>>| {
        let mut value = 0.0;
        if let Some(gradient) = &mut gradient {
            gradient.fill(0.0);
        }
        for (row, &label) in labels.iter().enumerate() {
            let z = at[width] + x.row(row).map(|(column, x)| at[column] * scale[column] * f64::from(x)).sum::<f64>();
            let sign = if label { 1.0 } else { -1.0 };
            value += share(label) * softplus(-sign * z);
            if let Some(gradient) = &mut gradient {
                let slope = -sign * share(label) / (1.0 + (sign * z).exp());
                x.row(row).for_each(|(column, x)| gradient[column] += slope * scale[column] * f64::from(x));
                gradient[width] += slope;
            }
        }
        value
    };
    let (mut at, mut ahead, mut gradient) = (vec![0.0; width + 1], vec![0.0; width + 1], vec![0.0; width + 1]);
    let (mut step, mut momentum) = (1.0_f64, 1.0_f64);
    for _ in 0..steps {
        let value = smooth(&ahead, Some(&mut gradient));
        let next = loop {
            let mut next: Vec<f64> = ahead.iter().zip(&gradient).map(|(at, slope)| at - step * slope).collect();
            next[..width].iter_mut().for_each(|w| *w = w.signum() * (w.abs() - step * penalty).max(0.0));
            let moved = || next.iter().zip(&ahead).map(|(next, ahead)| next - ahead);
            let along: f64 = moved().zip(&gradient).map(|(moved, slope)| moved * slope).sum();
            let square: f64 = moved().map(|moved| moved * moved).sum();
            if smooth(&next, None) <= value + along + square / (2.0 * step) + 1e-14 || step < 1e-12 {
                break next;
            }
            step *= 0.5;
        };
        let change = next.iter().zip(&at).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let back: f64 = ahead.iter().zip(&next).zip(&at).map(|((ahead, next), at)| (ahead - next) * (next - at)).sum();
        let then = if back > 0.0 { 1.0 } else { 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) };
        let push = if back > 0.0 { 0.0 } else { (momentum - 1.0) / then };
        ahead = next.iter().zip(&at).map(|(next, at)| next + push * (next - at)).collect();
        (at, momentum) = (next, then);
        if change < 1e-7 {
            break;
        }
    }
    at.truncate(width);
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Philox;

    /// At the least, the slope of the loss is the penalty against every weight that is not 0, and no more where it is 0.
    #[test]
    fn slopes_at_the_least() {
        let (mut draw, rows, width, penalty) = (Philox::new(3), 200, 12, 0.02);
        let (mut x, mut labels) = (SparseRows::new(width), Vec::new());
        for _ in 0..rows {
            let row: Vec<(u32, f32)> = (0..5).map(|_| (draw.below(12), 1.0 + draw.uniform())).collect();
            let sum = |column: u32| row.iter().filter(|entry| entry.0 == column).map(|entry| entry.1).sum::<f32>();
            labels.push(sum(2) + 0.5 * sum(7) - sum(4) + draw.uniform() > 0.7);
            x.push(row, 1.0);
        }
        let weights = lasso(&x, &labels, penalty, 2000);
        let (_, deviation) = Inputs::Sparse(&x).moments();
        let yes = labels.iter().filter(|&&label| label).count() as f64;
        // The best bias for these weights, by bisection: there its own slope is 0.
        let slopes = |bias: f64| {
            let mut all = vec![0.0; width + 1];
            for (row, &label) in labels.iter().enumerate() {
                let z: f64 = bias + x.row(row).map(|(j, x)| weights[j] * f64::from(x) / deviation[j]).sum::<f64>();
                let share = 0.5 / if label { yes } else { rows as f64 - yes };
                let slope = share * (1.0 / (1.0 + (-z).exp()) - f64::from(u8::from(label)));
                x.row(row).for_each(|(j, x)| all[j] += slope * f64::from(x) / deviation[j]);
                all[width] += slope;
            }
            all
        };
        let (mut low, mut high) = (-20.0, 20.0);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if slopes(middle)[width] < 0.0 { low = middle } else { high = middle }
        }
        let slopes = slopes(low);
        for (j, &w) in weights.iter().enumerate() {
            let off =
                if w == 0.0 { (slopes[j].abs() - penalty).max(0.0) } else { (slopes[j] + penalty * w.signum()).abs() };
            assert!(off < 1e-4, "{j} {w} {}", slopes[j]);
        }
        assert!(weights[2] > weights[7] && weights[7] > 0.0 && weights[4] < 0.0, "{weights:?}");
        assert!(weights.iter().filter(|&&w| w == 0.0).count() >= 3, "{weights:?}");
    }
}
