//! Who belongs to what: sorted, without duplicates, and turned over.
//!
//! | [`build`] | shape                  | type                            |
//! |-----------|------------------------|---------------------------------|
//! | `rows`    | `[pairs]`              | `u32`, the row of each pair, in any order |
//! | `columns` | `[pairs]`              | `u32`, its column               |
//! | `weights` | `[pairs]`, optional    | `Acc`                           |
//! | `offsets` | `[rows + 1]`           | `u32`                           |
//! | `members` | `[pairs]`              | `u32`                           |
//! | `merged`  | `[pairs]`, with `weights` | as those                     |
//!
//! Pairs sort by row, then column, then as they came. Equal ones become one entry, whose weight is the sum of theirs in
//! that order; without weights a pair counts once, however often it is named. The entries that are left over in
//! `members` are filled with the number of columns, in `merged` with 0.
//!
//! | [`transpose`] | shape           | type                               |
//! |---------------|-----------------|------------------------------------|
//! | incidence     | see [`hyper`](super) | without `places`              |
//! | `offsets`     | `[columns + 1]` | `u32`                              |
//! | `members`     | `[entries]`     | `u32`, the rows of each column, rising |
//! | `places`      | `[entries]`     | `u32`, where the entry came from   |
//!
//! Entries that belong to no row come last, with the number of rows as member.
//!
//! **Determinism** exact, sums of weights included. **Errors** `Range` for a row or column that is too large (on the
//! host; on CUDA such a pair is dropped). **Moves** [`Plan::bytes`]; the sort is by counting, in time linear in pairs.
use super::{at_most, length, size};
use crate::{Error, Float, Layout, Result};
use alloc::vec::Vec;
use core::ops::Range;

/// How large an incidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rows: usize,
    columns: usize,
    entries: usize,
}

/// Rows, columns and entries are `u32`, and a sentinel is one more than the last.
const MOST: usize = i32::MAX as usize;

impl Shape {
    /// `entries` columns in all, among `columns`, shared out to `rows`.
    ///
    /// # Errors
    /// [`Error::Range`] if one of them is past an index of 31 bits.
    pub fn new(rows: usize, columns: usize, entries: usize) -> Result<Self> {
        at_most("hyper", "rows", MOST, rows)?;
        at_most("hyper", "columns", MOST, columns)?;
        at_most("hyper", "entries", MOST, entries)?;
        Ok(Self { rows, columns, entries })
    }
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
    /// Entries there is room for.
    pub fn entries(&self) -> usize {
        self.entries
    }
    /// Rows for columns.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, ..self }
    }
}

/// An incidence in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Incidence<'a> {
    /// Where rows begin and end.
    pub offsets: &'a [u32],
    /// The column of each entry.
    pub members: &'a [u32],
    /// The number of each entry; empty if they are numbered as they lie.
    pub places: &'a [u32],
}

impl<'a> Incidence<'a> {
    /// The entries of row `r`.
    pub fn row(&self, r: usize) -> Range<usize> {
        self.offsets[r] as usize..self.offsets[r + 1] as usize
    }

    /// The columns of row `r`.
    pub fn columns(&self, r: usize) -> &'a [u32] {
        &self.members[self.row(r)]
    }

    /// The number of entry `i`.
    #[inline(always)]
    pub fn number(&self, i: usize) -> usize {
        self.places.get(i).map_or(i, |&place| place as usize)
    }

    /// Entries that belong to a row.
    pub fn count(&self) -> usize {
        self.offsets.last().map_or(0, |&last| last as usize)
    }

    /// Check what layouts cannot say.
    ///
    /// # Errors
    /// [`Error::Size`] for lengths, [`Error::Value`] for offsets that do not rise from 0, members that do not rise
    /// within their row or places that name an entry twice, [`Error::Range`] for a member that is no column or a place
    /// that is no entry.
    pub fn check(&self, op: &'static str, shape: &Shape) -> Result<()> {
        size(op, "offsets", shape.rows + 1, self.offsets.len())?;
        size(op, "members", shape.entries, self.members.len())?;
        if !self.places.is_empty() {
            size(op, "places", shape.entries, self.places.len())?;
        }
        if self.offsets[0] != 0 || !self.offsets.is_sorted() || self.count() > shape.entries {
            return Err(Error::Value { op, arg: "offsets", want: "rising from 0 to at most the number of entries" });
        }
        for r in 0..shape.rows {
            let members = self.columns(r);
            if let Some(&last) = members.last().filter(|&&last| last as usize >= shape.columns) {
                at_most(op, "members", shape.columns.saturating_sub(1), last as usize)?;
                return Err(Error::Value { op, arg: "members", want: "none, as there are no columns" });
            }
            if !members.is_sorted_by(|a, b| a < b) {
                return Err(Error::Value { op, arg: "members", want: "rising within each row, each column once" });
            }
        }
        self.check_places(op, shape.entries)
    }

    /// Whether each entry of a row has a number of its own: of two with one number, one's share would be lost.
    fn check_places(&self, op: &'static str, entries: usize) -> Result<()> {
        let mut named = alloc::vec![0_u64; if self.places.is_empty() { 0 } else { entries.div_ceil(64) }];
        for place in self.places.iter().take(self.count()).map(|&place| place as usize) {
            at_most(op, "places", entries - 1, place)?;
            let (word, bit) = (&mut named[place / 64], 1 << (place % 64));
            if *word & bit != 0 {
                return Err(Error::Value { op, arg: "places", want: "the number of each entry, none of them twice" });
            }
            *word |= bit;
        }
        Ok(())
    }
}

/// A checked problem. Only [`plan`] and [`plan_transpose`] make one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    shape: Shape,
    weighted: bool,
}

/// Check a call of [`build`] for `rows` and `columns` of those numbers.
///
/// # Errors
/// See the module.
pub fn plan(shape: &Shape, rows: &Layout<1>, columns: &Layout<1>, weights: Option<&Layout<1>>) -> Result<Plan> {
    let op = "hyper_incidence";
    size(op, "rows", shape.entries, rows.dims()[0])?;
    size(op, "columns", shape.entries, columns.dims()[0])?;
    length(op, "weights", shape.entries, weights)?;
    Ok(Plan { shape: *shape, weighted: weights.is_some() })
}

/// Check a call of [`transpose`].
pub fn plan_transpose(shape: &Shape) -> Plan {
    Plan { shape: *shape, weighted: false }
}

impl Plan {
    /// How large the incidence is that is built, or turned over.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Whether pairs have weights.
    pub fn weighted(&self) -> bool {
        self.weighted
    }
    /// Bytes that any implementation must move at least: pairs in, entries and offsets out.
    pub fn bytes(&self) -> usize {
        self.shape.entries * if self.weighted { 20 } else { 12 } + 4 * (self.shape.rows + 1)
    }
}

/// Sort pairs and merge equal ones.
///
/// # Errors
/// [`Error::Range`] for a row or column that is too large.
pub fn build<A: Float>(
    p: &Plan,
    rows: &[u32],
    columns: &[u32],
    weights: Option<&[A]>,
    offsets: &mut [u32],
    members: &mut [u32],
    merged: Option<&mut [A]>,
) -> Result<()> {
    check_pairs(p, rows, columns)?;
    let Shape { rows: count, columns: sentinel, entries: pairs } = p.shape;
    let mut sorted: Vec<usize> = (0..pairs).collect();
    sorted.sort_by_key(|&i| (rows[i], columns[i])); // stable
    let mut sums = Vec::new();
    let mut entries: Vec<(u32, u32)> = Vec::new();
    for i in sorted {
        let weight = weights.map_or(0.0, |weights| weights[i].wide());
        if entries.last() == Some(&(rows[i], columns[i])) {
            // Rounded after each, so that the sum is the same on every device.
            let sum: &mut A = sums.last_mut().expect("a sum for each entry");
            *sum = A::narrow(sum.wide() + weight);
        } else {
            entries.push((rows[i], columns[i]));
            sums.push(A::narrow(weight));
        }
    }
    offsets[..=count].fill(0);
    members[..pairs].fill(sentinel as u32);
    for (i, &(row, column)) in entries.iter().enumerate() {
        members[i] = column;
        offsets[row as usize + 1] += 1;
    }
    (0..count).for_each(|r| offsets[r + 1] += offsets[r]);
    if let Some(merged) = merged {
        merged[..pairs].fill(A::default());
        merged[..sums.len()].copy_from_slice(&sums);
    }
    Ok(())
}

/// Rows and columns that are too large.
///
/// # Errors
/// [`Error::Range`].
pub fn check_pairs(p: &Plan, rows: &[u32], columns: &[u32]) -> Result<()> {
    for (arg, ids, count) in [("rows", rows, p.shape.rows), ("columns", columns, p.shape.columns)] {
        if let Some(&id) = ids[..p.shape.entries].iter().max().filter(|&&id| id as usize >= count) {
            let none = Error::Value { op: "hyper_incidence", arg, want: "none, as there are none to name" };
            let last = count.checked_sub(1).ok_or(none)?;
            at_most("hyper_incidence", arg, last, id as usize)?;
        }
    }
    Ok(())
}

/// Turn over: entries sorted by column, those of one column by row.
pub fn transpose(p: &Plan, from: Incidence, offsets: &mut [u32], members: &mut [u32], places: &mut [u32]) {
    let Shape { rows, columns, entries } = p.shape;
    let mut sorted: Vec<(u32, u32)> = Vec::new();
    for r in 0..rows {
        sorted.extend(from.row(r).map(|i| (i as u32, r as u32)));
    }
    sorted.sort_by_key(|&(i, _)| from.members[i as usize]); // stable
    sorted.extend((from.count()..entries).map(|i| (i as u32, rows as u32)));
    for (to, (i, r)) in sorted.into_iter().enumerate() {
        (members[to], places[to]) = (r, i);
    }
    offsets[..=columns].fill(0);
    from.members[..from.count()].iter().for_each(|&c| offsets[c as usize + 1] += 1);
    (0..columns).for_each(|c| offsets[c + 1] += offsets[c]);
}
