//! What makes a step of a gradient, and what it remembers of one part of the weights.
use super::Rule;
use super::muon::muon;
use crate::{AdamW, Device, Result, Signum, Tensor, View, adamw_scheduled_into, adamw8_into, signum_into};
use rayon::prelude::*;

/// Entries that share a scale where means are kept in 8 bits.
const BLOCK: usize = 256;

/// Zero before the first step.
pub(super) enum Moments<const R: usize> {
    AdamW { mean: Tensor<f32, R>, square: Tensor<f32, R> },
    AdamW8 { mean: Tensor<u8, R>, square: Tensor<u8, R>, scales: Tensor<f32, 2> },
    Signum { beta: f32, mean: Tensor<f32, R> },
    Muon { beta: f32, mean: Tensor<f32, R> },
}

/// How far a step goes.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    /// AdamW's rates for some steps, and which of them this is.
    pub rates: View<'a, f32, 2>,
    pub at: View<'a, u32, 1>,
    /// The same, for what reads its rate on the host.
    pub now: AdamW,
}

impl<const R: usize> Moments<R> {
    /// Of a part with so many axes; a rule for matrices is AdamW for what is none, but for signum.
    pub fn new(rule: Rule, dims: [usize; R], device: &Device) -> Result<Self> {
        let mean = || Tensor::zeros(dims, device);
        Ok(match rule {
            Rule::Signum { beta } => Self::Signum { beta, mean: mean()? },
            Rule::Muon { beta } if R > 1 => Self::Muon { beta, mean: mean()? },
            Rule::AdamW8 if R > 1 => {
                let blocks = dims.iter().product::<usize>().div_ceil(BLOCK);
                let codes = || Tensor::zeros(dims, device);
                Self::AdamW8 { mean: codes()?, square: codes()?, scales: Tensor::zeros([blocks, 2], device)? }
            }
            _ => Self::AdamW { mean: mean()?, square: mean()? },
        })
    }

    /// A step of `w` along `g`.
    pub fn step(&mut self, w: &mut Tensor<f32, R>, g: &Tensor<f32, R>, pace: &Pace<'_>) -> Result<()> {
        let lr = pace.now.lr;
        match self {
            Self::AdamW { mean, square } => {
                let (mean, square) = (mean.view_mut(), square.view_mut());
                adamw_scheduled_into(w.view_mut(), g.view(), mean, square, pace.rates, pace.at)?;
            }
            Self::AdamW8 { mean, square, scales } => {
                let (mean, square, scales) = (mean.view_mut(), square.view_mut(), scales.view_mut());
                adamw8_into(w.view_mut(), g.view(), mean, square, scales, BLOCK, &pace.now)?;
            }
            Self::Signum { beta, mean } => {
                let rates = Signum { lr, beta: f64::from(*beta), weight_decay: 0.0 };
                signum_into(w.view_mut(), g.view(), mean.view_mut(), &rates)?;
            }
            Self::Muon { beta, mean } => {
                let dims = w.dims();
                let rows = dims[0];
                let flat = [rows, dims[1..].iter().product()];
                let (w, g) = (w.view_mut().reshape(flat)?, g.view().reshape(flat)?);
                muon(w, g, mean.view_mut().reshape(flat)?, *beta, lr as f32)?;
            }
        }
        Ok(())
    }

    /// [`step`](Self::step) at a rate that no schedule was laid down for.
    pub fn step_now(&mut self, w: &mut Tensor<f32, R>, g: &Tensor<f32, R>, now: &AdamW) -> Result<()> {
        let device = w.device();
        let rates = Tensor::from_vec(now.row()?.to_vec(), [1, AdamW::ROW], &device)?;
        let at = Tensor::zeros([1], &device)?;
        self.step(w, g, &Pace { rates: rates.view(), at: at.view(), now: *now })
    }

    /// The mean of gradients, where it is kept as it is.
    #[cfg(test)]
    pub fn mean(&self) -> &Tensor<f32, R> {
        match self {
            Self::AdamW { mean, .. } | Self::Signum { mean, .. } | Self::Muon { mean, .. } => mean,
            Self::AdamW8 { .. } => panic!("is in codes"),
        }
    }
}

/// Take from the rows of a gradient what would make rows of length 1 longer.
pub(super) fn tangent(w: &Tensor<f32, 2>, g: &mut Tensor<f32, 2>) -> Result<()> {
    let (d, copy) = (w.dims()[1], if w.host().is_some() { Vec::new() } else { w.to_vec()? });
    let w = w.host().unwrap_or(&copy);
    each_row(g, |row, g| {
        let w = &w[row * d..][..d];
        let along = g.iter().zip(w).map(|(&g, &w)| f64::from(g) * f64::from(w)).sum::<f64>() as f32;
        g.iter_mut().zip(w).for_each(|(g, w)| *g -= along * w);
    })
}

/// Divide rows by their lengths; one of zeros stays.
pub(super) fn unit(w: &mut Tensor<f32, 2>) -> Result<()> {
    each_row(w, |_, row| {
        let length = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) / length) as f32);
        }
    })
}

/// Change every row of a matrix, which passes through host memory.
pub(super) fn each_row(of: &mut Tensor<f32, 2>, change: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    let d = of.dims()[1].max(1);
    let all = |all: &mut [f32]| all.par_chunks_exact_mut(d).enumerate().for_each(|(at, row)| change(at, row));
    if let Some(host) = of.host_mut() {
        all(host);
        return Ok(());
    }
    let mut copy = of.to_vec()?;
    all(&mut copy);
    of.write(&copy)
}
