//! Files of named `f32` tensors with a note, of which nothing is missing and nothing left over.
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
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    note: Option<String>,
}

impl Outgoing {
    pub fn put(&mut self, name: &str, dims: &[usize], values: Vec<f32>) {
        self.tensors.insert(name.into(), (dims.to_vec(), values));
    }

    /// Set the note.
    pub fn annotate(&mut self, note: String) {
        self.note = Some(note);
    }

    /// The file's bytes, the same for the same contents.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let raw: Vec<Vec<u8>> =
            self.tensors.values().map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let views = self
            .tensors
            .iter()
            .zip(&raw)
            .map(|((name, (dims, _)), raw)| Ok((name.as_str(), TensorView::new(Dtype::F32, dims.clone(), raw)?)));
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
