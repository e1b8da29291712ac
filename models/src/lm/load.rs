//! The weights of a decoder out of a file.
use super::layout::{Family, Layout};
use super::weights::{Fill, Weights};
use super::{Config, Part};
use crate::io::{Error, Result, gguf::Gguf, safetensors::Safetensors};
use crate::{Device, Float};
use std::collections::BTreeSet;
use std::path::Path;

/// A file of weights.
#[derive(Clone, Copy)]
pub(super) enum File<'a> {
    Gguf(&'a Gguf),
    Safetensors(&'a Safetensors),
}

impl<'a> File<'a> {
    pub(super) fn path(self) -> &'a Path {
        match self {
            Self::Gguf(file) => file.path(),
            Self::Safetensors(file) => file.path(),
        }
    }

    pub(super) fn names(self) -> BTreeSet<&'a str> {
        match self {
            Self::Gguf(file) => file.tensors().keys().map(String::as_str).collect(),
            Self::Safetensors(file) => file.tensors().keys().map(String::as_str).collect(),
        }
    }

    pub(super) fn read<E: Float>(self, name: &str, dims: &[usize]) -> Result<Vec<E>> {
        match self {
            Self::Gguf(file) => Ok(file.read(name, dims)?.into_iter().map(|x| E::narrow(x.into())).collect()),
            Self::Safetensors(file) => file.read_as(name, dims),
        }
    }
}

/// A file, and how to read it.
struct Source<'a> {
    file: File<'a>,
    layout: Layout<'a>,
}

impl Fill for Source<'_> {
    /// Several tensors of the same number of columns, one above another, so that one product serves them all.
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        let mut pieces = self.layout.pieces(part).into_iter().map(|piece| self.file.read(&piece.name, &piece.dims));
        let mut all = pieces.next().transpose()?.unwrap_or_default();
        for piece in pieces {
            all.extend_from_slice(&piece?);
        }
        Ok(self.layout.read(part, all))
    }
}

/// Read all weights. What the file has beyond them is an error: a model run without a part of it would be wrong silently.
pub(super) fn load<T: Float>(file: File<'_>, family: Family, config: &Config, device: &Device) -> Result<Weights<T>> {
    let (names, wrong) = (file.names(), |what: String| Error::content(file.path(), what));
    let bare = family == Family::Gpt2 && !names.iter().any(|name| name.starts_with("transformer."));
    let layout = Layout::new(family, config, bare);
    // Refuse a count of layers that the file cannot hold before counting to it.
    let pieces = |part| layout.pieces(part).into_iter().map(|piece| piece.name);
    let least = Part::of_layer(0).into_iter().filter(|part| !part.is_bias()).flat_map(pieces).count();
    if config.layers > names.len() / least {
        return Err(wrong(format!("{} layers cannot be in its {} tensors", config.layers, names.len())));
    }
    let known: BTreeSet<String> = config.parts().into_iter().chain([Part::Output]).flat_map(pieces).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(**name) && !layout.ignores(name)) {
        return Err(wrong(format!("tensor {name} has no place in this model")));
    }
    let source = Source { file, layout };
    let output = source.layout.pieces(Part::Output);
    if config.tied && output.iter().any(|piece| names.contains(piece.name.as_str())) {
        // Files may have the one table twice, but not two.
        let [one, other] = [Part::Embedding, Part::Output].map(|part| source.fill::<T>(part));
        if one?.iter().zip(&other?).any(|(one, other)| one.wide().to_bits() != other.wide().to_bits()) {
            return Err(wrong("its tables for reading and for writing differ, but the configuration ties them".into()));
        }
    }
    Weights::build(config, device, &source)
}

/// The weights of another model, rounded once.
pub(super) struct Copied<'a, T: Float>(pub &'a Weights<T>);

impl<T: Float> Fill for Copied<'_, T> {
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        match self.0.get(part) {
            Some(values) => values.to_vec_as(),
            None => Err(Error::setting("part", format!("{part:?} is not in this model"))),
        }
    }
}
