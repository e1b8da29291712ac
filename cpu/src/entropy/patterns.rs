use super::sample::Sample;
use crate::{cast::cast, rows};
use alloc::{boxed::Box, vec, vec::Vec};
use latens_kernels::entropy::{GROUPS, Group};
use latens_kernels::{Float, bf16, f16};

/// How often each pattern of 16 bits occurs.
type Table = Box<[u32; 1 << 16]>;

fn table() -> Table {
    let zeros: Result<Table, _> = vec![0; 1 << 16].into_boxed_slice().try_into();
    zeros.unwrap_or_else(|_| unreachable!("as long as it was made"))
}

/// Groups and their bins, one after the other; `None` for elements of another size.
pub(super) fn count<T: Float>(sample: &Sample<'_, T>) -> Option<(Vec<Group>, Vec<u32>)> {
    let of_bf16 = |part: &[T], tables: &mut [Table; 2]| {
        add(cast::<T, bf16>(part).unwrap_or_default(), tables, |x| x.to_bits());
    };
    let of_f16 = |part: &[T], tables: &mut [Table; 2]| {
        add(cast::<T, f16>(part).unwrap_or_default(), tables, |x| x.to_bits());
    };
    if cast::<T, bf16>(&[]).is_some() {
        Some(counted(sample, of_bf16, |bits| bf16::from_bits(bits).to_f32()))
    } else if cast::<T, f16>(&[]).is_some() {
        Some(counted(sample, of_f16, |bits| f16::from_bits(bits).to_f32()))
    } else {
        None
    }
}

/// Two tables, so that equal neighbours do not wait for each other.
fn add<T: Copy>(part: &[T], [even, odd]: &mut [Table; 2], bits: impl Fn(T) -> u16) {
    let (pairs, rest) = part.as_chunks::<2>();
    for &[a, b] in pairs {
        even[usize::from(bits(a))] += 1;
        odd[usize::from(bits(b))] += 1;
    }
    for &a in rest {
        even[usize::from(bits(a))] += 1;
    }
}

fn counted<T: Float>(
    sample: &Sample<'_, T>,
    add: impl Fn(&[T], &mut [Table; 2]) + Sync,
    value: impl Fn(u16) -> f32 + Sync,
) -> (Vec<Group>, Vec<u32>) {
    let tables = rows::collect(GROUPS, |g| {
        let mut tables = [table(), table()];
        sample.each(g, |part| add(part, &mut tables));
        let [mut sum, other] = tables;
        sum.iter_mut().zip(other.iter()).for_each(|(a, b)| *a += b);
        sum
    });
    let groups = rows::collect(GROUPS, |g| {
        let each = (0..=u16::MAX).zip(tables[g].iter()).filter(|&(_, &count)| count > 0);
        each.fold(Group::default(), |group, (bits, &count)| group.with(&of(value(bits), count)))
    });
    let p = sample.plan();
    if !p.has_bins() {
        return (groups, Vec::new());
    }
    let width = p.settings().bins;
    let scale = super::scale(&groups, width);
    let mut bins = vec![0; GROUPS * width];
    rows::each_one(width, &mut bins, |g, bins| {
        for (bits, &count) in (0..=u16::MAX).zip(tables[g].iter()).filter(|&(_, &count)| count > 0) {
            let x = value(bits);
            if x.is_finite() {
                bins[scale.bin(f64::from(x))] += count;
            }
        }
    });
    (groups, bins)
}

/// `count` times the same element.
fn of(x: f32, count: u32) -> Group {
    if x.is_nan() {
        return Group { nan: count, ..Group::default() };
    }
    if x.is_infinite() {
        return Group { infinite: count, ..Group::default() };
    }
    let (x, n) = (f64::from(x), f64::from(count));
    Group { count, low: x, high: x, sum: n * x, squares: n * x * x, ..Group::default() }
}
