//! Concept vectors with and without an autoencoder's denoising: SDCV on concepts of real texts.
//!
//! `cargo run --release -p latens --example sdcv -- --json sdcv.json`
//!
//! For each concept, vectors are made of the same texts by every method, strengths are chosen on some prompts, and what is said to others is judged
//! by classifiers or rules that never saw those texts.
mod concepts;
mod judge;
mod measure;
mod page;
#[path = "../shared/mod.rs"]
mod shared;

use clap::Parser;
use concepts::{concepts, prompts};
use judge::Meanings;
use latens::steer::statistics::{Interval, bootstrap, permuted};
use measure::{Bench, Measured, begin};
use serde::Serialize;
use serde_json::json;
use shared::{Common, Outcome, autoencoders, ones, progress};

#[derive(Parser)]
#[command(about = "Find concept vectors with and without denoising, and see which of them steer")]
struct Options {
    /// Layer whose residual is changed
    #[arg(long, default_value_t = 15)]
    layer: usize,
    /// Latents that are kept
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// How latents are scored
    #[arg(long, default_value = "difference", value_parser = ["difference", "signed", "f", "auc", "logistic"])]
    select: String,
    /// Texts of each kind that vectors are made of
    #[arg(long, default_value_t = 150)]
    texts: usize,
    /// Prompts to choose strengths by, and to judge by
    #[arg(long, value_delimiter = ',', default_value = "12,30")]
    prompts: Vec<usize>,
    /// Strengths, in multiples of the mean length of activations
    #[arg(long, value_delimiter = ',', default_value = "0.2,0.4,0.6,0.8")]
    strengths: Vec<f32>,
    /// Tokens of a continuation at most
    #[arg(long, default_value_t = 24)]
    said: usize,
    /// Only concepts whose names begin with one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
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
    let [choose, judge] = options.prompts[..] else { return Err("--prompts: two numbers are needed".into()) };
    if choose == 0 || judge == 0 || options.strengths.is_empty() {
        return Err("--prompts, --strengths: there must be prompts of both kinds, and a strength".into());
    }
    let (lm, _claim) = common.open()?;
    let sae = autoencoders(common, &lm, &[options.layer])?.remove(0);
    let meanings = Meanings::open(lm.model.device())?;
    let mut first = prompts(choose + judge, common.seed)?;
    let second = first.split_off(choose);
    let begun = [begin(&lm, &first, options.layer, options.said)?, begin(&lm, &second, options.layer, options.said)?];
    let prompts = [first, second];
    let bench = Bench { lm: &lm, sae: &sae, layer: options.layer, meanings: &meanings, prompts, begun, options };
    let own = json!([
        options.layer,
        options.k,
        options.select,
        options.texts,
        options.prompts,
        options.strengths,
        options.said
    ]);
    let mut all = Vec::new();
    for concept in concepts(common.seed)? {
        if options.only.is_empty() || options.only.iter().any(|only| concept.name.starts_with(&**only)) {
            let measure = || {
                let (measured, vectors) = bench.measure(&concept)?;
                for vector in vectors {
                    let name = format!("{}-{}", vector.concept, vector.method.replace(' ', "-"));
                    vector.save(&common.out.join("vectors").join(name))?;
                }
                Ok(measured)
            };
            let measured = common.part(&lm, &format!("sdcv-{}", concept.name.replace(' ', "-")), &own, measure)?;
            print(&measured);
            all.push(measured);
        }
    }
    let gains = gains(&all, common.seed)?;
    gains.iter().for_each(Gain::print);
    let figures = json!({
        "seed": common.seed, "layer": options.layer, "k": options.k, "select": options.select, "latents": common.latents, "active": common.active,
        "tokens": common.tokens, "prompts": options.prompts, "said": options.said, "concepts": all, "gains": gains,
    });
    common.keep("sdcv", &figures, page::page(&all, &gains, &bench)?)
}

fn print(of: &Measured) {
    println!(
        "{}: {} texts, judged by {} ({:.1} % right on real texts); as it is {:.1} %",
        of.concept,
        of.texts[0],
        of.judge,
        100.0 * of.judge_right,
        100.0 * of.plain.success.mean
    );
    for method in &of.methods {
        let best = &method.best;
        println!(
            "  {:<14} at {:.2}: success {:>5.1} %, relevance {:.2}, surprise {:.2}; cosine with raw {:.2}",
            method.name,
            method.chosen,
            100.0 * best.success.mean,
            best.relevance.mean,
            best.surprise.mean,
            method.to_raw
        );
    }
}

/// How much more one method succeeds than another, over all concepts and prompts.
#[derive(Serialize)]
struct Gain {
    of: &'static str,
    over: &'static str,
    /// At the strengths chosen for each.
    success: Interval,
    p: f64,
}

impl Gain {
    fn print(&self) {
        println!(
            "{} over {}: {:+.1} points ({:+.1} to {:+.1}), n = {}, p = {:.1e}",
            self.of,
            self.over,
            100.0 * self.success.mean,
            100.0 * self.success.low,
            100.0 * self.success.high,
            self.success.n,
            self.p
        );
    }
}

fn gains(all: &[Measured], seed: u64) -> Outcome<Vec<Gain>> {
    const PAIRS: [(&str, &str); 6] = [
        ("DiM denoised", "DiM raw"),
        ("DiM scaled", "DiM raw"),
        ("LP denoised", "LP raw"),
        ("LP scaled", "LP raw"),
        ("DiM denoised", "DiM discarded"),
        ("DiM raw", "DiM discarded"),
    ];
    let each = |name: &str| -> Vec<f64> {
        let of = |measured: &Measured| {
            measured
                .methods
                .iter()
                .filter(|method| method.name == name)
                .flat_map(|method| ones(method.best.each.iter().copied()))
                .collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    };
    let gain = |&(of, over): &(&'static str, &'static str)| {
        let (a, b) = (each(of), each(over));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        Ok(Gain { of, over, success: bootstrap(&differences, seed)?, p: permuted(&a, &b, seed)? })
    };
    PAIRS.iter().map(gain).collect()
}
