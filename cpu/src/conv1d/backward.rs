//! Gradients: first those before SiLU, by row; from them those of inputs, of states and of weights.
use super::{Call, TAPS};
use crate::once::once;
use crate::{math, rows, simd::best};
use alloc::{vec, vec::Vec};
use latens_kernels::route::{Sequence, Tables};
use latens_kernels::{DType, Float, Result, conv1d::Plan};

/// Channels that one thread sums the gradients of at a time, and rows between two roundings to the total.
const CHANNELS: usize = 64;
const ROWS: usize = 256;

once! {
    /// See [`latens_kernels::conv1d::backward`].
    ///
    /// # Errors
    /// As there.
    pub fn backward<T>(
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        tables: Tables<&[u32]>,
        initial: Option<&[T]>,
        dy: &[T],
        dlast: Option<&[T]>,
        dx: Option<&mut [T]>,
        dweight: Option<&mut [T::Acc]>,
        dbias: Option<&mut [T::Acc]>,
        dinitial: Option<&mut [T]>,
    ) -> Result<()> = backward_impl;
}

fn backward_impl<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    tables: Tables<&[u32]>,
    initial: Option<&[T]>,
    dy: &[T],
    dlast: Option<&[T]>,
    dx: Option<&mut [T]>,
    dweight: Option<&mut [T::Acc]>,
    dbias: Option<&mut [T::Acc]>,
    dinitial: Option<&mut [T]>,
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        let call = latens_kernels::conv1d::backward;
        return call(p, x, weight, bias, tables, initial, dy, dlast, dx, dweight, dbias, dinitial);
    }
    p.route().check("conv1d", tables)?;
    let call = Call::new(p, x, weight, bias, tables, initial);
    let slopes = slopes(&call, dy);
    if let Some(dx) = dx {
        inputs(&call, &slopes, dlast, &mut dx[..p.route().rows() * p.columns()]);
    }
    if let Some(dinitial) = dinitial {
        befores(&call, &slopes, dlast, dinitial);
    }
    if dweight.is_some() || dbias.is_some() {
        weights(&call, &slopes, dweight, dbias);
    }
    Ok(())
}

/// The gradients before SiLU, by row.
fn slopes<T: Float>(call: &Call<'_, T>, dy: &[T]) -> Vec<f32> {
    let (p, route, n) = (call.p, call.p.route(), call.per_order());
    let mut slopes = vec![0.0; route.rows() * p.channels()];
    rows::each_one(p.channels(), &mut slopes, |row, slopes| {
        for (order, slopes) in slopes.chunks_mut(n.max(1)).enumerate() {
            let dy = &dy[p.dy_row(row) + order * n..][..n];
            if !p.silu() {
                slopes.iter_mut().zip(dy).for_each(|(slope, dy)| *slope = dy.to_f32());
                continue;
            }
            let at = call.position(order, row);
            let s = route.find(call.tables, row / route.len(), at);
            best(
                #[inline(always)]
                |fused| {
                    call.pre(fused, &s, order, at - s.begin, slopes);
                    for (slope, dy) in slopes.iter_mut().zip(dy) {
                        let (x, s) = (*slope, 1.0 / (1.0 + math::exp(fused, -*slope)));
                        *slope = dy.to_f32() * s * fused.mul_add(x, 1.0 - s, 1.0);
                    }
                },
            );
        }
    });
    slopes
}

/// Add the gradient of input `i` of a sequence to that of an order's columns.
fn add<T: Float>(
    call: &Call<'_, T>,
    slopes: &[f32],
    dlast: Option<&[T]>,
    s: &Sequence,
    order: usize,
    i: isize,
    sum: &mut [f32],
) {
    let (n, [_, before, channels]) = (call.per_order(), call.p.state());
    best(
        #[inline(always)]
        |fused| {
            for w in 0..=before {
                // Tap w of the row that is before - w later.
                let Some(at) = i.checked_add_unsigned(before - w).and_then(|at| usize::try_from(at).ok()) else {
                    continue;
                };
                if at < s.len() {
                    let row = call.p.route().row(call.tables, order, s.batch, s.begin + at);
                    let slope = &slopes[row * channels + order * n..][..n];
                    let tap = &call.taps[w * channels + order * n..][..n];
                    for ((sum, &tap), &slope) in sum.iter_mut().zip(tap).zip(slope) {
                        *sum = fused.mul_add(tap, slope, *sum);
                    }
                }
            }
            let end = i + before as isize - s.len() as isize;
            if let (Ok(j), Some(dlast)) = (usize::try_from(end), dlast) {
                let dlast = &dlast[(s.index * before + j) * channels + order * n..][..n];
                sum.iter_mut().zip(dlast).for_each(|(sum, dlast)| *sum += dlast.to_f32());
            }
        },
    );
}

fn inputs<T: Float>(call: &Call<'_, T>, slopes: &[f32], dlast: Option<&[T]>, dx: &mut [T]) {
    let (p, route, n) = (call.p, call.p.route(), call.per_order());
    rows::each_one(p.columns(), dx, |row, dx| {
        let mut sums = vec![0.0; p.columns()];
        let shared = p.columns() != p.channels();
        for order in 0..route.orders() {
            let at = call.position(order, row);
            let s = route.find(call.tables, row / route.len(), at);
            let sum = &mut sums[if shared { 0 } else { order * n }..][..n];
            add(call, slopes, dlast, &s, order, (at - s.begin) as isize, sum);
        }
        dx.iter_mut().zip(sums).for_each(|(dx, sum)| *dx = T::from_f32(sum));
    });
}

/// What preceded each sequence.
fn befores<T: Float>(call: &Call<'_, T>, slopes: &[f32], dlast: Option<&[T]>, dinitial: &mut [T]) {
    let ([sequences, before, channels], n) = (call.p.state(), call.per_order());
    let mut sum = vec![0.0; n];
    for s in (0..sequences).map(|s| call.p.route().sequence(call.tables, s)) {
        for j in 0..before {
            for order in 0..call.p.route().orders() {
                sum.fill(0.0);
                add(call, slopes, dlast, &s, order, j as isize - before as isize, &mut sum);
                let to = &mut dinitial[(s.index * before + j) * channels + order * n..][..n];
                to.iter_mut().zip(&sum).for_each(|(to, &sum)| *to = T::from_f32(sum));
            }
        }
    }
}

/// Sums over all rows, a few channels at a time: rows in order, so that threads change nothing.
fn weights<T: Float>(call: &Call<'_, T>, slopes: &[f32], dweight: Option<&mut [T::Acc]>, dbias: Option<&mut [T::Acc]>) {
    let (p, route, n) = (call.p, call.p.route(), call.per_order());
    let (width, parts) = (p.width(), n.div_ceil(CHANNELS));
    let sums = rows::collect(route.orders() * parts, |part| {
        let (order, first) = (part / parts, part % parts * CHANNELS);
        let mut total = [[0.0_f64; CHANNELS]; TAPS + 1];
        let mut some = [[0.0_f32; CHANNELS]; TAPS + 1];
        let mut count = 0;
        for s in (0..route.sequences()).map(|s| route.sequence(call.tables, s)) {
            for i in 0..s.len() {
                let row = route.row(call.tables, order, s.batch, s.begin + i);
                let lanes = (n - first).min(CHANNELS);
                let slope = &slopes[row * p.channels() + order * n + first..][..lanes];
                let reach = |w: usize| (i + w) as isize - (width - 1) as isize;
                best(
                    #[inline(always)]
                    |fused| {
                        for (w, some) in some[..width].iter_mut().enumerate() {
                            if let Some(input) = call.input(&s, order, reach(w)) {
                                for ((some, &slope), x) in some.iter_mut().zip(slope).zip(&input[first..]) {
                                    *some = fused.mul_add(slope, x.to_f32(), *some);
                                }
                            }
                        }
                        some[TAPS].iter_mut().zip(slope).for_each(|(some, slope)| *some += slope);
                    },
                );
                count += 1;
                if count % ROWS == 0 {
                    drain(&mut some, &mut total);
                }
            }
        }
        drain(&mut some, &mut total);
        total
    });
    let of = |channel: usize, tap: usize| {
        let within = channel % n;
        T::Acc::narrow(sums[channel / n * parts + within / CHANNELS][tap][within % CHANNELS])
    };
    for (channel, to) in dweight.into_iter().flat_map(|to| to.chunks_mut(width)).enumerate().take(p.channels()) {
        to.iter_mut().enumerate().for_each(|(w, to)| *to = of(channel, w));
    }
    for (channel, to) in dbias.into_iter().flatten().enumerate().take(p.channels()) {
        *to = of(channel, TAPS);
    }
}

fn drain(some: &mut [[f32; CHANNELS]; TAPS + 1], total: &mut [[f64; CHANNELS]; TAPS + 1]) {
    for (total, some) in total.as_flattened_mut().iter_mut().zip(some.as_flattened_mut()) {
        *total += f64::from(core::mem::take(some));
    }
}
