//! One entry in a thousand of a gradient, with error memory, and the sum of four such packets. Floor: gradient and memory
//! in, memory out; the dense result out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, numbers, packed, slice, tensor, verify};
use latens_core::{Float, Tensor, bf16, sparsify, sparsify_sum};
use latens_kernels::{Accumulate, sparsify as family};

fn sizes<T: Float>(bench: &mut Family<'_>, dtype: &str) {
    for n in [1 << 20, 1 << 24] {
        let (k, layout) = (n / 1000, packed([n]));
        let (g, mut e) = (tensor::<T, 1>([n], 1), host(numbers::<T::Acc>(n, 2), [n]));
        let p = family::plan(&layout, &layout, k).unwrap();
        let (mut left, mut values) = (slice(&e).to_vec(), vec![T::Acc::default(); k]);
        let (mut indices, mut counts) = (vec![0; k], [0; 2]);
        family::forward(&p, slice(&g), &mut left, &mut values, &mut indices, &mut counts);
        let got = sparsify(g.view(), e.view_mut(), k).unwrap();
        verify("memory", slice(&e), &left, 0.0);
        verify("values", slice(&got.values), &values, 0.0);
        assert!(slice(&got.indices) == indices);
        let bytes = p.bytes(size_of::<T>(), size_of::<T::Acc>());
        bench.bytes("send", &format!("{dtype} {n} k {k}"), bytes, || sparsify(g.view(), e.view_mut(), k));

        let (values, indices) = (values.repeat(4), indices.repeat(4));
        let (values, indices) = (host(values, [4, k]), host(indices, [4, k]));
        let p = family::plan_sum(&packed([4, k]), &packed([4, k]), 0.25, Accumulate::Replace, &layout).unwrap();
        let mut want = vec![T::default(); n];
        family::sum(&p, slice(&values), slice(&indices), &mut want);
        let sum = || -> latens_core::Result<Tensor<T, 1>> { sparsify_sum(values.view(), indices.view(), 0.25, n) };
        verify("sum", slice(&sum().unwrap()), &want, 0.0);
        let bytes = p.bytes(size_of::<T>(), size_of::<T::Acc>());
        bench.bytes("sum", &format!("{dtype} {n} 4 ranks"), bytes, sum);
    }
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "sparsify");
    sizes::<f32>(&mut bench, "f32");
    sizes::<bf16>(&mut bench, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
