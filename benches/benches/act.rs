//! Activations of a language model's MLP. Floor: `gate` and `up` once in, `y` once out; backward those and `dy` in, two out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Act, Float, bf16, gated, gated_backward, gelu};
use latens_kernels::act::{backward, forward, plan, plan_backward};

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [rows, n] in [[4096, 1536], [512, 11_008]] {
        let (gate, up) = (tensor::<T, 2>([rows, n], 1), tensor::<T, 2>([rows, n], 2));
        let (size, layout) = (format!("{dtype} {rows}x{n}"), packed([rows, n]));
        let mut want = vec![T::default(); rows * n];

        let p = plan(Act::Silu, &layout, Some(&layout)).unwrap();
        forward(&p, slice(&gate), Some(slice(&up)), &mut want);
        verify("gated", slice(&gated(gate.view(), up.view(), Act::Silu).unwrap()), &want, limit);
        family.bytes("gated silu", &size, p.bytes(size_of::<T>()), || gated(gate.view(), up.view(), Act::Silu));

        for (name, act, tanh) in [("gelu", Act::Gelu, false), ("gelu tanh", Act::GeluTanh, true)] {
            let p = plan(act, &layout, None).unwrap();
            forward(&p, slice(&gate), None, &mut want);
            verify(name, slice(&gelu(gate.view(), tanh).unwrap()), &want, limit);
            family.bytes(name, &size, p.bytes(size_of::<T>()), || gelu(gate.view(), tanh));
        }

        let (dy, mut second) = (tensor::<T, 2>([rows, n], 3), want.clone());
        for (name, act) in [("gated silu backward", Act::Silu), ("gated gelu backward", Act::Gelu)] {
            let p = plan_backward(act, &layout, Some(&layout), &layout, true).unwrap();
            backward(&p, slice(&gate), Some(slice(&up)), slice(&dy), Some(&mut want), Some(&mut second));
            let call = || gated_backward(gate.view(), up.view(), dy.view(), act);
            let (dgate, dup) = call().unwrap();
            verify(name, slice(&dgate), &want, limit);
            verify(name, slice(&dup), &second, limit);
            family.bytes(name, &size, p.bytes_backward(size_of::<T>()), call);
        }
    }
}

fn act(c: &mut Criterion) {
    let mut family = Family::new(c, "act");
    sizes::<f32>(&mut family, "f32", 1e-12);
    sizes::<bf16>(&mut family, "bf16", 5e-5);
}

criterion_group!(benches, act);
criterion_main!(benches);
