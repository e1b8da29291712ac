//! Quantisation and sparsification at the far end of more than 2^31 and 2^32 numbers: the last blocks of a launch run by the
//! device code, over pages that are there only where they are touched, beside the same numbers near 0; and what launches of
//! such sizes are told.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod far;

use far::{CHIP, Far, device, nowhere, nowhere_mut, numbers};
use latens_cuda::Device;
use latens_emulator::last_blocks;
use latens_kernels::quant::{Codes, Format, Plan, Rounding, Settings, code, pack};
use latens_kernels::{Accumulate, Arg, Chip, Error, Layout, quant, sparsify};

const BLOCK: usize = 4096;
/// Numbers past 2^34, from where on draws are named by more than 32 bits. The last 11 blocks are touched, of which eight are before.
const N: usize = (1 << 34) + 2 * BLOCK + 77;
const TAIL: usize = 10 * BLOCK + 77;
const START: usize = N - TAIL;
/// Blocks of threads that have the tail: eight blocks of numbers each, and the last has three.
const LAST: u64 = 2;

fn settings(format: Format, rounding: Rounding) -> Settings {
    Settings { format, block: BLOCK, rounding }
}

fn bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

/// Codes, scales and error of the numbers of the tail, as if they lay near; by chance with the draws of where they lie.
fn near(p: &Plan, x: &[f32], kept: &[f32]) -> [Vec<u8>; 3] {
    let Settings { format, rounding, .. } = *p.settings();
    let (mut codes, mut scales, mut error) = (Vec::new(), Vec::new(), Vec::new());
    for (block, (x, kept)) in x.chunks(BLOCK).zip(kept.chunks(BLOCK)).enumerate() {
        let a: Vec<f32> = x.iter().zip(kept).map(|(x, kept)| x + kept).collect();
        let (low, high) =
            a.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &a| (low.min(a), high.max(a)));
        let coder = code::Coder::new(format, rounding, &code::Block { low, high, sum: 0.0, count: a.len() });
        scales.extend_from_slice(&[coder.scale, coder.offset][..format.width()]);
        for (i, &a) in (START + block * BLOCK..).zip(&a) {
            let draw = match rounding {
                Rounding::Nearest => None,
                Rounding::Stochastic { seed, step } => Some(code::draws(seed, step, i as u64 / 4)[i % 4]),
            };
            codes.push(coder.encode(a, draw));
            error.push(a - coder.decode(codes[codes.len() - 1]));
        }
    }
    let mut packed = vec![0; pack::bytes(codes.len(), format.bits())];
    pack::pack(format.bits(), &codes, &mut packed);
    [packed, bytes(&scales), bytes(&error)]
}

/// Codes of the last blocks, and the numbers of these codes, are as those of the same numbers near 0.
#[test]
fn codes_of_far_numbers() {
    if !far::room() {
        return;
    }
    let device = device();
    let (x, kept) = (numbers(TAIL, 1), numbers(TAIL, 2));
    let mut from = Far::<f32>::new(N);
    from.slice_mut()[START..].copy_from_slice(&x);
    let chance = Rounding::Stochastic { seed: 5 << 40 | 1, step: 3 << 33 | 2 };
    for (format, rounding) in [
        (Format::Symmetric(5), Rounding::Nearest),
        (Format::Affine(3), chance),
        (Format::Symmetric(8), chance),
        (Format::Normal4, Rounding::Nearest),
    ] {
        let p = quant::plan(N, &settings(format, rounding)).unwrap();
        let [blocks, width] = p.scales();
        let (mut error, mut codes) = (Far::<f32>::new(N), Far::<u8>::new(p.bytes_of_codes()));
        let (mut scales, mut dropped) = (Far::<f32>::new(blocks * width), Far::<u32>::new(1));
        error.slice_mut()[START..].copy_from_slice(&kept);
        let to = Codes {
            codes: codes.span_mut(&device),
            scales: scales.span_mut(&device),
            dropped: dropped.span_mut(&device),
        };
        let e = Some(error.span_mut(&device));
        let pack = quant::launch(&p, device.chip(), from.span(&device), e, to).unwrap();
        assert_eq!(pack[0].grid(), [((1 << 22) + 3_u32).div_ceil(8), 1, 1]);
        last_blocks(LAST, || device.run(&pack)).unwrap();
        let first = START / BLOCK * width;
        let end = codes.slice()[START / 8 * format.bits()..].to_vec();
        let got = [end, bytes(&scales.slice()[first..]), bytes(&error.slice()[START..])];
        assert_eq!(got, near(&p, &x, &kept), "{format:?} {rounding:?}");
        assert_eq!(dropped.slice(), [0]);
        // And back. As many blocks as there are numbers for: no thread has two.
        let mut y = Far::<f32>::new(N);
        let chip = Chip { multiprocessors: 1 << 26, ..*device.chip() };
        let (c, s) = (codes.span(&device), scales.span(&device));
        let unpack = quant::launch_dequant(&p, &chip, c, s, Accumulate::Replace, y.span_mut(&device)).unwrap();
        assert_eq!(unpack[0].grid(), [N.div_ceil(256) as u32, 1, 1]);
        last_blocks(TAIL.div_ceil(256) as u64, || device.run(&unpack)).unwrap();
        let short = quant::plan(TAIL, p.settings()).unwrap();
        let mut want = vec![0.0_f32; TAIL];
        quant::dequant(&short, &got[0], &scales.slice()[first..], Accumulate::Replace, &mut want);
        assert_eq!(y.slice()[START..], want, "{format:?}");
        ranks(&device, &p, &codes, &scales);
    }
}

/// The sum of three ranks, whose codes lie more than 2^32 bytes apart. The second has nothing, and the third what the first has.
fn ranks(device: &Device, p: &Plan, codes: &Far<u8>, scales: &Far<f32>) {
    let ([blocks, width], stride, bits) = (p.scales(), p.bytes_of_codes(), p.settings().format.bits());
    let (first, at) = (START / BLOCK * width, START / 8 * bits);
    let (mut all, mut all_scales) = (Far::<u8>::new(3 * stride), Far::<f32>::new(3 * blocks * width));
    for rank in [0, 2] {
        all.slice_mut()[rank * stride + at..][..stride - at].copy_from_slice(&codes.slice()[at..]);
        let (from, to) = (&scales.slice()[first..], &mut all_scales.slice_mut()[rank * blocks * width + first..]);
        to[..from.len()].copy_from_slice(from);
    }
    let (mut to, mut to_scales, mut dropped) =
        (Far::<u8>::new(stride), Far::<f32>::new(blocks * width), Far::<u32>::new(1));
    let sum = Settings { rounding: Rounding::Nearest, ..*p.settings() };
    let p = quant::plan(N, &sum).unwrap();
    let made =
        Codes { codes: to.span_mut(device), scales: to_scales.span_mut(device), dropped: dropped.span_mut(device) };
    let from = (all.span(device), all_scales.span(device));
    let launches = quant::launch_sum(&p, device.chip(), 3, 0.5, from, None, made).unwrap();
    last_blocks(LAST, || device.run(&launches)).unwrap();
    let short = quant::plan(TAIL, &sum).unwrap();
    let tail = |rank: usize| {
        (&all.slice()[rank * stride + at..][..stride - at], &all_scales.slice()[rank * blocks * width + first..])
    };
    let end = blocks * width - first;
    let near_codes: Vec<u8> = (0..3).flat_map(|rank| tail(rank).0.to_vec()).collect();
    let near_scales: Vec<f32> = (0..3).flat_map(|rank| tail(rank).1[..end].to_vec()).collect();
    let (mut want, mut want_scales, mut lost) = (vec![0; stride - at], vec![0.0; end], [0]);
    quant::sum(&short, 3, 0.5, (&near_codes, &near_scales), None, &mut want, &mut want_scales, &mut lost);
    assert_eq!((&to.slice()[at..], &to_scales.slice()[first..]), (&want[..], &want_scales[..]), "{:?}", sum.format);
    assert_eq!(dropped.slice(), lost);
}

/// All launches of a packet of 2^32 - 1 entries, of which the last blocks run: what is sent are the last entries, by indices past
/// 2^31, and the memory there is what the host leaves of the same entries near 0.
#[test]
fn a_packet_of_far_entries() {
    if !far::room() {
        return;
    }
    const MOST: usize = u32::MAX as usize;
    const PIECE: usize = 4096;
    let (device, tail, k) = (device(), PIECE + PIECE - 1, 300);
    let start = MOST - tail;
    let (g, e) = (numbers(tail, 3), numbers(tail, 4));
    let (mut from, mut memory) = (Far::<f32>::new(MOST), Far::<f32>::new(MOST));
    from.slice_mut()[start..].copy_from_slice(&g);
    memory.slice_mut()[start..].copy_from_slice(&e);
    let layout = Layout::packed([MOST]).unwrap();
    let p = sparsify::plan(&layout, &layout, k).unwrap();
    let (mut values, mut indices, mut counts) = (Far::<f32>::new(k), Far::<u32>::new(k), Far::<u32>::new(2));
    let mut work = Far::<u8>::new(p.workspace());
    // As many blocks as pieces.
    let chip = Chip { multiprocessors: 1 << 20, ..*device.chip() };
    let (v, i, c) = (values.span_mut(&device), indices.span_mut(&device), counts.span_mut(&device));
    let (to, w) = (memory.span_mut(&device), work.span_mut(&device));
    let all = sparsify::launch(&p, &chip, from.span(&device), to, v, i, c, w).unwrap();
    last_blocks(2, || device.run(&all)).unwrap();
    let near = Layout::packed([tail]).unwrap();
    let p = sparsify::plan(&near, &near, k).unwrap();
    let (mut left, mut sent, mut at, mut found) = (e, vec![0.0; k], vec![0; k], [0; 2]);
    sparsify::forward(&p, &g, &mut left, &mut sent, &mut at, &mut found);
    let at: Vec<u32> = at.iter().map(|at| at + start as u32).collect();
    assert!(at[0] > u32::MAX - 2 * PIECE as u32);
    assert_eq!((indices.slice(), values.slice(), counts.slice()), (&at[..], &sent[..], &found[..]));
    assert_eq!(memory.slice()[start..], left);

    // The sum of two such packets.
    let packets = Layout::packed([2, k]).unwrap();
    let (both, twice) = ([at.clone(), at].concat(), [sent.clone(), sent].concat());
    let mut y = Far::<f32>::new(MOST);
    let sum = sparsify::plan_sum(&packets, &packets, 0.5, Accumulate::Replace, &layout).unwrap();
    let (values, indices) = (Far::of(&twice), Far::of(&both));
    let (v, i) = (values.span(&device), indices.span(&device));
    let launch = sparsify::launch_sum(&sum, device.chip(), v, i, y.span_mut(&device)).unwrap();
    last_blocks(2, || device.run(&launch)).unwrap();
    for (i, y) in y.slice()[start..].iter().enumerate() {
        let sent = both[..k].binary_search(&((start + i) as u32)).map_or(0.0, |at| twice[at]);
        assert_eq!(*y, sent, "{i}");
    }
}

/// Sizes at the ends of what indices and grids can hold. Nothing runs.
#[test]
fn launches_of_sizes_that_no_test_can_hold() {
    // 2^31 - 1 blocks of threads at most, which have eight blocks of numbers each.
    let most = (i32::MAX as usize) * 8 * 32;
    let pack = |n: usize| {
        let p = quant::plan(n, &Settings { block: 32, ..settings(Format::Affine(3), Rounding::Nearest) })?;
        let [blocks, width] = p.scales();
        let (codes, scales, dropped) = (nowhere_mut(p.bytes_of_codes()), nowhere_mut(blocks * width), nowhere_mut(1));
        let to = Codes { codes, scales, dropped };
        quant::launch(&p, &CHIP, nowhere::<f32>(n), Some(nowhere_mut(n)), to).map(|[pack]| pack)
    };
    let launch = pack(most).unwrap();
    assert_eq!(launch.grid(), [i32::MAX as u32, 1, 1]);
    assert!(launch.args().contains(&Arg::U64(most as u64)));
    assert!(matches!(pack(most + 1), Err(Error::TooLarge)));
    assert!(matches!(pack((1 << 48) + 1), Err(Error::TooLarge)));
    let p = quant::plan(1 << 48, &settings(Format::Symmetric(5), Rounding::Nearest)).unwrap();
    assert_eq!((p.bytes_of_codes(), p.scales()), (5 << 45, [1 << 36, 1]));
    // Strides of ranks are whole.
    let (codes, scales) = (nowhere(3 * p.bytes_of_codes()), nowhere(3 << 36));
    let to = Codes { codes: nowhere_mut(5 << 45), scales: nowhere_mut(1 << 36), dropped: nowhere_mut(1) };
    let sum = quant::launch_sum(&p, &CHIP, 3, 1.0, (codes, scales), None, to);
    assert!(matches!(sum.map(drop), Err(Error::TooLarge)), "2^33 blocks of threads");
    let p = quant::plan(1 << 45, &settings(Format::Symmetric(5), Rounding::Nearest)).unwrap();
    let to = Codes { codes: nowhere_mut(5 << 42), scales: nowhere_mut(1 << 33), dropped: nowhere_mut(1) };
    let [sum] = quant::launch_sum(&p, &CHIP, 3, 1.0, (codes, scales), None, to).unwrap();
    assert!([5 << 42, 1 << 33, 1 << 45].map(Arg::U64).iter().all(|number| sum.args().contains(number)));
}
