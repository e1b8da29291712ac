//! Which latents have been silent, and for how many tokens.
//!
//! | argument | shape  | type                                   |
//! |----------|--------|----------------------------------------|
//! | codes    | see [`sae`](super) |                            |
//! | `since`  | `[n]`  | `u32`, tokens since the latent fired; in place |
//! | `list`   | `[n]`  | `u32`, of [`dead`]                     |
//! | `count`  | `[1]`  | `u32`, of [`dead`]                     |
//!
//! [`track`]: a latent that some slot names with a value above `fired` gets 0, every other `since + tokens`, which stops
//! at the largest `u32`. Slots that `offsets` give to no row do not fire, nor does NaN. `fired = 0` counts every value
//! that an encoder puts out; others take `1e-3`.
//!
//! [`dead`]: `list` begins with the latents of `since >= limit`, rising, and `count` says how many; the rest of `list` is
//! `n`. It is what [`encode::subset`](super::encode::subset) takes.
//!
//! **Determinism** exact. **Errors** `Size` if shapes disagree, `Value` if `fired` is NaN. **Moves** the codes, and `since` twice.
use super::{Codes, MOST_LATENTS, Shape, at_most, size};
use crate::{Error, Float, Layout, Result};

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) n: usize,
    pub(super) tokens: u32,
    pub(super) limit: u32,
    pub(super) fired: f32,
}

/// Check a call of [`track`].
///
/// # Errors
/// See the module.
pub fn plan(shape: &Shape, since: &Layout<1>, tokens: u32, fired: f32) -> Result<Plan> {
    let [n] = since.dims();
    at_most("sae_track", "since", MOST_LATENTS, n)?;
    if fired.is_nan() {
        return Err(Error::Value { op: "sae_track", arg: "fired", want: "a number" });
    }
    Ok(Plan { shape: *shape, n, tokens, limit: 0, fired })
}

/// Check a call of [`dead`].
///
/// # Errors
/// See the module.
pub fn plan_dead(since: &Layout<1>, limit: u32, list: &Layout<1>, count: &Layout<1>) -> Result<Plan> {
    let [n] = since.dims();
    at_most("sae_dead", "since", MOST_LATENTS, n)?;
    size("sae_dead", "list", n, list.dims()[0])?;
    size("sae_dead", "count", 1, count.dims()[0])?;
    Ok(Plan { shape: Shape::fixed(0, 0)?, n, tokens: 0, limit, fired: 0.0 })
}

impl Plan {
    /// Latents, and the sentinel.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The shape of the codes.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// By how much a latent ages that does not fire.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }
    /// At what age a latent is dead.
    pub fn limit(&self) -> u32 {
        self.limit
    }
    /// Above what a value fires.
    pub fn fired(&self) -> f32 {
        self.fired
    }
}

/// Count the tokens on.
pub fn track<A: Float>(p: &Plan, codes: Codes<A>, since: &mut [u32]) {
    let since = &mut since[..p.n];
    since.iter_mut().for_each(|since| *since = since.saturating_add(p.tokens));
    for slot in (0..p.shape.rows()).flat_map(|r| codes.row(&p.shape, r)) {
        if codes.values[slot].to_f32() > p.fired
            && let Some(since) = since.get_mut(codes.latents[slot] as usize)
        {
            *since = 0;
        }
    }
}

/// List the latents that have been silent for `limit` tokens or more.
pub fn dead(p: &Plan, since: &[u32], list: &mut [u32], count: &mut [u32]) {
    let mut found = 0;
    for latent in (0..p.n).filter(|&latent| since[latent] >= p.limit) {
        list[found] = latent as u32;
        found += 1;
    }
    list[found..p.n].fill(p.n as u32);
    count[0] = found as u32;
}
