use super::Part;
use crate::io::Result;
use crate::lm::config::{Json, decimal};
use serde_json::{Value, json};
use std::path::Path;

/// The sizes and constants of a Mamba.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers.
    pub layers: usize,
    /// Width of the residual.
    pub dim: usize,
    /// Channels of a mixer.
    pub inner: usize,
    /// States of a channel.
    pub states: usize,
    /// Rows that the convolution reads, 2 to 4.
    pub taps: usize,
    /// Width from which the steps of the channels are made.
    pub rank: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// What is added to mean squares.
    pub epsilon: f32,
    /// Whether the convolution has a bias.
    pub conv_bias: bool,
    /// Whether the products into and out of a mixer have biases.
    pub bias: bool,
    /// Whether tokens are written by the table they are read by.
    pub tied: bool,
}

impl Config {
    /// As in the paper: twice the width inside, 16 states, 4 taps, steps of a sixteenth of the width, one table.
    pub fn new(layers: usize, dim: usize, vocabulary: usize) -> Self {
        Self {
            layers,
            dim,
            inner: dim.saturating_mul(2),
            states: 16,
            taps: 4,
            rank: dim.div_ceil(16),
            vocabulary,
            epsilon: 1e-5,
            conv_bias: true,
            bias: false,
            tied: true,
        }
    }

    /// The configuration in a `config.json` as Hugging Face writes it, of a `mamba`.
    ///
    /// # Errors
    /// [`Error::Content`](crate::io::Error::Content) if it is of another family, or its numbers make no sense.
    pub fn from_json(path: &Path) -> Result<Self> {
        let json = Json::open(path)?;
        let family = json.text("model_type")?.unwrap_or_default();
        if family != "mamba" {
            return Err(json.wrong(format!("this is a model of the family {family:?}, expected \"mamba\"")));
        }
        if json.act("hidden_act", "silu")? != crate::Act::Silu {
            return Err(json.wrong("hidden_act is another, expected silu"));
        }
        let dim = json.size("hidden_size")?;
        let expand = json.number("expand")?.unwrap_or(2.0);
        let rank = match json.text("time_step_rank") {
            Ok(None | Some("auto")) => dim.div_ceil(16),
            _ => json.size("time_step_rank")?,
        };
        let config = Self {
            layers: json.size("num_hidden_layers")?,
            dim,
            inner: json.optional("intermediate_size")?.unwrap_or((expand * dim as f64) as usize),
            states: json.optional("state_size")?.unwrap_or(16),
            taps: json.optional("conv_kernel")?.unwrap_or(4),
            rank,
            vocabulary: json.size("vocab_size")?,
            epsilon: json.number("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
            conv_bias: json.flag("use_conv_bias", true)?,
            bias: json.flag("use_bias", false)?,
            tied: json.flag("tie_word_embeddings", true)?,
        };
        config.check().map_err(|what| json.wrong(what))
    }

    /// What a `config.json` of Hugging Face says of this model, whose numbers are of type `dtype`.
    pub(super) fn to_json(&self, dtype: &str) -> Value {
        json!({
            "model_type": "mamba", "architectures": ["MambaForCausalLM"], "num_hidden_layers": self.layers,
            "n_layer": self.layers, "hidden_size": self.dim, "d_model": self.dim, "intermediate_size": self.inner,
            "d_inner": self.inner, "expand": self.inner as f64 / self.dim as f64, "state_size": self.states,
            "conv_kernel": self.taps, "time_step_rank": self.rank, "vocab_size": self.vocabulary,
            "layer_norm_epsilon": decimal(self.epsilon), "use_conv_bias": self.conv_bias, "use_bias": self.bias,
            "hidden_act": "silu", "tie_word_embeddings": self.tied, "torch_dtype": dtype,
        })
    }

    /// This configuration, if its numbers make sense together.
    pub(super) fn check(self) -> std::result::Result<Self, String> {
        const MOST: usize = 1 << 24; // so that products of two fit easily
        let sizes = [
            ("layers", self.layers, 1, MOST),
            ("dim", self.dim, 1, MOST),
            ("inner", self.inner, 1, MOST),
            ("states", self.states, 1, 256),
            ("taps", self.taps, 2, 4),
            ("rank", self.rank, 1, MOST),
            ("vocabulary", self.vocabulary, 1, MOST),
        ];
        if let Some((name, size, least, most)) =
            sizes.into_iter().find(|&(_, size, least, most)| !(least..=most).contains(&size))
        {
            return Err(format!("{name} is {size}, expected {least} to {most}"));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(format!("epsilon {} makes no sense", self.epsilon));
        }
        Ok(self)
    }

    /// All parts of the weights, in the order of their numbers.
    pub fn parts(&self) -> Vec<Part> {
        let top = [Part::Embedding, Part::Norm, Part::Output];
        let all = top.into_iter().chain((0..self.layers).flat_map(Part::of_layer));
        all.filter(|&part| self.has(part)).collect()
    }

    /// How many numbers a model has.
    pub fn count(&self) -> usize {
        let size = |part| self.dims(part).into_iter().fold(1, usize::saturating_mul);
        let sum = |parts: &[Part]| parts.iter().filter(|&&part| self.has(part)).map(|&part| size(part)).sum::<usize>();
        let top = [Part::Embedding, Part::Norm, Part::Output];
        sum(&Part::of_layer(0)).saturating_mul(self.layers).saturating_add(sum(&top))
    }

    pub(super) fn has(&self, part: Part) -> bool {
        match part {
            Part::Output => !self.tied,
            Part::MixerInputBias(_) | Part::MixerOutputBias(_) => self.bias,
            Part::TapsBias(_) => self.conv_bias,
            _ => true,
        }
    }

    /// Rows and columns of a part; a vector is one row.
    pub fn dims(&self, part: Part) -> [usize; 2] {
        let Self { dim, inner, states, taps, rank, vocabulary, .. } = *self;
        match part {
            Part::Embedding | Part::Output => [vocabulary, dim],
            Part::Norm | Part::MixerNorm(_) | Part::MixerOutputBias(_) => [1, dim],
            Part::MixerInput(_) => [2 * inner, dim],
            Part::MixerInputBias(_) => [1, 2 * inner],
            Part::Taps(_) => [inner, taps],
            Part::Select(_) => [rank + 2 * states, inner],
            Part::Step(_) => [inner, rank],
            Part::Decay(_) => [inner, states],
            Part::TapsBias(_) | Part::StepBias(_) | Part::Skip(_) => [1, inner],
            Part::MixerOutput(_) => [dim, inner],
        }
    }
}
