//! One table of cases; every implementation of the codes goes through it.
mod pack;
mod rounding;
mod wrong;

use latens_core::{
    Accumulate, Device, Float, Format, Layout, QuantSettings, Quantised, QuantisedMut, Rounding, Tensor, bf16, dequant,
    dequant_into, f16, quant, quant_into, quant_sum, quant_sum_into,
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

/// The largest numbers decode to finite ones, and what is kept of them is finite, whatever the format and the device.
#[test]
fn largest_numbers_stay_finite() {
    let formats = (2..=8).map(Format::Symmetric).chain((1..=8).map(Format::Affine)).chain(FORMATS[8..].iter().copied());
    for (format, least) in formats.flat_map(|format| [-f32::MAX, 0.0, 1e30].map(|least| (format, least))) {
        let settings = QuantSettings { format, block: 32, rounding: Rounding::Nearest };
        let x: Vec<f32> = [f32::MAX, least, 3e38].into_iter().cycle().take(70).collect();
        for device in [Device::Host].into_iter().chain(devices()) {
            let x = Tensor::from_vec(x.clone(), [70], &device).unwrap();
            let mut error = Tensor::zeros([70], &device).unwrap();
            let sent = quant(x.view(), &settings, Some(error.view_mut())).unwrap();
            let y: Tensor<f32, 1> = dequant(sent.codes.view(), sent.scales.view(), 70, &settings).unwrap();
            for numbers in [y.to_vec().unwrap(), error.to_vec().unwrap()] {
                assert!(numbers.iter().all(|x| x.is_finite()), "{} {settings:?} {least}: {numbers:?}", place(&device));
            }
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
                // The form that allocates counts what it drops from 0 on, where the other was given 7.
                let mut error = Tensor::from_vec(kept.clone(), [n], &device).unwrap();
                let again = quant_sum(codes.view(), scales.view(), n, 0.25, &settings, Some(error.view_mut())).unwrap();
                let dropped = again.dropped.to_vec().unwrap()[0] + 7;
                let (codes, scales) = (again.codes.to_vec().unwrap(), again.scales.to_vec().unwrap());
                let again = (codes, scales, vec![dropped], Some(error.to_vec().unwrap()));
                equal(&format!("{} sum alone {settings:?} {n}", place(&device)), &again, &want);
                cases.ran(place(&device));
            }
        }
    }
}
