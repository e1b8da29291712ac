use super::initial;
use crate::io::Result;
use crate::{Device, Tensor, linear_backward_into};
use latens_core::Accumulate::Replace;
use nalgebra::{DMatrix, SymmetricEigen};

/// Principal components, the dense rival of a sparse code: `k` directions for all rows against `k` for each.
pub struct Pca {
    mean: Vec<f32>,
    /// One component in each row, strongest first.
    components: Vec<Vec<f32>>,
}

impl Pca {
    /// The `k` strongest components of host `rows` of width `d`, from the eigenvectors of their covariance.
    ///
    /// # Errors
    /// If memory cannot be had.
    pub fn fit(rows: &[f32], d: usize, k: usize) -> Result<Self> {
        let mean = initial::mean(rows, d);
        let eigen = SymmetricEigen::new(covariance(rows, &mean)?);
        let mut strongest: Vec<usize> = (0..d).collect();
        strongest.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let component = |i: usize| eigen.eigenvectors.column(i).iter().map(|&v| v as f32).collect();
        Ok(Self { mean, components: strongest.into_iter().take(k).map(component).collect() })
    }

    /// The mean of the rows it was fitted on.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Fraction of the variance of `rows` (about their own mean) that the components leave unexplained.
    pub fn fvu(&self, rows: &[f32]) -> f64 {
        let d = self.mean.len();
        let own = initial::mean(rows, d);
        let mut left = 0.0;
        for row in rows.chunks_exact(d) {
            let centered: Vec<f32> = row.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
            let squares = |v: &[f32]| v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
            let along = |c: &Vec<f32>| c.iter().zip(&centered).map(|(c, x)| c * x).sum::<f32>();
            let explained: f64 = self.components.iter().map(|c| f64::from(along(c)).powi(2)).sum();
            left += (squares(&centered) - explained).max(0.0);
        }
        left / (initial::variance(rows, &own) * (rows.len() / d).max(1) as f64)
    }
}

/// `Σ (x - mean)(x - mean)ᵀ`, in blocks of rows: `f32` within a block, `f64` between them.
fn covariance(rows: &[f32], mean: &[f32]) -> Result<DMatrix<f64>> {
    const BLOCK: usize = 4096;
    let d = mean.len();
    let mut sum = DMatrix::<f64>::zeros(d, d);
    // A product of rows with themselves is what a linear layer's weights get as their gradient.
    let weights = Tensor::<f32, 2>::zeros([d, d], &Device::Host)?;
    let mut part = Tensor::<f32, 2>::zeros([d, d], &Device::Host)?;
    for block in rows.chunks(BLOCK * d) {
        let centered: Vec<f32> =
            block.chunks_exact(d).flat_map(|row| row.iter().zip(mean).map(|(x, m)| x - m)).collect();
        let x = Tensor::from_vec(centered, [block.len() / d, d], &Device::Host)?;
        linear_backward_into(x.view(), weights.view(), x.view(), Replace, None, Some(part.view_mut()), None)?;
        sum.iter_mut().zip(part.to_vec()?).for_each(|(sum, part)| *sum += f64::from(part));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points near a line are explained by one component, up to the noise across it.
    #[test]
    fn one_line() {
        let rows: Vec<f32> =
            (0..40).flat_map(|i| [i as f32 + 5.0, 2.0 * i as f32 + if i % 2 == 0 { 0.5 } else { -0.5 }]).collect();
        assert!(Pca::fit(&rows, 2, 1).unwrap().fvu(&rows) < 1e-3);
        assert!(Pca::fit(&rows, 2, 2).unwrap().fvu(&rows) < 1e-6);
        assert!((Pca::fit(&rows, 2, 0).unwrap().fvu(&rows) - 1.0).abs() < 1e-6);
    }
}
