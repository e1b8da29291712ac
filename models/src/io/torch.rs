//! PyTorch's files (`.pt`, `.pth`, `.bin`, since 1.6): a zip of a pickle, which names the tensors, and of their memory.
//!
//! No code of such a file runs: see `pickle`. What it may hold is a dictionary from names to tensors, numbers and texts, with
//! dictionaries in it, whose names are joined by dots: `activation_state_dict.k`.
use super::archive::Archive;
use super::pickle::{Name, Pickle, Value};
use super::{Error, Result};
use crate::io::safetensors::decode;
use safetensors::Dtype;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Levels of dictionaries.
const DEPTH: usize = 4;
/// Bytes of a tensor's name.
const NAME: usize = 1024;
/// Bytes of a pickle: of a model with a million tensors it has fewer.
const PICKLE: u64 = 16 << 20;

/// An opened file.
#[derive(Debug)]
pub struct Torch {
    path: PathBuf,
    prefix: String,
    tensors: BTreeMap<String, Entry>,
    numbers: BTreeMap<String, f64>,
    texts: BTreeMap<String, String>,
}

/// A tensor: a part of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Sizes, outermost first.
    pub dims: Vec<usize>,
    /// The type of its elements.
    pub dtype: Dtype,
    strides: Vec<usize>,
    first: usize,
    /// The name of the memory, and the elements it has.
    storage: (String, usize),
}

impl Torch {
    /// Read what the file at `path` says of its tensors.
    ///
    /// # Errors
    /// [`Error::System`]; [`Error::Content`] if it is something else than such a file, calls a name that files of weights do
    /// not need, or has a tensor outside its memory.
    pub fn open(path: &Path) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let wrong = |what: String| Error::content(path, what);
        let pickles: Vec<_> = archive.names().iter().filter(|name| name.ends_with("/data.pkl")).cloned().collect();
        let [name] = &pickles[..] else {
            return Err(wrong(format!(
                "this is no file of PyTorch: it has {} entries data.pkl, expected 1",
                pickles.len()
            )));
        };
        let prefix = name.trim_end_matches("data.pkl").to_owned();
        let order = format!("{prefix}byteorder");
        if archive.names().contains(&order) && archive.read(&order, 16)? != b"little" {
            return Err(wrong("its bytes are not in little-endian order".into()));
        }
        let pickle = Pickle::read(&archive.read(name, PICKLE)?).map_err(|what| wrong(format!("its pickle: {what}")))?;
        let mut all = Self {
            path: path.to_owned(),
            prefix,
            tensors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        all.add(&pickle, &pickle.top, "", &mut HashSet::new()).map_err(wrong)?;
        Ok(all)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// A text that stands beside the tensors.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// A number that stands beside the tensors, or the one element of a tensor.
    ///
    /// # Errors
    /// As [`Torch::read`].
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(Some(number));
        }
        match self.tensors.get(name) {
            Some(entry) if entry.dims.iter().product::<usize>() == 1 => {
                Ok(self.read(name, &entry.dims)?.first().map(|&number| number.into()))
            }
            _ => Ok(None),
        }
    }

    /// The elements of tensor `name`, which must have these sizes, in f32, in the order of its indices.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing, of other sizes, of a type that is not read, or its memory is; [`Error::System`].
    pub fn read(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        let wrong = |what: String| Error::content(&self.path, what);
        let entry = self.tensors.get(name).ok_or_else(|| wrong(format!("there is no tensor {name}")))?;
        if entry.dims != dims {
            return Err(wrong(format!("tensor {name} has sizes {:?}, expected {dims:?}", entry.dims)));
        }
        let (storage, count) = &entry.storage;
        let bytes = Archive::open(&self.path)?.read(&format!("{}data/{storage}", self.prefix), u64::MAX)?;
        let size = entry.dtype.bitsize() / 8;
        if Some(bytes.len()) != count.checked_mul(size) {
            return Err(wrong(format!(
                "the memory of tensor {name} has {} bytes, expected {count} of {size}",
                bytes.len()
            )));
        }
        let element = decode::<f32>(entry.dtype)
            .ok_or_else(|| wrong(format!("tensor {name} is of type {:?}, which is not read", entry.dtype)))?;
        Ok(entry.places().map(|at| element(&bytes[at * size..][..size])).collect())
    }

    /// All of a dictionary, whose names begin with `before`. None is looked at twice: `seen` are their numbers.
    fn add(
        &mut self,
        pickle: &Pickle,
        value: &Value,
        before: &str,
        seen: &mut HashSet<usize>,
    ) -> std::result::Result<(), String> {
        let (at, pairs) = pickle.pairs(value).ok_or("it holds no dictionary of tensors")?;
        if !seen.insert(at) || before.matches('.').count() > DEPTH {
            return Err(format!("dictionary {before} is in another twice, or in more than {DEPTH}"));
        }
        for (key, value) in pairs {
            let Some(key) = key.text() else { continue }; // dictionaries by number are of optimisers
            let name = format!("{before}{key}");
            if name.len() > NAME {
                return Err(format!("a name has {} bytes, at most {NAME} are read", name.len()));
            }
            match value {
                Value::Tensor(with) => {
                    let entry = Entry::of(pickle, *with).map_err(|what| format!("tensor {name}: {what}"))?;
                    if self.tensors.insert(name.clone(), entry).is_some() {
                        return Err(format!("tensor {name} occurs twice"));
                    }
                }
                Value::Int(number) => drop(self.numbers.insert(name, *number as f64)),
                Value::Float(number) => drop(self.numbers.insert(name, *number)),
                value => match value.text() {
                    Some(text) => drop(self.texts.insert(name, text.to_owned())),
                    None if pickle.pairs(value).is_some() => self.add(pickle, value, &format!("{name}."), seen)?,
                    None => {}
                },
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Of `(storage, offset, sizes, strides, ..)`.
    fn of(pickle: &Pickle, with: usize) -> std::result::Result<Self, String> {
        let [Value::Storage(who), offset, dims, strides, ..] = pickle.tuple(with) else {
            return Err("it has no memory".into());
        };
        let (dtype, storage) = memory(pickle.tuple(*who)).ok_or("its memory is not of a known type")?;
        let first = offset.int().and_then(|first| usize::try_from(first).ok()).ok_or("its offset is no size")?;
        let (dims, strides) =
            pickle.sizes(dims).zip(pickle.sizes(strides)).ok_or("its sizes and strides are no sizes")?;
        if dims.len() != strides.len() {
            return Err(format!("it has {} sizes and {} strides", dims.len(), strides.len()));
        }
        let entry = Self { dims, dtype, strides, first, storage };
        entry.check()?;
        Ok(entry)
    }

    /// That it lies in its memory, and has no more elements than that.
    fn check(&self) -> std::result::Result<(), String> {
        let most = self.storage.1;
        let count = self.dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
        if count == Some(0) {
            return Ok(());
        }
        let reach =
            |last: usize, (&dim, &stride): (&usize, &usize)| last.checked_add(dim.checked_sub(1)?.checked_mul(stride)?);
        let last = self.dims.iter().zip(&self.strides).try_fold(self.first, reach);
        match (count, last) {
            (Some(count), Some(last)) if count <= most && last < most => Ok(()),
            _ => Err(format!("sizes {:?} by strides {:?} do not fit a memory of {most}", self.dims, self.strides)),
        }
    }

    /// Where the elements are, in order.
    fn places(&self) -> impl Iterator<Item = usize> {
        let count = self.dims.iter().product();
        let mut index = vec![0; self.dims.len()];
        let mut at = self.first;
        (0..count).map(move |_| {
            let place = at;
            for ((index, &dim), &stride) in index.iter_mut().zip(&self.dims).zip(&self.strides).rev() {
                *index += 1;
                at += stride;
                if *index < dim {
                    break;
                }
                at -= dim * stride;
                *index = 0;
            }
            place
        })
    }
}

/// Type, name and elements of a memory, of `("storage", type, name, device, elements)`.
fn memory(who: &[Value]) -> Option<(Dtype, (String, usize))> {
    let [kind, Value::Name(Name::Storage(of)), name, _, count] = who else { return None };
    let dtype = match *of {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        _ => Dtype::BOOL,
    };
    let count = usize::try_from(count.int()?).ok()?;
    (kind.text() == Some("storage")).then_some((dtype, (name.text()?.to_owned(), count)))
}
