//! Attention: every query takes the mean of the values, weighted by the softmax of its products with the keys.
//!
//! | argument | shape                      | type  |
//! |----------|----------------------------|-------|
//! | `q`      | `[batch, t, heads, dim]`   | float |
//! | `k`, `v` | `[batch, s, kv_heads, dim]` | as `q` |
//! | `y`      | `[batch, t, heads, dim]`   | as `q` |
//!
//! `y[b, i, h] = sum_j w_j v[b, j, g]`, `w = softmax_j(scale * q[b, i, h] . k[b, j, g])`, `g = h / (heads / kv_heads)`.
//! Over all `j < s`, or if causal over `j <= i + s - t`: the queries are the last `t` of `s` positions, so `k` and `v`
//! may be the filled part of a cache, as narrowed views.
//!
//! **Nothing to see** (causal and `i + s < t`, or `s = 0`): zeros. **NaN** or `+inf` among the scores of a query, or only
//! `-inf`, makes its result NaN. **Determinism** stable, whatever the number of threads; close to the reference within
//! 1e-11 normalised squared error in `f32`. No `t x s` tensor is kept on any device. **Errors** `Size` if shapes do not
//! agree, `Value` if `heads` is no multiple of `kv_heads` or `scale` not finite, `Range` if `dim` exceeds [`DIM`].
//! **Moves** [`Plan::bytes`]. **Backward** will need `y` and the logarithm of each softmax's sum, which a second output
//! can hold. **Source** Vaswani et al. 2017; Ainslie et al. 2023; online softmax: Milakov and Gimelshein 2018.
mod launch;
mod reference;

use crate::{Error, Image, Layout, Result};
pub use launch::launch;
pub use reference::forward;

/// The device code.
pub static IMAGE: Image =
    Image { name: "attention", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/attention.fatbin")) };

/// The longest head.
pub const DIM: usize = 256;

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    q: Layout<4>,
    k: Layout<4>,
    v: Layout<4>,
    scale: f32,
    causal: bool,
}

/// Check a call.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(q: &Layout<4>, k: &Layout<4>, v: &Layout<4>, scale: f32, causal: bool) -> Result<Plan> {
    let op = "attention";
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
    Ok(Plan { q: *q, k: *k, v: *v, scale, causal })
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 4] {
        self.q.dims()
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
    /// Whether query `i` sees only the keys up to its own position.
    pub fn causal(&self) -> bool {
        self.causal
    }
    /// How many keys, from the first on, query `i` sees.
    pub fn visible(&self, i: usize) -> usize {
        if self.causal { (self.s() + i + 1).saturating_sub(self.t()).min(self.s()) } else { self.s() }
    }
    /// The layouts of `q`, `k` and `v`.
    pub fn layouts(&self) -> [Layout<4>; 3] {
        [self.q, self.k, self.v]
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> usize {
        (2 * self.q.len() + self.k.len() + self.v.len()) * size
    }
    /// Multiplications with an addition: two for every pair of a query and a key that it sees, and every entry of a head.
    pub fn products(&self) -> usize {
        let [batch, t, heads, dim] = self.out();
        2 * batch * heads * dim * (0..t).map(|i| self.visible(i)).sum::<usize>()
    }
}
