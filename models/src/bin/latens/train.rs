mod places;
mod runs;
mod settings;

use crate::common::{Done, Layout, Opened, Point, Reading, name, progress};
use clap::Args;
use latens::io::{self, Claim};
use latens::lm::{Point as Place, Site};
use latens::sae::{Contexts, Exclude, Kept, Shards, Source, Stream};
use places::Wanted;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Activations that training begins with.
const SAMPLE: usize = 8192;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    reading: Reading,
    /// Layers whose activations are read; each gets autoencoders of its own
    #[arg(long, value_delimiter = ',', default_value = "15")]
    layer: Vec<usize>,
    /// Every Nth layer from the first on, instead of --layer; with --site, only its places in these layers
    #[arg(long, value_name = "N", conflicts_with = "layer")]
    layers_every: Option<NonZeroUsize>,
    /// Where in the layer [default: residual]
    #[arg(long, value_enum)]
    point: Option<Point>,
    /// Places by TransformerLens' names, with * for any letters, instead of --layer and --point: 'blocks.*.hook_resid_post'
    #[arg(long, conflicts_with_all = ["layer", "point"])]
    site: Vec<String>,
    /// Settings as JSON, such as the config.json of a run, several for several autoencoders; the width is the model's, the data that of this run;
    /// --latents, --k, --steps, --batch and --rate are for what is not given there. Those with "transcode" make transcoders, from what the MLP of each layer reads to what it adds
    #[arg(long, value_delimiter = ',')]
    config: Vec<PathBuf>,
    /// Number of latents
    #[arg(long, default_value_t = 4608)]
    latents: usize,
    /// Latents active per token, of variants that count them
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Kind of autoencoder
    #[arg(long, default_value = "topk", conflicts_with = "config", value_parser = ["topk", "batchtopk", "groupmax", "relu", "jumprelu", "gated"])]
    variant: String,
    /// One autoencoder of all places, side by side: a crosscoder, as is one whose settings have "sides"
    #[arg(long)]
    crosscoder: bool,
    /// Weight of the penalty, of variants that have one [default: SAELens']
    #[arg(long, conflicts_with = "config")]
    weight: Option<f32>,
    /// Tokens whose activations are trained on, together with those that are left out by number or length
    #[arg(long, default_value_t = 200_000)]
    tokens: usize,
    /// Tokens at the beginning of a context whose activations are left out
    #[arg(long, default_value_t = Contexts::SKIPPED)]
    exclude_first: usize,
    /// Tokens whose activations are left out wherever they stand, by their numbers
    #[arg(long, value_delimiter = ',')]
    exclude_ids: Vec<u32>,
    /// Leave out the activations of the tokenizer's special tokens
    #[arg(long)]
    exclude_special: bool,
    /// Leave out activations that are longer than so many times the median, at any of the places; needs --activations
    #[arg(long, requires = "activations")]
    exclude_longer: Option<f32>,
    /// Activations of a step [default: 1024, or with --through the whole contexts in it]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps [default: so many that every activation is seen five times]
    #[arg(long)]
    steps: Option<usize>,
    /// More steps in the end, through the model: on whole contexts, and on what it loses by the reconstruction; of residuals, and each as long as a
    /// hundred others
    #[arg(long, default_value_t = 0)]
    through: usize,
    /// The highest learning rate [default: 2e-4 by the root of 16384 latents over theirs, as dictionary_learning has it]
    #[arg(long)]
    rate: Option<f32>,
    /// Seeds; each gets an autoencoder of its own [default: that of the settings, or 0]
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Activations in memory at once, of each layer
    #[arg(long, default_value_t = 131_072)]
    room: usize,
    /// Keep activations in this folder, and read them from there the next time [default: the model runs when they are wanted]
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Whose layout checkpoints have [default: SAELens', or sparsify's where only that has a place for them]
    #[arg(long, value_enum)]
    format: Option<Layout>,
    /// Continue interrupted runs from their states in the output folder
    #[arg(long)]
    resume: bool,
    /// Begin again where the output folder has states of runs
    #[arg(long, conflicts_with = "resume")]
    anew: bool,
    /// Steps between two states on the disk
    #[arg(long, default_value = "100")]
    save_every: NonZeroUsize,
    /// Steps between two entries of the numbers
    #[arg(long, default_value = "10")]
    tell_every: NonZeroUsize,
    /// Folder for states, numbers and checkpoints
    #[arg(long, default_value = "latens-sae")]
    out: PathBuf,
}

pub fn run(options: &Options) -> Done {
    if options.layer.is_empty() || options.tokens == 0 {
        return Err("--layer, --tokens: there is nothing to train".into());
    }
    let opened = options.reading.open()?;
    let (model, context) = (&opened.lm.model, options.reading.context);
    let (d, vocabulary) = (model.config().dim, model.config().vocabulary);
    let exclude = options.exclude(&opened);
    exclude.check(context, vocabulary)?;
    let contexts = options.tokens.div_ceil(context - exclude.first);
    let places = options.asked(model.config().layers)?.len();
    let rows = contexts.checked_mul(context - exclude.first).ok_or("--tokens: are more than can be counted")?;
    let settings = options.settings([d, places], rows)?;
    let mut wanted = options.wanted(model.config().layers, &settings)?;
    if let Some(site) = wanted.sites.iter().find(|site| site.layer >= model.config().layers) {
        return Err(
            format!("--layer: {} was asked for, but the model has {}", site.layer, model.config().layers).into()
        );
    }
    options.may_go_through(&wanted, &exclude, context)?;
    let _claim = Claim::of(&options.out)?;
    let corpus = options.reading.corpus(&opened, [contexts, 0])?;
    let kept = Kept::new(&corpus.train, &exclude, vocabulary)?;
    let data = format!("{} ({}), {}", name(&opened.model), &io::sha256_of(&opened.model)?[..16], name(&opened.text));
    let shards = match &options.activations {
        Some(folder) => Some(written(folder, &opened, &kept, &wanted.sites, &data)?),
        None => None,
    };
    let source = match &shards {
        Some(shards) => Source::Shards(shards, (0..wanted.sites.len()).collect()),
        None => Source::Kept { model, kept: &kept, sites: wanted.sites.clone() },
    };
    let data = shards.as_ref().map_or_else(|| format!("{data}; {}", kept.data()), |shards| shards.data().to_owned());
    // What decides their order.
    let data = format!("{data}; seed {}, {} in memory at once", options.reading.seed, options.room);
    if source.size().1 < rows {
        wanted = options.wanted(model.config().layers, &options.settings([d, places], source.size().1)?)?;
    }
    // Steps before those through the model, which are behind all others.
    for (_, _, config) in &mut wanted.runs {
        config.steps = config.steps.saturating_add(options.through);
    }
    let mut runs = runs::begin(options, &wanted, &data, &source, &opened)?;
    let plain = |run: &runs::Run| run.trainer.steps().min(run.trainer.config().steps - options.through);
    let begun = runs.iter().map(plain).min().unwrap_or(0);
    let batch = wanted.runs[0].2.batch;
    // Whole contexts, as the model gives them: so files give the same batches.
    let each = context - exclude.first;
    let room = (options.room / each).max(1) * each;
    let seed = options.reading.seed; // the same rows for every autoencoder, with whatever others it is trained
    let mut stream = Stream::new(source, room, batch, seed, begun as u64, &opened.device)?;
    loop {
        let at = stream.at() as usize;
        if runs.iter().all(|run| run.trainer.steps() >= run.trainer.config().steps - options.through) {
            break;
        }
        let parts = stream.batch()?;
        for run in &mut runs {
            // Those that were saved later wait until the stream is there.
            if run.trainer.steps() == at && at < run.trainer.config().steps - options.through {
                run.step(&parts, [options.tell_every, options.save_every])?;
            }
        }
    }
    for run in runs.iter_mut().filter(|_| options.through > 0) {
        run.go_through(model, wanted.sites[run.site()].layer, &corpus.train, options)?;
    }
    runs.into_iter().try_for_each(|run| run.finish(options, &opened, &wanted.sites))
}

/// Activations on the disk.
fn written(folder: &Path, opened: &Opened, kept: &Kept<'_>, sites: &[Site], data: &str) -> Done<Shards> {
    const EACH: usize = 256;
    let bar = progress("activations", kept.rows());
    let shards = Shards::write_kept(folder, &opened.lm.model, kept, sites, EACH, data, |rows| bar.inc(rows as u64))?;
    bar.finish();
    Ok(shards)
}

impl Options {
    /// Whether steps through the model can follow: they are of whole contexts, and put a reconstruction where a residual was.
    fn may_go_through(&self, wanted: &Wanted, exclude: &Exclude, context: usize) -> Done {
        let usual = exclude.first == Contexts::SKIPPED && exclude.ids.is_empty() && exclude.longest.is_none();
        let rows = context.saturating_sub(Contexts::SKIPPED).max(1);
        let residual = |from: &[usize]| matches!(from, &[from] if wanted.sites[from].point == Place::Residual);
        for (reads, name, config) in wanted.runs.iter().filter(|_| self.through > 0) {
            if reads.to.is_some() || !residual(&reads.from) || !usual {
                return Err(format!("--through: {name} is to be of one residual, with no tokens left out").into());
            }
            if config.batch % rows != 0 || config.parts > 1 {
                let what = format!("a batch of {} in {} parts", config.batch, config.parts);
                return Err(format!("--through: {what} is no number of whole contexts, {rows} rows each").into());
            }
        }
        Ok(())
    }

    /// What is left out. Special tokens that the model has no number for occur in no text that it reads.
    fn exclude(&self, opened: &Opened) -> Exclude {
        let mut ids = self.exclude_ids.clone();
        if self.exclude_special {
            let vocabulary = opened.lm.model.config().vocabulary;
            ids.extend(opened.lm.tokenizer.special().into_iter().filter(|&id| (id as usize) < vocabulary));
        }
        Exclude { first: self.exclude_first, ids, longest: self.exclude_longer }
    }
}
