/// Rows of which most entries are 0: of each, the columns of the others in rising order, and their values.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    width: usize,
    /// Where each row begins among `columns` and `values`, and where the last ends.
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl SparseRows {
    /// No rows of this width.
    pub fn new(width: usize) -> Self {
        Self { width, offsets: vec![0], columns: Vec::new(), values: Vec::new() }
    }

    /// Add a row: `1 / divisor` times the sum of entries in any order, those of one column summed in the order given, in `f64`.
    /// Columns from the width on are left out: they are where a code had no entry.
    pub fn push(&mut self, mut entries: Vec<(u32, f32)>, divisor: f64) {
        entries.retain(|&(column, value)| (column as usize) < self.width && value != 0.0);
        entries.sort_by_key(|&(column, _)| column); // stable
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            let sum: f64 = same.iter().map(|&(_, value)| f64::from(value)).sum();
            self.columns.push(same[0].0);
            self.values.push((sum / divisor) as f32);
        }
        self.offsets.push(self.columns.len());
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries of a row, those included that are 0.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The columns and values of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, at: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let part = self.offsets[at]..self.offsets[at + 1];
        self.columns[part.clone()].iter().map(|&column| column as usize).zip(self.values[part].iter().copied())
    }

    /// One entry.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn value(&self, at: usize, column: usize) -> f32 {
        let part = self.offsets[at]..self.offsets[at + 1];
        let found = self.columns[part.clone()].binary_search_by_key(&column, |&column| column as usize);
        found.map_or(0.0, |found| self.values[part.start + found])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries are sorted, joined and divided; what has no column or no value is not kept.
    #[test]
    fn rows_are_sums() {
        let mut rows = SparseRows::new(5);
        rows.push(vec![(3, 1.0), (1, 2.0), (3, 5.0), (5, 9.0), (u32::MAX, 9.0), (0, 0.0)], 2.0);
        rows.push(vec![], 1.0);
        rows.push(vec![(4, 0.5)], 1.0);
        assert_eq!((rows.len(), rows.width(), rows.is_empty()), (3, 5, false));
        assert_eq!(rows.row(0).collect::<Vec<_>>(), [(1, 1.0), (3, 3.0)]);
        assert_eq!(rows.row(1).count(), 0);
        assert_eq!([rows.value(0, 3), rows.value(0, 4), rows.value(1, 0), rows.value(2, 4)], [3.0, 0.0, 0.0, 0.5]);
        assert!(SparseRows::new(5).is_empty());
    }
}
