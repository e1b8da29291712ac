//! The sampled entropy of one large gradient and of many, and of every fourth element. Floor: the sample read once (16-bit
//! elements of a large tensor) or twice.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Device, EntropySettings, Estimator, Float, SegmentTable, Segments, bf16, entropy};
use latens_kernels::entropy as family;

fn sizes<T: Float<Acc = f32>>(bench: &mut Family<'_>, dtype: &str) {
    let drawn = EntropySettings::drawn(0.25, 1, 0);
    let gaussian = EntropySettings { estimator: Estimator::Gaussian, ..drawn };
    for (how, settings) in [("drawn", drawn), ("gaussian", gaussian), ("released", EntropySettings::RELEASED)] {
        for (count, len) in [(1, 1 << 24), (200, 1 << 16)] {
            let x = tensor::<T, 1>([count * len], 1);
            let table = SegmentTable::new(Segments::lengths(&vec![len; count]).unwrap(), &Device::Host).unwrap();
            let p = family::plan(&packed(x.dims()), table.segments(), &settings).unwrap();
            let (mut values, mut counts) = (vec![0.0; count * family::COLUMNS], vec![0; count * 3]);
            family::forward(&p, slice(&x), &mut values, &mut counts);
            let got = entropy(x.view(), &table, &settings).unwrap();
            verify("values", slice(&got.values), &values, 1e-10);
            assert!(slice(&got.counts) == counts);
            let size = format!("{dtype} {count} x {len}");
            bench.bytes(how, &size, p.bytes(size_of::<T>()), || entropy(x.view(), &table, &settings));
        }
    }
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "entropy");
    sizes::<f32>(&mut bench, "f32");
    sizes::<bf16>(&mut bench, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
