use crate::io::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// Named tensors on their way to or from a safetensors file. What is read is checked as it is taken, and
/// [`finish`](Self::finish) refuses what nobody took.
#[derive(Default)]
pub(crate) struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Numbers)>,
    note: Option<String>,
}

enum Numbers {
    Float(Vec<f32>),
    Count(Vec<u32>),
}

/// Key of the one note in a file's metadata: several would be written in no fixed order.
const NOTE: &str = "latens";

impl Weights {
    pub fn put(&mut self, name: &str, dims: &[usize], values: Vec<f32>) {
        self.tensors.insert(name.into(), (dims.to_vec(), Numbers::Float(values)));
    }

    pub fn put_counts(&mut self, name: &str, counts: Vec<u32>) {
        self.tensors.insert(name.into(), (vec![counts.len()], Numbers::Count(counts)));
    }

    /// Set the note.
    pub fn annotate(&mut self, note: String) {
        self.note = Some(note);
    }

    /// The note, or an error that it is missing.
    pub fn note(&self) -> Result<&str> {
        self.note.as_deref().ok_or_else(|| self.wrong(format!("metadata {NOTE} is missing")))
    }

    /// The file's bytes, the same for the same contents.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let raw: Vec<(Dtype, Vec<u8>)> = self.tensors.values().map(|(_, numbers)| numbers.bytes()).collect();
        let views = self
            .tensors
            .iter()
            .zip(&raw)
            .map(|((name, (dims, _)), (kind, raw))| Ok((name.as_str(), TensorView::new(*kind, dims.clone(), raw)?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
        let note = self.note.clone().map(|note| HashMap::from([(NOTE.to_string(), note)]));
        views.and_then(|views| safetensors::serialize(views, note)).map_err(|e| self.wrong(e.to_string()))
    }

    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::system(path, "read"))?;
        let wrong = |e: safetensors::SafeTensorError| Error::content(path, format!("not a sound safetensors file: {e}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(wrong)?;
        let note = header.metadata().as_ref().and_then(|all| all.get(NOTE)).cloned();
        let mut weights = Self { path: path.to_owned(), tensors: BTreeMap::new(), note };
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(wrong)?.tensors() {
            let wrong = || Error::content(path, format!("tensor {name} has type {:?}, expected floats", view.dtype()));
            let numbers = Numbers::of(&view).ok_or_else(wrong)?;
            weights.tensors.insert(name, (view.shape().to_vec(), numbers));
        }
        Ok(weights)
    }

    /// A tensor, which must have these sizes.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        match self.remove(name, dims)? {
            Numbers::Float(values) => Ok(values),
            Numbers::Count(_) => Err(self.wrong(format!("tensor {name} holds whole numbers, expected floats"))),
        }
    }

    /// A list of whole numbers, as long as this.
    pub fn take_counts(&mut self, name: &str, len: usize) -> Result<Vec<u32>> {
        match self.remove(name, &[len])? {
            Numbers::Count(counts) => Ok(counts),
            Numbers::Float(_) => Err(self.wrong(format!("tensor {name} holds floats, expected whole numbers"))),
        }
    }

    fn remove(&mut self, name: &str, dims: &[usize]) -> Result<Numbers> {
        match self.tensors.remove(name) {
            Some((got, numbers)) if got == dims => Ok(numbers),
            Some((got, _)) => Err(self.wrong(format!("tensor {name} has shape {got:?}, expected {dims:?}"))),
            None => Err(self.wrong(format!("tensor {name} is missing"))),
        }
    }

    /// That every tensor was taken.
    pub fn finish(&self) -> Result<()> {
        match self.tensors.keys().next() {
            Some(name) => Err(self.wrong(format!("tensor {name} is unknown"))),
            None => Ok(()),
        }
    }

    pub fn wrong(&self, what: impl Into<String>) -> Error {
        Error::content(&self.path, what)
    }
}

impl Numbers {
    /// Floats of any width, or counts.
    fn of(view: &TensorView<'_>) -> Option<Self> {
        let bytes = view.data();
        let float = match view.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::U32 => return Some(Self::Count(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())),
            _ => return None,
        };
        Some(Self::Float(float))
    }

    fn bytes(&self) -> (Dtype, Vec<u8>) {
        match self {
            Self::Float(values) => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Count(counts) => (Dtype::U32, counts.iter().flat_map(|c| c.to_le_bytes()).collect()),
        }
    }
}
