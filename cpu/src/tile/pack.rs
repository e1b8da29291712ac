//! The two inputs of a product as a tile wants them.
use super::{HALF, LANES};
use crate::{cast::cast, level::Level};
use core::ops::Range;
use latens_kernels::{DType, Float, bf16};

/// A matrix: entry (i, j) is `data[i * down + j * across]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub down: usize,
    pub across: usize,
}

impl<'a, T: Float> Matrix<'a, T> {
    /// Elements from the first to one past the last.
    pub(crate) fn span(&self) -> usize {
        match self.rows * self.columns {
            0 => 0,
            _ => (self.rows - 1) * self.down + (self.columns - 1) * self.across + 1,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, down: self.across, across: self.down, ..self }
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.down + j * self.across]
    }
}

/// Whether products of `T` are made in pairs.
pub(crate) fn in_pairs<T: Float>(level: Level) -> bool {
    level.pairs() && T::DTYPE == DType::BF16
}

/// Numbers that a term of a sum takes up: as many as are read at once.
pub(crate) fn steps<T: Float>(level: Level, k: usize) -> usize {
    if in_pairs::<T>(level) { k.div_ceil(2) } else { k }
}

/// One entry of the packed form: the bits of an `f32`, or of two `bf16` of which the second may be past the end.
#[inline(always)]
fn entry<T: Float>(pairs: bool, first: T, second: Option<T>) -> u32 {
    let bits = |x: T| x.to_f32().to_bits();
    if pairs { bits(first) >> 16 | second.map_or(0, |x| bits(x) & 0xffff_0000) } else { bits(first) }
}

/// Rows one after the other, each of [`steps`] entries: those of `a` from `first` on, as many as fit.
#[inline(always)]
pub(crate) fn rows<T: Float>(level: Level, a: Matrix<'_, T>, first: usize, to: &mut [u32]) {
    let (pairs, steps) = (in_pairs::<T>(level), steps::<T>(level, a.columns));
    let each = if pairs { 2 } else { 1 };
    if a.across != 1 {
        if a.down == 1 && !pairs && rows_of_columns(level, a, first, to) {
            return;
        }
        // Neighbours in memory are of neighbouring rows.
        let count = to.len() / steps.max(1);
        for (c, i) in (0..steps).flat_map(|c| (0..count).map(move |i| (c, i))) {
            let second = (each * c + 1 < a.columns).then(|| a.at(first + i, (each * c + 1).min(a.columns - 1)));
            to[i * steps + c] = entry(pairs, a.at(first + i, each * c), second);
        }
        return;
    }
    for (i, to) in to.chunks_exact_mut(steps.max(1)).enumerate() {
        let row = &a.data[(first + i) * a.down..][..a.columns];
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if let Some(row) = cast::<T, bf16>(row).filter(|_| pairs) {
            // A row in memory is one of pairs already.
            to[steps - 1] = 0;
            super::halves(to).iter_mut().zip(row).for_each(|(to, x)| *to = x.to_bits());
            continue;
        }
        if pairs {
            to.iter_mut().zip(row.chunks(2)).for_each(|(to, x)| *to = entry(true, x[0], x.get(1).copied()));
        } else {
            to.iter_mut().zip(row).for_each(|(to, &x)| *to = entry(false, x, None));
        }
    }
}

/// [`rows`] where entries of neighbouring rows lie side by side: 16 by 16 numbers at a time.
#[inline(always)]
fn rows_of_columns<T: Float>(level: Level, a: Matrix<'_, T>, first: usize, to: &mut [u32]) -> bool {
    let (steps, plain) = (a.columns, cast::<T, f32>(a.data).map(super::bits));
    let (mut block, mut turned) = ([0; HALF * HALF], [0; HALF * HALF]);
    for (stripe, to) in to.chunks_mut((HALF * steps).max(1)).enumerate() {
        let (first, count) = (first + stripe * HALF, to.len() / steps.max(1));
        for c in (0..steps).step_by(HALF) {
            let (deep, from) = ((steps - c).min(HALF), c * a.across + first);
            let done = match plain.filter(|_| count == HALF && deep == HALF) {
                Some(data) => level.transpose16(&data[from..], a.across, &mut turned),
                None => {
                    for (r, to) in block.chunks_exact_mut(HALF).enumerate().take(deep) {
                        let row = &a.data[from + r * a.across..][..count];
                        to.iter_mut().zip(row).for_each(|(to, x)| *to = x.to_f32().to_bits());
                    }
                    level.transpose16(&block, HALF, &mut turned)
                }
            };
            if !done {
                return false;
            }
            for (to, row) in to.chunks_exact_mut(steps).zip(turned.chunks_exact(HALF)) {
                to[c..c + deep].copy_from_slice(&row[..deep]);
            }
        }
    }
    true
}

/// The columns of `b` from `first` on, at most [`LANES`], as a tile wants them; zeros past the last.
#[inline(always)]
pub(crate) fn lanes<T: Float>(level: Level, b: Matrix<'_, T>, first: usize, to: &mut [u32]) {
    let count = (b.columns - first).min(LANES);
    if b.down == 1 && count == LANES && lanes_of_rows(level, b, first, to) {
        return;
    }
    let pairs = in_pairs::<T>(level);
    to.fill(0);
    for (half, to) in to.chunks_exact_mut((HALF * steps::<T>(level, b.rows)).max(1)).enumerate() {
        let (first, count) = (first + half * HALF, count.saturating_sub(half * HALF).min(HALF));
        if count > 0 {
            half_of_lanes(pairs, b, first..first + count, to);
        }
    }
}

/// [`lanes`] of as many panels as fit, one after another, each of `size` words. Where the columns of a row lie side by side, some
/// rows are read along all panels, and then the next: one panel at a time, only two lines of memory would be read of each.
#[inline(always)]
pub(crate) fn panels<T: Float>(level: Level, b: Matrix<'_, T>, first: usize, to: &mut [u32], size: usize) {
    /// Rows that are read along.
    const ALONG: usize = 16;
    if b.across != 1 {
        to.chunks_exact_mut(size).enumerate().for_each(|(at, to)| lanes(level, b, first + at * LANES, to));
        return;
    }
    let (pairs, steps) = (in_pairs::<T>(level), steps::<T>(level, b.rows));
    if b.columns < first + to.len() / size * LANES {
        to.fill(0);
    }
    for start in (0..steps).step_by(ALONG) {
        let words = start..steps.min(start + ALONG);
        let b = entries(level, b, &words);
        for (at, to) in to.chunks_exact_mut(HALF * steps).enumerate() {
            let columns = (first + at * HALF).min(b.columns)..(first + (at + 1) * HALF).min(b.columns);
            if !columns.is_empty() {
                half_of_lanes(pairs, b, columns, &mut to[words.start * HALF..words.end * HALF]);
            }
        }
    }
}

/// The rows of `b` that some words of the terms stand for.
pub(crate) fn entries<'b, T: Float>(level: Level, b: Matrix<'b, T>, words: &Range<usize>) -> Matrix<'b, T> {
    let each = if in_pairs::<T>(level) { 2 } else { 1 };
    let (from, to) = (each * words.start, b.rows.min(each * words.end));
    Matrix { data: &b.data[(from * b.down).min(b.data.len())..], rows: to - from, ..b }
}

/// So many columns of `b`, entry (c, lane) at `c * HALF + lane`.
#[inline(always)]
fn half_of_lanes<T: Float>(pairs: bool, b: Matrix<'_, T>, columns: Range<usize>, to: &mut [u32]) {
    let each = if pairs { 2 } else { 1 };
    if b.across == 1 && columns.len() == HALF && !pairs {
        let (to, plain) = (to.as_chunks_mut::<HALF>().0, cast::<T, f32>(b.data).map(super::bits));
        for (c, to) in to.iter_mut().enumerate() {
            let at = c * b.down + columns.start;
            match plain {
                // Number by number it would be copied so, without vectors. Asking for lines ahead changed nothing (Zen 3).
                Some(data) => to.copy_from_slice(&data[at..][..HALF]),
                None => to.iter_mut().zip(&b.data[at..][..HALF]).for_each(|(to, &x)| *to = entry(false, x, None)),
            }
        }
        return;
    }
    for (c, to) in to.chunks_exact_mut(HALF).enumerate() {
        if b.across == 1 {
            let row = |c: usize| &b.data[c * b.down..][columns.clone()];
            let low = to.iter_mut().zip(row(each * c));
            if pairs && 2 * c + 1 < b.rows {
                low.zip(row(2 * c + 1)).for_each(|((to, &x), &y)| *to = entry(true, x, Some(y)));
            } else {
                low.for_each(|(to, &x)| *to = entry(pairs, x, None));
            }
        } else {
            for (column, to) in columns.clone().zip(to) {
                let second = (each * c + 1 < b.rows).then(|| b.at((each * c + 1).min(b.rows - 1), column));
                *to = entry(pairs, b.at(each * c, column), second);
            }
        }
    }
}

/// [`lanes`] where the terms of a sum lie one after the other: 16 by 16 numbers at a time, the rest one by one.
#[inline(always)]
fn lanes_of_rows<T: Float>(level: Level, b: Matrix<'_, T>, first: usize, to: &mut [u32]) -> bool {
    let (pairs, steps) = (in_pairs::<T>(level), steps::<T>(level, b.rows));
    let each = if pairs { 2 } else { 1 };
    let whole = b.rows / (each * HALF) * HALF;
    let mut block = [0; HALF * HALF];
    let plain = cast::<T, f32>(b.data).map(super::bits);
    for (half, to) in to.chunks_exact_mut((HALF * steps).max(1)).enumerate() {
        let first = first + half * HALF;
        for c in (0..whole).step_by(HALF) {
            if let Some(data) = plain {
                if !level.transpose16(&data[first * b.across + c..], b.across, &mut to[c * HALF..]) {
                    return false;
                }
                continue;
            }
            for (r, to) in block.chunks_exact_mut(HALF).enumerate() {
                let row = &b.data[(first + r) * b.across + each * c..][..each * HALF];
                if let Some(row) = cast::<T, bf16>(row).filter(|_| pairs) {
                    for (to, x) in to.iter_mut().zip(row.as_chunks::<2>().0) {
                        *to = u32::from(x[0].to_bits()) | u32::from(x[1].to_bits()) << 16;
                    }
                } else {
                    for (to, x) in to.iter_mut().zip(row) {
                        *to = x.to_f32().to_bits();
                    }
                }
            }
            if !level.transpose16(&block, HALF, &mut to[c * HALF..]) {
                return false;
            }
        }
        let rest = Matrix { data: &b.data[each * whole..], rows: b.rows - each * whole, ..b };
        half_of_lanes(pairs, rest, first..first + HALF, &mut to[whole * HALF..]);
    }
    true
}

/// Rows of packed entries as lanes.
pub(crate) fn turned(level: Level, rows: &[u32], to: &mut [u32]) {
    let steps = rows.len() / LANES;
    let halves = rows.chunks_exact((HALF * steps).max(1)).zip(to.chunks_exact_mut((HALF * steps).max(1)));
    for (rows, to) in halves {
        for c in (0..steps).step_by(HALF) {
            let whole = c + HALF <= steps;
            if !(whole && level.transpose16(&rows[c..], steps, &mut to[c * HALF..])) {
                for (c, r) in (c..steps.min(c + HALF)).flat_map(|c| (0..HALF).map(move |r| (c, r))) {
                    to[c * HALF + r] = rows[r * steps + c];
                }
            }
        }
    }
}
