//! [`latens_kernels::map`] on the host.
use crate::once::once;
use crate::{Level, rows};
use latens_kernels::{DType, Element, Float, map::Plan};

/// See [`latens_kernels::map::copy`].
pub fn copy<T: Element>(p: &Plan, x: &[T], y: &mut [T]) {
    each(p, x, y, |x, y| y.copy_from_slice(x));
}

/// See [`latens_kernels::map::cast`].
pub fn cast<T: Float, U: Float>(p: &Plan, x: &[T], y: &mut [U]) {
    cast_at(Level::best(), p, x, y);
}

/// [`cast`] with the instructions of `level`.
pub fn cast_at<T: Float, U: Float>(level: Level, p: &Plan, x: &[T], y: &mut [U]) {
    if T::DTYPE == DType::F64 || U::DTYPE == DType::F64 {
        return latens_kernels::map::cast(p, x, y);
    }
    each(p, x, y, |x, y| {
        level.run(
            #[inline(always)]
            |_| y.iter_mut().zip(x).for_each(|(y, x)| *y = U::from_f32(x.to_f32())),
        );
    });
}

once! {
    /// See [`latens_kernels::map::add`].
    pub fn add;
    /// [`add`] with the instructions of `level`.
    pub fn add_at<T>(level: Level, p: &Plan, x: &[T], y: &mut [T]) = add_impl;
}

fn add_impl<T: Float>(level: Level, p: &Plan, x: &[T], y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::map::add(p, x, y);
    }
    each(p, x, y, |x, y| {
        level.run(
            #[inline(always)]
            |_| y.iter_mut().zip(x).for_each(|(y, x)| *y = T::from_f32(y.to_f32() + x.to_f32())),
        );
    });
}

once! {
    /// See [`latens_kernels::map::scale`].
    pub fn scale;
    /// [`scale`] with the instructions of `level`.
    pub fn scale_at<T>(level: Level, p: &Plan, factor: f32, y: &mut [T]) = scale_impl;
}

fn scale_impl<T: Float>(level: Level, p: &Plan, factor: f32, y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return latens_kernels::map::scale(p, factor, y);
    }
    for r in 0..p.rows() {
        rows::pieces(&mut y[p.row(r)[1]..][..p.n()], |_, y| {
            level.run(
                #[inline(always)]
                |_| y.iter_mut().for_each(|y| *y = T::from_f32(y.to_f32() * factor)),
            );
        });
    }
}

fn each<T: Element, U: Element>(p: &Plan, x: &[T], y: &mut [U], work: impl Fn(&[T], &mut [U]) + Sync) {
    for r in 0..p.rows() {
        let [x_at, y_at] = p.row(r);
        let x = &x[x_at..][..p.n()];
        rows::pieces(&mut y[y_at..][..p.n()], |at, y| work(&x[at..][..y.len()], y));
    }
}
