//! `z = x W_encᵀ + bias`, and the largest positive ones: no tensor of all `z` exists at any time.
//!
//! | argument    | shape          | type                               |
//! |-------------|----------------|------------------------------------|
//! | `x`, `w_enc`, `bias` | see [`sae`](super) |                       |
//! | `subset`    | `[s]`          | `u32`, rising; [`subset`] only     |
//! | `count`     | `[1]`          | `u32`; [`subset`] only             |
//! | `values`    | `[rows, k]`, of [`flat`] `[total]` | `Acc`          |
//! | `latents`   | as `values`    | `u32`                              |
//! | `offsets`   | `[rows + 1]`   | `u32`; of [`flat`] only            |
//! | `counts`    | `[rows]`       | `u32`; of [`threshold`] only       |
//!
//! Four ways to choose among the positive `z`; all of them put out a row by rising latent, then empty slots:
//! - [`forward`]: the `k` largest of each row (TopK).
//! - [`subset`]: the `k` largest of each row among the latents `subset[..count]` (AuxK). An entry that does not exceed
//!   the one before it, or is `n` or more, is passed over on CUDA and an error on the host; a `count` above `s` means
//!   `s`. `count` is read where it lies, so the list may have been made on the device.
//! - [`flat`]: the `total` largest of the batch (BatchTopK). Row `r` owns the slots `offsets[r]..offsets[r + 1]`; the
//!   slots from `offsets[rows]` on are empty.
//! - [`threshold`]: those above a threshold (BatchTopK and JumpReLU at inference), the `k` largest of them if there are
//!   more; `counts` says how many there were.
//!
//! **Order** larger first; of equals the smaller latent, in [`flat`] the smaller row before that. The choice is exact
//! for the `z` that the device computed, in `Acc`, never rounded to the type of `x`. **NaN** among `z` is not chosen; an
//! infinite `z` is. **Determinism** stable; `z` is close: an error of at most `1e-5 · Σ |x w|` for `f32` sums, twice
//! that for `bf16` on the host, which treats subnormal numbers as zero. Where two `z` are closer than that, devices may choose differently.
//! **Errors** `Range` if `k > n` or `total > rows * n`, `Value` if the threshold is NaN. **Moves** [`Plan::bytes`].
use super::{MOST_LATENTS, Shape, at_most, size};
use crate::{Error, Float, Layout, Result, order};
use alloc::vec::Vec;
use core::cmp::Reverse;

const OP: &str = "sae_encode";

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) x: Layout<2>,
    pub(super) w: Layout<2>,
    pub(super) select: Select,
    pub(super) shape: Shape,
}

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Select {
    /// The largest of each row, among all latents.
    All,
    /// The largest of each row, among a list of this many latents at most.
    Subset(usize),
    /// The largest of the batch.
    Flat,
    /// Those of each row above this.
    Above(f32),
}

/// Check a call of [`forward`].
///
/// # Errors
/// See the module.
pub fn plan(x: &Layout<2>, w_enc: &Layout<2>, bias: &Layout<1>, k: usize) -> Result<Plan> {
    checked(x, w_enc, bias, Select::All, k)
}

/// Check a call of [`subset`].
///
/// # Errors
/// See the module.
pub fn plan_subset(
    x: &Layout<2>,
    w_enc: &Layout<2>,
    bias: &Layout<1>,
    subset: &Layout<1>,
    count: &Layout<1>,
    k: usize,
) -> Result<Plan> {
    size(OP, "count", 1, count.dims()[0])?;
    checked(x, w_enc, bias, Select::Subset(subset.dims()[0]), k)
}

/// Check a call of [`flat`].
///
/// # Errors
/// See the module.
pub fn plan_flat(x: &Layout<2>, w_enc: &Layout<2>, bias: &Layout<1>, total: usize) -> Result<Plan> {
    let p = checked(x, w_enc, bias, Select::Flat, 0)?;
    at_most(OP, "total", p.rows().saturating_mul(p.n()), total)?;
    Ok(Plan { shape: Shape::flat(p.rows(), total)?, ..p })
}

/// Check a call of [`threshold`].
///
/// # Errors
/// See the module.
pub fn plan_threshold(x: &Layout<2>, w_enc: &Layout<2>, bias: &Layout<1>, threshold: f32, k: usize) -> Result<Plan> {
    if threshold.is_nan() {
        return Err(Error::Value { op: OP, arg: "threshold", want: "a number" });
    }
    checked(x, w_enc, bias, Select::Above(threshold), k)
}

fn checked(x: &Layout<2>, w: &Layout<2>, bias: &Layout<1>, select: Select, k: usize) -> Result<Plan> {
    let ([rows, dim], [n, columns]) = (x.dims(), w.dims());
    size(OP, "w_enc", dim, columns)?;
    size(OP, "bias", n, bias.dims()[0])?;
    at_most(OP, "w_enc", MOST_LATENTS, n)?;
    at_most(OP, "k", n, k)?;
    Ok(Plan { x: *x, w: *w, select, shape: Shape::fixed(rows, k)? })
}

impl Plan {
    /// Rows of `x`.
    pub fn rows(&self) -> usize {
        self.x.dims()[0]
    }
    /// Columns of `x`.
    pub fn dim(&self) -> usize {
        self.x.dims()[1]
    }
    /// Latents, and the sentinel.
    pub fn n(&self) -> usize {
        self.w.dims()[0]
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `w_enc`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// What is chosen.
    pub fn select(&self) -> Select {
        self.select
    }
    /// The shape of the codes.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Slots of each row; of a flat choice, the most that one row can take.
    pub fn k(&self) -> usize {
        self.shape.width().unwrap_or(self.shape.slots().min(self.n()))
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (self.x.len() + self.w.len()) * size + 4 * self.n() + 8 * self.shape.slots()
    }
    /// Multiplications and additions.
    pub fn flops(&self) -> usize {
        2 * self.rows() * self.n() * self.dim()
    }
}

/// The `k` largest of each row.
pub fn forward<T: Float>(p: &Plan, x: &[T], w_enc: &[T], bias: &[T::Acc], values: &mut [T::Acc], latents: &mut [u32]) {
    let all: Vec<u32> = (0..p.n() as u32).collect();
    choose(p, x, w_enc, bias, &all, values, latents);
}

/// The `k` largest of each row, among the latents `subset[..count[0]]`.
///
/// # Errors
/// [`Error::Value`] if they do not rise, [`Error::Range`] if one is no latent.
pub fn subset<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    subset: &[u32],
    count: &[u32],
    values: &mut [T::Acc],
    latents: &mut [u32],
) -> Result<()> {
    choose(p, x, w_enc, bias, listed(p, subset, count)?, values, latents);
    Ok(())
}

/// The part of a subset that counts, checked.
///
/// # Errors
/// As [`subset`].
pub fn listed<'a>(p: &Plan, subset: &'a [u32], count: &[u32]) -> Result<&'a [u32]> {
    let listed = &subset[..subset.len().min(count[0] as usize)];
    if !listed.is_sorted_by(|a, b| a < b) {
        return Err(Error::Value { op: OP, arg: "subset", want: "rising" });
    }
    match listed.last() {
        Some(&last) if last as usize >= p.n() => {
            Err(Error::Range { op: OP, arg: "subset", max: p.n().saturating_sub(1), got: last as usize })
        }
        _ => Ok(listed),
    }
}

/// The largest of the batch, as many as there are slots.
pub fn flat<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    values: &mut [T::Acc],
    latents: &mut [u32],
    offsets: &mut [u32],
) {
    let all: Vec<u32> = (0..p.n() as u32).collect();
    let mut found: Vec<_> = (0..p.rows())
        .flat_map(|r| positive(p, x, w_enc, bias, &all, r).into_iter().map(move |(value, latent)| (r, latent, value)))
        .collect();
    found.sort_by_key(|&(row, latent, value)| (Reverse(order(value)), row, latent));
    found.truncate(p.shape.slots());
    found.sort_by_key(|&(row, latent, _)| (row, latent));
    for (r, offset) in offsets[..=p.rows()].iter_mut().enumerate() {
        *offset = found.partition_point(|&(row, ..)| row < r) as u32;
    }
    let found = found.into_iter().map(|(_, latent, value)| (value, latent)).collect();
    put(p.n(), found, &mut values[..p.shape.slots()], latents);
}

/// Those of each row above the threshold of the plan, and how many there were.
pub fn threshold<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    values: &mut [T::Acc],
    latents: &mut [u32],
    counts: &mut [u32],
) {
    let Select::Above(least) = p.select else { unreachable!("a plan of plan_threshold") };
    let (all, k): (Vec<u32>, _) = ((0..p.n() as u32).collect(), p.k());
    for (r, count) in counts[..p.rows()].iter_mut().enumerate() {
        let mut found = positive(p, x, w_enc, bias, &all, r);
        found.retain(|(value, _)| value.to_f32() > least);
        *count = found.len() as u32;
        put(p.n(), largest(found, k), &mut values[r * k..][..k], &mut latents[r * k..]);
    }
}

fn choose<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    among: &[u32],
    values: &mut [T::Acc],
    latents: &mut [u32],
) {
    let k = p.k();
    for r in 0..p.rows() {
        let found = positive(p, x, w_enc, bias, among, r);
        put(p.n(), largest(found, k), &mut values[r * k..][..k], &mut latents[r * k..]);
    }
}

/// The positive `z` of a row, each with its latent.
fn positive<T: Float>(
    p: &Plan,
    x: &[T],
    w_enc: &[T],
    bias: &[T::Acc],
    among: &[u32],
    row: usize,
) -> Vec<(T::Acc, u32)> {
    let x = &x[row * p.x.strides()[0]..][..p.dim()];
    let z = |latent: u32| {
        let w = &w_enc[latent as usize * p.w.strides()[0]..][..p.dim()];
        let dot: f64 = x.iter().zip(w).map(|(x, w)| x.wide() * w.wide()).sum();
        T::Acc::narrow(dot + bias[latent as usize].wide())
    };
    among.iter().map(|&latent| (z(latent), latent)).filter(|(z, _)| z.wide() > 0.0).collect()
}

fn largest<A: Float>(mut found: Vec<(A, u32)>, k: usize) -> Vec<(A, u32)> {
    found.sort_by_key(|&(value, latent)| (Reverse(order(value)), latent));
    found.truncate(k);
    found.sort_by_key(|&(_, latent)| latent);
    found
}

/// Fill the slots of `values`: what was found, then empty ones.
fn put<A: Float>(n: usize, found: Vec<(A, u32)>, values: &mut [A], latents: &mut [u32]) {
    for (slot, value) in values.iter_mut().enumerate() {
        (*value, latents[slot]) = found.get(slot).copied().unwrap_or((A::default(), n as u32));
    }
}
