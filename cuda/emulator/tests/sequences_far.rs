//! The causal convolution and the state space dual of rows further apart than 2^31 numbers, of outputs that begin past 2^32, and
//! what launches of such sizes are told.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod far;

use far::{CHIP, Far, device, nowhere, nowhere_mut, numbers};
use latens_cuda::Device;
use latens_emulator::last_blocks;
use latens_kernels::route::Tables;
use latens_kernels::{Arg, Error, Layout, Span, conv1d, ssd};

const NEAR: usize = 64;
const FAR: usize = (1 << 31) + 64;
const BATCH: usize = 2;
const LEN: usize = 3;

fn layout(columns: usize, apart: usize) -> Layout<3> {
    Layout::strided([BATCH, LEN, columns], [LEN * apart, apart, 1]).unwrap()
}

fn tensor(columns: usize, apart: usize, seed: usize) -> Far<f32> {
    Far::rows(&numbers(BATCH * LEN * columns, seed), columns, apart)
}

fn no_tables<I>() -> Tables<I> {
    Tables { bounds: None, orders: None }
}

/// `y` and all gradients of a convolution of rows so far apart, on a device.
fn convolved(device: &Device, apart: usize) -> [Vec<f32>; 4] {
    const CHANNELS: usize = 3;
    const WIDTH: usize = 4;
    let chip = device.chip();
    let weights = Layout::strided([CHANNELS, WIDTH], [apart, 1]).unwrap();
    let rows = layout(CHANNELS, apart);
    let p = conv1d::plan(&rows, &weights, None, true, None, None, None).unwrap();
    let p = conv1d::plan_backward(&p, &rows, None).unwrap();
    let (x, dy) = (tensor(CHANNELS, apart, 1), tensor(CHANNELS, apart, 2));
    let weight = Far::rows(&numbers(CHANNELS * WIDTH, 3), WIDTH, apart);
    let lens = [BATCH * LEN * CHANNELS, BATCH * LEN * CHANNELS, CHANNELS * WIDTH, CHANNELS];
    let mut out = lens.map(Far::<f32>::new);
    let mut work = Far::<u8>::new(conv1d::workspace_backward(&p).unwrap());
    let (x, dy, weight) = (x.span(device), dy.span(device), weight.span(device));
    let [y, dx, dweight, dbias] = &mut out;
    let (y, w) = (y.span_mut(device), work.span_mut(device));
    device.run(&conv1d::launch(&p, chip, x, weight, None, no_tables(), None, y, None, w).unwrap()).unwrap();
    let to = conv1d::Gradients {
        dx: Some(dx.span_mut(device)),
        dweight: Some(dweight.span_mut(device)),
        dbias: Some(dbias.span_mut(device)),
        dinitial: None,
    };
    let work = work.span_mut(device);
    let back = conv1d::launch_backward(&p, chip, x, weight, None, no_tables(), None, dy, None, to, work).unwrap();
    device.run(&back).unwrap();
    out.map(|out| out.slice().to_vec())
}

#[test]
fn a_convolution_of_far_rows_is_that_of_near_ones() {
    if !far::room() {
        return;
    }
    let device = device();
    let want = convolved(&device, NEAR);
    assert!(want.iter().all(|of| of.iter().any(|&x| x != 0.0)));
    assert_eq!(convolved(&device, FAR), want);
}

/// The last blocks of a convolution of 2^33 numbers: its rows, its output and its gradient lie past 2^32.
#[test]
fn the_far_end_of_a_convolution() {
    if !far::room() {
        return;
    }
    const COLUMNS: usize = 128;
    // A block has 64 positions of 128 channels; two batch entries are two blocks.
    const ROWS: usize = 64;
    const ENTRIES: usize = (1 << 20) + 1;
    let (device, tail) = (device(), 2 * ROWS * COLUMNS);
    let all = ENTRIES * ROWS * COLUMNS;
    assert!(all - tail > 1 << 32);
    let run = |entries: usize| {
        let rows = Layout::packed([entries, ROWS, COLUMNS]).unwrap();
        let p = conv1d::plan(&rows, &Layout::packed([COLUMNS, 3]).unwrap(), None, false, None, None, None).unwrap();
        let p = conv1d::plan_backward(&p, &rows, None).unwrap();
        let len = rows.len();
        let (mut x, mut dy) = (Far::<f32>::new(len), Far::<f32>::new(len));
        x.slice_mut()[len - tail..].copy_from_slice(&numbers(tail, 1));
        dy.slice_mut()[len - tail..].copy_from_slice(&numbers(tail, 2));
        let (weight, mut y, mut dx) = (Far::of(&numbers(COLUMNS * 3, 3)), Far::<f32>::new(len), Far::<f32>::new(len));
        let mut work = Far::<u8>::new(conv1d::workspace_backward(&p).unwrap());
        let (x, w, d) = (x.span(&device), weight.span(&device), dy.span(&device));
        let (chip, to) = (device.chip(), y.span_mut(&device));
        let launches =
            conv1d::launch(&p, chip, x, w, None, no_tables(), None, to, None, work.span_mut(&device)).unwrap();
        last_blocks(2, || device.run(&launches)).unwrap();
        let to = conv1d::Gradients { dx: Some(dx.span_mut(&device)), dweight: None, dbias: None, dinitial: None };
        let work = work.span_mut(&device);
        let back = conv1d::launch_backward(&p, chip, x, w, None, no_tables(), None, d, None, to, work).unwrap();
        last_blocks(2, || device.run(&back)).unwrap();
        [y, dx].map(|of| of.slice()[len - tail..].to_vec())
    };
    let want = run(2);
    assert!(want.iter().all(|of| of.iter().any(|&x| x != 0.0)));
    assert_eq!(run(ENTRIES), want);
}

const HEADS: usize = 2;
const ENTRIES_OF_HEAD: usize = 3;
const WIDTH: usize = HEADS * ENTRIES_OF_HEAD;
const STATES: usize = 5;

fn of_heads(wide: Layout<3>, each: Layout<3>, shared: Layout<3>) -> ssd::Plan {
    let (heads, groups) = (each.dims()[2], 1);
    let a = Layout::packed([heads]).unwrap();
    let (skip, bias, bounds, initial) = (None, None, None, None);
    let (x, delta, b, c, gate) = (wide, each, shared, shared, Some(wide));
    let layouts = ssd::Layouts { x, delta, a, b, c, skip, bias, gate, bounds, initial, groups, softplus: true };
    ssd::plan_backward(&ssd::plan(&layouts).unwrap(), &wide, None).unwrap()
}

fn inputs<S>([x, delta, a, b, c, gate]: [S; 6]) -> ssd::Inputs<S, S, Span<'static, u32>> {
    let (skip, bias, bounds, initial, gate) = (None, None, None, None, Some(gate));
    ssd::Inputs { x, delta, a, b, c, skip, bias, gate, bounds, initial }
}

fn gradients<S>([dx, ddelta, da, db, dc, dgate]: [S; 6]) -> ssd::Gradients<S, S> {
    let [dx, ddelta, da, db, dc, dgate] = [dx, ddelta, da, db, dc, dgate].map(Some);
    let (dskip, dbias, dinitial) = (None, None, None);
    ssd::Gradients { dx, ddelta, da, db, dc, dskip, dbias, dgate, dinitial }
}

/// `y` and gradients of a state space dual of rows so far apart, on a device.
fn dual(device: &Device, apart: usize) -> [Vec<f32>; 7] {
    let (wide, each, shared) = (layout(WIDTH, apart), layout(HEADS, apart), layout(STATES, apart));
    let (p, chip) = (of_heads(wide, each, shared), device.chip());
    let from = [
        tensor(WIDTH, apart, 1),
        tensor(HEADS, apart, 2),
        Far::of(&[-0.5_f32, -1.5]),
        tensor(STATES, apart, 3),
        tensor(STATES, apart, 4),
        tensor(WIDTH, apart, 5),
    ];
    let dy = tensor(WIDTH, apart, 6);
    let x = || inputs([0, 1, 2, 3, 4, 5].map(|i: usize| from[i].span(device)));
    let rows = BATCH * LEN;
    let lens = [rows * WIDTH, rows * WIDTH, rows * HEADS, HEADS, rows * STATES, rows * STATES, rows * WIDTH];
    let mut out = lens.map(Far::<f32>::new);
    let mut work = Far::<u8>::new(ssd::workspace_backward(&p).unwrap());
    let [y, to @ ..] = &mut out;
    let (y, w) = (y.span_mut(device), work.span_mut(device));
    device.run(&ssd::launch(&p, chip, x(), y, None, w).unwrap()).unwrap();
    let to = gradients(to.each_mut().map(|to| to.span_mut(device)));
    let (dy, work) = (dy.span(device), work.span_mut(device));
    device.run(&ssd::launch_backward(&p, chip, x(), dy, None, to, work).unwrap()).unwrap();
    out.map(|out| out.slice().to_vec())
}

#[test]
fn a_dual_of_far_rows_is_that_of_near_ones() {
    if !far::room() {
        return;
    }
    let device = device();
    let want = dual(&device, NEAR);
    assert!(want.iter().all(|of| of.iter().any(|&x| x != 0.0)));
    assert_eq!(dual(&device, FAR), want);
}

/// What launches are told of sizes past 2^32: strides and counts in 64 bits, blocks that fit or an error. Nothing runs.
#[test]
fn launches_of_sizes_that_no_test_can_hold() {
    let [batch, len, heads, head_dim, states] = [64, 33 * 2048, 64, 64, 128];
    let packed = |batch: usize, n: usize| Layout::packed([batch, len, n]).unwrap();
    let plan = |batch| of_heads(packed(batch, heads * head_dim), packed(batch, heads), packed(batch, states));
    let p = plan(batch);
    let (slots, rows) = (batch * len / 64, batch * len);
    let (bytes, square) = (ssd::workspace_backward(&p).unwrap(), 64 * 64);
    assert!(bytes > 4 * (2 * slots * heads * head_dim * states + slots * heads * square));
    let lens = |rows: usize| {
        [rows * heads * head_dim, rows * heads, heads, rows * states, rows * states, rows * heads * head_dim]
    };
    let launches = |p: &ssd::Plan, rows: usize, bytes: usize| {
        let (x, to) = (inputs(lens(rows).map(nowhere::<f32>)), gradients(lens(rows).map(nowhere_mut::<f32>)));
        ssd::launch_backward(p, &CHIP, x, nowhere(rows * heads * head_dim), None, to, nowhere_mut(bytes))
    };
    let all = launches(&p, rows, bytes).unwrap();
    let find = |name: &str| all.iter().find(|launch| launch.entry().0 == name && launch.grid()[0] > 0).unwrap();
    assert_eq!(find("ssd_backward").grid(), [(slots * heads) as u32, 1, 1]);
    for number in [len * heads * head_dim, heads * head_dim, len * heads, len * states, rows] {
        assert!(find("ssd_backward").args().contains(&Arg::U64(number as u64)), "{number}");
    }
    assert!(find("ssd_pair_sums").args().contains(&Arg::U64((slots * square) as u64)));
    let short = launches(&p, rows, bytes / 2).map(drop);
    assert!(matches!(short, Err(Error::Size { arg: "workspace", .. })), "{short:?}");
    // Blocks for each slot and head: more than a grid has.
    let (more, rows) = (plan(512 * batch), 512 * rows);
    let result = launches(&more, rows, ssd::workspace_backward(&more).unwrap()).map(drop);
    assert!(matches!(result, Err(Error::TooLarge)), "{result:?}");

    // A convolution of as much: its blocks are runs of 64 rows by 128 channels.
    let plan = |batch: usize| {
        let weight = Layout::packed([heads * head_dim, 4]).unwrap();
        conv1d::plan(&packed(batch, heads * head_dim), &weight, None, true, None, None, None).unwrap()
    };
    let launches = |p: &conv1d::Plan, batch: usize| {
        let len = packed(batch, heads * head_dim).len();
        let (x, weight, bytes) = (nowhere(len), nowhere(4 * heads * head_dim), conv1d::workspace(p).unwrap());
        let (y, work) = (nowhere_mut::<f32>(len), nowhere_mut(bytes));
        conv1d::launch(p, &CHIP, x, weight, None, no_tables(), None, y, None, work)
    };
    let all = launches(&plan(batch), batch).unwrap();
    let forward = all.iter().find(|launch| launch.entry().0 == "conv1d_forward").unwrap();
    assert_eq!(forward.grid(), [(batch * len / 64 * heads * head_dim / 128) as u32, 1, 1]);
    assert!(forward.args().contains(&Arg::U64((len * heads * head_dim) as u64)));
    let result = launches(&plan(1024 * batch), 1024 * batch).map(drop);
    assert!(matches!(result, Err(Error::TooLarge)), "{result:?}");
}
