//! Gradients of encoder and decoder together, one visit for each latent that is named.
//!
//! | argument     | shape          | type                      |
//! |--------------|----------------|---------------------------|
//! | codes        | see [`sae`](super) | those of the forward pass |
//! | `x`          | `[rows, dim]`  | float                     |
//! | `g`          | `[rows, dim]`  | as `x`: `dL/dx̂`           |
//! | `w_dec`      | `[n, dim]`     | as `x`                    |
//! | `b_dec`      | `[dim]`        | `Acc`; if the encoder read `x - b_dec` |
//! | `accumulate` |                | of the three that follow  |
//! | `dw_dec`     | `[n, dim]`     | `Acc`                     |
//! | `dw_enc`     | `[n, dim]`     | `Acc`                     |
//! | `db_enc`     | `[n]`          | `Acc`                     |
//! | `dvalues`    | as `values`    | `Acc`, always replaced; or, [given](plan_given), read |
//!
//! For slot `j` of row `r`, of latent `n` and value `v`:
//!
//! ```text
//! dvalues[j]  = v > 0 ? Σ g[r] w_dec[n] : 0          the gradient of z, through the rectifier
//! dw_dec[n]  += v g[r]
//! dw_enc[n]  += dvalues[j] (x[r] - b_dec)
//! db_enc[n]  += dvalues[j]
//! ```
//!
//! With `dvalues` [given](plan_given), as by [`gate::backward`](super::gate::backward), `w_dec` is not read, and the two last lines
//! hold for values of any sign.
//!
//! Empty slots, and those that `offsets` give to no row, get `dvalues = 0`. A latent that no slot names gets 0 with
//! [`Accumulate::Replace`] and is not touched with [`Accumulate::Add`]. Hits of a latent are added by rising slot. The gradient of `x`, where it is wanted, is
//! [`decode`](super::decode) of `dvalues` over `w_enc`; that of `b_dec` is [`bias::backward`](super::bias::backward).
//!
//! **NaN** in a row of `g` or `x` reaches the latents that row names. **Determinism** stable: hits are put in order by a
//! stable counting sort. Close to the reference within `1e-5` of the sum of absolute terms. **Moves** [`Plan::bytes`].
use super::{Codes, MOST_LATENTS, Shape, at_most, size};
use crate::{Accumulate, Float, Layout, Result};
use alloc::vec;

const OP: &str = "sae_backward";

/// A checked problem.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) x: Layout<2>,
    pub(super) g: Layout<2>,
    pub(super) w: Layout<2>,
    pub(super) accumulate: Accumulate,
    pub(super) given: bool,
}

/// Check a call.
///
/// # Errors
/// `Size` if shapes disagree.
pub fn plan(
    shape: &Shape,
    x: &Layout<2>,
    g: &Layout<2>,
    w_dec: &Layout<2>,
    b_dec: Option<&Layout<1>>,
    accumulate: Accumulate,
) -> Result<Plan> {
    let [n, dim] = w_dec.dims();
    at_most(OP, "w_dec", MOST_LATENTS, n)?;
    for (arg, layout) in [("x", x), ("g", g)] {
        size(OP, arg, shape.rows(), layout.dims()[0])?;
        size(OP, arg, dim, layout.dims()[1])?;
    }
    if let Some(b_dec) = b_dec {
        size(OP, "b_dec", dim, b_dec.dims()[0])?;
    }
    Ok(Plan { shape: *shape, x: *x, g: *g, w: *w_dec, accumulate, given: false })
}

/// Check a call to which the gradients of the values are given: gradients of the weights of `n` latents.
///
/// # Errors
/// `Size` if shapes disagree.
pub fn plan_given(
    shape: &Shape,
    x: &Layout<2>,
    g: &Layout<2>,
    b_dec: Option<&Layout<1>>,
    dvalues: &Layout<1>,
    n: usize,
    accumulate: Accumulate,
) -> Result<Plan> {
    at_most(OP, "dw_dec", MOST_LATENTS, n)?;
    size(OP, "dvalues", shape.slots(), dvalues.dims()[0])?;
    let w = Layout::packed([n, x.dims()[1]])?;
    Ok(Plan { given: true, ..plan(shape, x, g, &w, b_dec, accumulate)? })
}

impl Plan {
    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.shape.rows()
    }
    /// Columns of `x`.
    pub fn dim(&self) -> usize {
        self.w.dims()[1]
    }
    /// Latents, and the sentinel.
    pub fn n(&self) -> usize {
        self.w.dims()[0]
    }
    /// The shape of the codes.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `g`.
    pub fn g(&self) -> Layout<2> {
        self.g
    }
    /// The layout of `w_dec`.
    pub fn w(&self) -> Layout<2> {
        self.w
    }
    /// What happens to the contents of the gradients of weights.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Whether the gradients of the values are given.
    pub fn given(&self) -> bool {
        self.given
    }
    /// Bytes moved by an implementation that gathers, for elements of `size` bytes and full slots.
    pub fn bytes(&self, size: usize) -> usize {
        self.shape.slots() * (2 * self.dim() * size + 12) + self.w.len() * (size + 8) + 4 * self.n()
    }
}

/// The definition, accumulated in `f64`.
pub fn backward<T: Float>(
    p: &Plan,
    codes: Codes<T::Acc>,
    x: &[T],
    g: &[T],
    w_dec: &[T],
    b_dec: Option<&[T::Acc]>,
    dw_dec: &mut [T::Acc],
    dw_enc: &mut [T::Acc],
    db_enc: &mut [T::Acc],
    dvalues: &mut [T::Acc],
) {
    let (n, dim) = (p.n(), p.dim());
    let [mut dec, mut enc, mut bias] = [n * dim, n * dim, n].map(|len| vec![0.0; len]);
    if !p.given {
        dvalues[..p.shape.slots()].fill(T::Acc::default());
    }
    for r in 0..p.rows() {
        let (x, g) = (&x[r * p.x.strides()[0]..][..dim], &g[r * p.g.strides()[0]..][..dim]);
        for slot in codes.row(&p.shape, r) {
            let (latent, value) = (codes.latents[slot] as usize, codes.values[slot].wide());
            if latent >= n {
                continue;
            }
            let open = p.given || value > 0.0;
            let slope = if p.given {
                dvalues[slot].wide()
            } else if open {
                let w = &w_dec[latent * p.w.strides()[0]..][..dim];
                g.iter().zip(w).map(|(g, w)| g.wide() * w.wide()).sum()
            } else {
                0.0
            };
            if !p.given {
                dvalues[slot] = T::Acc::narrow(slope + 0.0);
            }
            for c in 0..dim {
                dec[latent * dim + c] += value * g[c].wide();
                if open {
                    enc[latent * dim + c] += slope * (x[c].wide() - b_dec.map_or(0.0, |b| b[c].wide()));
                }
            }
            bias[latent] += slope;
        }
    }
    for (out, sums) in [(dw_dec, dec), (dw_enc, enc), (db_enc, bias)] {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = T::Acc::narrow(sum + if p.accumulate == Accumulate::Add { out.wide() } else { 0.0 });
        }
    }
}
