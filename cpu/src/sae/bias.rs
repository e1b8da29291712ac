//! [`latens_kernels::sae::bias`] on the host: each matrix is read once, row by row.
use super::{Level, gather, tasks};
use crate::once::once;
use alloc::{vec, vec::Vec};
use latens_kernels::sae::bias;
use latens_kernels::{Accumulate, DType, Float};

pub use latens_kernels::sae::bias::Plan;

/// Rows that one task reads. It is part of the order of the sums, so it does not depend on the number of threads.
const BLOCK: usize = 256;

once! {
    /// See [`bias::forward`].
    pub fn forward<T>(p: &Plan, w_enc: &[T], b_enc: &[T::Acc], b_dec: &[T::Acc], out: &mut [T::Acc]) = forward_impl;
}

fn forward_impl<T: Float>(p: &Plan, w_enc: &[T], b_enc: &[T::Acc], b_dec: &[T::Acc], out: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 {
        return bias::forward(p, w_enc, b_enc, b_dec, out);
    }
    let (level, dim) = (Level::best(), p.dim());
    let b_dec: Vec<f32> = b_dec[..dim].iter().map(|b| b.to_f32()).collect();
    let stride = p.w().strides()[0];
    tasks(out[..p.n()].chunks_mut(BLOCK).collect(), |block, out: &mut [T::Acc]| {
        for (i, out) in out.iter_mut().enumerate() {
            let latent = block * BLOCK + i;
            let w = &w_enc[latent * stride..][..dim];
            *out = T::Acc::from_f32(b_enc[latent].to_f32() - gather::dot(level, w, &b_dec));
        }
    });
}

once! {
    /// See [`bias::backward`].
    pub fn backward<T>(p: &Plan, g: &[T], w_enc: &[T], db_enc: &[T::Acc], db_dec: &mut [T::Acc]) = backward_impl;
}

fn backward_impl<T: Float>(p: &Plan, g: &[T], w_enc: &[T], db_enc: &[T::Acc], db_dec: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 {
        return bias::backward(p, g, w_enc, db_enc, db_dec);
    }
    let (level, dim) = (Level::best(), p.dim());
    let ([rows, _], [g_stride, _], [w_stride, _]) = (p.g().dims(), p.g().strides(), p.w().strides());
    let g_blocks = rows.div_ceil(BLOCK);
    let blocks = (0..g_blocks + p.n().div_ceil(BLOCK)).collect();
    let sums = tasks(blocks, |_, block: usize| {
        let mut sum = vec![0.0; dim];
        let rows: Vec<(f32, &[T])> = if block < g_blocks {
            let some = block * BLOCK..rows.min((block + 1) * BLOCK);
            some.map(|r| (1.0, &g[r * g_stride..][..dim])).collect()
        } else {
            let first = (block - g_blocks) * BLOCK;
            let some = first..p.n().min(first + BLOCK);
            some.map(|l| (-db_enc[l].to_f32(), &w_enc[l * w_stride..][..dim])).collect()
        };
        gather::add_rows(level, &mut sum, &rows, &[]);
        sum
    });
    for (c, out) in db_dec[..dim].iter_mut().enumerate() {
        let before = if p.accumulate() == Accumulate::Add { out.to_f32() } else { 0.0 };
        *out = T::Acc::from_f32(sums.iter().fold(before, |all, sum| all + sum[c]));
    }
}
