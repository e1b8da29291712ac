//! Codes as bits, and messages as bytes, on any machine.
use latens_core::{
    Device, Format, QuantSettings, Quantised, Rounding, Tensor, dequant, pack, quant, quant_head, quant_message,
    quant_read_into, quant_write,
};
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

/// What is quantised, sent and read elsewhere decodes to the same numbers, in every format.
#[test]
fn sent_and_read() {
    let x = Tensor::from_vec(uniform::<f32>(777, -2.0, 3.0, 5), [777], &Device::Host).unwrap();
    for format in [Format::Symmetric(5), Format::Affine(3), Format::Normal4, Format::Dynamic8, Format::Sign] {
        let settings = QuantSettings { format, block: 64, rounding: Rounding::Nearest };
        let sent = quant(x.view(), &settings, None).unwrap();
        let bytes = quant_write(sent.codes.view(), sent.scales.view(), 777, &settings).unwrap();
        assert_eq!(bytes.len(), quant_message(777, &settings).unwrap());
        let message = Tensor::from_vec(bytes.clone(), [bytes.len()], &Device::Host).unwrap();
        let (n, found) = quant_head(message.view()).unwrap();
        assert_eq!((n, found), (777, settings));
        let mut back = Quantised::empty(n, &found, &Device::Host).unwrap();
        let to = back.view_mut();
        quant_read_into(message.view(), to.codes, to.scales).unwrap();
        let numbers =
            |of: &Quantised| dequant::<f32>(of.codes.view(), of.scales.view(), n, &found).unwrap().to_vec().unwrap();
        assert_eq!(numbers(&back), numbers(&sent), "{format:?}");
        let mut other = Quantised::empty(n + 64, &found, &Device::Host).unwrap();
        let to = other.view_mut();
        assert!(quant_read_into(message.view(), to.codes, to.scales).unwrap_err().to_string().contains("codes"));
    }
}
