//! Selective scan: a diagonal linear recurrence whose step, input and output depend on the row.
//!
//! | argument  | shape                              | type                                                     |
//! |-----------|------------------------------------|----------------------------------------------------------|
//! | `u`       | `[batch, len, columns]`            | float                                                    |
//! | `delta`   | `[batch, len, channels]`           | as `u`                                                   |
//! | `a`       | `[channels, states]`, to 256 states| [`Float::Acc`](crate::Float::Acc) of it                  |
//! | `b`, `c`  | `[batch, len, groups * states]`    | as `u`; groups of neighbouring channels share them       |
//! | `skip`    | `[channels]`                       | `Acc`, optional                                          |
//! | `bias`    | `[channels]`                       | `Acc`, optional, of `delta`                              |
//! | `gate`    | `[batch, len, width]`              | as `u`, optional                                         |
//! | `taps`    | `[channels, 2 to 4]`               | `Acc`, optional, forward only; with `taps_bias` `[channels]` and `window`, as `initial` of [`conv1d`](crate::conv1d) |
//! | `initial` | `[sequences, channels, states]`    | `Acc`, optional, else 0                                  |
//! | `y`, `dy` | `[batch, len, width]`              | as `u`                                                   |
//! | `last`    | as `initial`                       | `Acc`, optional                                          |
//! | `du` `ddelta` `da` `db` `dc` `dskip` `dbias` `dgate` `dinitial` | as the inputs, packed | as they, each optional |
//!
//! Along every sequence, for channel `d` and state `n`, with `δ = softplus(delta + bias)` (or `delta + bias`):
//! `h = exp(δ a[d,n]) h + δ b[n] u` and `out = Σ c[n] h + skip u`. Sequences and orders are those of [`route`](crate::route):
//! channels are `orders` times `width`, channel `d` is scanned in order `d / width` and belongs to column `d % width` of
//! `y = gate / (1 + exp(-gate)) * Σ out` over orders, each put back at its row. `u` has a column for each channel, or one
//! for each of `width`, which all orders share. With `taps`, `u` is convolved in the order of the scan and SiLU taken first.
//! The gradients are those of `y` and of `last`; with `taps` there are none: `conv1d` has a backward of its own.
//!
//! A step is a scan of one row of every sequence, whose state moves on in place.
//!
//! **State** and sums in `Acc`, rounded once; softplus is the identity above 20. **Any number is allowed**: `a = 0` keeps a
//! state for ever, `δ a` below -126 ln 2 may clear it (the host's bound), a growing state may overflow, large `δ` is no
//! error. **NaN** and infinities stay in
//! their channel and later rows of their sequence, but for those of `b` and `c`, which the channels of their group read,
//! and the gradients of `b` and `c`, which sum over them. **Empty** a sequence without rows has `last = initial`.
//! **Determinism** stable, independent of the number of threads and of the other batch entries; close to the reference:
//! squared error at most 1e-10 of the sum of squares, 1e-6 for `f16` and 1e-5 for `bf16` outputs, where decays `δ a` are
//! above -80 (below, a decay counts as 0). **Errors** `Size` if shapes disagree, for no state and for one tap, `Range` for more states or taps, `Value` for groups that no order or
//! width divides, those of [`route`](crate::route). **Moves** [`Plan::bytes`]; the floor on a CPU and often on a GPU is
//! [`Plan::steps`] exponentials. **Source** Gu and Dao 2023, arXiv:2312.00752, algorithm 2; orders: Zhu et al. 2024,
//! arXiv:2401.09417, and Liu et al. 2024, arXiv:2401.10166.
mod launch;
mod reference;
mod scratch;

use crate::route::Route;
use crate::{Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, launch_step};
pub(crate) use reference::softplus;
pub use reference::{backward, forward};
pub use scratch::{workspace, workspace_backward};

/// The device code.
pub static IMAGE: Image = Image { name: "scan", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/scan.fatbin")) };

pub(crate) const OP: &str = "scan";
/// The most states of a channel.
pub const STATES: usize = 256;

/// What a scan reads, in memory of one kind: slices or spans. `S` holds elements, `A` those of `Acc`, `I` indices.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Inputs<S, A, I> {
    pub u: S,
    pub delta: S,
    pub a: A,
    pub b: S,
    pub c: S,
    pub skip: Option<A>,
    pub bias: Option<A>,
    pub gate: Option<S>,
    pub taps: Option<A>,
    pub taps_bias: Option<A>,
    pub window: Option<S>,
    pub tables: crate::route::Tables<I>,
    pub initial: Option<A>,
}

/// Where its gradients go.
#[derive(Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Gradients<S, A> {
    pub du: Option<S>,
    pub ddelta: Option<S>,
    pub da: Option<A>,
    pub db: Option<S>,
    pub dc: Option<S>,
    pub dskip: Option<A>,
    pub dbias: Option<A>,
    pub dgate: Option<S>,
    pub dinitial: Option<A>,
}

/// The layouts of what a scan reads.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Layouts {
    pub u: Layout<3>,
    pub delta: Layout<3>,
    pub a: Layout<2>,
    pub b: Layout<3>,
    pub c: Layout<3>,
    pub skip: Option<Layout<1>>,
    pub bias: Option<Layout<1>>,
    pub gate: Option<Layout<3>>,
    pub taps: Option<Layout<2>>,
    pub taps_bias: Option<Layout<1>>,
    pub window: Option<Layout<3>>,
    pub bounds: Option<Layout<1>>,
    pub orders: Option<Layout<2>>,
    pub initial: Option<Layout<3>>,
    /// Whether softplus is taken of `delta`.
    pub softplus: bool,
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    layouts: Layouts,
    dy: Layout<3>,
    route: Route,
    groups: usize,
}

/// Check a forward call, but for the numbers in its tables.
///
/// # Errors
/// As the contract says.
pub fn plan(l: &Layouts) -> Result<Plan> {
    let ([batch, len, columns], [channels, states]) = (l.u.dims(), l.a.dims());
    for (arg, got, max) in [("states", states, STATES), ("channels", channels, i32::MAX as usize)] {
        if got > max {
            return Err(Error::Range { op: OP, arg, max, got });
        }
    }
    if states == 0 {
        return Err(Error::Size { op: OP, arg: "a", want: 1, got: 0 });
    }
    let route = Route::plan(OP, [batch, len], l.bounds.as_ref(), l.orders.as_ref())?;
    let (orders, groups) = (route.orders(), l.b.dims()[2] / states);
    if channels % orders != 0 {
        return Err(Error::Value { op: OP, arg: "channels", want: "a multiple of the number of orders" });
    }
    let width = channels / orders;
    if columns != channels {
        size("u", [width], [columns])?;
    }
    size("delta", [batch, len, channels], l.delta.dims())?;
    size("b", [batch, len, groups * states], l.b.dims())?;
    if groups == 0 || channels % groups != 0 || !(groups % orders == 0 || orders % groups == 0) {
        let want = "a number of groups of states that divides the channels, and divides or is divided by the orders";
        return Err(Error::Value { op: OP, arg: "b", want });
    }
    size("c", l.b.dims(), l.c.dims())?;
    for (arg, vector) in [("skip", l.skip), ("bias", l.bias), ("taps_bias", l.taps_bias)] {
        vector.map_or(Ok(()), |vector| size(arg, [channels], vector.dims()))?;
    }
    let dy = Layout::packed([batch, len, width])?;
    l.gate.map_or(Ok(()), |gate| size("gate", dy.dims(), gate.dims()))?;
    let plan = Plan { layouts: *l, dy, route, groups };
    l.initial.map_or(Ok(()), |initial| state("initial", plan.state(), &initial))?;
    if let Some(taps) = l.taps {
        let [rows, count] = taps.dims();
        size("taps", [channels], [rows])?;
        crate::conv1d::taps(OP, "taps", count)?;
        l.window.map_or(Ok(()), |window| state("window", [route.sequences(), count - 1, channels], &window))?;
    } else if l.window.is_some() || l.taps_bias.is_some() {
        return Err(Error::Value { op: OP, arg: "taps", want: "given where their bias or window is" });
    }
    Ok(plan)
}

/// Check a backward call: a forward one without taps, and `dy` and perhaps `dlast`.
///
/// # Errors
/// As the contract says.
pub fn plan_backward(p: &Plan, dy: &Layout<3>, dlast: Option<&Layout<3>>) -> Result<Plan> {
    size("dy", p.dy.dims(), dy.dims())?;
    dlast.map_or(Ok(()), |dlast| state("dlast", p.state(), dlast))?;
    if p.layouts.taps.is_some() {
        return Err(Error::Value { op: OP, arg: "taps", want: "left out: conv1d has a backward of its own" });
    }
    Ok(Plan { dy: *dy, ..*p })
}

fn size<const R: usize>(arg: &'static str, want: [usize; R], got: [usize; R]) -> Result<()> {
    let wrong = want.into_iter().zip(got).find(|(want, got)| want != got);
    wrong.map_or(Ok(()), |(want, got)| Err(Error::Size { op: OP, arg, want, got }))
}

fn state(arg: &'static str, want: [usize; 3], got: &Layout<3>) -> Result<()> {
    size(arg, want, got.dims())?;
    if got.is_packed() || got.is_empty() {
        return Ok(());
    }
    Err(Error::Stride { op: OP, arg, want: Layout::packed(want)?.strides()[0], got: got.strides()[0] })
}

impl Plan {
    /// The layouts of the inputs.
    #[inline]
    pub fn layouts(&self) -> &Layouts {
        &self.layouts
    }
    /// The layout of `dy`, or of `y`.
    #[inline]
    pub fn dy(&self) -> Layout<3> {
        self.dy
    }
    /// Sequences and orders.
    #[inline]
    pub fn route(&self) -> Route {
        self.route
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 3] {
        self.dy.dims()
    }
    /// Shape of `initial` and `last`.
    pub fn state(&self) -> [usize; 3] {
        [self.route.sequences(), self.channels(), self.states()]
    }
    /// Channels.
    #[inline]
    pub fn channels(&self) -> usize {
        self.layouts.a.dims()[0]
    }
    /// States of a channel.
    #[inline]
    pub fn states(&self) -> usize {
        self.layouts.a.dims()[1]
    }
    /// Columns of `y`: channels of an order.
    #[inline]
    pub fn width(&self) -> usize {
        self.dy.dims()[2]
    }
    /// Columns of `u`.
    #[inline]
    pub fn columns(&self) -> usize {
        self.layouts.u.dims()[2]
    }
    /// Groups of channels that share `b` and `c`.
    pub fn groups(&self) -> usize {
        self.groups
    }
    /// The group of a channel.
    pub fn group(&self, channel: usize) -> usize {
        channel / (self.channels() / self.groups)
    }
    /// Neighbouring channels that have one order and one group in common, whatever multiple of this they begin at.
    pub fn unit(&self) -> usize {
        self.width().min(self.channels() / self.groups)
    }
    /// Taps of the convolution, 0 without one.
    #[inline]
    pub fn taps(&self) -> usize {
        self.layouts.taps.map_or(0, |taps| taps.dims()[1])
    }
    /// Where row `row`, among all rows, of a tensor begins.
    #[inline]
    pub fn at(&self, layout: &Layout<3>, row: usize) -> usize {
        let ([batch, step, _], len) = (layout.strides(), self.route.len());
        row / len * batch + row % len * step
    }
    /// State updates of a forward call: its exponentials.
    pub fn steps(&self) -> usize {
        self.route.rows() * self.channels() * self.states()
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let gate = if self.layouts.gate.is_some() { self.width() } else { 0 };
        let row = self.columns() + self.channels() + 2 * self.groups * self.states() + gate + self.width();
        self.route.rows() * row * size + 4 * self.channels() * (self.states() + 2)
    }
}
