//! Zip archives of tensors, as PyTorch and NumPy write them: entries stored or deflated, no encryption, no comment behind the
//! end.
//!
//! ```text
//! (local header | name | extra | data)*  (central header | name | extra | comment)*  [end, 64 bits | its place]  end
//! ```
//! The layout is that of PKWARE's APPNOTE. A library for archives would do, but the one there is makes a table of all entries
//! before it can be asked how many there are, of six times the memory of the file and more where it is nothing but entries.
//! Here every entry is [paid for](Budget) as it is read.
mod directory;
#[cfg(test)]
mod tests;

use super::budget::Budget;
use super::{Error, Result};
use directory::{Directory, Entry, at, u16_at};
use flate2::{Crc, read::DeflateDecoder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An opened archive, whose entries together unpack to no more than a few times the file.
pub(super) struct Archive {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    entries: BTreeMap<String, Entry>,
    budget: Budget,
}

/// Times the file's size that its entries may unpack to: weights hardly pack.
const TIMES: u64 = 4;
/// What they may have whatever the file's size: a bias of zeros packs to nothing.
const SMALL: u64 = 1 << 16;
impl Archive {
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::content(path, format!("as a zip: {what}"));
        let file = File::open(path).map_err(Error::system(path, "open"))?;
        let length = file.metadata().map_err(Error::system(path, "open"))?.len();
        let (mut file, mut budget) = (BufReader::new(file), Budget::of(length));
        let directory = Directory::find(&mut file, length).map_err(wrong)?;
        let entries = directory.entries(&mut file, &mut budget).map_err(wrong)?;
        let whole = entries.values().fold(0_u64, |whole, entry| whole.saturating_add(entry.size));
        let most = length.saturating_mul(TIMES).max(SMALL);
        if whole > most {
            let what = format!("its entries would unpack to {whole} bytes, at most {most} are read of this file");
            return Err(Error::content(path, what));
        }
        Ok(Self { path: path.to_owned(), file, length, entries, budget })
    }

    /// The names of all entries, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What is left of the memory that the file may cost beside its entries.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// The bytes of an entry, whose sum the archive knows, at most so many.
    pub fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        self.unpack(name, most).map_err(|what| Error::content(&self.path, format!("{name}: {what}")))
    }

    fn unpack(&mut self, name: &str, most: u64) -> std::result::Result<Vec<u8>, String> {
        let Entry { header, packed, size, sum, method, flags } =
            *self.entries.get(name).ok_or("there is no such entry")?;
        if size > most {
            return Err(format!("it has {size} bytes, at most {most} are read"));
        }
        if flags & 1 != 0 {
            return Err("it is encrypted".into());
        }
        let local: [u8; 30] = at(&mut self.file, header).map_err(|_| "its header is beyond the end of the file")?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err("there is no header where it should begin".into());
        }
        let start = header + 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        if start.checked_add(packed).is_none_or(|end| end > self.length) {
            return Err(format!("its {packed} bytes at {start} end beyond the {} bytes of the file", self.length));
        }
        self.file.seek(SeekFrom::Start(start)).map_err(|e| e.to_string())?;
        let from = self.file.by_ref().take(packed);
        let bytes = match method {
            0 => whole(from, size),
            8 => whole(DeflateDecoder::new(from), size),
            other => return Err(format!("it is packed by method {other}, expected 0 or 8")),
        }?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        match crc.sum() == sum {
            true => Ok(bytes),
            false => Err(format!("the sum of its bytes is {:08x}, expected {sum:08x}", crc.sum())),
        }
    }
}

/// As many bytes as there should be: all sizes together are no more than some times the file.
fn whole(from: impl Read, size: u64) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(size as usize);
    let read = from.take(size + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    match read as u64 == size {
        true => Ok(bytes),
        false => Err(format!("it has {read} bytes or more, but says {size}")),
    }
}
