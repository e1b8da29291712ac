use super::forward::forward;
use super::inputs::largest;
use super::pooled::pool_task;
use super::{Fit, Inputs, Pooled, Probe, Task};
use crate::io::{Error, Result};
use crate::lm::{LanguageModel, Site};
use crate::sae::Sae;
use serde::{Deserialize, Serialize};

/// What can be read off a few latents about a text, against what can be read off the whole activations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probing {
    /// What was asked.
    pub task: String,
    /// Texts to fit on, and texts held out, by which all accuracies are.
    pub texts: [usize; 2],
    /// Accuracy of always saying what most texts to fit on are.
    pub chance: f64,
    /// Accuracy of a probe on the mean activations.
    pub raw: f64,
    /// Accuracy of a probe on the mean values of all latents.
    pub latents: f64,
    /// Accuracies of probes on few of either.
    pub sparse: Vec<SparseProbe>,
}

/// A probe on `k` latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SparseProbe {
    /// How many.
    pub k: usize,
    /// Which: those whose means differ most between the classes, on the texts to fit on; of equal ones, the first.
    pub latents: Vec<usize>,
    /// How often it is right.
    pub accuracy: f64,
    /// As many latents, chosen one after another so that a probe on them fits best; fewer where no other says anything.
    pub best: Vec<usize>,
    /// How often a probe on those is right.
    pub best_accuracy: f64,
    /// The same of `k` coordinates of the activations, chosen alike: what latents must beat to be worth their while.
    pub coordinates: f64,
}

impl Probing {
    /// How much more often the probe on `k` latents is right than [`chance`](Self::chance). `None` if there is no such probe.
    pub fn gain(&self, k: usize) -> Option<f64> {
        Some(self.sparse.iter().find(|probe| probe.k == k)?.accuracy - self.chance)
    }

    /// Its gain as a share of that of the probe on whole activations. `None` too if that one gains nothing.
    pub fn share(&self, k: usize) -> Option<f64> {
        self.gain(k).and_then(|gain| self.of_whole(gain))
    }

    /// The share of the probe on the [best](SparseProbe::best) `k` latents.
    pub fn best_share(&self, k: usize) -> Option<f64> {
        let probe = self.sparse.iter().find(|probe| probe.k == k)?;
        self.of_whole(probe.best_accuracy - self.chance)
    }

    fn of_whole(&self, gain: f64) -> Option<f64> {
        let whole = self.raw - self.chance;
        (whole > 0.0).then(|| gain / whole)
    }
}

/// Labelled texts as means of their tokens.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The texts.
    pub texts: &'a Pooled,
    /// Of each, whether it is of the second class.
    pub labels: &'a [bool],
}

impl Labelled<'_> {
    pub(super) fn raw(&self) -> Inputs<'_> {
        Inputs::Dense { values: self.texts.raw(), width: self.texts.d() }
    }

    fn latents(&self) -> Inputs<'_> {
        Inputs::Sparse(self.texts.latents())
    }
}

/// Sparse probing as in SAEBench (Karvonen et al. 2025): logistic probes on the `k` latents of the largest difference between the
/// classes' means, for each of `ks`, fitted on `train` and judged on `test`; and on the `k` that forward selection finds, which SAEBench
/// does not try: the largest differences are often of latents that say the same.
///
/// # Errors
/// Labels that do not fit or are all alike, a `k` of 0 or above the number of latents or the width of the activations.
pub fn sparse_probing(task: &str, train: Labelled<'_>, test: Labelled<'_>, ks: &[usize], fit: Fit) -> Result<Probing> {
    let most = train.latents().width().min(train.raw().width());
    if let Some(k) = ks.iter().find(|&&k| k == 0 || k > most) {
        return Err(Error::setting("ks", format!("{k} is not from 1 to {most}")));
    }
    let on = |of: Inputs<'_>, judged: Inputs<'_>| -> Result<f64> {
        Probe::fit(of, train.labels, fit)?.accuracy(judged, test.labels)
    };
    let few = |of: Inputs<'_>, judged: Inputs<'_>, chosen: &[usize]| {
        let [values, other] = [of, judged].map(|of| of.columns(chosen));
        let dense = |values| Inputs::Dense { values, width: chosen.len() };
        on(dense(&values), dense(&other))
    };
    let [by_latent, by_coordinate] = [train.latents(), train.raw()].map(|of| of.differences(train.labels));
    let (by_latent, by_coordinate) = (by_latent?, by_coordinate?);
    let best = forward(train.latents(), train.labels, ks.iter().copied().max().unwrap_or(0), fit)?;
    let strongest = |of: &[f64], k| largest(of.iter().map(|difference| difference.abs()), k);
    let mostly = 2 * train.labels.iter().filter(|&&label| label).count() > train.labels.len();
    let said = test.labels.iter().filter(|&&label| label == mostly).count();
    let chance = said as f64 / test.labels.len().max(1) as f64;
    let sparse = ks.iter().map(|&k| {
        let (latents, coordinates) = (strongest(&by_latent, k), strongest(&by_coordinate, k));
        let accuracy = few(train.latents(), test.latents(), &latents)?;
        let coordinates = few(train.raw(), test.raw(), &coordinates)?;
        let best = best[..k.min(best.len())].to_vec();
        let best_accuracy = match best.is_empty() {
            true => chance,
            false => few(train.latents(), test.latents(), &best)?,
        };
        Ok(SparseProbe { k, latents, accuracy, best, best_accuracy, coordinates })
    });
    let sparse = sparse.collect::<Result<Vec<_>>>()?;
    Ok(Probing {
        task: task.into(),
        texts: [train.labels.len(), test.labels.len()],
        chance,
        raw: on(train.raw(), test.raw())?,
        latents: on(train.latents(), test.latents())?,
        sparse,
    })
}

/// [`sparse_probing`] of a task of two classes, whose texts are cut to `length` tokens. `tell` hears how many texts are read at a
/// time; there are [`Task::len`] of them.
///
/// # Errors
/// A task of other than two classes, and those of [`pool`](super::pool) and [`sparse_probing`].
pub fn probe_task(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    task: &Task,
    length: usize,
    ks: &[usize],
    tell: impl FnMut(usize),
) -> Result<Probing> {
    probe_task_each(lm, site, &[sae], task, length, ks, tell)?
        .pop()
        .ok_or_else(|| Error::setting("saes", "there must be at least one"))
}

/// [`probe_task`] of several autoencoders, for which the model runs once.
///
/// # Errors
/// As there.
pub fn probe_task_each(
    lm: &LanguageModel,
    site: Site,
    saes: &[&Sae],
    task: &Task,
    length: usize,
    ks: &[usize],
    tell: impl FnMut(usize),
) -> Result<Vec<Probing>> {
    if task.classes.len() != 2 {
        let what = format!("{} has {} classes; sparse probing tells 2 apart", task.name, task.classes.len());
        return Err(Error::setting("task", what));
    }
    let [train, test] = pool_task(lm, site, saes, task, length, tell)?;
    let [of_train, of_test]: [Vec<bool>; 2] =
        [&task.train, &task.test].map(|part| part.iter().map(|example| example.class == 1).collect());
    let each = train.iter().zip(&test).map(|(train, test)| {
        let (train, test) = (Labelled { texts: train, labels: &of_train }, Labelled { texts: test, labels: &of_test });
        sparse_probing(&task.name, train, test, ks, Fit::default())
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::Gate;
    use crate::{Device, Philox, Tensor};

    /// One token per text in four coordinates. The class is whether the third is present; the first is noise of ten times the
    /// size, which is in every text.
    fn texts(count: usize, seed: u64) -> (Pooled, Vec<bool>) {
        let eye = (0..16).map(|at| if at % 5 == 0 { 1.0 } else { 0.0 }).collect();
        let sae = Sae::tied(eye, vec![0.0; 4], Gate::Strongest(4), &Device::Host).unwrap();
        let (mut draw, mut rows, mut labels) = (Philox::new(seed), Vec::new(), Vec::new());
        for text in 0..count {
            let label = text % 2 == 1;
            let noise = 10.0 * draw.uniform();
            rows.extend([noise, draw.uniform(), if label { 4.0 + draw.uniform() } else { 0.0 }, 0.0]);
            labels.push(label);
        }
        let rows = Tensor::from_vec(rows, [count, 4], &Device::Host).unwrap();
        let mut pooled = Pooled::new(&sae);
        pooled.push(&sae, &sae.bias().unwrap(), rows.view(), &vec![1; count]).unwrap();
        (pooled, labels)
    }

    #[test]
    fn one_latent_tells() {
        let (train, test) = (texts(60, 1), texts(40, 2));
        let [train, test] = [&train, &test].map(|(texts, labels)| Labelled { texts, labels });
        let found = sparse_probing("third", train, test, &[1, 2], Fit::default()).unwrap();
        assert_eq!((found.texts, found.chance, found.raw, found.latents), ([60, 40], 0.5, 1.0, 1.0));
        assert_eq!((found.sparse[0].latents.as_slice(), found.sparse[0].accuracy), (&[2][..], 1.0));
        assert_eq!((found.gain(1), found.share(1), found.gain(5), found.share(5)), (Some(0.5), Some(1.0), None, None));
        assert_eq!(found.sparse[1].coordinates, 1.0);
        let nothing = Probing { raw: 0.5, ..found };
        assert_eq!(nothing.share(1), None);
        for k in [0, 5] {
            let said = sparse_probing("third", train, test, &[k], Fit::default()).unwrap_err().to_string();
            assert!(said.contains("from 1 to 4"), "{said}");
        }
    }

    /// Labels that have nothing to do with the texts cannot be read off them: on other texts the probe is right about as often
    /// as not.
    #[test]
    fn nothing_tells_of_noise() {
        let (train, test) = (texts(200, 3), texts(200, 4));
        let drawn = |seed| {
            let mut draw = Philox::new(seed);
            (0..200).map(|_| draw.below(2) == 1).collect::<Vec<_>>()
        };
        let (a, b) = (drawn(5), drawn(6));
        let found = sparse_probing(
            "noise",
            Labelled { texts: &train.0, labels: &a },
            Labelled { texts: &test.0, labels: &b },
            &[2],
            Fit::default(),
        )
        .unwrap();
        assert!((0.35..0.65).contains(&found.raw) && (0.35..0.65).contains(&found.sparse[0].accuracy), "{found:?}");
    }
}
