//! Numbers of a run, step by step: for programs as lines of JSON, for eyes as TensorBoard reads them.
use super::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Two files that grow together: `metrics.jsonl`, a line `{"fvu":0.25,"step":5}` for each step, and `events.out.tfevents.latens`.
///
/// The second is TensorBoard's: records of `length u64 | sum of the length u32 | data | sum of the data u32`, little-endian, with
/// masked CRC-32C, of which each is a protocol buffer `Event`.
#[derive(Debug)]
pub struct Scalars {
    lines: (PathBuf, File),
    events: (PathBuf, File),
}

impl Scalars {
    /// Begin both files in `folder`, which must be there, anew: what a run that is continued told before is told again.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn begin(folder: &Path) -> Result<Self> {
        let file = |name: &str| {
            let path = folder.join(name);
            let file = File::create(&path).map_err(Error::system(&path, "write"))?;
            Ok::<_, Error>((path, file))
        };
        let mut scalars = Self { lines: file("metrics.jsonl")?, events: file("events.out.tfevents.latens")? };
        scalars.events(&Event { wall: 0.0, step: 0, what: What::Version }.bytes())?;
        Ok(scalars)
    }

    /// Add the numbers of a step, at a time in seconds since 1970. A number that is not finite is `null` in JSON.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn put(&mut self, step: u64, wall: f64, numbers: &[(&str, f64)]) -> Result<()> {
        let mut line = serde_json::Map::new();
        line.insert("step".into(), step.into());
        for &(name, number) in numbers {
            line.insert(name.into(), number.into());
        }
        let (path, file) = &mut self.lines;
        writeln!(file, "{}", serde_json::Value::Object(line)).map_err(Error::system(path, "write"))?;
        self.events(&Event { wall, step, what: What::Numbers(numbers) }.bytes())
    }

    fn events(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat();
        let (path, file) = &mut self.events;
        file.write_all(&record).map_err(Error::system(path, "write"))
    }
}

/// A protocol buffer `Event`.
struct Event<'a> {
    wall: f64,
    step: u64,
    what: What<'a>,
}

enum What<'a> {
    Version,
    Numbers(&'a [(&'a str, f64)]),
}

impl Event<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut event = field(1, 1, &self.wall.to_le_bytes());
        event.extend(field(2, 0, &varint(self.step)));
        match self.what {
            What::Version => event.extend(text(3, b"brain.Event:2")),
            What::Numbers(numbers) => {
                let value = |&(name, number): &(&str, f64)| {
                    let number = field(2, 5, &(number as f32).to_le_bytes());
                    text(1, &[text(1, name.as_bytes()), number].concat())
                };
                event.extend(text(5, &numbers.iter().flat_map(value).collect::<Vec<u8>>()));
            }
        }
        event
    }
}

fn field(number: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    [&[number << 3 | kind], data].concat()
}

/// A field of bytes, with their count.
fn text(number: u8, data: &[u8]) -> Vec<u8> {
    field(number, 2, &[&varint(data.len() as u64), data].concat())
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// CRC-32C by bytes.
const TABLE: [u32; 256] = {
    let (mut table, mut i) = ([0; 256], 0);
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// Turned and shifted, so that the sum of data with a sum in it is not special.
fn masked(data: &[u8]) -> u32 {
    crc(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        assert_eq!((crc(b"123456789"), crc(b""), crc(&[0; 32])), (0xe306_9283, 0, 0x8a91_36aa));
        assert_eq!(varint(300), [0xac, 2]);
    }

    #[test]
    fn both_files_say_the_same() {
        let folder = std::env::temp_dir().join(format!("latens-scalars-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for _ in 0..2 {
            let mut scalars = Scalars::begin(&folder).unwrap();
            scalars.put(7, 1.5, &[("fvu", 0.25), ("l0", f64::NAN)]).unwrap();
            scalars.put(300, 2.5, &[("fvu", 0.125)]).unwrap();
        }
        let lines = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        assert_eq!(lines, "{\"fvu\":0.25,\"l0\":null,\"step\":7}\n{\"fvu\":0.125,\"step\":300}\n");
        let bytes = std::fs::read(folder.join("events.out.tfevents.latens")).unwrap();
        let (mut rest, mut records) = (&bytes[..], Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (sum, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*sum), masked(length));
            let (data, after) = after.split_at(u64::from_le_bytes(*length) as usize);
            let (sum, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*sum), masked(data));
            records.push(data);
            rest = after;
        }
        // By hand, after event.proto and summary.proto.
        let version = [&[9][..], &[0; 8], &[16, 0, 0x1a, 13], b"brain.Event:2"].concat();
        let second = [
            &[9][..],
            &2.5_f64.to_le_bytes(),
            &[16, 0xac, 2, 0x2a, 12, 10, 10, 10, 3],
            b"fvu",
            &[0x15],
            &0.125_f32.to_le_bytes(),
        ];
        assert_eq!((records.len(), records[0], records[2]), (3, &version[..], &second.concat()[..]));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
