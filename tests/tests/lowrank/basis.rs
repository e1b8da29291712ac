//! Factors alone: made orthonormal, and given another rank.
use crate::table;
use latens_core::{Float, Segment, SegmentTable, Segments, Tensor, lowrank_orthogonalise, lowrank_resize};
use latens_kernels::lowrank as family;
use latens_tests::{Cases, Fenced, devices, normal, place, same};

/// Columns of every matrix are orthonormal, unless all are 0.
pub fn orthonormal<A: Float>(plan: &family::Plan<'_>, basis: &[A], what: &str) {
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
