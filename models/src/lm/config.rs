//! What a decoder is made of.
mod gguf;
mod json;

use super::Part;
use crate::io::{Error, Result};
use crate::tape::Rotary;
use crate::{Act, Pairing};
pub(super) use json::{Json, act_name, decimal};

/// The sizes and constants of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers.
    pub layers: usize,
    /// Width of the residual.
    pub dim: usize,
    /// Width inside the feed-forward half of a layer.
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
    /// By what rows are brought to unit size.
    pub norm: Norm,
    /// What is added to mean squares or variances.
    pub epsilon: f32,
    /// How a token knows its place.
    pub positions: Positions,
    /// Whether both halves of a layer read the same residual; else the second reads what the first has added to.
    pub parallel: bool,
    /// The second half of a layer.
    pub mlp: Mlp,
    /// Whether queries, keys, values and what the heads found have biases.
    pub attention_bias: bool,
    /// Whether the products of the feed-forward half have biases.
    pub mlp_bias: bool,
    /// Whether tokens are written by the table they are read by.
    pub tied: bool,
}

/// By what rows are brought to unit size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Their root mean square.
    Rms,
    /// Their mean and variance; there is a bias.
    Layer,
}

/// How a token knows its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positions {
    /// By a row for each place, added to its embedding.
    Learned,
    /// By a turn of queries and keys.
    Rotary(Rotary),
}

/// The feed-forward half of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// `down(act(gate(x)) * up(x))`.
    Gated(Act),
    /// `down(act(up(x)))`.
    Plain(Act),
}

impl Mlp {
    /// Its activation function.
    pub fn act(self) -> Act {
        let (Self::Gated(act) | Self::Plain(act)) = self;
        act
    }

    /// Products that read the residual.
    pub(super) fn inputs(self) -> usize {
        if matches!(self, Self::Gated(_)) { 2 } else { 1 }
    }
}

impl Config {
    /// A Llama: RMS norms, turned halves of heads, gated SiLU of 8/3 of the width in steps of 64, no biases, one table.
    pub fn llama(layers: usize, dim: usize, heads: usize, vocabulary: usize, context: usize) -> Self {
        let head_dim = dim / heads.max(1);
        Self {
            hidden: (dim.saturating_mul(8) / 3).next_multiple_of(64),
            norm: Norm::Rms,
            positions: Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Halves, dim: head_dim }),
            mlp: Mlp::Gated(Act::Silu),
            attention_bias: false,
            mlp_bias: false,
            ..Self::gpt2(layers, dim, heads, vocabulary, context)
        }
    }

    /// A GPT-2: layer norms, learned positions, GELU of four times the width, biases, one table.
    pub fn gpt2(layers: usize, dim: usize, heads: usize, vocabulary: usize, context: usize) -> Self {
        Self {
            layers,
            dim,
            hidden: dim.saturating_mul(4),
            heads,
            kv_heads: heads,
            head_dim: dim / heads.max(1),
            vocabulary,
            context,
            norm: Norm::Layer,
            epsilon: 1e-5,
            positions: Positions::Learned,
            parallel: false,
            mlp: Mlp::Plain(Act::GeluTanh),
            attention_bias: true,
            mlp_bias: true,
            tied: true,
        }
    }

    /// A GPT-NeoX, as Pythia is: GPT-2 with a turned quarter of each head, halves in parallel, exact GELU and two tables.
    pub fn neox(layers: usize, dim: usize, heads: usize, vocabulary: usize, context: usize) -> Self {
        let turned = dim / heads.max(1) / 4;
        Self {
            positions: Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Halves, dim: turned }),
            parallel: true,
            mlp: Mlp::Plain(Act::Gelu),
            tied: false,
            ..Self::gpt2(layers, dim, heads, vocabulary, context)
        }
    }

    /// The turn of queries and keys, if they are turned.
    pub(super) fn rotary(&self) -> Option<Rotary> {
        match self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned => None,
        }
    }

    /// Rows of queries, keys and values together.
    pub(super) fn attention_rows(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Refuse a context that is longer than the model takes.
    pub(super) fn fits(&self, tokens: usize) -> Result<()> {
        if tokens <= self.context {
            return Ok(());
        }
        Err(Error::setting("context", format!("{tokens} tokens, but the model takes {}", self.context)))
    }

    /// All parts of the weights, in the order of their numbers.
    pub fn parts(&self) -> Vec<Part> {
        let top = [Part::Embedding, Part::Positions, Part::Norm, Part::NormBias, Part::Output];
        let all = top.into_iter().chain((0..self.layers).flat_map(Part::of_layer));
        all.filter(|&part| self.has(part)).collect()
    }

    /// How many numbers a model has.
    pub fn count(&self) -> usize {
        let top = [Part::Embedding, Part::Positions, Part::Norm, Part::NormBias, Part::Output];
        let size = |part| self.dims(part).into_iter().fold(1, usize::saturating_mul);
        let sum = |parts: &[Part]| parts.iter().filter(|&&part| self.has(part)).map(|&part| size(part)).sum::<usize>();
        sum(&Part::of_layer(0)).saturating_mul(self.layers).saturating_add(sum(&top))
    }

    /// Whether there is such a part in a layer, or outside of them.
    pub(super) fn has(&self, part: Part) -> bool {
        match part {
            Part::Positions => self.positions == Positions::Learned,
            Part::Output => !self.tied,
            Part::NormBias | Part::AttentionNormBias(_) | Part::MlpNormBias(_) => self.norm == Norm::Layer,
            Part::AttentionInputBias(_) | Part::AttentionOutputBias(_) => self.attention_bias,
            Part::MlpInputBias(_) | Part::MlpOutputBias(_) => self.mlp_bias,
            _ => true,
        }
    }

    /// Rows and columns of a part; a vector is one row.
    pub fn dims(&self, part: Part) -> [usize; 2] {
        let Self { dim, hidden, vocabulary, .. } = *self;
        let (attention, mlp) = (self.attention_rows(), self.mlp.inputs() * hidden);
        match part {
            Part::Embedding | Part::Output => [vocabulary, dim],
            Part::Positions => [self.context, dim],
            Part::AttentionInput(_) => [attention, dim],
            Part::AttentionInputBias(_) => [1, attention],
            Part::AttentionOutput(_) => [dim, self.heads * self.head_dim],
            Part::MlpInput(_) => [mlp, dim],
            Part::MlpInputBias(_) => [1, mlp],
            Part::MlpOutput(_) => [dim, hidden],
            _ => [1, dim],
        }
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
            ("heads x head_dim", self.heads.saturating_mul(self.head_dim)),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MOST).contains(size)) {
            return Err(format!("{name} is {size}, expected 1 to {MOST}"));
        }
        let Self { heads, kv_heads, head_dim, epsilon, .. } = self;
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!("{heads} heads of {head_dim} over {kv_heads} heads of keys: expected a multiple"));
        }
        if let Positions::Rotary(Rotary { base, dim, .. }) = self.positions {
            if !dim.is_multiple_of(2) || !(1..=head_dim).contains(&dim) {
                return Err(format!(
                    "{dim} of the {head_dim} entries of a head are turned: expected an even part of them"
                ));
            }
            if !(base.is_finite() && base > 0.0) {
                return Err(format!("the rope base {base} makes no sense"));
            }
        }
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(format!("epsilon {epsilon} makes no sense"));
        }
        Ok(self)
    }
}
