//! [`latens_kernels::conv1d`] on the host.
//!
//! A row of `y` is made of the rows it depends on, with channels in lanes: the taps of a channel lie beside those of its
//! neighbours. Rows are shared out, and none is read twice from memory but by the next `width - 1`. Floor: the bytes of the
//! contract while they pass a core, and about 20 instructions of SiLU for each vector of lanes.
mod backward;

pub use backward::backward;

use crate::once::once;
use crate::{math, rows, simd::Fused, simd::best};
use alloc::{vec, vec::Vec};
use latens_kernels::route::{Sequence, Tables};
use latens_kernels::{DType, Float, Result, conv1d::Plan};

/// The most taps.
const TAPS: usize = 4;

/// What a call reads, ready for rows.
struct Call<'a, T: Float> {
    p: &'a Plan,
    x: &'a [T],
    initial: Option<&'a [T]>,
    tables: Tables<&'a [u32]>,
    /// Tap by tap, the bias last.
    taps: Vec<f32>,
    /// Position by row, where rows are not read as they lie.
    position: Option<Vec<u32>>,
}

impl<'a, T: Float> Call<'a, T> {
    fn new(
        p: &'a Plan,
        x: &'a [T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        tables: Tables<&'a [u32]>,
        initial: Option<&'a [T]>,
    ) -> Self {
        let (channels, width, route) = (p.channels(), p.width(), p.route());
        let mut taps = vec![0.0; (width + 1) * channels];
        for (channel, weight) in weight.chunks(p.weight().strides()[0].max(1)).enumerate().take(channels) {
            for (w, weight) in weight[..width].iter().enumerate() {
                taps[w * channels + channel] = weight.to_f32();
            }
        }
        for (tap, bias) in taps[width * channels..].iter_mut().zip(bias.unwrap_or_default()) {
            *tap = bias.to_f32();
        }
        let position = tables.orders.map(|_| {
            let mut position = vec![0; route.orders() * route.len()];
            for order in 0..route.orders() {
                for at in 0..route.len() {
                    position[order * route.len() + route.row(tables, order, 0, at)] = at as u32;
                }
            }
            position
        });
        Self { p, x, initial, tables, taps, position }
    }

    fn per_order(&self) -> usize {
        self.p.channels() / self.p.route().orders()
    }

    /// Where row `row` stands in an order.
    fn position(&self, order: usize, row: usize) -> usize {
        let len = self.p.route().len();
        self.position.as_ref().map_or(row % len, |table| table[order * len + row % len] as usize)
    }

    /// The inputs of an order's channels at position `i` of a sequence, or before it; nothing for zeros.
    fn input(&self, s: &Sequence, order: usize, i: isize) -> Option<&'a [T]> {
        let (n, shared) = (self.per_order(), self.p.columns() != self.p.channels());
        match usize::try_from(i) {
            Ok(i) => {
                let row = self.p.route().row(self.tables, order, s.batch, s.begin + i);
                Some(&self.x[self.p.x_row(row) + if shared { 0 } else { order * n }..][..n])
            }
            Err(_) => {
                let [_, before, channels] = self.p.state();
                let row = s.index * before + before.wrapping_add_signed(i);
                self.initial.map(|initial| &initial[row * channels + order * n..][..n])
            }
        }
    }

    /// What SiLU is taken of, for the channels of an order at position `i` of a sequence. Part of whoever calls it: on its own
    /// it would lack the instructions that `fused` stands for, and call a function for each product.
    #[inline(always)]
    fn pre(&self, fused: Fused, s: &Sequence, order: usize, i: usize, pre: &mut [f32]) {
        let (n, channels, width) = (self.per_order(), self.p.channels(), self.p.width());
        pre.copy_from_slice(&self.taps[width * channels + order * n..][..n]);
        let reach = |w: usize| (i + w) as isize - (width - 1) as isize;
        // All taps at once, but at the beginning.
        let inputs: [Option<&[T]>; TAPS] =
            core::array::from_fn(|w| if w < width { self.input(s, order, reach(w)) } else { None });
        let tap = |w: usize| &self.taps[w * channels + order * n..][..n];
        if let (4, [Some(a), Some(b), Some(c), Some(d)]) = (width, inputs) {
            let (ta, tb, tc, td) = (tap(0), tap(1), tap(2), tap(3));
            for (k, pre) in pre.iter_mut().enumerate() {
                let sum = fused.mul_add(ta[k], a[k].to_f32(), *pre);
                let sum = fused.mul_add(tb[k], b[k].to_f32(), sum);
                let sum = fused.mul_add(tc[k], c[k].to_f32(), sum);
                *pre = fused.mul_add(td[k], d[k].to_f32(), sum);
            }
            return;
        }
        for (w, input) in inputs.into_iter().enumerate() {
            // Zeros before a sequence count as numbers: a tap that is not finite shows.
            let tap = if w < width { tap(w) } else { continue };
            match input {
                Some(input) => {
                    for ((pre, &tap), x) in pre.iter_mut().zip(tap).zip(input) {
                        *pre = fused.mul_add(tap, x.to_f32(), *pre);
                    }
                }
                None => {
                    for (pre, &tap) in pre.iter_mut().zip(tap) {
                        *pre = fused.mul_add(tap, 0.0, *pre);
                    }
                }
            }
        }
    }
}

once! {
    /// See [`latens_kernels::conv1d::forward`].
    ///
    /// # Errors
    /// As there.
    pub fn forward<T>(
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        tables: Tables<&[u32]>,
        initial: Option<&[T]>,
        y: &mut [T],
        last: Option<&mut [T]>,
    ) -> Result<()> = forward_impl;
}

fn forward_impl<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    tables: Tables<&[u32]>,
    initial: Option<&[T]>,
    y: &mut [T],
    last: Option<&mut [T]>,
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::conv1d::forward(p, x, weight, bias, tables, initial, y, last);
    }
    p.route().check("conv1d", tables)?;
    let (call, route) = (Call::new(p, x, weight, bias, tables, initial), p.route());
    let (n, channels) = (call.per_order(), p.channels());
    rows::each_one(channels, &mut y[..route.rows() * channels], |row, y| {
        let mut pre = vec![0.0; n];
        for (order, y) in y.chunks_mut(n.max(1)).enumerate() {
            let at = call.position(order, row);
            let s = route.find(tables, row / route.len(), at);
            best(
                #[inline(always)]
                |fused| {
                    call.pre(fused, &s, order, at - s.begin, &mut pre);
                    // No for_each where there are products: it may become a function without their instructions.
                    for (y, &x) in y.iter_mut().zip(&pre) {
                        *y = T::from_f32(if p.silu() { math::silu(fused, x) } else { x });
                    }
                },
            );
        }
    });
    if let Some(last) = last {
        ends(&call, last);
    }
    Ok(())
}

/// The end of every sequence.
fn ends<T: Float>(call: &Call<'_, T>, last: &mut [T]) {
    let ([sequences, before, channels], n) = (call.p.state(), call.per_order());
    for s in (0..sequences).map(|s| call.p.route().sequence(call.tables, s)) {
        for j in 0..before {
            let to = &mut last[(s.index * before + j) * channels..][..channels];
            for (order, to) in to.chunks_mut(n.max(1)).enumerate() {
                match call.input(&s, order, (s.len() + j) as isize - before as isize) {
                    Some(from) => to.copy_from_slice(from),
                    None => to.fill(T::default()),
                }
            }
        }
    }
}

once! {
    /// See [`latens_kernels::conv1d::step`].
    ///
    /// # Errors
    /// As there.
    pub fn step<T>(
        p: &Plan,
        x: &[T],
        weight: &[T::Acc],
        bias: Option<&[T::Acc]>,
        state: &mut [T],
        y: &mut [T],
    ) -> Result<()> = step_impl;
}

fn step_impl<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    state: &mut [T],
    y: &mut [T],
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::conv1d::step(p, x, weight, bias, state, y);
    }
    forward(p, x, weight, bias, Tables::default(), Some(state), y, None)?;
    let [batch, before, channels] = p.state();
    for b in 0..batch {
        let state = &mut state[b * before * channels..][..before * channels];
        state.copy_within(channels.., 0);
        state[(before - 1) * channels..].copy_from_slice(&x[p.x_row(b)..][..channels]);
    }
    Ok(())
}
