//! Muon: a step along the mean of gradients with all its singular values made about 1, by an iteration of matrix products.
//!
//! ```text
//! m = beta m + (1 - beta) g,   u = (1 - beta) g + beta m,   X = u / |u|
//! five times  X = a X + X (b G + c G²),   G = Xᵀ X   (of the shorter side)
//! w = w - lr 0.2 sqrt(longest side) X
//! ```
//! The coefficients are Jordan's: they raise small singular values fast and leave all between 0.7 and 1.2.
use crate::{
    Accumulate, CLIP_PARTS, Result, Tensor, View, ViewMut, add_into, clip_squares_into, copy_into, linear,
    linear_backward_into, scale_into,
};

const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];
const TURNS: usize = 5;

/// A step of `w` in place, `m` being the mean before and after.
pub(super) fn muon(
    w: ViewMut<'_, f32, 2>,
    g: View<'_, f32, 2>,
    mut m: ViewMut<'_, f32, 2>,
    beta: f32,
    lr: f32,
) -> Result<()> {
    let [rows, d] = g.dims();
    let mut x = Tensor::empty([rows, d], &g.device())?;
    copy_into(g, x.view_mut())?;
    scale_into(1.0 - beta, x.view_mut())?;
    scale_into(beta, m.reborrow())?;
    add_into(x.view(), m.reborrow())?;
    let mut ahead = copy(m.shared())?;
    scale_into(beta, ahead.view_mut())?;
    add_into(ahead.view(), x.view_mut())?;
    orthogonalise(&mut x)?;
    scale_into(-lr * 0.2 * (rows.max(d) as f32).sqrt(), x.view_mut())?;
    add_into(x.view(), w)
}

/// Make all singular values about 1. Zeros stay.
fn orthogonalise(x: &mut Tensor<f32, 2>) -> Result<()> {
    let ([rows, d], device, [a, b, c]) = (x.dims(), x.device(), COEFFICIENTS);
    let side = rows.min(d);
    let mut squares = Tensor::empty([CLIP_PARTS], &device)?;
    clip_squares_into(x.view(), Accumulate::Replace, squares.view_mut())?;
    let length = squares.to_vec()?.into_iter().map(f64::from).sum::<f64>().sqrt();
    scale_into((1.0 / (length + 1e-7)) as f32, x.view_mut())?;
    for _ in 0..TURNS {
        let gram = if rows < d { linear(x.view(), x.view(), None)? } else { product_of_columns(x, side)? };
        let mut polynomial = linear(gram.view(), gram.view(), None)?; // it is symmetric
        scale_into(c, polynomial.view_mut())?;
        let mut first = gram;
        scale_into(b, first.view_mut())?;
        add_into(first.view(), polynomial.view_mut())?;
        let more = if rows < d { times(&polynomial, x)? } else { linear(x.view(), polynomial.view(), None)? };
        scale_into(a, x.view_mut())?;
        add_into(more.view(), x.view_mut())?;
    }
    Ok(())
}

/// `Xᵀ X`, as the gradient of weights of a layer is.
fn product_of_columns(x: &Tensor<f32, 2>, side: usize) -> Result<Tensor<f32, 2>> {
    let mut gram = Tensor::empty([side, side], &x.device())?;
    let weights = Tensor::zeros([side, side], &x.device())?;
    let (of, dw) = (x.view(), Some(gram.view_mut()));
    linear_backward_into(of, weights.view(), of, Accumulate::Replace, None, dw, None)?;
    Ok(gram)
}

/// `P X`, as the gradient of what a layer reads is.
fn times(p: &Tensor<f32, 2>, x: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
    let (mut product, of) = (Tensor::empty(x.dims(), &x.device())?, x.view());
    linear_backward_into(of, of, p.view(), Accumulate::Replace, Some(product.view_mut()), None, None)?;
    Ok(product)
}

fn copy(x: View<'_, f32, 2>) -> Result<Tensor<f32, 2>> {
    let mut copy = Tensor::empty(x.dims(), &x.device())?;
    copy_into(x, copy.view_mut())?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Philox};

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut draw = Philox::new(seed);
        (0..count).map(|_| draw.uniform() - 0.5).collect()
    }

    /// The same in `f64`, with plain loops.
    fn want(rows: usize, d: usize, w: &[f32], g: &[f32], m: &[f32], beta: f64, lr: f64) -> (Vec<f64>, Vec<f64>) {
        let wide = |of: &[f32]| of.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (w, g, m) = (wide(w), wide(g), wide(m));
        let m: Vec<f64> = m.iter().zip(&g).map(|(m, g)| beta * m + (1.0 - beta) * g).collect();
        let mut x: Vec<f64> = m.iter().zip(&g).map(|(m, g)| beta * m + (1.0 - beta) * g).collect();
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-7;
        x.iter_mut().for_each(|x| *x /= length);
        let [a, b, c] = COEFFICIENTS.map(f64::from);
        let product = |p: &dyn Fn(usize, usize) -> f64, q: &dyn Fn(usize, usize) -> f64, [m, k, n]: [usize; 3]| {
            let entry = |at: usize| (0..k).map(|i| p(at / n, i) * q(i, at % n)).sum::<f64>();
            (0..m * n).map(entry).collect::<Vec<_>>()
        };
        for _ in 0..TURNS {
            let gram = product(&|i, j| x[j * d + i], &|i, j| x[i * d + j], [d, rows, d]);
            let square = product(&|i, j| gram[i * d + j], &|i, j| gram[i * d + j], [d, d, d]);
            let poly = |i: usize, j: usize| b * gram[i * d + j] + c * square[i * d + j];
            let more = product(&|i, j| x[i * d + j], &poly, [rows, d, d]);
            x.iter_mut().zip(more).for_each(|(x, more)| *x = a * *x + more);
        }
        let by = lr * 0.2 * (rows.max(d) as f64).sqrt();
        (w.iter().zip(x).map(|(w, x)| w - by * x).collect(), m)
    }

    #[test]
    fn as_the_formula_says() {
        for [rows, d] in [[9, 4], [4, 9], [5, 5], [1, 3], [3, 1]] {
            let [w, g, m] = [1, 2, 3].map(|seed| numbers(rows * d, seed));
            let of = |of: &[f32]| Tensor::<f32, 2>::from_vec(of.to_vec(), [rows, d], &Device::Host).unwrap();
            let (mut after, mut mean) = (of(&w), of(&m));
            muon(after.view_mut(), of(&g).view(), mean.view_mut(), 0.9, 0.02).unwrap();
            let (wanted, mean_wanted) = want(rows, d, &w, &g, &m, f64::from(0.9_f32), f64::from(0.02_f32));
            for (got, want) in [(&after, wanted), (&mean, mean_wanted)] {
                for (got, want) in got.to_vec().unwrap().into_iter().zip(want) {
                    assert!((f64::from(got) - want).abs() < 2e-5, "{rows} x {d}: {got} for {want}");
                }
            }
        }
    }

    /// Rows that are orthogonal to one another have singular values that can be seen: their lengths.
    #[test]
    fn singular_values_are_about_one() {
        let mut x = Tensor::<f32, 2>::zeros([8, 5], &Device::Host).unwrap();
        let mut all = vec![0.0; 40];
        (0..5).for_each(|at| all[at * 5 + at] = 10.0_f32.powi(-(at as i32)) * 3.0);
        x.write(&all).unwrap();
        orthogonalise(&mut x).unwrap();
        let after = x.to_vec().unwrap();
        for at in 0..3 {
            assert!((0.6..1.25).contains(&after[at * 5 + at]), "{at}: {}", after[at * 5 + at]);
        }
        let mut zero = Tensor::<f32, 2>::zeros([3, 2], &Device::Host).unwrap();
        orthogonalise(&mut zero).unwrap();
        assert_eq!(zero.to_vec().unwrap(), [0.0; 6]);
    }
}
