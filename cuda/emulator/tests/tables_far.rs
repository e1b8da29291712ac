//! Entropy and low-rank factors of tensors that lie past 2^31 and 2^32 numbers in their buffer: by the code of the host and of the
//! device, where pages are only those that are touched; and what launches of such sizes are told.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod far;

use far::{CHIP, Far, device, nowhere, nowhere_mut, numbers};
use latens_cuda::Device;
use latens_kernels::entropy::{self, Estimator, Sampling, Settings};
use latens_kernels::{Arg, Error, Launch, Layout, Segment, Segments, lowrank};

/// Where three tensors begin.
const NEAR: [usize; 3] = [3, 7000, 14_000];
const FAR: [usize; 3] = [(1 << 31) - 5, (1 << 32) + 3, (9 << 32) + 1];

/// Matrices, and their numbers at their places of a buffer.
fn matrices(starts: [usize; 3], seed: usize) -> (Segments, Far<f32>) {
    let sizes = [[60, 100], [60, 70], [80, 75]];
    let segment = |(start, [rows, columns]): (usize, [usize; 2])| Segment { start, rows, columns };
    let segments = Segments::new(starts.into_iter().zip(sizes).map(segment).collect()).unwrap();
    let mut buffer = Far::new(segments.span());
    for (at, segment) in segments.all().iter().enumerate() {
        buffer.slice_mut()[segment.start..segment.end()].copy_from_slice(&numbers(segment.len(), seed + at));
    }
    (segments, buffer)
}

/// The matrices of a buffer, one after the other.
fn taken(segments: &Segments, buffer: &Far<f32>) -> Vec<f32> {
    segments.all().iter().flat_map(|s| buffer.slice()[s.start..s.end()].to_vec()).collect()
}

fn entropies(starts: [usize; 3], settings: &Settings, device: Option<&Device>) -> (Vec<f32>, Vec<u32>) {
    let (segments, x) = matrices(starts, 1);
    let p = entropy::plan(&Layout::packed([x.len]).unwrap(), &segments, settings).unwrap();
    let (mut values, mut counts) = (Far::<f32>::new(3 * 8), Far::<u32>::new(3 * 3));
    match device {
        None => latens_cpu::entropy::forward(&p, x.slice(), values.slice_mut(), counts.slice_mut()),
        Some(device) => {
            let (table, mut work) = (Far::of(&segments.words()), Far::<u8>::new(p.workspace()));
            let (v, c, w) = (values.span_mut(device), counts.span_mut(device), work.span_mut(device));
            let (x, table) = (x.span(device), table.span(device));
            device.run(&entropy::launch(&p, device.chip(), x, table, v, c, w).unwrap()).unwrap();
        }
    }
    (values.slice().to_vec(), counts.slice().to_vec())
}

/// Where tensors lie changes nothing, in any bit: draws go by the number of the tensor and the place in it.
#[test]
fn entropy_of_far_tensors() {
    if !far::room() {
        return;
    }
    let device = device();
    let chunks = Sampling::Chunks { chunk: 32, stride: 3, seed: 7 << 40 | 3, step: 11 << 33 | 5 };
    let drawn = Settings { estimator: Estimator::Differential, bins: 64, correct: true, sampling: chunks };
    for settings in [drawn, Settings::RELEASED, Settings { estimator: Estimator::Gaussian, ..drawn }] {
        for device in [None, Some(&device)] {
            let near = entropies(NEAR, &settings, device);
            assert!(near.0.iter().all(|x| x.is_finite()) && near.1.iter().step_by(3).all(|&count| count > 500));
            assert_eq!(entropies(FAR, &settings, device), near, "{settings:?} {}", device.is_some());
        }
    }
}

const RANK: usize = 4;

/// All stages of a step: sums of rows, the basis, sums of columns, what was made and what is left.
fn step(starts: [usize; 3], device: Option<&Device>) -> [Vec<f32>; 5] {
    let ((segments, g), (_, mut e)) = (matrices(starts, 1), matrices(starts, 5));
    let plan = lowrank::plan(&segments, RANK).unwrap();
    let from = Far::of(&numbers(plan.q()[0] * RANK, 9));
    let (mut p, mut q) = (Far::new(plan.p()[0] * RANK), Far::new(plan.q()[0] * RANK));
    let (mut y, mut dropped) = (Far::<f32>::new(segments.span()), Far::<u32>::new(3));
    let sums;
    match device {
        None => {
            use latens_cpu::lowrank as fast;
            fast::left(&plan, g.slice(), e.slice_mut(), from.slice(), p.slice_mut(), dropped.slice_mut());
            sums = p.slice().to_vec();
            fast::orthogonalise(&plan, p.slice_mut(), 3);
            fast::right(&plan, e.slice(), p.slice(), q.slice_mut());
            fast::restore(&plan, p.slice(), q.slice(), Some(e.slice_mut()), Some(y.slice_mut()));
        }
        Some(d) => {
            let (table, chip, run) =
                (Far::of(&segments.words()), d.chip(), |launches: &[Launch<'_>]| d.run(launches).unwrap());
            let (words, d_from) = (table.span(d), from.span(d));
            let (to, lost) = (p.span_mut(d), dropped.span_mut(d));
            run(&lowrank::launch_left(&plan, chip, words, g.span(d), e.span_mut(d), d_from, to, lost).unwrap());
            sums = p.slice().to_vec();
            let mut work = Far::<u8>::new(plan.workspace());
            let basis = lowrank::launch_orthogonalise(&plan, chip, words, p.span_mut(d), 3, work.span_mut(d));
            run(&basis.unwrap());
            run(&lowrank::launch_right(&plan, chip, words, e.span(d), p.span(d), q.span_mut(d)).unwrap());
            let (e, y) = (Some(e.span_mut(d)), Some(y.span_mut(d)));
            run(&lowrank::launch_restore(&plan, chip, words, p.span(d), q.span(d), e, y).unwrap());
        }
    }
    [sums, p.slice().to_vec(), q.slice().to_vec(), taken(&segments, &y), taken(&segments, &e)]
}

/// Where matrices lie changes nothing, in any bit.
#[test]
fn factors_of_far_matrices() {
    if !far::room() {
        return;
    }
    let device = device();
    for device in [None, Some(&device)] {
        let near = step(NEAR, device);
        assert!(near.iter().all(|x| x.iter().any(|&x| x != 0.0)));
        assert_eq!(step(FAR, device), near, "{}", device.is_some());
    }
}

/// Sizes at the ends of what indices and grids can hold. Nothing runs.
#[test]
fn launches_of_sizes_that_no_test_can_hold() {
    // Entropy: 2^34 numbers, of which one in five chunks is looked at, and more than can be counted.
    let segments = Segments::vectors(&[[5, 5 + (1 << 34)], [1 << 35, (1 << 35) + 9]]).unwrap();
    let x = Layout::packed([segments.span()]).unwrap();
    let settings =
        |stride| Settings { sampling: Sampling::Chunks { chunk: 256, stride, seed: 1, step: 1 }, ..Settings::RELEASED };
    assert_eq!(entropy::plan(&x, &segments, &settings(4)).err(), Some(Error::TooLarge));
    let of = settings(5);
    let p = entropy::plan(&x, &segments, &of).unwrap();
    let work = p.workspace();
    let launch = |x: usize| {
        let (table, values, counts) = (nowhere(12), nowhere_mut(16), nowhere_mut(6));
        entropy::launch(&p, &CHIP, nowhere::<f32>(x), table, values, counts, nowhere_mut(work))
    };
    let all = launch(segments.span()).unwrap();
    // A job has eight runs of 1024 numbers, and a group of jobs is 16.
    let jobs = 16 * p.runs(0).div_ceil(16).div_ceil(8) + 16;
    assert_eq!(all.map(|launch| launch.grid()[0]), [1, 0, jobs as u32, jobs as u32]);
    assert!(all.iter().all(|launch| launch.args().contains(&Arg::U64((1 << 35) + 9))));
    assert!(matches!(launch(segments.span() - 1).map(drop), Err(Error::Size { arg: "x", .. })));

    // Factors: as many rows and columns as an index holds, and as many tiles as a grid.
    let plan = |rows, columns| Segments::new(vec![Segment { start: 1 << 33, rows, columns }]).unwrap();
    let most = i32::MAX as usize;
    let restore = |rows, columns, rank| {
        let segments = plan(rows, columns);
        let p = lowrank::plan(&segments, rank).unwrap();
        let (left, q) = (nowhere(p.p()[0] * rank), nowhere(p.q()[0] * rank));
        let y = Some(nowhere_mut::<f32>(segments.span()));
        lowrank::launch_restore::<f32>(&p, &CHIP, nowhere(6), left, q, None, y)
            .map(|[launch]| (launch.grid(), launch.args().to_vec()))
    };
    let (grid, args) = restore(most, 64 * 63, 8).unwrap();
    assert_eq!(grid, [(1 << 25) * 63, 1, 1]);
    assert!(args.contains(&Arg::U64((1 << 33) + (most * 64 * 63) as u64)) && args.contains(&Arg::U32(63)));
    assert_eq!(restore(most, 64 * 64, 8).err(), Some(Error::TooLarge));
    for (rows, columns, arg) in [(most + 1, 1, "rows"), (1, most + 1, "columns")] {
        let want = Error::Range { op: "lowrank", arg, max: most, got: most + 1 };
        assert_eq!(lowrank::plan(&plan(rows, columns), 1).err(), Some(want));
    }
    // A Gram matrix of which the device counts the numbers in 32 bits.
    let basis = |rank: usize| {
        let segments = plan(most, most);
        let p = lowrank::plan(&segments, rank).unwrap();
        let (left, work) = (nowhere_mut::<f32>(most * rank), nowhere_mut(p.workspace()));
        lowrank::launch_orthogonalise(&p, &CHIP, nowhere(6), left, 1, work).map(|[launch]| launch.grid())
    };
    assert_eq!(basis(46_340), Ok([1, 1, 1]));
    for rank in [46_341, 1 << 16, 1 << 30, most] {
        let want = Error::Range { op: "lowrank_orthogonalise", arg: "rank", max: 46_340, got: rank };
        assert_eq!(basis(rank), Err(want));
    }
}
