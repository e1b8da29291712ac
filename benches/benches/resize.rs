//! A photograph made smaller for a network, and an image made larger, by every filter. Floor: the input in, the result out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Accumulate, Device, Filter, Resize, resize, resize_backward};
use latens_kernels::resize::{backward, forward, plan, plan_backward};

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "resize");
    for (dims @ [batch, height, width, channels], to) in
        [([1, 768, 1024, 3], [224, 224]), ([1, 64, 64, 64], [128, 128])]
    {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::BilinearAntialias, Filter::BicubicAntialias] {
            let by = Resize::new(filter, [height, width], to, &Device::Host).unwrap();
            let (x, dy) = (tensor::<f32, 4>(dims, 1), tensor::<f32, 4>([batch, to[0], to[1], channels], 2));
            let p = plan(by.tables(), &packed(dims)).unwrap();
            let back = plan_backward(by.tables(), &packed(p.out()), Accumulate::Replace).unwrap();
            let (mut y, mut dx) = (vec![0.0; p.dy().len()], vec![0.0; p.x().len()]);
            forward(&p, by.tables(), slice(&x), &mut y);
            verify("resize", slice(&resize(x.view(), &by).unwrap()), &y, 1e-11);
            backward(&back, by.tables(), slice(&dy), &mut dx);
            verify("resize_backward", slice(&resize_backward(dy.view(), &by).unwrap()), &dx, 1e-11);
            let size = format!("f32 {height}x{width}x{channels} to {}x{} {filter:?}", to[0], to[1]);
            family.bytes("forward", &size, p.bytes(4), || resize(x.view(), &by));
            family.bytes("backward", &size, p.bytes(4), || resize_backward(dy.view(), &by));
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
