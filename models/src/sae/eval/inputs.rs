use super::SparseRows;
use crate::io::{Error, Result};

/// What a probe reads: one row per text or token.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// `[rows, width]`.
    Dense {
        /// Row by row.
        values: &'a [f32],
        /// Entries of each.
        width: usize,
    },
    /// Most entries are 0.
    Sparse(&'a SparseRows),
}

impl<'a> Inputs<'a> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Inputs::Dense { values, width } => values.len() / width.max(&1),
            Inputs::Sparse(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries of each.
    pub fn width(&self) -> usize {
        match self {
            Inputs::Dense { width, .. } => *width,
            Inputs::Sparse(rows) => rows.width(),
        }
    }

    /// Call `then` with every entry of a row that is not known to be 0.
    pub(super) fn each(&self, row: usize, mut then: impl FnMut(usize, f64)) {
        match self {
            Inputs::Dense { values, width } => {
                let row = &values[row * width..][..*width];
                row.iter().enumerate().for_each(|(column, &x)| then(column, x.into()));
            }
            Inputs::Sparse(rows) => rows.row(row).for_each(|(column, x)| then(column, x.into())),
        }
    }

    /// These columns alone, as dense rows.
    pub fn columns(&self, columns: &[usize]) -> Vec<f32> {
        let value = |row: usize, column: usize| match self {
            Inputs::Dense { values, width } => values[row * width + column],
            Inputs::Sparse(rows) => rows.value(row, column),
        };
        (0..self.len()).flat_map(|row| columns.iter().map(move |&column| value(row, column))).collect()
    }

    /// For each column, the mean of the rows that are labelled less the mean of the others.
    ///
    /// # Errors
    /// Labels that are not as many as rows, or all alike.
    pub fn differences(&self, labels: &[bool]) -> Result<Vec<f64>> {
        let [no, yes] = counts(self, labels)?;
        let mut all = vec![0.0; self.width()];
        for (row, &label) in labels.iter().enumerate() {
            let share = if label { 1.0 / yes as f64 } else { -1.0 / no as f64 };
            self.each(row, |column, x| all[column] += share * x);
        }
        Ok(all)
    }

    /// Mean and deviation of each column.
    pub(crate) fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let (rows, width) = (self.len(), self.width());
        let (mut mean, mut square, mut seen) = (vec![0.0; width], vec![0.0; width], vec![0_usize; width]);
        (0..rows).for_each(|row| self.each(row, |column, x| mean[column] += x));
        mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        for row in 0..rows {
            self.each(row, |column, x| {
                square[column] += (x - mean[column]).powi(2);
                seen[column] += 1;
            });
        }
        for ((square, &seen), mean) in square.iter_mut().zip(&seen).zip(&mean) {
            *square = ((*square + (rows - seen) as f64 * mean * mean) / rows as f64).sqrt();
        }
        (mean, square)
    }
}

/// How many rows are not labelled, and how many are.
pub(super) fn counts(x: &Inputs<'_>, labels: &[bool]) -> Result<[usize; 2]> {
    let yes = labels.iter().filter(|&&label| label).count();
    if labels.len() != x.len() {
        return Err(Error::setting("labels", format!("{} of them, for {} rows", labels.len(), x.len())));
    }
    if yes == 0 || yes == labels.len() {
        return Err(Error::setting("labels", format!("{yes} of {} are true; both kinds are needed", labels.len())));
    }
    Ok([labels.len() - yes, yes])
}

/// The `k` columns of the largest values, largest first; of equal ones, the first.
pub(super) fn largest(values: impl IntoIterator<Item = f64>, k: usize) -> Vec<usize> {
    let values: Vec<f64> = values.into_iter().collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_by_hand() {
        let x = Inputs::Dense { values: &[1.0, 0.0, 3.0, 4.0, 5.0, 1.0], width: 2 };
        assert_eq!(x.differences(&[true, false, true]).unwrap(), [0.0, -3.5]);
        assert_eq!(largest([1.0, 3.0, 3.0, -5.0], 3), [1, 2, 0]);
    }

    #[test]
    fn moments_by_hand() {
        let mut rows = SparseRows::new(3);
        rows.push(vec![(0, 2.0), (1, 3.0)], 1.0);
        rows.push(vec![(1, 3.0)], 1.0);
        let dense = Inputs::Dense { values: &[2.0, 3.0, 0.0, 0.0, 3.0, 0.0], width: 3 };
        for x in [dense, Inputs::Sparse(&rows)] {
            assert_eq!(x.moments(), (vec![1.0, 3.0, 0.0], vec![1.0, 0.0, 0.0]));
            assert_eq!((x.len(), x.width(), x.is_empty()), (2, 3, false));
        }
    }
}
