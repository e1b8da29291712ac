//! Rotary positions: every head of every token is turned, pair by pair, by angles that grow with its position. In place.
//!
//! | argument    | shape                  | type  |
//! |-------------|------------------------|-------|
//! | `x`         | `[tokens, heads, dim]` | float |
//! | `positions` | `[tokens]`             | `u32` |
//!
//! Pair `i` of `dim / 2` turns by `a = position * base^(-2i / dim)`: `(p, q)` becomes `(p cos a - q sin a, p sin a + q cos a)`.
//! [`Pairing::Interleaved`] pairs entries `2i` and `2i + 1`, [`Pairing::Halves`] `i` and `i + dim / 2`. To turn only the
//! first part of each head, narrow the view.
//!
//! **Backward** is the turn by the opposite angle: a plan of [`plan_backward`] makes of `dy`, in place, the gradient of `x`. Nothing
//! of the forward call is needed but the positions.
//!
//! **NaN** spoils its pair. **Empty** nothing is written. **Determinism** stable; close to the reference within 1e-12
//! normalised squared error in `f32`, for any position: angles are reduced before they are rounded.
//! **Errors** `Size` if there are not as many positions as tokens, `Value` if `dim` is odd or `base` is not positive.
//! **Moves** [`Plan::bytes`]. **Source** Su et al. 2021.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result, math};
pub use launch::launch;
pub use reference::forward;

/// The device code.
pub static IMAGE: Image = Image { name: "rope", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/rope.fatbin")) };

/// Which entries of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `2i` with `2i + 1`.
    Interleaved,
    /// `i` with `i + dim / 2`.
    Halves,
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    dims: [usize; 3],
    strides: [usize; 2],
    span: usize,
    base: f64,
    pairing: Pairing,
    back: bool,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(x: &Layout<3>, positions: &Layout<1>, base: f64, pairing: Pairing) -> Result<Plan> {
    let (dims @ [tokens, _, dim], [token, head, _]) = (x.dims(), x.strides());
    if positions.len() != tokens {
        return Err(Error::Size { op: "rope", arg: "positions", want: tokens, got: positions.len() });
    }
    if dim > i32::MAX as usize {
        return Err(Error::Range { op: "rope", arg: "dim", max: i32::MAX as usize, got: dim });
    }
    if dim % 2 != 0 {
        return Err(Error::Value { op: "rope", arg: "dim", want: "even" });
    }
    if !(base > 0.0 && base.is_finite()) {
        return Err(Error::Value { op: "rope", arg: "base", want: "a positive number" });
    }
    Ok(Plan { dims, strides: [token, head], span: x.span(), base, pairing, back: false })
}

/// Check a backward call: the same with opposite angles.
///
/// # Errors
/// As [`plan`].
pub fn plan_backward(dy: &Layout<3>, positions: &Layout<1>, base: f64, pairing: Pairing) -> Result<Plan> {
    Ok(Plan { back: true, ..plan(dy, positions, base, pairing)? })
}

impl Plan {
    /// Tokens, heads, entries of a head.
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }
    /// Distances between tokens and between heads, in elements.
    pub fn strides(&self) -> [usize; 2] {
        self.strides
    }
    /// Elements of `x`, from the first to one past the last.
    pub fn span(&self) -> usize {
        self.span
    }
    /// Which entries form a pair.
    pub fn pairing(&self) -> Pairing {
        self.pairing
    }
    /// Whether it turns back.
    pub fn back(&self) -> bool {
        self.back
    }
    /// The two entries of pair `i` of a head.
    pub fn pair(&self, i: usize) -> [usize; 2] {
        match self.pairing {
            Pairing::Interleaved => [2 * i, 2 * i + 1],
            Pairing::Halves => [i, i + self.dims[2] / 2],
        }
    }
    /// Radians that pair `i` turns from one position to the next, negative backward.
    pub fn rate(&self, i: usize) -> f64 {
        let rate = math::pow(self.base, -2.0 * i as f64 / self.dims[2] as f64);
        if self.back { -rate } else { rate }
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        2 * self.dims.iter().product::<usize>() * size + 4 * self.dims[0]
    }
}
