//! Causal attention: a prompt, and one new token over a full cache. A prompt is bound by arithmetic (twice the
//! products of its plan), a token by memory: floor = the keys and values once in.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Float, attention, bf16};
use latens_kernels::attention::{forward, plan};

/// `[t, s, heads, kv_heads, dim]`.
const SIZES: [[usize; 5]; 3] = [[512, 512, 9, 3, 64], [1, 4096, 9, 3, 64], [1, 4096, 32, 8, 128]];

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [t, s, heads, kv_heads, dim] in SIZES {
        let (q_dims, dims) = ([1, t, heads, dim], [1, s, kv_heads, dim]);
        let (q, k, v) = (tensor::<T, 4>(q_dims, 1), tensor::<T, 4>(dims, 2), tensor::<T, 4>(dims, 3));
        let scale = 1.0 / (dim as f32).sqrt();
        let call = || attention(q.view(), k.view(), v.view(), scale, true);

        let p = plan(&packed(q_dims), &packed(dims), &packed(dims), scale, true).unwrap();
        let mut want = vec![T::default(); q_dims.iter().product()];
        forward(&p, slice(&q), slice(&k), slice(&v), &mut want);
        verify("attention", slice(&call().unwrap()), &want, limit);

        let (size, bytes) = (format!("{dtype} {t} of {s}, {heads}/{kv_heads} heads of {dim}"), p.bytes(size_of::<T>()));
        if t == 1 {
            family.bytes("token", &size, bytes, call);
        } else {
            family.flops("prompt", &size, 2 * p.products(), bytes, call);
        }
    }
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "attention");
    sizes::<f32>(&mut family, "f32", 1e-11);
    sizes::<bf16>(&mut family, "bf16", 5e-5);
}

criterion_group!(benches, all);
criterion_main!(benches);
