//! One table of cases; every implementation of the codes goes through it.
use latens_core::{
    Accumulate, Device, Error, Float, Format, Layout, QuantSettings, Quantised, QuantisedMut, Rounding, Tensor, bf16,
    dequant, dequant_into, f16, pack, quant, quant_into, quant_sum, quant_sum_into,
};
use latens_cpu::Level;
use latens_kernels::quant as family;
use latens_tests::{Cases, Fenced, Poison, devices, normal, numbers, place, same, small, uniform};

/// Numbers and numbers of a block.
const SIZES: &[[usize; 2]] =
    &[[0, 32], [1, 32], [31, 64], [33, 32], [256, 256], [257, 128], [1000, 256], [4099, 4096], [20_011, 512]];

const FORMATS: &[Format] = &[
    Format::Symmetric(8),
    Format::Symmetric(4),
    Format::Symmetric(5),
    Format::Symmetric(2),
    Format::Affine(8),
    Format::Affine(4),
    Format::Affine(3),
    Format::Affine(1),
    Format::Normal4,
    Format::Dynamic8,
    Format::Sign,
];

const ROUNDINGS: [Rounding; 2] = [Rounding::Nearest, Rounding::Stochastic { seed: 5 << 40 | 1, step: 3 << 33 | 2 }];

/// Codes, scales, what was dropped, and the error if there is one.
type Made = (Vec<u8>, Vec<f32>, Vec<u32>, Option<Vec<f32>>);

/// Every bit is the same.
fn equal(what: &str, got: &Made, want: &Made) {
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&got.1), bits(&want.1), "{what}: scales");
    assert!(got.0 == want.0, "{what}: codes {:?}", got.0.iter().zip(&want.0).position(|(a, b)| a != b));
    assert_eq!(got.2, want.2, "{what}: dropped");
    assert_eq!(got.3.as_deref().map(bits), want.3.as_deref().map(bits), "{what}: error");
}

struct Memory {
    codes: Fenced<u8, 1>,
    scales: Fenced<f32, 2>,
    dropped: Fenced<u32, 1>,
    error: Option<Fenced<f32, 1>>,
}

impl Memory {
    fn new(p: &family::Plan, error: Option<&[f32]>, device: &Device) -> Self {
        Self {
            codes: Fenced::new([p.bytes_of_codes()], device),
            scales: Fenced::new(p.scales(), device),
            dropped: Fenced::holding(&[7], [1], device),
            error: error.map(|error| Fenced::holding(error, [p.n()], device)),
        }
    }

    fn take(&self) -> Made {
        let error = self.error.as_ref().map(Fenced::take);
        (self.codes.take(), self.scales.full(), self.dropped.take(), error)
    }

    fn to(&mut self) -> (QuantisedMut<'_>, Option<latens_core::ViewMut<'_, f32, 1>>) {
        let (codes, scales, dropped) = (self.codes.view_mut(), self.scales.view_mut(), self.dropped.view_mut());
        (QuantisedMut { codes, scales, dropped }, self.error.as_mut().map(Fenced::view_mut))
    }
}

fn check<T: Float + Poison>(x: &[T], error: Option<&[f32]>, settings: &QuantSettings, cases: &mut Cases) {
    let what = format!("{settings:?} {} {}", x.len(), error.is_some());
    let p = family::plan(x.len(), settings).unwrap();
    #[allow(clippy::type_complexity)] // as long as its four outputs
    let on_host = |make: &dyn Fn(Option<&mut [f32]>, &mut [u8], &mut [f32], &mut [u32])| {
        let mut to = Memory::new(&p, error, &Device::Host);
        let error = to.error.as_mut().map(Fenced::slice);
        make(error, to.codes.slice(), to.scales.slice(), to.dropped.slice());
        to.take()
    };
    let want = on_host(&|error, codes, scales, dropped| family::forward(&p, x, error, codes, scales, dropped));
    cases.ran("reference");
    for level in Level::all() {
        let got = on_host(&|error, codes, scales, dropped| {
            latens_cpu::quant::forward_with(level, &p, x, error, codes, scales, dropped);
        });
        equal(&format!("cpu {level:?} {what}"), &got, &want);
        cases.ran("cpu");
    }
    let mut numbers = vec![T::default(); x.len()];
    family::dequant(&p, &want.0, &want.1, Accumulate::Replace, &mut numbers);
    let mut twice = numbers.clone();
    family::dequant(&p, &want.0, &want.1, Accumulate::Add, &mut twice);
    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let x = Tensor::from_slice(x, Layout::packed([x.len()]).unwrap(), &device).unwrap();
        let mut to = Memory::new(&p, error, &device);
        let (view, error_view) = to.to();
        quant_into(x.view(), settings, error_view, view).unwrap();
        equal(&what, &to.take(), &want);
        let codes = Tensor::from_vec(want.0.clone(), [p.bytes_of_codes()], &device).unwrap();
        let scales = Tensor::from_vec(want.1.clone(), p.scales(), &device).unwrap();
        let got = dequant::<T>(codes.view(), scales.view(), p.n(), settings).unwrap().to_vec().unwrap();
        assert!(same(&got, &numbers), "{what}: numbers");
        let mut y = Fenced::holding(&numbers, [p.n()], &device);
        dequant_into(codes.view(), scales.view(), settings, Accumulate::Add, y.view_mut()).unwrap();
        assert!(same(&y.take(), &twice), "{what}: numbers added");
        cases.ran(place(&device));
    }
}

fn table<T: Float + Poison>() {
    let mut cases = Cases::of("quant");
    for (seed, &[n, block]) in SIZES.iter().enumerate().filter(|(_, size)| !small() || size[0] < 5000) {
        for (&format, rounding) in FORMATS.iter().flat_map(|format| ROUNDINGS.map(|rounding| (format, rounding))) {
            let settings = QuantSettings { format, block, rounding };
            let kept = numbers::<f32>(n, 9);
            check(&normal::<T>(n, 0.02, seed as u64), None, &settings, &mut cases);
            check(&numbers::<T>(n, seed as u64), Some(&kept), &settings, &mut cases);
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

/// Zeros, equal numbers, the ends of the range of `f32`, numbers in the middle between two codes.
#[test]
fn special_blocks() {
    let mut cases = Cases::of("quant");
    let least = f32::from_bits(1);
    let blocks: [&[f32]; 7] = [
        &[0.0, -0.0],
        &[-3.5],
        &[f32::MAX, -f32::MAX, 1.0],
        &[least, -3.0 * least, 0.0],
        &[family::code::LEAST, -family::code::LEAST / 2.0],
        &[127.0, 0.5, 1.5, -0.5, -1.5, 2.5],
        &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
    ];
    for (&format, rounding) in FORMATS.iter().flat_map(|format| ROUNDINGS.map(|rounding| (format, rounding))) {
        let settings = QuantSettings { format, block: 32, rounding };
        for block in blocks {
            let x: Vec<f32> = block.iter().copied().cycle().take(70).collect();
            check(&x, None, &settings, &mut cases);
            let huge: Vec<f32> = x.iter().map(|x| if *x > 0.0 { f32::MAX } else { f32::NAN }).collect();
            check(&x, Some(&huge), &settings, &mut cases);
        }
    }
}

/// Codes of a sum: equal everywhere, and what the sum of the numbers gives.
#[test]
fn sums_of_ranks() {
    let mut cases = Cases::of("quant");
    for (&format, rounding) in FORMATS.iter().flat_map(|format| ROUNDINGS.map(|rounding| (format, rounding))) {
        for (ranks, n, block) in [(1, 33, 32), (3, 1000, 256), (0, 40, 32), (8, 300, 64)] {
            let settings = QuantSettings { format, block, rounding };
            let p = family::plan(n, &settings).unwrap();
            let each: Vec<Quantised> = (0..ranks)
                .map(|rank| {
                    let x = Tensor::from_vec(normal::<f32>(n, 1.0, rank), [n], &Device::Host).unwrap();
                    quant(x.view(), &settings, None).unwrap()
                })
                .collect();
            let codes: Vec<u8> = each.iter().flat_map(|rank| rank.codes.to_vec().unwrap()).collect();
            let scales: Vec<f32> = each.iter().flat_map(|rank| rank.scales.to_vec().unwrap()).collect();
            let (ranks, kept) = (ranks as usize, uniform::<f32>(n, -0.1, 0.1, 3));
            let make = |fast: bool| {
                let mut to = Memory::new(&p, Some(&kept), &Device::Host);
                let make = if fast { latens_cpu::quant::sum } else { family::sum };
                let (error, codes_to) = (to.error.as_mut().map(Fenced::slice), to.codes.slice());
                make(&p, ranks, 0.25, (&codes, &scales), error, codes_to, to.scales.slice(), to.dropped.slice());
                to.take()
            };
            let want = make(false);
            equal(&format!("cpu sum {settings:?} {n}"), &make(true), &want);
            cases.ran("reference");
            cases.ran("cpu");
            for device in devices() {
                let [blocks, width] = p.scales();
                let codes = Tensor::from_vec(codes.clone(), [ranks, p.bytes_of_codes()], &device).unwrap();
                let scales = Tensor::from_vec(scales.clone(), [ranks, blocks, width], &device).unwrap();
                let mut to = Memory::new(&p, Some(&kept), &device);
                let (view, error) = to.to();
                quant_sum_into(codes.view(), scales.view(), n, 0.25, &settings, error, view).unwrap();
                equal(&format!("{} sum {settings:?} {n}", place(&device)), &to.take(), &want);
                let again = quant_sum(codes.view(), scales.view(), n, 0.25, &settings, None).unwrap();
                assert_eq!(again.dropped.to_vec().unwrap(), [0]);
                cases.ran(place(&device));
            }
        }
    }
}

fn sent(x: &[f32], settings: &QuantSettings, error: &mut Tensor<f32, 1>) -> Vec<f32> {
    let x = Tensor::from_vec(x.to_vec(), [x.len()], &Device::Host).unwrap();
    let made = quant(x.view(), settings, Some(error.view_mut())).unwrap();
    dequant::<f32>(made.codes.view(), made.scales.view(), x.dims()[0], settings).unwrap().to_vec().unwrap()
}

/// Whatever the format, what was sent and what is kept add up to what came; NaN and infinities never get into the error.
///
/// A step makes `a = x + e`, sends `y`, and keeps `e' = a - y`. Both rounded sums are off by 2^-24 of their size at most, and
/// nothing else is: what is lost is at most 2^-24 times the sum of all `|a| + |e'|`. That is the bound here; the sums of the
/// test are in `f64`. It is relative to what is kept and not to what came: one bit by chance sends the largest size, which may
/// double what is kept with each step.
#[test]
fn nothing_is_lost() {
    let n = 1000;
    for (&format, rounding) in FORMATS.iter().flat_map(|format| ROUNDINGS.map(|rounding| (format, rounding))) {
        let mut error = Tensor::<f32, 1>::zeros([n], &Device::Host).unwrap();
        let [mut came, mut left, mut size] = [vec![0.0_f64; n], vec![0.0_f64; n], vec![0.0_f64; n]];
        for step in 0..12 {
            let mut x = normal::<f32>(n, 1.0, step);
            let rounding = match rounding {
                Rounding::Stochastic { seed, .. } => Rounding::Stochastic { seed, step },
                nearest => nearest,
            };
            let settings = QuantSettings { format, block: 256, rounding };
            if step % 3 == 1 {
                x[step as usize] = f32::NAN;
                x[500] = f32::INFINITY;
            }
            let before = error.to_vec().unwrap();
            let out = sent(&x, &settings, &mut error);
            let after = error.to_vec().unwrap();
            for i in 0..n {
                let x = if x[i].is_finite() { x[i] } else { 0.0 };
                came[i] += f64::from(x);
                left[i] += f64::from(out[i]);
                size[i] += f64::from((x + before[i]).abs()) + f64::from(after[i].abs());
            }
        }
        let error = error.to_vec().unwrap();
        for i in 0..n {
            let lost = (left[i] + f64::from(error[i]) - came[i]).abs();
            let bound = size[i] * (0.5_f64.powi(24) + 1e-14);
            assert!(error[i].is_finite() && lost <= bound, "{format:?} {rounding:?}: {lost} of {i}, not {bound}");
        }
    }
}

/// Nearest is at most half a step away; by chance a whole one, and right on average.
#[test]
fn roundings() {
    let (n, rounds) = (256, 4000);
    let x = normal::<f32>(n, 1.0, 4);
    let largest = x.iter().fold(0.0, |top: f32, x| top.max(x.abs()));
    for &format in FORMATS {
        let numbers = |rounding| {
            let settings = QuantSettings { format, block: 256, rounding };
            sent(&x, &settings, &mut Tensor::zeros([n], &Device::Host).unwrap())
        };
        let step = match format {
            Format::Symmetric(bits) => largest / ((1 << (bits - 1)) - 1) as f32,
            Format::Affine(bits) => 2.0 * largest / ((1 << bits) - 1) as f32,
            Format::Normal4 => 0.31 * largest,
            Format::Dynamic8 => 0.0142 * largest,
            Format::Sign => 2.0 * largest,
        };
        let near = numbers(Rounding::Nearest);
        let mean = |seed| numbers(Rounding::Stochastic { seed, step: 1 });
        let mut sum = vec![0.0_f64; n];
        for seed in 0..rounds {
            for ((sum, y), x) in sum.iter_mut().zip(mean(seed)).zip(&x) {
                assert!((y - x).abs() <= step * 1.001, "{format:?}: {y} for {x}");
                *sum += f64::from(y);
            }
        }
        for i in 0..n {
            assert!((near[i] - x[i]).abs() <= step * 0.501, "{format:?}: {} for {}", near[i], x[i]);
            // Its lowest number is -0.993.
            if format == Format::Dynamic8 && x[i] < -0.992 * largest {
                continue;
            }
            let off = (sum[i] / rounds as f64 - f64::from(x[i])).abs();
            assert!(off < f64::from(step) * 0.05, "{format:?}: {} on average for {}", sum[i] / rounds as f64, x[i]);
        }
    }
}

/// Streams of bits come back; the bytes are those of the format, on any machine.
#[test]
fn bits() {
    for width in 1..=8 {
        for n in [0, 1, 7, 8, 9, 64, 101] {
            let codes: Vec<u8> = uniform::<f32>(n, 0.0, (1 << width) as f64, 2).into_iter().map(|x| x as u8).collect();
            let codes: Vec<u8> = codes.into_iter().map(|code| code.min(((1_u16 << width) - 1) as u8)).collect();
            let mut bytes = vec![0xff; pack::bytes(n, width)];
            pack::pack(width, &codes, &mut bytes);
            // Bit by bit, as it is told.
            let bit = |k: usize| k / width < n && codes[k / width] >> (k % width) & 1 == 1;
            for k in 0..8 * bytes.len() {
                assert_eq!(bytes[k / 8] >> (k % 8) & 1 == 1, bit(k), "{width} bits, {n} codes, bit {k}");
            }
            let mut back = vec![0xff; n];
            pack::unpack(width, &bytes, &mut back);
            assert_eq!(back, codes);
        }
    }
    let mut bytes = [0; 3];
    pack::pack(3, &[1, 2, 3, 4, 5, 6, 7, 0], &mut bytes);
    assert_eq!(bytes, [0b1101_0001, 0b0101_1000, 0b0001_1111]);
}

/// A message, byte by byte, lowest byte first; what is none is refused.
#[test]
fn messages() {
    let settings = QuantSettings { format: Format::Affine(4), block: 32, rounding: Rounding::Nearest };
    let p = family::plan(3, &settings).unwrap();
    let message = pack::write(&p, &[0x21, 0x03], &[1.0, -2.5]).unwrap();
    let want = [
        b"LTNQ".as_slice(),
        &[1, 1, 4, 0, 32, 0, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0],
        &[0x21, 0x03],
    ]
    .concat();
    assert_eq!(message, want);
    let (q, scales, codes) = pack::read(&message).unwrap();
    assert_eq!((q.n(), q.settings(), scales.as_slice(), codes), (3, &settings, [1.0, -2.5].as_slice(), &want[40..]));
    for (at, byte) in
        [(0, b'Q'), (4, 2), (5, 9), (6, 9), (7, 1), (8, 33), (11, 32), (12, 1), (16, 200), (23, 1), (24, 11)]
    {
        let mut wrong = message.clone();
        wrong[at] = byte;
        assert!(pack::read(&wrong).is_err(), "byte {at}");
    }
    // Written by a machine that puts the highest byte first.
    let mut swapped = message.clone();
    swapped[..4].reverse();
    swapped[8..12].reverse();
    assert!(pack::read(&swapped).is_err());
    for len in [0, 31, 32, message.len() - 1] {
        assert!(pack::read(&message[..len]).is_err(), "{len} bytes");
    }
    assert!(pack::write(&p, &[0; 3], &[1.0, 2.0]).is_err() && pack::write(&p, &[0; 2], &[1.0]).is_err());
}

/// Sizes beyond 2^32 are computed whole; nothing is allocated.
#[test]
fn far_numbers() {
    let settings = QuantSettings { format: Format::Symmetric(5), block: 256, rounding: Rounding::Nearest };
    let p = family::plan((5 << 32) + 3, &settings).unwrap();
    assert_eq!(p.bytes_of_codes(), (5 << 29) * 5 + 2);
    assert_eq!(p.scales(), [(5 << 24) + 1, 1]);
    assert_eq!(family::code::draws(1, 2, 1 << 33), family::code::draws(1, 2, 1 << 33));
    assert_ne!(family::code::draws(1, 2, 1 << 33), family::code::draws(1, 2, 0));
}

#[test]
fn wrong_calls_are_errors() {
    let settings = QuantSettings { format: Format::Symmetric(8), block: 32, rounding: Rounding::Nearest };
    for device in devices() {
        let x = Tensor::<f32, 1>::zeros([100], &device).unwrap();
        let call = |settings: &QuantSettings| quant(x.view(), settings, None).err();
        let value = |arg, want| Some(Error::Value { op: "quant", arg, want });
        for block in [0, 16, 48, 8192] {
            assert_eq!(call(&QuantSettings { block, ..settings }), value("block", "a power of two from 32 to 4096"));
        }
        for (format, want) in [
            (Format::Symmetric(1), "of 2 to 8 bits"),
            (Format::Symmetric(9), "of 2 to 8 bits"),
            (Format::Affine(0), "of 1 to 8 bits"),
            (Format::Affine(9), "of 1 to 8 bits"),
        ] {
            assert_eq!(call(&QuantSettings { format, ..settings }), value("format", want));
        }
        let mut error = Tensor::<f32, 1>::zeros([99], &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "quant", arg, want, got });
        assert_eq!(quant(x.view(), &settings, Some(error.view_mut())).err(), size("error", 100, 99));
        let made = quant(x.view(), &settings, None).unwrap();
        let wrong = dequant::<f32>(made.codes.view(), made.scales.view(), 96, &settings).err();
        assert_eq!(wrong, size("codes", 96, 100));
        let wrong =
            dequant::<f32>(made.codes.view(), made.scales.view().narrow(0, 0, 3).unwrap(), 100, &settings).err();
        assert_eq!(wrong, size("scales", 4, 3));
    }
}
