//! [`latens_kernels::norm`] on the host.
use crate::{Level, math, rows};
use latens_kernels::{
    DType, Float,
    norm::{Norm, Plan},
};

/// See [`latens_kernels::norm::forward`]. Statistics in `f32`, of the row less its mean.
pub fn forward<T: Float>(p: &Plan, x: &[T], weight: &[T::Acc], bias: Option<&[T::Acc]>, y: &mut [T]) {
    forward_at(Level::best(), p, x, weight, bias, y);
}

/// [`forward`] with the instructions of `level`.
pub fn forward_at<T: Float>(level: Level, p: &Plan, x: &[T], weight: &[T::Acc], bias: Option<&[T::Acc]>, y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::norm::forward(p, x, weight, bias, y);
    }
    let [rows, n] = p.out();
    rows::each_one(n, &mut y[..rows * n], |r, y| {
        let row = &x[r * p.stride()..][..n];
        level.run(
            #[inline(always)]
            |_| {
                let center = if p.norm() == Norm::Layer { math::sum(row, T::to_f32) / n as f32 } else { 0.0 };
                let square = math::sum(row, |x| (x.to_f32() - center) * (x.to_f32() - center)) / n as f32;
                let factor = (1.0 / latens_kernels::math::sqrt(f64::from(square) + f64::from(p.eps()))) as f32;
                let scaled = |x: T, w: T::Acc| (x.to_f32() - center) * factor * w.to_f32();
                let row = row.iter().zip(weight);
                match bias {
                    Some(bias) => {
                        for ((y, (&x, &w)), b) in y.iter_mut().zip(row).zip(bias) {
                            *y = T::from_f32(scaled(x, w) + b.to_f32());
                        }
                    }
                    None => {
                        for (y, (&x, &w)) in y.iter_mut().zip(row) {
                            *y = T::from_f32(scaled(x, w));
                        }
                    }
                }
            },
        );
    });
}
