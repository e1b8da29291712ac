//! Sums and maxima of rows and of columns. Floor: `x` once in.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Float, Reduce, bf16, reduce};
use latens_kernels::reduce::{forward, plan};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str) {
    for dims @ [rows, n] in [[8192, 576], [512, 16_384]] {
        let x = tensor::<T, 2>(dims, 1);
        for (how, name) in [(Reduce::Sum, "sum"), (Reduce::SumSquares, "squares"), (Reduce::Max, "max")] {
            for (axis, of) in [(0, "columns"), (1, "rows")] {
                let p = plan(&packed(dims), how, axis).unwrap();
                let mut want = vec![T::Acc::default(); p.out()[0]];
                forward(&p, slice(&x), &mut want);
                verify(name, slice(&reduce(x.view(), how, axis).unwrap()), &want, 1e-10);
                let size = format!("{dtype} {rows}x{n}");
                let bytes = p.bytes(size_of::<T>());
                family.bytes(&format!("{name} of {of}"), &size, bytes, || reduce(x.view(), how, axis));
            }
        }
    }
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "reduce");
    sizes::<f32>(&mut family, "f32");
    sizes::<bf16>(&mut family, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
