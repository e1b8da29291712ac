//! [`latens_kernels::sae::decode`] on the host: a row of the batch at a time, sums in registers; or all sums first, by
//! slabs, where an `f32` batch names every latent several times. The bits are the same.
use super::{Level, gather, slab, tasks};
use crate::once::once;
use alloc::{vec, vec::Vec};
use latens_kernels::sae::{Codes, decode};
use latens_kernels::{DType, Float};

pub use latens_kernels::sae::decode::{Against, Plan};

once! {
    /// See [`decode::forward`].
    pub fn forward;
    /// [`forward`] with these instructions.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        codes: Codes<T::Acc>,
        w_dec: &[T],
        b_dec: Option<&[T::Acc]>,
        recon: &mut [T],
        against: Option<Against<T>>,
    ) = forward_impl;
}

/// Rows of a batch that one task decodes.
const BLOCK: usize = 16;

fn forward_impl<T: Float>(
    level: Level,
    p: &Plan,
    codes: Codes<T::Acc>,
    w_dec: &[T],
    b_dec: Option<&[T::Acc]>,
    recon: &mut [T],
    against: Option<Against<T>>,
) {
    let (rows, dim, n) = (p.rows(), p.dim(), p.n());
    if T::DTYPE == DType::F64 {
        return decode::forward(p, codes, w_dec, b_dec, recon, against);
    }
    if dim == 0 {
        against.into_iter().for_each(|against| against.error[..rows].fill(T::Acc::default()));
        return;
    }
    let b_dec: Option<Vec<f32>> = b_dec.map(|b| b.iter().map(|b| b.to_f32() + 0.0).collect());
    if slab::sums(level, p, codes, w_dec, b_dec.as_deref(), recon) {
        return compare(level, p, recon, against);
    }
    let ([stride, _], shape) = (p.w().strides(), p.shape());
    let named = |r: usize| {
        let slots = codes.row(&shape, r);
        let named = codes.latents[slots.clone()].iter().zip(&codes.values[slots]);
        let named = named.filter(|(latent, _)| (**latent as usize) < n);
        named.map(|(&latent, value)| (value.to_f32(), &w_dec[latent as usize * stride..][..dim]))
    };
    let x_stride = p.x().map_or(0, |x| x.strides()[0]);
    tasks(blocks(p, recon, against), |block, (recon, mut against)| {
        let first = block * BLOCK;
        let mut sum = vec![0.0; dim];
        let (mut latents, mut next): (Vec<_>, Vec<_>) = (named(first).collect(), Vec::new());
        for (i, recon) in recon.chunks_exact_mut(dim).enumerate() {
            next.clear();
            if first + i + 1 < rows {
                next.extend(named(first + i + 1));
            }
            match &b_dec {
                Some(b_dec) => sum.copy_from_slice(b_dec),
                None => sum.fill(0.0),
            }
            gather::add_rows(level, &mut sum, &latents, &next);
            match &mut against {
                Some((x, residual, error)) => {
                    let (x, residual) = (&x[i * x_stride..][..dim], &mut residual[i * dim..][..dim]);
                    error[i] = T::Acc::from_f32(gather::compare(level, &sum, x, recon, residual));
                }
                None => store(level, &sum, recon),
            }
            core::mem::swap(&mut latents, &mut next);
        }
    });
}

/// The rest, where the sums are in the place of the reconstruction.
fn compare<T: Float>(level: Level, p: &Plan, recon: &mut [T], against: Option<Against<T>>) {
    let (dim, x_stride) = (p.dim(), p.x().map_or(0, |x| x.strides()[0]));
    if against.is_none() {
        return;
    }
    tasks(blocks(p, recon, against), |_, (recon, against)| {
        let (Some((x, residual, error)), mut sum) = (against, vec![0.0; dim]) else { return };
        let rows = recon.chunks_exact_mut(dim).zip(residual.chunks_exact_mut(dim)).zip(error);
        for (i, ((recon, residual), error)) in rows.enumerate() {
            sum.iter_mut().zip(&*recon).for_each(|(sum, recon)| *sum = recon.to_f32());
            let x = &x[i * x_stride..][..dim];
            *error = T::Acc::from_f32(gather::compare(level, &sum, x, recon, residual));
        }
    });
}

/// Rows of the reconstruction and, of the same rows, `x`, the residual and the error.
type Block<'a, T> = (&'a mut [T], Option<(&'a [T], &'a mut [T], &'a mut [<T as Float>::Acc])>);

fn blocks<'a, T: Float>(p: &Plan, recon: &'a mut [T], against: Option<Against<'a, T>>) -> Vec<Block<'a, T>> {
    let (rows, dim) = (p.rows(), p.dim());
    let mut blocks: Vec<_> = recon[..rows * dim].chunks_mut(BLOCK * dim).map(|recon| (recon, None)).collect();
    let x_stride = p.x().map_or(0, |x| x.strides()[0]);
    if let Some(Against { x, residual, error }) = against {
        let parts = residual[..rows * dim].chunks_mut(BLOCK * dim).zip(error[..rows].chunks_mut(BLOCK));
        for ((block, (residual, error)), r) in blocks.iter_mut().zip(parts).zip((0..rows).step_by(BLOCK)) {
            block.1 = Some((&x[r * x_stride..], residual, error));
        }
    }
    blocks
}

fn store<T: Float>(level: Level, sum: &[f32], recon: &mut [T]) {
    level.run(
        #[inline(always)]
        |_| recon.iter_mut().zip(sum).for_each(|(recon, &sum)| *recon = T::from_f32(sum)),
    );
}
