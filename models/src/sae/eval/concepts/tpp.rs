use super::{Read, check, strongest};
use crate::io::{Error, Result};
use crate::lm::{LanguageModel, Site};
use crate::sae::Sae;
use crate::sae::eval::pooled::pool_task;
use crate::sae::eval::probe::accuracy;
use crate::sae::eval::{Fit, Labelled, Pooled, Task};
use serde::{Deserialize, Serialize};

/// Targeted probe perturbation.
///
/// There is a probe for each of several classes. Where the latents of one class are ablated, its probe should fail, and the others
/// should not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tpp {
    /// The classes.
    pub classes: Vec<String>,
    /// How often the probe of each is right, the texts of the class counting as much as all others.
    pub clean: Vec<f64>,
    /// Scores by how many latents are ablated.
    pub scores: Vec<TppScore>,
}

/// The score of one number of latents, as means over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TppScore {
    /// How many latents are ablated.
    pub n: usize,
    /// What a probe loses where the latents of its class are ablated.
    pub intended: f64,
    /// What a probe loses where those of another class are.
    pub unintended: f64,
    /// `intended - unintended`.
    pub score: f64,
}

/// Texts of several classes.
#[derive(Clone, Copy, Debug)]
pub struct Classed<'a> {
    /// The texts.
    pub texts: &'a Pooled,
    /// The class of each.
    pub classes: &'a [usize],
}

/// Targeted probe perturbation, for each number of latents of `ns` ([`ABLATED`](super::ABLATED), as published). Latents are chosen on `train` by their
/// effect on the probe of the class, only those counting that write more in it than in others. SAEBench draws as many texts
/// of other classes as a class has; here all are used, each kind with half the weight. And where fewer than `n` latents speak for
/// a class, no others are ablated.
///
/// # Errors
/// Fewer than two classes, one without texts on either side, texts read with another autoencoder, a transcoder.
pub fn tpp(names: &[String], sae: &Sae, train: Classed<'_>, test: Classed<'_>, ns: &[usize], fit: Fit) -> Result<Tpp> {
    check(sae, [train.texts, test.texts])?;
    if names.len() < 2 {
        return Err(Error::setting("classes", format!("{names:?}; two are needed")));
    }
    let decoder = sae.w_dec.to_vec()?;
    let labels = |of: Classed<'_>| -> Vec<Vec<bool>> {
        (0..names.len()).map(|class| of.classes.iter().map(|&c| c == class).collect()).collect()
    };
    let (trained, judged) = (labels(train), labels(test));
    let mut all = Vec::new();
    for labels in &trained {
        let of = Labelled { texts: train.texts, labels };
        let read = Read::fit(&decoder, of.raw(), labels, Fit { balanced: true, ..fit })?;
        let effects = read.effects(of, |difference| difference.max(0.0))?;
        all.push((read, effects));
    }
    let right = |class: usize, latents: &[usize]| -> Result<f64> {
        balanced(&all[class].0.without(test.texts, latents)?, &judged[class])
    };
    let classes = 0..names.len();
    let clean = classes.clone().map(|class| right(class, &[])).collect::<Result<Vec<_>>>()?;
    let mut scores = Vec::new();
    for &n in ns {
        let (mut intended, mut unintended) = (0.0, 0.0);
        for of in classes.clone() {
            let latents = strongest(&all[of].1, n);
            for class in classes.clone() {
                let lost = clean[class] - right(class, &latents)?;
                if class == of { intended += lost } else { unintended += lost }
            }
        }
        intended /= names.len() as f64;
        unintended /= (names.len() * (names.len() - 1)) as f64;
        scores.push(TppScore { n, intended, unintended, score: intended - unintended });
    }
    Ok(Tpp { classes: names.to_vec(), clean, scores })
}

/// [`tpp`] of a task, whose texts are cut to `length` tokens. `tell` hears how many texts are read at a time; there are [`Task::len`] of
/// them.
///
/// # Errors
/// Those of [`pool`](crate::sae::eval::pool) and [`tpp`].
pub fn tpp_task(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    task: &Task,
    length: usize,
    ns: &[usize],
    tell: impl FnMut(usize),
) -> Result<Tpp> {
    let texts = pool_task(lm, site, &[sae], task, length, tell)?.map(|mut of| of.remove(0));
    let classes: [Vec<usize>; 2] =
        [&task.train, &task.test].map(|part| part.iter().map(|example| example.class).collect());
    let [train, test] = [0, 1].map(|part| Classed { texts: &texts[part], classes: &classes[part] });
    tpp(&task.classes, sae, train, test, ns, Fit::default())
}

/// The mean of the shares of labelled and of other rows that are right.
fn balanced(logits: &[f64], labels: &[bool]) -> Result<f64> {
    let of = |kind: bool| -> Result<f64> {
        let part: Vec<f64> = logits.iter().zip(labels).filter(|&(_, &label)| label == kind).map(|(&z, _)| z).collect();
        accuracy(&part, &vec![kind; part.len()])
    };
    Ok(0.5 * (of(true)? + of(false)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{D, both_ways, read};
    use super::*;
    use crate::sae::Gate;
    use crate::{Device, Philox};

    /// Three classes, each an axis: its latent is its own, and ablating it harms no other as much.
    #[test]
    fn probes_are_perturbed_one_by_one() {
        let sae = both_ways();
        let drawn = |seed| {
            let mut draw = Philox::new(seed);
            let classes: Vec<usize> = (0..60).map(|text| text % D).collect();
            let texts = classes.iter().map(|&class| {
                let mut row: [f32; D] = std::array::from_fn(|_| 0.2 * draw.uniform());
                row[class] += 2.0;
                row
            });
            (read(&sae, &texts.collect::<Vec<_>>()), classes)
        };
        let (train, test) = (drawn(4), drawn(5));
        let [train, test] = [&train, &test].map(|(texts, classes)| Classed { texts, classes });
        let names = ["a", "b", "c"].map(String::from);
        let found = tpp(&names, &sae, train, test, &[1], Fit::default()).unwrap();
        assert_eq!(found.clean, [1.0; D]);
        let one = found.scores[0];
        assert!(one.intended == 0.5 && one.unintended < 0.3, "{found:?}");
        assert_eq!(one.score, one.intended - one.unintended);
        assert!(tpp(&names[..1], &sae, train, test, &[1], Fit::default()).is_err());
        let other = Sae::tied(vec![1.0; D], vec![0.0; D], Gate::Strongest(1), &Device::Host).unwrap();
        let mut across = both_ways();
        across.predicts = true;
        for (wrong, what) in [(&other, "read with another"), (&across, "is a transcoder")] {
            let said = tpp(&names, wrong, train, test, &[1], Fit::default()).unwrap_err().to_string();
            assert!(said.starts_with("sae: ") && said.contains(what), "{said}");
        }
    }

    #[test]
    fn balanced_by_hand() {
        assert_eq!(balanced(&[1.0, -1.0, -1.0, -1.0, 1.0], &[true, false, false, false, false]).unwrap(), 0.875);
        assert!(balanced(&[1.0], &[true]).is_err());
    }
}
