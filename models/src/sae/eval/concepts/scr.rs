use super::{Read, check, strongest};
use crate::io::{Error, Result};
use crate::lm::{LanguageModel, Site};
use crate::sae::Sae;
use crate::sae::eval::pooled::pool_task;
use crate::sae::eval::probe::accuracy;
use crate::sae::eval::{Fit, Inputs, Labelled, Pooled, Task, labels};
use serde::{Deserialize, Serialize};

/// Texts with two labels each.
#[derive(Clone, Copy, Debug)]
pub struct Crossed<'a> {
    /// The texts.
    pub texts: &'a Pooled,
    /// Whether each has the first concept, and whether it has the second.
    pub labels: [&'a [bool]; 2],
}

impl<'a> Crossed<'a> {
    fn by(&self, concept: usize) -> Labelled<'a> {
        Labelled { texts: self.texts, labels: self.labels[concept] }
    }
}

/// Spurious correlation removal.
///
/// A biased probe has seen only texts in which two concepts come together, so it cannot know which of them it was asked for. Where
/// the latents of the one are ablated, it should tell the other as well as a probe that saw all texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scr {
    /// What the concepts are.
    pub pair: String,
    /// How often the biased probe is right about each concept, on texts of all four kinds.
    pub base: [f64; 2],
    /// How often a probe is right about each that saw texts of all four kinds.
    pub clean: [f64; 2],
    /// Scores by how many latents are ablated.
    pub scores: Vec<ScrScore>,
}

/// The score of one number of latents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScrScore {
    /// How many latents are ablated.
    pub n: usize,
    /// How often the biased probe is then right about each concept, where the latents of the other are ablated.
    pub ablated: [f64; 2],
    /// `(ablated - base) / (clean - base)` of each concept; `None` where `clean` is no better than `base`.
    pub both: [Option<f64>; 2],
    /// Of the two, that of the concept which the biased probe knows less of, as SAEBench reports; of equals, the first.
    pub score: Option<f64>,
}

/// Spurious correlation removal of two concepts, for each number of latents of `ns` ([`ABLATED`](super::ABLATED), as published). Latents are chosen on
/// `train` by the size of their effect, either way, on a probe for the concept to be removed.
///
/// # Errors
/// Labels that do not fit; concepts that always or never come together; texts read with another autoencoder; a transcoder.
pub fn scr(pair: &str, sae: &Sae, train: Crossed<'_>, test: Crossed<'_>, ns: &[usize], fit: Fit) -> Result<Scr> {
    check(sae, [train.texts, test.texts])?;
    let decoder = sae.w_dec.to_vec()?;
    let [one, other] = train.labels;
    if one.len() != other.len() {
        return Err(Error::setting(
            "labels",
            format!("{} of the one concept, {} of the other", one.len(), other.len()),
        ));
    }
    let together: Vec<usize> = (0..one.len()).filter(|&text| one[text] == other[text]).collect();
    let (d, raw) = (sae.d(), train.texts.raw());
    if one.len() * d != raw.len() {
        return Err(Error::setting("labels", format!("{} of them, for {} texts", one.len(), train.texts.len())));
    }
    let values: Vec<f32> = together.iter().flat_map(|&text| &raw[text * d..][..d]).copied().collect();
    let labels: Vec<bool> = together.iter().map(|&text| one[text]).collect();
    let biased = Read::fit(&decoder, Inputs::Dense { values: &values, width: d }, &labels, fit)?;
    let whole = [0, 1].map(|concept| {
        let of = train.by(concept);
        let read = Read::fit(&decoder, of.raw(), of.labels, fit)?;
        let effects = read.effects(of, |difference| difference)?;
        let clean = read.probe.accuracy(test.by(concept).raw(), test.labels[concept])?;
        Ok::<_, Error>((clean, effects.into_iter().map(f64::abs).collect::<Vec<_>>()))
    });
    let [first, second] = whole;
    let whole = [first?, second?];
    let right =
        |latents: &[usize], concept: usize| accuracy(&biased.without(test.texts, latents)?, test.labels[concept]);
    let (base, clean) = ([right(&[], 0)?, right(&[], 1)?], [whole[0].0, whole[1].0]);
    let scores = ns.iter().map(|&n| {
        let ablated = [right(&strongest(&whole[1].1, n), 0)?, right(&strongest(&whole[0].1, n), 1)?];
        let both = [0, 1].map(|at| {
            let room = clean[at] - base[at];
            (room > 0.0).then(|| (ablated[at] - base[at]) / room)
        });
        Ok(ScrScore { n, ablated, both, score: both[usize::from(base[1] < base[0])] })
    });
    Ok(Scr { pair: pair.into(), base, clean, scores: scores.collect::<Result<_>>()? })
}

/// [`scr`] of a task of four classes, twice the first concept and once the second, as [`labels`] tells them apart. Its texts are cut to
/// `length` tokens. `tell` hears how many texts are read at a time; there are [`Task::len`] of them.
///
/// # Errors
/// A task of other than four classes, and those of [`pool`](crate::sae::eval::pool) and [`scr`].
pub fn scr_task(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    task: &Task,
    length: usize,
    ns: &[usize],
    tell: impl FnMut(usize),
) -> Result<Scr> {
    if task.classes.len() != 4 {
        let what = format!("{} has {} classes; two concepts make 4", task.name, task.classes.len());
        return Err(Error::setting("task", what));
    }
    let texts = pool_task(lm, site, &[sae], task, length, tell)?.map(|mut of| of.remove(0));
    let labels = [&task.train, &task.test].map(|part| labels(part));
    let [train, test] = [0, 1].map(|part| {
        let [one, other] = &labels[part];
        Crossed { texts: &texts[part], labels: [one, other] }
    });
    scr(&task.name, sae, train, test, ns, Fit::default())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{both_ways, crossed, read};
    use super::*;

    /// The biased probe leans on the clear concept. Without the two latents of that one it knows the other as a clean probe does.
    #[test]
    fn spurious_correlation_is_removed() {
        let (sae, (a, a_labels), (b, b_labels)) = (both_ways(), crossed(200, 2), crossed(200, 3));
        let (train, test) = (read(&sae, &a), read(&sae, &b));
        let train = Crossed { texts: &train, labels: [&a_labels[0], &a_labels[1]] };
        let test = Crossed { texts: &test, labels: [&b_labels[0], &b_labels[1]] };
        let found = scr("hidden and clear", &sae, train, test, &[2, 6], Fit::default()).unwrap();
        assert!(found.clean[0] > 0.85 && found.clean[1] == 1.0, "{found:?}");
        assert!(found.base[0] < 0.7 && found.base[1] > 0.9, "{found:?}");
        let two = found.scores[0];
        assert!(two.score == two.both[0] && two.score.unwrap() > 0.8, "{found:?}");
        // Without any latent nothing is left but the bias, which says the same of all.
        assert_eq!(found.scores[1].ablated, [0.5, 0.5]);
        let short = Crossed { labels: [&a_labels[0], &a_labels[1][1..]], ..train };
        assert!(scr("none", &sae, short, test, &[1], Fit::default()).is_err());
        let mut across = both_ways();
        across.predicts = true;
        let said = scr("across", &across, train, test, &[1], Fit::default()).unwrap_err().to_string();
        assert!(said.contains("is a transcoder"), "{said}");
    }
}
