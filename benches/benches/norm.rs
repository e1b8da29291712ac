//! RMS and layer norm over the rows of a prompt, batch norm over its columns. Floor: `x` once in, `y` once out; backward `x` and
//! `dy` in, `dx` out. Batch norm must see `x` twice, and backward `dy` too.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{
    Accumulate, Float, batch_norm, batch_norm_backward, bf16, layer_norm, layer_norm_backward, rms_norm,
    rms_norm_backward,
};
use latens_kernels::norm::{Norm, backward, batch, forward, plan, plan_backward};

const EPS: f32 = 1e-5;

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [rows, n] in [[8192, 576], [2048, 4096]] {
        let (x, weight, bias) = (tensor::<T, 2>([rows, n], 1), tensor::<T::Acc, 1>([n], 2), tensor([n], 3));
        let size = format!("{dtype} {rows}x{n}");
        let mut want = vec![T::default(); rows * n];

        let p = plan(Norm::Rms, &packed([rows, n]), &packed([n]), None, EPS).unwrap();
        forward(&p, slice(&x), slice(&weight), None, &mut want);
        verify("rms_norm", slice(&rms_norm(x.view(), weight.view(), EPS).unwrap()), &want, limit);
        family.bytes("rms", &size, p.bytes(size_of::<T>()), || rms_norm(x.view(), weight.view(), EPS));

        let p = plan(Norm::Layer, &packed([rows, n]), &packed([n]), Some(&packed([n])), EPS).unwrap();
        let call = || layer_norm(x.view(), weight.view(), Some(bias.view()), EPS);
        forward(&p, slice(&x), slice(&weight), Some(slice(&bias)), &mut want);
        verify("layer_norm", slice(&call().unwrap()), &want, limit);
        family.bytes("layer", &size, p.bytes(size_of::<T>()), call);

        let (dy, [mut dweight, mut dbias]) =
            (tensor::<T, 2>([rows, n], 4), [(); 2].map(|()| vec![T::Acc::default(); n]));
        let layout = packed([rows, n]);
        for (name, norm) in [("rms backward", Norm::Rms), ("layer backward", Norm::Layer)] {
            let p = plan_backward(norm, &layout, &packed([n]), &layout, EPS, Accumulate::Replace).unwrap();
            let to = (Some(&mut *want), Some(&mut *dweight), Some(&mut *dbias));
            backward(&p, slice(&x), slice(&weight), slice(&dy), to.0, to.1, to.2);
            let call = || match norm {
                Norm::Rms => rms_norm_backward(x.view(), weight.view(), dy.view(), EPS),
                Norm::Layer => {
                    layer_norm_backward(x.view(), weight.view(), dy.view(), EPS).map(|(dx, dweight, _)| (dx, dweight))
                }
            };
            let (dx, of_weight) = call().unwrap();
            verify(name, slice(&dx), &want, limit);
            verify(name, slice(&of_weight), &dweight, 1e-12);
            family.bytes(name, &size, p.bytes_backward(size_of::<T>()), call);
        }
    }
}

fn batches<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for dims @ [rows, n] in [[8192, 576], [50_176, 64]] {
        let (x, dy, size) = (tensor::<T, 2>(dims, 1), tensor::<T, 2>(dims, 4), format!("{dtype} {rows}x{n}"));
        let (weight, bias, one) = (tensor::<T::Acc, 1>([n], 2), tensor::<T::Acc, 1>([n], 3), packed([n]));
        let vectors = [("mean", one), ("variance", one), ("weight", one)];
        let p = batch::plan_backward(&packed(dims), &vectors, &packed(dims), EPS, Accumulate::Replace).unwrap();
        let (mut want, [mut mean, mut variance]) =
            (vec![T::default(); rows * n], [(); 2].map(|()| vec![T::Acc::default(); n]));
        batch::train(&p, slice(&x), slice(&weight), Some(slice(&bias)), &mut want, &mut mean, &mut variance).unwrap();
        let call = || batch_norm(x.view(), weight.view(), Some(bias.view()), EPS);
        let all = call().unwrap();
        verify("batch_norm", slice(&all.y), &want, limit);
        family.bytes("batch", &size, p.bytes(size_of::<T>(), true), call);
        let given = [&mean[..], &variance[..], slice(&weight)];
        batch::backward(&p, slice(&x), given, slice(&dy), Some(&mut want), None, None);
        let call =
            || batch_norm_backward(x.view(), all.mean.view(), all.variance.view(), weight.view(), dy.view(), EPS);
        verify("batch backward", slice(&call().unwrap().0), &want, limit);
        family.bytes("batch backward", &size, p.bytes_backward(size_of::<T>()), call);
    }
}

fn norm(c: &mut Criterion) {
    let mut family = Family::new(c, "norm");
    sizes::<f32>(&mut family, "f32", 1e-12);
    sizes::<bf16>(&mut family, "bf16", 5e-5);
    batches::<f32>(&mut family, "f32", 1e-11);
    batches::<bf16>(&mut family, "bf16", 5e-5);
}

criterion_group!(benches, norm);
criterion_main!(benches);
