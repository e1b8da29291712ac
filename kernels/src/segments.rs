use crate::{Error, Result};
use alloc::vec::Vec;

/// One tensor of a buffer: a vector is a single row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its first element lies.
    pub start: usize,
    /// Rows, one after the other without gaps.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
}

impl Segment {
    /// Number of elements. [`Segments::new`] has seen that it fits.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 || self.columns == 0
    }

    /// One past its last element.
    pub fn end(&self) -> usize {
        self.start + self.len()
    }
}

/// Many tensors that lie in one buffer, in order and apart: what a kernel needs to treat all of them in one launch.
///
/// There may be gaps between segments, and segments of nothing. On a device it is a `u32` tensor `[segments, 6]`: `start`,
/// `rows` and `columns`, each as the low and the high half of 64 bits ([`Segments::words`]). `kernels/cuda/segments.cuh`
/// reads it, and takes a segment that is not inside of the buffer for one of nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    all: Vec<Segment>,
}

impl Segments {
    /// Numbers of a segment on a device.
    pub const WORDS: usize = 6;

    /// Check a table.
    ///
    /// # Errors
    /// `Value` if a segment begins before the end of the one before it; `TooLarge` if one ends past 2^63.
    pub fn new(all: Vec<Segment>) -> Result<Self> {
        let mut before = 0;
        for segment in &all {
            if segment.start < before {
                let want = "in order: each from the end of the one before it on";
                return Err(Error::Value { op: "segments", arg: "start", want });
            }
            let end = segment.rows.checked_mul(segment.columns).and_then(|len| len.checked_add(segment.start));
            before = end.filter(|&end| end <= isize::MAX as usize).ok_or(Error::TooLarge)?;
        }
        Ok(Self { all })
    }

    /// Vectors between bounds, each a pair of the first element and one past the last.
    ///
    /// # Errors
    /// As [`Segments::new`]; `Value` if an end lies before its start.
    pub fn vectors(bounds: &[[usize; 2]]) -> Result<Self> {
        let want = "not before start";
        let segment = |&[start, end]: &[usize; 2]| match end.checked_sub(start) {
            Some(columns) => Ok(Segment { start, rows: 1, columns }),
            None => Err(Error::Value { op: "segments", arg: "end", want }),
        };
        Self::new(bounds.iter().map(segment).collect::<Result<_>>()?)
    }

    /// Vectors of these lengths, one after the other without gaps.
    ///
    /// # Errors
    /// As [`Segments::new`].
    pub fn lengths(lengths: &[usize]) -> Result<Self> {
        let mut start = 0_usize;
        let mut segment = |&columns: &usize| {
            let segment = Segment { start, rows: 1, columns };
            start = start.checked_add(columns).ok_or(Error::TooLarge)?;
            Ok(segment)
        };
        Self::new(lengths.iter().map(&mut segment).collect::<Result<_>>()?)
    }

    /// All, in order.
    pub fn all(&self) -> &[Segment] {
        &self.all
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// One past the last element of all: so many a buffer must hold.
    pub fn span(&self) -> usize {
        self.all.last().map_or(0, Segment::end)
    }

    /// The table as a device reads it.
    pub fn words(&self) -> Vec<u32> {
        let halves = |x: usize| [x as u32, (x as u64 >> 32) as u32];
        self.all.iter().flat_map(|s| [s.start, s.rows, s.columns]).flat_map(halves).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts beyond 2^32 keep all their bits; nothing of that size is allocated.
    #[test]
    fn words_are_whole() {
        let start = (5 << 32) + 7;
        let table = Segments::new(alloc::vec![Segment { start, rows: 3, columns: 1 << 33 }]).unwrap();
        assert_eq!(table.words(), [7, 5, 3, 0, 0, 2]);
        assert_eq!(table.span(), start + (3 << 33));
    }

    #[test]
    fn wrong_tables_are_errors() {
        let value = |result: Result<Segments>| matches!(result, Err(Error::Value { op: "segments", .. }));
        assert!(value(Segments::vectors(&[[0, 4], [3, 5]])));
        assert!(value(Segments::vectors(&[[4, 3]])));
        assert!(value(Segments::vectors(&[[8, 9], [0, 1]])));
        assert_eq!(Segments::lengths(&[usize::MAX, 1]), Err(Error::TooLarge));
        let huge = Segment { start: 0, rows: 1 << 40, columns: 1 << 40 };
        assert_eq!(Segments::new(alloc::vec![huge]), Err(Error::TooLarge));
        assert_eq!(Segments::vectors(&[[2, 2], [2, 5], [9, 9]]).unwrap().span(), 9);
        assert_eq!(Segments::default().span(), 0);
    }
}
