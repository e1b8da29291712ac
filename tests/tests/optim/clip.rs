//! Gradients of several tensors, shortened as a whole: every implementation through one table.
use latens_core::{Accumulate, CLIP_PARTS, Device, Error, Layout, Tensor, clip_scale_into, clip_squares_into};
use latens_kernels::optim::clip as family;
use latens_tests::{Cases, Fenced, close, devices, place, uniform};

/// Sizes of the parts of one gradient.
const CASES: &[&[[usize; 2]]] = &[
    &[],
    &[[0, 3], [1, 1]],
    &[[5, 31], [1, 257]],
    &[[1, 1024], [3, 341], [1, 1025]],
    &[[40, 50], [0, 0], [1, 2], [1, 40_001]],
];

fn parts(sizes: &[[usize; 2]], seed: u64) -> Vec<Vec<f32>> {
    sizes.iter().zip(seed..).map(|([rows, n], seed)| uniform(rows * n, -1.0, 1.0, seed)).collect()
}

fn first(at: usize) -> Accumulate {
    if at == 0 { Accumulate::Replace } else { Accumulate::Add }
}

type Squares = fn(&family::Plan, &[f32], &mut [f32]);
type Scale = fn(&family::Plan, &[f32], &mut [f32]);

/// The partial sums, and the parts after them, on the host.
fn host(
    sizes: &[[usize; 2]],
    parts: &[Vec<f32>],
    most: f32,
    squares: Squares,
    scale: Scale,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let sums = Layout::packed([CLIP_PARTS]).unwrap();
    let mut all = Fenced::<f32, 1>::new([CLIP_PARTS], &Device::Host);
    for (at, (&dims, g)) in sizes.iter().zip(parts).enumerate() {
        squares(&family::plan_squares(&Layout::packed(dims).unwrap(), &sums, first(at)).unwrap(), g, all.slice());
    }
    let all = if sizes.is_empty() { vec![0.0; CLIP_PARTS] } else { all.take() };
    let scaled = sizes.iter().zip(parts).map(|(&dims, g)| {
        let mut g = Fenced::holding(g, dims, &Device::Host);
        scale(&family::plan_scale(&Layout::packed(dims).unwrap(), &sums, most).unwrap(), &all, g.slice());
        g.take()
    });
    (all.clone(), scaled.collect())
}

fn core(sizes: &[[usize; 2]], parts: &[Vec<f32>], most: f32, device: &Device) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut all = Fenced::<f32, 1>::holding(&[0.0; CLIP_PARTS], [CLIP_PARTS], device);
    let mut parts: Vec<_> =
        sizes.iter().zip(parts).map(|(&dims, g)| (dims, Fenced::holding(g, dims, device))).collect();
    for (at, (dims, g)) in parts.iter_mut().enumerate() {
        let g = Tensor::from_vec(g.full(), *dims, device).unwrap();
        clip_squares_into(g.view(), first(at), all.view_mut()).unwrap();
    }
    let squares = Tensor::from_vec(all.full(), [CLIP_PARTS], device).unwrap();
    parts.iter_mut().for_each(|(_, g)| clip_scale_into(squares.view(), most, g.view_mut()).unwrap());
    (all.take(), parts.into_iter().map(|(_, g)| g.take()).collect())
}

#[test]
fn table() {
    let mut cases = Cases::of("optim clip");
    for (seed, &sizes) in CASES.iter().enumerate() {
        for most in [0.25, 1e6, f32::INFINITY] {
            let before = parts(sizes, 10 * seed as u64);
            let want = host(sizes, &before, most, family::squares, family::scale);
            let near = |got: &(Vec<f32>, Vec<Vec<f32>>), what: &str| {
                close(&format!("{what} {seed} {most} sums"), &got.0, &want.0, 1e-11);
                for (got, want) in got.1.iter().zip(&want.1) {
                    close(&format!("{what} {seed} {most}"), got, want, 1e-11);
                }
                assert!(most == 0.25 || got.1 == before, "{what} {seed} {most}: a short gradient was touched");
            };
            cases.ran("reference");
            near(&host(sizes, &before, most, latens_cpu::optim::clip_squares, latens_cpu::optim::clip_scale), "cpu");
            cases.ran("cpu");
            for device in devices() {
                let got = core(sizes, &before, most, &device);
                near(&got, place(&device));
                assert!(got == core(sizes, &before, most, &device), "two runs differ");
                cases.ran(place(&device));
            }
        }
    }
}

/// The whole comes out as long as was asked for, whichever parts it is in.
#[test]
fn the_whole_is_as_long_as_asked() {
    let sizes = CASES[4];
    let (_, after) = host(sizes, &parts(sizes, 3), 0.5, family::squares, family::scale);
    let length = after.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    assert!((length - 0.5).abs() < 1e-6, "{length}");
}

/// What has no length is not scaled, so that it shows; what is infinitely long is scaled by 0.
#[test]
fn lengths_that_are_no_numbers() {
    for device in devices() {
        for (bad, want) in [(f32::NAN, 3.0), (f32::INFINITY, 0.0)] {
            let (_, after) = core(&[[1, 2], [1, 1]], &[vec![3.0, 4.0], vec![bad]], 1.0, &device);
            assert_eq!(after[0][0], want, "{} {bad}", place(&device));
            assert!(after[1][0].is_nan(), "{} {bad}", place(&device));
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let of = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let sums = |n| Tensor::<f32, 1>::zeros([n], &device).unwrap();
        let squares = |g: &Tensor<f32, 2>, n| clip_squares_into(g.view(), Accumulate::Add, sums(n).view_mut()).err();
        assert_eq!(squares(&of([2, 3]), CLIP_PARTS), None);
        let size = |op| Some(Error::Size { op, arg: "squares", want: CLIP_PARTS, got: 3 });
        assert_eq!(squares(&of([2, 3]), 3), size("clip_squares"));
        let scale = |n, most| clip_scale_into(sums(n).view(), most, of([2, 3]).view_mut()).err();
        assert_eq!(scale(CLIP_PARTS, 1.0), None);
        assert_eq!(scale(3, 1.0), size("clip_scale"));
        for most in [0.0, -1.0, f32::NAN] {
            let wrong = Error::Value { op: "clip_scale", arg: "most", want: "above 0" };
            assert_eq!(scale(CLIP_PARTS, most), Some(wrong));
        }
        let gaps = of([2, 4]);
        let gaps = gaps.view().narrow(1, 0, 3).unwrap();
        let error = clip_squares_into(gaps, Accumulate::Add, sums(CLIP_PARTS).view_mut()).err();
        assert_eq!(error, Some(Error::Stride { op: "clip_squares", arg: "g", want: 3, got: 4 }));
    }
}
