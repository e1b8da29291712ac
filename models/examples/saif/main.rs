//! Instructions that a model follows without being told: SAIF on instructions whose being followed can be seen.
//!
//! `cargo run --release -p latens --example saif -- --json saif.json`
//!
//! Of pairs of prompts with and without an instruction, in several wordings and languages, the latents are found that it makes active, and their
//! directions are added while the model answers prompts without it.
#[path = "../shared/gain.rs"]
mod gain;
mod measure;
mod page;
#[path = "../shared/mod.rs"]
mod shared;
mod tasks;
mod told;

use clap::Parser;
use gain::Gain;
use latens::lm::Local;
use measure::{Bench, Graded, Measured, Steering, begin};
use serde::Serialize;
use serde_json::json;
use shared::{Common, Outcome, autoencoders, progress};
use tasks::{contents, instructions};
use told::{Told, told};

#[derive(Parser)]
#[command(about = "Find the latents of instructions, and steer by them")]
struct Options {
    /// Layers whose residuals are changed
    #[arg(long, value_delimiter = ',', default_value = "8,15,22,29")]
    layers: Vec<usize>,
    /// Latents of an instruction
    #[arg(long, default_value_t = 15)]
    k: usize,
    /// Other numbers of latents to compare
    #[arg(long, value_delimiter = ',', default_value = "1,5,40")]
    ks: Vec<usize>,
    /// Deviations that are added to the mean strength of a latent
    #[arg(long, default_value_t = 0.0)]
    beta: f64,
    /// What a single latent fades by with each token
    #[arg(long, default_value_t = 0.9)]
    decay: f32,
    /// What the strengths of latents are multiplied with, of which one is chosen
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,6")]
    strengths: Vec<f32>,
    /// Contents to find latents by, to choose strengths by, and to grade
    #[arg(long, value_delimiter = ',', default_value = "90,16,40")]
    contents: Vec<usize>,
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 32)]
    said: usize,
    /// Steer at every token of the prompt as well
    #[arg(long)]
    everywhere: bool,
    /// How much more often an instruction is to be followed strictly where it is said, as a share; others are not steered
    #[arg(long, default_value_t = 0.5)]
    least: f64,
    /// Only instructions whose names begin with one of these
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
    let [find, choose, grade] = options.sound()?;
    let (lm, _claim) = common.open()?;
    Local::new(&lm)?; // prompts are turns of a conversation
    let saes = autoencoders(common, &lm, &options.layers)?;
    let mut all = contents(common.seed)?;
    let wanted = find.saturating_add(choose).saturating_add(grade);
    if all.len() < wanted {
        return Err(format!("--contents: {wanted} were asked for, but there are {}", all.len()).into());
    }
    all.truncate(wanted);
    let last = all.split_off(find + choose);
    let second = all.split_off(find);
    let layers: Vec<_> = options.layers.iter().copied().zip(&saes).collect();
    let without = measure::last_tokens(&lm, &layers, &measure::prompts(&lm, &all, None, true)?)?;
    let begun = [begin(&lm, &second, options.strengths.len(), options.said)?, begin(&lm, &last, 1, options.said)?];
    let bench = Bench { lm: &lm, layers, contents: [all, second, last], without, begun, options };
    let own = json!([
        options.layers,
        options.k,
        options.ks,
        options.beta,
        options.decay,
        options.strengths,
        options.contents,
        options.said,
        options.everywhere
    ]);
    let told = told(&bench)?;
    let mut measured = Vec::new();
    for (instruction, _) in told.iter().filter(|(_, told)| told.gain() >= options.least) {
        let of = common.part(&lm, &format!("saif-{}", instruction.name), &own, || bench.measure(instruction))?;
        let raw = common.part(&lm, &format!("saif-raw-{}", instruction.name), &own, || bench.raw(instruction))?;
        let one = One { of, raw };
        one.print();
        measured.push(one);
    }
    let told: Vec<Told> = told.into_iter().map(|(_, told)| told).collect();
    if measured.is_empty() {
        let what = "no instruction is followed so much more often where it is said";
        return Err(format!("--least {}: {what}", options.least).into());
    }
    let gains = gains(&measured, common.seed)?;
    gains.iter().for_each(Gain::print);
    let figures = json!({
        "seed": common.seed, "contents": options.contents, "said": options.said, "layers": options.layers, "k": options.k, "ks": options.ks,
        "beta": options.beta, "decay": options.decay, "strengths": options.strengths, "everywhere": options.everywhere, "latents": common.latents,
        "active": common.active, "tokens": common.tokens, "least": options.least, "said_to_it": told, "instructions": measured, "gains": gains,
    });
    common.keep("saif", &figures, page::page(&measured, &told, &gains, &bench)?)
}

impl Options {
    /// How many contents, if all settings are sound: better known now than after hours.
    fn sound(&self) -> Outcome<[usize; 3]> {
        let [find, choose, grade] = self.contents[..] else {
            return Err("--contents: three numbers are needed".into());
        };
        if find == 0 || choose == 0 || grade == 0 || self.strengths.is_empty() || self.layers.is_empty() {
            return Err("--contents, --strengths, --layers: there must be some of each".into());
        }
        if self.k == 0 || self.ks.contains(&0) || self.said == 0 {
            return Err("--k, --ks, --said: 0 latents steer nothing, and 0 tokens say nothing".into());
        }
        if self.strengths.iter().any(|strength| !strength.is_finite()) {
            return Err(format!("--strengths: {:?}, expected numbers", self.strengths).into());
        }
        let most = self.ks.iter().copied().fold(self.k, usize::max);
        if most > self.common.latents {
            return Err(format!("--k, --ks: {most} of {} latents", self.common.latents).into());
        }
        if !self.beta.is_finite() || self.least.is_nan() || !(0.0..=1.0).contains(&self.decay) {
            return Err("--beta, --least, --decay: numbers are needed, of --decay from 0 to 1".into());
        }
        if !instructions().iter().any(|of| self.asks_for(of.name)) {
            let names = instructions().iter().map(|of| of.name).collect::<Vec<_>>().join(", ");
            return Err(format!("--only: no instruction begins so; there are {names}").into());
        }
        Ok([find, choose, grade])
    }

    /// Whether this instruction is one of those wanted.
    pub fn asks_for(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(&**only))
    }
}

/// An instruction with what it is compared with.
#[derive(Serialize)]
pub struct One {
    #[serde(flatten)]
    of: Measured,
    /// The difference of the means of both kinds of prompt, at each layer; the best first, by contents for that.
    raw: Vec<Steering>,
}

impl One {
    fn print(&self) {
        let tell = |name: &str, graded: &Graded| {
            let [strict, loose] = [graded.strict.mean, graded.loose.mean].map(|share| 100.0 * share);
            println!("  {name:<32} strict {strict:>5.1} %, loose {loose:>5.1} %, surprise {:.2}", graded.surprise.mean);
        };
        let with = |name: &str, of: &Steering| {
            let latents = if of.k == 0 { String::new() } else { format!(", {} latents", of.k) };
            tell(&format!("{name} (layer {}{latents}, x{})", of.layer, of.graded.strength), &of.graded);
        };
        println!("{}:", self.of.instruction);
        tell("not said", &self.of.plain);
        tell("said before", &self.of.said_before);
        tell("said behind", &self.of.said_after);
        with("steered", &self.of.saif);
        with("fading", &self.of.single);
        with("difference", &self.raw[0]);
    }
}

fn gains(all: &[One], seed: u64) -> Outcome<Vec<Gain>> {
    let graded = |name: &str, one: &'_ One| match name.split(',').next() {
        Some("steering") => one.of.saif.graded.clone(),
        Some("difference") => one.raw[0].graded.clone(),
        Some("said") => one.of.said_after.clone(),
        _ => one.of.plain.clone(),
    };
    let mut gains = Vec::new();
    for names in [
        ["steering, strict", "nothing said"],
        ["steering, loose", "nothing said"],
        ["difference, strict", "nothing said"],
        ["difference, loose", "nothing said"],
        ["steering, strict", "difference"],
        ["steering, loose", "difference"],
        ["said, strict", "nothing said"],
        ["said, loose", "nothing said"],
    ] {
        let loose = names[0].ends_with("loose");
        let [a, b] = names.map(|name| all.iter().map(|of| graded(name, of).each(loose)).collect::<Vec<_>>());
        gains.push(Gain::new(names, &a, &b, seed)?);
    }
    Ok(gains)
}
