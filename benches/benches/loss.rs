//! Softmax cross-entropy over a vocabulary. Floor: the logits once in, and for the gradient once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{
    Float, Philox, Tensor, bf16, cross_entropy, cross_entropy_backward_in_place, cross_entropy_backward_into,
    mse_backward, mse_backward_into, mse_into,
};
use latens_kernels::loss::{backward, forward, mse as squares, plan};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [rows, classes] in [[512, 49_152], [4096, 1000]] {
        let logits = tensor::<T, 2>([rows, classes], 1);
        let mut draw = Philox::new(2);
        let targets = host((0..rows).map(|_| (draw.uniform() * classes as f32) as u32).collect(), [rows]);
        let dlosses = tensor::<T::Acc, 1>([rows], 3);
        let p = plan(&packed([rows, classes]), &packed([rows]), 0.0).unwrap();
        let mut want = vec![T::Acc::default(); rows];
        forward(&p, slice(&logits), slice(&targets), &mut want).unwrap();
        let losses = cross_entropy(logits.view(), targets.view(), 0.0).unwrap();
        verify("cross_entropy", slice(&losses), &want, 1e-10);
        let size = format!("{dtype} {rows}x{classes}");
        let (bytes, both) = (p.bytes(size_of::<T>()), p.bytes_backward(size_of::<T>()));
        family.bytes("cross_entropy", &size, bytes, || cross_entropy(logits.view(), targets.view(), 0.0));

        // Losses and gradients in one call: to memory of their own, and over the logits.
        let (mut losses, mut dlogits) = (tensor::<T::Acc, 1>([rows], 4), tensor::<T, 2>([rows, classes], 4));
        let (t, d) = (targets.view(), dlosses.view());
        let mut call = |to: &mut Tensor<T, 2>| {
            cross_entropy_backward_into(logits.view(), t, d, 0.0, Some(losses.view_mut()), to.view_mut())
        };
        call(&mut dlogits).unwrap();
        let mut want = vec![T::default(); rows * classes];
        backward(&p, slice(&logits), slice(&targets), slice(&dlosses), None, &mut want).unwrap();
        verify("dlogits", slice(&dlogits), &want, limit);
        family.bytes("gradient", &size, both, || call(&mut dlogits));
        // Gradients are logits too, to the clock.
        family.bytes("in_place", &size, both, || {
            cross_entropy_backward_in_place(dlogits.view_mut(), t, d, 0.0, Some(losses.view_mut()))
        });
    }
}

/// Patches of a masked autoencoder.
fn patches(family: &mut Family<'_>) {
    let dims @ [rows, n] = [8192, 768];
    let (x, y, dlosses) = (tensor::<f32, 2>(dims, 1), tensor(dims, 2), tensor::<f32, 1>([rows], 3));
    let p = squares::plan(&packed(dims), &packed(dims), true).unwrap();
    let (mut losses, mut dx) = mse_backward(x.view(), y.view(), dlosses.view(), true).unwrap();
    let (mut want, mut slopes) = (vec![0.0; rows], vec![0.0; rows * n]);
    squares::backward(&p, slice(&x), slice(&y), slice(&dlosses), Some(&mut want), &mut slopes);
    verify("mse", slice(&losses), &want, 1e-10);
    verify("mse dx", slice(&dx), &slopes, 1e-10);
    let size = format!("f32 {rows}x{n}");
    family.bytes("mse", &size, p.bytes(4), || mse_into(x.view(), y.view(), true, losses.view_mut()));
    family.bytes("mse_gradient", &size, p.bytes_backward(4), || {
        mse_backward_into(x.view(), y.view(), dlosses.view(), true, None, dx.view_mut())
    });
}

fn loss(c: &mut Criterion) {
    let mut family = Family::new(c, "loss");
    patches(&mut family);
    sizes::<f32>(&mut family, "f32", 1e-10);
    sizes::<bf16>(&mut family, "bf16", 1e-5);
}

criterion_group!(benches, loss);
criterion_main!(benches);
