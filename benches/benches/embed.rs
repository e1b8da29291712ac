//! Rows of an embedding table. Floor: each row once in, once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{Float, Philox, bf16, embed};
use latens_kernels::embed::{forward, plan};

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
    }
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "embed");
    sizes::<f32>(&mut family, "f32");
    sizes::<bf16>(&mut family, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
