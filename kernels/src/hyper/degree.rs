//! How much belongs to each row: its degree, or what networks and searches make of it.
//!
//! | argument  | shape                 | type  |
//! |-----------|-----------------------|-------|
//! | incidence | see [`hyper`](super)  |       |
//! | `values`  | `[entries]`, optional | `Acc`, by number of entry |
//! | `columns` | `[columns]`, optional | `Acc` |
//! | `out`     | `[rows]`              | `Acc` |
//!
//! `d[r] = Σ values · columns` over the entries of the row, what is left out being 1; and `out` is
//!
//! ```text
//! Sum          d
//! Inverse      1 / d, 0 where d is 0
//! InverseRoot  d^-1/2, 0 where d is not positive
//! Rarity       ln((1 + columns) / (1 + d)) + 1: the smoothed inverse document frequency, rows being the words
//! ```
//!
//! **Determinism** stable, close: squared error at most 1e-11 of the sum of squares. **Moves** [`Plan::bytes`].
use super::{Incidence, Shape, length};
use crate::{Float, Layout, Result, math};

/// What is made of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degree {
    /// The degree.
    Sum,
    /// One by it.
    Inverse,
    /// One by its root.
    InverseRoot,
    /// Its inverse document frequency.
    Rarity,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    how: Degree,
    shape: Shape,
    arguments: usize,
}

/// Check a call.
///
/// # Errors
/// [`Error::Size`](crate::Error::Size) if lengths disagree.
pub fn plan(shape: &Shape, how: Degree, values: Option<&Layout<1>>, columns: Option<&Layout<1>>) -> Result<Plan> {
    length("hyper_degree", "values", shape.entries(), values)?;
    length("hyper_degree", "columns", shape.columns(), columns)?;
    let arguments = [values, columns].into_iter().flatten().map(|layout| layout.dims()[0]).sum();
    Ok(Plan { how, shape: *shape, arguments })
}

impl Plan {
    /// What is made of a degree.
    pub fn how(&self) -> Degree {
        self.how
    }
    /// How large the incidence is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Bytes that any implementation must move at least.
    pub fn bytes(&self) -> usize {
        4 * (self.arguments + 2 * self.shape.rows() + 1)
    }
    /// What is made of this degree.
    pub fn of(&self, degree: f64) -> f64 {
        match self.how {
            Degree::Sum => degree,
            Degree::Inverse if degree == 0.0 => 0.0,
            Degree::Inverse => 1.0 / degree,
            Degree::InverseRoot if degree > 0.0 => 1.0 / math::sqrt(degree),
            Degree::InverseRoot if degree.is_nan() => degree,
            Degree::InverseRoot => 0.0,
            Degree::Rarity => math::ln((1.0 + self.shape.columns() as f64) / (1.0 + degree)) + 1.0,
        }
    }
}

/// The definition.
pub fn forward<A: Float>(p: &Plan, of: Incidence, values: Option<&[A]>, columns: Option<&[A]>, out: &mut [A]) {
    for (r, out) in out[..p.shape.rows()].iter_mut().enumerate() {
        let term = |i: usize| {
            values.map_or(1.0, |values| values[of.number(i)].wide())
                * columns.map_or(1.0, |columns| columns[of.members[i] as usize].wide())
        };
        *out = A::narrow(p.of(of.row(r).map(term).sum::<f64>() + 0.0));
    }
}
