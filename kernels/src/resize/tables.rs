use super::OP;
use crate::{Error, Result};
use alloc::{vec, vec::Vec};

/// The largest size of an image.
const MOST: usize = 1 << 20;

/// How pixels are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The two neighbours, by their distance.
    Bilinear,
    /// The four neighbours, by a cubic with `a = -3/4`.
    Bicubic,
    /// A triangle as wide as the reduction.
    BilinearAntialias,
    /// A cubic with `a = -1/2`, as wide as the reduction.
    BicubicAntialias,
}

impl Filter {
    /// Pixels on either side.
    fn reach(self) -> usize {
        if matches!(self, Filter::Bilinear | Filter::BilinearAntialias) { 1 } else { 2 }
    }
    fn antialias(self) -> bool {
        matches!(self, Filter::BilinearAntialias | Filter::BicubicAntialias)
    }
    fn weight(self, z: f64) -> f64 {
        let z = if z < 0.0 { -z } else { z };
        if self.reach() == 1 {
            return if z < 1.0 { 1.0 - z } else { 0.0 };
        }
        let a = if self.antialias() { -0.5 } else { -0.75 };
        if z < 1.0 {
            return ((a + 2.0) * z - (a + 3.0)) * z * z + 1.0;
        }
        if z < 2.0 { (((z - 5.0) * z + 8.0) * z - 4.0) * a } else { 0.0 }
    }
    /// The first pixel that entry `i` of `to` reads of `from`, and the weights from there on.
    fn row(self, i: usize, from: usize, to: usize) -> (usize, Vec<f64>) {
        let scale = from as f64 / to as f64;
        let (center, reach) = ((i as f64 + 0.5) * scale, self.reach());
        if self.antialias() {
            let wide = if scale > 1.0 { scale } else { 1.0 };
            let support = reach as f64 * wide;
            // Casts cut towards 0.
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights = (first..end).map(|k| self.weight((k as f64 + 0.5 - center) / wide));
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            return (first, weights.into_iter().map(|weight| weight / sum).collect());
        }
        // The pixel at or before the place, counted from `reach` before the image; past the border counts what is there.
        let at = (center + 0.5) as usize;
        let inside = |k: usize| (at + k).saturating_sub(reach).min(from - 1);
        let first = inside(0);
        let mut weights = vec![0.0; inside(2 * reach - 1) - first + 1];
        for k in 0..2 * reach {
            weights[inside(k) - first] += self.weight((at + k) as f64 - reach as f64 + 0.5 - center);
        }
        (first, weights)
    }
}

/// Sparse rows of weights: row `i` begins at an input, and has some weights one after the other.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<[u32; 3]>,
    weights: Vec<f64>,
    inputs: usize,
}

impl Table {
    fn new(filter: Filter, from: usize, to: usize) -> Self {
        let mut table = Self { rows: Vec::with_capacity(to), weights: Vec::new(), inputs: from };
        for i in 0..to {
            let (first, weights) = filter.row(i, from, to);
            let zeros = weights.iter().take_while(|&&weight| weight == 0.0).count();
            let end = weights.iter().rposition(|&weight| weight != 0.0).map_or(zeros, |last| last + 1);
            table.push(first + zeros, &weights[zeros..end]);
        }
        table
    }

    fn push(&mut self, first: usize, weights: &[f64]) {
        self.rows.push([first, self.weights.len(), weights.len()].map(|number| number as u32));
        self.weights.extend_from_slice(weights);
    }

    /// The same weights, by input: each has those of the rows that read it.
    fn transposed(&self) -> Self {
        let mut reads: Vec<(usize, Vec<f64>)> = vec![(0, Vec::new()); self.inputs];
        for i in 0..self.rows.len() {
            let (first, weights) = self.row(i);
            for ((start, reads), &weight) in reads[first..].iter_mut().zip(weights) {
                if reads.is_empty() {
                    *start = i;
                }
                // Rows between that do not read it.
                reads.resize(i - *start, 0.0);
                reads.push(weight);
            }
        }
        let mut table = Self { rows: Vec::with_capacity(self.inputs), weights: Vec::new(), inputs: self.rows.len() };
        reads.iter().for_each(|(start, reads)| table.push(*start, reads));
        table
    }

    /// The first input of row `i`, and the weights from there on.
    pub fn row(&self, i: usize) -> (usize, &[f64]) {
        let [first, start, count] = self.rows[i].map(|number| number as usize);
        (first, &self.weights[start..][..count])
    }
}

/// The weights of a change of size, down and across, in both directions.
#[derive(Clone, Debug)]
pub struct Tables {
    filter: Filter,
    from: [usize; 2],
    to: [usize; 2],
    forward: [Table; 2],
    backward: [Table; 2],
}

impl Tables {
    /// From images of `from` rows and columns to those of `to`.
    ///
    /// # Errors
    /// `Value` for a size of 0, `Range` for one above 2^20.
    pub fn new(filter: Filter, from: [usize; 2], to: [usize; 2]) -> Result<Self> {
        for (arg, sizes) in [("from", from), ("to", to)] {
            if sizes.contains(&0) {
                return Err(Error::Value { op: OP, arg, want: "at least one pixel each way" });
            }
            if let Some(got) = sizes.into_iter().find(|&size| size > MOST) {
                return Err(Error::Range { op: OP, arg, max: MOST, got });
            }
        }
        let forward = [0, 1].map(|d| Table::new(filter, from[d], to[d]));
        let backward = [forward[0].transposed(), forward[1].transposed()];
        Ok(Self { filter, from, to, forward, backward })
    }

    /// How pixels are weighted.
    pub fn filter(&self) -> Filter {
        self.filter
    }
    /// Rows and columns before.
    pub fn from(&self) -> [usize; 2] {
        self.from
    }
    /// Rows and columns after.
    pub fn to(&self) -> [usize; 2] {
        self.to
    }
    /// Down (0) or across (1): what entries of `y` read.
    pub fn forward(&self, d: usize) -> &Table {
        &self.forward[d]
    }
    /// Down (0) or across (1): who reads the entries of `x`.
    pub fn backward(&self, d: usize) -> &Table {
        &self.backward[d]
    }

    fn all(&self) -> [&Table; 4] {
        [&self.forward[0], &self.forward[1], &self.backward[0], &self.backward[1]]
    }
    /// Rows and weights before table `at` of the four.
    pub(super) fn before(&self, at: usize) -> [usize; 2] {
        self.all()[..at]
            .iter()
            .fold([0; 2], |[rows, weights], table| [rows + table.rows.len(), weights + table.weights.len()])
    }
    /// Numbers in all rows, and weights.
    pub(super) fn lengths(&self) -> [usize; 2] {
        let [rows, weights] = self.before(4);
        [3 * rows, weights]
    }
    /// What kernels read: first, start and count of every row of the four tables, and all weights.
    pub fn words(&self) -> (Vec<u32>, Vec<f32>) {
        let rows = self.all().into_iter().flat_map(|table| table.rows.iter().flatten().copied());
        let weights = self.all().into_iter().flat_map(|table| table.weights.iter().map(|&weight| weight as f32));
        (rows.collect(), weights.collect())
    }
}
