//! Train every kind of sparse autoencoder on the same activations of a language model, and compare them.
//!
//! `cargo run --release -p latens --example sae_zoo -- --json z.json`
//!
//! One pass of the model writes the activations to the disk. Each run is saved as it goes and noted when it is done, so an interrupted zoo
//! goes on where it was when it is started again.
mod judge;
mod one;
mod picture;
mod table;
mod variants;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use judge::Held;
use latens::io::{self, Claim};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Config, Contexts, Corpus, Shards};
use latens::{Device, assets};
use picture::{Point, picture};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use variants::{Base, Reads, Run};

/// Tokens of a context.
const CONTEXT: usize = 128;
/// Contexts to judge by.
const HELD: usize = 64;
/// Contexts in a file of activations.
const EACH: usize = 256;

#[derive(Parser)]
#[command(about = "Train every kind of sparse autoencoder on the same activations, and compare them")]
struct Options {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M-Instruct in 4 bits, fetched once]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Text file, or folder of .txt files [default: State of the Union speeches, fetched once]
    #[arg(long)]
    text: Option<PathBuf>,
    /// Layers whose residuals and MLPs are read
    #[arg(long, value_delimiter = ',', default_value = "8,15,22")]
    layers: Vec<usize>,
    /// Tokens whose activations are trained on
    #[arg(long, default_value_t = 1_000_000)]
    tokens: usize,
    /// Number of latents
    #[arg(long, default_value_t = 4608)]
    latents: usize,
    /// Activations of a step
    #[arg(long, default_value_t = 2048)]
    batch: usize,
    /// Steps [default: so many that every activation is seen once]
    #[arg(long)]
    steps: Option<usize>,
    /// More steps, for those that are trained through the model in the end; such a step takes as long as a hundred others
    #[arg(long, default_value_t = 16)]
    through: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 2e-3)]
    rate: f32,
    /// Only runs whose names begin with one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    device: Option<String>,
    /// Folder for activations, states, checkpoints and pictures
    #[arg(long, default_value = "sae_zoo")]
    out: PathBuf,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() {
    if let Err(error) = run(&Options::parse()) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

/// All that the runs share.
struct Zoo<'a> {
    options: &'a Options,
    lm: &'a LanguageModel,
    /// Of a run that is not trained through the model.
    steps: usize,
    /// What is trained on.
    train: Contexts,
    shards: Shards,
    sites: Vec<Site>,
    held: Vec<Held>,
    device: Device,
    model: String,
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    latens::keep_memory(1 << 29); // each step makes the same tensors
    let device = match options.device.as_deref() {
        Some("cpu") => Device::Host,
        Some(_) => Device::cuda(0)?,
        None => Device::cuda(0).unwrap_or(Device::Host),
    };
    if options.layers.is_empty() || options.batch == 0 || options.tokens < options.batch || options.steps == Some(0) {
        return Err("--layers, --tokens, --batch, --steps: there must be a layer, a step, and tokens for it".into());
    }
    if options.layers.iter().any(|layer| options.layers.iter().filter(|other| *other == layer).count() > 1) {
        return Err(format!("--layers: {:?} names one twice", options.layers).into());
    }
    let model = assets::SMOLLM2.locate(options.model.as_deref())?;
    let text = assets::SPEECHES.locate(options.text.as_deref())?;
    let lm = LanguageModel::open(&model, &device)?;
    if let Some(layer) = options.layers.iter().find(|layer| **layer >= lm.model.config().layers) {
        return Err(format!("--layers: {layer} was asked for, but the model has {}", lm.model.config().layers).into());
    }
    let _claim = Claim::of(&options.out)?;
    let contexts = options.tokens.div_ceil(CONTEXT - Contexts::SKIPPED);
    let corpus = Corpus::read(&lm, &text, CONTEXT, [contexts, HELD], options.seed)?;
    let steps = options.steps.unwrap_or(corpus.train.rows() / options.batch);
    let runs = runs(options, lm.model.config().dim, steps)?;
    // The residuals first, then both sides of each MLP.
    let mut sites: Vec<Site> = options.layers.iter().map(|&layer| Site::residual(layer)).collect();
    sites.extend(options.layers.iter().flat_map(|&layer| [Site::mlp_input(layer), Site::mlp(layer)]));
    let data = format!("{} ({}), {}", name(&model), &io::sha256_of(&model)?[..16], name(&text));
    let bar = progress("activations", corpus.train.rows());
    let folder = options.out.join("activations");
    let shards = Shards::write(&folder, &lm.model, &corpus.train, &sites, EACH, &data, |rows| bar.inc(rows as u64))?;
    bar.finish();
    let held = sites.iter().map(|&site| Held::new(&lm, site, &corpus.held)).collect::<Result<_, _>>()?;
    let zoo = Zoo { options, lm: &lm, steps, train: corpus.train, shards, sites, held, device, model: name(&model) };
    let mut all = zoo.run_all(&runs)?;
    let pictures = zoo.pictures(&all)?;
    all.retain(|key, _| runs.iter().any(|(run, asked)| *asked && key.ends_with(&format!("/{}", run.name))));
    let figures = json!({
        "tokens": zoo.shards.rows(), "latents": options.latents, "batch": options.batch, "steps": steps,
        "pictures": pictures, "runs": all.values().collect::<Vec<_>>(),
    });
    table::print(&all);
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    Ok(())
}

/// Every run, and whether it is asked for. All of those are sound.
fn runs(options: &Options, d: usize, steps: usize) -> Result<Vec<(Run, bool)>, Box<dyn Error>> {
    let base = Base {
        d,
        latents: options.latents,
        batch: options.batch,
        steps,
        through: options.through,
        context: CONTEXT - Contexts::SKIPPED,
        rate: options.rate,
        seed: options.seed,
        sides: options.layers.len(),
    };
    let asked = |run: &Run| options.only.is_empty() || options.only.iter().any(|only| run.name.starts_with(&**only));
    let all: Vec<(Run, bool)> = base
        .runs()
        .into_iter()
        .map(|run| {
            let is = asked(&run);
            (run, is)
        })
        .collect();
    if !all.iter().any(|(_, asked)| *asked) {
        let names: Vec<&str> = all.iter().map(|(run, _)| &*run.name).collect();
        return Err(format!("--only: no run begins so; there are {}", names.join(", ")).into());
    }
    for (run, _) in all.iter().filter(|(_, asked)| *asked) {
        run.config.check().map_err(|error| format!("{}: {error}", run.name))?;
    }
    Ok(all)
}

impl Zoo<'_> {
    /// Every run at every place: those that are done from their notes, and of others those that are asked for.
    fn run_all(&self, runs: &[(Run, bool)]) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
        let options = self.options;
        let mut all = BTreeMap::new();
        for (run, asked) in runs {
            let places = match run.reads {
                Reads::Residual | Reads::Mlp | Reads::Through => options.layers.len(),
                Reads::All => 1,
            };
            for place in 0..places {
                let key = match run.reads {
                    Reads::All => format!("all/{}", run.name),
                    _ => format!("{}/{}", options.layers[place], run.name),
                };
                let folder = options.out.join("runs").join(&key);
                let figures = match done(&folder, &self.config(run, &key))? {
                    Done::Same(figures) => figures,
                    Done::Other if *asked => {
                        let what = "holds a run with other settings: give another folder as --out";
                        return Err(format!("{}: {what}", folder.display()).into());
                    }
                    Done::Not if *asked => {
                        self.one(run, place, &key, &folder).map_err(|error| format!("{key}: {error}"))?
                    }
                    Done::Other | Done::Not => continue,
                };
                all.insert(key, figures);
            }
        }
        Ok(all)
    }

    /// A frontier for each place.
    fn pictures(&self, all: &BTreeMap<String, Value>) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let mut places: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for run in all.values() {
            let kind = run["kind"].as_str().unwrap_or_default();
            let mut add = |at: &'_ Value| {
                let number = |name: &str| at[name].as_f64();
                let place = at["place"].as_str().unwrap_or_default().to_owned();
                if let (Some(l0), Some(fvu), Some(recovered)) =
                    (run["l0"].as_f64(), number("fvu"), number("ce_recovered"))
                {
                    let point = Point { kind: kind.to_owned(), l0, figures: [fvu, recovered] };
                    places.entry(place).or_default().push(point);
                }
            };
            // A crosscoder belongs to each of its places.
            match run["each"].as_array() {
                Some(each) => each.iter().for_each(add),
                None => add(run),
            }
        }
        let mut paths = Vec::new();
        for (place, points) in places {
            let path = self.options.out.join(format!("frontier-{}.svg", place.replace(' ', "-")));
            io::replace(&path, picture(&format!("{}, {place}", self.model), &points)?.as_bytes())?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// Whether a run is in a folder.
enum Done {
    /// It is, with these settings, and this was found.
    Same(Value),
    /// Another one is.
    Other,
    Not,
}

fn done(folder: &Path, config: &Config) -> Result<Done, Box<dyn Error>> {
    let read = |name: &str| -> Result<Option<Value>, String> {
        let path = folder.join(name);
        let wrong = |what: String| format!("{}: {what}", path.display());
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    };
    Ok(match (read("figures.json")?, read("settings.json")?) {
        (None, _) => Done::Not,
        (Some(figures), Some(settings)) if settings == json!(config) => Done::Same(figures),
        (Some(_), _) => Done::Other,
    })
}

fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>12} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
