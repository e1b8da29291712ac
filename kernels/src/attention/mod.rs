//! Attention: every query takes the mean of the values, weighted by the softmax of its products with the keys.
//!
//! | argument | shape                      | type  |
//! |----------|----------------------------|-------|
//! | `q`      | `[batch, t, heads, dim]`   | float |
//! | `k`, `v` | `[batch, s, kv_heads, dim]` | as `q` |
//! | `y`, `dy` | `[batch, t, heads, dim]`  | as `q` |
//! | `lse`    | `[batch, t, heads]`        | [`Float::Acc`](crate::Float::Acc) of it; optional in a forward call |
//! | `dq`, `dk`, `dv` | as `q`, `k`, `v`   | as `q` |
//!
//! `y[b, i, h] = sum_j w_j v[b, j, g]`, `w = softmax_j(s_j)`, `s_j = scale * q[b, i, h] . k[b, j, g]`,
//! `g = h / (heads / kv_heads)`, and `lse[b, i, h] = log(sum_j exp(s_j))`. The sums are over the keys that the query sees,
//! by [`Mask`]: the queries are the last `t` of `s` positions, so `k` and `v` may be the filled part of a cache, as narrowed
//! views.
//!
//! [`backward`] makes the scores again from `lse`: with `p_j = exp(s_j - lse)`, `dp_j = dy . v_j` and `d = dy . y`,
//! `ds_j = p_j (dp_j - d)`, `dq = scale * sum_j ds_j k_j`, and over the queries that see it `dv_j = sum p_j dy`,
//! `dk_j = scale * sum ds_j q`. `y` and `lse` are what a forward call of the same arguments gave.
//!
//! **Nothing to see** (`i + s < t` and a mask, or `s = 0`): zeros, and `lse` is `-inf`. **NaN** or `+inf` among the scores of
//! a query, or only `-inf`, makes its result NaN; a gradient becomes NaN where arithmetic makes it so, by keys that a query
//! sees and by no others. **Determinism** stable, whatever the number of threads; close to the reference within 1e-11
//! normalised squared error in `f32`. No `t x s` tensor is kept on any device. **Errors** `Size` if shapes do not agree,
//! `Stride` if `y` or `lse` is not packed, `Value` if `heads` is no multiple of `kv_heads`, `scale` not finite or a block
//! empty, `Range` if `dim` exceeds [`DIM`]. **Moves** [`Plan::bytes`]. **Source** Vaswani et al. 2017; Ainslie et al. 2023;
//! online softmax: Milakov and Gimelshein 2018; backward without stored weights: Dao et al. 2022.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::{launch, launch_backward, workspace_backward};
pub use reference::{backward, forward};

/// The device code.
pub static IMAGE: Image =
    Image { name: "attention", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/attention.fatbin")) };

const OP: &str = "attention";

/// The longest head.
pub const DIM: usize = 256;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All.
    Full,
    /// Those up to its own position.
    Causal,
    /// Those up to the end of its own block of so many positions.
    Blocks(u32),
}

impl Mask {
    /// Positions of a block; 0 where there are none.
    pub fn block(self) -> usize {
        match self {
            Self::Full => 0,
            Self::Causal => 1,
            Self::Blocks(block) => block as usize,
        }
    }
}

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    q: Layout<4>,
    k: Layout<4>,
    v: Layout<4>,
    dy: Layout<4>,
    scale: f32,
    mask: Mask,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(q: &Layout<4>, k: &Layout<4>, v: &Layout<4>, scale: f32, mask: Mask) -> Result<Plan> {
    let op = OP;
    let ([batch, t, heads, dim], [_, s, kv_heads, _]) = (q.dims(), k.dims());
    for (arg, layout) in [("k", k), ("v", v)] {
        let pairs = [batch, s, kv_heads, dim].into_iter().zip(layout.dims());
        if let Some((want, got)) = pairs.into_iter().find(|(want, got)| want != got) {
            return Err(Error::Size { op, arg, want, got });
        }
    }
    for (arg, got, max) in [("dim", dim, DIM), ("t", t, i32::MAX as usize), ("s", s, i32::MAX as usize)] {
        if got > max {
            return Err(Error::Range { op, arg, max, got });
        }
    }
    if heads > 0 && (kv_heads == 0 || heads % kv_heads != 0) {
        return Err(Error::Value { op, arg: "heads", want: "a multiple of the number of key heads" });
    }
    if !scale.is_finite() {
        return Err(Error::Value { op, arg: "scale", want: "a finite number" });
    }
    if mask == Mask::Blocks(0) {
        return Err(Error::Value { op, arg: "mask", want: "blocks of at least one position" });
    }
    Ok(Plan { q: *q, k: *k, v: *v, dy: Layout::packed(q.dims())?, scale, mask })
}

/// Check a backward call: a forward one, its results, and their gradient.
///
/// # Errors
/// `Size` or `Stride` as the contract says.
pub fn plan_backward(p: &Plan, y: &Layout<4>, lse: &Layout<3>, dy: &Layout<4>) -> Result<Plan> {
    let size = |arg, want: &[usize], got: &[usize]| match want.iter().zip(got).find(|(want, got)| want != got) {
        Some((&want, &got)) => Err(Error::Size { op: OP, arg, want, got }),
        None => Ok(()),
    };
    size("y", &p.out(), &y.dims())?;
    size("lse", &p.lse(), &lse.dims())?;
    size("dy", &p.out(), &dy.dims())?;
    for (arg, packed, want, got) in [
        ("y", y.is_packed() || y.is_empty(), p.out()[1..].iter().product(), y.strides()[0]),
        ("lse", lse.is_packed() || lse.is_empty(), p.lse()[1..].iter().product(), lse.strides()[0]),
    ] {
        if !packed {
            return Err(Error::Stride { op: OP, arg, want, got });
        }
    }
    Ok(Plan { dy: *dy, ..*p })
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 4] {
        self.q.dims()
    }
    /// Shape of `lse`.
    pub fn lse(&self) -> [usize; 3] {
        let [batch, t, heads, _] = self.out();
        [batch, t, heads]
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<4> {
        self.dy
    }
    /// Queries of one batch entry.
    pub fn t(&self) -> usize {
        self.q.dims()[1]
    }
    /// Keys of one batch entry.
    pub fn s(&self) -> usize {
        self.k.dims()[1]
    }
    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.k.dims()[2]
    }
    /// Query heads that share one key head.
    pub fn group(&self) -> usize {
        self.q.dims()[2].checked_div(self.kv_heads()).unwrap_or(0)
    }
    /// What scores are multiplied with.
    pub fn scale(&self) -> f32 {
        self.scale
    }
    /// Which keys a query sees.
    pub fn mask(&self) -> Mask {
        self.mask
    }
    /// How many keys, from the first on, query `i` sees.
    pub fn visible(&self, i: usize) -> usize {
        let (block, s) = (self.mask.block(), self.s());
        if block == 0 {
            return s;
        }
        // Blocks are counted from the first key.
        (s + i).checked_sub(self.t()).map_or(0, |position| (position / block + 1).saturating_mul(block).min(s))
    }
    /// The layouts of `q`, `k` and `v`.
    pub fn layouts(&self) -> [Layout<4>; 3] {
        [self.q, self.k, self.v]
    }
    /// Bytes that a forward call must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (2 * self.q.len() + self.k.len() + self.v.len()) * size
    }
    /// Multiplications with an addition of a forward call, 2/5 of a backward one: two for every pair of a query and a key that it sees, and every entry of a head.
    pub fn products(&self) -> usize {
        let [batch, t, heads, dim] = self.out();
        2 * batch * heads * dim * (0..t).map(|i| self.visible(i)).sum::<usize>()
    }
}
