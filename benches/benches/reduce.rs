//! Sums, maxima and moments of rows and of columns, correlations, statistics of classes. Floor: what is read once in, what
//! is written once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{
    Accumulate, Float, Reduce, bf16, class_moments, moments, moments_backward, pearson, pearson_backward, reduce,
};
use latens_kernels::reduce::{classes, forward, moments as of_moments, pearson as of_pearson, plan};

const CLASSES: usize = 100;

fn statistics<T: Float>(family: &mut Family<'_>, dtype: &str) {
    let size_of_t = size_of::<T>();
    for dims @ [rows, n] in [[8192, 576], [512, 16_384]] {
        let (x, y, size) = (tensor::<T, 2>(dims, 1), tensor::<T, 2>(dims, 2), format!("{dtype} {rows}x{n}"));
        let layout = packed(dims);
        for (axis, of) in [(0, "columns"), (1, "rows")] {
            let p = of_moments::plan(&layout, axis).unwrap();
            let [mut mean, mut variance] = [(); 2].map(|()| vec![T::Acc::default(); p.out()[0]]);
            of_moments::forward(&p, slice(&x), &mut mean, &mut variance);
            let (got, spread) = moments(x.view(), axis).unwrap();
            verify("moments", slice(&spread), &variance, 1e-10);
            family.bytes(&format!("moments of {of}"), &size, p.bytes(size_of_t), || moments(x.view(), axis));
            family.bytes(&format!("moments of {of}, backward"), &size, p.bytes_backward(size_of_t), || {
                moments_backward(x.view(), axis, got.view(), Some(spread.view()), Some(spread.view()))
            });
        }
        let p = of_pearson::plan(&layout, &layout).unwrap();
        let (mut want, mut saved) = (vec![T::Acc::default(); n], vec![T::Acc::default(); 4 * n]);
        of_pearson::forward(&p, slice(&x), slice(&y), &mut want, &mut saved);
        let (r, saved) = pearson(x.view(), y.view()).unwrap();
        verify("pearson", slice(&r), &want, 1e-10);
        family.bytes("pearson", &size, p.bytes(size_of_t), || pearson(x.view(), y.view()));
        family.bytes("pearson, backward", &size, p.bytes_backward(size_of_t), || {
            pearson_backward(x.view(), y.view(), r.view(), saved.view(), r.view())
        });

        let labels: Vec<u32> = (0..rows).map(|i| (i * 7919 % CLASSES) as u32).collect();
        let p = classes::plan(&layout, &packed([rows]), CLASSES, Accumulate::Replace).unwrap();
        let (mut counts, mut ignored) = (vec![0; CLASSES], [0]);
        let [mut means, mut squares] = [(); 2].map(|()| vec![T::Acc::default(); CLASSES * n]);
        classes::forward(&p, slice(&x), &labels, &mut counts, &mut means, &mut squares, &mut ignored);
        let labels = host(labels, [rows]);
        let got = class_moments(x.view(), labels.view(), CLASSES).unwrap();
        verify("class_moments", slice(&got.means), &means, 1e-10);
        verify("class_moments", slice(&got.squares), &squares, 1e-10);
        family.bytes("class_moments", &size, p.bytes(size_of_t), || class_moments(x.view(), labels.view(), CLASSES));
    }
}

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
    statistics::<f32>(&mut family, "f32");
    statistics::<bf16>(&mut family, "bf16");
}

criterion_group!(benches, all);
criterion_main!(benches);
