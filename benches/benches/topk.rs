//! Top-k over rows: sizes of routers, retrieval and dense SAE pre-activations.
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use latens_core::{Device, Philox, Tensor, topk, topk_flat};

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("topk");
    for [rows, n, k] in [[4096, 64, 8], [256, 4096, 32], [64, 16_384, 32]] {
        let mut draw = Philox::new(1);
        let x = (0..rows * n).map(|_| draw.uniform()).collect();
        let x = Tensor::<f32, 2>::from_vec(x, [rows, n], &Device::Host).unwrap();
        group.throughput(Throughput::Bytes((rows * n * 4) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{rows}x{n} k {k}")), |b| b.iter(|| topk(&x, k)));
        let total = rows * k;
        group.bench_function(BenchmarkId::new("flat", format!("{rows}x{n} total {total}")), |b| {
            b.iter(|| topk_flat(&x, total))
        });
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
