//! A gradient in several tensors, shortened to a length as a whole: two calls for each tensor, and the host sees none of it.
//!
//! | argument  | shape           | type  |
//! |-----------|-----------------|-------|
//! | `g`       | any, packed     | `f32`: a part of the gradient |
//! | `squares` | `[`[`PARTS`]`]` | `f32` |
//!
//! ```text
//! squares:  squares[i] (+)= the sum of the squares of the i-th run of entries of g
//! scale:    length = sqrt(the sum of squares);   g *= most / length   if length > most
//! ```
//! Every part of the gradient first goes through [`squares()`], the first with `Replace` and the others with `Add`; then
//! each goes through [`scale()`]. Runs are of [`Plan::run`] entries, the last may be shorter or empty.
//!
//! A gradient that is not longer keeps its bits. **NaN** in any part makes the length NaN, and nothing is scaled: the step
//! that follows shows it. An infinite length scales by 0. **Empty** parts leave zeros. **Determinism** stable; close to
//! the reference within 1e-11 normalised squared error. **Errors** `Size` if `squares` is not [`PARTS`] long, `Stride` for
//! gaps, `Value` if `most` is not above 0. **Moves** `g` once for [`squares()`], twice for [`scale()`].
//! **Source** Pascanu et al., On the difficulty of training recurrent neural networks (2013).
use super::packed;
use crate::math::sqrt;
use crate::{Accumulate, Error, Layout, Result};

/// Partial sums of a gradient.
pub const PARTS: usize = 256;

/// A checked problem. Only [`plan_squares`] and [`plan_scale`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    n: usize,
    accumulate: Accumulate,
    most: f32,
}

/// Check a call of [`squares()`].
///
/// # Errors
/// See the head of the module.
pub fn plan_squares<const R: usize>(g: &Layout<R>, squares: &Layout<1>, accumulate: Accumulate) -> Result<Plan> {
    let n = check("clip_squares", g, squares)?;
    Ok(Plan { n, accumulate, most: f32::INFINITY })
}

/// Check a call of [`scale()`].
///
/// # Errors
/// See the head of the module.
pub fn plan_scale<const R: usize>(g: &Layout<R>, squares: &Layout<1>, most: f32) -> Result<Plan> {
    let n = check("clip_scale", g, squares)?;
    if most.is_nan() || most <= 0.0 {
        return Err(Error::Value { op: "clip_scale", arg: "most", want: "above 0" });
    }
    Ok(Plan { n, accumulate: Accumulate::Replace, most })
}

fn check<const R: usize>(op: &'static str, g: &Layout<R>, squares: &Layout<1>) -> Result<usize> {
    if squares.len() != PARTS {
        return Err(Error::Size { op, arg: "squares", want: PARTS, got: squares.len() });
    }
    packed(op, "g", g)?;
    Ok(g.len())
}

impl Plan {
    /// Entries of `g`.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Entries behind one of the partial sums: a multiple of 4, so that each run begins where 16 bytes do.
    pub fn run(&self) -> usize {
        self.n.div_ceil(PARTS).next_multiple_of(4)
    }
    /// Whether the sums join those that are there.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// The greatest length.
    pub fn most(&self) -> f32 {
        self.most
    }
    /// What a gradient of these partial sums is multiplied with; 1 where it is short enough, or not a number.
    pub fn factor(&self, squares: &[f32]) -> f32 {
        let length = sqrt(squares[..PARTS].iter().map(|&square| f64::from(square)).sum());
        if length > f64::from(self.most) { (f64::from(self.most) / length) as f32 } else { 1.0 }
    }
    /// Bytes that [`squares()`] must move at least; [`scale()`] moves twice as many.
    pub fn bytes(&self) -> usize {
        4 * self.n
    }
}

/// The definition: the squares of every run.
pub fn squares(p: &Plan, g: &[f32], squares: &mut [f32]) {
    for (i, square) in squares[..PARTS].iter_mut().enumerate() {
        let [begin, end] = [i, i + 1].map(|at| (at * p.run()).min(p.n));
        let sum: f64 = g[begin..end].iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        *square = (if p.accumulate == Accumulate::Add { f64::from(*square) } else { 0.0 } + sum) as f32;
    }
}

/// The definition: shorten this part if the whole is too long.
pub fn scale(p: &Plan, squares: &[f32], g: &mut [f32]) {
    let factor = p.factor(squares);
    if factor != 1.0 {
        g[..p.n].iter_mut().for_each(|g| *g *= factor);
    }
}
