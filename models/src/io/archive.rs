//! Zip archives of tensors, as PyTorch and NumPy write them.
use super::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// An opened archive, whose entries together unpack to no more than a few times the file.
pub(super) struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    names: Vec<String>,
}

/// Times the file's size that its entries may unpack to: weights hardly pack.
const TIMES: u64 = 4;
/// What they may have whatever the file's size: a bias of zeros packs to nothing.
const SMALL: u64 = 1 << 20;

impl Archive {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::system(path, "open"))?;
        let length = file.metadata().map_err(Error::system(path, "open"))?.len();
        let wrong = |e: zip::result::ZipError| Error::content(path, format!("as a zip: {e}"));
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
        let (mut names, mut whole) = (Vec::new(), 0_u64);
        for at in 0..zip.len() {
            let entry = zip.by_index_raw(at).map_err(wrong)?;
            names.push(entry.name().map_err(wrong)?.into_owned());
            whole = whole.saturating_add(entry.size());
        }
        let most = length.saturating_mul(TIMES).max(SMALL);
        if whole > most {
            let what = format!("its entries would unpack to {whole} bytes, at most {most} are read of this file");
            return Err(Error::content(path, what));
        }
        Ok(Self { path: path.to_owned(), zip, names })
    }

    /// The names of all entries.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes of an entry, whose sum the archive knows, at most so many.
    pub fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let wrong = |what: String| Error::content(&self.path, format!("{name}: {what}"));
        let entry = self.zip.by_name(name).map_err(|e| wrong(e.to_string()))?;
        let size = entry.size();
        if size > most {
            return Err(wrong(format!("it has {size} bytes, at most {most} are read")));
        }
        // What is unpacked, not what it says of itself, decides how much is taken.
        let mut bytes = Vec::new();
        let read = entry.take(size + 1).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()))?;
        if read as u64 != size {
            return Err(wrong(format!("it has {read} bytes or more, but says {size}")));
        }
        Ok(bytes)
    }
}
