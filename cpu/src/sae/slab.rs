//! The sums of a batch that names every latent several times, by slabs: some columns of all latents, copied side by side to where
//! they stay in the second-level cache while all rows add up theirs in registers.
//!
//! It is for `f32`, whose sums need no more room than the output, where they wait for the comparison with `x`. 16-bit elements
//! would have to be compared a slab at a time, at 54 addresses for 18 slabs of a row where whole rows have three. For `f32` that
//! took 1.35 of the time that this takes, and for `bf16` 0.95 and 1.2 of what rows take, which wait for memory less (4096 and
//! 1024 rows of 576, 4608 latents, Ice Lake).
use super::decode::Plan;
use super::{Level, tasks};
use crate::cast::{cast, cast_mut};
use crate::level::prefetch_line;
use crate::rows::threads;
use crate::sheet::Block;
use crate::simd::{Fused, Lane, Task, run};
use alloc::vec::Vec;
use latens_kernels::Float;
use latens_kernels::sae::Codes;

/// Latents up to which a slab is two lines of the cache of each, so 640 kB, and one, 1152 kB. A slab of 1152 kB and two lines took
/// as long as one of half, which is safer where caches are smaller; one of four lines and 1152 kB took 1.2 of what one of two and
/// 576 kB did (1.25 MB of cache, 4096 rows of 576).
const MOST: [usize; 2] = [5120, 18432];

/// How often a batch names a latent for the copy to pay: where it did 3.6 times, slabs took 0.9 of the time, at 1.8 times 1.3,
/// at 28 times 0.4 (one thread).
const TIMES: usize = 4;

/// Rows of what is copied and of what is written that are asked for in advance.
const AHEAD: usize = 16;

/// Columns of a slab, if slabs pay.
fn width(p: &Plan, latents: &[u32]) -> Option<usize> {
    let width = [32, 16][MOST.iter().position(|&most| p.n() <= most)?];
    // All slabs are copied, and one more for each thread, which may begin inside of one.
    let slabs = p.dim().div_ceil(width);
    let copied = p.n().saturating_mul(slabs + threads());
    let pays = |named: usize| p.dim() >= width && named.saturating_mul(slabs) >= copied.saturating_mul(TIMES);
    // Slots may be empty: they are counted where so many would do.
    let slots = p.shape().slots();
    (pays(slots) && pays(latents[..slots].iter().filter(|&&latent| (latent as usize) < p.n()).count())).then_some(width)
}

/// `recon = b_dec + Σ value · row`, to the bit what [`add_rows`](super::gather::add_rows) makes of it; or nothing, and `false`,
/// where that is as fast.
pub(super) fn sums<T: Float>(
    level: Level,
    p: &Plan,
    codes: Codes<T::Acc>,
    w_dec: &[T],
    b_dec: Option<&[f32]>,
    recon: &mut [T],
) -> bool {
    let (Some(w_dec), Some(values), Some(recon)) = (cast(w_dec), cast(codes.values), cast_mut(recon)) else {
        return false;
    };
    let call = Call { level, p, codes: Codes { values, latents: codes.latents, offsets: codes.offsets }, w_dec, b_dec };
    match width(p, codes.latents) {
        Some(32) => call.slabs::<32>(recon),
        Some(_) => call.slabs::<16>(recon),
        None => return false,
    }
    true
}

struct Call<'a> {
    level: Level,
    p: &'a Plan,
    codes: Codes<'a, f32>,
    w_dec: &'a [f32],
    b_dec: Option<&'a [f32]>,
}

/// The columns that one latent has in a slab: whole lines of the cache.
#[repr(align(64))]
struct Line<const W: usize>([f32; W]);

/// Some rows of a slab, from `first` on.
struct Part<'a> {
    column: usize,
    first: usize,
    recon: Block<'a, f32>,
}

impl Call<'_> {
    fn slabs<const W: usize>(&self, recon: &mut [f32]) {
        tasks(self.shares::<W>(recon), |_, share| {
            let (mut lines, mut held) = (Vec::<Line<W>>::new(), None);
            for part in share {
                if held.replace(part.column) != Some(part.column) {
                    self.pack(part.column, &mut lines);
                }
                run(self.level, Sums { call: self, lines: &lines, part });
            }
        });
    }

    /// For each thread as many rows of slabs as for any other, one slab after another.
    fn shares<'a, const W: usize>(&self, recon: &'a mut [f32]) -> Vec<Vec<Part<'a>>> {
        let (rows, dim) = (self.p.rows(), self.p.dim());
        let slabs = Block::columns(&mut recon[..rows * dim], dim, W);
        let share = (slabs.len() * rows).div_ceil(threads());
        let mut shares: Vec<_> = (0..threads()).map(|_| Vec::new()).collect();
        for (slab, mut block) in slabs.into_iter().enumerate() {
            let mut first = 0;
            while first < rows {
                let at = slab * rows + first;
                let count = (rows - first).min(share - at % share);
                shares[at / share].push(Part { column: slab * W, first, recon: block.split_first(count) });
                first += count;
            }
        }
        shares
    }

    /// The columns from `column` on, of all latents.
    fn pack<const W: usize>(&self, column: usize, lines: &mut Vec<Line<W>>) {
        let ([stride, _], [n, dim]) = (self.p.w().strides(), self.p.w().dims());
        lines.clear();
        lines.extend((0..n).map(|latent| {
            let at = latent * stride + column;
            ask::<W>(self.w_dec.as_ptr().wrapping_add(at + AHEAD * stride));
            Line(fill(&self.w_dec[at..][..W.min(dim - column)]))
        }));
    }
}

/// Ask for the lines of memory of `W` numbers.
#[inline(always)]
fn ask<const W: usize>(from: *const f32) {
    (0..W).step_by(16).chain([W - 1]).for_each(|at| prefetch_line(from.wrapping_add(at)));
}

/// These, and zeros.
#[inline(always)]
fn fill<const W: usize>(from: &[f32]) -> [f32; W] {
    from.try_into().unwrap_or_else(|_| {
        let mut to = [0.0; W];
        to[..from.len()].copy_from_slice(from);
        to
    })
}

struct Sums<'a, const W: usize> {
    call: &'a Call<'a>,
    lines: &'a [Line<W>],
    part: Part<'a>,
}

impl<const W: usize> Task for Sums<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lane, const M: usize, const C: usize>(mut self, _: Fused) {
        let Part { column, first, ref mut recon } = self.part;
        let [rows, width] = recon.size();
        let bias = self.call.b_dec.map_or([0.0; W], |b_dec| fill(&b_dec[column..][..width]));
        for r in 0..rows {
            ask::<W>(recon.at(r + AHEAD));
            let sums = sum::<L, W>(self.call, self.lines, &bias, first + r);
            let recon = recon.row(r);
            if width == W {
                sums.iter().zip(recon.chunks_exact_mut(L::N)).for_each(|(sum, to)| sum.store(to));
            } else {
                let mut wide = [0.0; W];
                sums.iter().zip(wide.chunks_exact_mut(L::N)).for_each(|(sum, to)| sum.store(to));
                recon.copy_from_slice(&wide[..width]);
            }
        }
    }
}

/// The sums of row `r`, of which there are `W / L::N`.
#[inline(always)]
fn sum<L: Lane, const W: usize>(call: &Call, lines: &[Line<W>], bias: &[f32; W], r: usize) -> [L; 8] {
    let mut sums = [L::splat(0.0); 8];
    sums.iter_mut().zip(bias.chunks_exact(L::N)).for_each(|(sum, bias)| *sum = L::load(bias));
    let slots = call.codes.row(&call.p.shape(), r);
    for (&latent, &value) in call.codes.latents[slots.clone()].iter().zip(&call.codes.values[slots]) {
        // An empty slot names a latent past the last.
        if let Some(line) = lines.get(latent as usize) {
            let value = L::splat(value);
            for (sum, w) in sums.iter_mut().zip(line.0.chunks_exact(L::N)) {
                *sum = value.mul_add(L::load(w), *sum);
            }
        }
    }
    sums
}
