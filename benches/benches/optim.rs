//! Steps of AdamW (averages of 32 and of 8 bits) and of signs over the weights of a sparse autoencoder. Floor: weights,
//! gradient and averages once in, all but the gradient once out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{AdamW, Device, Signum, Tensor, adamw_into, adamw8_into, decoder_step_into, signum_into};
use latens_kernels::optim::{adamw, adamw8, decoder_step, plan, plan_decoder, signum};

const BLOCK: usize = 256;

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

        let blocks = (latents * dim).div_ceil(BLOCK);
        let p = adamw8::plan(&layout, &layout, &layout, &layout, &packed([blocks, 2]), BLOCK, &rates).unwrap();
        let (mut want, mut want_m, mut want_v) = (fresh().0, vec![0; latents * dim], vec![0; latents * dim]);
        let mut want_scales = vec![0.0; 2 * blocks];
        adamw8::adamw8(&p, &mut want, slice(&g), &mut want_m, &mut want_v, &mut want_scales);
        let [mut m, mut v] = [(); 2].map(|()| Tensor::<u8, 2>::zeros(dims, &Device::Host).unwrap());
        let (mut w, mut scales) = (state().0, Tensor::zeros([blocks, 2], &Device::Host).unwrap());
        adamw8_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), scales.view_mut(), BLOCK, &rates).unwrap();
        assert!(slice(&m) == want_m && slice(&v) == want_v && slice(&scales) == want_scales, "adamw8: codes differ");
        verify("adamw8", slice(&w), &want, 0.0);
        family.bytes("adamw8", &size, p.bytes(), || {
            let (m, v, scales) = (m.view_mut(), v.view_mut(), scales.view_mut());
            adamw8_into(w.view_mut(), g.view(), m, v, scales, BLOCK, &rates)
        });

        let rates_of_signs = Signum { lr: 1e-6, ..Signum::default() };
        let p = signum::plan(&layout, &layout, &layout, &rates_of_signs).unwrap();
        let (mut want, mut want_m, _) = fresh();
        signum::signum(&p, &mut want, slice(&g), &mut want_m);
        let (mut w, mut m) = state();
        signum_into(w.view_mut(), g.view(), m.view_mut(), &rates_of_signs).unwrap();
        verify("signum", slice(&w), &want, 0.0);
        family.bytes("signum", &size, p.bytes(), || signum_into(w.view_mut(), g.view(), m.view_mut(), &rates_of_signs));

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
