//! The passes of one SAE training step at the sizes of a small language model. Each is checked before it is timed.
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use latens_core::{Code, Device, Philox, Push, SaeGate, Tensor};
use latens_core::{
    sae_backward, sae_decode, sae_encode, sae_encode_flat, sae_gate, sae_gate_backward_into, sae_slopes,
};

/// `[dim, latents, k, batch]`.
const SIZES: [[usize; 4]; 2] = [[768, 16_384, 32, 256], [576, 4608, 32, 4096]];

fn tensor(rows: usize, columns: usize, scale: f32, seed: u64) -> Tensor<f32, 2> {
    let mut draw = Philox::new(seed);
    let numbers = (0..rows * columns).map(|_| (draw.uniform() - 0.5) * scale).collect();
    Tensor::from_vec(numbers, [rows, columns], &Device::Host).unwrap()
}

/// The codes of the first rows are the `k` largest of plain sums, as far as rounding lets one say.
fn check(x: &Tensor<f32, 2>, w: &Tensor<f32, 2>, values: &Tensor<f32, 2>, latents: &Tensor<u32, 2>) {
    let ([_, dim], [_, k]) = (x.dims(), values.dims());
    let (x, w, values, latents) =
        (x.host().unwrap(), w.host().unwrap(), values.host().unwrap(), latents.host().unwrap());
    for r in 0..4 {
        let dot = |w: &[f32]| w.iter().zip(&x[r * dim..]).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
        let z: Vec<f64> = w.chunks(dim).map(dot).collect();
        let mut sorted = z.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for slot in r * k..(r + 1) * k {
            let of = z[latents[slot] as usize];
            assert!((of - f64::from(values[slot])).abs() < 1e-4 && of > sorted[k - 1] - 1e-4, "row {r}");
        }
    }
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("sae");
    group.sample_size(10);
    for [dim, n, k, batch] in SIZES {
        let (x, w) = (tensor(batch, dim, 2.0, 1), tensor(n, dim, 0.2, 2));
        let bias = Tensor::<f32, 1>::zeros([n], &Device::Host).unwrap();
        let (values, latents) = sae_encode(x.view(), w.view(), bias.view(), k).unwrap();
        check(&x, &w, &values, &latents);
        let code = Code::fixed(values, latents).unwrap();
        let size = format!("{batch}x{dim} n {n} k {k}");

        group.throughput(Throughput::Elements((2 * batch * dim * n) as u64));
        group.bench_function(BenchmarkId::new("encode", &size), |b| {
            b.iter(|| sae_encode(x.view(), w.view(), bias.view(), k))
        });
        group.bench_function(BenchmarkId::new("encode_flat", &size), |b| {
            b.iter(|| sae_encode_flat(x.view(), w.view(), bias.view(), batch * k))
        });
        group.throughput(Throughput::Elements((2 * batch * dim * k) as u64));
        group.bench_function(BenchmarkId::new("decode", &size), |b| {
            b.iter(|| sae_decode(code.view(), w.view(), None, Some(x.view())))
        });
        let g = sae_decode(code.view(), w.view(), None, Some(x.view())).unwrap().residual.unwrap();
        group.throughput(Throughput::Elements((6 * batch * dim * k) as u64));
        group.bench_function(BenchmarkId::new("backward", &size), |b| {
            b.iter(|| sae_backward(code.view(), x.view(), g.view(), w.view(), None))
        });
        group.throughput(Throughput::Elements((2 * batch * dim * k) as u64));
        group.bench_function(BenchmarkId::new("slopes", &size), |b| {
            b.iter(|| sae_slopes(code.view(), g.view(), w.view()))
        });
        gates(&mut group, &code, [&g, &w], &size);
    }
    group.finish();
}

/// A gate and its gradients. Open for all, it changes nothing, and the gradients of the values are those of the whole backward.
fn gates(group: &mut BenchmarkGroup<'_, WallTime>, code: &Code<f32>, [g, w]: [&Tensor<f32, 2>; 2], size: &str) {
    let ([n, _], mut none) = (w.dims(), Tensor::<u8, 1>::zeros([0], &Device::Host).unwrap());
    let y = sae_gate(code.view(), n, SaeGate::default()).unwrap();
    assert_eq!(y.host(), code.values.host());
    let given = sae_slopes(code.view(), g.view(), w.view()).unwrap();
    let mut slopes = Tensor::from_vec(given.host().unwrap().to_vec(), given.dims(), &Device::Host).unwrap();
    let mut sums = Tensor::zeros([4, n], &Device::Host).unwrap();
    let mut backward = |slopes: &mut Tensor<f32, 1>| {
        let (slopes, sums) = (slopes.view_mut(), sums.view_mut());
        sae_gate_backward_into(code.view(), SaeGate::default(), Push::default(), slopes, sums, none.view_mut())
    };
    backward(&mut slopes).unwrap();
    let whole = sae_backward(code.view(), g.view(), g.view(), w.view(), None).unwrap().values;
    assert_eq!(slopes.host(), whole.host());
    group.throughput(Throughput::Bytes(12 * slopes.dims()[0] as u64));
    group.bench_function(BenchmarkId::new("gate", size), |b| b.iter(|| sae_gate(code.view(), n, SaeGate::default())));
    group.throughput(Throughput::Bytes(16 * slopes.dims()[0] as u64 + 28 * n as u64));
    group.bench_function(BenchmarkId::new("gate_backward", size), |b| b.iter(|| backward(&mut slopes)));
}

criterion_group!(benches, step);
criterion_main!(benches);
