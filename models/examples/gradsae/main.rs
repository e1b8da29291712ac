//! Which latents an answer hangs on: GradSAE's experiments on questions that the model answers right.
//!
//! `cargo run --release -p latens --example gradsae -- --json gradsae.json`
//!
//! For each layer an autoencoder is trained once and kept. Then the latents of every question are ranked by gradients and by activations, the top
//! or the bottom ones are turned off, and the model is asked again; latents of one question are brought into another of the same context; and
//! the slopes are compared with what is lost when a latent is really turned off.
mod exact;
mod measure;
mod page;
mod pairs;
mod questions;
#[path = "../shared/mod.rs"]
mod shared;

use clap::Parser;
use latens::steer::Keep;
use latens::steer::gradsae::{Asked, GradSae};
use measure::Layer;
use questions::{Question, questions};
use serde_json::json;
use shared::{Common, Outcome, autoencoders, progress};

/// How many times as many are wanted of those that the model answers right: after layer 22, half of them and less are so through an autoencoder.
const MORE: usize = 4;

#[derive(Parser)]
#[command(about = "Find the latents that answers hang on, by gradients, and turn them off")]
struct Options {
    /// Layers whose residuals are looked at
    #[arg(long, value_delimiter = ',', default_value = "15,22")]
    layers: Vec<usize>,
    /// Questions that the model answers right, for each layer
    #[arg(long, default_value_t = 320)]
    questions: usize,
    /// Questions whose latents are turned off one by one
    #[arg(long, default_value_t = 32)]
    exact: usize,
    /// How many latents of each of these, drawn
    #[arg(long, default_value_t = 96)]
    each: usize,
    /// Pairs of questions for local steering
    #[arg(long, default_value_t = 100)]
    pairs: usize,
    /// Keep what autoencoders do not reconstruct, which is lost in the released code
    #[arg(long)]
    keep_error: bool,
    #[command(flatten)]
    common: Common,
}

fn main() {
    if let Err(error) = run(&Options::parse()) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Outcome<()> {
    let common = &options.common;
    if options.layers.is_empty() || options.questions == 0 || options.exact == 0 || options.each < 2 {
        return Err(
            "--layers, --questions, --exact, --each: there must be some of each, and two latents of a question".into(),
        );
    }
    let (lm, _claim) = common.open()?;
    let saes = autoencoders(common, &lm, &options.layers)?;
    let keep = if options.keep_error { Keep::Error } else { Keep::Reconstruction };
    let all = questions(common.seed)?;
    let right = measure::right(&lm, &all, options.questions.saturating_mul(MORE))?;
    let own = json!([options.questions, MORE, options.exact, options.each, options.pairs, format!("{keep:?}")]);
    let some: Vec<&Asked> = right.iter().take(16).map(|(_, asked)| asked).collect();
    let mut layers = Vec::new();
    for (&layer, sae) in options.layers.iter().zip(&saes) {
        let method = GradSae::new(&lm, sae, layer)?.keeping(keep);
        let measure = || Layer::measure(&method, layer, &right, options);
        let found = common.part(&lm, &format!("gradsae-{layer}"), &own, measure)?;
        found.print();
        exact::tell_cost(&lm, sae, layer, &some)?;
        layers.push(found);
    }
    let figures = json!({
        "seed": common.seed, "candidates": all.len(), "right": right.len(), "keep": format!("{keep:?}"),
        "most_questions": options.questions, "most_pairs": options.pairs, "latents": common.latents, "active": common.active, "tokens": common.tokens, "layers": layers,
    });
    common.keep("gradsae", &figures, page::page(&layers, &saes, &lm, options)?)
}
