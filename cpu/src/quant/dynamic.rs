//! Codes of [`Format::Dynamic8`](latens_kernels::quant::Format) without a search: the first bits of a number name a bucket
//! so narrow that at most one edge between two codes is in it.
use latens_kernels::quant::code::{DYNAMIC, UNSIGNED};

/// Codes of numbers above 0.
const HALF: usize = 128;
/// The code of 0.
const ZERO: u32 = 127;

/// Edges between codes, by buckets: a bucket is the numbers whose bits agree but for the last `WITHIN`. Smaller numbers than
/// 2^`-LEAST` are those of its bucket, and the last begins with 1. Of each bucket the count of edges below it, and above that
/// the place of the edge in it.
struct Edges<const WITHIN: u32, const LEAST: u32, const BUCKETS: usize>([u32; BUCKETS]);

const fn count_of(within: u32, least: u32) -> usize {
    ((least << 23) >> within) as usize + 1
}

/// Numbers that are looked up together.
const RUN: usize = 64;

/// Half way between two codes, from 0 up.
static MIDDLES: Edges<17, 22, { count_of(17, 22) }> = Edges::new(&edges::<HALF>(&DYNAMIC, ZERO as usize, true));
/// The numbers of the codes above 0.
static NUMBERS: Edges<17, 22, { count_of(17, 22) }> = Edges::new(&edges::<HALF>(&DYNAMIC, ZERO as usize, false));
/// Half way between two codes of numbers without a sign.
static UNSIGNED_MIDDLES: Edges<16, 23, { count_of(16, 23) }> = Edges::new(&edges::<255>(&UNSIGNED, 0, true));

/// The bits of the edges of a table from the place of 0 on.
const fn edges<const N: usize>(table: &[f32; 256], zero: usize, middles: bool) -> [u32; N] {
    let (mut all, mut i) = ([0; N], 0);
    while i < N {
        let [low, high] = [table[zero + i], table[zero + i + 1]];
        all[i] = if middles { (0.5 * (low + high)).to_bits() } else { high.to_bits() };
        i += 1;
    }
    all
}

impl<const WITHIN: u32, const LEAST: u32, const BUCKETS: usize> Edges<WITHIN, LEAST, BUCKETS> {
    const MASK: u32 = (1 << WITHIN) - 1;
    const LOW: u32 = (127 - LEAST) << 23;
    const TOP: u32 = 1_f32.to_bits() - Self::LOW + Self::MASK;

    const fn new<const N: usize>(edges: &[u32; N]) -> Self {
        let (mut all, mut at, mut below) = ([0; BUCKETS], 0, 0);
        while at < BUCKETS {
            let start = Self::LOW + ((at as u32) << WITHIN);
            all[at] = below as u32 | Self::MASK << 8;
            if below < N && edges[below] < start + Self::MASK {
                all[at] = below as u32 | (edges[below] - start) << 8;
                below += 1;
                assert!(below == N || edges[below] > start + Self::MASK, "two edges in a bucket");
            }
            at += 1;
        }
        assert!(below == N);
        Self(all)
    }

    /// [`count`](Self::count) of each. In three loops: the first and the last become vector instructions, and what looks up does
    /// nothing else.
    #[inline(always)]
    fn counts(&self, keys: &mut [u32; RUN]) {
        let mut found = [0; RUN];
        for key in keys.iter_mut() {
            let above = (*key).max(Self::LOW) - Self::LOW;
            *key = above.min(Self::TOP);
        }
        for (found, key) in found.iter_mut().zip(keys.iter()) {
            *found = self.0[((key >> WITHIN) as usize).min(BUCKETS - 1)];
        }
        for (key, found) in keys.iter_mut().zip(found) {
            *key = (found & 255) + u32::from(*key & Self::MASK > found >> 8);
        }
    }

    /// Edges whose bits are below `key`.
    #[inline(always)]
    fn count(&self, key: u32) -> u32 {
        let key = key.max(Self::LOW) - Self::LOW;
        let key = if key < Self::TOP { key } else { Self::TOP };
        let bucket = self.0[((key >> WITHIN) as usize).min(BUCKETS - 1)];
        (bucket & 255) + u32::from(key & Self::MASK > bucket >> 8)
    }
}

/// The code of the number nearest to `x`, of two the smaller: `x` is between -1 and 1, but for rounding.
#[inline(always)]
fn nearest(x: f32) -> u8 {
    let (size, negative) = key(x);
    code(MIDDLES.count(size + negative), negative)
}

/// Size and sign, as bits.
#[inline(always)]
fn key(x: f32) -> (u32, u32) {
    (x.to_bits() & i32::MAX as u32, x.to_bits() >> 31)
}

#[inline(always)]
fn code(count: u32, negative: u32) -> u8 {
    // Of a number half way the smaller: to the side of 0 above it, away from it below.
    let count = count.min(ZERO + 1 - negative);
    // With all bits turned a count is that to the other side, and one more.
    ZERO.wrapping_add(count ^ negative.wrapping_neg()).wrapping_add(negative) as u8
}

/// The codes of the numbers nearest to `by` times each, of two the smaller: products are between -1 and 1, but for rounding.
#[inline(always)]
pub(crate) fn nearest_of_all(x: &[f32], by: f32, codes: &mut [u8]) {
    let (runs, rest) = x.as_chunks::<RUN>();
    let (to, to_rest) = codes[..x.len()].as_chunks_mut::<RUN>();
    for (x, codes) in runs.iter().zip(to) {
        let (mut keys, mut signs) = ([0; RUN], [0; RUN]);
        for i in 0..RUN {
            let (size, negative) = key(x[i] * by);
            (keys[i], signs[i]) = (size + negative, negative);
        }
        MIDDLES.counts(&mut keys);
        for i in 0..RUN {
            codes[i] = code(keys[i], signs[i]);
        }
    }
    rest.iter().zip(to_rest).for_each(|(x, to)| *to = nearest(x * by));
}

/// The same in [`UNSIGNED`]: products are between 0 and 1, but for rounding. What is above 0 has another code than 0.
#[inline(always)]
pub(crate) fn nearest_unsigned_of_all(x: &[f32], by: f32, codes: &mut [u8]) {
    let (runs, rest) = x.as_chunks::<RUN>();
    let (to, to_rest) = codes[..x.len()].as_chunks_mut::<RUN>();
    for (x, codes) in runs.iter().zip(to) {
        let mut keys = [0; RUN];
        keys.iter_mut().zip(x).for_each(|(key, x)| *key = (x * by).to_bits());
        UNSIGNED_MIDDLES.counts(&mut keys);
        for i in 0..RUN {
            codes[i] = keys[i].clamp(u32::from(x[i] > 0.0), 255) as u8;
        }
    }
    let one = |x: f32| nearest_unsigned(x * by).max(u8::from(x > 0.0));
    rest.iter().zip(to_rest).for_each(|(&x, to)| *to = one(x));
}

/// The code of the number of [`UNSIGNED`] nearest to `x`, of two the smaller: `x` is between 0 and 1, but for rounding.
#[inline(always)]
fn nearest_unsigned(x: f32) -> u8 {
    UNSIGNED_MIDDLES.count(x.to_bits()).min(255) as u8
}

/// The code of the largest number that is not above `x`, or the least.
#[inline(always)]
pub(super) fn below(x: f32) -> u8 {
    let size = x.to_bits() & i32::MAX as u32;
    let negative = u32::from(x < 0.0);
    let count = NUMBERS.count(size + 1 - negative).min(ZERO + 1 - 2 * negative);
    ZERO.wrapping_add(count ^ negative.wrapping_neg()) as u8
}

#[cfg(test)]
mod tests {
    use super::{DYNAMIC, RUN, UNSIGNED, below, nearest, nearest_of_all, nearest_unsigned, nearest_unsigned_of_all};

    use alloc::{vec, vec::Vec};

    /// Many at once are coded as one by one, whatever their number.
    #[test]
    fn codes_of_all() {
        let x: Vec<f32> = (0..5 * RUN + 7).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
        let sizes: Vec<f32> = x.iter().map(|x| x * x * x * x * 1e-3).collect();
        for len in [0, 1, RUN - 1, RUN, x.len()] {
            let (mut codes, mut unsigned) = (vec![0; len], vec![0; len]);
            nearest_of_all(&x[..len], 0.5, &mut codes);
            nearest_unsigned_of_all(&sizes[..len], 1.0, &mut unsigned);
            for i in 0..len {
                assert_eq!(codes[i], nearest(x[i] * 0.5), "{i}");
                assert_eq!(unsigned[i], nearest_unsigned(sizes[i]).max(u8::from(sizes[i] > 0.0)), "{i}");
            }
        }
    }

    /// As counting finds them, around every number, every middle and every end of a bucket.
    #[test]
    fn codes_are_those_of_a_search() {
        let middles = DYNAMIC.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        let ends = (0..30_u32 << 6).flat_map(|at| [1.0, -1.0].map(|sign| sign * f32::from_bits((99 << 6 | at) << 17)));
        for x in DYNAMIC.iter().copied().chain(middles).chain(ends.filter(|x| x.abs() <= 1.0)).chain([0.0, -0.0, 1e-40])
        {
            for step in -3..=3_i32 {
                let x = f32::from_bits(x.to_bits().saturating_add_signed(step));
                if x.is_nan() || x.abs() > 1.000_001 {
                    continue;
                }
                let beyond = DYNAMIC.windows(2).filter(|pair| x > 0.5 * (pair[0] + pair[1])).count();
                assert_eq!(usize::from(nearest(x)), beyond, "{x:e}");
                assert_eq!(usize::from(below(x)), DYNAMIC[1..].iter().filter(|&&number| x >= number).count(), "{x:e}");
            }
        }
    }

    #[test]
    fn codes_without_a_sign_are_those_of_a_search() {
        let middles = UNSIGNED.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        let ends = (0..30_u32 << 7).map(|at| f32::from_bits((98 << 7 | at) << 16));
        for x in UNSIGNED.iter().copied().chain(middles).chain(ends.filter(|&x| x <= 1.0)).chain([1e-40]) {
            for step in -3..=3_i32 {
                let x = f32::from_bits(x.to_bits().saturating_add_signed(step));
                let beyond = UNSIGNED.windows(2).filter(|pair| x > 0.5 * (pair[0] + pair[1])).count();
                assert_eq!(usize::from(nearest_unsigned(x)), beyond, "{x:e}");
            }
        }
    }
}
