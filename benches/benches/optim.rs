//! Steps of AdamW over the weights of a sparse autoencoder. Floor: weights, gradient and both averages once in, all
//! but the gradient once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{AdamW, Device, Tensor, adamw_into, decoder_step_into};
use latens_kernels::optim::{adamw, decoder_step, plan, plan_decoder};

/// A rate so small that weights stay what they are however often a step is repeated.
fn rates() -> AdamW {
    AdamW { lr: 1e-6, step: 3, ..AdamW::default() }
}

fn optim(c: &mut Criterion) {
    let mut family = Family::new(c, "optim");
    for dims @ [latents, dim] in [[4608, 576], [8192, 768]] {
        let (size, layout, rates) = (format!("{latents}x{dim}"), packed(dims), rates());
        let state = || (tensor::<f32, 2>(dims, 1), Tensor::zeros(dims, &Device::Host).unwrap());
        let g = tensor::<f32, 2>(dims, 2);
        let fresh = || (slice(&state().0).to_vec(), vec![0.0; latents * dim], vec![0.0; latents * dim]);

        let p = plan(&layout, &layout, &layout, &layout, &rates).unwrap();
        let (mut want, mut want_m, mut want_v) = fresh();
        adamw(&p, &mut want, slice(&g), &mut want_m, &mut want_v);
        let ((mut w, mut m), (_, mut v)) = (state(), state());
        adamw_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), &rates).unwrap();
        verify("adamw", slice(&w), &want, 1e-13);
        verify("adamw", slice(&v), &want_v, 1e-12);
        family.bytes("adamw", &size, p.bytes(), || {
            adamw_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), &rates)
        });

        let p = plan_decoder(&layout, &layout, &layout, &layout, &rates).unwrap();
        let (mut want, mut want_m, mut want_v) = fresh();
        decoder_step(&p, &mut want, slice(&g), &mut want_m, &mut want_v);
        let ((mut w, mut m), (_, mut v)) = (state(), state());
        decoder_step_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), &rates).unwrap();
        verify("decoder_step", slice(&w), &want, 1e-12);
        verify("decoder_step", slice(&m), &want_m, 1e-11);
        family.bytes("decoder_step", &size, p.bytes(), || {
            decoder_step_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), &rates)
        });
    }
}

criterion_group!(benches, optim);
criterion_main!(benches);
