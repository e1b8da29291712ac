//! What the programs about steering share: their options, the model, autoencoders that are trained once and kept, progress.
mod saes;
mod text;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use latens::io::{self, Claim};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Contexts, Corpus, Feature, Sae, features_of};
use latens::{Device, Philox, Tensor, assets};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

pub use saes::autoencoders;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Options of every program.
#[derive(Args)]
pub struct Common {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M-Instruct, fetched once]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Latents of an autoencoder
    #[arg(long, default_value_t = 4608)]
    pub latents: usize,
    /// Latents active per token
    #[arg(long, default_value_t = 64)]
    pub active: usize,
    /// Tokens whose activations autoencoders are trained on
    #[arg(long, default_value_t = 1_000_000)]
    pub tokens: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    pub device: Option<String>,
    /// Folder of the autoencoders, which other programs may share
    #[arg(long, default_value = "steering")]
    pub saes: PathBuf,
    /// Folder for pages and vectors
    #[arg(long, default_value = "steering")]
    pub out: PathBuf,
    /// Write the figures to this file
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Common {
    /// The model, and a claim on the folder of the autoencoders.
    pub fn open(&self) -> Outcome<(LanguageModel, Claim)> {
        // Better known now than after hours.
        let parts = self.out.join("parts");
        fs::create_dir_all(&parts).map_err(|error| format!("--out {}: {error}", self.out.display()))?;
        let folder = self.json.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(format!("--json: there is no folder {}", folder.display()).into());
        }
        if self.active == 0 || self.active > self.latents {
            return Err(format!("--active: {} of {} latents", self.active, self.latents).into());
        }
        latens::keep_memory(1 << 29); // each step makes the same tensors
        let device = match self.device.as_deref() {
            Some("cpu") => Device::Host,
            Some(_) => Device::cuda(0)?,
            None => Device::cuda(0).unwrap_or(Device::Host),
        };
        let lm = LanguageModel::open(&assets::SMOLLM2.locate(self.model.as_deref())?, &device)?;
        Ok((lm, Claim::of(&self.saes)?))
    }

    /// What `measure` finds, with these settings of the program, or what it found before: a program that was interrupted goes on behind it.
    pub fn part<T: Serialize + DeserializeOwned>(
        &self,
        lm: &LanguageModel,
        name: &str,
        own: &Value,
        measure: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        /// To be counted up when other things are measured.
        const VERSION: u32 = 3;
        let settings = json!({
            "version": VERSION, "model": lm.model.sha256()?, "latents": self.latents, "active": self.active, "tokens": self.tokens,
            "seed": self.seed, "own": own,
        });
        let path = self.out.join("parts").join(format!("{name}.json"));
        let kept = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Part<T>>(&text).ok());
        if let Some(part) = kept.filter(|part| part.settings == settings) {
            println!("{name}: measured before ({})", path.display());
            return Ok(part.found);
        }
        let part = Part { settings, found: measure()? };
        io::replace(&path, format!("{}\n", serde_json::to_string(&part)?).as_bytes())?;
        Ok(part.found)
    }

    /// Write figures and a page.
    pub fn keep(&self, name: &str, figures: &Value, page: String) -> Outcome<()> {
        let path = self.out.join(name).with_extension("html");
        io::replace(&path, page.as_bytes())?;
        println!("page: {}", path.display());
        if let Some(path) = &self.json {
            io::replace(path, format!("{figures:#}\n").as_bytes())?;
        }
        Ok(())
    }
}

/// Some of what a program measures.
#[derive(Serialize, Deserialize)]
struct Part<T> {
    settings: Value,
    found: T,
}

/// Outcomes as text: 1 for each that is true, and 0.
pub mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(all: &[bool], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&all.iter().map(|&is| if is { '1' } else { '0' }).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<bool>, D::Error> {
        let digit = |digit| match digit {
            '0' => Ok(false),
            '1' => Ok(true),
            other => Err(D::Error::custom(format!("{other:?} is neither 0 nor 1"))),
        };
        String::deserialize(from)?.chars().map(digit).collect()
    }
}

pub fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>14} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

/// Put them in random order.
pub fn shuffle<T>(all: &mut [T], seed: u64) {
    let mut draw = Philox::new(seed);
    for at in (1..all.len()).rev() {
        all.swap(at, draw.below(at as u32 + 1) as usize);
    }
}

/// 1 for each that is true.
pub fn ones(of: impl IntoIterator<Item = bool>) -> Vec<f64> {
    of.into_iter().map(|is| if is { 1.0 } else { 0.0 }).collect()
}

/// Real texts to look at latents on.
pub struct Sample {
    contexts: Contexts,
    /// The activations of layers that were asked for.
    rows: BTreeMap<usize, Tensor<f32, 2>>,
}

impl Sample {
    /// As many as autoencoders that were trained on so much deserve.
    pub fn new(lm: &LanguageModel, common: &Common) -> Outcome<Self> {
        const CONTEXTS: usize = 160;
        const LENGTH: usize = 96;
        const LETTERS: usize = 16;
        let contexts = CONTEXTS.min(common.tokens / 1000).max(1);
        let documents = text::documents(contexts * LENGTH * LETTERS)?;
        let corpus = Corpus::of(lm, &documents, LENGTH, [contexts, 0], common.seed)?;
        Ok(Self { contexts: corpus.train, rows: BTreeMap::new() })
    }

    /// Latents with the words that they promote, and where they fire.
    pub fn look(&mut self, lm: &LanguageModel, sae: &Sae, layer: usize, latents: &[u32]) -> Outcome<Vec<Feature>> {
        if let Entry::Vacant(place) = self.rows.entry(layer) {
            let bar = progress("contexts", self.contexts.rows());
            let mut rows = Tensor::zeros([self.contexts.rows(), sae.d()], lm.model.device())?;
            let site = Site::residual(layer);
            self.contexts.activations(&lm.model, site, 0, &mut rows, |n| bar.inc(n as u64))?;
            bar.finish();
            place.insert(rows);
        }
        Ok(features_of(lm, sae, &self.contexts, self.rows[&layer].view(), latents)?)
    }
}
