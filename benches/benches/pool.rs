//! Pooling at the sizes of a residual network: the windows after its first layer, and the whole image after its last.
//! Floor: the input in, the result out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Accumulate, Float, Window, average_pool, average_pool_backward, bf16, max_pool, max_pool_backward};
use latens_kernels::pool::{Plan, Pooling, backward, forward, plan, plan_backward};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    let after_first = Window { size: [3; 2], stride: [2; 2], padding: [1; 2] };
    for (dims, window) in [([8, 112, 112, 64], after_first), ([8, 7, 7, 2048], Window::whole([8, 7, 7, 2048]))] {
        let (x, layout) = (tensor::<T, 4>(dims, 1), packed(dims));
        let of = |pooling: Pooling| -> (Plan, Plan) {
            let p = plan(pooling, &layout, window).unwrap();
            let (out, how) = (packed(p.out()), Accumulate::Replace);
            (p, plan_backward(pooling, dims, window, &out, Some(&out), how).unwrap())
        };
        let size = format!("{dtype} {}x{}x{}x{} by {}", dims[0], dims[1], dims[2], dims[3], window.size[0]);
        let (p, back) = of(Pooling::Max);
        let dy = tensor::<T, 4>(p.out(), 2);
        let (mut want, mut dx) = (vec![T::default(); p.dy().len()], vec![T::default(); p.x().len()]);
        let mut at = vec![0; want.len()];
        forward(&p, slice(&x), &mut want, Some(&mut at));
        let (y, indices) = max_pool(x.view(), window).unwrap();
        verify("max_pool", slice(&y), &want, 0.0);
        assert!(slice(&indices) == at, "max_pool disagrees with its reference on indices");
        family.bytes("max", &size, p.bytes(size_of::<T>()), || max_pool(x.view(), window));
        backward(&back, slice(&dy), &at, &mut dx);
        let call = || max_pool_backward(dy.view(), indices.view(), dims, window);
        verify("max_pool_backward", slice(&call().unwrap()), &dx, limit);
        family.bytes("max backward", &size, back.bytes_backward(size_of::<T>()), call);

        let (p, back) = of(Pooling::Average { count_padding: false });
        forward(&p, slice(&x), &mut want, None);
        verify("average_pool", slice(&average_pool(x.view(), window, false).unwrap()), &want, limit);
        family.bytes("average", &size, p.bytes(size_of::<T>()), || average_pool(x.view(), window, false));
        backward(&back, slice(&dy), &[], &mut dx);
        let call = || average_pool_backward(dy.view(), dims, window, false);
        verify("average_pool_backward", slice(&call().unwrap()), &dx, limit);
        family.bytes("average backward", &size, back.bytes_backward(size_of::<T>()), call);
    }
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "pool");
    sizes::<f32>(&mut family, "f32", 1e-11);
    sizes::<bf16>(&mut family, "bf16", 1e-5);
}

criterion_group!(benches, all);
criterion_main!(benches);
