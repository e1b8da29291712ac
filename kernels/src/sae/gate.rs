//! Gates: what the decoder is given for what the encoder found, latent by latent; and the gradients of that, with a penalty on
//! what was given and the straight-through gradient of a threshold.
//!
//! | argument  | shape           | type                                                        |
//! |-----------|-----------------|-------------------------------------------------------------|
//! | codes     | see [`sae`](super) | `values` are `v`, what the encoder found                 |
//! | `scale`, `shift`, `weight` | `[n]` | `Acc`; where they are missing 1, 0 and 1             |
//! | `y`       | as `values`     | `Acc`, what the decoder is given                            |
//! | `slopes`  | as `values`     | `Acc`, in place: `dL/dy` becomes `dL/dv`                    |
//! | `sums`    | `[4, n]`        | `Acc`, replaced: gradients of `scale`, `shift`, threshold and `weight` |
//!
//! ```text
//! y      = v > floor ? max(scale[j] v + shift[j], 0) : 0                   forward; a slot of latent j
//!
//! open   = y > 0,   near = v < 2 floor,   u = weight[j] y                   backward
//! s      = dL/dy + push weight[j] φ'(u)
//! dL/dv  = open ? scale[j] s : 0
//! sums   = Σ open v s,   Σ open s,   -1 / (2 floor) Σ near ((shift[j] + floor) s + step),   Σ open push φ'(u) y
//! ```
//!
//! What it is for:
//!
//! - *Gated*: the encoder has the gate's bias `b_g` and finds `v`; `scale = exp(r_mag)`, `shift = b_mag - scale b_g`, `floor = 0`.
//! - *JumpReLU* with thresholds `θ` and a rectangle of width `ε`: the encoder has the bias `b_enc - θ + ε/2`, so that it finds
//!   what is above `θ` and what is less than `ε/2` below; `floor = ε/2`, `shift = θ - ε/2`. Then `y = z` for `z > θ`, the third of
//!   `sums` is `dL/dθ`, and `step` is the slope of the loss in the number of active latents.
//! - *ReLU* with a penalty: neither `scale` nor `shift`. `φ(u) = u^p`, and `p = 1` is L1; `weight` are the lengths of the rows of
//!   the decoder where the penalty counts them.
//!
//! Without a `floor` there is no rectangle, and the third of `sums` is 0. `φ'(0)` is `c` for [`Penalty::Tanh`], `1` for `p = 1`,
//! and 0 for another `p`, where it has no value.
//!
//! Slots that are empty get `y = 0` and `dL/dv = 0`, and so, backward, do those that `offsets` give to no row. A NaN is not above
//! `floor`: `y = 0`. NaN in `slopes` reaches the sums of its latent only.
//!
//! **Determinism** stable: a latent's slots are added in order, by as many parts as a warp has lanes on CUDA. Close to the
//! reference within `1e-5` of the sum of absolute terms. **Errors** `Size` where shapes disagree; `Value` for a `floor` that is not
//! a number of at least 0, `push` or `step` that are no numbers, `p` or `c` that are not above 0. **Moves** 12 bytes a slot forward.
//! **Source** Rajamanoharan et al., *Improving dictionary learning with gated sparse autoencoders* (2024) and *Jumping ahead*
//! (2024); the penalties are those of SAELens and dictionary_learning.
use super::{Codes, MOST_LATENTS, Shape, at_most, size};
use crate::{Error, Float, Layout, Result, math};

const OP: &str = "sae_gate";

/// What a value costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// `φ(u) = u^p`.
    Power(f32),
    /// `φ(u) = tanh(c u)`.
    Tanh(f32),
}

/// What is added to the gradient that comes from the decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Push {
    /// The factor of the penalty.
    pub by: f32,
    /// The penalty.
    pub penalty: Penalty,
    /// The slope of the loss in the number of active latents.
    pub step: f32,
}

impl Default for Push {
    /// Nothing.
    fn default() -> Self {
        Self { by: 0.0, penalty: Penalty::Power(1.0), step: 0.0 }
    }
}

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) n: usize,
    pub(super) floor: f32,
    pub(super) push: Push,
}

/// What a gate is made of, for each latent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a, A> {
    /// Factors.
    pub scale: Option<&'a [A]>,
    /// What is added.
    pub shift: Option<&'a [A]>,
    /// What a value weighs in the penalty.
    pub weight: Option<&'a [A]>,
}

/// Check a call of [`forward`], of `n` latents.
///
/// # Errors
/// See the module.
pub fn plan(shape: &Shape, n: usize, floor: f32, parts: [(&'static str, Option<&Layout<1>>); 3]) -> Result<Plan> {
    at_most(OP, "n", MOST_LATENTS, n)?;
    for (arg, layout) in parts {
        layout.map_or(Ok(()), |layout| size(OP, arg, n, layout.dims()[0]))?;
    }
    if !(floor.is_finite() && floor >= 0.0) {
        return Err(Error::Value { op: OP, arg: "floor", want: "a number of at least 0" });
    }
    Ok(Plan { shape: *shape, n, floor, push: Push::default() })
}

impl Plan {
    /// The same for a call of [`backward`].
    ///
    /// # Errors
    /// See the module.
    pub fn backward(self, push: Push, slopes: &Layout<1>, sums: &Layout<2>) -> Result<Self> {
        size(OP, "slopes", self.shape.slots(), slopes.dims()[0])?;
        size(OP, "sums", 4, sums.dims()[0])?;
        size(OP, "sums", self.n, sums.dims()[1])?;
        let (Penalty::Power(of) | Penalty::Tanh(of)) = push.penalty;
        for (arg, fine, want) in [
            ("push", push.by.is_finite(), "a number"),
            ("step", push.step.is_finite(), "a number"),
            ("penalty", of.is_finite() && of > 0.0, "a number above 0"),
        ] {
            if !fine {
                return Err(Error::Value { op: OP, arg, want });
            }
        }
        Ok(Self { push, ..self })
    }
    /// Latents, and the sentinel.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The shape of the codes.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// What a value must exceed.
    pub fn floor(&self) -> f32 {
        self.floor
    }
    /// What is added to the gradient.
    pub fn push(&self) -> Push {
        self.push
    }
}

impl Penalty {
    /// `φ'(u)`.
    fn slope(self, u: f64) -> f64 {
        match self {
            Penalty::Power(1.0) => 1.0,
            Penalty::Power(_) if u <= 0.0 => 0.0,
            Penalty::Power(p) => f64::from(p) * math::pow(u, f64::from(p) - 1.0),
            Penalty::Tanh(c) => {
                let c = f64::from(c);
                let small = math::exp(-2.0 * c * u);
                4.0 * c * small / ((1.0 + small) * (1.0 + small))
            }
        }
    }
}

/// A value's way through, in `f64`.
struct Slot {
    v: f64,
    y: f64,
    scale: f64,
    shift: f64,
    weight: f64,
}

impl Slot {
    fn of<A: Float>(p: &Plan, parts: &Parts<A>, latent: usize, v: A) -> Self {
        let part = |of: Option<&[A]>, none: f64| of.map_or(none, |of| of[latent].wide());
        let (scale, shift) = (part(parts.scale, 1.0), part(parts.shift, 0.0));
        let (v, weight) = (v.wide(), part(parts.weight, 1.0));
        let y = scale * v + shift;
        let y = if v > f64::from(p.floor) && y > 0.0 { y } else { 0.0 };
        Self { v, y, scale, shift, weight }
    }
}

/// The definition of `y`.
pub fn forward<A: Float>(p: &Plan, values: &[A], latents: &[u32], parts: Parts<A>, y: &mut [A]) {
    for ((y, &v), &latent) in y[..p.shape.slots()].iter_mut().zip(values).zip(latents) {
        let is = (latent as usize) < p.n;
        *y = if is { A::narrow(Slot::of(p, &parts, latent as usize, v).y) } else { A::default() };
    }
}

/// The definition of the gradients, accumulated in `f64`.
pub fn backward<A: Float>(p: &Plan, codes: Codes<A>, parts: Parts<A>, slopes: &mut [A], sums: &mut [A]) {
    let (n, floor, push) = (p.n, f64::from(p.floor), p.push);
    let mut all = alloc::vec![0.0; 4 * n];
    let mut done = alloc::vec![A::default(); p.shape.slots()];
    for slot in (0..p.shape.rows()).flat_map(|r| codes.row(&p.shape, r)) {
        let latent = codes.latents[slot] as usize;
        if latent >= n {
            continue;
        }
        let Slot { v, y, scale, shift, weight } = Slot::of(p, &parts, latent, codes.values[slot]);
        let pushed = if push.by == 0.0 { 0.0 } else { f64::from(push.by) * push.penalty.slope(weight * y) };
        let s = slopes[slot].wide() + weight * pushed;
        if y > 0.0 {
            done[slot] = A::narrow(scale * s + 0.0);
            all[latent] += v * s;
            all[n + latent] += s;
            all[3 * n + latent] += pushed * y;
        }
        if v < 2.0 * floor {
            all[2 * n + latent] += (shift + floor) * s + f64::from(push.step);
        }
    }
    slopes[..done.len()].copy_from_slice(&done);
    for (i, (sum, of)) in sums.iter_mut().zip(all).enumerate() {
        let of = match i / n {
            2 if floor > 0.0 => -of / (2.0 * floor),
            2 => 0.0,
            _ => of,
        };
        *sum = A::narrow(of + 0.0);
    }
}
