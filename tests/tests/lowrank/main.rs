//! One table of cases; every implementation of the stages of PowerSGD goes through it.
mod exchange;

use latens_core::{
    Device, Error, Float, Layout, Segment, SegmentTable, Segments, Tensor, bf16, f16, lowrank_left, lowrank_left_into,
    lowrank_orthogonalise, lowrank_orthogonalise_into, lowrank_orthogonalise_workspace, lowrank_resize,
    lowrank_restore, lowrank_restore_into, lowrank_right, lowrank_right_into,
};
use latens_kernels::lowrank as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same, small};

/// Rows and columns of the matrices, and the rank. A block has 64 rows or columns on CUDA, a tile 12 by 32 on the host.
const CASES: &[(&[[usize; 2]], usize)] = &[
    (&[], 3),
    (&[[1, 1]], 1),
    (&[[4, 3]], 0),
    (&[[5, 7], [7, 5]], 2),
    (&[[64, 33], [12, 70], [33, 64]], 8),
    (&[[65, 31], [40, 300]], 31),
    (&[[100, 64], [129, 32]], 32),
    (&[[70, 90]], 33),
    (&[[600, 40]], 8),
    (&[[70, 65], [90, 80]], 65),
];

/// The limit that the contract names.
const LIMIT: f64 = 1e-11;

/// Matrices one after the other, some elements apart.
fn table(shapes: &[[usize; 2]]) -> Segments {
    let mut start = 2;
    let mut segment = |&[rows, columns]: &[usize; 2]| {
        let segment = Segment { start, rows, columns };
        start = segment.end() + 5;
        segment
    };
    Segments::new(shapes.iter().map(&mut segment).collect()).unwrap()
}

/// All that a step reads and writes.
struct Step<T: Float> {
    g: Vec<T>,
    e: Vec<T::Acc>,
    q: Vec<T::Acc>,
}

fn step<T: Float>(plan: &family::Plan<'_>, seed: u64) -> Step<T> {
    let len = plan.table().span() + 3;
    let mut g = normal::<T>(len, 1.0, seed);
    if let Some(last) = plan.table().all().last() {
        for (at, bad) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
            g[last.start + at * 7 % last.len()] = T::narrow(bad);
        }
    }
    Step { g, e: normal(len, 0.5, seed + 1), q: normal(plan.q()[0] * plan.rank(), 1.0, seed + 2) }
}

/// What the stages of the reference make of a step.
struct Made<T: Float> {
    a: Vec<T::Acc>,
    p: Vec<T::Acc>,
    dropped: Vec<u32>,
    basis: Vec<T::Acc>,
    q: Vec<T::Acc>,
    y: Vec<T>,
    e: Vec<T::Acc>,
}

fn reference<T: Float + Poison>(plan: &family::Plan<'_>, step: &Step<T>) -> Made<T> {
    let (len, [rows, rank], [columns, _]) = (step.g.len(), plan.p(), plan.q());
    let (mut a, mut p) = (step.e.clone(), vec![T::Acc::default(); rows * rank]);
    let mut dropped = vec![9; plan.table().count()];
    family::left(plan, &step.g, &mut a, &step.q, &mut p, &mut dropped);
    let mut basis = p.clone();
    family::orthogonalise(plan, &mut basis, 7);
    let mut q = vec![T::Acc::default(); columns * rank];
    family::right(plan, &a, &basis, &mut q);
    let (mut e, mut y) = (a.clone(), vec![T::POISON; len]);
    family::restore(plan, &basis, &q, Some(&mut e), Some(&mut y));
    Made { a, p, dropped, basis, q, y, e }
}

/// Errors of narrow products are of the size of their rounding.
fn limit<T: Float>() -> f64 {
    if size_of::<T>() == 2 { 1e-5 } else { LIMIT }
}

/// `y` and `e`, which only together say what was made: one entry may round either way.
fn restored<T: Float>(what: &str, made: &Made<T>, y: &[T], e: &[T::Acc]) {
    close(&format!("{what} y"), y, &made.y, limit::<T>());
    let sum = |y: &[T], e: &[T::Acc]| -> Vec<f64> { y.iter().zip(e).map(|(y, e)| y.wide() + e.wide()).collect() };
    close(&format!("{what} y + e"), &sum(y, e), &sum(&made.y, &made.e), LIMIT);
}

fn check<T: Float<Acc: Poison> + Poison>(shapes: &[[usize; 2]], rank: usize, seed: u64, cases: &mut Cases) {
    let segments = table(shapes);
    let plan = family::plan(&segments, rank).unwrap();
    let step = step::<T>(&plan, seed);
    let made = reference(&plan, &step);
    let what = format!("{shapes:?} rank {rank}");
    orthonormal(&plan, &made.basis, &what);
    cases.ran("reference");

    let len = step.g.len();
    let mut a = Fenced::<T::Acc, 1>::holding(&step.e, [len], &Device::Host);
    let mut p = Fenced::<T::Acc, 2>::new(plan.p(), &Device::Host);
    let mut dropped = Fenced::<u32, 1>::new([shapes.len()], &Device::Host);
    latens_cpu::lowrank::left(&plan, &step.g, a.slice(), &step.q, p.slice(), dropped.slice());
    assert!(same(&a.take(), &made.a) && dropped.take() == made.dropped, "cpu {what}");
    close(&format!("cpu p {what}"), &p.full(), &made.p, LIMIT);
    let mut basis = Fenced::<T::Acc, 2>::holding(&made.p, plan.p(), &Device::Host);
    latens_cpu::lowrank::orthogonalise(&plan, basis.slice(), 7);
    assert!(same(&basis.take(), &made.basis), "cpu basis {what}");
    let mut q = Fenced::<T::Acc, 2>::new(plan.q(), &Device::Host);
    latens_cpu::lowrank::right(&plan, &made.a, &made.basis, q.slice());
    close(&format!("cpu q {what}"), &q.full(), &made.q, LIMIT);
    let (mut e, mut y) =
        (Fenced::<T::Acc, 1>::holding(&made.a, [len], &Device::Host), Fenced::<T, 1>::new([len], &Device::Host));
    latens_cpu::lowrank::restore(&plan, &made.basis, &made.q, Some(e.slice()), Some(y.slice()));
    restored(&format!("cpu {what}"), &made, &y.take(), &e.take());
    cases.ran("cpu");

    for device in devices() {
        on(&device, &segments, &step, &made, &what);
        cases.ran(place(&device));
    }
}

fn on<T: Float<Acc: Poison> + Poison>(
    device: &Device,
    segments: &Segments,
    step: &Step<T>,
    made: &Made<T>,
    what: &str,
) {
    let what = format!("{} {what}", place(device));
    let table = SegmentTable::new(segments.clone(), device).unwrap();
    let len = step.g.len();
    let rank =
        if made.q.is_empty() { 0 } else { made.q.len() / segments.all().iter().map(|s| s.columns).sum::<usize>() };
    let plan = family::plan(segments, rank).unwrap();
    let factor = |x: &[T::Acc], dims: [usize; 2]| Tensor::from_vec(x.to_vec(), dims, device).unwrap();
    let g = Tensor::from_vec(step.g.clone(), [len], device).unwrap();
    let q = factor(&step.q, plan.q());

    let mut a = Fenced::<T::Acc, 1>::holding(&step.e, [len], device);
    let mut p = Fenced::<T::Acc, 2>::new(plan.p(), device);
    let mut dropped = Fenced::<u32, 1>::new([segments.count()], device);
    lowrank_left_into(&table, g.view(), a.view_mut(), q.view(), p.view_mut(), dropped.view_mut()).unwrap();
    assert!(same(&a.take(), &made.a) && dropped.take() == made.dropped, "{what}");
    close(&format!("p {what}"), &p.full(), &made.p, LIMIT);

    // Exactly the reference's, from the reference's p.
    let size = lowrank_orthogonalise_workspace(&table, rank, device).unwrap();
    let mut workspace = Tensor::empty([size], device).unwrap();
    let mut basis = Fenced::<T::Acc, 2>::holding(&made.p, plan.p(), device);
    lowrank_orthogonalise_into(&table, basis.view_mut(), 7, workspace.view_mut()).unwrap();
    assert!(same(&basis.take(), &made.basis), "basis {what}");

    let (a, basis) = (Tensor::from_vec(made.a.clone(), [len], device).unwrap(), factor(&made.basis, plan.p()));
    let mut q = Fenced::<T::Acc, 2>::new(plan.q(), device);
    lowrank_right_into(&table, a.view(), basis.view(), q.view_mut()).unwrap();
    close(&format!("q {what}"), &q.full(), &made.q, LIMIT);

    let q = factor(&made.q, plan.q());
    let (mut e, mut y) = (Fenced::<T::Acc, 1>::holding(&made.a, [len], device), Fenced::<T, 1>::new([len], device));
    lowrank_restore_into(&table, basis.view(), q.view(), Some(e.view_mut()), Some(y.view_mut())).unwrap();
    let (e, y) = (e.take(), y.take());
    restored(&what, made, &y, &e);
    // Each output alone is the same.
    let mut alone = Tensor::from_vec(made.a.clone(), [len], device).unwrap();
    lowrank_restore_into::<T>(&table, basis.view(), q.view(), Some(alone.view_mut()), None).unwrap();
    assert!(same(&alone.to_vec().unwrap(), &e), "{what}");
    let mut alone = Fenced::<T, 1>::new([len], device);
    lowrank_restore_into(&table, basis.view(), q.view(), None, Some(alone.view_mut())).unwrap();
    assert!(same(&alone.take(), &y), "{what}");
}

/// Columns of every matrix are orthonormal, unless all are 0.
fn orthonormal<A: Float>(plan: &family::Plan<'_>, basis: &[A], what: &str) {
    let rank = plan.rank();
    for family::Matrix { segment, row, .. } in plan.matrices() {
        let basis = &basis[row * rank..][..segment.rows * rank];
        if basis.iter().all(|x| x.wide() == 0.0) {
            continue;
        }
        for (i, j) in (0..rank).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let product: f64 = basis.chunks(rank).map(|row| row[i].wide() * row[j].wide()).sum();
            let want = if i == j { 1.0 } else { 0.0 };
            assert!((product - want).abs() < 2e-6, "{what}: columns {i} {j} of {segment:?}: {product}");
        }
    }
}

fn all<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("lowrank");
    for (seed, &(shapes, rank)) in CASES.iter().enumerate() {
        if small() && shapes.iter().any(|[rows, columns]| rows * columns * rank > 200_000) {
            continue;
        }
        check::<T>(shapes, rank, seed as u64, &mut cases);
    }
}

#[test]
fn f32_table() {
    all::<f32>();
}
#[test]
fn f16_table() {
    all::<f16>();
}
#[test]
fn bf16_table() {
    all::<bf16>();
}
#[test]
fn f64_reference() {
    let segments = table(&[[9, 7]]);
    let plan = family::plan(&segments, 3).unwrap();
    let step = step::<f64>(&plan, 3);
    let made = reference(&plan, &step);
    on(&Device::Host, &segments, &step, &made, "f64");
}

/// Factors that a Cholesky factorisation cannot take: zeros, equal columns, columns of wild scales, nearly dependent ones,
/// more columns than there are directions but for noise, not finite.
#[test]
fn hard_factors() {
    let mut cases = Cases::of("lowrank_orthogonalise");
    let (rows, rank) = (130, 6);
    let segments = Segments::new(vec![Segment { start: 0, rows, columns: rank }]).unwrap();
    let plan = family::plan(&segments, rank).unwrap();
    let noise = normal::<f32>(rows * rank, 1.0, 4);
    let of =
        |f: &dyn Fn(usize, usize) -> f32| -> Vec<f32> { (0..rows * rank).map(|i| f(i / rank, i % rank)).collect() };
    let at = |i: usize, k: usize| noise[i * rank + k];
    let hard = [
        of(&|_, _| 0.0),
        of(&|i, _| at(i, 0)),
        of(&|i, k| if k == 2 { 0.0 } else { at(i, k) }),
        of(&|i, k| at(i, k) * 10_f32.powi(12 * k as i32 - 36)),
        of(&|i, k| at(i, 0) + 1e-4 * at(i, k)),
        of(&|i, k| at(i, 0) + 1e-6 * at(i, k)),
        of(&|i, k| if i == 0 { 1.0 } else { at(i, k) * 1e-30 }),
        of(&|i, k| if (i, k) == (77, 3) { f32::NAN } else { at(i, k) }),
        of(&|i, k| if (i, k) == (0, 0) { f32::INFINITY } else { at(i, k) }),
    ];
    for (which, from) in hard.iter().enumerate() {
        let mut want = from.clone();
        family::orthogonalise(&plan, &mut want, 11);
        orthonormal(&plan, &want, &format!("hard {which}"));
        assert_eq!(want.iter().all(|&x| x == 0.0), which > 6, "{which}");
        cases.ran("reference");
        let mut got = from.clone();
        latens_cpu::lowrank::orthogonalise(&plan, &mut got, 11);
        assert!(same(&got, &want), "cpu {which}");
        cases.ran("cpu");
        for device in devices() {
            let table = SegmentTable::new(segments.clone(), &device).unwrap();
            let mut p = Fenced::<f32, 2>::holding(from, [rows, rank], &device);
            lowrank_orthogonalise(&table, p.view_mut(), 11).unwrap();
            assert!(same(&p.take(), &want), "{} {which}", place(&device));
            cases.ran(place(&device));
        }
    }
}

/// Many steps, warm, with bad entries now and then and a change of rank: what was made and what is left is what came.
#[test]
fn telescoping() {
    let shapes = [[20, 30], [33, 17]];
    let segments = table(&shapes);
    let len = segments.span();
    for device in devices() {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let mut e = Tensor::<f32, 1>::zeros([len], &device).unwrap();
        let mut q = Tensor::from_vec(normal(47 * 4, 1.0, 5), [47, 4], &device).unwrap();
        let (mut came, mut made) = (vec![0.0_f64; len], vec![0.0_f64; len]);
        for step in 0..30 {
            let mut g = normal::<f32>(len, 1.0, 50 + step);
            g[10] = f32::NAN;
            for segment in segments.all() {
                for i in segment.start..segment.end() {
                    came[i] += if g[i].is_nan() { 0.0 } else { f64::from(g[i]) };
                }
            }
            if step % 10 == 9 {
                q = lowrank_resize(&table, q.view(), [7, 2, 5][step as usize / 10], step).unwrap();
            }
            let g = Tensor::from_vec(g, [len], &device).unwrap();
            let (mut p, dropped) = lowrank_left(&table, g.view(), e.view_mut(), q.view()).unwrap();
            assert_eq!(dropped.to_vec().unwrap(), [1, 0]);
            lowrank_orthogonalise(&table, p.view_mut(), step).unwrap();
            q = lowrank_right(&table, e.view(), p.view()).unwrap();
            let y: Tensor<f32, 1> = lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap();
            y.to_vec().unwrap().iter().zip(&mut made).for_each(|(&y, made)| *made += f64::from(y));
        }
        let left = e.to_vec().unwrap();
        let (mut wrong, mut all) = (0.0, 0.0);
        for i in 0..len {
            let off = came[i] - made[i] - f64::from(left[i]);
            (wrong, all) = (wrong + off * off, all + came[i] * came[i]);
        }
        assert!(wrong <= 1e-11 * all, "{} {wrong:e} of {all:e}", place(&device));
    }
}

/// A gradient of zeros makes nothing and leaves nothing; one that is nowhere finite leaves the memory as it was, to the bit.
#[test]
fn bad_gradients_leave_the_memory() {
    let segments = table(&[[20, 30], [33, 17]]);
    let len = segments.span();
    for device in devices() {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let memory = normal::<f32>(len, 1.0, 1);
        let q = Tensor::from_vec(normal::<f32>(47 * 4, 1.0, 5), [47, 4], &device).unwrap();
        let fold = |g: f32, e: &[f32]| {
            let g = Tensor::from_vec(vec![g; len], [len], &device).unwrap();
            let mut e = Tensor::from_vec(e.to_vec(), [len], &device).unwrap();
            let (mut p, dropped) = lowrank_left(&table, g.view(), e.view_mut(), q.view()).unwrap();
            let left = e.to_vec().unwrap();
            lowrank_orthogonalise(&table, p.view_mut(), 3).unwrap();
            let q = lowrank_right(&table, e.view(), p.view()).unwrap();
            let y: Tensor<f32, 1> = lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap();
            (dropped.to_vec().unwrap(), left, e.to_vec().unwrap(), y.to_vec().unwrap())
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (dropped, left, e, y) = fold(bad, &memory);
            assert_eq!(dropped, [600, 561], "{} {bad}", place(&device));
            assert!(same(&left, &memory), "{} {bad}", place(&device));
            assert!(e.iter().chain(&y).all(|x| x.is_finite()));
        }
        let (dropped, left, e, y) = fold(0.0, &vec![0.0; len]);
        assert_eq!(dropped, [0, 0]);
        assert!([left, e, y].concat().iter().all(|&x| x == 0.0), "{}", place(&device));
    }
}

/// With a rank that holds the gradient, a step gives it back.
#[test]
fn full_rank_is_exact() {
    let segments = table(&[[12, 9], [5, 40]]);
    let table = SegmentTable::new(segments.clone(), &Device::Host).unwrap();
    let g: Vec<f32> = {
        // Rank 2 and rank 1, of which the second has a row of zeros.
        let (u, v) = (normal::<f32>(17, 1.0, 1), normal::<f32>(49, 1.0, 2));
        let mut g = vec![0.0; segments.span()];
        for (at, s) in segments.all().iter().enumerate() {
            for i in 0..s.len() {
                let (r, c) = (i / s.columns, i % s.columns);
                g[s.start + i] = u[r] * v[c] * f32::from(r != 3) + if at == 0 { u[16 - r] * v[48 - c] } else { 0.0 };
            }
        }
        g
    };
    let mut e = Tensor::<f32, 1>::zeros([g.len()], &Device::Host).unwrap();
    let q = Tensor::from_vec(normal(49 * 4, 1.0, 3), [49, 4], &Device::Host).unwrap();
    let from = Tensor::from_vec(g.clone(), [g.len()], &Device::Host).unwrap();
    let (mut p, _) = lowrank_left(&table, from.view(), e.view_mut(), q.view()).unwrap();
    lowrank_orthogonalise(&table, p.view_mut(), 1).unwrap();
    let q = lowrank_right(&table, e.view(), p.view()).unwrap();
    let y: Tensor<f32, 1> = lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap();
    close("y", &y.to_vec().unwrap(), &g, 1e-11);
}

/// Wider keeps all columns, narrower the longest; the reference is the only host implementation.
#[test]
fn resizing() {
    let segments = table(&[[5, 4], [6, 7]]);
    let q: Vec<f32> =
        (0..11 * 3).map(|i| [1.0, 3.0, 2.0][i % 3] * if i / 3 < 4 { 1.0 } else { (i % 3) as f32 }).collect();
    for device in devices() {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let from = Tensor::from_vec(q.clone(), [11, 3], &device).unwrap();
        let less = lowrank_resize(&table, from.view(), 2, 1).unwrap().to_vec().unwrap();
        assert_eq!(less[..8], [3.0, 2.0].repeat(4));
        assert_eq!(less[8..], [3.0, 4.0].repeat(7));
        let more = lowrank_resize(&table, from.view(), 4, 1).unwrap().to_vec().unwrap();
        let draws: Vec<f32> = more.chunks(4).map(|row| row[3]).collect();
        assert!(more.chunks(4).zip(q.chunks(3)).all(|(more, q)| more[..3] == *q));
        assert!(draws.iter().all(|x| (-1.0..1.0).contains(x)) && draws.windows(2).all(|pair| pair[0] != pair[1]));
        let plan = family::plan(&segments, 4).unwrap();
        let mut want = vec![0.0; 44];
        family::resize(&plan, 3, &q, &mut want, 1);
        assert_eq!(more, want);
    }
}

/// Sums do not know how many threads make them.
#[test]
fn threads() {
    let segments = table(&[[200, 500], [500, 200], [61, 61]]);
    let plan = family::plan(&segments, 32).unwrap();
    let step = step::<f32>(&plan, 1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut a, mut dropped) = (step.e.clone(), vec![0; 3]);
            let (mut p, mut q) = (vec![0.0; plan.p()[0] * 32], vec![0.0; plan.q()[0] * 32]);
            latens_cpu::lowrank::left(&plan, &step.g, &mut a, &step.q, &mut p, &mut dropped);
            latens_cpu::lowrank::orthogonalise(&plan, &mut p, 7);
            latens_cpu::lowrank::right(&plan, &a, &p, &mut q);
            let mut y = vec![0.0_f32; a.len()];
            latens_cpu::lowrank::restore(&plan, &p, &q, Some(&mut a), Some(&mut y));
            [p, q, a, y].concat()
        })
    };
    let one = run(1);
    assert!([2, 3, 7].into_iter().all(|threads| same(&run(threads), &one)));
}

#[test]
fn wrong_calls_are_errors() {
    let segments = table(&[[4, 6]]);
    let rank = Error::Range { op: "lowrank", arg: "rank", max: 4, got: 5 };
    assert_eq!(family::plan(&segments, 5).err(), Some(rank));
    for device in devices() {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let zeros = |n| Tensor::<f32, 1>::zeros([n], &device).unwrap();
        let factor = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "lowrank_left", arg, want, got });
        let left = |g: usize, e: usize, q: [usize; 2]| {
            lowrank_left(&table, zeros(g).view(), zeros(e).view_mut(), factor(q).view()).err()
        };
        assert_eq!(left(25, 26, [6, 2]), size("g", 26, 25));
        assert_eq!(left(26, 25, [6, 2]), size("e", 26, 25));
        assert_eq!(left(26, 26, [7, 2]), size("q", 6, 7));
        assert_eq!(left(26, 26, [6, 5]), Some(rank));
        let mut p = factor([3, 2]);
        let short = Error::Size { op: "lowrank_orthogonalise", arg: "p", want: 4, got: 3 };
        assert_eq!(lowrank_orthogonalise(&table, p.view_mut(), 0), Err(short));
    }
    // Offsets past 31 and 32 bits, by arithmetic alone.
    let far = Segments::new(vec![
        Segment { start: (1 << 33) + 1, rows: 1 << 17, columns: 1 << 17 },
        Segment { start: 1 << 35, rows: 3, columns: 3 },
    ])
    .unwrap();
    let plan = family::plan(&far, 2).unwrap();
    assert_eq!(plan.p(), [(1 << 17) + 3, 2]);
    let short = Layout::packed([(1 << 35) + 8]).unwrap();
    let want = Error::Size { op: "test", arg: "g", want: (1 << 35) + 9, got: (1 << 35) + 8 };
    assert_eq!(plan.covers("test", "g", &short), Err(want));
    assert_eq!(plan.matrices().last().unwrap().column, 1 << 17);
    let tall = Segments::new(vec![Segment { start: 0, rows: 1 << 31, columns: 1 }]).unwrap();
    assert_eq!(
        family::plan(&tall, 1).err(),
        Some(Error::Range { op: "lowrank", arg: "rows", max: (1 << 31) - 1, got: 1 << 31 })
    );
}
