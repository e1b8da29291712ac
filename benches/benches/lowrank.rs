//! The stages of a PowerSGD step of 8 matrices, and the orthogonalisation of tall factors. Floors: the gradient and the
//! memory as the stages read and write them; the factors in and out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, numbers, slice, tensor, verify};
use latens_core::{
    Device, Float, Segment, SegmentTable, Segments, Tensor, bf16, lowrank_left, lowrank_orthogonalise, lowrank_restore,
    lowrank_right,
};
use latens_kernels::lowrank as family;

fn table(count: usize, [rows, columns]: [usize; 2]) -> SegmentTable {
    let all = (0..count).map(|i| Segment { start: i * rows * columns, rows, columns }).collect();
    SegmentTable::new(Segments::new(all).unwrap(), &Device::Host).unwrap()
}

/// The stages of a small step agree with the reference; those of a large one are timed.
fn stages<T: Float>(bench: &mut Family<'_>, dtype: &str) {
    for (count, side, time) in [(2, 96, false), (8, 1024, true)] {
        let (table, rank, len) = (table(count, [side, side]), 32, count * side * side);
        let p = family::plan(table.segments(), rank).unwrap();
        let (g, q) = (tensor::<T, 1>([len], 1), host(numbers::<T::Acc>(count * side * rank, 2), p.q()));
        let mut e = Tensor::<T::Acc, 1>::zeros([len], &Device::Host).unwrap();
        let (mut left, _) = lowrank_left(&table, g.view(), e.view_mut(), q.view()).unwrap();
        if !time {
            let (mut a, mut want) = (vec![T::Acc::default(); len], vec![T::Acc::default(); slice(&left).len()]);
            family::left(&p, slice(&g), &mut a, slice(&q), &mut want, &mut [0; 2]);
            verify("p", slice(&left), &want, 1e-10);
        }
        lowrank_orthogonalise(&table, left.view_mut(), 1).unwrap();
        let right = lowrank_right(&table, e.view(), left.view()).unwrap();
        if time {
            let (size, n) = (format!("{dtype} {count} x {side} x {side} rank {rank}"), size_of::<T>());
            let (flops, acc) = (p.flops() / 3, size_of::<T::Acc>());
            bench.flops("left", &size, flops, len * (n + 2 * acc), || {
                lowrank_left(&table, g.view(), e.view_mut(), q.view())
            });
            bench.flops("right", &size, flops, len * acc, || lowrank_right(&table, e.view(), left.view()));
            bench.flops("restore", &size, flops, len * (n + 2 * acc), || -> latens_core::Result<Tensor<T, 1>> {
                lowrank_restore(&table, left.view(), right.view(), e.view_mut())
            });
        } else {
            let mut want = vec![T::Acc::default(); slice(&right).len()];
            family::right(&p, slice(&e), slice(&left), &mut want);
            verify("q", slice(&right), &want, 1e-10);
        }
    }
}

fn factors(bench: &mut Family<'_>) {
    for (count, [rows, rank]) in [(200, [4096, 8]), (8, [4096, 64])] {
        let (table, from) = (table(count, [rows, rank]), numbers::<f32>(count * rows * rank, 3));
        let mut p = host(from.clone(), [count * rows, rank]);
        lowrank_orthogonalise(&table, p.view_mut(), 1).unwrap();
        let mut want = from.clone();
        family::orthogonalise(&family::plan(table.segments(), rank).unwrap(), &mut want, 1);
        verify("basis", slice(&p), &want, 0.0);
        bench.bytes("orthogonalise", &format!("f32 {count} x {rows} x {rank}"), 8 * from.len(), || {
            p.write(&from)?;
            lowrank_orthogonalise(&table, p.view_mut(), 1)
        });
    }
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "lowrank");
    stages::<f32>(&mut bench, "f32");
    stages::<bf16>(&mut bench, "bf16");
    factors(&mut bench);
}

criterion_group!(benches, all);
criterion_main!(benches);
