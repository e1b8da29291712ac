//! GGUF: the file of llama.cpp and its relatives, version 2 or 3, little-endian.
//!
//! `magic "GGUF" | version u32 | tensors u64 | entries u64 | metadata | tensor infos | padding | data`, as laid down in the
//! `docs/gguf.md` of the ggml project. Files come from anywhere, so nothing in one is believed: every count is compared with
//! the bytes that are left before anything is allocated for it, what the header says takes no more memory than a few times the
//! file, names are unique, tensors are aligned, inside the file and apart from each other. What breaks a rule is an
//! [`Error::Content`] that names it; reading never panics.
mod block;
mod header;
mod value;

use super::{Error, Result};
pub use block::Encoding;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
pub use value::{List, Value};

/// An opened file: what it says of itself, and where its tensors are.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Entry>,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Sizes, outermost first: the reverse of the order in the file.
    pub dims: Vec<usize>,
    /// How its elements are kept.
    pub encoding: Encoding,
    start: u64,
    bytes: usize,
}

impl Gguf {
    /// Read the header of the file at `path`, and check that everything it names is there.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::system(path, "open"))?;
        let length = file.metadata().map_err(Error::system(path, "open"))?.len();
        let (metadata, tensors) = header::read(file, length).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_owned(), metadata, tensors })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All metadata.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// The metadata at `key`, read by `read`, as in `get("general.name", Value::text)`.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing or of another kind.
    pub fn get<'a, T>(&'a self, key: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<T> {
        self.find(key, read)?.ok_or_else(|| Error::content(&self.path, format!("the metadata has no {key}")))
    }

    /// As [`Gguf::get`], `None` if it is missing.
    ///
    /// # Errors
    /// [`Error::Content`] if it is of another kind.
    pub fn find<'a, T>(&'a self, key: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let wrong =
            || Error::content(&self.path, format!("the metadata {key} is of an unexpected kind: {}", value.kind()));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// The elements of tensor `name`, which must have these sizes, in f32.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing, of other sizes, or in an encoding that is not read; [`Error::System`].
    pub fn read(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        let missing = || Error::content(&self.path, format!("there is no tensor {name}"));
        let entry = self.tensors.get(name).ok_or_else(missing)?;
        if entry.dims != dims {
            let what = format!("tensor {name} has sizes {:?}, expected {dims:?}", entry.dims);
            return Err(Error::content(&self.path, what));
        }
        let mut bytes = vec![0; entry.bytes]; // not more than the file has: checked when it was opened
        let mut file = File::open(&self.path).map_err(Error::system(&self.path, "open"))?;
        let all = file.seek(SeekFrom::Start(entry.start)).and_then(|_| file.read_exact(&mut bytes));
        all.map_err(Error::system(&self.path, "read"))?;
        let unread =
            || Error::content(&self.path, format!("tensor {name} has encoding {}, which is not read", entry.encoding));
        entry.encoding.decode(&bytes).ok_or_else(unread)
    }
}
