//! Selective scan forward and backward, at the length of an image of 14 x 14 patches and of a large one. Floor: inputs in,
//! outputs out; what bounds it on a CPU are the exponentials, one for each state and row.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, slice, tensor, verify};
use latens_core::{Float, Philox, Scan, bf16, scan, scan_backward};
use latens_kernels::{Layout, route::Tables, scan as family};

const WIDTH: usize = 768;
const STATES: usize = 16;

fn between<T: Float>(count: usize, low: f32, high: f32, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| T::from_f32(low + (high - low) * draw.uniform())).collect()
}

fn sizes<T: Float>(bench: &mut Family<'_>, dtype: &str, limit: f64) {
    for len in [197, 6085] {
        let (u, dy) = (tensor::<T, 3>([1, len, WIDTH], 1), tensor::<T, 3>([1, len, WIDTH], 2));
        let (b, c) = (tensor::<T, 3>([1, len, STATES], 3), tensor::<T, 3>([1, len, STATES], 4));
        let delta = host(between::<T>(len * WIDTH, 0.001, 0.1, 5), [1, len, WIDTH]);
        let a = host(between::<T::Acc>(WIDTH * STATES, -16.0, -0.1, 6), [WIDTH, STATES]);
        let call = Scan::new(u.view(), delta.view(), a.view(), b.view(), c.view());
        let p = plan(u.layout(), b.layout(), a.layout());
        let mut want = vec![T::default(); len * WIDTH];
        let inputs = family::Inputs {
            u: slice(&u),
            delta: slice(&delta),
            a: slice(&a),
            b: slice(&b),
            c: slice(&c),
            skip: None,
            bias: None,
            gate: None,
            taps: None,
            taps_bias: None,
            window: None,
            tables: Tables { bounds: None, orders: None },
            initial: None,
        };
        family::forward(&p, inputs, &mut want, None).unwrap();
        verify("scan", slice(&scan(&call).unwrap().0), &want, limit);
        let size = format!("{dtype} {len} x {WIDTH} x {STATES}");
        // Criterion's elements per second are updates of states.
        let (steps, bytes) = (p.steps(), p.bytes(size_of::<T>()));
        bench.flops("forward", &size, steps, bytes, || scan(&call));
        bench.flops("backward", &size, steps, 2 * bytes, || scan_backward(&call, dy.view(), None));
    }
}

fn plan(u: Layout<3>, b: Layout<3>, a: Layout<2>) -> family::Plan {
    let layouts = family::Layouts {
        u,
        delta: u,
        a,
        b,
        c: b,
        skip: None,
        bias: None,
        gate: None,
        taps: None,
        taps_bias: None,
        window: None,
        bounds: None,
        orders: None,
        initial: None,
        softplus: false,
    };
    family::plan(&layouts).unwrap()
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "scan");
    sizes::<f32>(&mut bench, "f32", 1e-10);
    sizes::<bf16>(&mut bench, "bf16", 1e-5);
}

criterion_group!(benches, all);
criterion_main!(benches);
