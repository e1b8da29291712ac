use crate::common::{Done, Opened, Point, Reading, name, progress};
use clap::Args;
use latens::io;
use latens::sae::report::Report;
use latens::sae::{Contexts, Corpus, Losses, Pca, Quality, Sae, features, on_host, quality};
use latens::{Tensor, View};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    judged: Judged,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is judged, and by what.
#[derive(Args)]
struct Judged {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Layer whose activations it was trained on
    #[arg(long, default_value_t = 15)]
    layer: usize,
    /// Where in the layer
    #[arg(long, value_enum, default_value = "residual")]
    point: Point,
    /// Contexts to judge by
    #[arg(long, default_value_t = 64)]
    contexts: usize,
    /// Contexts whose next tokens are predicted with reconstructed activations
    #[arg(long, default_value_t = 16)]
    spliced: usize,
}

/// What was found.
struct Found {
    sae: Sae,
    opened: Opened,
    corpus: Corpus,
    rows: Tensor<f32, 2>,
    quality: Quality,
    losses: Losses,
}

impl Judged {
    fn find(&self) -> Done<Found> {
        let opened = self.reading.open()?;
        let sae = Sae::load(&self.checkpoint, &opened.device)?;
        let (model, site) = (&opened.lm.model, self.point.at(self.layer));
        if sae.d() != model.config().dim {
            return Err(format!("the checkpoint is of width {}, the model of {}", sae.d(), model.config().dim).into());
        }
        let corpus = self.reading.corpus(&opened, 0, self.contexts)?;
        let mut rows = Tensor::zeros([corpus.held.rows(), sae.d()], &opened.device)?;
        let bar = progress("activations", corpus.held.rows());
        corpus.held.activations(model, site, 0, &mut rows, |rows| bar.inc(rows as u64))?;
        bar.finish();
        let quality = quality(&sae, rows.view())?;
        let length = corpus.held.length;
        let count = self.spliced.min(corpus.held.len()) * length;
        let spliced = Contexts { ids: corpus.held.ids[..count].to_vec(), length };
        let mean = mean(rows.view())?;
        let bar = progress("predictions", 4 * count);
        let losses = Losses::measure(model, site, &spliced, &sae, &mean, |tokens| bar.inc(tokens as u64))?;
        bar.finish();
        Ok(Found { sae, opened, corpus, rows, quality, losses })
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
    let found = options.judged.find()?;
    let figures = found.figures();
    println!("{figures:#}");
    if let Some(path) = &options.json {
        io::replace(path, format!("{figures:#}\n").as_bytes())?;
    }
    Ok(())
}

impl Found {
    fn figures(&self) -> Value {
        let (quality, losses) = (&self.quality, &self.losses);
        let above = |least: f32| {
            let count = quality.density.iter().filter(|&&density| density > least).count();
            count as f64 / quality.density.len().max(1) as f64
        };
        json!({
            "model": name(&self.opened.model), "rows": self.corpus.held.rows(), "latents": self.sae.latents(),
            "fvu": quality.fvu, "l0": quality.l0, "cosine": quality.cosine, "dead_fraction": quality.dead,
            "truncated": quality.truncated, "denser_than_1_percent": above(0.01), "denser_than_10_percent": above(0.1),
            "ce_clean": losses.clean, "ce_sae": losses.sae, "ce_zero": losses.zero, "ce_mean": losses.mean,
            "ce_recovered": losses.recovered(),
        })
    }
}

#[derive(Args)]
pub struct Page {
    #[command(flatten)]
    judged: Judged,
    /// Latents to show
    #[arg(long, default_value_t = 24)]
    latents: usize,
    /// The page
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

pub fn page(options: &Page) -> Done {
    let found = options.judged.find()?;
    let features = features(&found.opened.lm, &found.sae, &found.corpus.held, found.rows.view(), options.latents)?;
    let k = (found.quality.l0.round() as usize).clamp(1, found.sae.d());
    let host = on_host(found.rows.view())?;
    let page = Report {
        title: "A sparse autoencoder on a language model",
        settings: &[
            ("checkpoint", options.judged.checkpoint.display().to_string()),
            ("activations", format!("layer {} of {}", options.judged.layer, name(&found.opened.model))),
            ("latents", found.sae.latents().to_string()),
            ("tokens looked at", found.corpus.held.rows().to_string()),
        ],
        progress: &[],
        quality: &found.quality,
        fvu_pca: Pca::fit(&host, found.sae.d(), k)?.fvu(&host),
        losses: &found.losses,
        features: &features,
        steered: None,
    };
    io::replace(&options.out, page.html().as_bytes())?;
    println!("{}", options.out.display());
    Ok(())
}
