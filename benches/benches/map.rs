//! Entry by entry: copies, casts, sums. Floor: each operand once in, each result once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Float, Tensor, add_into, bf16, cast_into, copy_into, scale_into};
use latens_kernels::map::{add, cast, plan, scale};

/// Copy `x` without its last columns: rows with gaps in, packed rows out, as a KV cache is read.
fn copies<T: Float>(family: &mut Family<'_>, dtype: &str, x: &Tensor<T, 2>) {
    let [rows, n] = x.dims();
    let part = x.view().narrow(1, 0, n - 64).unwrap();
    let mut y = tensor::<T, 2>([rows, n - 64], 2);
    copy_into(part, y.view_mut()).unwrap();
    let want: Vec<T> = slice(x).chunks(n).flat_map(|row| &row[..n - 64]).copied().collect();
    verify("copy", slice(&y), &want, 0.0);
    let p = plan("copy", &part.layout(), &y.layout()).unwrap();
    family.bytes("copy", &format!("{dtype} {rows}x{}", n - 64), p.bytes(2 * size_of::<T>()), || {
        copy_into(part, y.view_mut())
    });
}

fn sizes<T: Float, U: Float>(family: &mut Family<'_>, [dtype, other]: [&str; 2], limit: f64) {
    for dims @ [rows, n] in [[8192, 576], [1024, 8192]] {
        let (x, size) = (tensor::<T, 2>(dims, 1), format!("{dtype} {rows}x{n}"));
        let p = plan("map", &packed(dims), &packed(dims)).unwrap();
        copies(family, dtype, &x);

        let (mut y, mut want) = (tensor::<U, 2>(dims, 2), vec![U::default(); rows * n]);
        cast(&p, slice(&x), &mut want);
        cast_into(x.view(), y.view_mut()).unwrap();
        verify("cast", slice(&y), &want, 0.0);
        let bytes = p.bytes(size_of::<T>() + size_of::<U>());
        family.bytes(&format!("cast to {other}"), &size, bytes, || cast_into(x.view(), y.view_mut()));

        let mut y = tensor::<T, 2>(dims, 3);
        let mut want = slice(&y).to_vec();
        add(&p, slice(&x), &mut want);
        scale(&p, 0.5, &mut want);
        add_into(x.view(), y.view_mut()).unwrap();
        scale_into(0.5, y.view_mut()).unwrap();
        verify("add and scale", slice(&y), &want, limit);
        family.bytes("add", &size, p.bytes(3 * size_of::<T>()), || add_into(x.view(), y.view_mut()));
        family.bytes("scale", &size, p.bytes(2 * size_of::<T>()), || scale_into(1.0, y.view_mut()));
    }
}

fn map(c: &mut Criterion) {
    let mut family = Family::new(c, "map");
    sizes::<f32, bf16>(&mut family, ["f32", "bf16"], 1e-14);
    sizes::<bf16, f32>(&mut family, ["bf16", "f32"], 1e-5);
}

criterion_group!(benches, map);
criterion_main!(benches);
