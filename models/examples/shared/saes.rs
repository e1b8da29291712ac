//! Autoencoders of several layers, trained on one run of the model and kept.
use super::{Common, Outcome, progress, text};
use latens::io;
use latens::lm::{LanguageModel, Site};
use latens::sae::{Config, Contexts, Corpus, Format, Origin, Revive, Sae, Shards, Source, Stream, Trainer};
use serde_json::{Value, json};
use std::path::Path;

/// Tokens of a context.
const CONTEXT: usize = 128;
/// Letters that are read for each token that is wanted: more than it has, for ends of documents are left out.
const LETTERS: usize = 8;
/// Contexts in a file of activations.
const EACH: usize = 256;
/// Activations in memory at once, and what training begins with.
const ROOM: usize = 1024 * (CONTEXT - Contexts::SKIPPED);
const SAMPLE: usize = 8192;
const ACTIVATIONS: &str = "activations-";
/// Activations of a step, and the highest learning rate.
const BATCH: usize = 2048;
const RATE: f32 = 2e-3;

/// TopK autoencoders of the residuals after `layers`: those that were trained before, others now. An interrupted training goes on.
pub fn autoencoders(common: &Common, lm: &LanguageModel, layers: &[usize]) -> Outcome<Vec<Sae>> {
    let folder = |layer: usize| common.saes.join(format!("layer-{layer}"));
    let model = lm.model.sha256()?;
    let settings = |layer: usize| {
        json!({"layer": layer, "latents": common.latents, "active": common.active, "tokens": common.tokens, "seed": common.seed,
            "model": model})
    };
    let kept = |layer: usize| -> Outcome<bool> {
        let Ok(text) = std::fs::read(folder(layer).join("settings.json")) else { return Ok(false) };
        let (at, want) = (folder(layer), settings(layer));
        let there: Value = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", at.display()))?;
        match there == want {
            true => Ok(true),
            false => Err(format!(
                "{} holds an autoencoder of other settings ({there}, not {want}): give another folder as --saes",
                at.display()
            )
            .into()),
        }
    };
    let mut missing = Vec::new();
    for &layer in layers {
        if !kept(layer)? && !missing.contains(&layer) {
            missing.push(layer);
        }
    }
    if !missing.is_empty() {
        // What an interrupted run of the same layers has left, or else of no more than are missing.
        let of = if common.saes.join(folder_of(layers)).is_dir() { layers } else { &missing };
        let shards = activations(common, lm, of)?;
        for (site, &layer) in of.iter().enumerate().filter(|(_, layer)| missing.contains(layer)) {
            train(common, lm, &shards, site, &folder(layer))?;
            io::replace(&folder(layer).join("settings.json"), format!("{:#}\n", settings(layer)).as_bytes())?;
        }
    }
    for entry in std::fs::read_dir(&common.saes)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let layers =
            name.strip_prefix(ACTIVATIONS).map(|of| of.split('-').map(str::parse).collect::<Result<Vec<_>, _>>());
        if let Some(Ok(layers)) = layers
            && layers.into_iter().map(&kept).collect::<Outcome<Vec<_>>>()?.into_iter().all(|kept| kept)
        {
            std::fs::remove_dir_all(common.saes.join(name))?;
        }
    }
    let device = lm.model.device();
    let load = |&layer: &usize| Ok(Sae::load_at(&folder(layer).join("sae"), Site::residual(layer), device)?);
    layers.iter().map(load).collect()
}

/// Where activations at these layers are.
fn folder_of(layers: &[usize]) -> String {
    ACTIVATIONS.to_owned() + &layers.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// What the model has there, on the disk.
fn activations(common: &Common, lm: &LanguageModel, layers: &[usize]) -> Outcome<Shards> {
    let contexts = common.tokens.div_ceil(CONTEXT - Contexts::SKIPPED);
    let corpus =
        Corpus::of(lm, &text::documents(LETTERS.saturating_mul(common.tokens))?, CONTEXT, [contexts, 0], common.seed)?;
    let sites: Vec<Site> = layers.iter().map(|&layer| Site::residual(layer)).collect();
    let bar = progress("activations", corpus.train.rows());
    let data = format!("{} tokens ({})", corpus.train.ids.len(), &corpus.train.sha256()[..16]);
    let shards =
        Shards::write(&common.saes.join(folder_of(layers)), &lm.model, &corpus.train, &sites, EACH, &data, |rows| {
            bar.inc(rows as u64)
        })?;
    bar.finish();
    Ok(shards)
}

fn train(common: &Common, lm: &LanguageModel, shards: &Shards, site: usize, folder: &Path) -> Outcome<()> {
    const SAVE: usize = 200;
    let device = lm.model.device();
    std::fs::create_dir_all(folder)?;
    let (batch, d) = (BATCH.min(shards.rows()), lm.model.config().dim);
    let steps = (shards.rows() / batch).max(1);
    let after = u32::try_from(batch * steps / 3).unwrap_or(u32::MAX).max(1);
    let config = Config {
        batch,
        rate: RATE,
        revive: Some(Revive::new(1.0 / 32.0, 2 * common.active, after)),
        seed: common.seed,
        data: format!("{}; {}", shards.data(), shards.sites()[site]),
        ..Config::new(d, common.latents, common.active, steps)
    };
    let state = folder.join("state.safetensors");
    let mut trainer = match state.is_file() {
        true => Trainer::resume(&state, &config, device)?,
        false => Trainer::new(config.clone(), &shards.first(site, SAMPLE.min(shards.rows()))?, device)?,
    };
    let source = Source::Shards(shards, vec![site]);
    let mut stream = Stream::new(source, ROOM, batch, config.seed, trainer.steps() as u64, device)?;
    let bar = progress("autoencoder", steps).with_position(trainer.steps() as u64);
    while trainer.steps() < steps {
        trainer.step(stream.batch()?[0])?;
        if trainer.steps() % 20 == 0 {
            let now = trainer.mark()?;
            bar.set_position(now.step as u64);
            bar.set_message(format!("{}: FVU {:.3}", shards.sites()[site], now.fvu));
        }
        if trainer.steps() % SAVE == 0 && trainer.steps() < steps {
            trainer.save_state(&state)?;
        }
    }
    bar.finish();
    let hook = shards.sites()[site].clone();
    let origin = Origin { hook, context: CONTEXT, begin: true, ..Origin::default() };
    trainer.finish()?.save(&folder.join("sae"), Format::SaeLens, &origin)?;
    if state.is_file() {
        std::fs::remove_file(&state)?;
    }
    Ok(())
}
