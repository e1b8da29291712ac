//! Causal convolution of every channel along its sequence, `width` taps of it, with bias and SiLU.
//!
//! | argument  | shape                             | type                                              |
//! |-----------|-----------------------------------|---------------------------------------------------|
//! | `x`       | `[batch, len, columns]`           | float                                             |
//! | `weight`  | `[channels, width]`, width 2 to 4 | [`Float::Acc`](crate::Float::Acc) of it           |
//! | `bias`    | `[channels]`                      | `Acc`, optional                                   |
//! | `initial` | `[sequences, width - 1, channels]`| as `x`, optional: what precedes a sequence, else 0 |
//! | `y`, `dy` | `[batch, len, channels]`          | as `x`                                            |
//! | `last`    | as `initial`                      | as `x`, optional: what its continuation is given  |
//! | `dx`, `dweight`, `dbias`, `dinitial` | as the inputs | `dweight` and `dbias` `Acc`, others as `x`; each optional |
//!
//! With `v` what precedes a sequence and then its rows in order, `pre[p] = bias + Σ weight[w] v[p - (width - 1) + w]` and
//! `y = silu(pre)` or `y = pre`; `last` is the end of `v`. Sequences and orders are those of [`route`](crate::route): channels
//! are `orders` times as many as an order has, channel `c` is read in order `c / (channels / orders)`, and `x` has a column
//! for each channel, or one for each channel of an order, which all orders then share.
//! The row of `y` is that of the newest `x` it depends on.
//!
//! [`step`] is one row of every sequence: `x` and `y` `[batch, channels]`, and `state`, as `initial`, moves on in place.
//!
//! **Sums** in `Acc`, rounded once. **NaN** and infinities reach the `width` rows that read them, in their channel, and
//! no other; SiLU of minus infinity is NaN, of -1e4 it is -0. **Empty** a sequence without rows has `last = initial`. **Determinism** stable, and
//! independent of the number of threads; close to the reference: squared error at most 1e-11 of the sum of squares, for
//! 16-bit outputs what their rounding costs (1e-6 `f16`, 1e-5 `bf16`); `last` exact. **Errors** `Size` if shapes disagree
//! or the width is below 2, `Range` for one above 4, those of [`route`](crate::route). **Moves** [`Plan::bytes`].
//! **Source** Gu and Dao 2023, arXiv:2312.00752, section 3.4.
mod launch;
mod reference;

use crate::route::Route;
use crate::{Error, Image, Layout, Result};
pub use launch::{Gradients, launch, launch_backward, launch_step, workspace, workspace_backward};
pub use reference::{backward, forward, step};
pub(crate) use reference::{sigmoid, silu_slope};

/// The device code.
pub static IMAGE: Image = Image { name: "conv1d", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/conv1d.fatbin")) };

const OP: &str = "conv1d";

/// A checked problem. Only [`plan`], [`plan_backward`] and [`plan_step`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<3>,
    dy: Layout<3>,
    weight: Layout<2>,
    route: Route,
    silu: bool,
}

/// Check a forward call, but for the numbers in its tables.
///
/// # Errors
/// As the contract says.
pub fn plan(
    x: &Layout<3>,
    weight: &Layout<2>,
    bias: Option<&Layout<1>>,
    silu: bool,
    bounds: Option<&Layout<1>>,
    orders: Option<&Layout<2>>,
    initial: Option<&Layout<3>>,
) -> Result<Plan> {
    let ([batch, len, columns], [channels, width]) = (x.dims(), weight.dims());
    taps(OP, "width", width)?;
    if channels > i32::MAX as usize {
        return Err(Error::Range { op: OP, arg: "channels", max: i32::MAX as usize, got: channels });
    }
    let route = Route::plan(OP, [batch, len], bounds, orders)?;
    if channels % route.orders() != 0 {
        return Err(Error::Value { op: OP, arg: "channels", want: "a multiple of the number of orders" });
    }
    if columns != channels {
        size("x", [channels / route.orders()], [columns])?;
    }
    if let Some(bias) = bias {
        size("bias", [channels], bias.dims())?;
    }
    let dy = Layout::packed([batch, len, channels])?;
    let plan = Plan { x: *x, dy, weight: *weight, route, silu };
    if let Some(initial) = initial {
        size("initial", plan.state(), initial.dims())?;
        packed("initial", initial)?;
    }
    Ok(plan)
}

/// Check a backward call: a forward one, and `dy` and perhaps `dlast`.
///
/// # Errors
/// As the contract says.
pub fn plan_backward(p: &Plan, dy: &Layout<3>, dlast: Option<&Layout<3>>) -> Result<Plan> {
    size("dy", p.dy.dims(), dy.dims())?;
    if let Some(dlast) = dlast {
        size("dlast", p.state(), dlast.dims())?;
        packed("dlast", dlast)?;
    }
    Ok(Plan { dy: *dy, ..*p })
}

/// Check a step.
///
/// # Errors
/// As the contract says.
pub fn plan_step(x: &Layout<2>, weight: &Layout<2>, bias: Option<&Layout<1>>, silu: bool) -> Result<Plan> {
    let ([batch, columns], [row, _]) = (x.dims(), x.strides());
    size("x", [weight.dims()[0]], [columns])?;
    let row = if x.is_empty() { 0 } else { row.max(columns) };
    plan(&Layout::strided([batch, 1, columns], [row, columns, 1])?, weight, bias, silu, None, None, None)
}

/// Two to four taps: those that a thread holds.
pub(crate) fn taps(op: &'static str, arg: &'static str, got: usize) -> Result<()> {
    match got {
        0 | 1 => Err(Error::Size { op, arg, want: 2, got }),
        2..=4 => Ok(()),
        _ => Err(Error::Range { op, arg, max: 4, got }),
    }
}

fn size<const R: usize>(arg: &'static str, want: [usize; R], got: [usize; R]) -> Result<()> {
    let wrong = want.into_iter().zip(got).find(|(want, got)| want != got);
    wrong.map_or(Ok(()), |(want, got)| Err(Error::Size { op: OP, arg, want, got }))
}

fn packed<const R: usize>(arg: &'static str, layout: &Layout<R>) -> Result<()> {
    if layout.is_packed() || layout.is_empty() {
        return Ok(());
    }
    let want = Layout::packed(layout.dims())?.strides()[0];
    Err(Error::Stride { op: OP, arg, want, got: layout.strides()[0] })
}

impl Plan {
    /// The layout of `x`.
    pub fn x(&self) -> Layout<3> {
        self.x
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<3> {
        self.dy
    }
    /// The layout of `weight`.
    pub fn weight(&self) -> Layout<2> {
        self.weight
    }
    /// Sequences and orders.
    pub fn route(&self) -> Route {
        self.route
    }
    /// Whether SiLU follows.
    pub fn silu(&self) -> bool {
        self.silu
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 3] {
        self.dy.dims()
    }
    /// Shape of `initial` and `last`.
    pub fn state(&self) -> [usize; 3] {
        [self.route.sequences(), self.width() - 1, self.channels()]
    }
    /// Taps.
    pub fn width(&self) -> usize {
        self.weight.dims()[1]
    }
    /// Channels of `y`.
    pub fn channels(&self) -> usize {
        self.weight.dims()[0]
    }
    /// Columns of `x`.
    pub fn columns(&self) -> usize {
        self.x.dims()[2]
    }
    /// Where row `row` of `x`, among all rows, begins.
    pub fn x_row(&self, row: usize) -> usize {
        offset(&self.x, row, self.route.len())
    }
    /// Where row `row` of `dy` begins.
    pub fn dy_row(&self, row: usize) -> usize {
        offset(&self.dy, row, self.route.len())
    }
    /// Order and column of `x` of a channel.
    pub fn source(&self, channel: usize) -> [usize; 2] {
        [channel / (self.channels() / self.route.orders()), channel % self.columns()]
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        self.route.rows() * (self.columns() + self.channels()) * size + 4 * self.channels() * (self.width() + 1)
    }
}

fn offset(layout: &Layout<3>, row: usize, len: usize) -> usize {
    let [batch, step, _] = layout.strides();
    row / len * batch + row % len * step
}
