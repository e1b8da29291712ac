use super::sample::Sample;
use crate::{cast::cast, simd::best};
use alloc::{vec, vec::Vec};
use latens_kernels::Float;
use latens_kernels::entropy::{Group, RUN, Scale};

/// Partial sums: their order is fixed by this alone.
const LANES: usize = 16;
/// Twice the bits of an infinity: larger ones are not finite.
const INFINITE: u32 = 0xff00_0000;
/// From here on the numbers of `f32` are the whole ones.
const WHOLE: f32 = (1 << 23) as f32;

/// `part` as `f32`, in `to` unless it is that already.
#[inline(always)]
fn wide<'a, T: Float>(part: &'a [T], to: &'a mut [f32; RUN]) -> &'a [f32] {
    if let Some(part) = cast::<T, f32>(part) {
        return part;
    }
    let to = &mut to[..part.len()];
    to.iter_mut().zip(part).for_each(|(to, x)| *to = x.to_f32());
    to
}

/// What is counted of a part, and its ends.
struct Ends {
    infinite: u32,
    nan: u32,
    low: i32,
    high: i32,
}

/// Bits that rank as numbers do; the inverse of itself.
#[inline(always)]
fn rank(bits: i32) -> i32 {
    bits ^ (bits >> 31 & i32::MAX)
}

/// All of whole numbers, so that the loop becomes vector instructions.
#[inline(always)]
fn ends(x: &[f32]) -> Ends {
    let (mut apart, mut nan, mut low, mut high) = (0, 0, i32::MAX, i32::MIN);
    for x in x {
        let (twice, rank) = (x.to_bits() << 1, rank(x.to_bits() as i32));
        let finite = twice < INFINITE;
        apart += u32::from(!finite);
        nan += u32::from(twice > INFINITE);
        low = low.min(if finite { rank } else { i32::MAX });
        high = high.max(if finite { rank } else { i32::MIN });
    }
    Ends { infinite: apart - nan, nan, low, high }
}

/// Add the finite numbers, and their squares, to the sums.
#[inline(always)]
fn add(x: &[f32], sums: &mut [f64; LANES], squares: &mut [f64; LANES]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let (mut sum, mut square) = (*sums, *squares);
    for chunk in whole.iter().chain([&last]) {
        for i in 0..LANES {
            let x = f64::from(if chunk[i].to_bits() << 1 < INFINITE { chunk[i] } else { 0.0 });
            sum[i] += x;
            square[i] += x * x;
        }
    }
    (*sums, *squares) = (sum, square);
}

/// Counts, range and sums of a group.
pub(super) fn moments<T: Float>(sample: &Sample<'_, T>, group: usize) -> Group {
    let (mut sums, mut squares, mut buffer) = ([0.0; LANES], [0.0; LANES], [0.0; RUN]);
    let (mut all, mut seen) = (Ends { infinite: 0, nan: 0, low: i32::MAX, high: i32::MIN }, 0);
    sample.each(group, |part| {
        seen += part.len() as u32;
        let part = best(
            #[inline(always)]
            |_| {
                let x = wide(part, &mut buffer);
                add(x, &mut sums, &mut squares);
                ends(x)
            },
        );
        (all.infinite, all.nan) = (all.infinite + part.infinite, all.nan + part.nan);
        (all.low, all.high) = (all.low.min(part.low), all.high.max(part.high));
    });
    let count = seen - all.infinite - all.nan;
    let found = Group { count, nan: all.nan, infinite: all.infinite, ..Group::default() };
    if count == 0 {
        return found;
    }
    let of = |key| f64::from(f32::from_bits(rank(key) as u32));
    Group { low: of(all.low), high: of(all.high), sum: sums.iter().sum(), squares: squares.iter().sum(), ..found }
}

/// Add the elements of a group to its histogram.
pub(super) fn bins<T: Float>(sample: &Sample<'_, T>, group: usize, scale: &Scale<f32>, bins: &mut [u32]) {
    // Four counters to a bin, so that equal neighbours do not wait for each other; the last is for what is not finite.
    let mut tables: Vec<[u32; 4]> = vec![[0; 4]; bins.len() + 1];
    let tables = tables.as_mut_slice();
    let (mut buffer, mut places) = ([0.0; RUN], [0; RUN]);
    sample.each(group, |part| {
        let places = &mut places[..part.len()];
        best(
            #[inline(always)]
            |_| find(wide(part, &mut buffer), scale, places),
        );
        let (fours, rest) = places.as_chunks::<4>();
        for four in fours {
            (0..4).for_each(|i| tables[four[i] as usize][i] += 1);
        }
        rest.iter().for_each(|&place| tables[place as usize][0] += 1);
    });
    bins.iter_mut().zip(tables).for_each(|(bin, table)| *bin += table.iter().sum::<u32>());
}

/// The bin of each number, as [`Scale::bin`] has it; one more than the last for what is not finite.
#[inline(always)]
fn find(x: &[f32], scale: &Scale<f32>, places: &mut [u32]) {
    let Scale { unit, offset, factor, last } = *scale;
    let top = last as f32;
    for (place, x) in places.iter_mut().zip(x) {
        let at = (x * unit - offset) * factor;
        let at = if at > 0.0 { at } else { 0.0 };
        let at = if at < top { at } else { top };
        // A conversion to whole numbers would ask for the ends of their range: the low bits of this sum are the nearest one.
        let near = at + WHOLE;
        let below = near.to_bits() - WHOLE.to_bits() - u32::from(near - WHOLE > at);
        *place = if x.to_bits() << 1 < INFINITE { below } else { last + 1 };
    }
}
