//! safetensors: one file, or several with an index, as Hugging Face writes them.
//!
//! `length u64 | JSON header of that length | data`. The `safetensors` crate checks the header: that all tensors are of a known
//! type, follow each other without gap or overlap, and have as many bytes as their sizes say. Checked here: that the header and
//! the data fit the file, before memory is taken for them, that the header is not of so many values that they would take far
//! more memory than the file, and that no name occurs twice.
mod write;

use super::budget::Budget;
use super::json;
use super::{Error, Result};
use latens_core::Float;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, Metadata};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
#[cfg(all(feature = "lm", feature = "sae"))]
pub(crate) use write::head;
pub use write::{Piece, bytes, dtype, save};

/// The note by which files of one save know each other.
const SAVE: &str = "save";

/// Bytes of a header, as in the `safetensors` crate.
const HEADER: u64 = 100_000_000;

/// Opened files: where their tensors are.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    tensors: BTreeMap<String, Entry>,
    notes: BTreeMap<String, String>,
}

/// One tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Sizes, outermost first.
    pub dims: Vec<usize>,
    /// The type of its elements.
    pub dtype: Dtype,
    file: Arc<Path>,
    start: u64,
    bytes: usize,
}

impl Entry {
    fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes]; // not more than the file has: checked when it was opened
        let mut file = File::open(&self.file).map_err(Error::system(&self.file, "open"))?;
        let all = file.seek(SeekFrom::Start(self.start)).and_then(|_| file.read_exact(&mut bytes));
        all.map_err(Error::system(&self.file, "read"))?;
        Ok(bytes)
    }
}

impl Safetensors {
    /// Read the header of the file at `path`, or of all files that the index `*.index.json` at `path` names, or of the model
    /// in the folder at `path`.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`].
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let index = path.join("model.safetensors.index.json");
            return Self::open(&if index.exists() { index } else { path.join("model.safetensors") });
        }
        let mut all = Self { path: path.to_owned(), tensors: BTreeMap::new(), notes: BTreeMap::new() };
        if path.extension().is_some_and(|end| end == "json") {
            let (files, save) = index(path)?;
            for (file, names) in files {
                all.shard(&file, &names, save.as_deref())?;
            }
        } else {
            all.add(path)?;
        }
        Ok(all)
    }

    /// The file, or the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// The texts that the header carries besides.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.notes
    }

    /// The elements of tensor `name`, which must have these sizes, in f32.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing, of other sizes, or not of f32, f16, bf16 or f64; [`Error::System`].
    pub fn read(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        self.read_as(name, dims)
    }

    /// The same, rounded once to another type.
    ///
    /// # Errors
    /// As [`Safetensors::read`].
    pub fn read_as<T: Float>(&self, name: &str, dims: &[usize]) -> Result<Vec<T>> {
        let entry = self.entry(name, dims)?;
        let float = matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64);
        let Some(decode) = decode::<T>(entry.dtype).filter(|_| float) else {
            let what = format!("tensor {name} is of type {:?}, expected F32, F16, BF16 or F64", entry.dtype);
            return Err(Error::content(&entry.file, what));
        };
        Ok(entry.read()?.par_chunks_exact(entry.dtype.bitsize() / 8).with_min_len(1 << 16).map(decode).collect())
    }

    /// The bytes of tensor `name`, which must have these sizes and hold `U8`.
    ///
    /// # Errors
    /// As [`Safetensors::read`].
    pub fn read_codes(&self, name: &str, dims: &[usize]) -> Result<Vec<u8>> {
        let entry = self.entry(name, dims)?;
        if entry.dtype != Dtype::U8 {
            let what = format!("tensor {name} is of type {:?}, expected U8", entry.dtype);
            return Err(Error::content(&entry.file, what));
        }
        entry.read()
    }

    /// The elements of tensor `name`, which must have these sizes and hold whole numbers from 0 to the largest `u32`.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing, of other sizes, not of `U16`, `U32` or `I64`, or a number is another; [`Error::System`].
    pub fn read_whole(&self, name: &str, dims: &[usize]) -> Result<Vec<u32>> {
        let entry = self.entry(name, dims)?;
        let number: fn(&[u8]) -> i64 = match entry.dtype {
            Dtype::U16 => |b| u16::from_le_bytes([b[0], b[1]]).into(),
            Dtype::U32 => |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]).into(),
            Dtype::I64 => |b| i64::from_le_bytes(std::array::from_fn(|i| b[i])),
            other => {
                let what = format!("tensor {name} is of type {other:?}, expected U16, U32 or I64");
                return Err(Error::content(&entry.file, what));
            }
        };
        let bytes = entry.read()?;
        let numbers = bytes.chunks_exact(entry.dtype.bitsize() / 8).map(|bytes| {
            let number = number(bytes);
            let wrong = || format!("tensor {name} holds {number}, expected 0 to {}", u32::MAX);
            u32::try_from(number).map_err(|_| Error::content(&entry.file, wrong()))
        });
        numbers.collect()
    }

    fn entry(&self, name: &str, dims: &[usize]) -> Result<&Entry> {
        let missing = || Error::content(&self.path, format!("there is no tensor {name}"));
        let entry = self.tensors.get(name).ok_or_else(missing)?;
        if entry.dims != dims {
            let what = format!("tensor {name} has sizes {:?}, expected {dims:?}", entry.dims);
            return Err(Error::content(&entry.file, what));
        }
        Ok(entry)
    }

    /// Add a file that an index names, which must have these tensors and no others, and be of the same save.
    fn shard(&mut self, file: &str, names: &HashSet<String>, save: Option<&str>) -> Result<()> {
        let (path, wrong) = (self.path.with_file_name(file), |what: String| Err(Error::content(&self.path, what)));
        let mut shard = Self { path: path.clone(), tensors: BTreeMap::new(), notes: BTreeMap::new() };
        shard.add(&path)?;
        if let Some(name) = names.iter().find(|name| !shard.tensors.contains_key(*name)) {
            return wrong(format!("it says that {name} is in {file}, where it is not"));
        }
        if let Some(name) = shard.tensors.keys().find(|name| !names.contains(*name)) {
            return wrong(format!("{name} is in {file}, of which it says nothing"));
        }
        let other = shard.notes.get(SAVE).map(String::as_str);
        if let (Some(save), true) = (save, other != save) {
            return wrong(format!("it belongs to the save {save}, but {file} to {}", other.unwrap_or("none")));
        }
        self.tensors.append(&mut shard.tensors);
        self.notes.append(&mut shard.notes);
        Ok(())
    }

    /// Add the tensors of one file.
    fn add(&mut self, path: &Path) -> Result<()> {
        let wrong = |what: String| Error::content(path, what);
        let mut file = File::open(path).map_err(Error::system(path, "open"))?;
        let length = file.metadata().map_err(Error::system(path, "open"))?.len();
        if length < 8 {
            return Err(wrong(format!("this is no safetensors file: it has {length} bytes, at least 8 are needed")));
        }
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(Error::system(path, "read"))?;
        let size = u64::from_le_bytes(size);
        if size > (length - 8).min(HEADER) {
            let most = (length - 8).min(HEADER);
            return Err(wrong(format!(
                "this is no safetensors file: its header would have {size} bytes, at most {most} can be"
            )));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(Error::system(path, "read"))?;
        json::count(&header, &mut Budget::of(length), true).map_err(|e| wrong(format!("its header: {e}")))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| wrong(format!("its header: {e}")))?;
        let (start, told) = (8 + size, header.data_len() as u64);
        if start.checked_add(told) != Some(length) {
            return Err(wrong(format!("its tensors have {told} bytes, but {} follow the header", length - start)));
        }
        let file: Arc<Path> = path.into();
        for (name, info) in header.tensors() {
            let (from, to) = info.data_offsets;
            let (dims, dtype, file) = (info.shape.clone(), info.dtype, file.clone());
            let entry = Entry { dims, dtype, file, start: start + from as u64, bytes: to - from };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                return Err(wrong(format!("tensor {name} is in {} too", other.file.display())));
            }
        }
        self.notes.extend(header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())));
        Ok(())
    }
}

/// Makes a number of the bytes of one, rounded once.
pub(crate) fn decode<T: Float>(dtype: Dtype) -> Option<fn(&[u8]) -> T> {
    Some(match dtype {
        Dtype::F32 => |b| T::narrow(f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()),
        Dtype::F16 => |b| T::narrow(latens_core::f16::from_le_bytes([b[0], b[1]]).wide()),
        Dtype::BF16 => |b| T::narrow(latens_core::bf16::from_le_bytes([b[0], b[1]]).wide()),
        Dtype::F64 => |b| T::narrow(f64::from_le_bytes(std::array::from_fn(|i| b[i]))),
        Dtype::I64 => |b| T::narrow(i64::from_le_bytes(std::array::from_fn(|i| b[i])) as f64),
        Dtype::I32 => |b| T::narrow(i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()),
        _ => return None,
    })
}

/// The files that an index names, and the tensors it says are in each; and the save that it belongs to, if it says so.
#[allow(clippy::type_complexity)] // two maps
fn index(path: &Path) -> Result<(BTreeMap<String, HashSet<String>>, Option<String>)> {
    let wrong =
        |what: &dyn std::fmt::Display| Error::content(path, format!("this is no index of safetensors files: {what}"));
    let json = json::read(path)?;
    let map = json.get("weight_map").and_then(|map| map.as_object()).ok_or_else(|| wrong(&"it has no weight_map"))?;
    let mut files = BTreeMap::<_, HashSet<_>>::new();
    for (name, file) in map {
        let file = file.as_str().ok_or_else(|| wrong(&format!("the file of {name} is no text")))?;
        let mut parts = Path::new(file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(wrong(&format!("{file} is no plain file name")));
        }
        files.entry(file.to_owned()).or_default().insert(name.clone());
    }
    Ok((files, json["metadata"][SAVE].as_str().map(str::to_owned)))
}
