//! Activations entry by entry, alone or as the gate of a second tensor.
//!
//! | argument | shape       | type    |
//! |----------|-------------|---------|
//! | `gate`   | `[rows, n]` | float   |
//! | `up`     | `[rows, n]` | as `gate`, may be absent |
//! | `y`, `dy` | `[rows, n]` | as `gate` |
//! | `dgate`  | `[rows, n]` | as `gate`, optional |
//! | `dup`    | `[rows, n]` | as `gate`, optional, only where there is `up` |
//!
//! `y = act(gate)`, times `up` if there is one; `dgate = dy up act'(gate)` and `dup = dy act(gate)`, for which `gate` and `up`
//! are read again: nothing is saved. All inputs may have gaps between rows; outputs are packed.
//!
//! Every activation is `x s(x)`, where `s` rises from 0 to 1; its slope is `s + x s'`, in which nothing cancels but where the
//! slope itself passes through 0, and nothing overflows: where `s` no longer rises, the slope is `s`.
//!
//! **NaN** gives NaN; a `gate` of `-inf` gives what the formula does, a `y` and `dup` of NaN, but the slope has its limits there,
//! 0 at `-inf` and 1 at `inf`. **Empty** nothing is written. **Determinism** stable; close to the reference within 1e-12
//! normalised squared error in `f32`. **Errors** `Size` if the shapes differ, `Value` for `dup` without `up`.
//! **Moves** [`Plan::bytes`], [`Plan::bytes_backward`]. **Source** Hendrycks and Gimpel 2016, Shazeer 2020.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{launch, launch_backward};
pub use reference::{apply, backward, forward, slope};

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

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    act: Act,
    gate: Layout<2>,
    up: Option<Layout<2>>,
    dy: Layout<2>,
}

/// Check a call.
///
/// # Errors
/// `Size` if `up` is not shaped as `gate`.
pub fn plan(act: Act, gate: &Layout<2>, up: Option<&Layout<2>>) -> Result<Plan> {
    let plan = Plan { act, gate: *gate, up: up.copied(), dy: Layout::packed(gate.dims())? };
    up.map_or(Ok(()), |up| plan.same("up", up))?;
    Ok(plan)
}

/// Check a backward call; `dup` is whether the gradient of `up` is asked for.
///
/// # Errors
/// As [`plan`], `Size` if `dy` is not shaped as `gate`, `Value` if there is no `up` to have a gradient.
pub fn plan_backward(act: Act, gate: &Layout<2>, up: Option<&Layout<2>>, dy: &Layout<2>, dup: bool) -> Result<Plan> {
    let plan = plan(act, gate, up)?;
    plan.same("dy", dy)?;
    if dup && up.is_none() {
        return Err(Error::Value { op: plan.op(), arg: "dup", want: "left out where there is no up" });
    }
    Ok(Plan { dy: *dy, ..plan })
}

impl Plan {
    fn op(&self) -> &'static str {
        if self.up.is_some() { "gated" } else { "act" }
    }
    fn same(&self, arg: &'static str, layout: &Layout<2>) -> Result<()> {
        let wrong = self.gate.dims().into_iter().zip(layout.dims()).find(|(want, got)| want != got);
        wrong.map_or(Ok(()), |(want, got)| Err(Error::Size { op: self.op(), arg, want, got }))
    }
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
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<2> {
        self.dy
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (2 + usize::from(self.up.is_some())) * self.gate.len() * size
    }
    /// The same of a backward call that asks for everything.
    pub fn bytes_backward(&self, size: usize) -> usize {
        (3 + 2 * usize::from(self.up.is_some())) * self.gate.len() * size
    }
}
