use crate::common::{Done, Place, Reading, name, progress};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use latens::sae::{Cache, Caching, Corpus, Sae};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    place: Place,
    /// Contexts to run, of the text that is not held out
    #[arg(long, default_value_t = 512, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    contexts: usize,
    /// Files, each of a range of latents
    #[arg(long, default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    ranges: usize,
    /// Store values in f16
    #[arg(long)]
    half: bool,
    /// Name of the language model, for the cache to say [default: that of its file]
    #[arg(long)]
    name: Option<String>,
    /// Folder to write to; for delphi, one folder for each place in a model
    #[arg(long)]
    out: PathBuf,
}

/// Firings of all latents on many contexts, in files.
pub fn run(options: &Options) -> Done {
    let (reading, place) = (&options.reading, &options.place);
    let opened = reading.open()?;
    let sae = Sae::load_at(&options.checkpoint, place.site(), &opened.device)?;
    if options.ranges > sae.latents() {
        return Err(format!("--ranges: {} are more than the {} latents", options.ranges, sae.latents()).into());
    }
    let wanted = [options.contexts, 0];
    let contexts = Corpus::read(&opened.lm, &opened.text, reading.context, wanted, reading.seed)?.train;
    let caching = Caching {
        ranges: options.ranges,
        half: options.half,
        model: options.name.clone().unwrap_or_else(|| name(&opened.model)),
        data: name(&opened.text),
    };
    let bar = progress("activations", contexts.rows());
    let tell = |rows: usize| bar.inc(rows as u64);
    let cache = Cache::write(&options.out, &opened.lm.model, place.site(), &sae, &contexts, &caching, tell)?;
    bar.finish();
    let files = cache.ranges().count();
    println!(
        "{} latents on {} contexts are in {files} files in {}",
        cache.latents(),
        contexts.len(),
        options.out.display()
    );
    Ok(())
}
