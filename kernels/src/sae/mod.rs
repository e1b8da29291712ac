//! Sparse autoencoders: a wide layer of which few latents are active, and the passes that touch only those.
//!
//! | argument       | shape                | type                          |
//! |----------------|----------------------|-------------------------------|
//! | `x`            | `[rows, dim]`        | float                         |
//! | `w_enc`, `w_dec` | `[n, dim]`, one row for each latent | as `x`           |
//! | `b_enc`, `bias` | `[n]`               | [`Acc`](crate::Float::Acc) of it |
//! | `b_dec`        | `[dim]`              | `Acc`                         |
//! | `values`       | `[rows, k]` or `[slots]` | `Acc`                     |
//! | `latents`      | as `values`          | `u32`                         |
//! | `offsets`      | `[rows + 1]`, with `[slots]` only | `u32`            |
//!
//! ```text
//! bias = b_enc - W_enc b_dec                                          bias::forward
//! z    = x W_encᵀ + bias,  a = max(z, 0)                              encode: some a, named by their latents
//! x̂    = b_dec + Σ a[j] W_dec[j],  e = x - x̂,  Σ e²                   decode: over the latents named
//! dW_dec, dW_enc, db_enc, da from dL/dx̂                               backward: over the latents named
//! a of z with factors, biases and thresholds of its own               gate, and slopes: da alone
//! ```
//!
//! Each operation is a module with its own contract. What they share:
//!
//! **Codes** ([`Codes`], [`Shape`]) name the active latents of a batch in *slots*: `k` for each row, or, with
//! `offsets`, the slots `offsets[r]..offsets[r + 1]` for row `r`. A slot whose latent is `n` (the *sentinel*) or more is
//! empty: whatever its value, even NaN, it adds nothing, gets no gradient and does not fire. Encoders sort a row by
//! latent, put empty slots (`n`, value 0) last, and never name a value that is not positive. Readers take any order and
//! repeated latents. On the host a latent above `n`, or offsets that do not start at 0, descend or pass the end, are
//! errors ([`Codes::check`]); on CUDA, where to look would be to wait, such a slot is empty and such an offset is
//! taken as the last slot.
//!
//! **Sums** are kept in `Acc` and rounded once, where they are stored. **NaN and infinities** stay in the row of `x` or
//! the latent that brought them. **Zero** results are `+0`. **Empty** batches, `n = 0`, `k = 0` and `dim = 0` are sound:
//! a sum over nothing is 0. **Determinism** stable, whatever the number of threads; no atomics on floats.
//!
//! **Errors** `Size` where shapes disagree, `Range` where `k` exceeds `n`, and what [`Codes::check`] says.
//!
//! **Source** Gao et al., *Scaling and evaluating sparse autoencoders* (2024), for the model, auxiliary loss and the
//! bias gradient by one product; Bussmann et al., *BatchTopK sparse autoencoders* (2024), for the flat selection.
pub mod backward;
pub mod bias;
mod codes;
pub mod decode;
pub mod encode;
pub mod gate;
pub mod launch;
pub mod slopes;
pub mod track;

use crate::{Error, Image, Result};
pub use codes::{Codes, Shape};

/// The device code.
pub static IMAGE: Image = Image { name: "sae", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/sae.fatbin")) };

/// Whether gathering `k` rows of `n` is faster than a dense product with all of them, for decode and backward.
///
/// For each token a gather takes `2 k dim` operations and reads `k dim` weights; a product takes `2 n dim` operations and
/// reads its `n dim` weights once for many tokens. A gather so waits for memory and a product for arithmetic, and only
/// `n / k` counts. Where the two are even is a property of the machine: 32 on the host and 145 on a GPU are settings, the
/// latter chosen without one at hand.
pub const fn sparse_pays(n: usize, k: usize, host: bool) -> bool {
    k.saturating_mul(if host { 32 } else { 145 }) <= n
}

fn size(op: &'static str, arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op, arg, want, got }) }
}

fn at_most(op: &'static str, arg: &'static str, max: usize, got: usize) -> Result<()> {
    if got <= max { Ok(()) } else { Err(Error::Range { op, arg, max, got }) }
}

/// Latents are `u32`, and the sentinel is one more than the last.
const MOST_LATENTS: usize = i32::MAX as usize;
