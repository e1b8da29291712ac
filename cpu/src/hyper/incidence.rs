//! [`latens_kernels::hyper::incidence`] on the host: sorts by counting, in the order of the pairs.
use crate::once::once;
use alloc::{vec, vec::Vec};
use latens_kernels::hyper::Incidence;
use latens_kernels::hyper::incidence::{Plan, check_pairs};
use latens_kernels::{Float, Result};

/// Numbers `0..keys.len()` (as `items` has them) sorted by key, equal ones in the order of `items`.
fn sorted(items: Vec<u32>, keys: &[u32], count: usize) -> Vec<u32> {
    if items.is_sorted_by_key(|&i| keys[i as usize]) {
        return items;
    }
    let mut next = vec![0_u32; count + 1];
    items.iter().for_each(|&i| next[keys[i as usize] as usize + 1] += 1);
    (0..count).for_each(|key| next[key + 1] += next[key]);
    let mut out = vec![0; items.len()];
    for i in items {
        let to = &mut next[keys[i as usize] as usize];
        out[*to as usize] = i;
        *to += 1;
    }
    out
}

once! {
    /// See [`latens_kernels::hyper::incidence::build`].
    ///
    /// # Errors
    /// As there.
    pub fn build<A>(
        p: &Plan,
        rows: &[u32],
        columns: &[u32],
        weights: Option<&[A]>,
        offsets: &mut [u32],
        members: &mut [u32],
        merged: Option<&mut [A]>,
    ) -> Result<()> = build_impl;
}

fn build_impl<A: Float>(
    p: &Plan,
    rows: &[u32],
    columns: &[u32],
    weights: Option<&[A]>,
    offsets: &mut [u32],
    members: &mut [u32],
    mut merged: Option<&mut [A]>,
) -> Result<()> {
    check_pairs(p, rows, columns)?;
    let (shape, pairs) = (p.shape(), p.shape().entries());
    let order = (0..pairs as u32).collect();
    let order = sorted(sorted(order, columns, shape.columns()), rows, shape.rows());
    offsets[..=shape.rows()].fill(0);
    let (mut count, mut last) = (0, None);
    for i in order {
        let (pair, weight) = ((rows[i as usize], columns[i as usize]), weights.map(|weights| weights[i as usize]));
        if last != Some(pair) {
            offsets[pair.0 as usize + 1] += 1;
            members[count] = pair.1;
            (last, count) = (Some(pair), count + 1);
            if let (Some(merged), Some(weight)) = (&mut merged, weight) {
                merged[count - 1] = weight;
            }
        } else if let (Some(merged), Some(weight)) = (&mut merged, weight) {
            merged[count - 1] = A::narrow(merged[count - 1].wide() + weight.wide());
        }
    }
    (0..shape.rows()).for_each(|r| offsets[r + 1] += offsets[r]);
    members[count..pairs].fill(shape.columns() as u32);
    if let Some(merged) = merged {
        merged[count..pairs].fill(A::default());
    }
    Ok(())
}

/// See [`latens_kernels::hyper::incidence::transpose`].
pub fn transpose(p: &Plan, from: Incidence, offsets: &mut [u32], members: &mut [u32], places: &mut [u32]) {
    let (shape, count) = (p.shape(), from.count());
    offsets[..=shape.columns()].fill(0);
    from.members[..count].iter().for_each(|&c| offsets[c as usize + 1] += 1);
    (0..shape.columns()).for_each(|c| offsets[c + 1] += offsets[c]);
    let mut next = offsets[..shape.columns()].to_vec();
    for r in 0..shape.rows() {
        for i in from.row(r) {
            let to = &mut next[from.members[i] as usize];
            (members[*to as usize], places[*to as usize]) = (r as u32, i as u32);
            *to += 1;
        }
    }
    members[count..shape.entries()].fill(shape.rows() as u32);
    (count..shape.entries()).for_each(|i| places[i] = i as u32);
}
