//! [`latens_kernels::loss::mse`] on the host.
use super::{TILE, each_row};
use crate::once::once;
use crate::{Level, math, rows};
pub use latens_kernels::loss::mse::Plan;
use latens_kernels::{
    DType, Float,
    loss::mse::{self, EPSILON},
};

once! {
    /// See [`mse::forward`].
    pub fn forward;
    /// [`forward`] with the instructions of `level`.
    pub fn forward_at<T>(level: Level, p: &Plan, x: &[T], y: &[T], losses: &mut [T::Acc]) = forward_impl;
}

fn forward_impl<T: Float>(level: Level, p: &Plan, x: &[T], y: &[T], losses: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 {
        return mse::forward(p, x, y, losses);
    }
    rows::each_one(1, &mut losses[..p.out()[0]], |r, loss| {
        loss[0] = T::Acc::narrow(visit(level, p, x, y, r, |_, _| ()));
    });
}

once! {
    /// See [`mse::backward`].
    pub fn backward;
    /// [`backward`] with the instructions of `level`.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        y: &[T],
        dlosses: &[T::Acc],
        losses: Option<&mut [T::Acc]>,
        dx: &mut [T],
    ) = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    y: &[T],
    dlosses: &[T::Acc],
    losses: Option<&mut [T::Acc]>,
    dx: &mut [T],
) {
    if T::DTYPE == DType::F64 {
        return mse::backward(p, x, y, dlosses, losses, dx);
    }
    let [rows, n] = p.x().dims();
    each_row(rows, n, f64::NAN, &mut dx[..rows * n], losses, |r, dx| {
        let factor = (dlosses[r].wide() * 2.0 / n as f64) as f32;
        visit(level, p, x, y, r, |at, away| {
            level.run(
                #[inline(always)]
                |_| {
                    for (dx, away) in dx[at..].iter_mut().zip(away) {
                        *dx = T::from_f32(factor * away);
                    }
                },
            );
        })
    });
}

/// The loss of row `r`; `tile(at, away)` for each piece of `x - t` on the way.
fn visit<T: Float>(level: Level, p: &Plan, x: &[T], y: &[T], r: usize, mut tile: impl FnMut(usize, &[f32])) -> f64 {
    let n = p.x().dims()[1];
    let [x, y] = [(x, p.x()), (y, p.y())].map(|(x, layout)| &x[r * layout.strides()[0]..][..n]);
    let targets = Targets::of(level, p.normalise(), y);
    let (mut held, mut squares) = ([0.0; TILE], 0.0);
    for (piece, (x, y)) in x.chunks(TILE).zip(y.chunks(TILE)).enumerate() {
        let away = &mut held[..x.len()];
        squares += level.run(
            #[inline(always)]
            |_| {
                for ((away, x), y) in away.iter_mut().zip(x).zip(y) {
                    *away = x.to_f32() - targets.at(y.to_f32());
                }
                f64::from(math::sum(away, |away| away * away))
            },
        );
        tile(piece * TILE, away);
    }
    squares / n as f64
}

/// How the targets of a row are read.
struct Targets {
    /// Their mean, and what that misses of it.
    mean: f32,
    rest: f32,
    scale: f32,
}

impl Targets {
    fn of<T: Float>(level: Level, normalise: bool, y: &[T]) -> Self {
        if !normalise {
            return Self { mean: 0.0, rest: 0.0, scale: 1.0 };
        }
        let n = y.len() as f64;
        let mean = (sum(level, y, |y| y) / n) as f32;
        let rest = sum(level, y, |y| y - mean) / n;
        let squares = sum(level, y, |y| (y - mean) * (y - mean));
        let variance = (squares - rest * rest * n) / (n - 1.0).max(1.0);
        let scale = 1.0 / latens_kernels::math::sqrt(variance + f64::from(EPSILON));
        Self { mean, rest: rest as f32, scale: scale as f32 }
    }

    #[inline(always)]
    fn at(&self, y: f32) -> f32 {
        (y - self.mean - self.rest) * self.scale
    }
}

/// The sum of `of(y)` over a row.
fn sum<T: Float>(level: Level, y: &[T], of: impl Fn(f32) -> f32) -> f64 {
    let tile = |tile: &[T]| {
        level.run(
            #[inline(always)]
            |_| math::sum(tile, |y| of(y.to_f32())),
        )
    };
    y.chunks(TILE).map(|of| f64::from(tile(of))).sum()
}
