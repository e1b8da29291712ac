//! The shared device primitives against plain Rust. On the emulator; on a GPU with
//! `LATENS_PRIMITIVES=primitives.fatbin`, compiled from `primitives.cu` by nvcc with the flags of `kernels/images`.
mod driver;
use driver::{Driver, Value::*};
use half::{bf16, f16};

fn driver() -> Driver {
    match std::env::var("LATENS_PRIMITIVES") {
        Ok(image) => Driver::open("libcuda.so.1", Some(&image)),
        Err(_) => Driver::open(&latens_emulator::library(), None),
    }
}

/// Numbers that need care, and every exponent.
fn floats() -> Vec<f32> {
    let mut all = vec![
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        65_504.0,
        65_519.9,
        65_520.0,
        5.96e-8,
        2.98e-8,
    ];
    let mut bits = 1_u32;
    for _ in 0..4000 {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        all.push(f32::from_bits(bits));
        // Exactly between two numbers of 16 bits, where ties go to even.
        all.push(f32::from_bits(bits & 0xffff_0000 | 0x8000));
        all.push(f32::from_bits(bits & 0xffff_e000 | 0x1000));
    }
    all
}

#[test]
fn conversions_round_to_nearest_even() {
    let (driver, x) = (driver(), floats());
    let n = x.len();
    let [half, bfloat] = [(); 2].map(|()| driver.upload(&vec![0_u16; n]));
    let back = driver.upload(&vec![0_f32; n]);
    let values = [Memory(driver.upload(&x)), Memory(half), Memory(bfloat), Memory(back), U32(n as u32)];
    assert_eq!(driver.launch("primitive_convert", 1, 256, 0, &values), 0);
    let (half, bfloat) = (driver.download::<u16>(half, n), driver.download::<u16>(bfloat, n));
    for (((x, half), bfloat), back) in x.iter().zip(half).zip(bfloat).zip(driver.download::<f32>(back, n)) {
        if x.is_nan() {
            assert!(f16::from_bits(half).is_nan() && bf16::from_bits(bfloat).is_nan() && back.is_nan());
            continue;
        }
        assert_eq!(half, f16::from_f32(*x).to_bits(), "f16 of {x:e}");
        assert_eq!(bfloat, bf16::from_f32(*x).to_bits(), "bf16 of {x:e}");
        assert_eq!(back.to_bits(), f16::from_bits(half).to_f32().to_bits(), "f32 of f16 {half:04x}");
    }
}

#[test]
fn rows_are_visited_once_and_in_one_order() {
    let driver = driver();
    let x: Vec<u16> = (0..2100).map(|i| f16::from_f32((i as f32 * 0.37).sin()).to_bits()).collect();
    for n in [0_usize, 1, 7, 8, 9, 1023, 1024, 2000] {
        let mut sums = Vec::new();
        for offset in [0, 1, 8] {
            // The same row at another address.
            let moved: Vec<u16> = std::iter::repeat_n(0, offset).chain(x.iter().copied()).collect();
            let row = driver.upload(&moved) + 2 * offset as u64;
            let (sum, seen) = (driver.upload(&[0_f32]), driver.upload(&vec![0_u32; n + 1]));
            let values = [Memory(row), Memory(sum), Memory(seen), U32(n as u32)];
            assert_eq!(driver.launch("primitive_visit", 1, 128, 0, &values), 0);
            assert!(driver.download::<u32>(seen, n).iter().all(|&times| times == 1));
            sums.push(driver.download::<f32>(sum, 1)[0]);
        }
        let want: f64 = x[..n].iter().map(|&bits| f16::from_bits(bits).to_f64()).sum();
        assert!((f64::from(sums[0]) - want).abs() < 1e-3);
        assert!(sums.iter().all(|sum| sum.to_bits() == sums[0].to_bits()), "{n}: {sums:?}");
    }
}

#[test]
fn packs_move_whole() {
    let (driver, x) = (driver(), (0..256).collect::<Vec<u16>>());
    let y = driver.upload(&[0_u16; 256]);
    assert_eq!(driver.launch("primitive_pack", 1, 32, 0, &[Memory(driver.upload(&x)), Memory(y)]), 0);
    assert_eq!(driver.download::<u16>(y, 256), x);
}

#[test]
fn block_folds_and_scans() {
    let driver = driver();
    for threads in [32_usize, 64, 96, 1024] {
        let x: Vec<u32> = (0..2 * threads as u32).map(|i| i.wrapping_mul(2_654_435_761) % 1000).collect();
        let y = driver.upload(&vec![0_u32; 8 * threads]);
        assert_eq!(driver.launch("primitive_block", 1, threads as u32, 0, &[Memory(driver.upload(&x)), Memory(y)]), 0);
        let y = driver.download::<u32>(y, 8 * threads);
        for (x, y) in x.chunks(threads).zip(y.chunks(4 * threads)) {
            let (total, most) = (x.iter().sum::<u32>(), *x.iter().max().unwrap());
            let mut before = 0;
            for (x, y) in x.iter().zip(y.chunks(4)) {
                assert_eq!(y, [total, most, before, total]);
                before += x;
            }
        }
    }
}

#[test]
fn warp_operations() {
    let driver = driver();
    let x: Vec<u32> = (0..32).map(|i: u32| i * i * 7 + 1).collect();
    let y = driver.upload(&[0_u32; 32 * 12]);
    assert_eq!(driver.launch("primitive_warp", 1, 32, 0, &[Memory(driver.upload(&x)), Memory(y)]), 0);
    let sum = |lanes: &[u32]| lanes.iter().sum::<u32>();
    let set = |of: &dyn Fn(u32) -> bool| (0..32).filter(|&l| of(x[l])).fold(0_u32, |set, l| set | 1 << l);
    for (lane, y) in driver.download::<u32>(y, 32 * 12).chunks(12).enumerate() {
        let mine = x[lane];
        let want = [
            x[5],
            x[if lane < 3 { lane } else { lane - 3 }],
            x[if lane > 28 { lane } else { lane + 3 }],
            x[lane ^ 9],
            set(&|x| x % 2 == 1),
            set(&|x| x % 4 == mine % 4),
            sum(&x),
            *x.iter().max().unwrap(),
            2,
            mine.count_ones() + 100 * mine.leading_zeros() + 10_000 * (mine.trailing_zeros() + 1),
            mine.reverse_bits(),
            if lane < 16 { sum(&x[..16]) } else { 2 * sum(&x[16..]) },
        ];
        assert_eq!(y, want, "lane {lane}");
    }
}

#[test]
fn block_votes() {
    let driver = driver();
    for (x, want) in [([1_u32; 96], [96, 0, 1]), ([0; 96], [0, 0, 1]), ([3; 96], [0, 0, 0]), ([2; 96], [0, 1, 1])] {
        let y = driver.upload(&[9_u32; 96 * 3]);
        assert_eq!(driver.launch("primitive_votes", 1, 96, 0, &[Memory(driver.upload(&x)), Memory(y)]), 0);
        assert!(driver.download::<u32>(y, 96 * 3).chunks(3).all(|y| y == want));
    }
}

#[test]
fn atomics_count_every_thread() {
    let driver = driver();
    let (y, z) = (driver.upload(&[0_u32, 0, u32::MAX, 0]), driver.upload(&[0_u64, 0]));
    assert_eq!(driver.launch("primitive_atomics", 9, 256, 0, &[Memory(y), Memory(z)]), 0);
    let n = 9 * 256_u32;
    assert_eq!(driver.download::<u32>(y, 4), [n * (n - 1) / 2, n - 1, 0, n]);
    let n = u64::from(n);
    assert_eq!(driver.download::<u64>(z, 2), [(n * (n - 1) / 2) << 20, (n - 1) << 32]);
}

/// Small whole numbers, so that every order of summation gives the same.
#[test]
fn tensor_products() {
    let driver = driver();
    let a: Vec<f32> = (0..256).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
    let b: Vec<f32> = (0..128).map(|i| ((i * 5) % 9) as f32 - 4.0).collect();
    let d: Vec<f32> = (0..128).map(|i| i as f32).collect();
    let half = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x).to_bits()).collect::<Vec<_>>();
    let bfloat = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x).to_bits()).collect::<Vec<_>>();
    for (kernel, a16, b16) in
        [("primitive_product_f16", half(&a), half(&b)), ("primitive_product_bf16", bfloat(&a), bfloat(&b))]
    {
        for cut in [0, 6, 16_usize] {
            let to = driver.upload(&d);
            let values = [Memory(driver.upload(&a16)), Memory(driver.upload(&b16)), Memory(to), U32(cut as u32)];
            assert_eq!(driver.launch(kernel, 1, 32, 768, &values), 0);
            let mut a = a.clone();
            a[256 - cut / 2..].fill(0.0);
            let want: Vec<f32> =
                (0..128).map(|i| d[i] + (0..16).map(|k| a[i / 8 * 16 + k] * b[k * 8 + i % 8]).sum::<f32>()).collect();
            assert_eq!(driver.download::<f32>(to, 128), want, "{kernel} {cut}");
        }
    }
}
