use super::{Encoding, Entry, List, Value};
use crate::io::Error;
use crate::io::budget::Budget;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Sizes of one tensor.
const RANK: u32 = 4;
/// Bytes of a name.
const NAME: u64 = 65_535;
/// Entries of one list: far above any vocabulary.
const LIST: u64 = 1 << 24;
/// Lists inside lists.
const DEPTH: usize = 4;
/// Memory of a metadata entry, and of a tensor, in maps, beside the letters of their names.
const KEY: usize = 128;
const TENSOR: usize = 256;

/// What is wrong with a header.
pub(super) enum Fault {
    System(io::Error),
    Content(String),
}

type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// The error about the file at `path`.
    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Fault::System(error) => Error::system(path, "read")(error),
            Fault::Content(what) => Error::content(path, what),
        }
    }
}

fn fault<T>(what: impl Into<String>) -> Result<T> {
    Err(Fault::Content(what.into()))
}

/// The header of a file of `length` bytes: metadata and tensors.
pub(super) fn read(file: impl Read, length: u64) -> Result<(BTreeMap<String, Value>, BTreeMap<String, Entry>)> {
    let input = BufReader::with_capacity(1 << 16, file);
    let mut header = Header { input, length, at: 0, budget: Budget::of(length) };
    let magic = header.bytes(4, "the magic number")?;
    if magic != b"GGUF" {
        return fault(format!("this is no GGUF file: it begins with {magic:02x?}, expected \"GGUF\""));
    }
    match header.u32("the version")? {
        2 | 3 => {}
        version if (2..=3).contains(&version.swap_bytes()) => {
            return fault("this GGUF file is big-endian, which is not read");
        }
        version => return fault(format!("GGUF version {version}, expected 2 or 3")),
    }
    let tensors = header.u64("the number of tensors")?;
    let entries = header.u64("the number of metadata entries")?;
    header.room(entries, 13, ("", "metadata entries"))?; // at least a length, a kind and a byte each
    header.room(tensors, 32, ("", "tensors"))?; // at least a length, a rank, a size, a type and an offset each

    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        header.pay(1, KEY)?;
        let key = header.text(NAME, "a metadata key")?;
        let kind = header.u32("the kind of a metadata entry")?;
        let value = header.value(kind).map_err(|fault| within(&format!("metadata {key}"), fault))?;
        if metadata.contains_key(&key) {
            return fault(format!("metadata {key} occurs twice"));
        }
        metadata.insert(key, value);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(value) => match value.unsigned() {
            Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => alignment,
            Some(other) => return fault(format!("general.alignment is {other}, expected a power of two up to 2^20")),
            None => return fault("general.alignment is no unsigned number, expected a power of two up to 2^20"),
        },
    };
    let mut infos = BTreeMap::new();
    for _ in 0..tensors {
        header.pay(1, TENSOR)?;
        let name = header.text(NAME, "the name of a tensor")?;
        let entry = header.tensor(alignment).map_err(|fault| within(&format!("tensor {name}"), fault))?;
        if infos.contains_key(&name) {
            return fault(format!("tensor {name} occurs twice"));
        }
        infos.insert(name, entry);
    }
    place(&mut infos, header.at.next_multiple_of(alignment), length)?;
    Ok((metadata, infos))
}

/// Turn offsets in the data into places in the file, and check that all tensors are inside and apart.
fn place(tensors: &mut BTreeMap<String, Entry>, data: u64, length: u64) -> Result<()> {
    for (name, entry) in tensors.iter_mut() {
        let start = entry.start.checked_add(data);
        let end = start.and_then(|start| start.checked_add(entry.bytes as u64));
        match (start, end) {
            (Some(start), Some(end)) if end <= length => entry.start = start,
            _ => {
                let (offset, bytes) = (entry.start, entry.bytes);
                return fault(format!(
                    "tensor {name}: its {bytes} bytes at offset {offset} of the data at {data} end beyond the {length} bytes of the file"
                ));
            }
        }
    }
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| entry.start);
    for pair in order.windows(2) {
        if pair[0].1.start + pair[0].1.bytes as u64 > pair[1].1.start {
            return fault(format!("tensors {} and {} overlap", pair[0].0, pair[1].0));
        }
    }
    Ok(())
}

fn within(place: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Content(what) => Fault::Content(format!("{place}: {what}")),
        system => system,
    }
}

/// The bytes of a header, in order.
struct Header<R> {
    input: BufReader<R>,
    length: u64,
    at: u64,
    budget: Budget,
}

impl<R: Read> Header<R> {
    /// Refuse to go on if `count` things of at least `bytes` bytes cannot follow.
    fn room(&self, count: u64, bytes: u64, (of, what): (&str, &str)) -> Result<usize> {
        let left = self.length.saturating_sub(self.at);
        match count.checked_mul(bytes).filter(|&all| all <= left).and_then(|_| usize::try_from(count).ok()) {
            Some(count) => Ok(count),
            None => fault(format!("{count} {of}{what} cannot be in the {left} bytes that are left of the file")),
        }
    }

    /// Pay for `count` things of `each` bytes of memory.
    fn pay(&mut self, count: usize, each: usize) -> Result<()> {
        self.budget.pay_for(count, each).or_else(fault)
    }

    fn bytes(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.room(count, 1, ("bytes of ", what))?];
        self.input.read_exact(&mut bytes).map_err(Fault::System)?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        if self.length.saturating_sub(self.at) < N as u64 {
            return fault(format!("the file ends within {what}"));
        }
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(Fault::System)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn text(&mut self, most: u64, what: &str) -> Result<String> {
        let length = self.u64(what)?;
        if length > most {
            return fault(format!("{what} has {length} bytes, at most {most} are allowed"));
        }
        let bytes = self.bytes(length, what)?;
        self.pay(bytes.len(), 1)?;
        String::from_utf8(bytes).or_else(|error| fault(format!("{what} is not UTF-8: {error}")))
    }

    fn truth(&mut self) -> Result<bool> {
        match self.array("a truth value")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => fault(format!("truth value {other}, expected 0 or 1")),
        }
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 | 2 | 4 | 10 => Value::Unsigned(self.unsigned(kind)?),
            1 | 3 | 5 | 11 => Value::Signed(self.signed(kind)?),
            6 | 12 => Value::Float(self.float(kind)?),
            7 => Value::Bool(self.truth()?),
            8 => Value::Text(self.text(u64::MAX, "a text")?),
            9 => Value::List(self.list(0)?),
            _ => return fault(format!("kind {kind}, expected 0 to 12")),
        })
    }

    fn list(&mut self, depth: usize) -> Result<List> {
        let (kind, count) = (self.u32("the kind of a list")?, self.u64("the length of a list")?);
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 if depth + 1 == DEPTH => return fault(format!("lists more than {DEPTH} deep")),
            9 => 12,
            _ => return fault(format!("a list of kind {kind}, expected 0 to 12")),
        };
        if count > LIST {
            return fault(format!("a list of {count} entries, at most {LIST} are allowed"));
        }
        let count = self.room(count, least, ("", "entries of a list"))?;
        Ok(match kind {
            0 | 2 | 4 | 10 => List::Unsigned(self.all(count, |header| header.unsigned(kind))?),
            1 | 3 | 5 | 11 => List::Signed(self.all(count, |header| header.signed(kind))?),
            6 | 12 => List::Float(self.all(count, |header| header.float(kind))?),
            7 => List::Bool(self.all(count, Self::truth)?),
            8 => List::Text(self.all(count, |header| header.text(u64::MAX, "a text"))?),
            _ => List::List(self.all(count, |header| header.list(depth + 1))?),
        })
    }

    /// So many entries of a list. Numbers of a byte are kept in eight, so there is a price.
    fn all<T>(&mut self, count: usize, mut next: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.pay(count, size_of::<T>())?;
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(next(self)?);
        }
        Ok(all)
    }

    fn unsigned(&mut self, kind: u32) -> Result<u64> {
        Ok(match kind {
            0 => u64::from(self.array::<1>("a number")?[0]),
            2 => u64::from(u16::from_le_bytes(self.array("a number")?)),
            4 => u64::from(self.u32("a number")?),
            _ => self.u64("a number")?,
        })
    }

    fn signed(&mut self, kind: u32) -> Result<i64> {
        Ok(match kind {
            1 => i64::from(i8::from_le_bytes(self.array("a number")?)),
            3 => i64::from(i16::from_le_bytes(self.array("a number")?)),
            5 => i64::from(i32::from_le_bytes(self.array("a number")?)),
            _ => i64::from_le_bytes(self.array("a number")?),
        })
    }

    fn float(&mut self, kind: u32) -> Result<f64> {
        Ok(match kind {
            6 => f64::from(f32::from_le_bytes(self.array("a number")?)),
            _ => f64::from_le_bytes(self.array("a number")?),
        })
    }

    /// One tensor, whose start is still relative to the data.
    fn tensor(&mut self, alignment: u64) -> Result<Entry> {
        let rank = self.u32("its rank")?;
        if !(1..=RANK).contains(&rank) {
            return fault(format!("rank {rank}, expected 1 to {RANK}"));
        }
        let mut dims = vec![];
        for _ in 0..rank {
            let size = self.u64("its sizes")?;
            match usize::try_from(size) {
                Ok(dim) if (1..=isize::MAX as usize).contains(&dim) => dims.insert(0, dim),
                _ => return fault(format!("size {size}, expected 1 to 2^63 - 1")),
            }
        }
        let number = self.u32("its type")?;
        let Some(encoding) = Encoding::of(number) else { return fault(format!("type {number}, which is not known")) };
        let start = self.u64("its offset")?;
        if !start.is_multiple_of(alignment) {
            return fault(format!("offset {start}, expected a multiple of {alignment}"));
        }
        let Some(bytes) = encoding.bytes(&dims) else {
            return fault(format!("sizes {dims:?} are too large, or its rows are no whole blocks of {encoding}"));
        };
        Ok(Entry { dims, encoding, start, bytes })
    }
}
