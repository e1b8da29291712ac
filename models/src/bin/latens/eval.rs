use crate::common::{Done, Judged, name, progress, tell};
use clap::Args;
use latens::lm::Site;
use latens::sae::eval::{Agreement, Core, Downstream, nearest_within};
use latens::sae::{Contexts, Origin, Sae, Splice, places, side_by_side};
use latens::{Device, Tensor};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    spliced: Spliced,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Which contexts are predicted.
#[derive(Args)]
pub struct Spliced {
    /// Contexts whose next tokens are predicted with reconstructed activations
    #[arg(long = "spliced", default_value_t = 16)]
    count: usize,
}

impl Spliced {
    pub fn of(&self, held: &Contexts) -> Contexts {
        let count = self.count.min(held.len()) * held.length;
        Contexts { ids: held.ids[..count].to_vec(), length: held.length }
    }
}

pub fn run(options: &Options) -> Done {
    let judged = &options.judged;
    let hooks = Origin::of(&judged.checkpoint)?.hook;
    if hooks.contains(", ") {
        return crosscoder(options, &hooks.split(", ").collect::<Vec<_>>());
    }
    let (opened, sae) = judged.open()?;
    let (held, rows) = judged.read(&opened)?;
    let (model, site) = (&opened.lm.model, judged.place.site());
    let predicted = if sae.predicts { Some(judged.predicted(&opened)?) } else { None };
    let mut core = match predicted {
        Some(to) => Core::measure_to(&sae, rows.view(), judged.rows(&opened, &held, to)?.view(), |_| {})?,
        None => Core::measure(&sae, rows.view(), |_| {})?,
    };
    let spliced = options.spliced.of(&held);
    let (at, splice) = match predicted {
        Some(to) => (to, Splice::Predicted(&sae, site)),
        None => (site, Splice::Sae(&sae)),
    };
    let bar = progress("predictions", spliced.ids.len());
    core.downstream = Some(Downstream::measure_splice(model, at, &spliced, splice, |tokens| bar.inc(tokens as u64))?);
    bar.finish();
    let near = nearest_within(&sae, |_| {})?;
    let mut figures = serde_json::to_value(core)?;
    figures["model"] = name(&opened.model).into();
    figures["latents"] = sae.latents().into();
    figures["nearest_decoder_cosine"] = near.mean().into();
    figures["nearest_decoder_cosine_above_0.7"] = near.above(0.7).into();
    tell(&figures, options.json.as_deref())
}

/// A crosscoder of the places that its checkpoint names: rows of all of them, and what the model loses at each with the others as they are.
fn crosscoder(options: &Options, hooks: &[&str]) -> Done {
    let judged = &options.judged;
    let opened = judged.reading.open()?;
    let (model, sae) = (&opened.lm.model, Sae::load(&judged.checkpoint, &opened.device)?);
    let of = |hook: &&str| Ok(places(model.config().layers, &[hook])?[0]);
    let sites = hooks.iter().map(of).collect::<Done<Vec<Site>>>()?;
    let d = model.config().dim;
    if sae.d() != d * sites.len() {
        return Err(format!(
            "the checkpoint is of width {}, {} places of the model of {}",
            sae.d(),
            sites.len(),
            d * sites.len()
        )
        .into());
    }
    let held = judged.reading.corpus(&opened, [0, judged.contexts])?.held;
    let rows = sites.iter().map(|&site| judged.rows(&opened, &held, site)).collect::<Done<Vec<_>>>()?;
    let rows = side_by_side(&rows.iter().map(Tensor::view).collect::<Vec<_>>())?;
    let mut figures = serde_json::to_value(Core::measure(&sae, rows.view(), |_| {})?)?;
    let spliced = options.spliced.of(&held);
    let bar = progress("predictions", spliced.ids.len() * sites.len());
    let each = sites.iter().zip(hooks).map(|(&site, hook)| {
        let splice = Splice::Crosscoder(&sae, &sites);
        let found = Downstream::measure_splice(model, site, &spliced, splice, |tokens| bar.inc(tokens as u64))?;
        Ok(json!({"place": hook, "downstream": found}))
    });
    figures["places"] = each.collect::<Done<Vec<Value>>>()?.into();
    bar.finish();
    figures["model"] = name(&opened.model).into();
    figures["latents"] = sae.latents().into();
    tell(&figures, options.json.as_deref())
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
