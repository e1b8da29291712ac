//! PyTorch's files (`.pt`, `.pth`, `.bin`, since 1.6): a zip of a pickle, which names the tensors, and of their memory.
//!
//! No code of such a file runs: see `pickle`. What it may hold is a dictionary from names to tensors, numbers and texts, with
//! dictionaries in it, whose names are joined by dots: `activation_state_dict.k`.
use super::archive::Archive;
use super::budget::Budget;
use super::pickle::{Name, Pickle, Value};
use super::{Error, Result};
use crate::io::safetensors::decode;
use safetensors::Dtype;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Levels of dictionaries.
const DEPTH: usize = 4;
/// Bytes of a tensor's name.
const NAME: usize = 1024;
/// Bytes of a pickle: of a model with a million tensors it has fewer.
const PICKLE: u64 = 16 << 20;
/// Memory of something with a name, beside the letters of the name: in a map, with sizes and strides if it is a tensor.
const NAMED: usize = 512;

/// What was looked at, and what is left to pay for the rest: one text or memory may stand under many names.
struct Seen {
    /// Their numbers.
    dictionaries: HashSet<usize>,
    words: Budget,
    /// Of tensors, in `f32`.
    numbers: Budget,
}

/// An opened file.
#[derive(Debug)]
pub struct Torch {
    path: PathBuf,
    prefix: String,
    tensors: BTreeMap<String, Entry>,
    numbers: BTreeMap<String, f64>,
    texts: BTreeMap<String, Arc<str>>,
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
    storage: (Arc<str>, usize),
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
        let mut pickles = archive.names().filter(|name| name.ends_with("/data.pkl"));
        let (Some(name), None) = (pickles.next().map(str::to_owned), pickles.next()) else {
            return Err(wrong("this is no file of PyTorch: it has not one entry data.pkl, but none or several".into()));
        };
        drop(pickles);
        let prefix = name.trim_end_matches("data.pkl").to_owned();
        let order = format!("{prefix}byteorder");
        if archive.names().any(|name| name == order) && archive.read(&order, 16)? != b"little" {
            return Err(wrong("its bytes are not in little-endian order".into()));
        }
        let mut seen = Seen { dictionaries: HashSet::new(), words: archive.budget(), numbers: archive.budget() };
        let bytes = archive.read(&name, PICKLE)?;
        let pickle = Pickle::read(&bytes, &mut seen.words).map_err(|what| wrong(format!("its pickle: {what}")))?;
        let mut all = Self {
            path: path.to_owned(),
            prefix,
            tensors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        all.add(&pickle, &pickle.top, "", &mut seen).map_err(wrong)?;
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
        self.texts.get(name).map(|text| &**text)
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

    /// All of a dictionary, whose names begin with `before`. None is looked at twice.
    fn add(
        &mut self,
        pickle: &Pickle,
        value: &Value,
        before: &str,
        seen: &mut Seen,
    ) -> std::result::Result<(), String> {
        let (at, pairs) = pickle.pairs(value).ok_or("it holds no dictionary of tensors")?;
        if !seen.dictionaries.insert(at) || before.matches('.').count() > DEPTH {
            return Err(format!("dictionary {before} is in another twice, or in more than {DEPTH}"));
        }
        for (key, value) in pairs {
            let Some(key) = key.text() else { continue }; // dictionaries by number are of optimisers
            let name = format!("{before}{key}");
            if name.len() > NAME {
                return Err(format!("a name has {} bytes, at most {NAME} are read", name.len()));
            }
            seen.words.pay(NAMED + name.len())?;
            match value {
                Value::Tensor(with) => {
                    let entry = Entry::of(pickle, *with).map_err(|what| format!("tensor {name}: {what}"))?;
                    seen.numbers.pay_for(entry.dims.iter().product(), size_of::<f32>())?;
                    if self.tensors.insert(name.clone(), entry).is_some() {
                        return Err(format!("tensor {name} occurs twice"));
                    }
                }
                Value::Int(number) => drop(self.numbers.insert(name, *number as f64)),
                Value::Float(number) => drop(self.numbers.insert(name, *number)),
                value => match value.text() {
                    Some(text) => drop(self.texts.insert(name, text.clone())),
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
fn memory(who: &[Value]) -> Option<(Dtype, (Arc<str>, usize))> {
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
    (&**kind.text()? == "storage").then_some((dtype, (name.text()?.clone(), count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: &str) -> Vec<u8> {
        [b"X", &(of.len() as u32).to_le_bytes()[..], of.as_bytes()].concat()
    }

    /// What is said of the values of a pickle, in a file of so many bytes.
    fn add(pickle: &[u8], file: u64) -> std::result::Result<Torch, String> {
        let mut words = Budget::of(file);
        let pickle = Pickle::read(pickle, &mut words)?;
        let mut seen = Seen { dictionaries: HashSet::new(), words, numbers: Budget::of(file) };
        let (tensors, numbers, texts) = Default::default();
        let mut all = Torch { path: "a.pt".into(), prefix: String::new(), tensors, numbers, texts };
        all.add(&pickle, &pickle.top, "", &mut seen)?;
        Ok(all)
    }

    /// Two bytes of a pickle name what stands elsewhere: a long text, a name that begins all others, a memory.
    #[test]
    fn what_is_named_again_is_paid_for() {
        let long = text(&"w".repeat(1000));
        let pairs = |count: u32, of: &[u8]| {
            (0..count).flat_map(|at| [text(&format!("{at}")), of.to_vec()].concat()).collect::<Vec<_>>()
        };
        let texts = |count| [&b"\x80\x02"[..], &long, b"q\x010}(", &pairs(count, b"h\x01"), b"u."].concat();
        assert_eq!(add(&texts(200), 1 << 12).unwrap().texts.len(), 200);
        assert!(add(&texts(20_000), 1 << 18).unwrap_err().contains("bytes of memory"));
        let names = |count| [&b"\x80\x02}"[..], &long, b"}(", &pairs(count, b"K\x01"), b"us."].concat();
        assert_eq!(add(&names(100), 1 << 12).unwrap().numbers.len(), 100);
        assert!(add(&names(20_000), 1 << 18).unwrap_err().contains("bytes of memory"));
        let memory =
            b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x01\x00tQ";
        let tensor =
            [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], memory, b"K\x00J\x00\x00\x01\x00\x85K\x01\x85tR"].concat();
        let tensors = |count| [&b"\x80\x02"[..], &tensor, b"q\x010}(", &pairs(count, b"h\x01"), b"u."].concat();
        assert_eq!(add(&tensors(4), 1 << 17).unwrap().tensors.len(), 4);
        assert!(add(&tensors(40), 1 << 17).unwrap_err().contains("bytes of memory"));
    }
}
