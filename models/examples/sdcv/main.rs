//! Concept vectors with and without an autoencoder's denoising: SDCV on concepts of real texts.
//!
//! `cargo run --release -p latens --example sdcv -- --json sdcv.json`
//!
//! For each concept, vectors are made of the same texts by every method, strengths are chosen on some prompts, and what is said to others is judged
//! by classifiers or rules that never saw those texts.
mod concepts;
#[path = "../shared/gain.rs"]
mod gain;
mod judge;
mod measure;
mod page;
#[path = "../shared/mod.rs"]
mod shared;

use clap::Parser;
use concepts::{Concept, concepts, prompts};
use gain::Gain;
use judge::Meanings;
use measure::{Bench, Measured, begin};
use serde_json::json;
use shared::{Common, Outcome, autoencoders, ones, progress};
use std::collections::BTreeSet;

/// What latents may be scored by.
const SCORES: [&str; 5] = ["difference", "signed", "f", "auc", "logistic"];

#[derive(Parser)]
#[command(about = "Find concept vectors with and without denoising, and see which of them steer")]
struct Options {
    /// Layer whose residual is changed
    #[arg(long, default_value_t = 15)]
    layer: usize,
    /// Latents that are kept
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Other numbers of latents to compare
    #[arg(long, value_delimiter = ',', default_value = "128,512")]
    ks: Vec<usize>,
    /// How latents are scored
    #[arg(long, default_value = "difference", value_parser = SCORES)]
    select: String,
    /// Other scores to compare
    #[arg(long, value_delimiter = ',', default_value = "auc", value_parser = SCORES)]
    selects: Vec<String>,
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
    let number = |k: &usize| *k > 0 && *k <= common.latents;
    if !number(&options.k) || !options.ks.iter().all(number) || options.texts == 0 || options.said == 0 {
        let what = format!("some of each are needed, and no more than {} latents", common.latents);
        return Err(format!("--k, --ks, --texts, --said: {what}").into());
    }
    if repeats(&options.ks)
        || options.ks.contains(&options.k)
        || repeats(&options.selects)
        || options.selects.contains(&options.select)
    {
        return Err("--ks, --selects: others than --k and --select are compared, each once".into());
    }
    let concepts = options.concepts()?;
    let mut first = prompts(choose.saturating_add(judge), common.seed)?;
    if first.len() < choose.saturating_add(judge) {
        return Err(format!("--prompts: {choose} and {judge} were asked for, but there are {}", first.len()).into());
    }
    let (lm, _claim) = common.open()?;
    let sae = autoencoders(common, &lm, &[options.layer])?.remove(0);
    let meanings = Meanings::open(lm.model.device())?;
    let second = first.split_off(choose);
    let begun = [begin(&lm, &first, options.layer, options.said)?, begin(&lm, &second, options.layer, options.said)?];
    let prompts = [first, second];
    let bench = Bench { lm: &lm, sae: &sae, layer: options.layer, meanings: &meanings, prompts, begun, options };
    let own = json!([
        options.layer,
        options.k,
        options.ks,
        options.select,
        options.selects,
        options.texts,
        options.prompts,
        options.strengths,
        options.said
    ]);
    let mut all = Vec::new();
    for concept in concepts {
        let path =
            |vector: &str| common.out.join("vectors").join(format!("{}-{}", concept.name, vector.replace(' ', "-")));
        let names: Vec<String> = measure::methods(options)?.into_iter().map(|(name, _)| name).collect();
        let measure = || {
            let (measured, vectors) = bench.measure(&concept)?;
            for vector in vectors {
                vector.save(&path(&vector.method))?;
            }
            Ok(measured)
        };
        let part = format!("sdcv-{}", concept.name);
        let kept = common.out.join("parts").join(format!("{part}.json"));
        if kept.is_file() && !names.iter().all(|name| path(name).with_extension("safetensors").is_file()) {
            std::fs::remove_file(kept)?; // its vectors are to be made anew
        }
        let measured = common.part(&lm, &part, &own, measure)?;
        print(&measured);
        all.push(measured);
    }
    let gains = gains(&all, common.seed)?;
    gains.iter().for_each(Gain::print);
    let figures = json!({
        "seed": common.seed, "layer": options.layer, "k": options.k, "ks": options.ks, "select": options.select, "selects": options.selects, "latents": common.latents, "active": common.active,
        "tokens": common.tokens, "texts": options.texts, "prompts": options.prompts, "strengths": options.strengths, "said": options.said,
        "concepts": all, "gains": gains,
    });
    common.keep("sdcv", &figures, page::page(&all, &gains, &bench)?)
}

impl Options {
    /// Those that are asked for.
    fn concepts(&self) -> Outcome<Vec<Concept>> {
        let mut all = concepts(self.common.seed)?;
        let names = all.iter().map(|of| of.name).collect::<Vec<_>>().join(", ");
        all.retain(|of| self.only.is_empty() || self.only.iter().any(|only| of.name.starts_with(&**only)));
        match all.is_empty() {
            true => Err(format!("--only: no concept begins so; there are {names}").into()),
            false => Ok(all),
        }
    }
}

fn print(of: &Measured) {
    println!(
        "{}: {} texts, judged by {} ({:.1} % right on real texts); as it is {:.1} %",
        of.concept,
        of.texts[0],
        of.judge,
        100.0 * of.judge_right.mean,
        100.0 * of.plain.success.mean
    );
    for method in &of.methods {
        let best = &method.best;
        println!(
            "  {:<22} at {:.2}: success {:>5.1} %, relevance {:.2}, surprise {:.2}; cosine with raw {:.2}",
            method.name,
            method.chosen,
            100.0 * best.success.mean,
            best.relevance.mean,
            best.surprise.mean,
            method.to_raw
        );
    }
}

/// Each method over the raw one of its kind, and what is kept over what is thrown away.
fn gains(all: &[Measured], seed: u64) -> Outcome<Vec<Gain>> {
    let each = |name: &str| -> Vec<Vec<f64>> {
        let of = |measured: &Measured| {
            let method = measured.methods.iter().find(|method| method.name == name);
            method.map_or(vec![], |method| ones(method.best.each.iter().copied()))
        };
        all.iter().map(of).collect()
    };
    let mut pairs = Vec::new();
    for name in all.iter().take(1).flat_map(|measured| &measured.methods).map(|method| &method.name) {
        let raw = format!("{} raw", &name[..name.find(' ').unwrap_or(0)]);
        if name.contains("discarded") {
            pairs.push([name.replace("discarded", "denoised"), name.clone()]);
            pairs.push([raw, name.clone()]);
        } else if *name != raw {
            pairs.push([name.clone(), raw]);
        }
    }
    pairs.into_iter().map(|[of, over]| Gain::new([&of, &over], &each(&of), &each(&over), seed)).collect()
}

/// Whether one is there twice.
fn repeats<T: Ord>(all: &[T]) -> bool {
    all.iter().collect::<BTreeSet<_>>().len() < all.len()
}
