//! Questions with one context: latents of one brought into another, and how far their sets are the same.
use crate::measure::{ANSWER, SIZES, name};
use crate::shared::{ones, shuffle};
use crate::{Options, Outcome, Question, progress};
use latens::steer::answers::{exact_match, f1};
use latens::steer::gradsae::{Asked, By, GradSae, Influence, Mode};
use latens::steer::statistics::{Interval, bootstrap_groups};
use serde::{Deserialize, Serialize};

/// Local steering by the top latents.
#[derive(Serialize, Deserialize)]
pub struct Steered {
    pub k: String,
    pub by: By,
    pub mode: Mode,
    pub exact_match: Interval,
    pub f1: Interval,
}

/// How far top and bottom sets of half the latents are the same.
#[derive(Serialize, Deserialize)]
pub struct Overlap {
    /// Of gradients and activations, in one prompt.
    pub methods: [Interval; 2],
    /// Of two prompts with one context, by gradients and by activations, where there are such.
    pub gradient: Option<[Interval; 2]>,
    pub activation: Option<[Interval; 2]>,
}

/// Pairs of questions with one context, of which neither has the other's answer; each once, one way round or the other.
fn pairs(chosen: &[&(Question, Asked)], most: usize, seed: u64) -> Vec<[usize; 2]> {
    let mut all = Vec::new();
    for (a, (first, _)) in chosen.iter().enumerate().filter(|(_, (question, _))| question.kind == "context") {
        for (b, (second, _)) in chosen.iter().enumerate().skip(a + 1) {
            if second.kind == "context" && second.group == first.group && first.answer != second.answer {
                all.push(if (a + b) % 2 == 0 { [a, b] } else { [b, a] });
            }
        }
    }
    shuffle(&mut all, seed);
    all.truncate(most);
    all
}

/// Bring the top latents of one question into another, and see whether its answer comes.
pub fn steer(
    method: &GradSae<'_>,
    chosen: &[&(Question, Asked)],
    influences: &[Influence],
    options: &Options,
) -> Outcome<(Vec<Steered>, usize)> {
    let seed = options.common.seed;
    let pairs = pairs(chosen, options.pairs, seed);
    if pairs.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let prompts: Vec<Vec<u32>> = pairs.iter().map(|&[a, _]| chosen[a].1.prompt.clone()).collect();
    let groups: Vec<usize> = pairs.iter().map(|&[a, _]| chosen[a].0.group).collect();
    let bar = progress("steered", 4 * SIZES.len() * prompts.len());
    let mut all = Vec::new();
    for mode in [Mode::Paper, Mode::Released] {
        for by in [By::Activation, By::Gradient] {
            for size in SIZES {
                let top = |at: usize| influences[at].top(size.unwrap_or(influences[at].half()), by);
                let own: Vec<Vec<u32>> = pairs.iter().map(|&[a, _]| top(a)).collect();
                let donor = |&[_, b]: &[usize; 2]| {
                    let of = |latent: u32| influences[b].latents.iter().find(|of| of.latent == latent);
                    let value = |latent: u32| {
                        let value = of(latent).map_or(0.0, |of| match (mode, by) {
                            (Mode::Released, By::Gradient) => of.gradient,
                            _ => of.activation,
                        });
                        (latent, value as f32)
                    };
                    top(b).into_iter().map(value).collect::<Vec<_>>()
                };
                let donors: Vec<Vec<(u32, f32)>> = pairs.iter().map(donor).collect();
                let said = method.steer(&prompts, &own, &donors, mode, ANSWER, |n| bar.inc(n as u64))?;
                let answers = pairs.iter().zip(&said).map(|(&[_, b], said)| (&chosen[b].0, Question::said(&said.text)));
                let (exact, words): (Vec<bool>, Vec<f64>) =
                    answers.map(|(want, said)| (exact_match(said, &[&want.answer]), f1(said, &[&want.answer]))).unzip();
                all.push(Steered {
                    k: name(size),
                    by,
                    mode,
                    exact_match: bootstrap_groups(&ones(exact), &groups, seed)?,
                    f1: bootstrap_groups(&words, &groups, seed)?,
                });
            }
        }
    }
    bar.finish();
    Ok((all, pairs.len()))
}

/// The share of the smaller set that is in both.
fn shared(a: &[u32], b: &[u32]) -> f64 {
    a.iter().filter(|latent| b.contains(latent)).count() as f64 / a.len().min(b.len()).max(1) as f64
}

/// Overlaps of the largest sets.
pub fn overlap(chosen: &[&(Question, Asked)], influences: &[Influence], seed: u64) -> Outcome<Overlap> {
    let set = |of: &Influence, by, top: bool| {
        let k = of.half();
        if top { of.top(k, by) } else { of.bottom(k, by) }
    };
    let of_questions: Vec<usize> = chosen.iter().map(|(question, _)| question.group).collect();
    let methods = |top| {
        let one = |of| shared(&set(of, By::Gradient, top), &set(of, By::Activation, top));
        bootstrap_groups(&influences.iter().map(one).collect::<Vec<_>>(), &of_questions, seed)
    };
    let pairs = pairs(chosen, usize::MAX, 0);
    let of_pairs: Vec<usize> = pairs.iter().map(|&[a, _]| chosen[a].0.group).collect();
    let within = |by| -> Outcome<Option<[Interval; 2]>> {
        let of = |top| {
            let one = |&[a, b]: &[usize; 2]| shared(&set(&influences[a], by, top), &set(&influences[b], by, top));
            bootstrap_groups(&pairs.iter().map(one).collect::<Vec<_>>(), &of_pairs, seed)
        };
        Ok(if pairs.is_empty() { None } else { Some([of(true)?, of(false)?]) })
    };
    Ok(Overlap {
        methods: [methods(true)?, methods(false)?],
        gradient: within(By::Gradient)?,
        activation: within(By::Activation)?,
    })
}
