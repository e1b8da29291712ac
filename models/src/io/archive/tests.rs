use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn sum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// An archive of stored entries. With `wide`, all that can be is said in 64 bits.
fn zip(entries: &[(&str, &[u8])], wide: bool) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let (start, size) = (all.len() as u64, bytes.len() as u64);
        let lengths = (name.len() as u16).to_le_bytes();
        all.extend([&b"PK\x03\x04"[..], &[0; 22], &lengths, &[0; 2], name.as_bytes(), bytes].concat());
        let extra = [&[9, 0, 1, 0, 7, 1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &start.to_le_bytes()]
            .concat();
        let extra = if wide { extra } else { Vec::new() };
        let number = |number: u64| if wide { u32::MAX } else { number as u32 }.to_le_bytes();
        let sizes = [number(size), number(size)].concat();
        directory.extend(
            [&b"PK\x01\x02"[..], &[0; 12], &sum(bytes), &sizes, &lengths, &(extra.len() as u16).to_le_bytes()].concat(),
        );
        directory.extend([&[0; 10][..], &number(start), name.as_bytes(), &extra].concat());
    }
    let (start, size, count) = (all.len() as u64, directory.len() as u64, entries.len() as u64);
    all.extend(directory);
    if wide {
        let end = all.len() as u64;
        all.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[0; 20], &count.to_le_bytes()].concat());
        all.extend([size, start].map(u64::to_le_bytes).concat());
        all.extend([&b"PK\x06\x07"[..], &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
    }
    let (count, size, start) =
        if wide { (u16::MAX, u32::MAX, u32::MAX) } else { (count as u16, size as u32, start as u32) };
    let counts = [count.to_le_bytes(), count.to_le_bytes()].concat();
    all.extend([&b"PK\x05\x06"[..], &[0; 4], &counts, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat());
    all
}

fn open(bytes: &[u8]) -> Result<Archive> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("latens-archive-{}-{number}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let archive = Archive::open(&path);
    std::fs::remove_file(path).unwrap();
    archive
}

fn refused(bytes: &[u8]) -> String {
    let mut archive = match open(bytes) {
        Ok(archive) => archive,
        Err(error) => return error.to_string(),
    };
    archive.read("a", u64::MAX).unwrap_err().to_string()
}

#[test]
fn both_widths_are_read() {
    for wide in [false, true] {
        let mut archive = open(&zip(&[("b", b"two"), ("a", b"one"), ("none", b"")], wide)).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a", "b", "none"]);
        let read = ["a", "b", "none"].map(|name| archive.read(name, 3).unwrap());
        assert_eq!(read, [b"one".to_vec(), b"two".to_vec(), vec![]]);
        assert!(archive.read("a", 2).unwrap_err().to_string().contains("3 bytes, at most 2"));
        assert!(archive.read("c", 2).unwrap_err().to_string().contains("no such entry"));
    }
    assert_eq!(open(&zip(&[], false)).unwrap().names().count(), 0);
}

#[test]
fn lies_are_told() {
    let good = zip(&[("a", b"one")], false);
    assert!(refused(&zip(&[("a", b"1"), ("a", b"2")], false)).contains("\"a\" occurs twice"));
    let (central, end) = (30 + 1 + 3, good.len() - 22);
    let with = |place: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[place..place + bytes.len()].copy_from_slice(bytes);
        refused(&bad)
    };
    for (place, bytes, what) in [
        (0, &b"QK"[..], "no header where it should begin"),
        (26, &[0xff, 0xff], "end beyond"),
        (31, b"X", "the sum of its bytes"),
        (central, b"QK", "entry 0: it does not begin as one"),
        (central + 8, &[1], "encrypted"),
        (central + 10, &[12], "method 12"),
        (central + 10, &[8], "a: "),
        (central + 20, &[2], "it has 2 bytes or more, but says 3"),
        (central + 24, &[2], "it has 3 bytes or more, but says 2"),
        (central + 24, &[0, 0, 2], "would unpack to 131072 bytes"),
        (central + 24, &[0xff; 4], "sizes of 64 bits are missing"),
        (central + 28, &[0, 5], "its name has 1280 bytes"),
        (central + 30, &[1], "the directory ends too early"),
        (central + 42, &[0xfe; 4], "its header is beyond the end"),
        (central + 46, &[0xff], "its name is not UTF-8"),
        (end, b"QK", "does not end as one"),
        (end + 4, &[1], "is not before its end"),
        (end + 8, &[0, 0, 2], "the directory ends too early"),
        (end + 12, &[0, 1], "is not before its end"),
        (end + 16, &[0xff; 4], "is not before its end"),
        (end + 20, &[1], "does not end as one"),
    ] {
        let said = with(place, bytes);
        assert!(said.contains(what), "{place} {bytes:?}: {said}");
    }
    (0..good.len()).for_each(|end| drop(refused(&good[..end])));
    let wide = zip(&[("a", b"one")], true);
    for at in 34..wide.len() {
        let mut bad = wide.clone();
        bad[at] ^= 0xff;
        drop(open(&bad).map(|mut archive| archive.read("a", u64::MAX)));
    }
}

/// Fifty bytes for each of very many entries that hold nothing, which would take five times as much in memory and more.
#[test]
fn very_many_entries_of_nothing() {
    let names: Vec<String> = (0..100_000).map(|at| format!("{at:x}")).collect();
    let one = zip(&[("a", b"")], false);
    let mut all = one[..31].to_vec();
    for name in &names[..60_000] {
        all.extend(
            [&b"PK\x01\x02"[..], &[0; 24], &(name.len() as u16).to_le_bytes(), &[0; 16], name.as_bytes()].concat(),
        );
    }
    let size = all.len() as u32 - 31;
    let counts = [60_000_u16.to_le_bytes(); 2].concat();
    all.extend([&b"PK\x05\x06"[..], &[0; 4], &counts, &size.to_le_bytes(), &31_u32.to_le_bytes(), &[0; 2]].concat());
    assert!(refused(&all).contains("bytes of memory"));
    let entries: Vec<_> = names[..1000].iter().map(|name| (&name[..], &b""[..])).collect();
    assert_eq!(open(&zip(&entries, false)).unwrap().names().count(), 1000);
}
