use super::{COLUMNS, GROUPS, Group, Plan, Sampling, Scale, State, estimate};
use crate::{Float, math};
use alloc::{vec, vec::Vec};

/// The definition, a segment at a time.
pub fn forward<T: Float>(p: &Plan<'_>, x: &[T], values: &mut [T::Acc], counts: &mut [u32]) {
    let rows = values.chunks_mut(COLUMNS).zip(counts.chunks_mut(3));
    for (segment, (values, counts)) in (0..p.segments().count()).zip(rows) {
        let (mut groups, sample) = gather(p, segment, x);
        let whole = groups.iter().fold(Group::default(), |all, group| all.with(group));
        let width = p.settings().bins;
        let scale = Scale::<T::Acc>::new(whole.low, whole.high, width);
        let mut bins = vec![0; if p.has_bins() { GROUPS * width } else { 0 }];
        for (g, x) in sample {
            groups[g].sum += x;
            groups[g].squares += x * x;
            if p.has_bins() {
                bins[g * width + scale.bin(x)] += 1;
            }
        }
        let state = State { groups, bins: &bins };
        let x_ln_x = |n: u32| if n == 0 { 0.0 } else { f64::from(n) * math::ln(f64::from(n)) };
        let (row, found) = estimate(p, &state, x_ln_x);
        values.iter_mut().zip(row).for_each(|(to, x)| *to = T::Acc::narrow(x));
        counts.copy_from_slice(&found);
    }
}

/// The sample, each element with its group, and what can be counted before its sums.
fn gather<T: Float>(p: &Plan<'_>, segment: usize, x: &[T]) -> ([Group; GROUPS], Vec<(usize, f64)>) {
    let (mut groups, mut sample, mut finite) = ([Group::default(); GROUPS], Vec::new(), 0_usize);
    for run in 0..p.runs(segment) {
        let group = &mut groups[run % GROUPS];
        for x in p.parts(segment, run).flatten().map(|i| x[i].wide()) {
            if !x.is_finite() {
                *(if x.is_nan() { &mut group.nan } else { &mut group.infinite }) += 1;
                continue;
            }
            finite += 1;
            if matches!(p.settings().sampling, Sampling::Released { stride } if (finite - 1) % stride != 0) {
                continue;
            }
            group.count += 1;
            (group.low, group.high) = (group.low.min(x), group.high.max(x));
            sample.push((run % GROUPS, x));
        }
    }
    (groups, sample)
}
