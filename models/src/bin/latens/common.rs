//! What several commands ask for.
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Contexts, Corpus, Format, Origin, Sae, places};
use latens::{Device, Tensor, assets, io};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};

pub type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Tokens of a context, at most: more than any model reads.
const LONGEST: usize = 1 << 24;

/// Model, text and device.
#[derive(Args)]
pub struct Reading {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M-Instruct in 4 bits, fetched once]
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
    /// What the MLP reads: the residual after its norm
    MlpInput,
    /// What the MLP adds
    Mlp,
}

impl Point {
    pub fn at(self, layer: usize) -> Site {
        match self {
            Point::Residual => Site::residual(layer),
            Point::Attention => Site::attention(layer),
            Point::MlpInput => Site::mlp_input(layer),
            Point::Mlp => Site::mlp(layer),
        }
    }
}

/// Where an autoencoder belongs.
#[derive(Args)]
pub struct Place {
    /// Layer whose activations it was trained on
    #[arg(long, default_value_t = 15)]
    pub layer: usize,
    /// Where in the layer
    #[arg(long, value_enum, default_value = "residual")]
    pub point: Point,
}

impl Place {
    pub fn site(&self) -> Site {
        self.point.at(self.layer)
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
        if self.context > LONGEST {
            return Err(format!(
                "--context: {} tokens are more than the {LONGEST} that are read at once",
                self.context
            )
            .into());
        }
        let device = device(self.device.as_deref())?;
        let model = assets::SMOLLM2.locate(self.model.as_deref())?;
        let text = assets::SPEECHES.locate(self.text.as_deref())?;
        Ok(Opened { lm: LanguageModel::open(&model, &device)?, device, model, text })
    }

    /// So many contexts to train on, and to judge by.
    pub fn corpus(&self, opened: &Opened, contexts: [usize; 2]) -> io::Result<Corpus> {
        Corpus::read(&opened.lm, &opened.text, self.context, contexts, self.seed)
    }
}

/// What is judged, and by what.
#[derive(Args)]
pub struct Judged {
    /// Checkpoint of any layout that can be read
    pub checkpoint: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub place: Place,
    /// Contexts to judge by
    #[arg(long, default_value_t = 64)]
    pub contexts: usize,
}

impl Judged {
    /// The model and the autoencoder.
    pub fn open(&self) -> Done<(Opened, Sae)> {
        let opened = self.reading.open()?;
        let sae = Sae::load_at(&self.checkpoint, self.place.site(), &opened.device)?;
        let d = opened.lm.model.config().dim;
        if sae.d() != d {
            return Err(format!("the checkpoint is of width {}, the model of {d}", sae.d()).into());
        }
        Ok((opened, sae))
    }

    /// Text held out, and its activations.
    pub fn read(&self, opened: &Opened) -> Done<(Contexts, Tensor<f32, 2>)> {
        let held = self.reading.corpus(opened, [0, self.contexts])?.held;
        let rows = self.rows(opened, &held, self.place.site())?;
        Ok((held, rows))
    }

    /// Where a transcoder predicts what is there: the place that its checkpoint names, or else what the MLP of the layer adds.
    pub fn predicted(&self, opened: &Opened) -> Done<Site> {
        let named = Origin::of(&self.checkpoint)?.predicted;
        Ok(match &*named {
            "" => Site::mlp(self.place.layer),
            named => places(opened.lm.model.config().layers, &[named])?[0],
        })
    }

    /// The activations of held-out text at a place.
    pub fn rows(&self, opened: &Opened, held: &Contexts, site: Site) -> Done<Tensor<f32, 2>> {
        let model = &opened.lm.model;
        let mut rows = Tensor::zeros([held.rows(), model.config().dim], &opened.device)?;
        let bar = progress("activations", held.rows());
        held.activations(model, site, 0, &mut rows, |rows| bar.inc(rows as u64))?;
        bar.finish();
        Ok(rows)
    }
}

/// Write figures to a file, if one is asked for.
pub fn write(figures: &Value, json: Option<&Path>) -> Done {
    match json {
        Some(path) => Ok(io::replace(path, format!("{figures:#}\n").as_bytes())?),
        None => Ok(()),
    }
}

/// Print figures, and write them to a file.
pub fn tell(figures: &Value, json: Option<&Path>) -> Done {
    println!("{figures:#}");
    write(figures, json)
}

pub fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>12} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

pub fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
