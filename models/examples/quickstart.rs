//! Train a sparse autoencoder on the activations of a language model, judge it, save it, look at its latents, steer.
//!
//! `cargo run --release -p latens --example quickstart`
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use latens::io;
use latens::lm::{LanguageModel, Site};
use latens::sae::{
    Buffer, Config, Contexts, Corpus, Format, Losses, Origin, Pca, Progress, Revive, Sae, Trainer, features, on_host,
    quality, report::Report, steer,
};
use latens::{Device, Tensor, assets};
use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

/// Tokens of a context.
const CONTEXT: usize = 128;
/// Contexts to judge reconstruction by, and how many of them to judge the language model by.
const HELD: usize = 128;
const SPLICED: usize = 24;
/// Activations in memory at once.
const ROOM: usize = 2048 * (CONTEXT - Contexts::SKIPPED);
/// Activations that training begins with.
const SAMPLE: usize = 8192;
/// Activations that latents are looked at on, and latents that are looked at.
const LOOKED_AT: usize = 50_000;
const LATENTS: usize = 50;
/// Activations per step, and the learning rate.
const BATCH: usize = 1024;
const RATE: f32 = 2e-3;
/// What is continued, steered and not.
const PROMPT: &str = "The most important thing for our country is";

#[derive(Parser)]
#[command(about = "Train a sparse autoencoder on a language model and look at what it found")]
struct Options {
    /// GGUF file, or folder with safetensors [default: SmolLM2-135M, fetched once]
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
    #[arg(long, default_value_t = 1200)]
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
    std::fs::create_dir_all(&options.out).map_err(|error| format!("--out {}: {error}", options.out.display()))?;
    let site = Site::residual(options.layer);
    let contexts = options.tokens.div_ceil(CONTEXT - Contexts::SKIPPED);
    let corpus = Corpus::read(&lm, &text, CONTEXT, [contexts, HELD], options.seed)?;
    let mut source = Source { lm: &lm, site, contexts: &corpus.train, seconds: 0.0, rows: 0 };

    let data = format!("{} of {} at layer {}, {contexts} contexts", name(&model), name(&text), options.layer);
    println!("{data}");
    let (sae, buffer, course) = train(options, settings(options, lm.model.config().dim, data), &mut source, &device)?;
    let (hook, begin) = (format!("blocks.{}.hook_resid_post", options.layer), lm.tokenizer.begin().is_some());
    let origin = Origin { model: name(&model), hook, context: CONTEXT, begin };
    let checkpoint = options.out.join("sae");
    sae.save(&checkpoint, Format::SaeLens, &origin)?;

    // Judged on text that it has not seen.
    let mut held = Tensor::zeros([corpus.held.rows(), sae.d()], &device)?;
    let bar = progress("held-out activations", corpus.held.rows());
    corpus.held.activations(&lm.model, site, 0, &mut held, |rows| bar.inc(rows as u64))?;
    bar.finish();
    let quality = quality(&sae, held.view())?;
    let trained_on = buffer.range();
    let rows = buffer.rows().narrow(0, 0, trained_on.len())?;
    let pca = Pca::fit(&on_host(rows)?, sae.d(), options.k);
    let fvu_pca = pca.fvu(&on_host(held.view())?);
    let spliced = Contexts { ids: corpus.held.ids[..SPLICED * CONTEXT].to_vec(), length: CONTEXT };
    let bar = progress("spliced predictions", 4 * spliced.ids.len());
    let losses = Losses::measure(&lm.model, site, &spliced, &sae, pca.mean(), |tokens| bar.inc(tokens as u64))?;
    bar.finish();

    // Looked at.
    let looked_at = rows.narrow(0, 0, trained_on.len().min(LOOKED_AT))?;
    let features = features(&lm, &sae, &corpus.train.from_row(trained_on.start), looked_at, LATENTS)?;
    let sharpest = features.iter().max_by(|a, b| a.sharpness.total_cmp(&b.sharpness));
    let steered = sharpest.map(|f| steer(&lm, &sae, site, f.latent, f.strongest, PROMPT)).transpose()?;
    let report = options.out.join("report.html");
    let seconds = begun.elapsed().as_secs_f64();
    let tokens_per_s = source.rows as f64 / source.seconds.max(1e-9);
    let page = Report {
        title: "A sparse autoencoder on a language model",
        settings: &[
            ("activations", sae_of(&options.layer, &model)),
            ("latents", options.latents.to_string()),
            ("active per token (k)", options.k.to_string()),
            ("tokens", corpus.train.rows().to_string()),
            ("steps", options.steps.to_string()),
            ("seed", options.seed.to_string()),
            ("tokens per second through the model", format!("{tokens_per_s:.0}")),
            ("seconds", format!("{seconds:.0}")),
        ],
        progress: &course,
        quality: &quality,
        fvu_pca,
        losses: &losses,
        features: &features,
        steered: steered.as_ref(),
    };
    io::replace(&report, page.html().as_bytes())?;

    let figures = serde_json::json!({
        "tokens": corpus.train.rows(),
        "tokens_per_s": tokens_per_s,
        "fvu": quality.fvu,
        "fvu_pca": fvu_pca,
        "l0": quality.l0,
        "cosine": quality.cosine,
        "ce_clean": losses.clean,
        "ce_sae": losses.sae,
        "ce_zero": losses.zero,
        "ce_mean": losses.mean,
        "ce_recovered": losses.recovered(),
        "dead_fraction": quality.dead,
        "peak_rss_mb": peak_rss_mb(),
        "seconds": begun.elapsed().as_secs_f64(),
        "checkpoint": checkpoint,
        "report": report,
    });
    println!("{figures:#}");
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    if let Some((s, feature)) = steered.as_ref().zip(sharpest) {
        println!(
            "latent {} promotes {:?}; {:.0} times its direction at layer {}:",
            s.latent, feature.words, s.strength, options.layer
        );
        println!("before: {}{}\nafter:  {}{}", s.prompt, s.before, s.prompt, s.after);
    }
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
    let saved = if options.resume && state.is_file() { Some(Trainer::load_state(&state, device)?) } else { None };
    if saved.as_ref().is_some_and(|saved| *saved.config() != config) {
        return Err(format!("{} is of a run with other options or data", state.display()).into());
    }
    let at = saved.as_ref().map_or(0, Trainer::steps);
    let (d, batch, total) = (config.d, config.batch, source.contexts.rows());
    let mut buffer = Buffer::new(total, d, ROOM, batch, config.seed, at as u64, device)?;
    buffer.prepare(|start, rows| source.fill(start, rows))?;
    let mut trainer = match saved {
        Some(saved) => saved,
        None => {
            let sample = buffer.rows().narrow(0, 0, buffer.range().len().min(SAMPLE))?;
            Trainer::new(config, &on_host(sample)?, device)?
        }
    };
    let steps = trainer.config().steps;
    let bar = progress("training", steps);
    while trainer.steps() < steps {
        trainer.step(buffer.next(|start, rows| source.fill(start, rows))?)?;
        if trainer.steps() % TELL == 0 || trainer.steps() == steps {
            let now = trainer.mark()?;
            bar.set_position(now.step as u64);
            bar.set_message(format!("FVU {:.3}, L0 {:.1}", now.fvu, now.l0));
        }
        if trainer.steps() % SAVE == 0 && trainer.steps() < steps {
            trainer.save_state(&state)?;
        }
    }
    bar.finish();
    let course = trainer.course().to_vec();
    Ok((trainer.finish(), buffer, course))
}

/// The settings of the run: a rate ten times that of [`latens::sae::rate`] suits so short a one.
fn settings(options: &Options, d: usize, data: String) -> Config {
    let base = Config::new(d, options.latents, options.k, options.steps);
    let after = (options.tokens / 2).try_into().unwrap_or(u32::MAX);
    Config {
        rate: RATE,
        batch: BATCH.min(options.tokens),
        revive: Some(Revive { weight: 1.0 / 32.0, k: options.k.saturating_mul(2), after }),
        seed: options.seed,
        data,
        ..base
    }
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

fn sae_of(layer: &usize, model: &Path) -> String {
    format!("residual after layer {layer} of {}", name(model))
}

/// The most memory this process has had, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}
