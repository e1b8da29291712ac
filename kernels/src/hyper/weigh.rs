//! How the members of a row share in it.
//!
//! | argument  | shape                 | type  |
//! |-----------|-----------------------|-------|
//! | incidence | see [`hyper`](super)  |       |
//! | `values`  | `[entries]`, optional | `Acc`: weights, or logits of [`Weigh::Softmax`] |
//! | `columns` | `[columns]`, optional | `Acc`: what a column brings with it, such as its idf, or a score as logit |
//! | `rows`    | `[rows]`, optional    | `Acc`: a factor of each row |
//! | `a`       | `[entries]`           | `Acc` |
//! | `da`, `dvalues` | `[entries]`     | `Acc`, of [`backward`] |
//!
//! With `h = values · columns` (`values + columns` for the softmax; what is left out is 1, or 0):
//!
//! ```text
//! Sum      a = rows h                                  dvalues = rows columns da
//! Mean     a = rows h / Σ h                            dvalues = columns / Σ h · rows (da - Σ da h / Σ h)
//! Softmax  a = rows exp(h - max h) / Σ exp(h - max h)  dvalues = a (da - Σ da a / rows)
//! ```
//!
//! sums over the entries of the row. `values`, `a`, `da` and `dvalues` are by number of entry; entries of no row get 0.
//! `rows` and `columns` are constants to `backward`.
//!
//! **Zero**: where `Σ h` is 0, so is `a` and the gradient. A logit of `-inf` weighs 0, also where a row has no other.
//! **NaN** stays in its row. **Determinism** stable, close: squared error at most 1e-11 of the sum of squares.
//! **Moves** [`Plan::bytes`].
use super::{Incidence, Shape, length};
use crate::{Float, Layout, Result, math};

/// What the numbers of a row are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weigh {
    /// What they are: their pooling is a sum.
    Sum,
    /// Shares of their sum: their pooling is a weighted mean.
    Mean,
    /// Logits, whose exponentials are made shares: attention.
    Softmax,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    how: Weigh,
    shape: Shape,
    arguments: usize,
}

/// Check a call.
///
/// # Errors
/// [`Error::Size`](crate::Error::Size) if lengths disagree.
pub fn plan(
    shape: &Shape,
    how: Weigh,
    values: Option<&Layout<1>>,
    columns: Option<&Layout<1>>,
    rows: Option<&Layout<1>>,
) -> Result<Plan> {
    let op = "hyper_weigh";
    length(op, "values", shape.entries(), values)?;
    length(op, "columns", shape.columns(), columns)?;
    length(op, "rows", shape.rows(), rows)?;
    let arguments = [values, columns, rows].into_iter().flatten().map(|layout| layout.dims()[0]).sum();
    Ok(Plan { how, shape: *shape, arguments })
}

impl Plan {
    /// What the numbers of a row are made.
    pub fn how(&self) -> Weigh {
        self.how
    }
    /// How large the incidence is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Bytes that any implementation must move at least.
    pub fn bytes(&self) -> usize {
        8 * self.shape.entries() + 4 * (self.shape.rows() + 1 + self.arguments)
    }
}

/// What a call reads besides the incidence.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a, A> {
    /// By number of entry.
    pub values: Option<&'a [A]>,
    /// By column.
    pub columns: Option<&'a [A]>,
    /// By row.
    pub rows: Option<&'a [A]>,
}

impl<A: Float> Terms<'_, A> {
    /// `h` of entry `i`.
    fn term(&self, how: Weigh, of: Incidence, i: usize) -> f64 {
        let value = self.values.map(|values| values[of.number(i)].wide());
        let column = self.columns.map(|columns| columns[of.members[i] as usize].wide());
        match how {
            Weigh::Softmax => value.unwrap_or(0.0) + column.unwrap_or(0.0),
            _ => value.unwrap_or(1.0) * column.unwrap_or(1.0),
        }
    }
    fn row(&self, r: usize) -> f64 {
        self.rows.map_or(1.0, |rows| rows[r].wide())
    }
}

/// The share of each entry in its row, without the factor of the row, given to `each` with its number.
fn shares<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, r: usize, mut each: impl FnMut(usize, f64)) {
    let top = of.row(r).map(|i| terms.term(p.how, of, i)).fold(f64::NEG_INFINITY, f64::max);
    let part = |i: usize| match (terms.term(p.how, of, i), p.how) {
        (h, Weigh::Softmax) if h == f64::NEG_INFINITY => 0.0,
        (h, Weigh::Softmax) => math::exp(h - top),
        (h, _) => h,
    };
    let sum = if p.how == Weigh::Sum { 1.0 } else { of.row(r).map(part).sum() };
    for i in of.row(r) {
        each(i, if sum == 0.0 { 0.0 } else { part(i) / sum });
    }
}

/// The definition.
pub fn forward<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, a: &mut [A]) {
    a[..p.shape.entries()].fill(A::default());
    for r in 0..p.shape.rows() {
        shares(p, of, terms, r, |i, share| a[of.number(i)] = A::narrow(terms.row(r) * share));
    }
}

/// The gradient of `values`.
pub fn backward<A: Float>(p: &Plan, of: Incidence, terms: Terms<A>, da: &[A], dvalues: &mut [A]) {
    dvalues[..p.shape.entries()].fill(A::default());
    for r in 0..p.shape.rows() {
        let (mut mean, mut sum) = (0.0, 0.0);
        shares(p, of, terms, r, |i, share| mean += share * da[of.number(i)].wide());
        of.row(r).for_each(|i| sum += terms.term(p.how, of, i));
        shares(p, of, terms, r, |i, share| {
            let (column, da) =
                (terms.columns.map_or(1.0, |columns| columns[of.members[i] as usize].wide()), da[of.number(i)].wide());
            dvalues[of.number(i)] = A::narrow(match p.how {
                Weigh::Sum => terms.row(r) * column * da,
                Weigh::Mean if sum == 0.0 => 0.0,
                Weigh::Mean => terms.row(r) * column / sum * (da - mean),
                Weigh::Softmax => terms.row(r) * share * (da - mean),
            });
        });
    }
}
