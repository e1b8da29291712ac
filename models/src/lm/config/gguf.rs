//! The configuration in a GGUF file.
use super::{Config, Mlp, Norm, Positions};
use crate::io::gguf::{Gguf, Value};
use crate::io::{Error, Result};
use crate::tape::Rotary;
use crate::{Act, Pairing};

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
        let rotary = Rotary {
            base: file.find("llama.rope.freq_base", Value::float)?.unwrap_or(10_000.0),
            pairing: Pairing::Interleaved,
            dim: head_dim,
        };
        let config = Self {
            layers: size("block_count")?,
            dim,
            hidden: size("feed_forward_length")?,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            vocabulary: file.tensors().get("token_embd.weight").map_or(0, |entry| entry.dims[0]),
            context: size("context_length")?,
            norm: Norm::Rms,
            epsilon: file.get("llama.attention.layer_norm_rms_epsilon", Value::float)? as f32,
            positions: Positions::Rotary(rotary),
            parallel: false,
            mlp: Mlp::Gated(Act::Silu),
            attention_bias: false,
            mlp_bias: false,
            tied: !file.tensors().contains_key("output.weight"),
        };
        if let Some(turned) = optional("rope.dimension_count")?.filter(|&turned| turned != head_dim) {
            return Err(wrong(format!("{turned} of the {head_dim} entries of a head are turned, expected all")));
        }
        config.check().map_err(wrong)
    }
}
