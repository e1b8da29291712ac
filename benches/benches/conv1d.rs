//! Causal depthwise convolution with bias and SiLU. Floor: the input in, as much out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Conv1d, Float, bf16, conv1d};
use latens_kernels::{conv1d as family, route::Tables};

const WIDTH: usize = 1536;
const TAPS: usize = 4;

fn sizes<T: Float>(bench: &mut Family<'_>, dtype: &str, limit: f64) {
    for len in [197, 6085] {
        let x = tensor::<T, 3>([1, len, WIDTH], 1);
        let (weight, bias) = (tensor::<T::Acc, 2>([WIDTH, TAPS], 2), tensor::<T::Acc, 1>([WIDTH], 3));
        let call = Conv1d { bias: Some(bias.view()), silu: true, ..Conv1d::new(x.view(), weight.view()) };
        let (layout, of_bias) = (packed([WIDTH, TAPS]), packed([WIDTH]));
        let p = family::plan(&packed([1, len, WIDTH]), &layout, Some(&of_bias), true, None, None, None).unwrap();
        let (none, mut want) = (Tables { bounds: None, orders: None }, vec![T::default(); len * WIDTH]);
        family::forward(&p, slice(&x), slice(&weight), Some(slice(&bias)), none, None, &mut want, None).unwrap();
        verify("conv1d", slice(&conv1d(&call).unwrap().0), &want, limit);
        let size = format!("{dtype} {len} x {WIDTH}, {TAPS} taps");
        bench.bytes("forward", &size, p.bytes(size_of::<T>()), || conv1d(&call));
    }
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "conv1d");
    sizes::<f32>(&mut bench, "f32", 1e-10);
    sizes::<bf16>(&mut bench, "bf16", 1e-5);
}

criterion_group!(benches, all);
criterion_main!(benches);
