//! Codes of [`Format::Dynamic8`](latens_kernels::quant::Format) without a search: the first bits of a number name a bucket
//! so narrow that at most one edge between two codes is in it.
use latens_kernels::quant::code::DYNAMIC;

/// Bits of a number that are compared within a bucket.
const WITHIN: u32 = 17;
const MASK: u32 = (1 << WITHIN) - 1;
/// Bits of 2^-22: smaller numbers are those of its bucket.
const LOW: u32 = (127 - 22) << 23;
/// The last bucket begins with 1.
const BUCKETS: usize = ((1_f32.to_bits() - LOW) >> WITHIN) as usize + 1;
const TOP: u32 = 1_f32.to_bits() - LOW + MASK;
/// Codes of numbers above 0, and the code of 0.
const HALF: usize = 128;
const ZERO: u32 = 127;

/// Of each bucket the count of edges below it, and above that the place of the edge in it.
type Buckets = [u32; BUCKETS];

/// Half way between two codes, from 0 up.
static MIDDLES: Buckets = buckets(true);
/// The numbers of the codes above 0.
static NUMBERS: Buckets = buckets(false);

const fn edge(middles: bool, i: usize) -> u32 {
    let [low, high] = [DYNAMIC[ZERO as usize + i], DYNAMIC[ZERO as usize + i + 1]];
    if middles { (0.5 * (low + high)).to_bits() } else { high.to_bits() }
}

const fn buckets(middles: bool) -> Buckets {
    let (mut all, mut at, mut below) = ([0; BUCKETS], 0, 0);
    while at < BUCKETS {
        let start = LOW + ((at as u32) << WITHIN);
        all[at] = below as u32 | MASK << 8;
        if below < HALF && edge(middles, below) < start + MASK {
            all[at] = below as u32 | (edge(middles, below) - start) << 8;
            below += 1;
            assert!(below == HALF || edge(middles, below) > start + MASK, "two edges in a bucket");
        }
        at += 1;
    }
    assert!(below == HALF);
    all
}

/// Edges whose bits are below `key`.
#[inline(always)]
fn count(buckets: &Buckets, key: u32) -> u32 {
    let key = key.max(LOW) - LOW;
    let key = if key < TOP { key } else { TOP };
    let bucket = buckets[((key >> WITHIN) as usize).min(BUCKETS - 1)];
    (bucket & 255) + u32::from(key & MASK > bucket >> 8)
}

/// The code of the number nearest to `x`, of two the smaller: `x` is between -1 and 1, but for rounding.
#[inline(always)]
pub(super) fn nearest(x: f32) -> u8 {
    let (size, negative) = (x.to_bits() & i32::MAX as u32, x.to_bits() >> 31);
    // Of a number half way the smaller: to the side of 0 above it, away from it below.
    let count = count(&MIDDLES, size + negative).min(ZERO + 1 - negative);
    // With all bits turned a count is that to the other side, and one more.
    ZERO.wrapping_add(count ^ negative.wrapping_neg()).wrapping_add(negative) as u8
}

/// The code of the largest number that is not above `x`, or the least.
#[inline(always)]
pub(super) fn below(x: f32) -> u8 {
    let size = x.to_bits() & i32::MAX as u32;
    let negative = u32::from(x < 0.0);
    let count = count(&NUMBERS, size + 1 - negative).min(ZERO + 1 - 2 * negative);
    ZERO.wrapping_add(count ^ negative.wrapping_neg()) as u8
}

#[cfg(test)]
mod tests {
    use super::{DYNAMIC, below, nearest};

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
}
