//! One step of AdamW, over any parameters or over the rows of a decoder that stay of length one. Beside it: the same with
//! averages of 8 bits ([`mod@adamw8`]), steps along signs ([`mod@signum`]), and gradients shortened as a whole ([`clip`]).
//!
//! | argument | shape                            | type  |
//! |----------|----------------------------------|-------|
//! | `w`      | any; `[rows, n]` for a decoder   | `f32` |
//! | `g`      | as `w`: the gradient             | `f32` |
//! | `m`, `v` | as `w`: the two moving averages, zero before the first step | `f32` |
//! | `schedule` | `[steps, 8]`: a row of [`AdamW::row`] for each step | `f32` |
//! | `at`     | `[1]`: which row, the last if it is none | `u32` |
//!
//! ```text
//! m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g²
//! w = (1 - lr weight_decay) w - lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)
//! ```
//! The decoder step does three things to each row, in one pass over memory: it takes from `g` its part along the row,
//! `g - w (g·w) / (w·w)`; steps as above; and divides the row by its length. A row of zeros has no direction: it, and its
//! `m` and `v`, stay as they are, and so does a row that the step makes zero.
//!
//! A scheduled step finds its rates in memory, where `w` is: row `at` of `schedule`. Nothing of the call then changes from
//! step to step, so a recorded graph can repeat it; `advance` adds one to `at`, and stays at the largest `u32`. The rows
//! are taken as they are. On the host, a scheduled step gives the very bits of the step that its row was made of.
//!
//! `w`, `m` and `v` are updated in place; all four are packed. **NaN** in `g` goes to `m`, `v` and `w` of the same entry
//! (of the same row for a decoder): look at the norm of a gradient before it is applied ([`clip`]). **Empty** nothing is written.
//! **Determinism** stable, and independent of the number of threads; close to the reference: squared error at most 1e-11
//! of the sum of squares. The constants of a step are computed in `f64` ([`AdamW::constants`]).
//! **Errors** `Size` if shapes differ or a schedule has no row, `Stride` for gaps, `Value` for a rate that is negative or not finite, a beta
//! outside `[0, 1)` or step 0. **Moves** [`Plan::bytes`]: `w`, `m`, `v` both ways and `g` once.
//! **Source** Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019); the projection is that of Bricken et
//! al., Towards Monosemanticity (2023).
pub mod adamw8;
pub mod clip;
mod launch;
mod reference;
pub mod signum;

use crate::math::{pow, sqrt};
use crate::{Error, Image, Layout, Result};
pub use launch::{
    Arrays, launch, launch_adamw8, launch_advance, launch_decoder, launch_decoder_scheduled, launch_scale,
    launch_scheduled, launch_signum, launch_squares,
};
pub use reference::{adamw, advance, decoder_step};

/// The device code.
pub static IMAGE: Image = Image { name: "optim", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/optim.fatbin")) };

/// The rates of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the average of gradients.
    pub beta1: f64,
    /// Decay of the average of their squares.
    pub beta2: f64,
    /// Added to the root, so that nothing is divided by zero.
    pub eps: f64,
    /// Decay of the parameters, times `lr`.
    pub weight_decay: f64,
    /// 1 for the first step.
    pub step: u64,
}

impl Default for AdamW {
    /// The rates of the paper, at the first step.
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1 }
    }
}

/// What an implementation needs of an [`AdamW`]:
/// `m = beta1 m + rest1 g`, `v = beta2 v + rest2 g²`, `w = keep w - rate m / (root sqrt(v) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Constants {
    pub beta1: f64,
    pub rest1: f64,
    pub beta2: f64,
    pub rest2: f64,
    pub keep: f64,
    pub rate: f64,
    pub root: f64,
    pub eps: f64,
}

impl Constants {
    /// In the order of a schedule.
    fn row(&self) -> [f32; AdamW::ROW] {
        let Self { beta1, rest1, beta2, rest2, keep, rate, root, eps } = *self;
        [beta1, rest1, beta2, rest2, keep, rate, root, eps].map(|constant| constant as f32)
    }

    /// Of the row of a schedule.
    fn of(row: &[f32; AdamW::ROW]) -> Self {
        let [beta1, rest1, beta2, rest2, keep, rate, root, eps] = row.map(f64::from);
        Self { beta1, rest1, beta2, rest2, keep, rate, root, eps }
    }
}

impl AdamW {
    /// The width of a schedule.
    pub const ROW: usize = 8;

    /// This step as the row of a schedule.
    ///
    /// # Errors
    /// `Value`, as a step with these rates.
    pub fn row(&self) -> Result<[f32; Self::ROW]> {
        self.check("adamw")?;
        Ok(self.constants().row())
    }

    /// The constants of this step.
    pub fn constants(&self) -> Constants {
        Constants {
            beta1: self.beta1,
            rest1: 1.0 - self.beta1,
            beta2: self.beta2,
            rest2: 1.0 - self.beta2,
            keep: 1.0 - self.lr * self.weight_decay,
            rate: self.lr / (1.0 - pow(self.beta1, self.step as f64)),
            root: 1.0 / sqrt(1.0 - pow(self.beta2, self.step as f64)),
            eps: self.eps,
        }
    }

    fn check(&self, op: &'static str) -> Result<()> {
        let rates = [("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay)];
        for (arg, rate) in rates {
            if !(rate.is_finite() && rate >= 0.0) {
                return Err(Error::Value { op, arg, want: "a finite number of at least 0" });
            }
        }
        for (arg, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::Value { op, arg, want: "at least 0 and less than 1" });
            }
        }
        if self.step == 0 { Err(Error::Value { op, arg: "step", want: "at least 1" }) } else { Ok(()) }
    }
}

/// A checked step.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    rows: usize,
    n: usize,
    constants: Constants,
}

/// Check a step over any parameters.
///
/// # Errors
/// See the head of the module.
pub fn plan<const R: usize>(w: &Layout<R>, g: &Layout<R>, m: &Layout<R>, v: &Layout<R>, adamw: &AdamW) -> Result<Plan> {
    check("adamw", w, [("w", w), ("g", g), ("m", m), ("v", v)], adamw)?;
    Ok(Plan { rows: 1, n: w.len(), constants: adamw.constants() })
}

/// Check a step over the rows of a decoder.
///
/// # Errors
/// See the head of the module.
pub fn plan_decoder(w: &Layout<2>, g: &Layout<2>, m: &Layout<2>, v: &Layout<2>, adamw: &AdamW) -> Result<Plan> {
    check("decoder_step", w, [("w_dec", w), ("g", g), ("m", m), ("v", v)], adamw)?;
    let [rows, n] = w.dims();
    Ok(Plan { rows, n, constants: adamw.constants() })
}

/// A checked step whose rates are in memory.
#[derive(Clone, Copy, Debug)]
pub struct Scheduled {
    rows: usize,
    n: usize,
    steps: usize,
}

/// Check a scheduled step over any parameters.
///
/// # Errors
/// See the head of the module.
pub fn plan_scheduled<const R: usize>(
    w: &Layout<R>,
    g: &Layout<R>,
    m: &Layout<R>,
    v: &Layout<R>,
    schedule: &Layout<2>,
    at: &Layout<1>,
) -> Result<Scheduled> {
    shapes("adamw", w, [("w", w), ("g", g), ("m", m), ("v", v)])?;
    Ok(Scheduled { rows: 1, n: w.len(), steps: check_schedule("adamw", schedule, at)? })
}

/// Check a scheduled step over the rows of a decoder.
///
/// # Errors
/// See the head of the module.
pub fn plan_decoder_scheduled(
    w: &Layout<2>,
    g: &Layout<2>,
    m: &Layout<2>,
    v: &Layout<2>,
    schedule: &Layout<2>,
    at: &Layout<1>,
) -> Result<Scheduled> {
    shapes("decoder_step", w, [("w_dec", w), ("g", g), ("m", m), ("v", v)])?;
    let [rows, n] = w.dims();
    Ok(Scheduled { rows, n, steps: check_schedule("decoder_step", schedule, at)? })
}

/// Check the counter of a schedule.
///
/// # Errors
/// `Size` if it is not one number.
pub fn plan_advance(at: &Layout<1>) -> Result<()> {
    counter("advance", at)
}

fn check_schedule(op: &'static str, schedule: &Layout<2>, at: &Layout<1>) -> Result<usize> {
    let [steps, width] = schedule.dims();
    let size = |want, got| Error::Size { op, arg: "schedule", want, got };
    if steps == 0 {
        return Err(size(1, steps));
    }
    if width != AdamW::ROW {
        return Err(size(AdamW::ROW, width));
    }
    packed(op, "schedule", schedule)?;
    counter(op, at)?;
    Ok(steps)
}

fn counter(op: &'static str, at: &Layout<1>) -> Result<()> {
    let [got] = at.dims();
    if got == 1 { Ok(()) } else { Err(Error::Size { op, arg: "at", want: 1, got }) }
}

fn check<const R: usize>(
    op: &'static str,
    w: &Layout<R>,
    all: [(&'static str, &Layout<R>); 4],
    adamw: &AdamW,
) -> Result<()> {
    shapes(op, w, all)?;
    adamw.check(op)
}

fn shapes<const R: usize, const N: usize>(
    op: &'static str,
    w: &Layout<R>,
    all: [(&'static str, &Layout<R>); N],
) -> Result<()> {
    for (arg, layout) in all {
        for (want, got) in w.dims().into_iter().zip(layout.dims()) {
            if want != got {
                return Err(Error::Size { op, arg, want, got });
            }
        }
        packed(op, arg, layout)?;
    }
    Ok(())
}

fn packed<const R: usize>(op: &'static str, arg: &'static str, layout: &Layout<R>) -> Result<()> {
    let strides = Layout::packed(layout.dims())?.strides().into_iter().zip(layout.strides());
    match strides.into_iter().find(|(want, got)| want != got).filter(|_| !layout.is_packed()) {
        Some((want, got)) => Err(Error::Stride { op, arg, want, got }),
        None => Ok(()),
    }
}

impl Scheduled {
    /// Rows of a schedule.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The step that row `at` of a schedule describes, for memory that is within reach.
    pub fn now(&self, schedule: &[f32], at: &[u32]) -> Plan {
        let (rows, _) = schedule[..self.steps * AdamW::ROW].as_chunks();
        let row = (at[0] as usize).min(self.steps - 1);
        Plan { rows: self.rows, n: self.n, constants: Constants::of(&rows[row]) }
    }
}

impl Plan {
    /// Rows of a decoder; 1 for any parameters.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Entries of a row.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The constants of the step.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }
    /// Bytes that a step must move at least.
    pub fn bytes(&self) -> usize {
        7 * 4 * self.rows * self.n
    }
}
