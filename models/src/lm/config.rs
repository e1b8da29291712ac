use crate::Pairing;
use crate::io::gguf::{Gguf, Value};
use crate::io::{Error, Result};
use std::path::Path;

/// The sizes and constants of a Llama.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers.
    pub layers: usize,
    /// Width of the residual.
    pub dim: usize,
    /// Width of the gated layer.
    pub hidden: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// The longest context it was trained for.
    pub context: usize,
    /// What is added to mean squares.
    pub epsilon: f32,
    /// Base of the rotation.
    pub rope_base: f64,
    /// Which entries of a head the rotation pairs: the files' conventions differ.
    pub pairing: Pairing,
}

impl Config {
    /// The configuration in the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Content`] if it is not of the Llama family, or its numbers make no sense.
    pub fn from_gguf(file: &Gguf) -> Result<Self> {
        let wrong = |what: String| Error::content(file.path(), what);
        let family = file.get("general.architecture", Value::text)?;
        if family != "llama" {
            return Err(wrong(format!("this is a model of the family {family}, expected llama")));
        }
        let size = |key: &str| file.get(&format!("llama.{key}"), Value::size);
        let optional = |key: &str| file.find(&format!("llama.{key}"), Value::size);
        if let Some(kind) = file.find("llama.rope.scaling.type", Value::text)?.filter(|kind| *kind != "none") {
            return Err(wrong(format!("positions scaled by {kind} are not read")));
        }
        let (dim, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_dim = optional("attention.key_length")?.unwrap_or(dim / heads.max(1));
        let config = Self {
            layers: size("block_count")?,
            dim,
            hidden: size("feed_forward_length")?,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            vocabulary: file.tensors().get("token_embd.weight").map_or(0, |entry| entry.dims[0]),
            context: size("context_length")?,
            epsilon: file.get("llama.attention.layer_norm_rms_epsilon", Value::float)? as f32,
            rope_base: file.find("llama.rope.freq_base", Value::float)?.unwrap_or(10_000.0),
            pairing: Pairing::Interleaved,
        };
        if let Some(turned) = optional("rope.dimension_count")?.filter(|&turned| turned != head_dim) {
            return Err(wrong(format!("{turned} of the {head_dim} entries of a head are turned, expected all")));
        }
        config.check().map_err(wrong)
    }

    /// The configuration in a `config.json` as Hugging Face writes it.
    ///
    /// # Errors
    /// As [`Config::from_gguf`].
    pub fn from_json(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::content(path, what);
        let text = std::fs::read(path).map_err(Error::system(path, "read"))?;
        let json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| wrong(format!("this is no JSON: {e}")))?;
        let family = json["model_type"].as_str().unwrap_or_default();
        if family != "llama" {
            return Err(wrong(format!("this is a model of the family {family:?}, expected \"llama\"")));
        }
        for key in ["rope_scaling", "attention_bias", "mlp_bias"] {
            if !matches!(json[key], serde_json::Value::Null | serde_json::Value::Bool(false)) {
                return Err(wrong(format!("{key} is {}, which is not read", json[key])));
            }
        }
        if let Some(act) = json["hidden_act"].as_str().filter(|act| *act != "silu") {
            return Err(wrong(format!("hidden_act is {act:?}, expected \"silu\"")));
        }
        let rope = &json["rope_parameters"];
        if let Some(kind) = rope["rope_type"].as_str().filter(|kind| *kind != "default") {
            return Err(wrong(format!("positions scaled by {kind} are not read")));
        }
        let optional = |key: &str| json[key].as_u64().and_then(|size| usize::try_from(size).ok());
        let size = |key: &str| optional(key).ok_or_else(|| wrong(format!("{key} is {}, expected a size", json[key])));
        let (dim, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let epsilon = json["rms_norm_eps"].as_f64().ok_or_else(|| wrong("there is no rms_norm_eps".into()))?;
        let config = Self {
            layers: size("num_hidden_layers")?,
            dim,
            hidden: size("intermediate_size")?,
            heads,
            kv_heads: optional("num_key_value_heads").unwrap_or(heads),
            head_dim: optional("head_dim").unwrap_or(dim / heads.max(1)),
            vocabulary: size("vocab_size")?,
            context: optional("max_position_embeddings").unwrap_or(2048),
            epsilon: epsilon as f32,
            rope_base: json["rope_theta"].as_f64().or(rope["rope_theta"].as_f64()).unwrap_or(10_000.0),
            pairing: Pairing::Halves,
        };
        config.check().map_err(wrong)
    }

    /// This configuration, if its numbers make sense together.
    pub(super) fn check(self) -> std::result::Result<Self, String> {
        const MOST: usize = 1 << 24; // so that products of two fit easily
        let sizes = [
            ("layers", self.layers),
            ("dim", self.dim),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocabulary", self.vocabulary),
            ("context", self.context),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MOST).contains(size)) {
            return Err(format!("{name} is {size}, expected 1 to {MOST}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !self.head_dim.is_multiple_of(2) {
            let Self { heads, kv_heads, head_dim, .. } = self;
            return Err(format!(
                "{heads} heads of {head_dim} over {kv_heads} heads of keys: expected a multiple, and even"
            ));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0 && self.rope_base.is_finite() && self.rope_base > 0.0) {
            return Err(format!("epsilon {} and rope base {} make no sense", self.epsilon, self.rope_base));
        }
        Ok(self)
    }
}
