//! Files of named tensors, of `f32` or of codes in bytes, with a note, of which nothing is missing and nothing left over.
use super::{Error, Result, safetensors::Safetensors};
use safetensors::{Dtype, tensor::TensorView};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

/// Key of the one note in a file's metadata: several would be written in no fixed order.
const NOTE: &str = "latens";

/// Named tensors on their way to a safetensors file.
#[derive(Default)]
pub(crate) struct Outgoing {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    note: Option<String>,
}

impl Outgoing {
    pub fn put(&mut self, name: &str, dims: &[usize], values: Vec<f32>) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.insert(name.into(), (Dtype::F32, dims.to_vec(), bytes));
    }

    #[cfg(any(feature = "lm", feature = "sae"))]
    pub fn put_codes(&mut self, name: &str, dims: &[usize], codes: Vec<u8>) {
        self.tensors.insert(name.into(), (Dtype::U8, dims.to_vec(), codes));
    }

    /// Set the note.
    pub fn annotate(&mut self, note: String) {
        self.note = Some(note);
    }

    /// The file's bytes, the same for the same contents.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let views = self
            .tensors
            .iter()
            .map(|(name, (dtype, dims, bytes))| Ok((name.as_str(), TensorView::new(*dtype, dims.clone(), bytes)?)));
        let note = self.note.clone().map(|note| HashMap::from([(NOTE.to_string(), note)]));
        let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
        views
            .and_then(|views| safetensors::serialize(views, note))
            .map_err(|e| Error::setting("weights", e.to_string()))
    }
}

/// Named tensors of a file, each checked as it is taken; [`finish`](Self::finish) refuses what nobody took.
pub(crate) struct Incoming {
    file: File,
    taken: BTreeSet<String>,
}

/// The file.
enum File {
    Safetensors(Safetensors),
    #[cfg(feature = "sae")]
    Torch(super::torch::Torch),
    #[cfg(feature = "sae")]
    Npz(super::npz::Npz),
}

impl Incoming {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: File::Safetensors(Safetensors::open(path)?), taken: BTreeSet::new() })
    }

    #[cfg(feature = "sae")]
    pub fn open_torch(path: &Path) -> Result<Self> {
        Ok(Self { file: File::Torch(super::torch::Torch::open(path)?), taken: BTreeSet::new() })
    }

    #[cfg(feature = "sae")]
    pub fn open_npz(path: &Path) -> Result<Self> {
        Ok(Self { file: File::Npz(super::npz::Npz::open(path)?), taken: BTreeSet::new() })
    }

    fn path(&self) -> &Path {
        match &self.file {
            File::Safetensors(file) => file.path(),
            #[cfg(feature = "sae")]
            File::Torch(file) => file.path(),
            #[cfg(feature = "sae")]
            File::Npz(file) => file.path(),
        }
    }

    fn names(&self) -> Vec<&String> {
        match &self.file {
            File::Safetensors(file) => file.tensors().keys().collect(),
            #[cfg(feature = "sae")]
            File::Torch(file) => file.tensors().keys().collect(),
            #[cfg(feature = "sae")]
            File::Npz(file) => file.names().iter().collect(),
        }
    }

    /// A tensor, which must have these sizes.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        self.taken.insert(name.into());
        match &self.file {
            File::Safetensors(file) => file.read(name, dims),
            #[cfg(feature = "sae")]
            File::Torch(file) => file.read(name, dims),
            #[cfg(feature = "sae")]
            File::Npz(file) => file.read(name, dims),
        }
    }

    /// A tensor of codes, which must have these sizes.
    #[cfg(any(feature = "lm", feature = "sae"))]
    pub fn take_codes(&mut self, name: &str, dims: &[usize]) -> Result<Vec<u8>> {
        self.taken.insert(name.into());
        match &self.file {
            File::Safetensors(file) => file.read_codes(name, dims),
            #[cfg(feature = "sae")]
            _ => Err(self.wrong(format!("tensor {name} has no codes"))),
        }
    }

    /// The note, or an error that it is missing.
    pub fn note(&self) -> Result<&str> {
        match &self.file {
            File::Safetensors(file) => file.notes().get(NOTE).map(String::as_str),
            #[cfg(feature = "sae")]
            _ => None,
        }
        .ok_or_else(|| self.wrong(format!("metadata {NOTE} is missing")))
    }

    /// That every tensor was taken.
    pub fn finish(&self) -> Result<()> {
        match self.names().into_iter().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(self.wrong(format!("tensor {name} is unknown"))),
            None => Ok(()),
        }
    }

    pub fn wrong(&self, what: impl Into<String>) -> Error {
        Error::content(self.path(), what)
    }
}

/// What only files of other libraries are asked.
#[cfg(feature = "sae")]
impl Incoming {
    pub fn has(&self, name: &str) -> bool {
        self.names().into_iter().any(|one| one == name)
    }

    /// The sizes of a matrix.
    pub fn matrix(&self, name: &str) -> Result<[usize; 2]> {
        let missing = || self.wrong(format!("there is no tensor {name}"));
        let dims = match &self.file {
            File::Safetensors(file) => file.tensors().get(name).ok_or_else(missing)?.dims.clone(),
            File::Torch(file) => file.tensors().get(name).ok_or_else(missing)?.dims.clone(),
            File::Npz(file) => file.dims(name)?,
        };
        dims.try_into().map_err(|dims: Vec<_>| self.wrong(format!("tensor {name} has sizes {dims:?}, expected two")))
    }

    /// Leave a tensor that says nothing of how it is used.
    pub fn skip(&mut self, name: &str) {
        self.taken.insert(name.into());
    }

    /// A number beside the tensors, or the one element of a tensor.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>> {
        self.taken.insert(name.into());
        match &self.file {
            File::Torch(file) => file.number(name),
            _ => Ok(None),
        }
    }

    /// How many of `n` are kept: a whole number beside the tensors, or in one.
    pub fn k(&mut self, name: &str, n: usize) -> Result<usize> {
        match self.number(name)? {
            Some(k) if k.fract() == 0.0 && k >= 1.0 && k <= n as f64 => Ok(k as usize),
            Some(k) => Err(self.wrong(format!("{name} is {k}, expected 1 to {n}"))),
            None => Err(self.wrong(format!("there is no number {name}"))),
        }
    }

    /// A text beside the tensors.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.file {
            File::Torch(file) => file.text(name),
            _ => None,
        }
    }
}
