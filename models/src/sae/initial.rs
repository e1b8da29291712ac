//! What training starts from.
use crate::Philox;
use crate::io::Result;

/// `latents` directions of length 1, drawn evenly from the sphere.
///
/// # Errors
/// If there is no memory for so many.
pub(crate) fn directions(latents: usize, d: usize, draw: &mut Philox) -> Result<Vec<f32>> {
    let (mut rows, count) = (Vec::new(), latents.saturating_mul(d));
    let bytes = count.saturating_mul(size_of::<f32>());
    rows.try_reserve_exact(count).map_err(|_| latens_core::Error::Memory { bytes })?;
    rows.extend((0..count).map(|_| normal(draw)));
    for row in rows.chunks_exact_mut(d.max(1)) {
        let length = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|w| *w = (f64::from(*w) / length) as f32);
    }
    Ok(rows)
}

/// A draw of the normal distribution, by the polar form without its rejection.
fn normal(draw: &mut Philox) -> f32 {
    let (radius, turn) = (1.0 - f64::from(draw.uniform()), f64::from(draw.uniform()));
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}

/// The mean of `rows` of width `d`.
pub(crate) fn mean(rows: &[f32], d: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; d];
    for row in rows.chunks_exact(d) {
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
    }
    let count = (rows.len() / d).max(1) as f64;
    sum.into_iter().map(|s| (s / count) as f32).collect()
}

/// The geometric median of `rows`, by Weiszfeld's weights: each row counts by one over its distance, where a distance
/// is at least a millionth of the mean one, so that a row which is the median itself does not divide by zero.
pub(crate) fn median(rows: &[f32], d: usize) -> Vec<f32> {
    const TURNS: usize = 100;
    const CLOSE: f64 = 1e-5;
    let mut center: Vec<f64> = mean(rows, d).into_iter().map(f64::from).collect();
    let distance = |row: &[f32], center: &[f64]| {
        row.iter().zip(center).map(|(&x, c)| (f64::from(x) - c).powi(2)).sum::<f64>().sqrt()
    };
    let count = (rows.len() / d).max(1) as f64;
    for _ in 0..TURNS {
        let distances: Vec<f64> = rows.chunks_exact(d).map(|row| distance(row, &center)).collect();
        let usual = distances.iter().sum::<f64>() / count;
        if usual == 0.0 {
            break; // all rows are the same
        }
        let (mut next, mut total) = (vec![0.0; d], 0.0);
        for (row, far) in rows.chunks_exact(d).zip(distances) {
            let weight = 1.0 / far.max(1e-6 * usual);
            total += weight;
            next.iter_mut().zip(row).for_each(|(n, &x)| *n += weight * f64::from(x));
        }
        next.iter_mut().for_each(|n| *n /= total);
        let moved = next.iter().zip(&center).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        center = next;
        if moved <= CLOSE * usual {
            break;
        }
    }
    center.into_iter().map(|c| c as f32).collect()
}

/// The mean squared distance of `rows` from `center`.
pub(crate) fn variance(rows: &[f32], center: &[f32]) -> f64 {
    let d = center.len();
    let squares = |row: &[f32]| row.iter().zip(center).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>();
    rows.chunks_exact(d).map(squares).sum::<f64>() / (rows.len() / d).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three of four points on a line weigh more than one far away; the mean would be at 25.
    #[test]
    fn median_withstands_an_outlier() {
        let rows = [0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 100.0, 0.0];
        let center = median(&rows, 2);
        assert!(center[0].abs() <= 1.0 && center[1] == 0.0, "{center:?}");
        assert_eq!(mean(&rows, 2), [25.0, 0.0]);
        assert_eq!(median(&[3.0, 4.0, 3.0, 4.0], 2), [3.0, 4.0]);
    }

    #[test]
    fn directions_have_length_one() {
        let rows = directions(5, 7, &mut Philox::new(1)).unwrap();
        assert!(rows.chunks(7).all(|row| (row.iter().map(|w| w * w).sum::<f32>() - 1.0).abs() < 1e-5));
    }
}
