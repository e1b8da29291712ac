//! Checkpoints that other libraries open, and theirs.
//!
//! | layout    | files | tensors |
//! |-----------|-------|---------|
//! | SAELens 6 | `cfg.json`, `sae_weights.safetensors` | `W_enc [d, n]`, `W_dec [n, d]`, `b_enc`, `b_dec`; `jumprelu`: `threshold [n]`; `gated`: `b_gate`, `b_mag`, `r_mag`, no `b_enc`; `switch`, which SAELens does not know: `router.weight [experts, d]`, `router.bias [d]` |
//! | sparsify  | `cfg.json`, `sae.safetensors`         | `encoder.weight [n, d]`, `encoder.bias`, `W_dec [n, d]`, `b_dec` |
//!
//! of `n` latents: these two are written and read. Read only: SAELens before 6, dictionary_learning (`dictionary`), Gemma Scope 1
//! and 2 (`gemma`), Llama Scope (`llama`), and OpenAI's (`openai`); [`Sae::load`] tells them apart by their files.
//!
//! No code of a file runs, and no more memory is taken than the file justifies: see [`crate::io::torch`] and [`crate::io::npz`].
//!
//! [`Gate::Strongest`] is SAELens' `topk`; [`Gate::Above`] its `jumprelu`, or `standard` where all that is positive passes. They
//! have no place in sparsify's layout, and neither have latents with values of their [own](super::Own).
//!
//! Both files are written aside before the first is renamed, so a full disk leaves the old ones. A file system renames one
//! file at a time, weights first: a crash between the two, or a look at that moment, finds new weights beside an old
//! `cfg.json`. Each file therefore bears the same mark, a hash of both (`metadata.latens_pair`, and `latens` in the
//! metadata of the weights), and [`Sae::load`] refuses weights whose mark `cfg.json` does not bear. Weights without a mark,
//! as other libraries write them, are taken as they are.
mod dictionary;
mod gemma;
mod llama;
mod openai;
mod origin;
mod plain;
mod saelens;
mod settings;
mod sparsify;

use super::{Gate, Sae};
use crate::Device;
use crate::io::named::Incoming;
use crate::io::{self, Error, Result};
use plain::Plain;
use settings::{CONFIG, PAIR, Settings};
use std::{fs, path::Path};

/// Weights of all layouts, those first that are read where there are several.
const ALL: [&str; 7] = [
    saelens::WEIGHTS,
    sparsify::WEIGHTS,
    "ae.pt",
    "checkpoints/final.safetensors",
    "final.safetensors",
    "params.npz",
    "params.safetensors",
];

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SAELens, version 6.
    SaeLens,
    /// EleutherAI's sparsify.
    Sparsify,
}

impl Format {
    fn weights(self) -> &'static str {
        match self {
            Format::SaeLens => saelens::WEIGHTS,
            Format::Sparsify => sparsify::WEIGHTS,
        }
    }

    /// Refuse a folder that holds a checkpoint in another layout: of two, one would not be read, and both have a `cfg.json`.
    ///
    /// # Errors
    /// [`Error::Content`] naming what is there.
    pub fn check(self, folder: &Path) -> Result<()> {
        match ALL.iter().find(|other| **other != self.weights() && folder.join(other).exists()) {
            Some(other) => Err(Error::content(folder, format!("holds {other}, a checkpoint in another layout"))),
            None => Ok(()),
        }
    }
}

/// Where the activations came from; SAELens keeps it beside the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Origin {
    /// The language model.
    pub model: String,
    /// The place in it, in TransformerLens' words: `blocks.15.hook_resid_post`.
    pub hook: String,
    /// The place that a transcoder predicts, alike.
    pub predicted: String,
    /// Tokens per context; 0 if it is not known.
    pub context: usize,
    /// Whether each begins with the tokenizer's token for the beginning of a text. Of no known contexts, nothing is said of it.
    pub begin: bool,
}

impl Sae {
    /// Write a checkpoint into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::System`] if the disk refuses, [`Error::Setting`] if the layout has no place for this gate, and [`Error::Content`] if the folder
    /// holds a checkpoint in another layout. Nothing has changed there then.
    pub fn save(&self, folder: &Path, format: Format, origin: &Origin) -> Result<()> {
        let (mut config, mut weights) = match format {
            Format::SaeLens => (saelens::config(self, origin)?, saelens::weights(self)?),
            Format::Sparsify => (sparsify::config(self, origin)?, sparsify::weights(self)?),
        };
        format.check(folder)?;
        fs::create_dir_all(folder).map_err(Error::system(folder, "make folder"))?;
        let pair = io::sha256(&[&weights.bytes()?, config.to_string().as_bytes()]);
        config["metadata"][PAIR] = pair.as_str().into();
        weights.annotate(pair);
        let config = format!("{config:#}\n");
        io::replace_all(
            folder,
            &[(Path::new(format.weights()), &weights.bytes()?), (Path::new(CONFIG), config.as_bytes())],
        )
    }

    /// Read a checkpoint, told by its files:
    ///
    /// | in the folder `path` | whose | kinds |
    /// |---|---|---|
    /// | `cfg.json`, `sae_weights.safetensors` | SAELens | `standard`, `topk`, `jumprelu`, `gated`, `batchtopk`, `matryoshka_batchtopk`, and transcoders by a rectifier or thresholds, with and without a skip; before version 6 ReLU and TopK |
    /// | `cfg.json`, `sae.safetensors` | sparsify | TopK, GroupMax, transcoders |
    /// | `config.json`, `ae.pt` | dictionary_learning | its six classes for one place in a model |
    /// | `hyperparams.json`, `checkpoints/final.safetensors` or `final.safetensors` | Llama Scope | JumpReLU |
    /// | `params.npz` or `params.safetensors` | Gemma Scope 1 or 2 | JumpReLU |
    /// | a file instead of a folder, `*.pt` | OpenAI | TopK of standardised rows, ReLU |
    ///
    /// No code of a file runs, and no more memory is taken than a few times the file. Values are those of the library: where it
    /// multiplies them by lengths of the decoder's rows, rows have length 1 here. Crosscoders are not read, nor transcoders between places of different widths.
    ///
    /// # Errors
    /// [`Error::System`] for a file that cannot be read, [`Error::Content`] for one that is cut short, lies about its
    /// sizes, holds a tensor that has no place here or a number that is none, or misses one, and for files of two checkpoints.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let plain = plain(path)?;
        match plain.not_finite() {
            Some((name, x)) => Err(Error::content(path, format!("{name} holds {x}"))),
            None => plain.on(device),
        }
    }

    /// [`load`](Self::load) what is to be used at `site` (with the feature `lm`).
    ///
    /// # Errors
    /// As there; [`Error::Content`] if the checkpoint says, in TransformerLens' words, that it was trained at another place.
    #[cfg(feature = "lm")]
    pub fn load_at(path: &Path, site: crate::lm::Site, device: &Device) -> Result<Self> {
        use super::places::hook_name;
        use crate::lm::Point;
        let (hook, name) = (Origin::of(path)?.hook, hook_name(site).unwrap_or_default());
        // What comes before a layer is what there is after the one before it.
        let before = format!("blocks.{}.hook_resid_pre", site.layer + 1);
        let same = hook == name || site.point == Point::Residual && hook == before;
        if hook.starts_with("blocks.") && !same {
            return Err(Error::content(path, format!("was trained at {}, not at {name}", io::short(&hook))));
        }
        Self::load(path, device)
    }
}

/// What a checkpoint of whatever layout holds.
fn plain(path: &Path) -> Result<Plain> {
    let there = |name: &str| Some(path.join(name)).filter(|file| file.is_file());
    let beside = |name: &str| Settings::open(&path.join(name));
    if path.is_file() {
        return openai::load(Incoming::open_torch(path)?);
    }
    if let Some(file) = there(saelens::WEIGHTS) {
        let config = beside(CONFIG)?;
        return saelens::load(&config, config.beside(&file)?);
    }
    if let Some(file) = there(sparsify::WEIGHTS) {
        let config = beside(CONFIG)?;
        return sparsify::load(&config, config.beside(&file)?);
    }
    if let Some(file) = there("ae.pt") {
        return dictionary::load(&beside("config.json")?, Incoming::open_torch(&file)?);
    }
    if let Some(file) = there("checkpoints/final.safetensors").or_else(|| there("final.safetensors")) {
        return llama::load(&beside(llama::CONFIG)?, Incoming::open(&file)?);
    }
    if let Some(file) = there("params.npz") {
        return gemma::load(Incoming::open_npz(&file)?);
    }
    if let Some(file) = there("params.safetensors") {
        return gemma::load(Incoming::open(&file)?);
    }
    beside(CONFIG)?;
    Err(Error::content(path, format!("holds none of {}", ALL.join(", "))))
}

/// The tensor `threshold` of all latents, all of them numbers.
fn thresholds(weights: &mut Incoming, n: usize) -> Result<Vec<f32>> {
    let all = weights.take("threshold", &[n])?;
    match all.iter().find(|threshold| !threshold.is_finite()) {
        Some(threshold) => Err(weights.wrong(format!("tensor threshold holds {threshold}"))),
        None => Ok(all),
    }
}
