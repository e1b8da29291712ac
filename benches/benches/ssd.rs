//! State space dual forward, backward and by single steps, at the sizes of Mamba-2 models. Floor: inputs in, outputs out;
//! what bounds it on a CPU is arithmetic, and a step the state that it moves.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, slice, tensor, verify};
use latens_core::{Device, Float, Philox, Ssd, Tensor, bf16, ssd, ssd_backward, ssd_step_into};
use latens_kernels::{Layout, ssd as family};

/// Rows, heads, entries of a head, states.
const SIZES: [[usize; 4]; 4] = [[197, 24, 64, 128], [2048, 24, 64, 128], [2048, 24, 64, 16], [4, 24, 64, 128]];

fn between<T: Float>(count: usize, low: f32, high: f32, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| T::from_f32(low + (high - low) * draw.uniform())).collect()
}

fn sizes<T: Float>(bench: &mut Family<'_>, dtype: &str, limit: f64) {
    for [len, heads, head_dim, states] in SIZES {
        let width = heads * head_dim;
        let (x, dy) = (tensor::<T, 3>([1, len, width], 1), tensor::<T, 3>([1, len, width], 2));
        let (b, c) = (tensor::<T, 3>([1, len, states], 3), tensor::<T, 3>([1, len, states], 4));
        let delta = host(between::<T>(len * heads, 0.001, 0.1, 5), [1, len, heads]);
        let a = host(between::<T::Acc>(heads, -16.0, -1.0, 6), [heads]);
        let call = Ssd::new(x.view(), delta.view(), a.view(), b.view(), c.view());
        let p = plan(x.layout(), delta.layout(), a.layout(), b.layout());
        let mut want = vec![T::default(); len * width];
        let inputs = family::Inputs {
            x: slice(&x),
            delta: slice(&delta),
            a: slice(&a),
            b: slice(&b),
            c: slice(&c),
            skip: None,
            bias: None,
            gate: None,
            bounds: None,
            initial: None,
        };
        family::forward(&p, inputs, &mut want, None).unwrap();
        verify("ssd", slice(&ssd(&call).unwrap().0), &want, limit);
        let size = format!("{dtype} {len} x {heads} x {head_dim} x {states}");
        let (flops, bytes) = (p.flops(), p.bytes(size_of::<T>()));
        bench.flops("forward", &size, flops, bytes, || ssd(&call));
        bench.flops("backward", &size, 3 * flops, 2 * bytes, || ssd_backward(&call, dy.view(), None));
    }
}

fn steps<T: Float>(bench: &mut Family<'_>, dtype: &str) {
    let [_, heads, head_dim, states] = SIZES[0];
    let (width, batch, device) = (heads * head_dim, 8, Device::Host);
    let (x, b, c) = (
        tensor::<T, 3>([batch, 1, width], 1),
        tensor::<T, 3>([batch, 1, states], 2),
        tensor::<T, 3>([batch, 1, states], 3),
    );
    let delta = host(between::<T>(batch * heads, 0.001, 0.1, 4), [batch, 1, heads]);
    let a = host(between::<T::Acc>(heads, -16.0, -1.0, 5), [heads]);
    let call = Ssd::new(x.view(), delta.view(), a.view(), b.view(), c.view());
    let p = plan(x.layout(), delta.layout(), a.layout(), b.layout());
    let mut state = Tensor::<T::Acc, 4>::zeros([batch, heads, head_dim, states], &device).unwrap();
    let mut y = Tensor::<T, 3>::zeros([batch, 1, width], &device).unwrap();
    let bytes = 2 * batch * width * states * size_of::<T::Acc>();
    let size = format!("{dtype} {batch} x {heads} x {head_dim} x {states}");
    bench.flops("step", &size, p.flops(), bytes, || ssd_step_into(&call, state.view_mut(), y.view_mut()));
}

fn plan(x: Layout<3>, delta: Layout<3>, a: Layout<1>, b: Layout<3>) -> family::Plan {
    let layouts = family::Layouts {
        x,
        delta,
        a,
        b,
        c: b,
        skip: None,
        bias: None,
        gate: None,
        bounds: None,
        initial: None,
        groups: 1,
        softplus: false,
    };
    family::plan(&layouts).unwrap()
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "ssd");
    sizes::<f32>(&mut bench, "f32", 1e-10);
    sizes::<bf16>(&mut bench, "bf16", 1e-5);
    steps::<f32>(&mut bench, "f32");
}

criterion_group!(benches, all);
criterion_main!(benches);
