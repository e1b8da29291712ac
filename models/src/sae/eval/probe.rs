use super::inputs::{Inputs, counts};
use crate::io::{Error, Result};
use crate::train::Lbfgs;

/// How a probe is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// What half the squared length of the weights costs, against the sum of the losses: `1 / C` of scikit-learn.
    pub l2: f64,
    /// Whether each kind counts as much as the other, however many rows it has.
    pub balanced: bool,
    /// Steps at most.
    pub steps: usize,
}

impl Default for Fit {
    fn default() -> Self {
        Self { l2: 1.0, balanced: false, steps: 1000 }
    }
}

/// Logistic regression: a row is taken for labelled where `weights · x + bias` is above 0.
///
/// It is fitted by [`Lbfgs`] from 0, in `f64`, to the least of `Σ log(1 + exp(∓z)) + l2/2 |u|²`, where `u` are the weights on
/// columns of mean 0 and deviation 1; the bias costs nothing. So it is the same for columns of any scale, and deterministic. A
/// column that is the same everywhere has weight 0. Sparse rows stay sparse: their mean is taken off the bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// One per column, for rows as they are.
    pub weights: Vec<f64>,
    /// What is added.
    pub bias: f64,
    /// Whether the least was reached within the steps.
    pub converged: bool,
}

impl Probe {
    /// Fit one.
    ///
    /// # Errors
    /// Labels that are not as many as rows, or all alike; an `l2` that is not above 0, without which separable rows have no best
    /// weights; rows that are not finite.
    pub fn fit(x: Inputs<'_>, labels: &[bool], fit: Fit) -> Result<Self> {
        let ([no, yes], rows, width) = (counts(&x, labels)?, labels.len() as f64, x.width());
        if !(fit.l2 > 0.0 && fit.l2.is_finite()) {
            return Err(Error::setting("l2", format!("{} is not a number above 0", fit.l2)));
        }
        let share = |of: usize| if fit.balanced { 0.5 / of as f64 } else { 1.0 / rows };
        let (mean, deviation) = x.moments();
        if let Some(column) = deviation.iter().position(|deviation| !deviation.is_finite()) {
            return Err(Error::setting("x", format!("column {column} holds numbers that are not finite")));
        }
        // Below a billionth of the mean it is rounding: the column is the same everywhere.
        let scale =
            |(mean, deviation): (&f64, &f64)| if *deviation > 1e-9 * mean.abs() { 1.0 / deviation } else { 0.0 };
        let scale: Vec<f64> = mean.iter().zip(&deviation).map(scale).collect();
        let (penalty, mut raw, mut sums) = (fit.l2 / rows, vec![0.0; width], vec![0.0; width]);
        let loss = |at: &[f64], gradient: &mut [f64]| {
            let (u, free) = (&at[..width], at[width]);
            raw.iter_mut().zip(u).zip(&scale).for_each(|((raw, u), scale)| *raw = u * scale);
            let shift = free - raw.iter().zip(&mean).map(|(w, mean)| w * mean).sum::<f64>();
            let (mut value, mut all) = (0.5 * penalty * u.iter().map(|u| u * u).sum::<f64>(), 0.0);
            sums.fill(0.0);
            for (row, &label) in labels.iter().enumerate() {
                let mut z = shift;
                x.each(row, |column, x| z += raw[column] * x);
                let (sign, weight) = if label { (1.0, share(yes)) } else { (-1.0, share(no)) };
                value += weight * softplus(-sign * z);
                let slope = -sign * weight / (1.0 + (sign * z).exp());
                x.each(row, |column, x| sums[column] += slope * x);
                all += slope;
            }
            for column in 0..width {
                gradient[column] = penalty * u[column] + scale[column] * (sums[column] - all * mean[column]);
            }
            gradient[width] = all;
            value
        };
        let mut at = vec![0.0; width + 1];
        let found = Lbfgs { steps: fit.steps, ..Lbfgs::default() }.minimise(&mut at, loss)?;
        let weights: Vec<f64> = at.iter().zip(&scale).map(|(u, scale)| u * scale).collect();
        let bias = at[width] - weights.iter().zip(&mean).map(|(w, mean)| w * mean).sum::<f64>();
        Ok(Self { weights, bias, converged: found.converged })
    }

    /// `weights · x + bias` of every row.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn logits(&self, x: Inputs<'_>) -> Result<Vec<f64>> {
        if x.width() != self.weights.len() {
            let what = format!("rows of width {}, for a probe of {} columns", x.width(), self.weights.len());
            return Err(Error::setting("x", what));
        }
        let logit = |row| {
            let mut z = self.bias;
            x.each(row, |column, x| z += self.weights[column] * x);
            z
        };
        Ok((0..x.len()).map(logit).collect())
    }

    /// Share of rows that are taken for what they are labelled.
    ///
    /// # Errors
    /// Rows of another width, none, or not as many as labels.
    pub fn accuracy(&self, x: Inputs<'_>, labels: &[bool]) -> Result<f64> {
        accuracy(&self.logits(x)?, labels)
    }
}

/// Share of the logits whose sign is as labelled.
pub(super) fn accuracy(logits: &[f64], labels: &[bool]) -> Result<f64> {
    if labels.is_empty() || logits.len() != labels.len() {
        return Err(Error::setting("labels", format!("{} of them, for {} rows", labels.len(), logits.len())));
    }
    let right = logits.iter().zip(labels).filter(|&(&z, &label)| (z > 0.0) == label).count();
    Ok(right as f64 / labels.len() as f64)
}

/// `log(1 + exp(z))`, without overflow.
pub(super) fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Philox;
    use crate::sae::eval::SparseRows;
    use approx::assert_relative_eq;

    fn dense(values: &[f32], width: usize) -> Inputs<'_> {
        Inputs::Dense { values, width }
    }

    /// One column of -1 and 1, three of four rows on their side. With `u` as the weight and no bias by symmetry, the derivative
    /// of the loss is `-3 / (1 + e^u) + 1 / (1 + e^-u) + u = 0`, which bisection solves.
    #[test]
    fn the_least_is_where_the_derivative_is_0() {
        let x = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0];
        let labels = [true, true, true, true, false, false, false, false];
        let slope = |u: f64| 2.0 * (-3.0 / (1.0 + u.exp()) + 1.0 / (1.0 + (-u).exp())) + u;
        let (mut low, mut high) = (0.0, 5.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if slope(middle) < 0.0 { low = middle } else { high = middle }
        }
        let probe = Probe::fit(dense(&x, 1), &labels, Fit::default()).unwrap();
        assert!(probe.converged);
        assert_relative_eq!(probe.weights[0], low, epsilon = 1e-5);
        assert_relative_eq!(probe.bias, 0.0, epsilon = 1e-6);
        assert_eq!(probe.accuracy(dense(&x, 1), &labels).unwrap(), 0.75);
    }

    /// With an input that says nothing, the bias is the logarithm of the odds; balanced, it is 0.
    #[test]
    fn the_bias_is_the_odds() {
        let (x, labels) = ([2.5; 8], [true, false, false, false, false, false, false, false]);
        let probe = Probe::fit(dense(&x, 1), &labels, Fit::default()).unwrap();
        assert_relative_eq!(probe.bias, (1.0_f64 / 7.0).ln(), epsilon = 1e-4);
        assert_eq!(probe.weights, [0.0]);
        let probe = Probe::fit(dense(&x, 1), &labels, Fit { balanced: true, ..Fit::default() }).unwrap();
        assert_relative_eq!(probe.bias, 0.0, epsilon = 1e-5);
    }

    /// The same rows, dense and sparse, and at other scales: the same probe.
    #[test]
    fn sparse_is_dense_and_scale_is_nothing() {
        let (mut draw, rows, width) = (Philox::new(5), 60, 7);
        let mut values = vec![0.0_f32; rows * width];
        values.iter_mut().filter(|_| draw.uniform() < 0.4).for_each(|x| *x = 1.0);
        let mut draw = Philox::new(6);
        values.iter_mut().for_each(|x| *x *= draw.uniform());
        let labels: Vec<bool> = values.chunks(width).map(|row| row[0] + row[3] > 0.3 + row[5]).collect();
        let mut sparse = SparseRows::new(width);
        for row in values.chunks(width) {
            sparse.push(row.iter().enumerate().map(|(column, &x)| (column as u32, x)).collect(), 1.0);
        }
        let a = Probe::fit(dense(&values, width), &labels, Fit::default()).unwrap();
        let b = Probe::fit(Inputs::Sparse(&sparse), &labels, Fit::default()).unwrap();
        let larger: Vec<f32> = values.iter().map(|x| x * 1024.0).collect();
        let c = Probe::fit(dense(&larger, width), &labels, Fit::default()).unwrap();
        for ((a, b), c) in a.weights.iter().zip(&b.weights).zip(&c.weights) {
            assert_relative_eq!(*a, *b, epsilon = 1e-4);
            assert_relative_eq!(*a, c * 1024.0, epsilon = 1e-4);
        }
        assert!(a.accuracy(dense(&values, width), &labels).unwrap() > 0.9);
        let pick = [4, 0];
        assert_eq!(dense(&values, width).columns(&pick), Inputs::Sparse(&sparse).columns(&pick));
        let (one, other) = (dense(&values, width).differences(&labels), Inputs::Sparse(&sparse).differences(&labels));
        assert_eq!(one.unwrap(), other.unwrap());
    }

    #[test]
    fn wrong_calls_are_errors() {
        let said = |x: &[f32], labels: &[bool], fit| Probe::fit(dense(x, 1), labels, fit).unwrap_err().to_string();
        assert!(said(&[1.0, 2.0], &[true], Fit::default()).contains("1 of them, for 2 rows"));
        assert!(said(&[1.0, 2.0], &[true, true], Fit::default()).contains("both kinds"));
        assert!(said(&[1.0, 2.0], &[true, false], Fit { l2: 0.0, ..Fit::default() }).starts_with("l2: "));
        assert!(said(&[f32::NAN, 2.0], &[true, false], Fit::default()).contains("not finite"));
        let probe = Probe { weights: vec![1.0], bias: 0.0, converged: true };
        assert!(probe.logits(dense(&[1.0, 2.0], 2)).is_err());
        assert!(probe.accuracy(dense(&[], 1), &[]).is_err());
    }
}
