//! Continue a text with a language model, on a GPU if there is one.
//!
//! `cargo run --release -p latens --example generate -- --prompt "The capital of France is" --tokens 20`
use clap::Parser;
use latens::lm::{Continuation, Hooks, LanguageModel, Sampler, Sampling};
use latens::{Device, assets};
use std::error::Error;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// Continue a text with a language model.
#[derive(Parser)]
struct Options {
    /// A GGUF file, or a folder with config.json, tokenizer.json and safetensors [default: SmolLM2-135M-Instruct, fetched]
    #[arg(long)]
    model: Option<PathBuf>,
    /// The text to continue
    #[arg(long, default_value = "The capital of France is")]
    prompt: String,
    /// At most so many tokens
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// What logits are divided by; 0 takes the likeliest token always
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Draw only from the likeliest tokens that together are this probable
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// The same seed draws the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
    /// Write what came out, and how fast, to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

fn device(name: &str) -> Result<Device, Box<dyn Error>> {
    match name {
        "cpu" => Ok(Device::Host),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)?),
        #[cfg(feature = "cuda")]
        "auto" => Ok(Device::cuda(0).unwrap_or(Device::Host)),
        #[cfg(not(feature = "cuda"))]
        "auto" => Ok(Device::Host),
        _ => Err(format!("device {name}: expected auto, cpu or cuda (if compiled in)").into()),
    }
}

fn main() {
    if let Err(error) = run(&Options::parse()) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.prompt.is_empty() {
        return Err("--prompt: there is nothing to go on from".into());
    }
    let device = device(&options.device)?;
    let path = assets::SMOLLM2.locate(options.model.as_deref())?;
    let start = Instant::now();
    let lm = LanguageModel::open(&path, &device)?;
    let load = start.elapsed().as_secs_f64();

    let &Options { tokens, temperature, top_p, seed, .. } = options;
    let sampling = Sampling { tokens, temperature, top_p, seed };
    Sampler::new(&sampling)?; // a wrong setting is said before the prompt
    print!("{}", options.prompt);
    stdout().flush()?;
    let (start, mut first) = (Instant::now(), None);
    let Continuation { ids, text } = lm.generate(&options.prompt, &sampling, &mut Hooks::new(), |piece| {
        first.get_or_insert_with(|| start.elapsed().as_secs_f64());
        print!("{piece}");
        let _ = stdout().flush(); // a reader that has gone does not stop the model
    })?;
    println!();
    let (seconds, count) = (start.elapsed().as_secs_f64(), ids.len());
    let first = first.unwrap_or(seconds);
    eprintln!("{count} tokens in {seconds:.2} s, the first after {first:.2} s; loaded in {load:.2} s");
    if let Some(path) = &options.json {
        let json = serde_json::json!({
            "prompt": options.prompt, "text": text, "tokens": count, "seconds": seconds, "first_seconds": first,
            "load_seconds": load, "device": if device.is_host() { "cpu" } else { "cuda" }, "seed": seed,
        });
        latens::io::replace(path, format!("{json:#}\n").as_bytes())?;
    }
    Ok(())
}
