use crate::{rows, simd};
use alloc::vec::Vec;
use latens_kernels::Float;
use latens_kernels::entropy::{GROUPS, Group, Plan, RUN, Sampling};

/// The sample of one segment.
pub(super) struct Sample<'a, T> {
    p: &'a Plan<'a>,
    segment: usize,
    x: &'a [T],
    released: Option<Released>,
}

/// What the released rule must know before it chooses.
struct Released {
    stride: usize,
    /// Finite elements before each run.
    ranks: Vec<u32>,
    /// What is not finite: `[nan, infinite]` of each run.
    apart: Vec<[u32; 2]>,
}

impl<'a, T: Float> Sample<'a, T> {
    pub(super) fn new(p: &'a Plan<'a>, segment: usize, x: &'a [T]) -> Self {
        let released = match p.settings().sampling {
            Sampling::Released { stride } => Some(Released::new(p, segment, x, stride)),
            Sampling::Chunks { .. } => None,
        };
        Self { p, segment, x, released }
    }

    pub(super) fn plan(&self) -> &'a Plan<'a> {
        self.p
    }

    /// What was found not to be finite before anything was chosen.
    pub(super) fn apart(&self, group: usize) -> Group {
        let all = self.released.iter().flat_map(|released| released.apart.iter().skip(group).step_by(GROUPS));
        all.fold(Group::default(), |all, &[nan, infinite]| all.with(&Group { nan, infinite, ..Group::default() }))
    }

    /// Call `work` with all elements of a group, piece by piece; a piece has at most [`RUN`].
    pub(super) fn each(&self, group: usize, mut work: impl FnMut(&[T])) {
        let runs = (group..self.p.runs(self.segment)).step_by(GROUPS);
        let Some(released) = &self.released else {
            // No prefetcher of the processor guesses where the next run is. Its memory is asked for a part at a time, between
            // the parts of this one: all at once would be more than can be on its way.
            let mut next = self.place(group);
            for run in runs {
                let now = core::mem::replace(&mut next, self.place(run + GROUPS));
                for (i, &[start, end]) in now.all[..now.count].iter().enumerate() {
                    let [ahead, last] = next.all[i];
                    simd::prefetch(&self.x[ahead..last]);
                    work(&self.x[start..end]);
                }
            }
            return;
        };
        let mut chosen = [T::default(); RUN];
        for run in runs {
            let mut count = 0;
            let mut rank = released.ranks[run] as usize;
            for part in self.p.parts(self.segment, run) {
                let part = &self.x[part];
                if released.apart[run] == [0, 0] {
                    // All are finite, so rank and place go together.
                    let first = rank.next_multiple_of(released.stride) - rank;
                    for &x in part.iter().skip(first).step_by(released.stride) {
                        chosen[count] = x;
                        count += 1;
                    }
                    continue;
                }
                for &x in part.iter().filter(|x| x.to_f32().is_finite()) {
                    if rank.is_multiple_of(released.stride) {
                        chosen[count] = x;
                        count += 1;
                    }
                    rank += 1;
                }
            }
            work(&chosen[..count]);
        }
    }

    /// Where a run is.
    fn place(&self, run: usize) -> Places {
        let mut places = Places { all: [[0; 2]; 32], count: 0 };
        if run < self.p.runs(self.segment) {
            for part in self.p.parts(self.segment, run) {
                places.all[places.count] = [part.start, part.end];
                places.count += 1;
            }
        }
        places
    }
}

/// The parts of a run: at most 32, of 32 elements; what follows them is empty.
struct Places {
    all: [[usize; 2]; 32],
    count: usize,
}

impl Released {
    fn new<T: Float>(p: &Plan<'_>, segment: usize, x: &[T], stride: usize) -> Self {
        let apart = rows::collect(p.runs(segment), |run| {
            p.parts(segment, run).fold([0, 0], |[nan, infinite], part| {
                simd::best(
                    #[inline(always)]
                    |_| {
                        let (mut all, mut nans) = (infinite + nan, nan);
                        for x in &x[part] {
                            let bits = x.to_f32().to_bits() << 1;
                            all += u32::from(bits >= 0xff00_0000);
                            nans += u32::from(bits > 0xff00_0000);
                        }
                        [nans, all - nans]
                    },
                )
            })
        });
        let mut rank = 0;
        let mut before = |(run, &[nan, infinite]): (usize, &[u32; 2])| {
            let len: usize = p.parts(segment, run).map(|part| part.len()).sum();
            let now = rank;
            rank += len as u32 - nan - infinite;
            now
        };
        Self { stride, ranks: apart.iter().enumerate().map(&mut before).collect(), apart }
    }
}
