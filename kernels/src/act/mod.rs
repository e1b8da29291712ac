//! Activations entry by entry, alone or as the gate of a second tensor.
//!
//! | argument | shape       | type    |
//! |----------|-------------|---------|
//! | `gate`   | `[rows, n]` | float   |
//! | `up`     | `[rows, n]` | as `gate`, may be absent |
//! | `y`      | `[rows, n]` | as `gate` |
//!
//! `y = act(gate)`, times `up` if there is one.
//!
//! **NaN** gives NaN; `-inf` gives what the formula does, NaN. **Empty** nothing is written. **Determinism** stable; close to
//! the reference within 1e-12 normalised squared error in `f32`. **Errors** `Size` if the shapes differ.
//! **Moves** [`Plan::bytes`]. **Backward** will read `gate` and `up` again. **Source** Hendrycks and Gimpel 2016, Shazeer 2020.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
pub use reference::{apply, forward};

/// The device code.
pub static IMAGE: Image = Image { name: "act", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/act.fatbin")) };

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
}

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    act: Act,
    gate: Layout<2>,
    up: Option<Layout<2>>,
}

/// Check a call.
///
/// # Errors
/// `Size` if `up` is not shaped as `gate`.
pub fn plan(act: Act, gate: &Layout<2>, up: Option<&Layout<2>>) -> Result<Plan> {
    if let Some(up) = up {
        let wrong = gate.dims().into_iter().zip(up.dims()).find(|(want, got)| want != got);
        if let Some((want, got)) = wrong {
            return Err(Error::Size { op: "gated", arg: "up", want, got });
        }
    }
    Ok(Plan { act, gate: *gate, up: up.copied() })
}

impl Plan {
    /// Which function.
    pub fn act(&self) -> Act {
        self.act
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        self.gate.dims()
    }
    /// The layout of `gate`.
    pub fn gate(&self) -> Layout<2> {
        self.gate
    }
    /// The layout of `up`; that of `gate` if there is none.
    pub fn up(&self) -> Layout<2> {
        self.up.unwrap_or(self.gate)
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (2 + usize::from(self.up.is_some())) * self.gate.len() * size
    }
}
