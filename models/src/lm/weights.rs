use super::{Config, llama::Layer};
use crate::io::{Error, Result};
use crate::{Device, Float, Tensor};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// What a file calls the weights. Those of a layer come after its prefix and number.
pub(super) struct Names {
    pub embedding: &'static str,
    pub norm: &'static str,
    pub output: &'static str,
    pub layer: &'static str,
    pub attention_norm: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub mlp_norm: &'static str,
    pub gate: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    /// Ends of names that say nothing that is not known.
    pub ignored: &'static [&'static str],
}

/// The names of llama.cpp.
pub(super) const GGUF: Names = Names {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    output: "output.weight",
    layer: "blk.",
    attention_norm: ".attn_norm.weight",
    query: ".attn_q.weight",
    key: ".attn_k.weight",
    value: ".attn_v.weight",
    attention_output: ".attn_output.weight",
    mlp_norm: ".ffn_norm.weight",
    gate: ".ffn_gate.weight",
    up: ".ffn_up.weight",
    down: ".ffn_down.weight",
    ignored: &[],
};

/// The names of Hugging Face.
pub(super) const HUGGING_FACE: Names = Names {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    output: "lm_head.weight",
    layer: "model.layers.",
    attention_norm: ".input_layernorm.weight",
    query: ".self_attn.q_proj.weight",
    key: ".self_attn.k_proj.weight",
    value: ".self_attn.v_proj.weight",
    attention_output: ".self_attn.o_proj.weight",
    mlp_norm: ".post_attention_layernorm.weight",
    gate: ".mlp.gate_proj.weight",
    up: ".mlp.up_proj.weight",
    down: ".mlp.down_proj.weight",
    ignored: &[".rotary_emb.inv_freq"],
};

/// A file of weights: its place, the names in it, and how one is read.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub names: BTreeSet<&'a str>,
    pub read: &'a Read<'a>,
}

/// Numbers of the weight of this name, which must have these dims.
pub(super) type Read<'a> = dyn Fn(&str, &[usize]) -> Result<Vec<f32>> + Sync + 'a;

/// All weights of a model.
pub(super) struct Weights<T: Float = f32> {
    pub embedding: Tensor<T, 2>,
    pub norm: Tensor<T::Acc, 1>,
    pub output: Option<Tensor<T, 2>>,
    pub layers: Vec<Layer<T>>,
}

impl Source<'_> {
    /// Read all weights, several at a time. What the file has beyond them is an error: a model run without a part of it
    /// would be wrong silently.
    pub(super) fn load(&self, config: &Config, names: &Names, device: &Device) -> Result<Weights> {
        let Config { layers, dim, vocabulary, .. } = *config;
        // Nine weights a layer: refuse a count that the file cannot hold before counting to it.
        if layers > self.names.len() / 9 {
            let what = format!("{layers} layers cannot be in its {} tensors", self.names.len());
            return Err(Error::content(self.path, what));
        }
        let parts: Vec<_> = (0..layers).map(|layer| format!("{}{layer}", names.layer)).collect();
        let known = [names.embedding, names.norm, names.output];
        let of_layer = [
            names.attention_norm,
            names.query,
            names.key,
            names.value,
            names.attention_output,
            names.mlp_norm,
            names.gate,
            names.up,
            names.down,
        ];
        let mut all: BTreeSet<String> = known.iter().map(|&name| name.to_owned()).collect();
        all.extend(parts.iter().flat_map(|part| of_layer.iter().map(move |name| format!("{part}{name}"))));
        let ignored = |name: &str| names.ignored.iter().any(|end| name.ends_with(end));
        if let Some(name) = self.names.iter().find(|name| !all.contains(**name) && !ignored(name)) {
            return Err(Error::content(self.path, format!("tensor {name} has no place in this model")));
        }
        let matrix = |name, dims: [usize; 2]| self.matrix(&[name], dims[1], &dims[..1], device);
        let (embedding, layers) = rayon::join(
            || matrix(names.embedding, [vocabulary, dim]),
            || parts.par_iter().map(|part| self.layer(config, names, part, device)).collect::<Result<Vec<_>>>(),
        );
        // Without an output of its own, a model writes with the table it reads by.
        let own = self.names.contains(names.output);
        let output = own.then(|| matrix(names.output, [vocabulary, dim])).transpose()?;
        Ok(Weights { embedding: embedding?, norm: self.vector(names.norm, dim, device)?, output, layers: layers? })
    }

    fn layer(&self, config: &Config, names: &Names, part: &str, device: &Device) -> Result<Layer> {
        let Config { dim, hidden, heads, kv_heads, head_dim, .. } = *config;
        let name = |name: &str| format!("{part}{name}");
        let (query, key, value) = (name(names.query), name(names.key), name(names.value));
        let rows = [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim];
        Ok(Layer {
            attention_norm: self.vector(&name(names.attention_norm), dim, device)?,
            attention_input: self.matrix(&[&query, &key, &value], dim, &rows, device)?,
            attention_output: self.matrix(&[&name(names.attention_output)], heads * head_dim, &[dim], device)?,
            mlp_norm: self.vector(&name(names.mlp_norm), dim, device)?,
            mlp_input: self.matrix(&[&name(names.gate), &name(names.up)], dim, &[hidden, hidden], device)?,
            mlp_output: self.matrix(&[&name(names.down)], hidden, &[dim], device)?,
        })
    }

    /// Several weights of the same number of columns, one above another, so that one product serves them all.
    fn matrix(&self, names: &[&str], columns: usize, rows: &[usize], device: &Device) -> Result<Tensor<f32, 2>> {
        let mut parts = names.iter().zip(rows).map(|(name, &rows)| (self.read)(name, &[rows, columns]));
        let mut all = parts.next().transpose()?.unwrap_or_default();
        for part in parts {
            all.extend_from_slice(&part?);
        }
        Ok(Tensor::from_vec(all, [rows.iter().sum(), columns], device)?)
    }

    fn vector(&self, name: &str, dim: usize, device: &Device) -> Result<Tensor<f32, 1>> {
        Ok(Tensor::from_vec((self.read)(name, &[dim])?, [dim], device)?)
    }
}
