//! State space dual (Mamba-2): a linear recurrence whose state is a matrix for each head, with one decay for all of it.
//!
//! | argument  | shape                                   | type                                                     |
//! |-----------|-----------------------------------------|----------------------------------------------------------|
//! | `x`       | `[batch, len, heads * head_dim]`        | float                                                    |
//! | `delta`   | `[batch, len, heads]`                   | as `x`                                                   |
//! | `a`       | `[heads]`                               | [`Float::Acc`](crate::Float::Acc) of it                  |
//! | `b`, `c`  | `[batch, len, groups * states]`, to 256 states | as `x`; groups of neighbouring heads share them   |
//! | `skip`    | `[heads]`                               | `Acc`, optional                                          |
//! | `bias`    | `[heads]`                               | `Acc`, optional, of `delta`                              |
//! | `gate`    | as `x`                                  | as `x`, optional                                         |
//! | `initial` | `[sequences, heads, head_dim, states]`  | `Acc`, optional, else 0                                  |
//! | `y`, `dy` | as `x`                                  | as `x`                                                   |
//! | `last`    | as `initial`                            | `Acc`, optional                                          |
//! | `dx` `ddelta` `da` `db` `dc` `dskip` `dbias` `dgate` `dinitial` | as the inputs, packed | as they, each optional |
//!
//! Along every sequence, for each head, with `δ = softplus(delta + bias)` (or `delta + bias`), entry `p` of the head and
//! state `n`: `h[p,n] = exp(δ a) h[p,n] + δ x[p] b[n]` and `y[p] = (Σ c[n] h[p,n] + skip x[p]) * gate[p] / (1 + exp(-gate[p]))`.
//! The gate comes last and nothing is normalised: a gated norm is another operation. Sequences are those of
//! [`route`](crate::route), in the order of memory. The gradients are those of `y` and of `last`. A step is a call of one
//! row of every sequence, whose state moves on in place.
//!
//! **Order of work** A sequence is cut into chunks, within which rows meet in products of matrices; decays from row to row
//! are exponentials of differences of sums of `δ a`, kept in twice the digits of `f32`, so any sign of `a` will do and a
//! large step does not blur later ones. **State** and sums in `Acc`, rounded once; softplus is the identity above 20.
//! **Any number is allowed**: `a = 0` keeps a state for ever, large `δ` is no error; a state that grows beyond `f32` within
//! 64 rows may overflow, and then is not a number. **NaN** and infinities of `x` stay in their entry of a head, those of
//! `delta` in their head, those of `b` and `c` in the heads of their group, and all in later rows of their sequence; their
//! gradients reach what sums over them. **Empty** a sequence without rows has `last = initial`.
//! **Determinism** stable, independent of the number of threads and of the other sequences; close to the reference:
//! squared error at most 1e-10 of the sum of squares, 1e-6 for `f16` and 1e-5 for `bf16` outputs. **Errors** `Size` if
//! shapes disagree, `Range` for more states, `Value` for heads that do not divide `x`, or groups that do not divide heads
//! or `b`, those of [`route`](crate::route). **Moves** [`Plan::bytes`]; [`Plan::flops`] is what a recurrence computes.
//! **Source** Dao and Gu 2024, arXiv:2405.21060, section 6.
mod launch;
mod reference;
mod scratch;

use crate::route::Route;
use crate::{Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, launch_step};
pub use reference::{backward, forward};
pub use scratch::{workspace, workspace_backward};

/// The device code.
pub static IMAGE: Image = Image { name: "ssd", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/ssd.fatbin")) };

pub(crate) const OP: &str = "ssd";
/// The most states of a head.
pub const STATES: usize = 256;

/// What an ssd reads, in memory of one kind: slices or spans. `S` holds elements, `A` those of `Acc`, `I` indices.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Inputs<S, A, I> {
    pub x: S,
    pub delta: S,
    pub a: A,
    pub b: S,
    pub c: S,
    pub skip: Option<A>,
    pub bias: Option<A>,
    pub gate: Option<S>,
    pub bounds: Option<I>,
    pub initial: Option<A>,
}

/// Where its gradients go.
#[derive(Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Gradients<S, A> {
    pub dx: Option<S>,
    pub ddelta: Option<S>,
    pub da: Option<A>,
    pub db: Option<S>,
    pub dc: Option<S>,
    pub dskip: Option<A>,
    pub dbias: Option<A>,
    pub dgate: Option<S>,
    pub dinitial: Option<A>,
}

/// The layouts of what an ssd reads.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the contract's names
pub struct Layouts {
    pub x: Layout<3>,
    pub delta: Layout<3>,
    pub a: Layout<1>,
    pub b: Layout<3>,
    pub c: Layout<3>,
    pub skip: Option<Layout<1>>,
    pub bias: Option<Layout<1>>,
    pub gate: Option<Layout<3>>,
    pub bounds: Option<Layout<1>>,
    pub initial: Option<Layout<4>>,
    /// Groups of heads that share `b` and `c`.
    pub groups: usize,
    /// Whether softplus is taken of `delta`.
    pub softplus: bool,
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    layouts: Layouts,
    dy: Layout<3>,
    route: Route,
}

/// Check a forward call, but for the numbers in `bounds`.
///
/// # Errors
/// As the contract says.
pub fn plan(l: &Layouts) -> Result<Plan> {
    let ([batch, len, width], [heads], [_, _, shared]) = (l.x.dims(), l.a.dims(), l.b.dims());
    if l.groups == 0 || heads == 0 || heads % l.groups != 0 {
        return Err(Error::Value { op: OP, arg: "groups", want: "a divisor of the number of heads" });
    }
    if width % heads != 0 || width == 0 {
        return Err(Error::Value { op: OP, arg: "x", want: "a multiple of the number of heads, not 0" });
    }
    if shared % l.groups != 0 || shared == 0 {
        return Err(Error::Value { op: OP, arg: "b", want: "a multiple of the number of groups, not 0" });
    }
    for (arg, got, max) in [("states", shared / l.groups, STATES), ("x", width, i32::MAX as usize)] {
        if got > max {
            return Err(Error::Range { op: OP, arg, max, got });
        }
    }
    size("delta", [batch, len, heads], l.delta.dims())?;
    size("b", [batch, len, shared], l.b.dims())?;
    size("c", l.b.dims(), l.c.dims())?;
    for (arg, vector) in [("skip", l.skip), ("bias", l.bias)] {
        vector.map_or(Ok(()), |vector| size(arg, [heads], vector.dims()))?;
    }
    let dy = Layout::packed(l.x.dims())?;
    l.gate.map_or(Ok(()), |gate| size("gate", dy.dims(), gate.dims()))?;
    let route = Route::plan(OP, [batch, len], l.bounds.as_ref(), None)?;
    let plan = Plan { layouts: *l, dy, route };
    l.initial.map_or(Ok(()), |initial| state("initial", plan.state(), &initial))?;
    Ok(plan)
}

/// Check a backward call: a forward one, and `dy` and perhaps `dlast`.
///
/// # Errors
/// As the contract says.
pub fn plan_backward(p: &Plan, dy: &Layout<3>, dlast: Option<&Layout<4>>) -> Result<Plan> {
    size("dy", p.dy.dims(), dy.dims())?;
    dlast.map_or(Ok(()), |dlast| state("dlast", p.state(), dlast))?;
    Ok(Plan { dy: *dy, ..*p })
}

fn size<const R: usize>(arg: &'static str, want: [usize; R], got: [usize; R]) -> Result<()> {
    let wrong = want.into_iter().zip(got).find(|(want, got)| want != got);
    wrong.map_or(Ok(()), |(want, got)| Err(Error::Size { op: OP, arg, want, got }))
}

fn state(arg: &'static str, want: [usize; 4], got: &Layout<4>) -> Result<()> {
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
    /// Sequences.
    #[inline]
    pub fn route(&self) -> Route {
        self.route
    }
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 3] {
        self.dy.dims()
    }
    /// Shape of `initial` and `last`.
    pub fn state(&self) -> [usize; 4] {
        [self.route.sequences(), self.heads(), self.head_dim(), self.states()]
    }
    /// Heads.
    #[inline]
    pub fn heads(&self) -> usize {
        self.layouts.a.dims()[0]
    }
    /// Columns of `x`: those of all heads.
    #[inline]
    pub fn width(&self) -> usize {
        self.dy.dims()[2]
    }
    /// Columns of a head.
    #[inline]
    pub fn head_dim(&self) -> usize {
        self.width() / self.heads()
    }
    /// States of a column.
    #[inline]
    pub fn states(&self) -> usize {
        self.layouts.b.dims()[2] / self.groups()
    }
    /// Groups of heads that share `b` and `c`.
    #[inline]
    pub fn groups(&self) -> usize {
        self.layouts.groups
    }
    /// Heads of a group.
    #[inline]
    pub fn per_group(&self) -> usize {
        self.heads() / self.groups()
    }
    /// Where row `row`, among all rows, of a tensor begins.
    #[inline]
    pub fn at(&self, layout: &Layout<3>, row: usize) -> usize {
        let ([batch, step, _], len) = (layout.strides(), self.route.len());
        row / len * batch + row % len * step
    }
    /// Multiplications and additions of a forward recurrence: three products for each number of a state and row.
    pub fn flops(&self) -> usize {
        5 * self.route.rows() * self.width() * self.states()
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        let wide = if self.layouts.gate.is_some() { 3 } else { 2 };
        let row = wide * self.width() + self.heads() + 2 * self.groups() * self.states();
        self.route.rows() * row * size
    }
}
