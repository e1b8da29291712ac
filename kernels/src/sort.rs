//! Launches of `sort.cuh`, and of what finds the keys in the order: numbers sorted by a key, 8 bits at a time. Equal keys
//! stay in their order.
use crate::{Chip, Image, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 256;
/// Keys of a block of the sort, and bins of a digit: twins of `sort.cuh`.
const KEYS: usize = 2048;
const BINS: usize = 256;
/// Digits of 8 bits that a key can have.
const DIGITS: usize = 4;
/// Launches that sort by all of them.
pub(crate) const SORT: usize = 3 * DIGITS;

/// A family's kernels of the sort.
pub(crate) struct Kernels {
    pub(crate) image: &'static Image,
    pub(crate) count: &'static str,
    pub(crate) scan: &'static str,
    pub(crate) place: &'static str,
    pub(crate) starts: &'static str,
}

/// Keys and the numbers that are sorted by them, twice over, and what a digit counts.
pub(crate) struct Sort<'a> {
    kernels: &'static Kernels,
    pub(crate) keys: [SpanMut<'a, u32>; 2],
    pub(crate) items: [SpanMut<'a, u32>; 2],
    pub(crate) counts: SpanMut<'a, u32>,
    count: usize,
}

/// Bytes of [`Sort`].
pub(crate) fn workspace(count: usize) -> usize {
    (4 * count + BINS * count.div_ceil(KEYS) + 1).saturating_mul(4).saturating_add(5 * 256)
}

impl<'a> Sort<'a> {
    /// Cut the buffers for `count` keys off a workspace.
    pub(crate) fn take(
        kernels: &'static Kernels,
        workspace: &mut SpanMut<'a, u8>,
        count: usize,
        op: &'static str,
    ) -> Result<Self> {
        let mut take = |len: usize| workspace.take::<u32>(len, op);
        let (keys, items) = ([take(count)?, take(count)?], [take(count)?, take(count)?]);
        Ok(Self { kernels, keys, items, counts: take(BINS * count.div_ceil(KEYS) + 1)?, count })
    }

    /// Sort by keys of at most `most`; what is sorted is in the first buffers then.
    pub(crate) fn launches(&mut self, most: usize, chip: &Chip) -> Result<[Launch<'a>; SORT]> {
        let blocks = self.count.div_ceil(KEYS);
        let digits = (usize::BITS - most.leading_zeros()).div_ceil(8) as usize;
        let named = |name| Launch::new::<f32>(self.kernels.image, name);
        let mut all = [named(self.kernels.count); SORT];
        for digit in 0..DIGITS {
            let grid = if digit < digits { blocks } else { 0 };
            all[3 * digit] = named(self.kernels.count)
                .read(self.keys[0].shared())
                .write(&self.counts)
                .u32(self.count)
                .u32(8 * digit)
                .over([grid, 1, 1], BLOCK, 4 * BINS, chip)?;
            all[3 * digit + 1] = named(self.kernels.scan).write(&self.counts).u32(BINS * blocks).over(
                [grid.min(1), 1, 1],
                1024,
                0,
                chip,
            )?;
            all[3 * digit + 2] = named(self.kernels.place)
                .read(self.keys[0].shared())
                .read(self.items[0].shared())
                .read(self.counts.shared())
                .write(&self.keys[1])
                .write(&self.items[1])
                .u32(self.count)
                .u32(8 * digit)
                .over([grid, 1, 1], BLOCK, 4 * 9 * BINS, chip)?;
            if grid > 0 {
                self.keys.swap(0, 1);
                self.items.swap(0, 1);
            }
        }
        Ok(all)
    }

    /// Where each of `0..=most` begins among as many sorted keys.
    pub(crate) fn starts(
        &self,
        keys: Span<'a, u32>,
        starts: &SpanMut<'a, u32>,
        most: usize,
        chip: &Chip,
    ) -> Result<Launch<'a>> {
        Launch::new::<f32>(self.kernels.image, self.kernels.starts)
            .read(keys)
            .write(starts)
            .u32(self.count)
            .u32(most)
            .over([(most + 1).div_ceil(BLOCK as usize), 1, 1], BLOCK, 0, chip)
    }

    /// The sorted numbers.
    pub(crate) fn sorted(&self) -> Span<'a, u32> {
        self.items[0].shared()
    }
}
