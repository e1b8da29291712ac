//! Train language models of bytes from the beginning, compare them with byte 3-grams, and have them write.
//!
//! `cargo run --release -p latens --example train_lm`
mod picture;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use latens::lm::{Cache, Config, Decoder, Hooks, Sampler, Sampling};
use latens::train::{Betas, Progress, Rule, Schedule, Settings, Stored, Trainer, Trigrams, peak};
use latens::{Device, assets, bf16, io};
use picture::{Curve, picture};
use serde_json::{Value, json};
use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

/// A token is a byte.
const TOKENS: usize = 256;
/// One text in so many is held out, and so many of its first bytes are judged by.
const HELD: usize = 25;
const JUDGED: usize = 12_000;

#[derive(Parser)]
#[command(about = "Train small language models of bytes from the beginning")]
struct Options {
    /// Text file, or folder of .txt files [default: State of the Union speeches, fetched once]
    #[arg(long)]
    text: Option<PathBuf>,
    /// What to train
    #[arg(long, default_value = "both", value_parser = ["gpt2", "llama", "both"])]
    family: String,
    /// Layers
    #[arg(long, default_value_t = 7)]
    layers: usize,
    /// Width
    #[arg(long, default_value_t = 192)]
    dim: usize,
    /// Heads
    #[arg(long, default_value_t = 6)]
    heads: usize,
    /// Bytes of a context
    #[arg(long, default_value_t = 64)]
    context: usize,
    /// Contexts of a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Parts of a step that run one after the other
    #[arg(long, default_value_t = 1)]
    passes: usize,
    /// Steps
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// What makes a step; adamw8 keeps its averages in 8 bits
    #[arg(long, default_value = "adamw", value_parser = ["adamw", "adamw8", "signum"])]
    rule: String,
    /// The highest learning rate [default: 2e-3, of signum 5e-4]
    #[arg(long)]
    rate: Option<f64>,
    /// What weights and activations are kept in; bf16 has f32 masters
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    element: String,
    /// Run layers again on the way back instead of keeping their activations
    #[arg(long)]
    again: bool,
    /// Seed of weights, of the order of the text and of what is written
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    device: Option<String>,
    /// Continue interrupted runs from the states in the output folder
    #[arg(long)]
    resume: bool,
    /// Print what is held in memory, and why
    #[arg(long)]
    memory: bool,
    /// Folder for states, models and the picture
    #[arg(long, default_value = "train_lm")]
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
    let device = match options.device.as_deref() {
        Some("cpu") => Device::Host,
        Some(_) => Device::cuda(0)?,
        None => Device::cuda(0).unwrap_or(Device::Host),
    };
    let text = Text::read(&assets::SPEECHES.locate(options.text.as_deref())?)?;
    std::fs::create_dir_all(&options.out).map_err(|error| format!("--out {}: {error}", options.out.display()))?;
    let baseline = Trigrams::of(&text.train).judge(&text.held);
    println!("{} bytes to learn from, {} to judge by", text.train.len(), text.held.len());
    println!("3-grams: {baseline:.4} nats a byte");
    let families = ["gpt2", "llama"].into_iter().filter(|family| options.family == "both" || options.family == *family);
    let mut trained = Vec::new();
    for family in families {
        trained.push(match options.element.as_str() {
            "bf16" => train::<bf16>(options, family, &text, &device)?,
            _ => train::<f32>(options, family, &text, &device)?,
        });
    }
    let curves = trained.iter().map(|one| Curve { name: one.family, course: &one.course, held_out: one.held_out });
    let path = options.out.join("loss.svg");
    io::replace(&path, picture(&curves.collect::<Vec<_>>(), baseline)?.as_bytes())?;
    let models: Vec<Value> = trained.into_iter().map(|one| one.figures).collect();
    let figures = json!({"trigram": baseline, "picture": path, "models": models});
    println!("{figures:#}");
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    Ok(())
}

/// What is learned from and what is judged by.
struct Text {
    train: Vec<u8>,
    held: Vec<u8>,
}

impl Text {
    /// The texts of a folder by name, or one.
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            files = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
            files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
            files.sort();
        }
        let mut text = Self { train: Vec::new(), held: Vec::new() };
        for (at, file) in files.iter().enumerate() {
            let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            match files.len() {
                // Of one text, the end is held out.
                1 => {
                    let (train, held) = bytes.split_at(bytes.len() - bytes.len() / HELD);
                    text = Self { train: train.to_vec(), held: held[..held.len().min(10 * JUDGED)].to_vec() };
                }
                _ if at % HELD == HELD / 2 => text.held.extend_from_slice(&bytes[..bytes.len().min(JUDGED)]),
                _ => text.train.extend_from_slice(&bytes),
            }
        }
        match text.held.len() {
            0 | 1 => Err(format!("{}: too little text to hold some out", path.display()).into()),
            _ => Ok(text),
        }
    }
}

/// A model's figures, and its part of the picture.
struct Trained {
    family: &'static str,
    course: Vec<Progress>,
    held_out: f64,
    figures: Value,
}

fn train<T: Stored>(
    options: &Options,
    family: &'static str,
    text: &Text,
    device: &Device,
) -> Result<Trained, Box<dyn Error>> {
    const SAVE: usize = 100;
    let begun = Instant::now();
    let of = if family == "gpt2" { Config::gpt2 } else { Config::llama };
    let config = of(options.layers, options.dim, options.heads, TOKENS, options.context);
    let model = Decoder::<T>::random(config, options.seed, device)?;
    let parameters: usize = model.parameters().iter().map(|part| part.dims.iter().product::<usize>()).sum();
    let (rule, usual) = match options.rule.as_str() {
        "adamw8" => (Rule::AdamW8(Betas::default()), 2e-3),
        "signum" => (Rule::Signum { beta: 0.9 }, 5e-4),
        _ => (Rule::default(), 2e-3),
    };
    let settings = Settings {
        rule,
        batch: options.batch,
        passes: options.passes,
        again: options.again,
        seed: options.seed,
        ..Settings::new(options.context, Schedule::cosine(options.rate.unwrap_or(usual), options.steps))
    };
    let (ids, state) = (bytes(&text.train), options.out.join(format!("{family}.state.safetensors")));
    let mut trainer = match options.resume && state.is_file() {
        true => Trainer::resume(&state, model, ids, settings)?,
        false => Trainer::new(model, ids, settings)?,
    };
    let bar = ProgressBar::new(options.steps as u64).with_prefix(family).with_position(trainer.steps() as u64);
    bar.set_style(ProgressStyle::with_template("{prefix:>6} {wide_bar} {pos}/{len} {elapsed} {msg}")?);
    let (first, started) = (trainer.steps(), Instant::now());
    while !trainer.is_done() {
        let now = trainer.step()?;
        bar.set_position(now.step as u64);
        bar.set_message(format!("loss {:.3}", now.loss));
        if now.step % SAVE == 0 {
            trainer.save_state(&state)?;
        }
    }
    bar.finish();
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    let tokens = (trainer.steps() - first) * options.batch * options.context;
    if options.memory {
        println!("{}", trainer.memory());
        peak().inspect(|bytes| println!("{:<12} {:>10.2} MB", "at most", *bytes as f64 / 1e6));
    }
    let (held_out, course) = (trainer.judge(&bytes(&text.held))?, trainer.course().to_vec());
    let folder = options.out.join(family);
    trainer.model().save(&folder)?;
    let sample = write(trainer.model(), "The State of the Union is", options.seed)?;
    println!("{family}: {held_out:.4} nats a byte on held-out text. It writes:\n{sample}\n");
    let figures = json!({
        "family": family, "element": options.element, "rule": options.rule, "parameters": parameters, "steps": trainer.steps(),
        "loss": course.last().map(|last| last.loss), "held_out": held_out,
        "tokens_per_s": tokens as f64 / seconds, "seconds": begun.elapsed().as_secs_f64(),
        "held_mb": trainer.memory().bytes() as f64 / 1e6, "peak_rss_mb": peak().map(|bytes| bytes as f64 / 1e6),
        "model": folder, "sample": sample,
    });
    Ok(Trained { family, course, held_out, figures })
}

fn bytes(text: &[u8]) -> Vec<u32> {
    text.iter().map(|&byte| byte.into()).collect()
}

/// Continue a beginning by so many bytes. Where a context is full, its second half begins the next.
fn write<T: Stored>(model: &Decoder<T>, begin: &str, seed: u64) -> io::Result<String> {
    const BYTES: usize = 300;
    let room = model.config().context;
    let sampling = Sampling { tokens: BYTES, temperature: 0.8, top_p: 0.95, seed };
    let (mut sampler, mut text) = (Sampler::new(&sampling)?, begin.as_bytes().to_vec());
    let mut cache = Cache::new(model, 1, room)?;
    let (mut seen, until) = (0, text.len() + BYTES);
    while text.len() < until {
        if cache.len() == room || seen == 0 {
            cache.truncate(0);
            seen = text.len() - text.len().min(room.div_ceil(2));
        }
        let logits = model.extend(bytes(&text[seen..]), &mut cache, &mut Hooks::new())?;
        seen = text.len();
        text.push(sampler.choose(&logits)? as u8);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
