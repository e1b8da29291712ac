//! What latents stand for: where they fire, and which words their directions promote.
use super::browser::{Excerpt, Firing, Firings, Lens};
use super::{Contexts, Sae};
use crate::io::Result;
use crate::lm::{Hooks, LanguageModel, Sampling, Site};
use crate::{Tensor, View, add_into};
use std::collections::BTreeMap;

/// A latent, to be looked at.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Which.
    pub latent: usize,
    /// Share of rows on which it fires.
    pub density: f32,
    /// Its largest value.
    pub strongest: f32,
    /// Tokens that its direction promotes most, through the model's last norm and its table of tokens.
    pub words: Vec<String>,
    /// How far the first of them stands out among all tokens, in standard deviations.
    pub sharpness: f32,
    /// Where it fires most strongly, each in another context.
    pub snippets: Vec<Vec<Token>>,
}

/// A token of a snippet.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its text.
    pub text: String,
    /// The latent's value there.
    pub value: f32,
}

/// Look at `count` latents of `sae` over `rows`, the activations of `contexts` from the first on: from rare to frequent
/// in even steps, among those that fire on at least ten rows.
///
/// # Errors
/// Those of the model and of the autoencoder.
pub fn features(
    lm: &LanguageModel,
    sae: &Sae,
    contexts: &Contexts,
    rows: View<'_, f32, 2>,
    count: usize,
) -> Result<Vec<Feature>> {
    const LEAST: usize = 10;
    let firings = firings(sae, rows)?;
    let mut groups: Vec<&[Firing]> =
        firings.chunk_by(|a, b| a.latent == b.latent).filter(|g| g.len() >= LEAST).collect();
    groups.sort_by_key(|group| group.len());
    let count = count.min(groups.len());
    let chosen: Vec<&[Firing]> = (0..count).map(|i| groups[(2 * i + 1) * groups.len() / (2 * count)]).collect();
    describe(lm, sae, contexts, rows.dims()[0], &chosen)
}

/// The same of these latents, as far as they fire on the rows.
///
/// # Errors
/// As [`features`].
pub fn features_of(
    lm: &LanguageModel,
    sae: &Sae,
    contexts: &Contexts,
    rows: View<'_, f32, 2>,
    latents: &[u32],
) -> Result<Vec<Feature>> {
    let firings = firings(sae, rows)?;
    let groups: BTreeMap<u32, &[Firing]> =
        firings.chunk_by(|a, b| a.latent == b.latent).map(|group| (group[0].latent, group)).collect();
    let chosen: Vec<&[Firing]> = latents.iter().filter_map(|latent| groups.get(latent).copied()).collect();
    describe(lm, sae, contexts, rows.dims()[0], &chosen)
}

/// Where latents fire, by latent.
fn firings(sae: &Sae, rows: View<'_, f32, 2>) -> Result<Vec<Firing>> {
    let mut firings: Vec<Firing> = Vec::new();
    Firings { sae, rows, together: 1 }.each(|batch| {
        firings.extend(batch);
        Ok(())
    })?;
    firings.sort_by_key(|f| (f.latent, f.row));
    Ok(firings)
}

fn describe(
    lm: &LanguageModel,
    sae: &Sae,
    contexts: &Contexts,
    total: usize,
    chosen: &[&[Firing]],
) -> Result<Vec<Feature>> {
    const WORDS: usize = 8;
    let logits = logits(lm, sae, chosen)?;
    let vocabulary = lm.model.config().vocabulary;
    let features = chosen.iter().zip(logits.chunks(vocabulary.max(1))).map(|(group, logits)| {
        let lens = Lens::of(logits, lm.tokenizer.len(), WORDS);
        let words = lens.promoted.iter().map(|word| lm.tokenizer.text(word.token)).collect();
        let strongest = group.iter().map(|f| f.value).fold(0.0, f32::max);
        let (latent, density) = (group[0].latent as usize, group.len() as f32 / total as f32);
        Feature {
            latent,
            density,
            strongest,
            words,
            sharpness: lens.sharpness,
            snippets: snippets(lm, contexts, group),
        }
    });
    Ok(features.collect())
}

/// The logits of the directions of these latents.
fn logits(lm: &LanguageModel, sae: &Sae, chosen: &[&[Firing]]) -> Result<Vec<f32>> {
    let d = sae.d();
    let directions = chosen.iter().map(|group| sae.direction(group[0].latent as usize)).collect::<Result<Vec<_>>>()?;
    let directions = Tensor::from_vec(directions.concat(), [chosen.len(), d], &sae.device())?;
    Ok(lm.model.unembed(&directions)?.to_vec()?)
}

/// The five contexts in which it fires most strongly, [around](Excerpt::AROUND) those tokens.
fn snippets(lm: &LanguageModel, contexts: &Contexts, group: &[Firing]) -> Vec<Vec<Token>> {
    const SNIPPETS: usize = 5;
    let mut order: Vec<&Firing> = group.iter().collect();
    order.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.row.cmp(&b.row)));
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for firing in order {
        let (context, _) = contexts.token(firing.row as usize);
        if seen.contains(&context) || all.len() == SNIPPETS {
            continue;
        }
        seen.push(context);
        let Excerpt { tokens, values, .. } = Excerpt::new(contexts, firing.row, group);
        let tokens = tokens.into_iter().zip(values);
        all.push(tokens.map(|(id, value)| Token { text: lm.tokenizer.text(id), value }).collect());
    }
    all
}

/// A text before and after a latent was held up.
#[derive(Clone, Debug)]
pub struct Steered {
    /// Which latent.
    pub latent: usize,
    /// How much of its direction was added to every activation.
    pub strength: f32,
    /// What the model was asked to continue.
    pub prompt: String,
    /// Its continuation as it is.
    pub before: String,
    /// Its continuation with the direction added.
    pub after: String,
}

/// Continue `prompt` twice: as it is, and with `strength` times the direction of `latent` added at `site`.
///
/// # Errors
/// Those of the model.
pub fn steer(lm: &LanguageModel, sae: &Sae, site: Site, latent: usize, strength: f32, prompt: &str) -> Result<Steered> {
    let sampling = Sampling { tokens: 40, ..Sampling::default() };
    let before = lm.generate(prompt, &sampling, &mut Hooks::new(), |_| ())?.text;
    let push: Vec<f32> = sae.direction(latent)?.into_iter().map(|w| w * strength).collect();
    let mut hooks = Hooks::new().at(site, |x| {
        let [rows, d] = x.dims();
        let push = Tensor::from_vec(push.repeat(rows), [rows, d], &x.device())?;
        Ok(add_into(push.view(), x.view_mut())?)
    });
    let after = lm.generate(prompt, &sampling, &mut hooks, |_| ())?.text;
    Ok(Steered { latent, strength, prompt: prompt.into(), before, after })
}
