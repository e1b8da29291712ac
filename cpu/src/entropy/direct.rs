use super::sample::Sample;
use crate::simd::best;
use alloc::{vec, vec::Vec};
use latens_kernels::Float;
use latens_kernels::entropy::{Group, RUN, Scale};

const LANES: usize = 16;

/// Partial results: their order is fixed by [`LANES`] alone.
struct Lanes {
    finite: [u32; LANES],
    nan: [u32; LANES],
    low: [f32; LANES],
    high: [f32; LANES],
    sum: [f64; LANES],
    squares: [f64; LANES],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, lane: usize, x: f32) {
        let size = x.to_bits() << 1;
        let finite = size < 0xff00_0000;
        self.finite[lane] += u32::from(finite);
        self.nan[lane] += u32::from(size > 0xff00_0000);
        // An infinity is not less than any; the other one, and NaN, are kept out by the test.
        let low = if finite { x } else { f32::INFINITY };
        let high = if finite { x } else { f32::NEG_INFINITY };
        self.low[lane] = if low < self.low[lane] { low } else { self.low[lane] };
        self.high[lane] = if high > self.high[lane] { high } else { self.high[lane] };
        let x = f64::from(if finite { x } else { 0.0 });
        self.sum[lane] += x;
        self.squares[lane] += x * x;
    }
}

/// Counts, range and sums of a group.
pub(super) fn moments<T: Float>(sample: &Sample<'_, T>, group: usize) -> Group {
    let mut lanes = Lanes {
        finite: [0; LANES],
        nan: [0; LANES],
        low: [f32::INFINITY; LANES],
        high: [f32::NEG_INFINITY; LANES],
        sum: [0.0; LANES],
        squares: [0.0; LANES],
    };
    let mut seen = 0;
    sample.each(group, |part| {
        seen += part.len() as u32;
        best(
            #[inline(always)]
            |_| {
                let (whole, rest) = part.as_chunks::<LANES>();
                for chunk in whole {
                    for (lane, x) in chunk.iter().enumerate() {
                        lanes.add(lane, x.to_f32());
                    }
                }
                for (lane, x) in rest.iter().enumerate() {
                    lanes.add(lane, x.to_f32());
                }
            },
        );
    });
    let (count, nan) = (lanes.finite.iter().sum::<u32>(), lanes.nan.iter().sum::<u32>());
    Group {
        count,
        nan,
        infinite: seen - count - nan,
        low: lanes.low.iter().fold(f64::INFINITY, |low, &x| low.min(x.into())),
        high: lanes.high.iter().fold(f64::NEG_INFINITY, |high, &x| high.max(x.into())),
        sum: lanes.sum.iter().sum(),
        squares: lanes.squares.iter().sum(),
    }
}

/// Add the elements of a group to its histogram.
pub(super) fn bins<T: Float>(sample: &Sample<'_, T>, group: usize, scale: &Scale<f32>, bins: &mut [u32]) {
    // Four counters to a bin, so that equal neighbours do not wait for each other; the last is for what is not finite.
    let mut tables: Vec<[u32; 4]> = vec![[0; 4]; bins.len() + 1];
    let Scale { unit, offset, factor, last } = *scale;
    let (top, apart) = (last as f32, bins.len() as i32);
    let mut places = [0_i32; RUN];
    sample.each(group, |part| {
        let places = &mut places[..part.len()];
        best(
            #[inline(always)]
            |_| {
                for (place, x) in places.iter_mut().zip(part) {
                    let x = x.to_f32();
                    let at = (x * unit - offset) * factor;
                    let at = if at > 0.0 { at } else { 0.0 };
                    let at = if at < top { at } else { top };
                    let finite = x.to_bits() << 1 < 0xff00_0000;
                    *place = if finite { at as i32 } else { apart };
                }
            },
        );
        for four in places.chunks(4) {
            for (counter, &place) in four.iter().enumerate() {
                tables[place as usize][counter] += 1;
            }
        }
    });
    bins.iter_mut().zip(&tables).for_each(|(bin, table)| *bin += table.iter().sum::<u32>());
}
