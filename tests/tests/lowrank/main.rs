//! One table of cases; every implementation of the stages of PowerSGD goes through it.
mod basis;
mod exchange;
mod steps;
mod wrong;

use basis::orthonormal;
use latens_core::{
    Device, Float, Segment, SegmentTable, Segments, Tensor, bf16, f16, lowrank_left_into, lowrank_orthogonalise_into,
    lowrank_orthogonalise_workspace, lowrank_restore_into, lowrank_right_into,
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
