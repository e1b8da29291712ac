//! What several commands ask for.
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Contexts, Corpus, Format};
use latens::{Device, assets, io};
use std::error::Error;
use std::path::{Path, PathBuf};

pub type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Model, text and device.
#[derive(Args)]
pub struct Reading {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M, fetched once]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Text file, or folder of .txt files [default: State of the Union speeches, fetched once]
    #[arg(long)]
    pub text: Option<PathBuf>,
    /// Tokens of a context
    #[arg(long, default_value_t = 128)]
    pub context: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    pub device: Option<String>,
}

/// A place in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Point {
    /// The residual after all that a layer adds
    Residual,
    /// What attention adds
    Attention,
    /// What the MLP adds
    Mlp,
}

impl Point {
    pub fn at(self, layer: usize) -> Site {
        match self {
            Point::Residual => Site::residual(layer),
            Point::Attention => Site::attention(layer),
            Point::Mlp => Site::mlp(layer),
        }
    }
}

/// Whose checkpoint files.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Layout {
    /// SAELens 6
    Saelens,
    /// EleutherAI's sparsify
    Sparsify,
}

impl Layout {
    pub fn format(self) -> Format {
        match self {
            Layout::Saelens => Format::SaeLens,
            Layout::Sparsify => Format::Sparsify,
        }
    }
}

pub fn device(asked: Option<&str>) -> latens::Result<Device> {
    match asked {
        Some("cpu") => Ok(Device::Host),
        Some(_) => Device::cuda(0),
        None => Ok(Device::cuda(0).unwrap_or(Device::Host)),
    }
}

/// The model, and what names it.
pub struct Opened {
    pub lm: LanguageModel,
    pub device: Device,
    pub model: PathBuf,
    pub text: PathBuf,
}

impl Reading {
    pub fn open(&self) -> Done<Opened> {
        let device = device(self.device.as_deref())?;
        let model = assets::SMOLLM2.locate(self.model.as_deref())?;
        let text = assets::SPEECHES.locate(self.text.as_deref())?;
        Ok(Opened { lm: LanguageModel::open(&model, &device)?, device, model, text })
    }

    /// So many tokens to train on, and contexts to judge by.
    pub fn corpus(&self, opened: &Opened, tokens: usize, held: usize) -> io::Result<Corpus> {
        let each = self.context.saturating_sub(Contexts::SKIPPED).max(1);
        Corpus::read(&opened.lm, &opened.text, self.context, [tokens.div_ceil(each), held], self.seed)
    }
}

pub fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>12} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

pub fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
