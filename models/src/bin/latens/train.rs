use crate::common::{Done, Layout, Opened, Point, Reading, name, progress};
use clap::Args;
use indicatif::ProgressBar;
use latens::io::{self, Claim, Scalars};
use latens::lm::Site;
use latens::sae::{
    Config, Contexts, Corpus, Gated, Jump, Origin, Progress, Shards, Source, Sparsity, Stream, Trainer, Variant,
    hook_name,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Activations that training begins with.
const SAMPLE: usize = 8192;
/// Steps between two saved states, and between two lines of numbers.
const SAVE: usize = 100;
const TELL: usize = 10;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    reading: Reading,
    /// Layers whose activations are read; each gets autoencoders of its own
    #[arg(long, value_delimiter = ',', default_value = "15")]
    layer: Vec<usize>,
    /// Where in the layer
    #[arg(long, value_enum, default_value = "residual")]
    point: Point,
    /// Settings as JSON, several for several autoencoders; the width is the model's; --latents, --k, --steps, --batch and --rate
    /// are for what is not given there
    #[arg(long, value_delimiter = ',')]
    config: Vec<PathBuf>,
    /// Number of latents
    #[arg(long, default_value_t = 4608)]
    latents: usize,
    /// Latents active per token, of variants that count them
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Kind of autoencoder
    #[arg(long, default_value = "topk", value_parser = ["topk", "batchtopk", "groupmax", "relu", "jumprelu", "gated"])]
    variant: String,
    /// Weight of the penalty, of variants that have one [default: SAELens']
    #[arg(long)]
    weight: Option<f32>,
    /// Tokens whose activations are trained on
    #[arg(long, default_value_t = 200_000)]
    tokens: usize,
    /// Activations of a step
    #[arg(long, default_value_t = 1024)]
    batch: usize,
    /// Steps [default: so many that every activation is seen five times]
    #[arg(long)]
    steps: Option<usize>,
    /// The highest learning rate [default: 2e-4 by the root of 16384 latents over theirs, as dictionary_learning has it]
    #[arg(long)]
    rate: Option<f32>,
    /// Seeds; each gets an autoencoder of its own
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Activations in memory at once, of each layer
    #[arg(long, default_value_t = 131_072)]
    room: usize,
    /// Keep activations in this folder, and read them from there the next time [default: the model runs when they are wanted]
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Whose layout checkpoints have
    #[arg(long, value_enum, default_value = "saelens")]
    format: Layout,
    /// Continue interrupted runs from their states in the output folder
    #[arg(long)]
    resume: bool,
    /// Folder for states, numbers and checkpoints
    #[arg(long, default_value = "latens-sae")]
    out: PathBuf,
}

/// An autoencoder in training, and where it goes.
struct Run {
    place: usize,
    folder: PathBuf,
    trainer: Trainer,
    scalars: Scalars,
    bar: ProgressBar,
}

pub fn run(options: &Options) -> Done {
    if options.layer.is_empty() || options.seeds.is_empty() || options.tokens == 0 {
        return Err("--layer, --seeds, --tokens: there is nothing to train".into());
    }
    let opened = options.reading.open()?;
    let sites: Vec<Site> = options.layer.iter().map(|&layer| options.point.at(layer)).collect();
    let settings = options.settings(opened.lm.model.config().dim)?;
    let _claim = Claim::of(&options.out)?;
    let corpus = options.reading.corpus(&opened, options.tokens, 0)?;
    let data = format!("{} ({}), {}", name(&opened.model), &io::sha256_of(&opened.model)?[..16], name(&opened.text));
    let shards = match &options.activations {
        Some(folder) => Some(written(folder, &opened, &corpus, &sites, &data)?),
        None => None,
    };
    let source = match &shards {
        Some(shards) => Source::Shards(shards, (0..sites.len()).collect()),
        None => Source::Model { model: &opened.lm.model, contexts: &corpus.train, sites: sites.clone() },
    };
    let data = format!("{data}; contexts {}", corpus.train.sha256());
    let mut runs = begin(options, &settings, &sites, &data, &source, &opened)?;
    let begun = runs.iter().map(|run| run.trainer.steps()).min().unwrap_or(0);
    let batch = settings[0].1.batch;
    let mut stream = Stream::new(source, options.room, batch, options.seeds[0], begun as u64, &opened.device)?;
    loop {
        let at = stream.at() as usize;
        if runs.iter().all(|run| run.trainer.steps() == run.trainer.config().steps) {
            break;
        }
        let parts = stream.batch()?;
        for run in &mut runs {
            // Those that were saved later wait until the stream is there.
            if run.trainer.steps() == at && at < run.trainer.config().steps {
                run.trainer.step(parts[run.place])?;
                run.tell()?;
            }
        }
    }
    runs.into_iter().try_for_each(|run| run.finish(options, &opened, &sites))
}

/// Activations on the disk.
fn written(folder: &Path, opened: &Opened, corpus: &Corpus, sites: &[Site], data: &str) -> Done<Shards> {
    const EACH: usize = 256;
    let bar = progress("activations", corpus.train.rows());
    let model = &opened.lm.model;
    let shards = Shards::write(folder, model, &corpus.train, sites, EACH, data, |rows| bar.inc(rows as u64))?;
    bar.finish();
    Ok(shards)
}

impl Options {
    /// Names and settings of the autoencoders of a place, without seeds.
    fn settings(&self, d: usize) -> Done<Vec<(String, Config)>> {
        let each = self.reading.context.saturating_sub(Contexts::SKIPPED).max(1);
        let rows = self.tokens.div_ceil(each) * each;
        let batch = self.batch.min(rows);
        let steps = self.steps.unwrap_or((5 * rows / batch.max(1)).max(1));
        let mut all = Vec::new();
        for path in &self.config {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let mut given: Value =
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            let Value::Object(fields) = &mut given else {
                return Err(format!("{}: is no object", path.display()).into());
            };
            for (name, value) in
                [("d", d), ("latents", self.latents), ("k", self.k), ("steps", steps), ("batch", batch)]
            {
                fields.entry(name).or_insert(value.into());
            }
            if let Some(rate) = self.rate {
                fields.entry("rate").or_insert(rate.into());
            }
            let config =
                Config::from_json(&given.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
            if config.d != d || config.batch != batch {
                let what = format!("d {} and batch {}, expected {d} and {batch}", config.d, config.batch);
                return Err(format!("{}: {what}, which all have in common", path.display()).into());
            }
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            all.push((stem, config));
        }
        if all.is_empty() {
            let mut config =
                Config { variant: self.variant(steps)?, batch, ..Config::new(d, self.latents, self.k, steps) };
            config.rate = self.rate.unwrap_or(config.rate);
            config.check()?;
            all.push((self.variant.clone(), config));
        }
        Ok(all)
    }

    fn variant(&self, steps: usize) -> Done<Variant> {
        let sparsity = |usual: Sparsity| Sparsity {
            weight: self.weight.unwrap_or(usual.weight),
            warm: usual.warm.min(steps / 10),
            by_length: false,
            ..usual
        };
        if self.weight.is_some() && matches!(&*self.variant, "topk" | "batchtopk" | "groupmax") {
            return Err(format!("--weight: {} has no penalty", self.variant).into());
        }
        Ok(match &*self.variant {
            "batchtopk" => Variant::BatchTopK,
            "groupmax" => Variant::GroupMax,
            "relu" => Variant::ReLU(sparsity(Sparsity::default())),
            "jumprelu" => {
                let usual = Jump::default();
                Variant::JumpReLU(Jump { sparsity: sparsity(usual.sparsity), ..usual })
            }
            "gated" => {
                let usual = Gated::default();
                Variant::Gated(Gated { sparsity: sparsity(usual.sparsity), ..usual })
            }
            _ => Variant::TopK,
        })
    }
}

/// Every autoencoder, from the start or from its state.
fn begin(
    options: &Options,
    settings: &[(String, Config)],
    sites: &[Site],
    data: &str,
    source: &Source<'_>,
    opened: &Opened,
) -> Done<Vec<Run>> {
    let (mut samples, mut runs) = (None, Vec::new());
    for (place, &site) in sites.iter().enumerate() {
        for ((stem, config), &seed) in settings.iter().flat_map(|one| options.seeds.iter().map(move |seed| (one, seed)))
        {
            let hook = hook_name(site)?;
            let folder = options.out.join(format!("{hook}-{stem}-{seed}"));
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let config = Config { seed, data: format!("{hook} of {data}"), ..config.clone() };
            let state = folder.join(STATE);
            let trainer = if options.resume && state.is_file() {
                Trainer::resume(&state, &config, &opened.device)?
            } else {
                let samples = match &samples {
                    Some(samples) => samples,
                    None => samples.insert(source.first(SAMPLE)?),
                };
                Trainer::new(config, &samples[place], &opened.device)?
            };
            let mut scalars = Scalars::begin(&folder)?;
            trainer.course().iter().try_for_each(|now| put(&mut scalars, now))?;
            let bar = progress("training", trainer.config().steps).with_position(trainer.steps() as u64);
            runs.push(Run { place, folder, trainer, scalars, bar });
        }
    }
    Ok(runs)
}

const STATE: &str = "state.safetensors";

fn put(scalars: &mut Scalars, now: &Progress) -> Done {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    Ok(scalars.put(now.step as u64, wall, &now.scalars())?)
}

impl Run {
    /// After a step.
    fn tell(&mut self) -> Done {
        let (step, last) = (self.trainer.steps(), self.trainer.config().steps);
        if step.is_multiple_of(TELL) || step == last {
            let now = self.trainer.mark()?;
            put(&mut self.scalars, &now)?;
            self.bar.set_position(step as u64);
            self.bar.set_message(format!("{}: FVU {:.3}, L0 {:.1}", name(&self.folder), now.fvu, now.l0));
        }
        if step.is_multiple_of(SAVE) || step == last {
            self.trainer.save_state(&self.folder.join(STATE))?;
        }
        Ok(())
    }

    fn finish(self, options: &Options, opened: &Opened, sites: &[Site]) -> Done {
        self.bar.finish();
        let begin = opened.lm.tokenizer.begin().is_some();
        let hook = hook_name(sites[self.place])?;
        let origin = Origin { model: name(&opened.model), hook, context: options.reading.context, begin };
        let config = self.trainer.config().to_json();
        self.trainer.finish()?.save(&self.folder.join("sae"), options.format.format(), &origin)?;
        io::replace(&self.folder.join("config.json"), format!("{config}\n").as_bytes())?;
        println!("{}", self.folder.join("sae").display());
        Ok(())
    }
}
