use crate::common::{Done, Opened, Point, Reading, name, progress};
use clap::Args;
use latens::lm::Site;
use latens::sae::eval::{
    Agreement, Core, Downstream, Draw, Sources, Spelling, Task, binary, first_letters, nearest_within, probe_task,
};
use latens::sae::report::Report;
use latens::sae::{Browse, Contexts, Losses, Pca, Sae, browser, features, on_host, quality};
use latens::{Device, Tensor, View, io};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    judged: Judged,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Where an autoencoder belongs.
#[derive(Args)]
struct Place {
    /// Layer whose activations it was trained on
    #[arg(long, default_value_t = 15)]
    layer: usize,
    /// Where in the layer
    #[arg(long, value_enum, default_value = "residual")]
    point: Point,
}

impl Place {
    fn site(&self) -> Site {
        self.point.at(self.layer)
    }
}

/// What is judged, and by what.
#[derive(Args)]
struct Judged {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    place: Place,
    /// Contexts to judge by
    #[arg(long, default_value_t = 64)]
    contexts: usize,
    /// Contexts whose next tokens are predicted with reconstructed activations
    #[arg(long, default_value_t = 16)]
    spliced: usize,
}

impl Judged {
    /// The model, the autoencoder, text held out, and its activations.
    fn open(&self) -> Done<(Opened, Sae, Contexts, Tensor<f32, 2>)> {
        let opened = self.reading.open()?;
        let sae = Sae::load(&self.checkpoint, &opened.device)?;
        let (model, site) = (&opened.lm.model, self.place.site());
        if sae.d() != model.config().dim {
            return Err(format!("the checkpoint is of width {}, the model of {}", sae.d(), model.config().dim).into());
        }
        let held = self.reading.corpus(&opened, 0, self.contexts)?.held;
        let mut rows = Tensor::zeros([held.rows(), sae.d()], &opened.device)?;
        let bar = progress("activations", held.rows());
        held.activations(model, site, 0, &mut rows, |rows| bar.inc(rows as u64))?;
        bar.finish();
        Ok((opened, sae, held, rows))
    }

    /// The contexts whose next tokens are predicted.
    fn spliced(&self, held: &Contexts) -> Contexts {
        let count = self.spliced.min(held.len()) * held.length;
        Contexts { ids: held.ids[..count].to_vec(), length: held.length }
    }
}

fn mean(rows: View<'_, f32, 2>) -> io::Result<Vec<f32>> {
    let [count, d] = rows.dims();
    let mut sums = vec![0.0_f64; d];
    for row in on_host(rows)?.chunks_exact(d.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    Ok(sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect())
}

pub fn run(options: &Options) -> Done {
    let judged = &options.judged;
    let (opened, sae, held, rows) = judged.open()?;
    let (model, site) = (&opened.lm.model, judged.place.site());
    let mut core = Core::measure(&sae, rows.view(), |_| {})?;
    let spliced = judged.spliced(&held);
    let bar = progress("predictions", spliced.ids.len());
    core.downstream = Some(Downstream::measure(model, site, &spliced, &sae, |tokens| bar.inc(tokens as u64))?);
    bar.finish();
    let near = nearest_within(&sae, |_| {})?;
    let mut figures = serde_json::to_value(core)?;
    figures["model"] = name(&opened.model).into();
    figures["latents"] = sae.latents().into();
    figures["nearest_decoder_cosine"] = near.mean().into();
    figures["nearest_decoder_cosine_above_0.7"] = near.above(0.7).into();
    tell(&figures, options.json.as_deref())
}

/// Print figures, and write them to a file.
fn tell(figures: &Value, json: Option<&Path>) -> Done {
    println!("{figures:#}");
    match json {
        Some(path) => Ok(io::replace(path, format!("{figures:#}\n").as_bytes())?),
        None => Ok(()),
    }
}

#[derive(Args)]
pub struct Probe {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    place: Place,
    /// Latents that a sparse probe sees
    #[arg(long, value_delimiter = ',', default_value = "1,2,5")]
    k: Vec<usize>,
    /// Texts of a task to learn from, and to judge by
    #[arg(long, value_delimiter = ',', default_value = "400,200")]
    texts: Vec<usize>,
    /// Only tasks whose names begin with one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Sparse probing on real tasks: speeches, genres, mails.
pub fn probe(options: &Probe) -> Done {
    let &[train, test] = &options.texts[..] else { return Err("--texts: two numbers are wanted".into()) };
    let opened = options.reading.open()?;
    let sae = Sae::load(&options.checkpoint, &opened.device)?;
    let draw = Draw { texts: [train / 2, test / 2], seed: options.reading.seed, ..Draw::default() };
    let tasks = binary(&Sources::locate()?, &draw)?;
    let asked =
        |task: &&Task| options.only.is_empty() || options.only.iter().any(|only| task.name.starts_with(&**only));
    let mut all = Vec::new();
    for task in tasks.iter().filter(asked) {
        let bar = progress("texts", task.len()).with_message(task.name.clone());
        let (site, length) = (options.place.site(), options.reading.context);
        let found = probe_task(&opened.lm, site, &sae, task, length, &options.k, |texts| bar.inc(texts as u64))?;
        bar.finish();
        all.push(found);
    }
    println!(
        "{:<24}{:>8}{:>8}{:>9}  accuracy by latents (share of the full probe's gain)",
        "task", "chance", "full", "latents"
    );
    for found in &all {
        print!("{:<24}{:>8.3}{:>8.3}{:>9.3} ", found.task, found.chance, found.raw, found.latents);
        for probe in &found.sparse {
            let share = found.share(probe.k).map_or("-".into(), |share| format!("{share:.2}"));
            print!(" {}: {:.3} ({share})", probe.k, probe.accuracy);
        }
        println!();
    }
    match &options.json {
        Some(path) => Ok(io::replace(path, format!("{:#}\n", serde_json::to_value(&all)?).as_bytes())?),
        None => Ok(()),
    }
}

#[derive(Args)]
pub struct Letters {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    place: Place,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Absorption of first letters.
pub fn letters(options: &Letters) -> Done {
    let opened = options.reading.open()?;
    let sae = Sae::load(&options.checkpoint, &opened.device)?;
    let spelling = Spelling { seed: options.reading.seed, ..Spelling::default() };
    let bar = progress("words", spelling.words.iter().sum());
    let site = options.place.site();
    let found = first_letters(&opened.lm, site, &sae, spelling, Default::default(), |words| bar.inc(words as u64))?;
    bar.finish();
    tell(&serde_json::to_value(&found)?, options.json.as_deref())
}

#[derive(Args)]
pub struct Agree {
    /// Two checkpoints
    #[arg(num_args = 2)]
    checkpoints: Vec<PathBuf>,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Whether two autoencoders found the same directions.
pub fn agree(options: &Agree) -> Done {
    let load = |at: usize| Sae::load(&options.checkpoints[at], &Device::Host);
    tell(&serde_json::to_value(Agreement::measure(&load(0)?, &load(1)?, |_| {})?)?, options.json.as_deref())
}

#[derive(Args)]
pub struct Page {
    #[command(flatten)]
    judged: Judged,
    /// Latents to browse, at most
    #[arg(long, default_value_t = 6000)]
    latents: usize,
    /// The page
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

pub fn page(options: &Page) -> Done {
    let judged = &options.judged;
    let (opened, sae, held, rows) = judged.open()?;
    let quality = quality(&sae, rows.view())?;
    let (site, spliced) = (judged.place.site(), judged.spliced(&held));
    let bar = progress("predictions", 4 * spliced.ids.len());
    let told = |tokens: usize| bar.inc(tokens as u64);
    let losses = Losses::measure(&opened.lm.model, site, &spliced, &sae, &mean(rows.view())?, told)?;
    bar.finish();
    /// Latents that are shown without a script.
    const SHOWN: usize = 24;
    let features = features(&opened.lm, &sae, &held, rows.view(), SHOWN)?;
    let browse = Browse { latents: options.latents, seed: judged.reading.seed, ..Browse::default() };
    let browser = browser(&opened.lm, &sae, &held, rows.view(), &browse)?;
    let (k, host) = ((quality.l0.round() as usize).clamp(1, sae.d()), on_host(rows.view())?);
    let page = Report {
        title: "A sparse autoencoder on a language model",
        settings: &[
            ("checkpoint", judged.checkpoint.display().to_string()),
            ("activations", format!("layer {} of {}", judged.place.layer, name(&opened.model))),
            ("latents", sae.latents().to_string()),
            ("tokens looked at", held.rows().to_string()),
        ],
        progress: &[],
        quality: &quality,
        fvu_pca: Pca::fit(&host, sae.d(), k)?.fvu(&host),
        losses: &losses,
        features: &features,
        browser: Some(&browser),
        steered: None,
    };
    io::replace(&options.out, page.html().as_bytes())?;
    println!("{}", options.out.display());
    Ok(())
}
