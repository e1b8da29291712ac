//! What is to be known of many latents at once, for a page to look them up in.
mod collect;
mod excerpt;
mod firing;
mod lens;
mod near;
mod rank;

pub use excerpt::Excerpt;
pub(super) use firing::{Firing, Firings};
pub(super) use lens::Lens;
pub use lens::Word;

use super::{Contexts, Sae};
use crate::io::{Error, Result};
use crate::lm::LanguageModel;
use crate::{Tensor, View};
use collect::{Collector, Extent, Gathered};
use std::collections::{BTreeMap, BTreeSet};

/// Bars of a latent's histogram.
pub const BINS: usize = 20;
/// Intervals between 0 and a latent's strongest value, from which excerpts are drawn: of four bars each.
pub const INTERVALS: usize = 5;

/// How much to look at. As it is by default, a page takes about 1 KB for each latent, and never more than 5 KB besides the texts
/// of the vocabulary: of 6000 latents some 6 MB, and never more than 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Browse {
    /// Latents, at most: from rare to frequent in even steps, where more of them live.
    pub latents: usize,
    /// Excerpts with the strongest values, each of another context.
    pub strongest: usize,
    /// Excerpts of every interval, each of another context.
    pub interval: usize,
    /// Tokens promoted most, and as many suppressed most.
    pub words: usize,
    /// Nearest latents.
    pub neighbours: usize,
    /// Which excerpts of the intervals are drawn.
    pub seed: u64,
}

impl Default for Browse {
    fn default() -> Self {
        Self { latents: 6000, strongest: 5, interval: 2, words: 8, neighbours: 5, seed: 0 }
    }
}

/// Many latents, to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Browser {
    /// Rows that were looked at.
    pub rows: usize,
    /// Latents of the autoencoder.
    pub total: usize,
    /// How many of them fired on these rows.
    pub living: usize,
    /// Those that are here, by number.
    pub latents: Vec<Latent>,
    /// The text of every token that they name.
    pub texts: BTreeMap<u32, String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    /// Which.
    pub latent: u32,
    /// Rows on which it fired.
    pub count: u32,
    /// Its largest value.
    pub strongest: f32,
    /// How many of its values lie in each twentieth of the way from 0 to the largest; a value on an edge counts above it, the
    /// largest in the last.
    pub histogram: [u32; BINS],
    /// Tokens that its direction promotes most, most first.
    pub promoted: Vec<Word>,
    /// Tokens that its direction suppresses most, most first.
    pub suppressed: Vec<Word>,
    /// How far the first of the promoted stands out among all logits, in standard deviations.
    pub sharpness: f32,
    /// Cosine of the direction it reads and the one it writes, if neither is 0.
    pub aligned: Option<f32>,
    /// The latents whose directions have the largest cosines with its own, and those; ties by number.
    pub neighbours: Vec<(u32, f32)>,
    /// The contexts in which it fires at all, in rising order.
    pub contexts: Vec<u32>,
    /// Where it fires most strongly, each in another context; ties in the order of rows.
    pub top: Vec<Excerpt>,
    /// Where its value lies in each fifth of the way from 0 to the largest, drawn by chance: from weak to strong.
    pub intervals: [Vec<Excerpt>; INTERVALS],
}

/// The tokens of a language model: what they read as, and which of them a direction of its residual promotes.
pub trait Vocabulary {
    /// Ids up to here, exclusive, have a text.
    fn tokens(&self) -> usize;

    /// The text of one, for display.
    fn text(&self, id: u32) -> String;

    /// What each of `directions` `[rows, d]` adds to the logits: `[rows, n]` with `n` no smaller than [`tokens`](Self::tokens).
    ///
    /// # Errors
    /// Those of the model.
    fn logits(&self, directions: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>>;
}

/// By its last norm and its table of tokens, as if the direction was all of the residual.
impl Vocabulary for LanguageModel {
    fn tokens(&self) -> usize {
        self.tokenizer.len()
    }

    fn text(&self, id: u32) -> String {
        self.tokenizer.text(id)
    }

    fn logits(&self, directions: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
        self.model.unembed(directions)
    }
}

/// Look at the latents of `sae` that fire on `rows`, the activations of `contexts` from the first on.
///
/// The rows are encoded twice, some thousand at a time: once to learn how often and how strongly each latent fires, and once
/// to sort its values into intervals. What is kept is a few excerpts and numbers for each latent. Products with the table of
/// tokens and with the decoder are made in blocks of at most 32 MiB. Equal arguments give equal results.
///
/// # Errors
/// [`Error::Setting`] for more rows than `contexts` give, and for a value that is not finite; those of `vocabulary` and of
/// the autoencoder.
pub fn browser(
    vocabulary: &impl Vocabulary,
    sae: &Sae,
    contexts: &Contexts,
    rows: View<'_, f32, 2>,
    browse: &Browse,
) -> Result<Browser> {
    looked_at(vocabulary, sae, contexts, rows, browse, |extents| Ok(choose(extents, browse.latents)))
}

/// [`browser`] of the latents that `which` names, of those that fire, which it is told by number. How many they are does not matter.
///
/// # Errors
/// As [`browser`], and those of `which`.
pub fn browser_of(
    vocabulary: &impl Vocabulary,
    sae: &Sae,
    contexts: &Contexts,
    rows: View<'_, f32, 2>,
    browse: &Browse,
    which: impl FnOnce(&[u32]) -> Result<Vec<u32>>,
) -> Result<Browser> {
    looked_at(vocabulary, sae, contexts, rows, browse, |extents| {
        let (count, living) = choose(extents, extents.len());
        let mut chosen = which(&living)?;
        chosen.retain(|latent| living.binary_search(latent).is_ok());
        chosen.sort_unstable();
        chosen.dedup();
        Ok((count, chosen))
    })
}

/// What is to be known of the latents that `which` chooses by the extents of all; it says how many live.
fn looked_at(
    vocabulary: &impl Vocabulary,
    sae: &Sae,
    contexts: &Contexts,
    rows: View<'_, f32, 2>,
    browse: &Browse,
    which: impl FnOnce(&[Extent]) -> Result<(usize, Vec<u32>)>,
) -> Result<Browser> {
    let [total, _] = rows.dims();
    if total > contexts.rows() {
        let what = format!("{total} of them, but {} contexts give no more than {}", contexts.len(), contexts.rows());
        return Err(Error::setting("rows", what));
    }
    let firings = Firings { sae, rows, together: contexts.width() };
    let mut extents = vec![Extent::default(); sae.latents()];
    firings.each(|batch| collect::extend(&mut extents, batch))?;
    let (living, chosen) = which(&extents)?;
    let mut collector = Collector::new(contexts, *browse, &chosen, &extents);
    firings.each(|batch| {
        collector.add(batch);
        Ok(())
    })?;
    let lenses = lens::lenses(vocabulary, sae, &chosen, browse.words)?;
    let (norms, aligned) = near::alignment(sae)?;
    let neighbours = near::neighbours(sae, &chosen, &norms, browse.neighbours)?;
    let parts = chosen.iter().zip(collector.finish()).zip(lenses).zip(neighbours);
    let latents = parts.map(|(((&latent, gathered), lens), neighbours)| {
        let Extent { count, strongest } = extents[latent as usize];
        let Gathered { contexts, histogram, top, intervals } = gathered;
        let Lens { promoted, suppressed, sharpness } = lens;
        let aligned = aligned[latent as usize];
        Latent {
            latent,
            count,
            strongest,
            histogram,
            promoted,
            suppressed,
            sharpness,
            aligned,
            neighbours,
            contexts,
            top,
            intervals,
        }
    });
    let latents: Vec<Latent> = latents.collect();
    let named: BTreeSet<u32> = latents.iter().flat_map(Latent::tokens).collect();
    let texts = named.into_iter().map(|id| (id, vocabulary.text(id))).collect();
    Ok(Browser { rows: total, total: sae.latents(), living, latents, texts })
}

/// How many live, and `most` of them, by number.
fn choose(extents: &[Extent], most: usize) -> (usize, Vec<u32>) {
    let mut living: Vec<u32> = (0..extents.len() as u32).filter(|&l| extents[l as usize].count > 0).collect();
    let count = living.len();
    if count > most {
        living.sort_by_key(|&latent| extents[latent as usize].count);
        living = (0..most).map(|i| living[(2 * i + 1) * count / (2 * most)]).collect();
        living.sort_unstable();
    }
    (count, living)
}

impl Latent {
    /// All its excerpts: the strongest, then those of each interval.
    pub fn excerpts(&self) -> impl Iterator<Item = &Excerpt> {
        self.top.iter().chain(self.intervals.iter().flatten())
    }

    /// All tokens that it names, some more than once.
    pub fn tokens(&self) -> impl Iterator<Item = u32> {
        let words = self.promoted.iter().chain(&self.suppressed).map(|word| word.token);
        words.chain(self.excerpts().flat_map(|excerpt| excerpt.tokens.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_are_spread_from_rare_to_frequent() {
        let extents: Vec<Extent> =
            [5, 0, 1, 9, 3, 0, 7].map(|count| Extent { count, strongest: count as f32 }).to_vec();
        assert_eq!(choose(&extents, 9), (5, vec![0, 2, 3, 4, 6]));
        assert_eq!(choose(&extents, 5), (5, vec![0, 2, 3, 4, 6]));
        // By count they are 2, 4, 0, 6, 3: the middle of each half.
        assert_eq!(choose(&extents, 2), (5, vec![4, 6]));
        assert_eq!(choose(&extents, 0), (5, vec![]));
        assert_eq!(choose(&[], 3), (0, vec![]));
    }
}
