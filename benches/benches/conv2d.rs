//! Convolutions of a residual network (the first, two of the middle, one that halves), of patches of a vision transformer, and
//! depthwise ones. Bound by arithmetic, but for the last: floor = the input in, the result out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Accumulate, Conv2d, Float, bf16, conv2d, conv2d_backward};
use latens_kernels::conv2d::{backward, forward, plan, plan_backward};

/// Images `[batch, height, width, channels]`, taps `[n, taps, taps]`, stride, padding, groups.
type Size = ([usize; 4], [usize; 2], usize, usize, usize);
const SIZES: [Size; 6] = [
    ([1, 224, 224, 3], [64, 7], 2, 3, 1),
    ([1, 56, 56, 64], [64, 3], 1, 1, 1),
    ([1, 28, 28, 256], [128, 1], 1, 0, 1),
    ([1, 14, 14, 256], [512, 3], 2, 1, 1),
    ([1, 224, 224, 3], [768, 16], 16, 0, 1),
    ([1, 56, 56, 96], [96, 7], 1, 3, 96),
];

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for (dims, [n, taps], stride, padding, groups) in SIZES {
        let how = Conv2d { stride: [stride; 2], padding: [padding; 2], groups, ..Conv2d::default() };
        let of_w = [n, taps, taps, dims[3] / groups];
        let (x, w, bias) = (tensor::<T, 4>(dims, 1), tensor::<T, 4>(of_w, 2), tensor::<T::Acc, 1>([n], 3));
        let p = plan(&packed(dims), &packed(of_w), Some(&packed([n])), how).unwrap();
        let call = || conv2d(x.view(), w.view(), Some(bias.view()), how);
        let y = call().unwrap();
        // The reference is slow: it has the rows at the top, whose taps reach no further than these of the image.
        let checked = [1, dims[1].min(2 * stride + taps), dims[2], dims[3]];
        let top = plan(&packed(checked), &packed(of_w), Some(&packed([n])), how).unwrap();
        let mut want = vec![T::default(); top.dy().len()];
        let rows = (checked[1] + padding - taps) / stride + 1;
        forward(&top, &slice(&x)[..checked.iter().product()], slice(&w), Some(slice(&bias)), &mut want);
        let count = rows * p.out()[2] * n;
        verify("conv2d", &slice(&y)[..count], &want[..count], limit);

        let size =
            format!("{dtype} {}x{}x{} to {n}, {taps} taps by {stride}, groups {groups}", dims[1], dims[2], dims[3]);
        family.flops("forward", &size, p.flops(), p.bytes(size_of::<T>()), call);
        let dy = tensor::<T, 4>(p.out(), 4);
        let back = || conv2d_backward(x.view(), w.view(), dy.view(), how);
        family.flops("backward", &size, 2 * p.flops(), 2 * p.bytes(size_of::<T>()), back);
    }
}

/// All three gradients against the reference, at a size that it has time for.
fn gradients() {
    let (dims, of_w, out) = ([2, 14, 14, 16], [24, 3, 3, 16], [2, 7, 7, 24]);
    let how = Conv2d { stride: [2; 2], padding: [1; 2], ..Conv2d::default() };
    let (x, w, dy) = (tensor::<f32, 4>(dims, 1), tensor::<f32, 4>(of_w, 2), tensor::<f32, 4>(out, 3));
    let p = plan_backward(&packed(dims), &packed(of_w), &packed(out), how, Accumulate::Replace).unwrap();
    let (mut dx, mut dw, mut db) = (vec![0.0; p.x().len()], vec![0.0; p.w().len()], vec![0.0; 24]);
    backward(&p, slice(&x), slice(&w), slice(&dy), Some(&mut dx), Some(&mut dw), Some(&mut db));
    let got = conv2d_backward(x.view(), w.view(), dy.view(), how).unwrap();
    verify("dx", slice(&got.0), &dx, 1e-11);
    verify("dw", slice(&got.1), &dw, 1e-11);
    verify("db", slice(&got.2), &db, 1e-11);
}

fn all(c: &mut Criterion) {
    gradients();
    let mut family = Family::new(c, "conv2d");
    sizes::<f32>(&mut family, "f32", 1e-11);
    sizes::<bf16>(&mut family, "bf16", 1e-5);
}

criterion_group!(benches, all);
criterion_main!(benches);
