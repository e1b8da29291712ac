//! Where the parts of a decoder lie in files: their names there, and how rows and columns are told apart.
use super::{Config, Norm, Part};
use crate::{Float, Pairing};

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A Llama, by llama.cpp.
    Gguf,
    /// A Llama, by Hugging Face, as the others.
    Llama,
    Gpt2,
    Neox,
}

/// What files call the weights: without `.weight` or `.bias`. Those of a layer come after its prefix and number.
struct Names {
    embedding: &'static str,
    positions: &'static str,
    norm: &'static str,
    output: &'static str,
    layer: &'static str,
    attention_norm: &'static str,
    attention_input: &'static [&'static str],
    attention_output: &'static str,
    mlp_norm: &'static str,
    mlp_input: &'static [&'static str],
    mlp_output: &'static str,
    /// Ends of names that say nothing that is not known.
    ignored: &'static [&'static str],
}

static GGUF: Names = Names {
    embedding: "token_embd",
    positions: "position_embd",
    norm: "output_norm",
    output: "output",
    layer: "blk.",
    attention_norm: ".attn_norm",
    attention_input: &[".attn_q", ".attn_k", ".attn_v"],
    attention_output: ".attn_output",
    mlp_norm: ".ffn_norm",
    mlp_input: &[".ffn_gate", ".ffn_up"],
    mlp_output: ".ffn_down",
    ignored: &[],
};

static LLAMA: Names = Names {
    embedding: "model.embed_tokens",
    positions: "model.embed_positions",
    norm: "model.norm",
    output: "lm_head",
    layer: "model.layers.",
    attention_norm: ".input_layernorm",
    attention_input: &[".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"],
    attention_output: ".self_attn.o_proj",
    mlp_norm: ".post_attention_layernorm",
    mlp_input: &[".mlp.gate_proj", ".mlp.up_proj"],
    mlp_output: ".mlp.down_proj",
    ignored: &[".rotary_emb.inv_freq"],
};

static GPT2: Names = Names {
    embedding: "transformer.wte",
    positions: "transformer.wpe",
    norm: "transformer.ln_f",
    output: "lm_head",
    layer: "transformer.h.",
    attention_norm: ".ln_1",
    attention_input: &[".attn.c_attn"],
    attention_output: ".attn.c_proj",
    mlp_norm: ".ln_2",
    mlp_input: &[".mlp.c_fc"],
    mlp_output: ".mlp.c_proj",
    ignored: &[".attn.bias", ".attn.masked_bias"],
};

static NEOX: Names = Names {
    embedding: "gpt_neox.embed_in",
    positions: "gpt_neox.embed_positions",
    norm: "gpt_neox.final_layer_norm",
    output: "embed_out",
    layer: "gpt_neox.layers.",
    attention_norm: ".input_layernorm",
    attention_input: &[".attention.query_key_value"],
    attention_output: ".attention.dense",
    mlp_norm: ".post_attention_layernorm",
    mlp_input: &[".mlp.dense_h_to_4h"],
    mlp_output: ".mlp.dense_4h_to_h",
    ignored: &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
};

/// How a part lies in a file, where it is other than here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Row by row.
    Rows,
    /// Column by column: GPT-2's are `[in, out]`.
    Columns,
    /// Head by head, each with its query, key and value: NeoX.
    Heads,
}

/// The layout of a file.
pub(super) struct Layout<'a> {
    pub family: Family,
    config: &'a Config,
    /// Whether GPT-2's names come without their first word, as in the first checkpoints.
    bare: bool,
}

/// A tensor of a file that holds rows of a part.
pub(super) struct Piece {
    pub name: String,
    /// Its sizes in the file.
    pub dims: Vec<usize>,
}

impl Family {
    /// The family of Hugging Face that a model is of.
    pub(super) fn of(config: &Config) -> Result<Self, String> {
        let Config { norm, parallel, mlp, attention_bias, mlp_bias, heads, kv_heads, head_dim, dim, .. } = *config;
        let (gated, square) = (matches!(mlp, super::Mlp::Gated(_)), heads == kv_heads && heads * head_dim == dim);
        let turned = config.rotary().map(|rotary| rotary.dim);
        match (norm, turned) {
            (Norm::Rms, Some(turned)) if gated && !parallel && turned == head_dim => Ok(Self::Llama),
            (Norm::Layer, None) if !gated && !parallel && square && attention_bias && mlp_bias => Ok(Self::Gpt2),
            (Norm::Layer, Some(_)) if !gated && square && mlp_bias => Ok(Self::Neox),
            _ => Err("no family of Llama, GPT-2 and GPT-NeoX has such parts together".into()),
        }
    }

    fn names(self) -> &'static Names {
        match self {
            Self::Gguf => &GGUF,
            Self::Llama => &LLAMA,
            Self::Gpt2 => &GPT2,
            Self::Neox => &NEOX,
        }
    }
}

impl<'a> Layout<'a> {
    pub(super) fn new(family: Family, config: &'a Config, bare: bool) -> Self {
        Self { family, config, bare }
    }

    /// The names of a part, with their rows and their sizes in the file.
    pub(super) fn pieces(&self, part: Part) -> Vec<Piece> {
        let (names, config) = (self.family.names(), self.config);
        let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let [rows, columns] = config.dims(part);
        // The rows of a bias are those of the product it is added to.
        let (rows, columns) = if part.is_vector() { (columns, None) } else { (rows, Some(columns)) };
        let one = |stem: &'static str| (vec![stem], vec![rows]);
        let split = |stems: &'static [&'static str], parts: Vec<usize>| match stems.len() {
            1 => (stems.to_vec(), vec![rows]),
            _ => (stems.to_vec(), parts),
        };
        let (stems, parts) = match part {
            Part::Embedding => one(names.embedding),
            Part::Positions => one(names.positions),
            Part::Norm | Part::NormBias => one(names.norm),
            Part::Output => one(names.output),
            Part::AttentionNorm(_) | Part::AttentionNormBias(_) => one(names.attention_norm),
            Part::AttentionInput(_) | Part::AttentionInputBias(_) => {
                split(names.attention_input, vec![query, key, key])
            }
            Part::AttentionOutput(_) | Part::AttentionOutputBias(_) => one(names.attention_output),
            Part::MlpNorm(_) | Part::MlpNormBias(_) => one(names.mlp_norm),
            Part::MlpInput(_) | Part::MlpInputBias(_) => split(names.mlp_input, vec![config.hidden; 2]),
            Part::MlpOutput(_) | Part::MlpOutputBias(_) => one(names.mlp_output),
        };
        let before = part.layer().map(|layer| format!("{}{layer}", names.layer)).unwrap_or_default();
        let end = if part.is_bias() { "bias" } else { "weight" };
        let pieces = stems.into_iter().zip(parts).map(|(stem, rows)| {
            let name = self.bared(format!("{before}{stem}.{end}"));
            let mut dims: Vec<usize> = std::iter::once(rows).chain(columns).collect();
            if self.form(part) == Form::Columns {
                dims.reverse();
            }
            Piece { name, dims }
        });
        pieces.collect()
    }

    fn bared(&self, name: String) -> String {
        match name.strip_prefix("transformer.") {
            Some(rest) if self.bare => rest.to_owned(),
            _ => name,
        }
    }

    /// Whether a tensor of this name says nothing that is not known.
    pub(super) fn ignores(&self, name: &str) -> bool {
        self.family.names().ignored.iter().any(|end| name.ends_with(end))
    }

    fn form(&self, part: Part) -> Form {
        let linear = !part.is_vector() && part.layer().is_some();
        match (self.family, part) {
            (Family::Gpt2, _) if linear => Form::Columns,
            (Family::Neox, Part::AttentionInput(_) | Part::AttentionInputBias(_)) => Form::Heads,
            _ => Form::Rows,
        }
    }

    /// Numbers of a part as a file has them, as they are here.
    pub(super) fn read<E: Float>(&self, part: Part, values: Vec<E>) -> Vec<E> {
        let [rows, columns] = self.size(part);
        match self.form(part) {
            Form::Rows => values,
            Form::Columns => turned(&values, columns, rows),
            Form::Heads => {
                let dim = self.config.head_dim;
                reordered(&values, columns, |row| {
                    let (which, head, at) = (row / (rows / 3), row / dim % self.config.heads, row % dim);
                    (head * 3 + which) * dim + at
                })
            }
        }
    }

    /// Numbers of a part as they are here, as a file has them. Hugging Face turns halves of a head: a model that turns
    /// neighbours is written with its rows in that order.
    pub(super) fn written<E: Float>(&self, part: Part, values: Vec<E>) -> Vec<E> {
        let Config { heads, kv_heads, head_dim: dim, .. } = *self.config;
        let [rows, columns] = self.size(part);
        let neighbours = self.config.rotary().filter(|rotary| rotary.pairing == Pairing::Interleaved);
        let values = match (part, neighbours) {
            (Part::AttentionInput(_) | Part::AttentionInputBias(_), Some(rotary)) => {
                reordered(&values, columns, |row| match (row / dim < heads + kv_heads, row % dim) {
                    (true, at) if at < rotary.dim => {
                        let half = rotary.dim / 2;
                        row - at + at % half * 2 + at / half
                    }
                    _ => row,
                })
            }
            _ => values,
        };
        match self.form(part) {
            Form::Rows => values,
            Form::Columns => turned(&values, rows, columns),
            Form::Heads => reordered(&values, columns, |row| {
                let (head, which, at) = (row / (3 * dim), row / dim % 3, row % dim);
                which * (rows / 3) + head * dim + at
            }),
        }
    }

    /// Rows and columns, where a vector is a column.
    fn size(&self, part: Part) -> [usize; 2] {
        let [rows, columns] = self.config.dims(part);
        if part.is_vector() { [columns, rows] } else { [rows, columns] }
    }
}

/// Of `[rows, columns]`, `[columns, rows]`.
fn turned<E: Float>(values: &[E], rows: usize, columns: usize) -> Vec<E> {
    let mut all = Vec::with_capacity(values.len());
    (0..columns).for_each(|column| all.extend((0..rows).map(|row| values[row * columns + column])));
    all
}

/// Row after row, each the one that `from` says.
fn reordered<E: Float>(values: &[E], columns: usize, from: impl Fn(usize) -> usize) -> Vec<E> {
    let mut all = Vec::with_capacity(values.len());
    (0..values.len() / columns.max(1)).for_each(|row| all.extend_from_slice(&values[from(row) * columns..][..columns]));
    all
}
