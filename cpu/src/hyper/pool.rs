//! [`latens_kernels::hyper::pool`] on the host.
use super::gather::{Members, products, sum_all, sum_one};
use super::{by_entry, by_row};
use crate::once::once;
use crate::{level::Level, simd::best};
use alloc::vec::Vec;
use latens_kernels::hyper::pool::{self, Plan};
use latens_kernels::{DType, Float, hyper::Incidence};

/// What an entry weighs.
#[inline(always)]
fn weight<A: Float>(of: Incidence, a: Option<&[A]>, i: usize) -> f32 {
    a.map_or(1.0, |a| a[of.number(i)].to_f32())
}

once! {
    /// See [`pool::forward`].
    pub fn forward<T>(p: &Plan, of: Incidence, a: Option<&[T::Acc]>, x: &[T], y: &mut [T]) = forward_impl;
}

fn forward_impl<T: Float>(p: &Plan, of: Incidence, a: Option<&[T::Acc]>, x: &[T], y: &mut [T]) {
    if T::DTYPE == DType::F64 {
        return pool::forward(p, of, a, x, y);
    }
    let (dim, [stride, _]) = (p.dim(), p.x().strides());
    let members = &of.members[..of.count()];
    by_row::<T, ()>(of, &p.shape(), (y, dim), (&mut [], 0), |rows, y, _| {
        best(
            #[inline(always)]
            |fused| {
                for (r, at) in rows.clone().zip(0..) {
                    let (begin, y) = (of.row(r).start, &mut y[at * dim..][..dim]);
                    let row = Members { from: &members[begin..], count: of.row(r).len() };
                    let weight = |j: usize| weight(of, a, begin + j);
                    if dim == 1 {
                        y[0] = T::from_f32(sum_one(fused, row, weight, (x, stride), 0) + 0.0);
                        continue;
                    }
                    sum_all(fused, row, weight, (x, stride), dim, |k, sums| {
                        y[k..k + sums.len()].iter_mut().zip(sums).for_each(|(y, sum)| *y = T::from_f32(sum + 0.0));
                    });
                }
            },
        );
    });
}

/// Columns of which the largest are kept in registers.
const SLAB: usize = 32;

once! {
    /// See [`pool::largest`].
    pub fn largest<T>(
        p: &Plan,
        of: Incidence,
        a: Option<&[T::Acc]>,
        x: &[T],
        y: &mut [T],
        chosen: &mut [u32],
    ) = largest_impl;
}

fn largest_impl<T: Float>(p: &Plan, of: Incidence, a: Option<&[T::Acc]>, x: &[T], y: &mut [T], chosen: &mut [u32]) {
    if T::DTYPE == DType::F64 {
        return pool::largest(p, of, a, x, y, chosen);
    }
    let (dim, [stride, _], none) = (p.dim(), p.x().strides(), p.shape().entries() as u32);
    by_row(of, &p.shape(), (y, dim), (chosen, dim), |rows, y, chosen| {
        best(
            #[inline(always)]
            |_| {
                for (r, at) in rows.clone().zip(0..) {
                    let (y, chosen) = (&mut y[at * dim..][..dim], &mut chosen[at * dim..][..dim]);
                    for k in (0..dim).step_by(SLAB) {
                        let n = SLAB.min(dim - k);
                        let (mut top, mut whose) = ([0.0_f32; SLAB], [none; SLAB]);
                        for i in of.row(r) {
                            let (number, weight) = (of.number(i) as u32, weight(of, a, i));
                            let row = &x[of.members[i] as usize * stride + k..][..n];
                            for ((top, whose), x) in top.iter_mut().zip(&mut whose).zip(row) {
                                let term = weight * x.to_f32();
                                // As integers rank: NaN lowest, the zeros equal.
                                let better = term > *top || (top.is_nan() && !term.is_nan()) || *whose == none;
                                (*top, *whose) = if better { (term, number) } else { (*top, *whose) };
                            }
                        }
                        y[k..k + n].iter_mut().zip(top).for_each(|(y, top)| *y = T::from_f32(top));
                        chosen[k..k + n].copy_from_slice(&whose[..n]);
                    }
                }
            },
        );
    });
}

once! {
    /// See [`pool::largest_backward`].
    pub fn largest_backward<T>(
        p: &Plan,
        of: Incidence,
        a: Option<&[T::Acc]>,
        dy: &[T],
        chosen: &[u32],
        dx: &mut [T],
    ) = largest_backward_impl;
}

fn largest_backward_impl<T: Float>(
    p: &Plan,
    of: Incidence,
    a: Option<&[T::Acc]>,
    dy: &[T],
    chosen: &[u32],
    dx: &mut [T],
) {
    if T::DTYPE == DType::F64 {
        return pool::largest_backward(p, of, a, dy, chosen, dx);
    }
    let (dim, [stride, _]) = (p.dim(), p.x().strides());
    by_row::<T, ()>(of, &p.shape(), (dx, dim), (&mut [], 0), |rows, dx, _| {
        best(
            #[inline(always)]
            |_| {
                for (c, at) in rows.clone().zip(0..) {
                    let dx = &mut dx[at * dim..][..dim];
                    for k in (0..dim).step_by(SLAB) {
                        let n = SLAB.min(dim - k);
                        let mut sum = [0.0_f32; SLAB];
                        for i in of.row(c) {
                            let (r, number, weight) = (of.members[i] as usize, of.number(i) as u32, weight(of, a, i));
                            let (dy, chosen) = (&dy[r * stride + k..][..n], &chosen[r * dim + k..][..n]);
                            for ((sum, dy), &chosen) in sum.iter_mut().zip(dy).zip(chosen) {
                                *sum = if chosen == number { *sum + weight * dy.to_f32() } else { *sum };
                            }
                        }
                        dx[k..k + n].iter_mut().zip(sum).for_each(|(dx, sum)| *dx = T::from_f32(sum));
                    }
                }
            },
        );
    });
}

once! {
    /// See [`pool::dots`].
    pub fn dots<T>(p: &Plan, of: Incidence, dy: &[T], x: &[T], da: &mut [T::Acc]) = dots_impl;
}

fn dots_impl<T: Float>(p: &Plan, of: Incidence, dy: &[T], x: &[T], da: &mut [T::Acc]) {
    if T::DTYPE == DType::F64 {
        return pool::dots(p, of, dy, x, da);
    }
    let ([of_dy, _], [of_x, _], dim) = (p.dy().strides(), p.x().strides(), p.dim());
    let level = Level::best();
    by_entry(of, &p.shape(), da, |r, da| {
        if da.is_empty() {
            return;
        }
        let dy: Vec<f32> = dy[r * of_dy..][..dim].iter().map(|dy| dy.to_f32()).collect();
        for (da, &c) in da.iter_mut().zip(of.columns(r)) {
            [[*da]] = products(level, [&x[c as usize * of_x..][..dim]], [&dy]);
        }
    });
}
