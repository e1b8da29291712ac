//! Codes of a gradient in every format, with and without the memory of errors; their numbers; and the sum of four messages.
//! Floor: the numbers in and the codes out, or the other way, and the memory in and out.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, slice, tensor, verify};
use latens_core::{
    Device, Float, Format, QuantSettings, Quantised, Rounding, Tensor, bf16, dequant_into, quant_into, quant_sum_into,
};
use latens_kernels::{Accumulate, quant as family};

/// Numbers that are timed, and those that are checked.
const N: usize = 1 << 24;
const FEW: usize = (1 << 16) + 77;
const NEAREST: Rounding = Rounding::Nearest;
const CHANCE: Rounding = Rounding::Stochastic { seed: 1, step: 2 };
const FORMATS: [(&str, Format, Rounding); 8] = [
    ("symmetric 8", Format::Symmetric(8), NEAREST),
    ("symmetric 8 by chance", Format::Symmetric(8), CHANCE),
    ("symmetric 4", Format::Symmetric(4), NEAREST),
    ("affine 8", Format::Affine(8), NEAREST),
    ("normal 4", Format::Normal4, NEAREST),
    ("dynamic 8", Format::Dynamic8, NEAREST),
    ("dynamic 8 by chance", Format::Dynamic8, CHANCE),
    ("sign", Format::Sign, NEAREST),
];

/// Codes of the beginning of `x` are right; those of all of it are timed.
fn codes<T: Float>(bench: &mut Family<'_>, dtype: &str) {
    let x = tensor::<T, 1>([N], 1);
    for (name, format, rounding) in FORMATS {
        let settings = QuantSettings { format, block: 256, rounding };
        for (op, with) in [("quant", false), ("quant with error", true)] {
            for n in [FEW, N] {
                let (part, p) = (x.view().narrow(0, 0, n).unwrap(), family::plan(n, &settings).unwrap());
                let mut error = Tensor::<f32, 1>::zeros([n], &Device::Host).unwrap();
                let mut to = Quantised::empty(n, &settings, &Device::Host).unwrap();
                let mut run = || quant_into(part, &settings, with.then(|| error.view_mut()), to.view_mut());
                if n == N {
                    bench.bytes(op, &format!("{dtype} {name}"), p.bytes(size_of::<T>(), with), &mut run);
                    continue;
                }
                run().unwrap();
                let (mut want, mut scales) = (vec![0; p.bytes_of_codes()], vec![0.0; p.blocks() * format.width()]);
                let mut left = vec![0.0; n];
                let kept = with.then_some(&mut left[..]);
                family::forward(&p, &slice(&x)[..n], kept, &mut want, &mut scales, &mut [0]);
                assert!(slice(&to.codes) == want && slice(&to.scales) == scales, "{name}");
                verify(name, slice(&error), &left, 0.0);
            }
        }
        numbers::<T>(bench, dtype, name, &settings, &x);
    }
}

fn numbers<T: Float>(bench: &mut Family<'_>, dtype: &str, name: &str, settings: &QuantSettings, x: &Tensor<T, 1>) {
    for n in [FEW, N] {
        let p = family::plan(n, settings).unwrap();
        let mut from = Quantised::empty(n, settings, &Device::Host).unwrap();
        quant_into(x.view().narrow(0, 0, n).unwrap(), settings, None, from.view_mut()).unwrap();
        let mut y = Tensor::<T, 1>::zeros([n], &Device::Host).unwrap();
        let (codes, scales) = (from.codes.view(), from.scales.view());
        let mut run = || dequant_into(codes, scales, settings, Accumulate::Replace, y.view_mut());
        if n == N {
            bench.bytes("dequant", &format!("{dtype} {name}"), p.bytes(size_of::<T>(), false), &mut run);
            continue;
        }
        run().unwrap();
        let mut want = vec![T::default(); n];
        family::dequant(&p, slice(&from.codes), slice(&from.scales), Accumulate::Replace, &mut want);
        verify(name, slice(&y), &want, 0.0);
    }
}

/// The sum of as many equal messages.
fn sums(bench: &mut Family<'_>) {
    const RANKS: usize = 4;
    let x = tensor::<f32, 1>([N], 2);
    for ((name, format, rounding), n) in FORMATS.into_iter().flat_map(|format| [(format, FEW), (format, N)]) {
        let settings = QuantSettings { format, block: 256, rounding };
        let p = family::plan(n, &settings).unwrap();
        let mut from = Quantised::empty(n, &settings, &Device::Host).unwrap();
        quant_into(x.view().narrow(0, 0, n).unwrap(), &settings, None, from.view_mut()).unwrap();
        let [blocks, width] = p.scales();
        let codes = host(slice(&from.codes).repeat(RANKS), [RANKS, p.bytes_of_codes()]);
        let scales = host(slice(&from.scales).repeat(RANKS), [RANKS, blocks, width]);
        let mut to = Quantised::empty(n, &settings, &Device::Host).unwrap();
        let mut run = || quant_sum_into(codes.view(), scales.view(), n, 0.25, &settings, None, to.view_mut());
        if n == N {
            let bytes = (RANKS + 1) * (p.bytes_of_codes() + 4 * blocks * width);
            bench.bytes("sum", &format!("{RANKS} of {name}"), bytes, &mut run);
            continue;
        }
        run().unwrap();
        let (mut want, mut of) = (vec![0; p.bytes_of_codes()], vec![0.0; blocks * width]);
        family::sum(&p, RANKS, 0.25, (slice(&codes), slice(&scales)), None, &mut want, &mut of, &mut [0]);
        assert!(slice(&to.codes) == want && slice(&to.scales) == of, "{name}");
    }
}

fn all(c: &mut Criterion) {
    let mut bench = Family::new(c, "quant");
    codes::<f32>(&mut bench, "f32");
    codes::<bf16>(&mut bench, "bf16");
    sums(&mut bench);
}

criterion_group!(benches, all);
criterion_main!(benches);
