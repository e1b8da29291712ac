//! Every column brought to mean 0 and variance 1: by the statistics of the batch, or by others that are given.
//!
//! | argument | shape       | type        |
//! |----------|-------------|-------------|
//! | `x`, `y`, `dy` | `[rows, n]`: of images in NHWC order all pixels are rows, and `n` the channels | float |
//! | `weight` | `[n]`       | [`Float::Acc`] of it |
//! | `bias`   | `[n]`       | `Acc`, may be absent |
//! | `mean`, `variance` | `[n]` | `Acc`: of a training call results, of others arguments |
//! | `dx`     | `[rows, n]` | as `x`, optional |
//! | `dweight`, `dbias` | `[n]` | `Acc`, each optional |
//!
//! In training, `mean` and `variance` are those of the columns of the batch, as [`moments`] has them
//! (of a population); then, as in inference with given ones,
//!
//! ```text
//! y = (x - mean) / sqrt(variance + eps) * weight + bias
//! ```
//! **Backward** is that of a training call, whose `mean` and `variance` it takes. With `root = sqrt(variance + eps)`,
//! `u = (x - mean) / root` and sums over the `rows`:
//! `dbias = Σ dy`, `dweight = Σ dy u`, `dx = weight / root (dy - dbias / rows - u dweight / rows)`. With [`Accumulate::Add`] each is
//! added to what its output holds. `x` and `dy` may have gaps between rows; outputs are packed. Running statistics are the
//! caller's: those of batches join as those of classes do ([`classes`](crate::reduce::classes)).
//!
//! **NaN** and infinities spoil their column only. **Empty** an output without entries is not touched; of no rows the statistics
//! are NaN and sums are zero. **Determinism** stable, and independent of the number of threads; `y`, `dweight` and `dbias` are
//! close to the reference within 1e-11 normalised squared error in `f32`, so is `dx` beside `dy weight / root`. **Errors** `Size`
//! if a vector is not of length `n` or `dy` not shaped as `x`, `Range` if rows are longer than an index, `Value` if `eps` is not
//! a number from 0 on. **Moves** [`Plan::bytes`], [`Plan::bytes_backward`].
//! **Source** Ioffe and Szegedy, Batch Normalization (2015).
use crate::{Accumulate, Error, Float, Layout, Result, math, reduce::moments};
use alloc::vec;

pub(super) const OP: &str = "batch_norm";

/// A checked problem. Only [`plan`] and [`plan_backward`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    x: Layout<2>,
    dy: Layout<2>,
    eps: f32,
    accumulate: Accumulate,
}

/// Check a forward call: `vectors` are those of length `n`, by name.
///
/// # Errors
/// `Size`, `Range` or `Value` as the contract says.
pub fn plan(x: &Layout<2>, vectors: &[(&'static str, Layout<1>)], eps: f32) -> Result<Plan> {
    let [_, n] = x.dims();
    if n > i32::MAX as usize {
        return Err(Error::Range { op: OP, arg: "n", max: i32::MAX as usize, got: n });
    }
    if let Some((arg, layout)) = vectors.iter().find(|(_, layout)| layout.len() != n) {
        return Err(Error::Size { op: OP, arg, want: n, got: layout.len() });
    }
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(Error::Value { op: OP, arg: "eps", want: "a number from 0 on" });
    }
    Ok(Plan { x: *x, dy: Layout::packed(x.dims())?, eps, accumulate: Accumulate::Replace })
}

/// Check a backward call.
///
/// # Errors
/// As [`plan`], and `Size` if `dy` has not the shape of `x`.
pub fn plan_backward(
    x: &Layout<2>,
    vectors: &[(&'static str, Layout<1>)],
    dy: &Layout<2>,
    eps: f32,
    accumulate: Accumulate,
) -> Result<Plan> {
    let plan = plan(x, vectors, eps)?;
    match x.dims().into_iter().zip(dy.dims()).find(|(want, got)| want != got) {
        Some((want, got)) => Err(Error::Size { op: OP, arg: "dy", want, got }),
        None => Ok(Plan { dy: *dy, accumulate, ..plan }),
    }
}

impl Plan {
    /// Shape of `y`.
    pub fn out(&self) -> [usize; 2] {
        self.x.dims()
    }
    /// The layout of `x`.
    pub fn x(&self) -> Layout<2> {
        self.x
    }
    /// The layout of `dy`, or of `y`.
    pub fn dy(&self) -> Layout<2> {
        self.dy
    }
    /// What is added under the root.
    pub fn eps(&self) -> f32 {
        self.eps
    }
    /// What happens to the contents of the gradients.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// The plan of the statistics of a training call.
    ///
    /// # Errors
    /// None for a plan that was made.
    pub fn moments(&self) -> Result<moments::Plan> {
        moments::plan(&self.x, 0)
    }
    /// Bytes that any implementation must move at least, for elements of `size` bytes, of a batch that fits no cache: `x` twice
    /// in training.
    pub fn bytes(&self, size: usize, training: bool) -> usize {
        (if training { 3 } else { 2 }) * self.x.len() * size + 4 * 4 * self.x.dims()[1]
    }
    /// The same of a backward call that asks for everything.
    pub fn bytes_backward(&self, size: usize) -> usize {
        5 * self.x.len() * size + 5 * 4 * self.x.dims()[1]
    }
}

/// The definition of a training call.
pub fn train<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    y: &mut [T],
    mean: &mut [T::Acc],
    variance: &mut [T::Acc],
) -> Result<()> {
    moments::forward(&p.moments()?, x, mean, variance);
    forward(p, x, mean, variance, weight, bias, y);
    Ok(())
}

/// The definition with statistics that are given, an entry at a time.
pub fn forward<T: Float>(
    p: &Plan,
    x: &[T],
    mean: &[T::Acc],
    variance: &[T::Acc],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    y: &mut [T],
) {
    let [rows, n] = p.out();
    for (r, j) in (0..rows).flat_map(|r| (0..n).map(move |j| (r, j))) {
        let unit = (x[r * p.x.strides()[0] + j].wide() - mean[j].wide()) / p.root(variance[j].wide());
        y[r * n + j] = T::narrow(unit * weight[j].wide() + bias.map_or(0.0, |bias| bias[j].wide()));
    }
}

impl Plan {
    fn root(&self, variance: f64) -> f64 {
        math::sqrt(variance + f64::from(self.eps))
    }
}

/// The gradients of a training call, a column at a time; each only if it is asked for.
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    [mean, variance, weight]: [&[T::Acc]; 3],
    dy: &[T],
    mut dx: Option<&mut [T]>,
    dweight: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
) {
    let ([rows, n], mut sums) = (p.out(), [vec![0.0; p.out()[1]], vec![0.0; p.out()[1]]]);
    for j in 0..n {
        let root = p.root(variance[j].wide());
        let unit = |r: usize| (x[r * p.x.strides()[0] + j].wide() - mean[j].wide()) / root;
        let slope = |r: usize| dy[r * p.dy.strides()[0] + j].wide();
        let (along, all) = ((0..rows).map(|r| slope(r) * unit(r)).sum::<f64>(), (0..rows).map(slope).sum::<f64>());
        (sums[0][j], sums[1][j]) = (along, all);
        for r in 0..rows {
            let left = slope(r) - (all + unit(r) * along) / rows as f64;
            if let Some(dx) = &mut dx {
                p.accumulate.put(&mut dx[r * n + j], weight[j].wide() / root * left);
            }
        }
    }
    for (out, sums) in [dweight, dbias].into_iter().zip(sums) {
        for (out, sum) in out.into_iter().flatten().zip(sums) {
            p.accumulate.put(out, sum);
        }
    }
}
