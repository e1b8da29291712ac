//! Feature absorption (Chanin et al. 2024), on the first letters of words, by the rules of SAEBench: the latent that should fire for every
//! word that begins with a letter does not for some, because a latent of the word itself has the letter's direction in its own.
use super::inputs::largest;
use super::lasso::lasso;
use super::{Fit, Inputs, Labelled, Pooled, Probe};
use crate::io::{Error, Result};
use crate::sae::Sae;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A latent that is below is silent.
const SILENT: f32 = 1e-8;
/// What the cosine with the probe must at least be, of the one latent of full absorption, and of those of its fraction.
const ALIGNED: f64 = 0.025;
const ABSORBS: f64 = 0.1;
/// The least share of the projection on the probe that absorbers make up.
const PROPORTION: f64 = 0.4;
/// Latents that together absorb a word.
const ABSORBERS: usize = 3;
/// What the sizes of the weights cost, by which latents are ranked for a letter: half of SAEBench's 0.01, whose losses weigh twice as much.
const PENALTY: f64 = 0.005;

/// Which letters are judged, and how many latents one may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letters {
    /// Latents at most that stand for a letter.
    pub most: usize,
    /// By how much one more latent must raise F1 to be one of them.
    pub jump: f64,
    /// What F1 of the probe must exceed.
    pub f1: f64,
    /// How many words to judge by must begin with the letter.
    pub words: usize,
}

impl Default for Letters {
    fn default() -> Self {
        Self { most: 10, jump: 0.03, f1: 0.6, words: 20 }
    }
}

/// What became of one letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Which, in lower case.
    pub letter: char,
    /// F1 of the probe on activations.
    pub f1: f64,
    /// The latents that stand for the letter.
    pub main: Vec<usize>,
    /// F1 of a probe on these.
    pub main_f1: f64,
    /// Words to judge by that begin with it and that the probe finds. Shares below are of these.
    pub words: usize,
    /// Share of full absorption: all main latents are silent, and of the one that adds most along the probe, the cosine with it is at
    /// least 0.025, and what it adds is at least 40 % of the activation's projection.
    pub full: f64,
    /// Mean absorption fraction: how much of what main and absorbing latents add along the probe is the absorbers'. Those are up to
    /// three others with cosines from 0.1 on, and count if they add at least 40 % of the activation's projection.
    pub fraction: f64,
}

/// Means over letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Absorption {
    /// The letters that could be judged.
    pub letters: Vec<Letter>,
    /// Mean of [`Letter::full`]; `None` without letters.
    pub full: Option<f64>,
    /// Mean of [`Letter::fraction`].
    pub fraction: Option<f64>,
    /// Mean number of main latents: above 1, letters are split.
    pub split: Option<f64>,
}

/// Words by the activations at their tokens.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// One token each.
    pub tokens: &'a Pooled,
    /// The first letter of each, in lower case.
    pub letters: &'a [char],
}

/// Judge every letter of `train`: find a probe and the latents that stand for the letter on `train`, count absorption on `test`. `tell`
/// hears each letter that is done.
///
/// # Errors
/// Letters that are not as many as words, and activations that are not finite.
pub fn absorption(
    sae: &Sae,
    train: Words<'_>,
    test: Words<'_>,
    which: Letters,
    tell: impl Fn(char) + Sync,
) -> Result<Absorption> {
    for words in [train, test] {
        if words.letters.len() != words.tokens.len() {
            let what = format!("{} of them, for {} words", words.letters.len(), words.tokens.len());
            return Err(Error::setting("letters", what));
        }
    }
    let mut all = train.letters.to_vec();
    all.sort_unstable();
    all.dedup();
    let decoder = sae.w_dec.to_vec()?;
    let judged = |&letter: &char| {
        let found = judge(&decoder, sae.d(), letter, train, test, which);
        tell(letter);
        found
    };
    let letters: Vec<Letter> = all.par_iter().map(judged).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let mean = |of: &dyn Fn(&Letter) -> f64| {
        (!letters.is_empty()).then(|| letters.iter().map(of).sum::<f64>() / letters.len() as f64)
    };
    let (full, fraction) = (mean(&|letter| letter.full), mean(&|letter| letter.fraction));
    let split = mean(&|letter| letter.main.len() as f64);
    Ok(Absorption { letters, full, fraction, split })
}

/// One letter, unless it has too few words or the probe does not find it.
fn judge(
    decoder: &[f32],
    d: usize,
    letter: char,
    train: Words<'_>,
    test: Words<'_>,
    which: Letters,
) -> Result<Option<Letter>> {
    let [own, held] = [train, test].map(|words| words.letters.iter().map(|&l| l == letter).collect::<Vec<bool>>());
    let count = |labels: &[bool]| labels.iter().filter(|&&label| label).count();
    if count(&held) < which.words.max(1) || count(&own) == own.len() {
        return Ok(None);
    }
    let fit = Fit { balanced: true, ..Fit::default() };
    let [of, other] = [(train, &own), (test, &held)].map(|(words, labels)| Labelled { texts: words.tokens, labels });
    let probe = Probe::fit(of.raw(), &own, fit)?;
    let logits = probe.logits(other.raw())?;
    let found = f1(&logits, &held);
    if found <= which.f1 {
        return Ok(None);
    }
    let (main, main_f1) = main_latents(of, other, which, fit)?;
    let length = probe.weights.iter().map(|w| w * w).sum::<f64>().sqrt();
    let unit: Vec<f64> = probe.weights.iter().map(|w| w / length).collect();
    let cosine = |latent: usize| {
        let row = &decoder[latent * d..][..d];
        let along: f64 = row.iter().zip(&unit).map(|(&w, p)| f64::from(w) * p).sum();
        along / row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
    };
    let (mut words, mut full, mut fraction) = (0_u32, 0_usize, 0.0);
    for at in (0..held.len()).filter(|&at| held[at] && logits[at] > 0.0) {
        let x = &test.tokens.raw()[at * d..][..d];
        let projection = x.iter().zip(&unit).map(|(&x, p)| f64::from(x) * p).sum();
        let active: Vec<Active> = test
            .tokens
            .written()
            .row(at)
            .map(|(latent, value)| Active { latent, value, cosine: cosine(latent) })
            .collect();
        let absorbed = word(&main, &active, projection);
        words += 1;
        full += usize::from(absorbed.0);
        fraction += absorbed.1;
    }
    let share = |of: f64| of / f64::from(words.max(1));
    let (full, fraction) = (share(full as f64), share(fraction));
    Ok(Some(Letter { letter, f1: found, main, main_f1, words: words as usize, full, fraction }))
}

/// The latents that stand for a letter: of those that a sparse probe weighs most, as many as each raise F1 of a probe on them by more than
/// the jump. And that F1.
fn main_latents(train: Labelled<'_>, test: Labelled<'_>, which: Letters, fit: Fit) -> Result<(Vec<usize>, f64)> {
    const STEPS: usize = 500;
    let weights = lasso(train.texts.latents(), train.labels, PENALTY, STEPS);
    let ranked = largest(weights.iter().copied(), which.most.max(1));
    let (mut kept, mut best) = (0, f64::NEG_INFINITY);
    for k in 1..=ranked.len() {
        let [values, other] = [train, test].map(|of| Inputs::Sparse(of.texts.latents()).columns(&ranked[..k]));
        let dense = |values| Inputs::Dense { values, width: k };
        let found = f1(&Probe::fit(dense(&values), train.labels, fit)?.logits(dense(&other))?, test.labels);
        if found <= best + which.jump {
            break;
        }
        (kept, best) = (k, found);
    }
    Ok((ranked[..kept].to_vec(), best))
}

/// The harmonic mean of precision and recall: 0 where nothing is found.
fn f1(logits: &[f64], labels: &[bool]) -> f64 {
    let pairs = || logits.iter().map(|&z| z > 0.0).zip(labels);
    let right = pairs().filter(|&(said, &label)| said && label).count();
    let wrong = pairs().filter(|&(said, &label)| said != label).count();
    if right == 0 { 0.0 } else { 2.0 * right as f64 / (2 * right + wrong) as f64 }
}

/// A latent that fires on a word.
struct Active {
    latent: usize,
    value: f32,
    /// With the probe.
    cosine: f64,
}

/// Whether a word is absorbed in full, and its absorption fraction: `projection` is that of its activation on the probe.
fn word(main: &[usize], active: &[Active], projection: f64) -> (bool, f64) {
    let added = |latent: &Active| f64::from(latent.value) * latent.cosine;
    let is_main = |latent: &&Active| main.contains(&latent.latent);
    let from_main: f64 = active.iter().filter(is_main).map(added).sum();
    let silent = active.iter().filter(is_main).all(|latent| latent.value.abs() < SILENT);
    let top = active.iter().max_by(|a, b| added(a).total_cmp(&added(b)).then(b.latent.cmp(&a.latent)));
    let full = silent
        && projection > 0.0
        && top.is_some_and(|top| top.cosine >= ALIGNED && added(top) >= PROPORTION * projection);
    let others = active.iter().filter(|latent| !is_main(latent) && latent.cosine >= ABSORBS);
    let mut absorbers: Vec<f64> = others.map(added).filter(|&added| added > 0.0).collect();
    absorbers.sort_by(|a, b| b.total_cmp(a));
    let absorbed: f64 = absorbers.iter().take(ABSORBERS).sum();
    let fraction = if from_main >= projection || absorbed < PROPORTION * projection || projection <= 0.0 {
        0.0
    } else if from_main <= 0.0 {
        1.0
    } else {
        let absorbed = absorbed.min(projection - from_main);
        absorbed / (absorbed + from_main)
    };
    (full, fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::Gate;
    use crate::{Device, Philox, Tensor};

    fn active(all: &[(usize, f32, f64)]) -> Vec<Active> {
        all.iter().map(|&(latent, value, cosine)| Active { latent, value, cosine }).collect()
    }

    #[test]
    fn words_by_hand() {
        // The main latent is silent and another does its work.
        assert_eq!(word(&[0], &active(&[(4, 5.0, 0.8), (7, 1.0, 0.5)]), 5.0), (true, 1.0));
        // It adds less than two fifths; or is not aligned.
        assert_eq!(word(&[0], &active(&[(4, 1.0, 0.8)]), 5.0), (false, 0.0));
        assert_eq!(word(&[0], &active(&[(4, 500.0, 0.02)]), 5.0), (false, 0.0));
        // Main adds 1, others 3 of 10, of which one is not aligned enough: 3 is less than two fifths. With 5 more it is 8 of 9.
        assert_eq!(word(&[0], &active(&[(0, 1.0, 1.0), (1, 6.0, 0.5), (2, 90.0, 0.09)]), 10.0), (false, 0.0));
        let (full, fraction) = word(&[0], &active(&[(0, 1.0, 1.0), (1, 6.0, 0.5), (2, 10.0, 0.5)]), 10.0);
        assert!(!full && (fraction - 8.0 / 9.0).abs() < 1e-12);
        // No more than what main leaves; three absorbers at most.
        let (_, fraction) = word(&[0], &active(&[(0, 6.0, 1.0), (1, 20.0, 1.0)]), 10.0);
        assert!((fraction - 0.4).abs() < 1e-12);
        let four = active(&[(0, 1.0, 1.0), (1, 2.0, 1.0), (2, 2.0, 1.0), (3, 2.0, 1.0), (4, 2.0, 1.0)]);
        assert!((word(&[0], &four, 10.0).1 - 6.0 / 7.0).abs() < 1e-12);
        // Main does it all; nothing is on the probe's side; nothing fires.
        assert_eq!(word(&[0], &active(&[(0, 9.0, 1.0), (1, 9.0, 1.0)]), 8.0).1, 0.0);
        assert_eq!(word(&[0], &active(&[(1, 9.0, 1.0)]), -1.0), (false, 0.0));
        assert_eq!(word(&[0], &[], 1.0), (false, 0.0));
    }

    #[test]
    fn f1_by_hand() {
        assert_eq!(f1(&[1.0, 1.0, -1.0, -1.0], &[true, false, true, false]), 0.5);
        assert_eq!(f1(&[-1.0, -1.0], &[true, false]), 0.0);
    }

    /// Words with `a` point one way, others the opposite. Every fourth word with `a` points a little aside, where one latent waits
    /// for it, and the latent of `a` stays silent.
    #[test]
    fn a_latent_absorbs() {
        let rows = vec![1.0, 0.0, 0.8, 0.6, -1.0, 0.0];
        let sae = Sae::tied(rows, vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
        let drawn = |seed| {
            let (mut draw, mut rows, mut letters) = (Philox::new(seed), Vec::new(), Vec::new());
            for at in 0..120 {
                let size = 2.0 + draw.uniform();
                let noise = 0.1 * (draw.uniform() - 0.5);
                let (letter, [x, y]) = match at % 8 {
                    0 | 2 | 4 => ('a', [1.0, 0.0]),
                    6 => ('a', [0.8, 0.6]),
                    1 => ('c', [-1.0, 0.0]),
                    _ => ('b', [-1.0, 0.0]),
                };
                rows.extend([size * x, size * y + noise]);
                letters.push(letter);
            }
            let rows = Tensor::from_vec(rows, [120, 2], &Device::Host).unwrap();
            let mut pooled = Pooled::new(&sae);
            pooled.push(&sae, &sae.bias().unwrap(), rows.view(), &[1; 120]).unwrap();
            (pooled, letters)
        };
        let (train, test) = (drawn(1), drawn(2));
        let [train, test] = [&train, &test].map(|(tokens, letters)| Words { tokens, letters });
        let which = Letters { most: 1, ..Letters::default() };
        let found = absorption(&sae, train, test, which, |_| ()).unwrap();
        let a = &found.letters[0];
        // `c` has 15 words, too few.
        assert!(found.letters.iter().all(|letter| letter.letter != 'c'), "{found:?}");
        assert_eq!((a.letter, a.f1, a.main.as_slice(), a.words), ('a', 1.0, &[0][..], 60));
        assert_eq!((a.full, a.fraction), (0.25, 0.25));
        // With two latents for the letter, nothing is absorbed: it is split.
        let found = absorption(&sae, train, test, Letters::default(), |_| ()).unwrap();
        let a = &found.letters[0];
        assert_eq!((a.main.len(), a.full, a.main_f1), (2, 0.0, 1.0));
        let none = absorption(&sae, train, test, Letters { words: 1000, ..Letters::default() }, |_| ()).unwrap();
        assert_eq!((none.letters.len(), none.full), (0, None));
        assert!(absorption(&sae, Words { letters: &['a'], ..train }, test, which, |_| ()).is_err());
    }
}
