//! Train a sparse autoencoder on the activations of a language model, judge it, save it, look at its latents, steer.
//!
//! `cargo run --release -p latens --example quickstart`
mod judge;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use judge::Run;
use latens::io::{self, Claim, Scalars};
use latens::lm::{LanguageModel, Site};
use latens::sae::{Buffer, Config, Contexts, Corpus, Format, Origin, Progress, Revive, Sae, Trainer, on_host};
use latens::{Device, Tensor, View, assets};
use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

/// Tokens of a context.
const CONTEXT: usize = 128;
/// Contexts to judge by.
const HELD: usize = 64;
/// Activations in memory at once.
const ROOM: usize = 2048 * (CONTEXT - Contexts::SKIPPED);
/// Activations that training begins with.
const SAMPLE: usize = 8192;
/// Activations per step, and the learning rate.
const BATCH: usize = 1024;
const RATE: f32 = 2e-3;

#[derive(Parser)]
#[command(about = "Train a sparse autoencoder on a language model and look at what it found")]
struct Options {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M-Instruct in 4 bits, fetched once]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Text file, or folder of .txt files [default: State of the Union speeches, fetched once]
    #[arg(long)]
    text: Option<PathBuf>,
    /// Layer whose output is read
    #[arg(long, default_value_t = 15)]
    layer: usize,
    /// Number of latents
    #[arg(long, default_value_t = 4608)]
    latents: usize,
    /// Latents active per token
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Tokens whose activations are trained on
    #[arg(long, default_value_t = 200_000)]
    tokens: usize,
    /// Steps of 1024 activations
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    device: Option<String>,
    /// Continue an interrupted run from the state in the output folder
    #[arg(long)]
    resume: bool,
    /// Folder for state, checkpoint and page
    #[arg(long, default_value = "quickstart")]
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

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    latens::keep_memory(1 << 29); // each step makes the same tensors
    let begun = Instant::now();
    let device = match options.device.as_deref() {
        Some("cpu") => Device::Host,
        Some(_) => Device::cuda(0)?,
        None => Device::cuda(0).unwrap_or(Device::Host),
    };
    let model = assets::SMOLLM2.locate(options.model.as_deref())?;
    let text = assets::SPEECHES.locate(options.text.as_deref())?;
    let lm = LanguageModel::open(&model, &device)?;
    if options.tokens == 0 {
        return Err("--tokens: there is nothing to train on".into());
    }
    settings(options, lm.model.config().dim, String::new()).check()?;
    let _claim = Claim::of(&options.out)?;
    let site = Site::residual(options.layer);
    let contexts = options.tokens.div_ceil(CONTEXT - Contexts::SKIPPED);
    let corpus = Corpus::read(&lm, &text, CONTEXT, [contexts, HELD], options.seed)?;
    let mut source = Source { lm: &lm, site, contexts: &corpus.train, seconds: 0.0, rows: 0 };

    let data = identity(&model, &text, options.layer, &corpus.train)?;
    println!("{data}");
    let (sae, buffer, course) = train(options, settings(options, lm.model.config().dim, data), &mut source, &device)?;
    let (hook, begin) = (format!("blocks.{}.hook_resid_post", options.layer), lm.tokenizer.begin().is_some());
    let origin = Origin { model: name(&model), hook, context: CONTEXT, begin, ..Origin::default() };
    let checkpoint = options.out.join("sae");
    sae.save(&checkpoint, Format::SaeLens, &origin)?;

    let tokens_per_s = source.rows as f64 / source.seconds.max(1e-9);
    let run = Run { options, lm: &lm, site, corpus: &corpus, model: name(&model), tokens_per_s, begun };
    let judged = run.judge(&sae, &buffer)?;
    let looked_at = run.look(&sae, &buffer)?;
    let report = options.out.join("report.html");
    io::replace(&report, run.page(&course, &judged, &looked_at).as_bytes())?;
    let figures = run.figures(&judged, &checkpoint, &report);
    println!("{figures:#}");
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    looked_at.tell(options.layer);
    Ok(())
}

/// Train from the start, or from the state in the output folder.
fn train(
    options: &Options,
    config: Config,
    source: &mut Source<'_>,
    device: &Device,
) -> Result<(Sae, Buffer, Vec<Progress>), Box<dyn Error>> {
    const SAVE: usize = 100;
    const TELL: usize = 10;
    let state = options.out.join("state.safetensors");
    if options.resume && !state.is_file() {
        println!("no state in {}: from the beginning", options.out.display());
    }
    let resumed = (options.resume && state.is_file()).then(|| Trainer::resume(&state, &config, device));
    let saved = resumed.transpose()?;
    let at = saved.as_ref().map_or(0, Trainer::steps);
    let (d, batch, total) = (config.d, config.batch, source.contexts.rows());
    let mut buffer = Buffer::new(total, d, ROOM, batch, config.seed, at as u64, device)?;
    buffer.prepare(|start, rows| source.fill(start, rows))?;
    let mut trainer = match saved {
        Some(saved) => saved,
        None => Trainer::new(config, &on_host(rows(&buffer, SAMPLE)?)?, device)?,
    };
    let steps = trainer.config().steps;
    let mut scalars = Scalars::begin(&options.out)?;
    let mut tell = |now: &Progress| -> Result<(), Box<dyn Error>> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        Ok(scalars.put(now.step as u64, wall, &now.scalars())?)
    };
    trainer.course().iter().try_for_each(&mut tell)?;
    let bar = progress("training", steps);
    while trainer.steps() < steps {
        trainer.step(buffer.next(|start, rows| source.fill(start, rows))?)?;
        if trainer.steps() % TELL == 0 || trainer.steps() == steps {
            let now = trainer.mark()?;
            tell(&now)?;
            bar.set_position(now.step as u64);
            bar.set_message(format!("FVU {:.3}, L0 {:.1}", now.fvu, now.l0));
        }
        if trainer.steps() % SAVE == 0 && trainer.steps() < steps {
            trainer.save_state(&state)?;
        }
    }
    bar.finish();
    let course = trainer.course().to_vec();
    Ok((trainer.finish()?, buffer, course))
}

/// The first rows of those in memory.
fn rows(buffer: &Buffer, most: usize) -> latens::Result<View<'_, f32, 2>> {
    buffer.rows().narrow(0, 0, buffer.range().len().min(most))
}

/// The settings of the run: a rate five times that of [`latens::sae::rate`] for 4608 latents suits so short a one.
fn settings(options: &Options, d: usize, data: String) -> Config {
    let base = Config::new(d, options.latents, options.k, options.steps);
    let after = (options.tokens / 2).try_into().unwrap_or(u32::MAX);
    Config {
        rate: RATE,
        batch: BATCH.min(options.tokens),
        revive: Some(Revive::new(1.0 / 32.0, options.k.saturating_mul(2), after)),
        seed: options.seed,
        data,
        ..base
    }
}

/// What is trained on, so that a run is resumed on the same only: files may change and keep their names.
fn identity(model: &Path, text: &Path, layer: usize, contexts: &Contexts) -> io::Result<String> {
    let (weights, tokens) = (io::sha256_of(model)?, contexts.sha256());
    let (weights, tokens, count) = (&weights[..16], &tokens[..16], contexts.ids.len());
    Ok(format!("layer {layer} of {} ({weights}) on {count} tokens of {} ({tokens})", name(model), name(text)))
}

/// Activations, when the buffer asks for them.
struct Source<'a> {
    lm: &'a LanguageModel,
    site: Site,
    contexts: &'a Contexts,
    seconds: f64,
    rows: usize,
}

impl Source<'_> {
    fn fill(&mut self, start: usize, rows: &mut Tensor<f32, 2>) -> io::Result<()> {
        let (begun, count) = (Instant::now(), rows.dims()[0].min(self.contexts.rows() - start));
        let bar = progress("activations", count);
        self.contexts.activations(&self.lm.model, self.site, start, rows, |rows| bar.inc(rows as u64))?;
        bar.finish();
        self.rows += count;
        self.seconds += begun.elapsed().as_secs_f64();
        Ok(())
    }
}

fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = "{prefix:>21} {wide_bar} {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
