//! Pooling over the members of each row: vertices to edges, edges to vertices, or scores.
//!
//! | argument  | shape                 | type           |
//! |-----------|-----------------------|----------------|
//! | incidence | see [`hyper`](super)  |                |
//! | `a`       | `[entries]`, optional | `Acc`, by number of entry; left out it is 1 |
//! | `x`       | `[columns, dim]`      | float          |
//! | `y`       | `[rows, dim]`         | as `x`         |
//! | `chosen`  | `[rows, dim]`         | `u32`, of [`largest`] |
//! | `dy`      | `[rows, dim]`         | as `x`         |
//! | `da`      | `[entries]`           | `Acc`, of [`dots`] |
//!
//! ```text
//! forward           y[r] = Σ a[i] x[members[i]]
//! its gradients     dx = forward over the incidence turned over, with the same a;   da[i] = dy[r] · x[c]: dots
//! largest           y[r, k] = max a[i] x[c, k], chosen the number of that entry
//! largest_backward  dx[c, k] = Σ a[i] dy[r, k] over those i of column c that were chosen
//! ```
//!
//! so that mean, idf-weighted and attention pooling are [`weigh`](super::weigh) and then `forward`, and the operator of
//! a hypergraph network is two of them: `Dv^-1/2 H W De^-1 Hᵀ Dv^-1/2`, which is symmetric and its own gradient.
//!
//! **Order** of `largest`: by [`order`](crate::order()) (NaN lowest), of equals the first entry; a zero comes out as it
//! is. **Empty** rows: `y = 0`, `chosen` the number of entries. `largest_backward` takes the incidence turned over;
//! `a` is a constant to it. A chosen number that is no entry of the column gives nothing.
//! **Determinism** `largest` exact where `a` is left out, others stable and close: squared error at most 1e-11 of the sum
//! of squares (1e-6 for `f16`, 1e-5 for `bf16`: their rounding). **Moves** [`Plan::bytes`]: the gather of `x` is from
//! memory, or from a cache that holds all of `x`.
use super::{Incidence, Shape, length, size};
use crate::{Float, Layout, Result, order};

/// A checked problem. Only [`plan`], [`plan_dots`] and [`plan_largest_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    shape: Shape,
    x: Layout<2>,
    dy: Layout<2>,
}

/// Check a call of [`forward`] or [`largest`].
///
/// # Errors
/// [`Error::Size`](crate::Error::Size) if shapes disagree.
pub fn plan(shape: &Shape, a: Option<&Layout<1>>, x: &Layout<2>) -> Result<Plan> {
    let op = "hyper_pool";
    size(op, "x", shape.columns(), x.dims()[0])?;
    super::at_most(op, "x", i32::MAX as usize, x.dims()[1])?;
    length(op, "a", shape.entries(), a)?;
    Ok(Plan { shape: *shape, x: *x, dy: Layout::packed([shape.rows(), x.dims()[1]])? })
}

/// Check a call of [`dots`].
///
/// # Errors
/// As [`plan`].
pub fn plan_dots(shape: &Shape, dy: &Layout<2>, x: &Layout<2>) -> Result<Plan> {
    let p = plan(shape, None, x)?;
    for (want, got) in p.dy.dims().into_iter().zip(dy.dims()) {
        size("hyper_dots", "dy", want, got)?;
    }
    Ok(Plan { dy: *dy, ..p })
}

/// Check a call of [`largest_backward`]; `shape` is that of the incidence turned over, `dy` is its `x`.
///
/// # Errors
/// As [`plan`], and if there are no `places`.
pub fn plan_largest_backward(
    shape: &Shape,
    places: bool,
    a: Option<&Layout<1>>,
    dy: &Layout<2>,
    chosen: &Layout<2>,
) -> Result<Plan> {
    let op = "hyper_largest_backward";
    if !places {
        return Err(crate::Error::Value { op, arg: "incidence", want: "turned over: with places" });
    }
    let p = plan(shape, a, dy)?;
    for (want, got) in dy.dims().into_iter().zip(chosen.dims()) {
        size(op, "chosen", want, got)?;
    }
    if !chosen.is_packed() {
        let want = Layout::packed(chosen.dims())?.strides()[0];
        return Err(crate::Error::Stride { op, arg: "chosen", want, got: chosen.strides()[0] });
    }
    Ok(p)
}

impl Plan {
    /// How large the incidence is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        self.dy.dims()
    }
    /// Length of a row of `x`.
    pub fn dim(&self) -> usize {
        self.x.dims()[1]
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `dy`.
    pub fn dy(&self) -> Layout<2> {
        self.dy
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes: every gathered row, and the rest
    /// once.
    pub fn bytes(&self, size: usize) -> usize {
        (self.shape.entries() + self.shape.rows()) * self.dim() * size + 8 * self.shape.entries()
    }
}

fn weight<A: Float>(of: Incidence, a: Option<&[A]>, i: usize) -> f64 {
    a.map_or(1.0, |a| a[of.number(i)].wide())
}

/// Weighted sums.
pub fn forward<T: Float>(p: &Plan, of: Incidence, a: Option<&[T::Acc]>, x: &[T], y: &mut [T]) {
    let (dim, [stride, _]) = (p.dim(), p.x.strides());
    for r in 0..p.shape.rows() {
        for k in 0..dim {
            let term = |i: usize| weight(of, a, i) * x[of.members[i] as usize * stride + k].wide();
            y[r * dim + k] = T::narrow(of.row(r).map(term).sum::<f64>() + 0.0);
        }
    }
}

/// The largest of each column of `x` over the members, and whose it was.
pub fn largest<T: Float>(p: &Plan, of: Incidence, a: Option<&[T::Acc]>, x: &[T], y: &mut [T], chosen: &mut [u32]) {
    let (dim, [stride, _]) = (p.dim(), p.x.strides());
    for r in 0..p.shape.rows() {
        for k in 0..dim {
            let mut best: Option<(T::Acc, usize)> = None;
            for i in of.row(r) {
                // Rounded to `Acc` before it is ranked, as devices do.
                let term = T::Acc::narrow(weight(of, a, i) * x[of.members[i] as usize * stride + k].wide());
                if best.is_none_or(|(top, _)| order(term) > order(top)) {
                    best = Some((term, i));
                }
            }
            y[r * dim + k] = best.map_or(T::default(), |(top, _)| T::narrow(top.wide()));
            chosen[r * dim + k] = best.map_or(p.shape.entries(), |(_, i)| of.number(i)) as u32;
        }
    }
}

/// The gradient of [`largest`], over the incidence turned over.
pub fn largest_backward<T: Float>(
    p: &Plan,
    of: Incidence,
    a: Option<&[T::Acc]>,
    dy: &[T],
    chosen: &[u32],
    dx: &mut [T],
) {
    let (dim, [stride, _]) = (p.dim(), p.x.strides());
    for c in 0..p.shape.rows() {
        for k in 0..dim {
            let mut sum = 0.0;
            for i in of.row(c) {
                let r = of.members[i] as usize;
                if chosen[r * dim + k] as usize == of.number(i) {
                    sum += weight(of, a, i) * dy[r * stride + k].wide();
                }
            }
            dx[c * dim + k] = T::narrow(sum);
        }
    }
}

/// The gradient of the weights: a dot product for each entry.
pub fn dots<T: Float>(p: &Plan, of: Incidence, dy: &[T], x: &[T], da: &mut [T::Acc]) {
    let ([of_dy, _], [of_x, _]) = (p.dy.strides(), p.x.strides());
    da[..p.shape.entries()].fill(T::Acc::default());
    for r in 0..p.shape.rows() {
        for i in of.row(r) {
            let (dy, x) = (&dy[r * of_dy..][..p.dim()], &x[of.members[i] as usize * of_x..][..p.dim()]);
            da[of.number(i)] = T::Acc::narrow(dy.iter().zip(x).map(|(dy, x)| dy.wide() * x.wide()).sum());
        }
    }
}
