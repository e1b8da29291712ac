//! Softmax cross-entropy over a vocabulary. Floor: the logits once in.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{Float, Philox, bf16, cross_entropy};
use latens_kernels::loss::{forward, plan};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str) {
    for [rows, classes] in [[256, 49_152], [4096, 1000]] {
        let logits = tensor::<T, 2>([rows, classes], 1);
        let mut draw = Philox::new(2);
        let targets = host((0..rows).map(|_| (draw.uniform() * classes as f32) as u32).collect(), [rows]);
        let p = plan(&packed([rows, classes]), &packed([rows])).unwrap();
        let mut want = vec![T::Acc::default(); rows];
        forward(&p, slice(&logits), slice(&targets), &mut want).unwrap();
        verify("cross_entropy", slice(&cross_entropy(logits.view(), targets.view()).unwrap()), &want, 1e-10);
        let size = format!("{dtype} {rows}x{classes}");
        family.bytes("cross_entropy", &size, p.bytes(size_of::<T>()), || cross_entropy(logits.view(), targets.view()));
    }
}

fn loss(c: &mut Criterion) {
    let mut family = Family::new(c, "loss");
    sizes::<f32>(&mut family, "f32");
    sizes::<bf16>(&mut family, "bf16");
}

criterion_group!(benches, loss);
criterion_main!(benches);
