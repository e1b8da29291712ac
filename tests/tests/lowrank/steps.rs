//! What whole steps keep: nothing is lost, whatever comes and however many threads there are.
use crate::{step, table};
use latens_core::{
    Device, SegmentTable, Tensor, lowrank_left, lowrank_orthogonalise, lowrank_resize, lowrank_restore, lowrank_right,
};
use latens_kernels::lowrank as family;
use latens_tests::{close, devices, normal, place, same};

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
