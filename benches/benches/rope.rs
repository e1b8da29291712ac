//! Rotary positions of a prompt, in place. Floor: every head once in, once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, packed, slice, tensor, verify};
use latens_core::{Float, Pairing, bf16, rope_into};
use latens_kernels::rope::{forward, plan};

const BASE: f64 = 1e5;

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for dims @ [tokens, heads, dim] in [[8192, 9, 64], [2048, 32, 128]] {
        let positions = host((0..tokens as u32).collect(), [tokens]);
        for (name, pairing) in [("interleaved", Pairing::Interleaved), ("halves", Pairing::Halves)] {
            let p = plan(&packed(dims), &packed([tokens]), BASE, pairing).unwrap();
            let mut x = tensor::<T, 3>(dims, 1);
            let mut want = slice(&x).to_vec();
            forward(&p, &mut want, slice(&positions));
            rope_into(x.view_mut(), positions.view(), BASE, pairing).unwrap();
            verify(name, slice(&x), &want, limit);
            // A rotation keeps lengths, so the numbers stay what they are however often it is repeated.
            let size = format!("{dtype} {tokens}x{heads}x{dim}");
            let bytes = p.bytes(size_of::<T>());
            family.bytes(name, &size, bytes, || rope_into(x.view_mut(), positions.view(), BASE, pairing));
        }
    }
}

fn rope(c: &mut Criterion) {
    let mut family = Family::new(c, "rope");
    sizes::<f32>(&mut family, "f32", 1e-12);
    sizes::<bf16>(&mut family, "bf16", 5e-5);
}

criterion_group!(benches, rope);
criterion_main!(benches);
