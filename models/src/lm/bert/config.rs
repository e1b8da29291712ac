use crate::Act;
use crate::io::{Error, Result};
use crate::lm::config::{Json, act_name, decimal};
use serde_json::{Value, json};
use std::path::Path;

/// The sizes and constants of a BERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers.
    pub layers: usize,
    /// Width of the residual.
    pub dim: usize,
    /// Width inside the feed-forward half of a layer.
    pub hidden: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// The longest text.
    pub context: usize,
    /// Kinds of tokens: those of a first text, those of a second.
    pub kinds: usize,
    /// What is added to variances.
    pub epsilon: f32,
    /// The activation function of the feed-forward half.
    pub act: Act,
}

impl Config {
    /// The configuration in a `config.json` as Hugging Face writes it, of a `bert`.
    ///
    /// # Errors
    /// [`Error::Content`] if it is of another family, or its numbers make no sense.
    pub fn from_json(path: &Path) -> Result<Self> {
        let json = Json::open(path)?;
        let family = json.text("model_type")?.unwrap_or_default();
        if family != "bert" {
            return Err(json.wrong(format!("this is a model of the family {family:?}, expected \"bert\"")));
        }
        json.refuse(&["position_embedding_type"], &json!("absolute"))?;
        json.refuse(&["is_decoder", "add_cross_attention"], &json!(false))?;
        let config = Self {
            layers: json.size("num_hidden_layers")?,
            dim: json.size("hidden_size")?,
            hidden: json.size("intermediate_size")?,
            heads: json.size("num_attention_heads")?,
            vocabulary: json.size("vocab_size")?,
            context: json.size("max_position_embeddings")?,
            kinds: json.optional("type_vocab_size")?.unwrap_or(2),
            epsilon: json.number("layer_norm_eps")?.unwrap_or(1e-12) as f32,
            act: json.act("hidden_act", "gelu")?,
        };
        config.check().map_err(|what| json.wrong(what))
    }

    /// What a `config.json` of Hugging Face says of this model, whose numbers are of type `dtype`.
    pub(super) fn to_json(&self, dtype: &str) -> Value {
        json!({
            "model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": self.layers,
            "hidden_size": self.dim, "intermediate_size": self.hidden, "num_attention_heads": self.heads,
            "vocab_size": self.vocabulary, "max_position_embeddings": self.context, "type_vocab_size": self.kinds,
            "layer_norm_eps": decimal(self.epsilon), "hidden_act": act_name(self.act),
            "position_embedding_type": "absolute", "torch_dtype": dtype,
        })
    }

    /// This configuration, if its numbers make sense together.
    pub(super) fn check(self) -> std::result::Result<Self, String> {
        const MOST: usize = 1 << 24; // so that products of two fit easily
        let sizes = [
            ("layers", self.layers),
            ("dim", self.dim),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("vocabulary", self.vocabulary),
            ("context", self.context),
            ("kinds", self.kinds),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MOST).contains(size)) {
            return Err(format!("{name} is {size}, expected 1 to {MOST}"));
        }
        let Self { dim, heads, epsilon, .. } = self;
        if !dim.is_multiple_of(heads) {
            return Err(format!("a width of {dim} does not divide into {heads} heads"));
        }
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(format!("epsilon {epsilon} makes no sense"));
        }
        Ok(self)
    }

    /// Refuse a text that is longer than the model takes.
    pub(super) fn fits(&self, tokens: usize) -> Result<()> {
        if tokens <= self.context {
            return Ok(());
        }
        Err(Error::setting("context", format!("{tokens} tokens, but the model takes {}", self.context)))
    }
}
