//! Wrong calls are errors; sizes that are only far are not.
use latens_core::{Error, Format, QuantSettings, Rounding, Tensor, dequant, quant};
use latens_kernels::{Philox, philox, quant as family};
use latens_tests::devices;

/// Sizes beyond 2^32 are computed whole; nothing is allocated.
#[test]
fn far_numbers() {
    let settings = QuantSettings { format: Format::Symmetric(5), block: 256, rounding: Rounding::Nearest };
    let p = family::plan((5 << 32) + 3, &settings).unwrap();
    assert_eq!(p.bytes_of_codes(), (5 << 29) * 5 + 2);
    assert_eq!(p.scales(), [(5 << 24) + 1, 1]);
}

/// Draws are those of the contract, by all bits of the entry and of the step: no two that are far apart are the same.
#[test]
fn far_draws() {
    let mut all = Vec::new();
    for i in [7_u64, 7 + (1 << 32), 7 + (1 << 33), 7 + (5 << 45)] {
        // Draw after draw, as another stream names them.
        let mut stream = Philox::at(3 << 40 | 1, 4 * i);
        assert_eq!(family::code::draws(3 << 40 | 1, 0, i), [(); 4].map(|()| stream.uniform()), "{i}");
        for step in [0_u64, 2, 2 + (1 << 32), 2 << 32] {
            let named = philox(3 << 40 | 1, [i as u32, (i >> 32) as u32, step as u32, (step >> 32) as u32]);
            let drawn = family::code::draws(3 << 40 | 1, step, i);
            assert_eq!(drawn, named.map(|bits| (bits >> 8) as f32 * 0.5_f32.powi(24)), "{i} {step}");
            assert!(!all.contains(&drawn), "{i} {step}");
            all.push(drawn);
        }
    }
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
