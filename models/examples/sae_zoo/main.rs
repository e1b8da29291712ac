//! Train every kind of sparse autoencoder on the same activations of a language model, and compare them.
//!
//! `cargo run --release -p latens --example sae_zoo -- --json z.json`
//!
//! One pass of the model writes the activations to the disk. Each run is saved as it goes and noted when it is done, so an interrupted zoo
//! goes on where it was when it is started again.
mod judge;
mod picture;
mod table;
mod variants;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use judge::{Held, Judged};
use latens::io::{self, Claim};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Config, Contexts, Corpus, Format, Origin, Shards, Source, Stream, Trainer};
use latens::{Device, assets};
use picture::{Point, picture};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use variants::{Base, Reads, Run};

/// Tokens of a context.
const CONTEXT: usize = 128;
/// Contexts to judge by.
const HELD: usize = 64;
/// Contexts in a file of activations.
const EACH: usize = 256;
/// Activations in memory at once.
const ROOM: usize = 1024 * (CONTEXT - Contexts::SKIPPED);
/// Activations that training begins with.
const SAMPLE: usize = 8192;

#[derive(Parser)]
#[command(about = "Train every kind of sparse autoencoder on the same activations, and compare them")]
struct Options {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M, fetched once]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Text file, or folder of .txt files [default: State of the Union speeches, fetched once]
    #[arg(long)]
    text: Option<PathBuf>,
    /// Layers whose residuals are read; of the one in the middle the MLP as well
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
    if options.layers.is_empty() || options.tokens < options.batch.max(1) {
        return Err("--layers, --tokens: there must be a layer, and tokens for a step".into());
    }
    let model = assets::SMOLLM2.locate(options.model.as_deref())?;
    let text = assets::SPEECHES.locate(options.text.as_deref())?;
    let lm = LanguageModel::open(&model, &device)?;
    let _claim = Claim::of(&options.out)?;
    let contexts = options.tokens.div_ceil(CONTEXT - Contexts::SKIPPED);
    let corpus = Corpus::read(&lm, &text, CONTEXT, [contexts, HELD], options.seed)?;
    let middle = options.layers[options.layers.len() / 2];
    let mut sites: Vec<Site> = options.layers.iter().map(|&layer| Site::residual(layer)).collect();
    sites.extend([Site::mlp_input(middle), Site::mlp(middle)]);
    let data = format!("{} ({}), {}", name(&model), &io::sha256_of(&model)?[..16], name(&text));
    let bar = progress("activations", corpus.train.rows());
    let folder = options.out.join("activations");
    let shards = Shards::write(&folder, &lm.model, &corpus.train, &sites, EACH, &data, |rows| bar.inc(rows as u64))?;
    bar.finish();
    let held = sites.iter().map(|&site| Held::new(&lm, site, &corpus.held)).collect::<Result<_, _>>()?;
    let zoo = Zoo { options, lm: &lm, shards, sites, held, device, model: name(&model) };
    let all = zoo.run_all()?;
    let figures = json!({
        "tokens": zoo.shards.rows(), "latents": options.latents, "batch": options.batch, "steps": zoo.steps(),
        "pictures": zoo.pictures(&all)?, "runs": all.values().collect::<Vec<_>>(),
    });
    table::print(&all);
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    Ok(())
}

impl Zoo<'_> {
    fn steps(&self) -> usize {
        self.options.steps.unwrap_or(self.shards.rows() / self.options.batch)
    }

    /// Every run at every place, those that are done from their notes.
    fn run_all(&self) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
        let options = self.options;
        let base = Base {
            d: self.shards.d(),
            latents: options.latents,
            batch: options.batch,
            steps: self.steps(),
            rate: options.rate,
            seed: options.seed,
            sides: options.layers.len(),
        };
        let asked =
            |run: &Run| options.only.is_empty() || options.only.iter().any(|only| run.name.starts_with(&**only));
        let mut all = BTreeMap::new();
        for run in base.runs().iter().filter(|run| asked(run)) {
            let places = match run.reads {
                Reads::Residual => (0..options.layers.len()).collect(),
                Reads::Mlp | Reads::All => vec![options.layers.len() / 2],
            };
            for place in places {
                let key = match run.reads {
                    Reads::All => format!("all/{}", run.name),
                    _ => format!("{}/{}", options.layers[place], run.name),
                };
                let folder = options.out.join("runs").join(&key);
                let done = match std::fs::read(folder.join("figures.json")) {
                    Ok(text) => serde_json::from_slice::<Value>(&text)?,
                    Err(_) => self.one(run, place, &key, &folder)?,
                };
                all.insert(key, done);
            }
        }
        Ok(all)
    }

    /// One run, from the start or from its last state.
    fn one(&self, run: &Run, place: usize, key: &str, folder: &Path) -> Result<Value, Box<dyn Error>> {
        const SAVE: usize = 200;
        std::fs::create_dir_all(folder)?;
        forget_peak();
        let data = format!("{}; {key}", self.shards.data());
        let config = Config { data, ..run.config.clone() };
        let state = folder.join("state.safetensors");
        let mut trainer = match state.is_file() {
            true => Trainer::resume(&state, &config, &self.device)?,
            false => self.begin(run, place, config.clone())?,
        };
        let at = trainer.steps();
        let reads = self.reads(run.reads, place);
        let source = Source::Shards(&self.shards, reads.clone());
        let mut stream = Stream::new(source, ROOM, config.batch, config.seed, at as u64, &self.device)?;
        let bar = progress("training", config.steps).with_message(key.to_owned()).with_position(at as u64);
        let mut seconds = 0.0;
        while trainer.steps() < config.steps {
            stream.prepare(|_| {})?;
            let begun = Instant::now();
            let parts = stream.batch()?;
            match run.reads {
                Reads::Residual => trainer.step(parts[0])?,
                Reads::Mlp => trainer.step_to(parts[0], parts[1])?,
                Reads::All => trainer.step(judge::side_by_side(&parts)?.view())?,
            }
            seconds += begun.elapsed().as_secs_f64();
            if trainer.steps() % 20 == 0 {
                let now = trainer.mark()?;
                bar.set_position(now.step as u64);
                bar.set_message(format!("{key}: FVU {:.3}, L0 {:.1}", now.fvu, now.l0));
            }
            if trainer.steps() % SAVE == 0 && trainer.steps() < config.steps {
                trainer.save_state(&state)?;
            }
        }
        bar.finish();
        let steps = config.steps - at;
        let course = trainer.course().to_vec();
        let sae = trainer.finish()?;
        let judged =
            Judged::of(self.lm, &sae, run.reads, &reads.iter().map(|&site| &self.held[site]).collect::<Vec<_>>())?;
        let figures = json!({
            "key": key, "kind": run.kind, "name": run.name, "place": judge::place(run.reads, &self.sites[reads[0]]),
            "fvu": judged.fvu, "l0": judged.l0, "dead": judged.dead, "ce_recovered": judged.recovered,
            "steps_per_s": steps as f64 / seconds.max(1e-9), "seconds": seconds, "steps": steps, "peak_rss_mb": peak(),
            "last": course.last().map(|last| json!({"fvu": last.fvu, "l0": last.l0})),
        });
        self.keep(run, &sae, folder, &reads)?;
        io::replace(&folder.join("figures.json"), format!("{figures:#}\n").as_bytes())?;
        let _ = std::fs::remove_file(&state);
        Ok(figures)
    }

    /// Write a checkpoint in the layout that has a place for it.
    fn keep(&self, run: &Run, sae: &latens::sae::Sae, folder: &Path, reads: &[usize]) -> Result<(), Box<dyn Error>> {
        let begin = self.lm.tokenizer.begin().is_some();
        let hook = self.shards.sites()[reads[0]].clone();
        let predicted = if run.reads == Reads::Mlp { self.shards.sites()[reads[1]].clone() } else { String::new() };
        let origin = Origin { model: self.model.clone(), hook, predicted, context: CONTEXT, begin };
        let format = match (run.reads, run.kind) {
            (Reads::Mlp, _) | (_, "groupmax") => Format::Sparsify,
            _ => Format::SaeLens,
        };
        Ok(sae.save(&folder.join("sae"), format, &origin)?)
    }

    /// The places whose rows a run reads: of a transcoder also what it predicts.
    fn reads(&self, reads: Reads, place: usize) -> Vec<usize> {
        let layers = self.options.layers.len();
        match reads {
            Reads::Residual => vec![place],
            Reads::Mlp => vec![layers, layers + 1],
            Reads::All => (0..layers).collect(),
        }
    }

    fn begin(&self, run: &Run, place: usize, config: Config) -> Result<Trainer, Box<dyn Error>> {
        let rows = self.shards.rows().min(SAMPLE);
        let samples = self
            .reads(run.reads, place)
            .iter()
            .map(|&site| self.shards.first(site, rows))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(match run.reads {
            Reads::Residual => Trainer::new(config, &samples[0], &self.device)?,
            Reads::Mlp => Trainer::transcoder(config, &samples[0], &samples[1], &self.device)?,
            Reads::All => {
                let (d, mut all) = (self.shards.d(), Vec::new());
                (0..rows).for_each(|row| samples.iter().for_each(|of| all.extend_from_slice(&of[row * d..][..d])));
                Trainer::new(config, &all, &self.device)?
            }
        })
    }

    /// A frontier for each place.
    fn pictures(&self, all: &BTreeMap<String, Value>) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let mut places: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
        for run in all.values() {
            let number = |name: &str| run[name].as_f64();
            if let (Some(l0), Some(fvu), Some(recovered)) = (number("l0"), number("fvu"), number("ce_recovered")) {
                let kind = run["kind"].as_str().unwrap_or_default().to_owned();
                let place = run["place"].as_str().unwrap_or_default();
                places.entry(place).or_default().push(Point { kind, l0, figures: [fvu, recovered] });
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

fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>12} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Begin to count the most memory anew, where the system can.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory since then, where the system tells.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}
