//! What comes after training: judging, looking, steering, telling.
use super::{CONTEXT, Options, progress, rows};
use latens::Tensor;
use latens::lm::{LanguageModel, Site};
use latens::sae::{
    Browse, Browser, Buffer, Contexts, Corpus, Feature, Losses, Pca, Progress, Quality, Sae, Steered, browser,
    features, on_host, quality, report::Report, steer,
};
use serde_json::Value;
use std::{error::Error, path::Path, time::Instant};

/// Contexts to judge the language model by.
const SPLICED: usize = 24;
/// Activations that latents are looked at on, and latents that are looked at without a script.
const LOOKED_AT: usize = 50_000;
const LATENTS: usize = 50;
/// What is continued, steered and not.
const PROMPT: &str = "The most important thing for our country is";

/// What all that comes after training needs to know.
pub struct Run<'a> {
    pub options: &'a Options,
    pub lm: &'a LanguageModel,
    pub site: Site,
    pub corpus: &'a Corpus,
    pub model: String,
    pub tokens_per_s: f64,
    pub begun: Instant,
}

/// How good it is on text that it has not seen.
pub struct Judged {
    quality: Quality,
    fvu_pca: f64,
    losses: Losses,
}

/// All latents to browse, some to read, and the sharpest of these steered with.
pub struct LookedAt {
    browser: Browser,
    features: Vec<Feature>,
    steered: Option<Steered>,
}

impl Run<'_> {
    pub fn judge(&self, sae: &Sae, buffer: &Buffer) -> Result<Judged, Box<dyn Error>> {
        let (model, held) = (&self.lm.model, &self.corpus.held);
        let mut unseen = Tensor::zeros([held.rows(), sae.d()], &sae.device())?;
        let bar = progress("held-out activations", held.rows());
        held.activations(model, self.site, 0, &mut unseen, |rows| bar.inc(rows as u64))?;
        bar.finish();
        let quality = quality(sae, unseen.view())?;
        let pca = Pca::fit(&on_host(rows(buffer, usize::MAX)?)?, sae.d(), self.options.k)?;
        let fvu_pca = pca.fvu(&on_host(unseen.view())?);
        let spliced = Contexts { ids: held.ids[..SPLICED * CONTEXT].to_vec(), length: CONTEXT };
        let bar = progress("spliced predictions", 4 * spliced.ids.len());
        let losses = Losses::measure(model, self.site, &spliced, sae, pca.mean(), |tokens| bar.inc(tokens as u64))?;
        bar.finish();
        Ok(Judged { quality, fvu_pca, losses })
    }

    pub fn look(&self, sae: &Sae, buffer: &Buffer) -> Result<LookedAt, Box<dyn Error>> {
        let contexts = self.corpus.train.from_row(buffer.range().start);
        let looked_at = rows(buffer, LOOKED_AT)?;
        let browse = Browse { seed: self.options.seed, ..Browse::default() };
        let browser = browser(self.lm, sae, &contexts, looked_at, &browse)?;
        let features = features(self.lm, sae, &contexts, looked_at, LATENTS)?;
        let steered = sharpest(&features).map(|f| steer(self.lm, sae, self.site, f.latent, f.strongest, PROMPT));
        Ok(LookedAt { steered: steered.transpose()?, features, browser })
    }

    pub fn page(&self, course: &[Progress], judged: &Judged, looked_at: &LookedAt) -> String {
        let options = self.options;
        Report {
            title: "A sparse autoencoder on a language model",
            settings: &[
                ("activations", format!("residual after layer {} of {}", options.layer, self.model)),
                ("latents", options.latents.to_string()),
                ("active per token (k)", options.k.to_string()),
                ("tokens", self.corpus.train.rows().to_string()),
                ("steps", options.steps.to_string()),
                ("seed", options.seed.to_string()),
                ("tokens per second through the model", format!("{:.0}", self.tokens_per_s)),
                ("seconds", format!("{:.0}", self.begun.elapsed().as_secs_f64())),
            ],
            progress: course,
            quality: &judged.quality,
            fvu_pca: Some(judged.fvu_pca),
            losses: &judged.losses,
            features: &looked_at.features,
            browser: Some(&looked_at.browser),
            steered: looked_at.steered.as_ref(),
        }
        .html()
    }

    pub fn figures(&self, Judged { quality, fvu_pca, losses }: &Judged, checkpoint: &Path, report: &Path) -> Value {
        serde_json::json!({
            "tokens": self.corpus.train.rows(),
            "tokens_per_s": self.tokens_per_s,
            "fvu": quality.fvu,
            "fvu_pca": fvu_pca,
            "l0": quality.l0,
            "cosine": quality.cosine,
            "truncated": quality.truncated,
            "ce_clean": losses.clean,
            "ce_sae": losses.sae,
            "ce_zero": losses.zero,
            "ce_mean": losses.mean,
            "ce_recovered": losses.recovered(),
            "dead_fraction": quality.dead,
            "peak_rss_mb": peak_rss_mb(),
            "seconds": self.begun.elapsed().as_secs_f64(),
            "checkpoint": checkpoint,
            "report": report,
        })
    }
}

impl LookedAt {
    pub fn tell(&self, layer: usize) {
        let Some((s, feature)) = self.steered.as_ref().zip(sharpest(&self.features)) else { return };
        println!(
            "latent {} promotes {:?}; {:.0} times its direction at layer {layer}:",
            s.latent, feature.words, s.strength
        );
        println!("before: {}{}\nafter:  {}{}", s.prompt, s.before, s.prompt, s.after);
    }
}

fn sharpest(features: &[Feature]) -> Option<&Feature> {
    features.iter().max_by(|a, b| a.sharpness.total_cmp(&b.sharpness))
}

/// The most memory this process has had, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}
