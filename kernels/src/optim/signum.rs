//! Steps of one length along the sign of a moving average of the gradient.
//!
//! | argument | shape                                             | type  |
//! |----------|---------------------------------------------------|-------|
//! | `w`      | any                                               | `f32` |
//! | `g`      | as `w`: the gradient                              | `f32` |
//! | `m`      | as `w`: its average, zero before the first step   | `f32` |
//!
//! ```text
//! m = beta m + (1 - beta) g        w = (1 - lr weight_decay) w - lr sign(m)
//! ```
//! `sign(0)` is 0, of either zero. `w` and `m` are updated in place; all three are packed. **NaN** in `g` makes `m` and `w` of
//! the same entry NaN, and no other. **Empty** nothing is written. **Determinism** exact: every operation rounds to `f32`, and
//! none is fused, so no sign depends on the device; the constants are computed in `f64`. **Errors** `Size` if shapes differ,
//! `Stride` for gaps, `Value` for a rate that is negative or not finite, or a `beta` outside `[0, 1)`. **Moves**
//! [`Plan::bytes`]: `w` and `m` both ways and `g` once.
//! **Source** Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems (2018).
use crate::{Error, Layout, Result};

const OP: &str = "signum";

/// The rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signum {
    /// Learning rate: how far an entry moves.
    pub lr: f64,
    /// Decay of the average of gradients; 0 takes the sign of the gradient itself.
    pub beta: f64,
    /// Decay of the parameters, times `lr`.
    pub weight_decay: f64,
}

impl Default for Signum {
    /// Those of the paper's experiments.
    fn default() -> Self {
        Self { lr: 1e-4, beta: 0.9, weight_decay: 0.0 }
    }
}

/// What an implementation needs of a [`Signum`]: `m = beta m + rest g`, `w = keep w - lr sign(m)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Constants {
    pub beta: f32,
    pub rest: f32,
    pub keep: f32,
    pub lr: f32,
}

impl Constants {
    /// An entry, and its average after the step.
    #[inline(always)]
    pub fn step(&self, w: f32, g: f32, m: f32) -> (f32, f32) {
        let m = self.beta * m + self.rest * g;
        // NaN is neither above nor below, and stays.
        let sign = if m > 0.0 { 1.0 } else { m };
        let sign = if m < 0.0 { -1.0 } else { sign };
        (self.keep * w - self.lr * sign, m)
    }
}

/// A checked step. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    n: usize,
    constants: Constants,
}

/// Check a step.
///
/// # Errors
/// See the head of the module.
pub fn plan<const R: usize>(w: &Layout<R>, g: &Layout<R>, m: &Layout<R>, signum: &Signum) -> Result<Plan> {
    super::shapes(OP, w, [("w", w), ("g", g), ("m", m)])?;
    let Signum { lr, beta, weight_decay } = *signum;
    for (arg, rate) in [("lr", lr), ("weight_decay", weight_decay)] {
        if !(rate.is_finite() && rate >= 0.0) {
            return Err(Error::Value { op: OP, arg, want: "a finite number of at least 0" });
        }
    }
    if !(0.0..1.0).contains(&beta) {
        return Err(Error::Value { op: OP, arg: "beta", want: "at least 0 and less than 1" });
    }
    let [beta, rest, keep, lr] = [beta, 1.0 - beta, 1.0 - lr * weight_decay, lr].map(|x| x as f32);
    Ok(Plan { n: w.len(), constants: Constants { beta, rest, keep, lr } })
}

impl Plan {
    /// Entries.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The constants of the step.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }
    /// Bytes that a step must move at least.
    pub fn bytes(&self) -> usize {
        5 * 4 * self.n
    }
}

/// The definition, an entry at a time.
pub fn signum(p: &Plan, w: &mut [f32], g: &[f32], m: &mut [f32]) {
    for i in 0..p.n {
        (w[i], m[i]) = p.constants.step(w[i], g[i], m[i]);
    }
}
