//! [`latens_kernels::hyper`] on the host. Rows are shared out to threads and summed in the order of their entries, so no
//! result depends on how many there are; `f64` takes the references. While a row is added the next ones are fetched.
pub mod degree;
mod gather;
pub mod incidence;
mod integer;
pub mod pool;
pub mod rank;
pub mod search;
pub mod select;
pub mod weigh;

use crate::rows;
use alloc::vec::Vec;
use core::ops::Range;
use latens_kernels::Float;
use latens_kernels::hyper::{Incidence, Shape};

/// Entries below which a part of the rows is not worth a thread.
const PART: usize = 1 << 14;

/// The rows in parts of about as many entries, and rows; nothing depends on where the cuts are.
fn parts(of: Incidence, shape: &Shape) -> Vec<Range<usize>> {
    let weight = |r: usize| of.offsets[r] as usize + r;
    let all = weight(shape.rows());
    let count = (all / PART).clamp(1, 8 * rows::threads());
    let mut first = 0;
    let cut = |part| {
        let (mut low, mut high) = (first, shape.rows());
        while low < high {
            let middle = (low + high) / 2;
            if weight(middle) * count < all * part { low = middle + 1 } else { high = middle }
        }
        let end = if part == count { shape.rows() } else { low };
        core::mem::replace(&mut first, end)..end
    };
    (1..=count).map(cut).collect()
}

/// A number for each entry: `work(r, out)` fills those of row `r`, which then go to their places; others get 0.
fn by_entry<A: Float>(of: Incidence, shape: &Shape, to: &mut [A], work: impl Fn(usize, &mut [f32]) + Sync) {
    let parts = parts(of, shape);
    let found = rows::collect(parts.len(), |part| {
        let rows = parts[part].clone();
        let first = of.offsets[rows.start] as usize;
        let mut out = alloc::vec![0.0; of.offsets[rows.end] as usize - first];
        for r in rows {
            let entries = of.row(r);
            work(r, &mut out[entries.start - first..entries.end - first]);
        }
        out
    });
    let to = &mut to[..shape.entries()];
    if of.places.is_empty() {
        let (mut filled, rest) = to.split_at_mut(of.count());
        for part in found {
            let (now, later) = filled.split_at_mut(part.len());
            now.iter_mut().zip(part).for_each(|(to, x)| *to = A::from_f32(x));
            filled = later;
        }
        return rest.fill(A::default());
    }
    to.fill(A::default());
    for (i, x) in found.into_iter().flatten().enumerate() {
        to[of.number(i)] = A::from_f32(x);
    }
}

/// `work(rows, y)` for parts of the rows, each with its own part of an output of `width` numbers a row.
fn by_row<A: Send, B: Send>(
    of: Incidence,
    shape: &Shape,
    (a, of_a): (&mut [A], usize),
    (b, of_b): (&mut [B], usize),
    work: impl Fn(Range<usize>, &mut [A], &mut [B]) + Sync,
) {
    let (mut a, mut b) = (&mut a[..shape.rows() * of_a], &mut b[..shape.rows() * of_b]);
    let mut tasks = Vec::new();
    for rows in parts(of, shape) {
        let (part_a, part_b);
        (part_a, a) = a.split_at_mut(rows.len() * of_a);
        (part_b, b) = b.split_at_mut(rows.len() * of_b);
        tasks.push((rows, part_a, part_b));
    }
    rows::tasks(tasks, |(rows, a, b)| work(rows, a, b));
}
