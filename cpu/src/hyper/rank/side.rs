//! The rows of an incidence, in the order in which they are summed.
use crate::simd::Fused;
use alloc::{vec, vec::Vec};
use latens_kernels::hyper::Incidence;

/// Entries that are summed in `f32`; more are summed in parts of as many, and those in `f64`: an edge may have every vertex.
const PART: usize = 64;

/// Rows of an incidence in groups of `G`, those with few entries first. Sums of a group do not wait for each other. All rows of a
/// group have room for as many entries as its last: in all at most `G` times the most of any row more than there are.
pub(super) struct Side<const G: usize> {
    /// Where the entries of a group begin, and at last where they end.
    offsets: Vec<u32>,
    /// Places of members: of each row of a group the first, then the second; rows with fewer name [`Side::nobody`].
    members: Vec<[u32; G]>,
    /// What members weigh; empty if all are 1.
    shares: Vec<[f32; G]>,
}

/// Rows by rising number of entries.
pub(super) struct Sorted {
    /// The row of each place.
    pub(super) rows: Vec<u32>,
    /// The place of each row.
    pub(super) places: Vec<u32>,
}

impl Sorted {
    pub(super) fn new(of: Incidence, count: usize) -> Self {
        let most = (0..count).map(|r| of.row(r).len()).max().unwrap_or(0);
        let mut next = vec![0_u32; most + 2];
        (0..count).for_each(|r| next[of.row(r).len() + 1] += 1);
        (0..=most).for_each(|len| next[len + 1] += next[len]);
        let (mut rows, mut places) = (vec![0; count], vec![0; count]);
        for (r, place) in places.iter_mut().enumerate() {
            let next = &mut next[of.row(r).len()];
            (*place, rows[*next as usize]) = (*next, r as u32);
            *next += 1;
        }
        Self { rows, places }
    }
}

impl<const G: usize> Side<G> {
    /// `share` of an entry, if they are not all 1.
    pub(super) fn new(of: Incidence, own: &Sorted, others: &Sorted, share: Option<&dyn Fn(usize) -> f32>) -> Self {
        let groups = own.rows.chunks(G);
        // The last row of a group has the most.
        let most = groups.clone().map(|rows| rows.last().map_or(0, |&r| of.row(r as usize).len()));
        let mut offsets = vec![0];
        offsets.extend(most.scan(0, |end, most| {
            *end += most as u32;
            Some(*end)
        }));
        let count = offsets[offsets.len() - 1] as usize;
        let mut members = vec![[Self::nobody(others.rows.len()) as u32; G]; count];
        let mut shares = vec![[0.0; G]; if share.is_some() { count } else { 0 }];
        for (rows, &first) in groups.zip(&offsets) {
            for (g, &r) in rows.iter().enumerate() {
                let to = members[first as usize..].iter_mut().zip(of.columns(r as usize));
                to.for_each(|(to, &column)| to[g] = others.places[column as usize]);
                if let Some(share) = share {
                    shares[first as usize..].iter_mut().zip(of.row(r as usize)).for_each(|(to, i)| to[g] = share(i));
                }
            }
        }
        Self { offsets, members, shares }
    }

    /// Of `count` rows, the place that is always 0: behind the last group.
    pub(super) fn nobody(count: usize) -> usize {
        count.next_multiple_of(G)
    }

    /// The sums of what the entries of a group's rows name, times their weights, in their order.
    #[inline(always)]
    pub(super) fn sum<const W: usize>(&self, fused: Fused, group: usize, x: &[[f32; W]]) -> [[f32; W]; G] {
        let (begin, end) = (self.offsets[group] as usize, self.offsets[group + 1] as usize);
        if end - begin <= PART {
            return self.part(fused, begin, end, x);
        }
        let mut all = [[0.0_f64; W]; G];
        for begin in (begin..end).step_by(PART) {
            let sums = self.part(fused, begin, end.min(begin + PART), x);
            for g in 0..G {
                for c in 0..W {
                    all[g][c] += f64::from(sums[g][c]);
                }
            }
        }
        all.map(|row| row.map(|sum| sum as f32))
    }

    #[inline(always)]
    fn part<const W: usize>(&self, fused: Fused, begin: usize, end: usize, x: &[[f32; W]]) -> [[f32; W]; G] {
        let (mut sums, members) = ([[0.0; W]; G], &self.members[begin..end]);
        // Plain loops: a closure that is not inlined would be compiled without the instructions.
        if self.shares.is_empty() {
            for members in members {
                for g in 0..G {
                    let x = &x[members[g] as usize];
                    for c in 0..W {
                        sums[g][c] += x[c];
                    }
                }
            }
            return sums;
        }
        for (members, shares) in members.iter().zip(&self.shares[begin..end]) {
            for g in 0..G {
                let x = &x[members[g] as usize];
                for c in 0..W {
                    sums[g][c] = fused.mul_add(shares[g], x[c], sums[g][c]);
                }
            }
        }
        sums
    }
}
