//! A selective scan of numbers further apart than 2^31 and 2^32 of them: in address space of which nothing exists but the
//! pages that are touched, on the host and, through the emulator, by the device code.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod far;

use far::{CHIP, Far, nowhere, nowhere_mut};
use latens_cuda::Device;
use latens_kernels::scan::{self as family, Gradients, Inputs, Layouts, Plan};
use latens_kernels::{Arg, Error, Layout, Span, route::Tables};

/// A tensor of which a row lies every `stride` numbers, filled with small numbers that depend on where they are in it.
fn tensor(dims: [usize; 3], layout: &Layout<3>, (low, high): (f32, f32), seed: usize) -> Far<f32> {
    let (mut to, [batch, row, _]) = (Far::new(layout.span()), layout.strides());
    for i in 0..dims.iter().product() {
        let place = i / (dims[1] * dims[2]) * batch + i / dims[2] % dims[1] * row + i % dims[2];
        to.slice_mut()[place] = low + (high - low) * ((i * 37 + seed * 11) % 101) as f32 / 101.0;
    }
    to
}

const BATCH: usize = 2;
const LEN: usize = 3;
const WIDTH: usize = 2;
const STATES: usize = 16;

/// Two batch entries of three rows, each `apart` numbers from the last.
struct Case {
    plan: Plan,
    u: Far<f32>,
    delta: Far<f32>,
    a: Far<f32>,
    b: Far<f32>,
    c: Far<f32>,
    gate: Far<f32>,
    dy: Far<f32>,
}

impl Case {
    fn new(apart: usize) -> Self {
        let layout = |n: usize| Layout::strided([BATCH, LEN, n], [LEN * apart, apart, 1]).unwrap();
        let (wide, shared) = (layout(WIDTH), layout(STATES));
        let plan = plan(wide, Layout::strided([WIDTH, STATES], [apart, 1]).unwrap(), shared, Some(wide));
        let of = |n: usize, layout, between, seed| tensor([BATCH, LEN, n], layout, between, seed);
        let a = Layout::strided([1, WIDTH, STATES], [0, apart, 1]).unwrap();
        Self {
            plan: family::plan_backward(&plan, &wide, None).unwrap(),
            u: of(WIDTH, &wide, (-1.0, 1.0), 1),
            delta: of(WIDTH, &wide, (0.01, 0.5), 2),
            a: tensor([1, WIDTH, STATES], &a, (-3.0, -0.1), 3),
            b: of(STATES, &shared, (-1.0, 1.0), 4),
            c: of(STATES, &shared, (-1.0, 1.0), 5),
            gate: of(WIDTH, &wide, (-2.0, 2.0), 6),
            dy: of(WIDTH, &wide, (-1.0, 1.0), 7),
        }
    }

    fn inputs<'a, S>(&'a self, of: impl Fn(&'a Far<f32>) -> S) -> Inputs<S, S, &'a [u32]> {
        let (skip, bias, taps, taps_bias, window, initial) = (None, None, None, None, None, None);
        let (u, delta, a, b, c) = (of(&self.u), of(&self.delta), of(&self.a), of(&self.b), of(&self.c));
        let (gate, tables) = (Some(of(&self.gate)), Tables { bounds: None, orders: None });
        Inputs { u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, tables, initial }
    }

    /// `y`, then the gradients of `u`, `delta`, `a`, `b`, `c` and the gate, on the host.
    fn host(&self) -> [Vec<f32>; 7] {
        let (p, mut out) = (&self.plan, outputs());
        let [y, du, ddelta, da, db, dc, dgate] = &mut out;
        latens_cpu::scan::forward(p, self.inputs(Far::slice), y, None).unwrap();
        let to = gradients([du, ddelta, da, db, dc, dgate].map(|to| &mut to[..]));
        latens_cpu::scan::backward(p, self.inputs(Far::slice), self.dy.slice(), None, to).unwrap();
        out
    }

    /// The same by the launches of a device.
    fn device(&self, device: &Device) -> [Vec<f32>; 7] {
        let (p, chip) = (&self.plan, device.chip());
        let x = || {
            let x = self.inputs(|far| far.span(device));
            Inputs { tables: Tables { bounds: None, orders: None }, ..spans(x) }
        };
        let mut to = outputs().map(|out| device.alloc::<f32>(out.len()).unwrap());
        let bytes = family::workspace(p, chip).unwrap().max(family::workspace_backward(p).unwrap());
        let mut workspace = device.alloc::<u8>(bytes).unwrap();
        let [y, du, ddelta, da, db, dc, dgate] = &mut to;
        let launches = family::launch(p, chip, x(), y.span_mut(), None, workspace.span_mut()).unwrap();
        device.run(&launches).unwrap();
        let to_gradients = gradients([du, ddelta, da, db, dc, dgate].map(|to| to.span_mut()));
        let (dy, workspace) = (self.dy.span(device), workspace.span_mut());
        device.run(&family::launch_backward(p, chip, x(), dy, None, to_gradients, workspace).unwrap()).unwrap();
        let mut out = outputs();
        out.iter_mut().zip(&to).for_each(|(out, to)| to.read(out).unwrap());
        out
    }
}

fn plan(wide: Layout<3>, a: Layout<2>, shared: Layout<3>, gate: Option<Layout<3>>) -> Plan {
    let (skip, bias, taps, taps_bias, window, bounds, orders, initial) = Default::default();
    let (u, delta, b, c, softplus) = (wide, wide, shared, shared, false);
    family::plan(&Layouts {
        u,
        delta,
        a,
        b,
        c,
        skip,
        bias,
        gate,
        taps,
        taps_bias,
        window,
        bounds,
        orders,
        initial,
        softplus,
    })
    .unwrap()
}

/// Without tables, which are of another kind on a device.
fn spans<'a>(x: Inputs<Span<'a, f32>, Span<'a, f32>, &[u32]>) -> Inputs<Span<'a, f32>, Span<'a, f32>, Span<'a, u32>> {
    let Inputs { u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, initial, .. } = x;
    let tables = Tables { bounds: None, orders: None };
    Inputs { u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, tables, initial }
}

fn outputs() -> [Vec<f32>; 7] {
    let (wide, shared) = (BATCH * LEN * WIDTH, BATCH * LEN * STATES);
    [wide, wide, wide, WIDTH * STATES, shared, shared, wide].map(|len| vec![0.0; len])
}

fn gradients<S>([du, ddelta, da, db, dc, dgate]: [S; 6]) -> Gradients<S, S> {
    let (dskip, dbias, dinitial) = (None, None, None);
    let [du, ddelta, da, db, dc, dgate] = [du, ddelta, da, db, dc, dgate].map(Some);
    Gradients { du, ddelta, da, db, dc, dskip, dbias, dgate, dinitial }
}

/// Where rows lie changes nothing, in any bit.
#[test]
fn far_rows_are_as_near_ones() {
    if !far::room() {
        return;
    }
    let (near, far) = (Case::new(64), Case::new((1 << 31) + 64));
    assert!(far.u.len > 5 << 31 && far.a.len > 1 << 31);
    let want = near.host();
    assert!(want.iter().all(|want| want.iter().any(|&x| x != 0.0)));
    assert_eq!(far.host(), want, "on the host");
    latens_emulator::start();
    let device = Device::open(0).unwrap();
    let want = near.device(&device);
    assert!(want.iter().all(|want| want.iter().any(|&x| x != 0.0)));
    assert_eq!(far.device(&device), want, "on a device");
}

/// What a launch is told of sizes past 2^32: strides and counts in 64 bits, blocks that fit or an error. Nothing runs.
#[test]
fn launches_of_sizes_that_no_test_can_hold() {
    // The sizes that overflowed the 32-bit offsets of another program: silent wrong gradients.
    let [batch, len, channels, states] = [64, 33 * 2048, 4096, 256];
    let packed = |n: usize| Layout::packed([batch, len, n]).unwrap();
    let p = plan(packed(channels), Layout::packed([channels, states]).unwrap(), packed(states), None);
    let chunks = batch * len / 16;
    let kept = 4 * chunks * channels * states;
    assert!(kept > 1 << 40 && family::workspace_backward(&p).unwrap() > 2 * kept);
    let (read, write, workspace) = (nowhere::<f32>, nowhere_mut::<f32>, nowhere_mut::<u8>);
    let (wide, shared) = (packed(channels).len(), packed(states).len());
    let x = |a: usize| Inputs {
        u: read(wide),
        delta: read(wide),
        a: read(a),
        b: read(shared),
        c: read(shared),
        skip: None,
        bias: None,
        gate: None,
        taps: None,
        taps_bias: None,
        window: None,
        tables: Tables { bounds: None, orders: None },
        initial: None,
    };
    let p = family::plan_backward(&p, &packed(channels), None).unwrap();
    let to = Gradients { dgate: None, ..gradients([wide, wide, channels * states, shared, shared, 0].map(write)) };
    let bytes = family::workspace_backward(&p).unwrap();
    let all = family::launch_backward(&p, &CHIP, x(channels * states), read(wide), None, to, workspace(bytes)).unwrap();
    let find = |name: &str| all.iter().rfind(|launch| launch.entry().0 == name && launch.grid()[0] > 0).unwrap();
    let back = find("scan_backward");
    let tiles = channels / 4; // 128 threads, 32 to a channel
    assert_eq!(back.grid(), [(tiles * chunks) as u32, 1, 1]);
    for number in [len * channels, channels, len * states, states, batch * len] {
        assert!(back.args().contains(&Arg::U64(number as u64)), "{number}");
    }
    assert!(find("scan_records").args().contains(&Arg::U64(chunks as u64)));
    assert!(find("scan_tiles").args().contains(&Arg::U64((batch * len) as u64)));
    // A workspace of half the size is refused, and so are more blocks than a grid has.
    let to = Gradients { dgate: None, ..gradients([wide, wide, channels * states, shared, shared, 0].map(write)) };
    let short = family::launch_backward(&p, &CHIP, x(channels * states), read(wide), None, to, workspace(bytes / 2));
    let short = short.map(drop).unwrap_err();
    assert!(matches!(short, Error::Size { arg: "workspace", .. }), "{short:?}");
    let more = |n: usize| Layout::packed([16 * batch, len, n]).unwrap();
    let p = plan(more(channels), Layout::packed([channels, states]).unwrap(), more(states), None);
    let (wide, shared) = (16 * wide, 16 * shared);
    let x = Inputs { u: read(wide), delta: read(wide), b: read(shared), c: read(shared), ..x(channels * states) };
    let to = Gradients { dgate: None, ..gradients([wide, wide, channels * states, shared, shared, 0].map(write)) };
    let bytes = family::workspace_backward(&p).unwrap();
    let launches = family::launch_backward(&p, &CHIP, x, read(wide), None, to, workspace(bytes));
    assert!(matches!(launches.map(drop), Err(Error::TooLarge)));
}
