//! Factors in few bits: what is sent, what all make of it, and what the error memory keeps.
use latens_core::{
    Device, Error, Format, QuantSettings, Quantised, Rounding, Segment, SegmentTable, Segments, Tensor, lowrank_left,
    lowrank_orthogonalise, lowrank_quantise, lowrank_quantise_into, lowrank_restore, lowrank_right, lowrank_sum,
    lowrank_sum_into,
};
use latens_kernels::{Accumulate, quant as family};
use latens_tests::{Cases, Fenced, devices, normal, place, same};

const NEAREST: Rounding = Rounding::Nearest;
const SETTINGS: &[QuantSettings] = &[
    QuantSettings { format: Format::Symmetric(8), block: 64, rounding: NEAREST },
    QuantSettings { format: Format::Symmetric(4), block: 32, rounding: NEAREST },
    QuantSettings { format: Format::Affine(3), block: 128, rounding: Rounding::Stochastic { seed: 3, step: 1 } },
    QuantSettings { format: Format::Normal4, block: 32, rounding: NEAREST },
];

fn quantised(p: &family::Plan, x: &[f32]) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let ([blocks, width], mut dropped) = (p.scales(), [0]);
    let (mut codes, mut scales) = (vec![0; p.bytes_of_codes()], vec![0.0; blocks * width]);
    family::forward(p, x, None, &mut codes, &mut scales, &mut dropped);
    let mut numbers = vec![0.0; p.n()];
    family::dequant(p, &codes, &scales, Accumulate::Replace, &mut numbers);
    (codes, scales, numbers)
}

/// Codes, the numbers they leave in place of the factor, and the sum of some ranks: those of the family `quant`, to the
/// bit, on every device.
#[test]
fn table() {
    const SCALE: f32 = 1.0 / 3.0;
    let mut cases = Cases::of("lowrank_quantise");
    for settings in SETTINGS {
        for dims in [[0, 3], [7, 0], [5, 4], [33, 5], [129, 32]] {
            let [rows, rank] = dims;
            let p = family::plan(rows * rank, settings).unwrap();
            let factors = [1, 2, 3].map(|seed| normal::<f32>(p.n(), 1.0, seed));
            let sent = factors.each_ref().map(|x| quantised(&p, x));
            let mut sum = vec![0.0_f32; p.n()];
            for (at, (_, _, numbers)) in sent.iter().enumerate() {
                sum.iter_mut().zip(numbers).for_each(|(s, x)| *s = if at == 0 { *x } else { *s + x });
            }
            sum.iter_mut().for_each(|s| *s *= SCALE);
            cases.ran("reference");
            for device in devices() {
                let what = format!("{} {settings:?} {dims:?}", place(&device));
                for (x, (codes, scales, numbers)) in factors.iter().zip(&sent) {
                    let mut factor = Fenced::<f32, 2>::holding(x, dims, &device);
                    let mut to = Quantised::empty(p.n(), settings, &device).unwrap();
                    lowrank_quantise_into(factor.view_mut(), settings, to.view_mut()).unwrap();
                    assert!(same(&factor.take(), numbers), "{what}");
                    assert!(
                        to.codes.to_vec().unwrap() == *codes && same(&to.scales.to_vec().unwrap(), scales),
                        "{what}"
                    );
                }
                let [blocks, width] = p.scales();
                let codes = sent.iter().flat_map(|s| s.0.clone()).collect::<Vec<_>>();
                let scales = sent.iter().flat_map(|s| s.1.clone()).collect::<Vec<_>>();
                let codes = Tensor::from_vec(codes, [3, p.bytes_of_codes()], &device).unwrap();
                let scales = Tensor::from_vec(scales, [3, blocks, width], &device).unwrap();
                let mut factor = Fenced::<f32, 2>::new(dims, &device);
                lowrank_sum_into(codes.view(), scales.view(), SCALE, settings, factor.view_mut()).unwrap();
                assert!(same(&factor.take(), &sum), "sum {what}");
                cases.ran(place(&device));
            }
        }
    }
}

/// Codes of all ranks, one below the other.
fn gathered(of_ranks: &[Quantised], device: &Device) -> (Tensor<u8, 2>, Tensor<f32, 3>) {
    let [bytes] = of_ranks[0].codes.dims();
    let [blocks, width] = of_ranks[0].scales.dims();
    let codes = of_ranks.iter().flat_map(|q| q.codes.to_vec().unwrap()).collect();
    let scales = of_ranks.iter().flat_map(|q| q.scales.to_vec().unwrap()).collect();
    (
        Tensor::from_vec(codes, [of_ranks.len(), bytes], device).unwrap(),
        Tensor::from_vec(scales, [of_ranks.len(), blocks, width], device).unwrap(),
    )
}

/// Many steps of three ranks that send codes of both factors: what was made and the mean of what is left is the mean of what
/// came, though every exchange rounds; and an entry that is not finite is in neither.
#[test]
fn telescoping_with_codes() {
    const RANKS: usize = 3;
    let segments =
        Segments::new(vec![Segment { start: 1, rows: 20, columns: 30 }, Segment { start: 605, rows: 33, columns: 17 }])
            .unwrap();
    let len = segments.span();
    for (device, settings) in devices().into_iter().flat_map(|device| SETTINGS.iter().map(move |s| (device.clone(), s)))
    {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let mut memories: Vec<_> = (0..RANKS).map(|_| Tensor::<f32, 1>::zeros([len], &device).unwrap()).collect();
        let mut q = Tensor::from_vec(normal(47 * 4, 1.0, 5), [47, 4], &device).unwrap();
        let (mut came, mut made) = (vec![0.0_f64; len], vec![0.0_f64; len]);
        for step in 0..12 {
            let mut sent = Vec::new();
            for (rank, e) in memories.iter_mut().enumerate() {
                let mut g = normal::<f32>(len, 1.0, 50 + step * 10 + rank as u64);
                g[10 + rank] = f32::NAN;
                for i in segments.all().iter().flat_map(|s| s.start..s.end()).filter(|&i| !g[i].is_nan()) {
                    came[i] += f64::from(g[i]) / RANKS as f64;
                }
                let g = Tensor::from_vec(g, [len], &device).unwrap();
                let (mut p, dropped) = lowrank_left(&table, g.view(), e.view_mut(), q.view()).unwrap();
                assert_eq!(dropped.to_vec().unwrap(), [1, 0]);
                sent.push(lowrank_quantise(p.view_mut(), settings).unwrap());
            }
            let (codes, scales) = gathered(&sent, &device);
            let mut p = lowrank_sum(codes.view(), scales.view(), 1.0, settings, [53, 4]).unwrap();
            lowrank_orthogonalise(&table, p.view_mut(), step).unwrap();
            let sent: Vec<_> = memories
                .iter()
                .map(|e| {
                    let mut q = lowrank_right(&table, e.view(), p.view()).unwrap();
                    lowrank_quantise(q.view_mut(), settings).unwrap()
                })
                .collect();
            let (codes, scales) = gathered(&sent, &device);
            q = lowrank_sum(codes.view(), scales.view(), 1.0 / RANKS as f32, settings, [47, 4]).unwrap();
            let y: Vec<Tensor<f32, 1>> = memories
                .iter_mut()
                .map(|e| lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap())
                .collect();
            let y: Vec<_> = y.iter().map(|y| y.to_vec().unwrap()).collect();
            assert!(y.iter().all(|other| same(other, &y[0])), "ranks disagree");
            y[0].iter().zip(&mut made).for_each(|(&y, made)| *made += f64::from(y));
        }
        let left: Vec<_> = memories.iter().map(|e| e.to_vec().unwrap()).collect();
        assert!(left.iter().flatten().all(|e| e.is_finite()));
        let (mut wrong, mut all) = (0.0, 0.0);
        for i in 0..len {
            let left = left.iter().map(|e| f64::from(e[i])).sum::<f64>() / RANKS as f64;
            let off = came[i] - made[i] - left;
            (wrong, all) = (wrong + off * off, all + came[i] * came[i]);
        }
        assert!(wrong <= 1e-11 * all, "{} {settings:?} {wrong:e} of {all:e}", place(&device));
    }
}

/// With an orthonormal `p`, what codes of `q` lose is what the memory gains: never more than was there.
#[test]
fn codes_contract() {
    let segments = Segments::new(vec![Segment { start: 0, rows: 40, columns: 50 }]).unwrap();
    let table = SegmentTable::new(segments, &Device::Host).unwrap();
    let squares = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    for bits in [8, 4, 2] {
        let settings = QuantSettings { format: Format::Symmetric(bits), block: 32, rounding: NEAREST };
        let mut e = Tensor::<f32, 1>::zeros([2000], &Device::Host).unwrap();
        let g = Tensor::from_vec(normal::<f32>(2000, 1.0, 1), [2000], &Device::Host).unwrap();
        let q = Tensor::from_vec(normal::<f32>(400, 1.0, 2), [50, 8], &Device::Host).unwrap();
        let (mut p, _) = lowrank_left(&table, g.view(), e.view_mut(), q.view()).unwrap();
        lowrank_orthogonalise(&table, p.view_mut(), 1).unwrap();
        let mut q = lowrank_right(&table, e.view(), p.view()).unwrap();
        let exact = q.to_vec().unwrap();
        lowrank_quantise(q.view_mut(), &settings).unwrap();
        let lost: Vec<f32> = exact.iter().zip(q.to_vec().unwrap()).map(|(a, b)| a - b).collect();
        let (before, kept) = (squares(&e.to_vec().unwrap()), squares(&exact));
        let _: Tensor<f32, 1> = lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap();
        let after = squares(&e.to_vec().unwrap());
        assert!(after < before, "{bits}");
        assert!((after - (before - kept + squares(&lost))).abs() < 1e-5 * before, "{bits}: {before} {kept} {after}");
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let settings = SETTINGS[0];
        let mut factor = Tensor::<f32, 2>::zeros([5, 4], &device).unwrap();
        let mut short = Quantised::empty(19, &settings, &device).unwrap();
        let size = |arg, want, got| Err(Error::Size { op: "quant", arg, want, got });
        assert_eq!(lowrank_quantise_into(factor.view_mut(), &settings, short.view_mut()), size("codes", 20, 19));
        let block = QuantSettings { block: 48, ..settings };
        let want = Error::Value { op: "quant", arg: "block", want: "a power of two from 32 to 4096" };
        assert_eq!(lowrank_quantise(factor.view_mut(), &block).err(), Some(want));
        let codes = |ranks| Tensor::<u8, 2>::zeros([ranks, 20], &device).unwrap();
        let scales = |ranks| Tensor::<f32, 3>::zeros([ranks, 1, 1], &device).unwrap();
        let sum = |a, b, dims| lowrank_sum(codes(a).view(), scales(b).view(), 1.0, &settings, dims).err();
        assert_eq!(sum(2, 2, [5, 4]), None);
        assert_eq!(sum(2, 2, [5, 3]), size("codes", 15, 20).err());
        assert_eq!(sum(2, 1, [5, 4]), Some(Error::Size { op: "lowrank_sum", arg: "scales", want: 2, got: 1 }));
        let none = Error::Value { op: "lowrank_sum", arg: "codes", want: "those of a rank or more" };
        assert_eq!(sum(0, 0, [5, 4]), Some(none));
    }
}

/// What is left over of the largest numbers is finite.
#[test]
fn memory_stays_finite() {
    let segments = |columns| Segments::new(vec![Segment { start: 0, rows: 1, columns }]).unwrap();
    for device in [Device::Host].into_iter().chain(devices()) {
        let tensor = |x: &[f32], rows| Tensor::from_vec(x.to_vec(), [rows, 1], &device).unwrap();
        let table = SegmentTable::new(segments(3), &device).unwrap();
        let (p, q) = (tensor(&[1.0], 1), tensor(&[-3e38, 3e38, 1.0], 3));
        let mut e = Tensor::from_vec(vec![3e38_f32, -3e38, 2.0], [3], &device).unwrap();
        let y: Tensor<f32, 1> = lowrank_restore(&table, p.view(), q.view(), e.view_mut()).unwrap();
        assert_eq!(y.to_vec().unwrap(), [-3e38, 3e38, 1.0]);
        assert_eq!(e.to_vec().unwrap(), [f32::MAX, -f32::MAX, 1.0], "{}", place(&device));
    }
    let one = segments(1);
    let plan = latens_kernels::lowrank::plan(&one, 1).unwrap();
    let mut e = [f64::MAX];
    latens_kernels::lowrank::restore::<f64>(&plan, &[1.0], &[-f64::MAX], Some(&mut e), None);
    assert_eq!(e, [f64::MAX]);
}
