//! Codes as bits, and messages as bytes, on any machine.
use latens_core::{Format, QuantSettings, Rounding, pack};
use latens_kernels::quant as family;
use latens_tests::uniform;

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
