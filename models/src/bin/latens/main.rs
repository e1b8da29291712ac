//! `latens`: the methods of the library from a shell.
mod common;
mod convert;
mod eval;
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
    Probe(eval::Probe),
    /// Whether latents of words absorb those of their first letters
    Letters(eval::Letters),
    /// Whether two checkpoints have the same directions
    Agree(eval::Agree),
    /// Write a checkpoint in another layout
    Convert(convert::Options),
    /// Write a page to look at a checkpoint's latents
    Report(eval::Page),
    /// Print what a checkpoint is, or what one latent does
    Show(show::Options),
}

fn main() {
    latens::keep_memory(1 << 29); // each step makes the same tensors
    let What::Sae(sae) = Options::parse().what;
    let done = match sae {
        Sae::Train(options) => train::run(&options),
        Sae::Eval(options) => eval::run(&options),
        Sae::Probe(options) => eval::probe(&options),
        Sae::Letters(options) => eval::letters(&options),
        Sae::Agree(options) => eval::agree(&options),
        Sae::Convert(options) => convert::run(&options),
        Sae::Report(options) => eval::page(&options),
        Sae::Show(options) => show::run(&options),
    };
    if let Err(error) = done {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
