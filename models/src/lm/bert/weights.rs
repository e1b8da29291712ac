//! The weights of a BERT out of a file.
use super::Config;
use crate::io::{Error, Result, safetensors::Safetensors};
use crate::lm::weights::{Linear, Norm, in_order};
use crate::{Device, Float, Tensor};

/// The weights of a layer.
pub(super) struct Layer<T: Float> {
    /// Queries, keys, values, one above another.
    pub input: Linear<T>,
    pub output: Linear<T>,
    pub attention_norm: Norm<T::Acc>,
    pub up: Linear<T>,
    pub down: Linear<T>,
    pub mlp_norm: Norm<T::Acc>,
}

/// All weights of a model.
pub(super) struct Weights<T: Float> {
    pub words: Tensor<T, 2>,
    pub places: Tensor<T, 2>,
    pub kinds: Tensor<T, 2>,
    pub norm: Norm<T::Acc>,
    pub layers: Vec<Layer<T>>,
}

/// A file of weights, and what comes before its names.
struct Source<'a> {
    file: &'a Safetensors,
    before: &'static str,
    device: &'a Device,
}

impl Source<'_> {
    fn read<E: Float>(&self, name: &str, dims: &[usize]) -> Result<Vec<E>> {
        self.file.read_as(&format!("{}{name}", self.before), dims)
    }

    fn table<T: Float>(&self, name: &str, dims: [usize; 2]) -> Result<Tensor<T, 2>> {
        let name = format!("embeddings.{name}_embeddings.weight");
        Ok(Tensor::from_vec(self.read(&name, &dims)?, dims, self.device)?)
    }

    /// Products of the same input, one above another.
    fn linear<T: Float>(&self, names: &[String], rows: usize, columns: usize) -> Result<Linear<T>> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weight.extend(self.read::<T>(&format!("{name}.weight"), &[rows, columns])?);
            bias.extend(self.read::<T::Acc>(&format!("{name}.bias"), &[rows])?);
        }
        let rows = rows * names.len();
        Ok(Linear {
            weight: Tensor::from_vec(weight, [rows, columns], self.device)?,
            bias: Some(Tensor::from_vec(bias, [rows], self.device)?),
        })
    }

    fn norm<A: Float>(&self, name: &str, dim: usize) -> Result<Norm<A>> {
        let read = |end: &str| {
            Ok::<_, Error>(Tensor::from_vec(self.read(&format!("{name}.{end}"), &[dim])?, [dim], self.device)?)
        };
        Ok(Norm { weight: read("weight")?, bias: Some(read("bias")?) })
    }

    fn layer<T: Float>(&self, config: &Config, at: usize) -> Result<Layer<T>> {
        let &Config { dim, hidden, .. } = config;
        let name = |end: &str| format!("encoder.layer.{at}.{end}");
        let inputs = ["query", "key", "value"].map(|of| name(&format!("attention.self.{of}")));
        Ok(Layer {
            input: self.linear(&inputs, dim, dim)?,
            output: self.linear(&[name("attention.output.dense")], dim, dim)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"), dim)?,
            up: self.linear(&[name("intermediate.dense")], hidden, dim)?,
            down: self.linear(&[name("output.dense")], dim, hidden)?,
            mlp_norm: self.norm(&name("output.LayerNorm"), dim)?,
        })
    }
}

/// Whether a tensor has a place in a model of this configuration, or belongs to a head on top of it, which does not change it.
fn known(config: &Config, name: &str) -> bool {
    let layer = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split_once('.'));
    if let Some((at, of)) = layer {
        let of = of.trim_end_matches(".weight").trim_end_matches(".bias");
        let all = [
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        ];
        return all.contains(&of) && at.parse().is_ok_and(|at: usize| at < config.layers);
    }
    let embeddings = ["word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight"];
    let others = ["LayerNorm.weight", "LayerNorm.bias", "position_ids"];
    let embedding = name.strip_prefix("embeddings.").is_some_and(|of| embeddings.contains(&of) || others.contains(&of));
    embedding || ["pooler.", "cls.", "classifier."].iter().any(|head| name.starts_with(head))
}

/// Read all weights. What the file has beyond them and beyond heads is an error.
pub(super) fn load<T: Float>(file: &Safetensors, config: &Config, device: &Device) -> Result<Weights<T>> {
    let (names, wrong) = (file.tensors(), |what: String| Error::content(file.path(), what));
    // Refuse a count of layers that the file cannot hold before counting to it.
    if config.layers > names.len() / 16 {
        return Err(wrong(format!("{} layers cannot be in its {} tensors", config.layers, names.len())));
    }
    let before = if names.keys().any(|name| name.starts_with("bert.")) { "bert." } else { "" };
    if let Some(name) = names.keys().find(|name| !known(config, name.strip_prefix(before).unwrap_or(name))) {
        return Err(wrong(format!("tensor {name} has no place in this model")));
    }
    let source = Source { file, before, device };
    let &Config { dim, vocabulary, context, kinds, .. } = config;
    Ok(Weights {
        words: source.table("word", [vocabulary, dim])?,
        places: source.table("position", [context, dim])?,
        kinds: source.table("token_type", [kinds, dim])?,
        norm: source.norm("embeddings.LayerNorm", dim)?,
        layers: in_order(config.layers, |at| source.layer(config, at))?,
    })
}
