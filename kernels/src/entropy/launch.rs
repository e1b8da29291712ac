use super::{Estimator, GROUPS, IMAGE, OP, Plan, Sampling};
use crate::{Chip, Float, Launch, Result, Segments, Span, SpanMut};

const BLOCK: u32 = 256;
/// Runs of a job, one to a warp.
const RUNS: usize = BLOCK as usize / 32;
/// Bytes of shared memory that copies of the bins may take.
const SHARED: usize = 32 << 10;
/// Copies of the bins in a block, at most.
const COPIES: usize = 4;

/// Jobs of one segment: those of group `g` are `g`, `g + 16`, .. from its first. Twin of `jobs_of` in `sample.cuh`.
fn jobs(runs: usize) -> usize {
    GROUPS * runs.div_ceil(GROUPS).div_ceil(RUNS).max(1)
}

/// Elements of each part of the workspace.
struct Parts {
    segments: usize,
    jobs: usize,
    ranks: usize,
    groups: usize,
    bins: usize,
}

fn parts(p: &Plan<'_>) -> Parts {
    let segments = p.segments.count();
    let jobs = (0..segments).map(|segment| jobs(p.runs(segment))).sum();
    let released = matches!(p.settings.sampling, Sampling::Released { .. });
    let groups = segments * GROUPS;
    let bins = if p.has_bins() { groups * p.settings.bins } else { 0 };
    Parts { segments, jobs, ranks: if released { jobs * RUNS } else { 0 }, groups, bins }
}

pub(super) fn workspace(p: &Plan<'_>) -> usize {
    let Parts { segments, jobs, ranks, groups, bins } = parts(p);
    let words = [segments + 1, segments, ranks, 3 * jobs, 2 * jobs, groups, 2 * segments, bins];
    let sums = [2 * jobs, 2 * groups];
    let bytes: usize = words.map(|n| 4 * n + 255).iter().chain(&sums.map(|n| 8 * n + 255)).sum();
    bytes + 255
}

/// What lies in the workspace.
struct Scratch<'a> {
    first: SpanMut<'a, u32>,
    arrived: SpanMut<'a, u32>,
    ranks: Option<SpanMut<'a, u32>>,
    found: SpanMut<'a, u32>,
    ranges: SpanMut<'a, f32>,
    sums: SpanMut<'a, f64>,
    sizes: SpanMut<'a, u32>,
    group_sums: SpanMut<'a, f64>,
    range: SpanMut<'a, f32>,
    histogram: SpanMut<'a, u32>,
}

impl<'a> Scratch<'a> {
    fn cut(&Parts { segments, jobs, ranks, groups, bins }: &Parts, mut workspace: SpanMut<'a, u8>) -> Result<Self> {
        Ok(Self {
            first: workspace.take(segments + 1, OP)?,
            arrived: workspace.take(segments, OP)?,
            ranks: if ranks > 0 { Some(workspace.take(ranks, OP)?) } else { None },
            found: workspace.take(3 * jobs, OP)?,
            ranges: workspace.take(2 * jobs, OP)?,
            sums: workspace.take(2 * jobs, OP)?,
            sizes: workspace.take(groups, OP)?,
            group_sums: workspace.take(2 * groups, OP)?,
            range: workspace.take(2 * segments, OP)?,
            histogram: workspace.take(bins, OP)?,
        })
    }
}

/// An estimator as the device knows it: twin of `estimate.cuh`.
fn number(estimator: Estimator) -> usize {
    match estimator {
        Estimator::Discrete => 0,
        Estimator::Differential => 1,
        Estimator::Gaussian => 2,
    }
}

/// The launches of one call, to be run in order: lay out the jobs; for the released rule count the finite elements before
/// each run; moments; bins, and the estimate. However many segments there are, three do something, four for the released
/// rule, and two for `Gaussian`: a stage needs all blocks of the one before it only of its own segment, and so is done by the
/// last of them; but the bins of any element need the range of all.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan<'_>,
    chip: &Chip,
    x: Span<'a, T>,
    table: Span<'a, u32>,
    values: SpanMut<'a, T::Acc>,
    counts: SpanMut<'a, u32>,
    workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 4]> {
    let parts = parts(p);
    let Parts { segments, jobs, .. } = parts;
    let x = x.holds(p.segments.span(), OP, "x")?;
    let table = table.holds(segments * Segments::WORDS, OP, "segments")?;
    let [[_, columns], [_, numbers]] = p.out();
    let values = values.holds(segments * columns, OP, "values")?;
    let counts = counts.holds(segments * numbers, OP, "counts")?;
    let scratch = Scratch::cut(&parts, workspace)?;
    let Scratch { first, arrived, ranks, found, ranges, sums, sizes, group_sums, range, histogram } = scratch;

    let (chunk, stride, seed, step, released) = match p.settings.sampling {
        Sampling::Chunks { chunk, stride, seed, step } => (chunk, stride, seed, step, 0),
        Sampling::Released { stride } => (super::RUN, stride, 0, 0, 1),
    };
    // What every kernel begins with: twin of TABLE in `entropy.cu`.
    let begin = |kernel| {
        let launch = Launch::new::<T>(&IMAGE, kernel).read(x).read(table).write(&first).write(&arrived);
        let launch = launch.write(ranks.as_ref());
        let launch = launch.u32(segments).u32(jobs).u64(p.segments.span()).u32(chunk).u32(stride);
        launch.u64(seed as usize).u64(step as usize).u32(released)
    };
    let width = p.settings.bins;
    let copies = (SHARED / (4 * width)).clamp(1, COPIES);
    let (survey, binned) = (if released == 1 { jobs } else { 0 }, usize::from(p.has_bins()));
    // What the kernels that may come last end with: twin of END in `entropy.cu`.
    let end = |launch: Launch<'a>| {
        let launch = launch.write(&sizes).write(&group_sums).write(&range).write(&counts).write(&histogram);
        let correct = usize::from(p.settings.correct);
        launch.write(&values).u32(width).u32(number(p.settings.estimator)).u32(correct)
    };
    let moments = begin("entropy_moments").write(&found).write(&ranges).write(&sums);
    Ok([
        begin("entropy_layout").over([usize::from(segments > 0), 1, 1], BLOCK, 0, chip)?,
        begin("entropy_survey").write(&found).over([survey, 1, 1], BLOCK, 0, chip)?,
        end(moments).over([jobs, 1, 1], BLOCK, 0, chip)?,
        end(begin("entropy_bins").u32(copies)).over([binned * jobs, 1, 1], BLOCK, 4 * width * copies, chip)?,
    ])
}
