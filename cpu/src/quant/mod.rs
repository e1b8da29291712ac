//! [`latens_kernels::quant`] on the host: a task has some blocks, and goes over each while it is in the nearest cache.
mod block;
mod chance;
pub(crate) mod dynamic;

use crate::cast::cast;
use crate::level::Level;
use crate::once::once;
use crate::rows;
use crate::simd::prefetch_page;
use alloc::vec::Vec;
use block::{Scratch, codes_of, decode, gather};
use latens_kernels::quant::Plan;
use latens_kernels::quant::code::Coder;
use latens_kernels::{Accumulate, Float};

/// Numbers of a task.
const TASK: usize = 1 << 14;
/// Numbers of the largest block.
const LONGEST: usize = 4096;

/// What a task writes.
struct Task<'a> {
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    error: Option<&'a mut [f32]>,
    dropped: u32,
}

once! {
    /// See [`latens_kernels::quant::forward`].
    pub fn forward;
    /// [`forward`] by the instructions of `level`.
    pub fn forward_with<T>(
        level: Level,
        p: &Plan,
        x: &[T],
        error: Option<&mut [f32]>,
        codes: &mut [u8],
        scales: &mut [f32],
        dropped: &mut [u32],
    ) = forward_with_impl;
}

fn forward_with_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: &[T],
    error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
) {
    tasks(p, error, codes, scales, dropped, |first, task| {
        level.run(
            #[inline(always)]
            |_| {
                each(p, first, task, |first, len, to| {
                    prefetch_page(&x[first..][..len]);
                    let plain = cast::<T, f32>(&x[first..][..len]);
                    if plain.is_none() {
                        to.iter_mut().zip(&x[first..][..len]).for_each(|(to, x)| *to = x.to_f32());
                    }
                    plain
                });
            },
        );
    });
}

/// See [`latens_kernels::quant::sum`].
pub fn sum(
    p: &Plan,
    ranks: usize,
    factor: f32,
    (from, from_scales): (&[u8], &[f32]),
    error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
) {
    let [blocks, width] = p.scales();
    let format = p.settings().format;
    tasks(p, error, codes, scales, dropped, |first, task| {
        Level::best().run(
            #[inline(always)]
            |_| {
                let mut unpacked = [0; LONGEST];
                each(
                    p,
                    first,
                    task,
                    #[inline(always)]
                    |first, len, sum| {
                        sum.fill(0.0);
                        let at = first / p.block();
                        for rank in 0..ranks {
                            let scales = &from_scales[(rank * blocks + at) * width..][..width];
                            let codes = &from[rank * p.bytes_of_codes()..][..p.bytes_of_codes()];
                            let codes = &codes[at * p.bytes_of_block()..];
                            let codes = block::unpack(format.bits(), codes, &mut unpacked[..len]);
                            decode(&Coder::of(format, scales), codes, sum, |sum, x| *sum += x);
                        }
                        sum.iter_mut().for_each(|sum| *sum *= factor);
                        None
                    },
                );
            },
        );
    });
}

once! {
    /// See [`latens_kernels::quant::dequant`].
    pub fn dequant<T>(p: &Plan, codes: &[u8], scales: &[f32], accumulate: Accumulate, y: &mut [T]) = dequant_impl;
}

fn dequant_impl<T: Float>(p: &Plan, codes: &[u8], scales: &[f32], accumulate: Accumulate, y: &mut [T]) {
    let format = p.settings().format;
    let (width, bits, bytes) = (format.width(), format.bits(), p.bytes_of_block());
    rows::each_one(TASK.max(p.block()), &mut y[..p.n()], |task, y| {
        Level::best().run(
            #[inline(always)]
            |_| {
                let mut unpacked = [0; LONGEST];
                for (i, y) in y.chunks_mut(p.block()).enumerate() {
                    let at = task * (TASK.max(p.block()) / p.block()) + i;
                    let codes = block::unpack(bits, &codes[at * bytes..], &mut unpacked[..y.len()]);
                    let coder = Coder::of(format, &scales[at * width..][..width]);
                    match accumulate {
                        Accumulate::Replace => decode(&coder, codes, y, |y, x| *y = T::from_f32(x)),
                        Accumulate::Add => decode(&coder, codes, y, |y, x| *y = T::from_f32(y.to_f32() + x)),
                    }
                }
            },
        );
    });
}

/// Call `work(first, task)` for all tasks, the first number of which is `first`.
fn tasks(
    p: &Plan,
    error: Option<&mut [f32]>,
    codes: &mut [u8],
    scales: &mut [f32],
    dropped: &mut [u32],
    work: impl Fn(usize, &mut Task<'_>) + Sync,
) {
    let blocks = (TASK / p.block()).max(1);
    let codes = codes[..p.bytes_of_codes()].chunks_mut(blocks * p.bytes_of_block());
    let scales = scales.chunks_mut(blocks * p.settings().format.width());
    let mut errors = error.map(|error| error[..p.n()].chunks_mut(blocks * p.block()));
    let task = |(codes, scales)| Task { codes, scales, error: errors.as_mut().and_then(Iterator::next), dropped: 0 };
    let mut all: Vec<_> = codes.zip(scales).map(task).collect();
    rows::each_one(1, &mut all, |i, task| work(i * blocks * p.block(), &mut task[0]));
    dropped[0] = all.iter().fold(dropped[0], |sum, task| sum.wrapping_add(task.dropped));
}

/// All blocks of a task. `values(first, count, to)` are the numbers where they lie, or `None` if it put them into `to`.
#[inline(always)]
fn each<'x>(
    p: &Plan,
    first: usize,
    task: &mut Task<'_>,
    mut values: impl FnMut(usize, usize, &mut [f32]) -> Option<&'x [f32]>,
) {
    let format = p.settings().format;
    let (mut numbers, mut scratch) = ([0.0; LONGEST], Scratch::new());
    let all = task.codes.chunks_mut(p.bytes_of_block()).zip(task.scales.chunks_mut(format.width()));
    for (i, (codes, scales)) in all.enumerate() {
        let first = first + i * p.block();
        let len = p.block().min(p.n() - first);
        let x = match values(first, len, &mut numbers[..len]) {
            Some(x) => x,
            None => &numbers[..len],
        };
        let error = task.error.as_mut().map(|error| &mut error[i * p.block()..][..len]);
        error.iter().for_each(|error| prefetch_page(error));
        let (a, dropped) = gather(x, error.as_deref(), &mut scratch.sums[..len]);
        task.dropped = task.dropped.wrapping_add(dropped);
        let coder = Coder::new(format, p.settings().rounding, &block::look(format, a));
        scales.copy_from_slice(&[coder.scale, coder.offset][..format.width()]);
        if format.bits() == 8 {
            codes_of(&coder, p.settings().rounding, first, a, codes);
        } else {
            let whole = &mut scratch.codes[..len];
            codes_of(&coder, p.settings().rounding, first, a, whole);
            block::pack(format.bits(), whole, codes);
        }
        if let Some(error) = error {
            let whole = if format.bits() == 8 { &*codes } else { &scratch.codes[..len] };
            decode(&coder, whole, error, |error, x| *error = x);
            let left = |(error, a): (&mut f32, &f32)| *error = latens_kernels::quant::code::finite(a - *error);
            error.iter_mut().zip(a).for_each(left);
        }
    }
}
