//! `latens`: the methods of the library from a shell.
mod cache;
mod common;
mod concepts;
mod convert;
mod eval;
mod explain;
mod page;
mod probe;
mod show;
mod train;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "latens", version, about = "Train, judge, convert and look at sparse autoencoders")]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sparse autoencoders
    #[command(subcommand)]
    Sae(Sae),
}

#[derive(Subcommand)]
enum Sae {
    /// Train autoencoders on the activations of a language model: several layers, seeds and settings on one run of it
    Train(train::Options),
    /// Judge a checkpoint on text
    Eval(eval::Options),
    /// Sparse probing on real tasks: party and era of speeches, genres, spam
    Probe(probe::Options),
    /// Spurious correlation removal: whether the latents of a concept can be ablated so that a biased probe tells another
    Scr(concepts::Options),
    /// Targeted probe perturbation: whether the latents of a class can be ablated without harm to others
    Tpp(concepts::Options),
    /// Whether latents of words absorb those of their first letters
    Letters(probe::Letters),
    /// Whether two checkpoints have the same directions
    Agree(eval::Agree),
    /// Write a checkpoint in another layout
    Convert(convert::Options),
    /// Write a page to look at a checkpoint's latents
    Report(page::Options),
    /// Say in words what latents stand for, and judge the words by detection and fuzzing
    Explain(explain::Options),
    /// Write where all latents fire, in files that explanation pipelines read
    Cache(cache::Options),
    /// Print what a checkpoint is, or what one latent does
    Show(show::Options),
}

fn main() {
    latens::keep_memory(1 << 29); // each step makes the same tensors
    let What::Sae(sae) = Options::parse().what;
    let done = match sae {
        Sae::Train(options) => train::run(&options),
        Sae::Eval(options) => eval::run(&options),
        Sae::Probe(options) => probe::run(&options),
        Sae::Scr(options) => concepts::scr(&options),
        Sae::Tpp(options) => concepts::tpp(&options),
        Sae::Letters(options) => probe::letters(&options),
        Sae::Agree(options) => eval::agree(&options),
        Sae::Convert(options) => convert::run(&options),
        Sae::Report(options) => page::run(&options),
        Sae::Explain(options) => explain::run(&options),
        Sae::Cache(options) => cache::run(&options),
        Sae::Show(options) => show::run(&options),
    };
    if let Err(error) = done {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
