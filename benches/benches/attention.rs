//! Causal attention: a prompt, and one new token over a full cache. A prompt is bound by arithmetic (twice the
//! products of its plan), a token by memory: floor = the keys and values once in.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Attention, Float, attention, attention_backward, attention_into, bf16};
use latens_kernels::attention::{Mask, backward, forward, plan, plan_backward};

/// `[t, s, heads, kv_heads, dim]`.
const SIZES: [[usize; 5]; 3] = [[512, 512, 9, 3, 64], [1, 4096, 9, 3, 64], [1, 4096, 32, 8, 128]];

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [t, s, heads, kv_heads, dim] in SIZES {
        let (q_dims, dims) = ([1, t, heads, dim], [1, s, kv_heads, dim]);
        let (q, k, v) = (tensor::<T, 4>(q_dims, 1), tensor::<T, 4>(dims, 2), tensor::<T, 4>(dims, 3));
        let inputs = Attention::new(q.view(), k.view(), v.view());
        let call = || attention(&inputs);

        let p = plan(&packed(q_dims), &packed(dims), &packed(dims), inputs.scale, Mask::Causal).unwrap();
        let mut want = vec![T::default(); q_dims.iter().product()];
        let lse_dims = [1, t, heads];
        let mut lse = vec![T::Acc::default(); t * heads];
        forward(&p, slice(&q), slice(&k), slice(&v), &mut want, Some(&mut lse));
        verify("attention", slice(&call().unwrap()), &want, limit);

        let (size, bytes) = (format!("{dtype} {t} of {s}, {heads}/{kv_heads} heads of {dim}"), p.bytes(size_of::<T>()));
        if t == 1 {
            family.bytes("token", &size, bytes, call);
        } else {
            family.flops("prompt", &size, 2 * p.products(), bytes, call);
            let dy = tensor::<T, 4>(q_dims, 4);
            let (mut y, mut logs) = (tensor::<T, 4>(q_dims, 5), tensor::<T::Acc, 3>(lse_dims, 6));
            attention_into(&inputs, y.view_mut(), Some(logs.view_mut())).unwrap();
            let p = plan_backward(&p, &packed(q_dims), &packed(lse_dims), &packed(q_dims)).unwrap();
            let call = || attention_backward(&inputs, y.view(), logs.view(), dy.view());
            let gradients = call().unwrap();
            let [mut dq, mut dk, mut dv] = [q_dims, dims, dims].map(|dims| vec![T::default(); dims.iter().product()]);
            let to = [&mut dq, &mut dk, &mut dv].map(|to| Some(&mut to[..]));
            let [to_q, to_k, to_v] = to;
            backward(&p, slice(&q), slice(&k), slice(&v), &want, &lse, slice(&dy), to_q, to_k, to_v);
            for (got, want) in [(&gradients.q, &dq), (&gradients.k, &dk), (&gradients.v, &dv)] {
                verify("attention_backward", slice(got), want, limit);
            }
            family.flops("gradients", &size, 5 * p.products(), 2 * bytes, call);
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
