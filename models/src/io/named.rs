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

    #[cfg(feature = "lm")]
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

/// Named tensors of a safetensors file, each checked as it is taken; [`finish`](Self::finish) refuses what nobody took.
pub(crate) struct Incoming {
    file: Safetensors,
    taken: BTreeSet<String>,
}

impl Incoming {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: Safetensors::open(path)?, taken: BTreeSet::new() })
    }

    /// A tensor, which must have these sizes.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        self.taken.insert(name.into());
        self.file.read(name, dims)
    }

    /// A tensor of codes, which must have these sizes.
    #[cfg(feature = "lm")]
    pub fn take_codes(&mut self, name: &str, dims: &[usize]) -> Result<Vec<u8>> {
        self.taken.insert(name.into());
        self.file.read_codes(name, dims)
    }

    /// The note, or an error that it is missing.
    pub fn note(&self) -> Result<&str> {
        self.file.notes().get(NOTE).map(String::as_str).ok_or_else(|| self.wrong(format!("metadata {NOTE} is missing")))
    }

    /// That every tensor was taken.
    pub fn finish(&self) -> Result<()> {
        match self.file.tensors().keys().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(self.wrong(format!("tensor {name} is unknown"))),
            None => Ok(()),
        }
    }

    pub fn wrong(&self, what: impl Into<String>) -> Error {
        Error::content(self.file.path(), what)
    }
}
