//! The configuration in a `config.json`, as Hugging Face writes it, and back.
use super::{Config, Mlp, Norm, Positions};
use crate::io::{Error, Result};
use crate::lm::layout::Family;
use crate::tape::Rotary;
use crate::{Act, Pairing};
use serde_json::{Value, json};
use std::path::Path;

/// A `config.json`: its place, for messages, and what it says.
pub(in crate::lm) struct Json<'a> {
    pub path: &'a Path,
    value: Value,
}

impl<'a> Json<'a> {
    pub(in crate::lm) fn open(path: &'a Path) -> Result<Self> {
        Ok(Self { path, value: crate::io::json::read(path)? })
    }

    pub(in crate::lm) fn wrong(&self, what: impl Into<String>) -> Error {
        Error::content(self.path, what)
    }

    /// The value of a key; null counts as none.
    fn find(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(&self, key: &str, kind: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>> {
        let wrong = |value| self.wrong(format!("{key} is {value}, expected {kind}"));
        self.find(key).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }

    pub(in crate::lm) fn optional(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a size", |value| value.as_u64().and_then(|size| usize::try_from(size).ok()))
    }

    pub(in crate::lm) fn size(&self, key: &str) -> Result<usize> {
        self.optional(key)?.ok_or_else(|| self.wrong(format!("there is no {key}, expected a size")))
    }

    pub(in crate::lm) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(in crate::lm) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.read(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(in crate::lm) fn text(&self, key: &str) -> Result<Option<&str>> {
        let wrong = |value| self.wrong(format!("{key} is {value}, expected a text"));
        self.find(key).map(|value| value.as_str().ok_or_else(|| wrong(value))).transpose()
    }

    /// Refuse what would change the model in a way that is not computed here.
    pub(in crate::lm) fn refuse(&self, keys: &[&str], usual: &Value) -> Result<()> {
        match keys.iter().find_map(|key| self.find(key).filter(|value| *value != usual).map(|value| (key, value))) {
            Some((key, value)) => Err(self.wrong(format!("{key} is {value}, which is not read"))),
            None => Ok(()),
        }
    }

    /// The activation function that `key` names.
    pub(in crate::lm) fn act(&self, key: &str, default: &str) -> Result<Act> {
        match self.text(key)?.unwrap_or(default) {
            "silu" | "swish" => Ok(Act::Silu),
            "gelu" => Ok(Act::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Act::GeluTanh),
            other => Err(self.wrong(format!("{key} is {other:?}, expected silu, gelu, gelu_new or gelu_pytorch_tanh"))),
        }
    }

    /// Base and share of the turn of a head, by the older keys and by the newer ones.
    fn rotary(&self, head_dim: usize, base: &str, share: Option<(&str, f64)>) -> Result<Rotary> {
        self.refuse(&["rope_scaling"], &Value::Null)?;
        let rope = &self.value["rope_parameters"];
        if let Some(kind) = rope["rope_type"].as_str().filter(|kind| *kind != "default") {
            return Err(self.wrong(format!("positions scaled by {kind} are not read")));
        }
        let base = self.number(base)?.or(rope["rope_theta"].as_f64()).unwrap_or(10_000.0);
        let dim = match share {
            Some((key, usual)) => {
                let share = self.number(key)?.or(rope["partial_rotary_factor"].as_f64()).unwrap_or(usual);
                (head_dim as f64 * share) as usize
            }
            None => head_dim,
        };
        Ok(Rotary { base, pairing: Pairing::Halves, dim })
    }
}

/// The name of an activation function.
pub(in crate::lm) fn act_name(act: Act) -> &'static str {
    match act {
        Act::Silu => "silu",
        Act::Gelu => "gelu",
        Act::GeluTanh => "gelu_new",
    }
}

impl Config {
    /// The configuration in a `config.json` as Hugging Face writes it, of a `llama`, `gpt2` or `gpt_neox`.
    ///
    /// # Errors
    /// As [`Config::from_gguf`].
    pub fn from_json(path: &Path) -> Result<Self> {
        let json = Json::open(path)?;
        let config = match json.text("model_type")?.unwrap_or_default() {
            "llama" => Self::from_llama(&json)?,
            "gpt2" => Self::from_gpt2(&json)?,
            "gpt_neox" => Self::from_neox(&json)?,
            family => {
                let expected = "\"llama\", \"gpt2\" or \"gpt_neox\"";
                return Err(json.wrong(format!("this is a model of the family {family:?}, expected {expected}")));
            }
        };
        config.check().map_err(|what| json.wrong(what))
    }

    fn from_llama(json: &Json<'_>) -> Result<Self> {
        let (dim, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
        let epsilon = json.number("rms_norm_eps")?.ok_or_else(|| json.wrong("there is no rms_norm_eps"))?;
        let head_dim = match json.optional("head_dim")? {
            None => whole(json, dim, heads)?,
            Some(head_dim) => head_dim,
        };
        Ok(Self {
            layers: json.size("num_hidden_layers")?,
            dim,
            hidden: json.size("intermediate_size")?,
            heads,
            kv_heads: json.optional("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            vocabulary: json.size("vocab_size")?,
            context: json.optional("max_position_embeddings")?.unwrap_or(2048),
            norm: Norm::Rms,
            epsilon: epsilon as f32,
            positions: Positions::Rotary(json.rotary(head_dim, "rope_theta", None)?),
            parallel: false,
            mlp: Mlp::Gated(json.act("hidden_act", "silu")?),
            attention_bias: json.flag("attention_bias", false)?,
            mlp_bias: json.flag("mlp_bias", false)?,
            tied: json.flag("tie_word_embeddings", false)?,
        })
    }

    fn from_gpt2(json: &Json<'_>) -> Result<Self> {
        json.refuse(&["scale_attn_weights"], &json!(true))?;
        json.refuse(&["scale_attn_by_inverse_layer_idx", "add_cross_attention"], &json!(false))?;
        let (dim, heads) = (json.size("n_embd")?, json.size("n_head")?);
        Ok(Self {
            hidden: json.optional("n_inner")?.unwrap_or(dim.saturating_mul(4)),
            head_dim: whole(json, dim, heads)?,
            epsilon: json.number("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
            mlp: Mlp::Plain(json.act("activation_function", "gelu_new")?),
            tied: json.flag("tie_word_embeddings", true)?,
            ..Self::gpt2(json.size("n_layer")?, dim, heads, json.size("vocab_size")?, json.size("n_positions")?)
        })
    }

    fn from_neox(json: &Json<'_>) -> Result<Self> {
        let (dim, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
        let (layers, vocabulary) = (json.size("num_hidden_layers")?, json.size("vocab_size")?);
        let head_dim = whole(json, dim, heads)?;
        Ok(Self {
            hidden: json.optional("intermediate_size")?.unwrap_or(dim.saturating_mul(4)),
            head_dim,
            epsilon: json.number("layer_norm_eps")?.unwrap_or(1e-5) as f32,
            positions: Positions::Rotary(json.rotary(head_dim, "rotary_emb_base", Some(("rotary_pct", 0.25)))?),
            parallel: json.flag("use_parallel_residual", true)?,
            mlp: Mlp::Plain(json.act("hidden_act", "gelu")?),
            attention_bias: json.flag("attention_bias", true)?,
            tied: json.flag("tie_word_embeddings", false)?,
            ..Self::gpt2(layers, dim, heads, vocabulary, json.optional("max_position_embeddings")?.unwrap_or(2048))
        })
    }

    /// What a `config.json` of Hugging Face says of this model, whose numbers are of type `dtype`.
    pub(in crate::lm) fn to_json(&self, family: Family, dtype: &str) -> Value {
        let (act, epsilon) = (act_name(self.mlp.act()), decimal(self.epsilon));
        let mut json = match family {
            Family::Gpt2 => json!({
                "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": self.layers, "n_embd": self.dim,
                "n_inner": self.hidden, "n_head": self.heads, "n_positions": self.context, "n_ctx": self.context,
                "layer_norm_epsilon": epsilon, "activation_function": act,
            }),
            Family::Neox => json!({
                "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "layer_norm_eps": epsilon,
                "use_parallel_residual": self.parallel,
            }),
            _ => json!({
                "model_type": "llama", "architectures": ["LlamaForCausalLM"], "rms_norm_eps": epsilon,
                "num_key_value_heads": self.kv_heads, "head_dim": self.head_dim, "mlp_bias": self.mlp_bias,
            }),
        };
        let mut put = |key: &str, value: Value| drop(json.as_object_mut().map(|json| json.insert(key.into(), value)));
        if family != Family::Gpt2 {
            put("num_hidden_layers", json!(self.layers));
            put("hidden_size", json!(self.dim));
            put("intermediate_size", json!(self.hidden));
            put("num_attention_heads", json!(self.heads));
            put("max_position_embeddings", json!(self.context));
            put("hidden_act", json!(act));
            put("attention_bias", json!(self.attention_bias));
        }
        if let Some(rotary) = self.rotary() {
            // The keys of older readers and of newer ones.
            let share = share(rotary.dim, self.head_dim);
            let base = if family == Family::Neox { "rotary_emb_base" } else { "rope_theta" };
            put(base, json!(rotary.base));
            let mut rope = json!({"rope_type": "default", "rope_theta": rotary.base});
            if family == Family::Neox {
                put("rotary_pct", json!(share));
                rope["partial_rotary_factor"] = json!(share);
            }
            put("rope_parameters", rope);
        }
        put("vocab_size", json!(self.vocabulary));
        put("tie_word_embeddings", json!(self.tied));
        put("torch_dtype", json!(dtype));
        json
    }
}

/// A number as people write it: `1e-5`, not the nearest `f64` of the nearest `f32`.
pub(in crate::lm) fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| x.into())
}

/// The share of a head that is turned, of which readers take the whole part after multiplying.
fn share(turned: usize, head_dim: usize) -> f64 {
    let share = turned as f64 / head_dim as f64;
    if ((head_dim as f64 * share) as usize) < turned { share.next_up() } else { share }
}

/// The width of a head.
fn whole(json: &Json<'_>, dim: usize, heads: usize) -> Result<usize> {
    if heads == 0 || !dim.is_multiple_of(heads) {
        return Err(json.wrong(format!("a width of {dim} does not divide into {heads} heads")));
    }
    Ok(dim / heads)
}
