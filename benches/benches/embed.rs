//! Rows of an embedding table, and sums of rows on the way back. Floor: each row once in, once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{Accumulate, Float, Philox, Tensor, bf16, embed, embed_backward_into};
use latens_kernels::embed::{backward, forward, plan, plan_backward};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str) {
    for [vocab, dim, n] in [[49_152, 576, 16_384], [8192, 4096, 2048]] {
        let table = tensor::<T, 2>([vocab, dim], 1);
        let mut draw = Philox::new(2);
        let ids = host((0..n).map(|_| (draw.uniform() * vocab as f32) as u32).collect(), [n]);
        let p = plan(&packed([vocab, dim]), &packed([n])).unwrap();
        let mut want = vec![T::default(); n * dim];
        forward(&p, slice(&table), slice(&ids), &mut want).unwrap();
        verify("embed", slice(&embed(table.view(), ids.view()).unwrap()), &want, 0.0);
        let size = format!("{dtype} {n} of {vocab}x{dim}");
        family.bytes("rows", &size, p.bytes(size_of::<T>()), || embed(table.view(), ids.view()));

        let (dy, mut dtable, mut none) = (tensor::<T, 2>([n, dim], 3), tensor([vocab, dim], 4), host(vec![], [0]));
        let p = plan_backward(&packed([n, dim]), &packed([n]), vocab, Accumulate::Replace).unwrap();
        let mut want = vec![T::Acc::default(); vocab * dim];
        backward(&p, slice(&dy), slice(&ids), &mut want).unwrap();
        let mut call = |accumulate, dtable: &mut Tensor<T::Acc, 2>| {
            embed_backward_into(dy.view(), ids.view(), accumulate, dtable.view_mut(), none.view_mut())
        };
        call(Accumulate::Replace, &mut dtable).unwrap();
        verify("backward", slice(&dtable), &want, 1e-11);
        for (op, accumulate) in [("backward", Accumulate::Replace), ("backward_added", Accumulate::Add)] {
            let p = plan_backward(&packed([n, dim]), &packed([n]), vocab, accumulate).unwrap();
            family.bytes(op, &size, p.bytes_backward(size_of::<T>()), || call(accumulate, &mut dtable));
        }
    }
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "embed");
    sizes::<f32>(&mut family, "f32");
    sizes::<bf16>(&mut family, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
