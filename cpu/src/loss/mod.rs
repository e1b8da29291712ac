//! [`latens_kernels::loss`] on the host.
pub mod mse;

use crate::once::once;
use crate::{Level, math, rows};
use latens_kernels::{
    DType, Float, Result, loss,
    loss::{IGNORED, Plan},
};

/// Logits that stay in the first cache between the search for the largest and the sum, and between being read and their
/// gradients being written.
const TILE: usize = 2048;

once! {
    /// See [`latens_kernels::loss::forward`]. A row is read once: what was summed so far is scaled when a larger logit comes.
    ///
    /// # Errors
    /// `Range` if a target is no class and not [`IGNORED`]; nothing is written then.
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        logits: &[T],
        targets: &[u32],
        losses: &mut [T::Acc],
    ) -> Result<()> = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, logits: &[T], targets: &[u32], losses: &mut [T::Acc]) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return loss::forward(p, logits, targets, losses);
    }
    p.check(targets)?;
    let ([rows, classes], stride) = (p.logits().dims(), p.logits().strides()[0]);
    rows::each_one(1, &mut losses[..rows], |r, loss| {
        let row = &logits[r * stride..][..classes];
        loss[0] = T::Acc::narrow(Row::of(level, p, row, targets[r]).map_or(0.0, |row| row.loss()));
    });
    Ok(())
}

once! {
    /// See [`latens_kernels::loss::backward`].
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        logits: &[T],
        targets: &[u32],
        dlosses: &[T::Acc],
        losses: Option<&mut [T::Acc]>,
        dlogits: &mut [T],
    ) -> Result<()> = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    logits: &[T],
    targets: &[u32],
    dlosses: &[T::Acc],
    losses: Option<&mut [T::Acc]>,
    dlogits: &mut [T],
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return loss::backward(p, logits, targets, dlosses, losses, dlogits);
    }
    p.check(targets)?;
    let ([rows, classes], stride) = (p.logits().dims(), p.logits().strides()[0]);
    each_row(rows, classes, 0.0, &mut dlogits[..rows * classes], losses, |r, slopes| {
        let row = &logits[r * stride..][..classes];
        let Some(seen) = Row::of(level, p, row, targets[r]) else {
            slopes.fill(T::default());
            return 0.0;
        };
        for (tile, slopes) in row.chunks(TILE).zip(slopes.chunks_mut(TILE)) {
            seen.slopes(level, dlosses[r].to_f32(), tile, slopes);
        }
        seen.finish(dlosses[r].wide(), slopes)
    });
    Ok(())
}

once! {
    /// See [`latens_kernels::loss::backward_in_place`].
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward_in_place;
    /// [`backward_in_place`] with the instructions of `level`.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn backward_in_place_at<T>(
        level: Level,
        p: &Plan,
        logits: &mut [T],
        targets: &[u32],
        dlosses: &[T::Acc],
        losses: Option<&mut [T::Acc]>,
    ) -> Result<()> = backward_in_place_impl;
}

fn backward_in_place_impl<T: Float>(
    level: Level,
    p: &Plan,
    logits: &mut [T],
    targets: &[u32],
    dlosses: &[T::Acc],
    losses: Option<&mut [T::Acc]>,
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return loss::backward_in_place(p, logits, targets, dlosses, losses);
    }
    p.check(targets)?;
    let ([rows, classes], [stride, _]) = (p.logits().dims(), p.logits().strides());
    each_row(rows, stride, 0.0, &mut logits[..p.logits().span()], losses, |r, row| {
        let row = &mut row[..classes];
        let Some(seen) = Row::of(level, p, row, targets[r]) else {
            row.fill(T::default());
            return 0.0;
        };
        let mut held = [T::default(); TILE];
        for slopes in row.chunks_mut(TILE) {
            let tile = &mut held[..slopes.len()];
            tile.copy_from_slice(slopes);
            seen.slopes(level, dlosses[r].to_f32(), tile, slopes);
        }
        seen.finish(dlosses[r].wide(), row)
    });
    Ok(())
}

/// `work` on every row of gradients, which gives its loss; a row without entries has the loss `nothing`.
fn each_row<T: Float>(
    rows: usize,
    pitch: usize,
    nothing: f64,
    slopes: &mut [T],
    losses: Option<&mut [T::Acc]>,
    work: impl Fn(usize, &mut [T]) -> f64 + Sync,
) {
    let found = rows::gather(pitch.max(1), slopes, |at, row| work(at / pitch, row));
    if let Some(losses) = losses {
        let found = found.into_iter().chain(core::iter::repeat(nothing));
        losses[..rows].iter_mut().zip(found).for_each(|(loss, found)| *loss = T::Acc::narrow(found));
    }
}

/// What a first reading of a row finds.
struct Row {
    target: usize,
    aim: f64,
    top: f32,
    /// The sum of `exp(x - top)`, and of `x - aim`.
    total: f64,
    off: f64,
    classes: f64,
    smoothing: f64,
}

impl Row {
    /// Nothing if the row is ignored.
    fn of<T: Float>(level: Level, p: &Plan, row: &[T], target: u32) -> Option<Self> {
        if target == IGNORED {
            return None;
        }
        let smooth = p.smoothing() > 0.0;
        let aim = row[target as usize].to_f32();
        let (mut top, mut total, mut off) = (f32::NEG_INFINITY, 0.0_f64, 0.0_f64);
        for tile in row.chunks(TILE) {
            let (larger, sum, away) = level.run(
                #[inline(always)]
                |fused| {
                    let larger = math::max(tile, T::to_f32).max(top);
                    let shift = if larger == f32::NEG_INFINITY { 0.0 } else { larger };
                    let away = if smooth { math::sum(tile, |x| x.to_f32() - aim) } else { 0.0 };
                    (larger, math::sum(tile, |x| math::exp(fused, x.to_f32() - shift)), away)
                },
            );
            if larger > top {
                total *= latens_kernels::math::exp(f64::from(top) - f64::from(larger));
            }
            (top, total, off) = (larger, total + f64::from(sum), off + f64::from(away));
        }
        if top == f32::NEG_INFINITY {
            total = f64::NAN;
        }
        let (classes, smoothing) = (row.len() as f64, f64::from(p.smoothing()));
        Some(Self { target: target as usize, aim: f64::from(aim), top, total, off, classes, smoothing })
    }

    /// `(1 - s) (lse - aim) + s (lse - mean)`, by the distances from the target.
    fn loss(&self) -> f64 {
        let sharp = latens_kernels::math::ln(self.total) + f64::from(self.top) - self.aim;
        let smooth = self.smoothing > 0.0 && sharp < f64::INFINITY;
        if smooth { sharp - self.smoothing * (self.off / self.classes) } else { sharp }
    }

    /// The gradients of a tile as if no class in it were the target.
    fn slopes<T: Float>(&self, level: Level, dloss: f32, tile: &[T], slopes: &mut [T]) {
        let (top, share, even) = (self.top, (1.0 / self.total) as f32, (self.smoothing / self.classes) as f32);
        level.run(
            #[inline(always)]
            |fused| {
                for (slope, x) in slopes.iter_mut().zip(tile) {
                    let e = math::exp(fused, x.to_f32() - top);
                    *slope = T::from_f32(fused.mul_add(e, share, -even) * dloss);
                }
            },
        );
    }

    /// Mend the gradient of the target, and give the loss.
    fn finish<T: Float>(&self, dloss: f64, slopes: &mut [T]) -> f64 {
        let share = latens_kernels::math::exp(self.aim - f64::from(self.top)) / self.total;
        slopes[self.target] = T::narrow((share - (1.0 - self.smoothing) - self.smoothing / self.classes) * dloss);
        self.loss()
    }
}
