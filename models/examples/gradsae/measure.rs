//! The experiments of one layer.
use crate::exact::Exact;
use crate::shared::{digits, ones, shuffle};
use crate::{Options, Outcome, Question, progress};
use latens::lm::{Continuation, LanguageModel};
use latens::steer::answers::{exact_match, f1};
use latens::steer::gradsae::{Asked, By, GradSae, Influence, Mode};
use latens::steer::statistics::{Interval, bootstrap, mcnemar};
use serde::{Deserialize, Serialize};

/// Tokens of an answer at most.
const ANSWER: usize = 8;
/// Sizes of sets; `None` is half of the latents that are active at the last token.
pub const SIZES: [Option<usize>; 5] = [Some(1), Some(10), Some(20), Some(30), None];

/// What came of turning a set off.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub k: String,
    pub by: By,
    /// Whether the set is of the largest scores.
    pub top: bool,
    /// Latents in a set, on average.
    pub latents: f64,
    pub exact_match: Interval,
    pub f1: Interval,
    #[serde(with = "digits")]
    pub right: Vec<bool>,
}

/// Local steering by the top latents.
#[derive(Serialize, Deserialize)]
pub struct Steered {
    pub k: String,
    pub by: By,
    pub mode: Mode,
    pub exact_match: Interval,
    pub f1: Interval,
}

/// How far sets are the same.
#[derive(Serialize, Deserialize)]
pub struct Overlap {
    /// Of gradients and activations, in one prompt.
    pub methods: [f64; 2],
    /// Of two prompts with one context, by gradients and by activations; of top and bottom sets.
    pub gradient: [f64; 2],
    pub activation: [f64; 2],
}

#[derive(Serialize, Deserialize)]
pub struct Layer {
    pub layer: usize,
    pub questions: usize,
    pub kinds: Vec<(String, usize)>,
    /// Of the questions that the model answers right, the share that it still does through the autoencoder.
    pub through: f64,
    pub active_at_last: f64,
    pub rows: Vec<Row>,
    /// For each size, McNemar's p of the two top sets: whether one leaves fewer right.
    pub p_top: Vec<(String, f64)>,
    pub steered: Vec<Steered>,
    pub pairs: usize,
    pub overlap: Overlap,
    pub exact: Exact,
    /// A question, its answer, and the latents that it hangs on most.
    pub shown: Shown,
}

#[derive(Serialize, Deserialize)]
pub struct Shown {
    pub prompt: String,
    pub answer: String,
    pub latents: Vec<u32>,
}

/// The first questions that the model answers right, as many as there are up to `most`.
pub fn right(lm: &LanguageModel, all: &[Question], most: usize) -> Outcome<Vec<(Question, Asked)>> {
    const EACH: usize = 64;
    let mut right = Vec::new();
    let bar = progress("questions", most);
    for part in all.chunks(EACH) {
        let asked = part.iter().map(|question| question.asked(lm)).collect::<Outcome<Vec<_>>>()?;
        let prompts: Vec<Vec<u32>> = asked.iter().map(|one| one.prompt.clone()).collect();
        let run = latens::steer::Run { together: EACH, ..latens::steer::Run::new(lm, ANSWER) };
        let said = run.go(&prompts, |_| Ok(latens::lm::Hooks::new()), |_| ())?;
        for ((question, asked), said) in part.iter().zip(asked).zip(said) {
            if is_right(question, &said) {
                right.push((question.clone(), asked));
            }
        }
        bar.set_position(right.len().min(most) as u64);
        if right.len() >= most {
            break;
        }
    }
    bar.finish();
    right.truncate(most);
    Ok(right)
}

fn is_right(question: &Question, said: &Continuation) -> bool {
    exact_match(Question::said(&said.text), &[&question.answer])
}

impl Layer {
    pub fn measure(
        method: &GradSae<'_>,
        layer: usize,
        right: &[(Question, Asked)],
        options: &Options,
    ) -> Outcome<Self> {
        let bar = progress("through", right.len()).with_message(format!("layer {layer}"));
        let prompts: Vec<Vec<u32>> = right.iter().map(|(_, asked)| asked.prompt.clone()).collect();
        let plain = method
            .without(&mut method.begin(&prompts, ANSWER)?, &vec![vec![]; prompts.len()], |n| bar.inc(n as u64))?;
        bar.finish();
        let still = right.iter().zip(&plain).filter(|((question, _), said)| is_right(question, said));
        let chosen: Vec<&(Question, Asked)> = still.map(|(one, _)| one).collect();
        let through = chosen.len() as f64 / right.len().max(1) as f64;
        let chosen = &chosen[..chosen.len().min(options.questions)];
        if chosen.is_empty() {
            return Err(format!("layer {layer}: no question is answered right through the autoencoder").into());
        }
        let asked: Vec<Asked> = chosen.iter().map(|(_, asked)| asked.clone()).collect();
        let bar = progress("influence", asked.len());
        let influences = method.influences(&asked, |n| bar.inc(n as u64))?;
        bar.finish();
        let rows = perturb(method, chosen, &influences, options)?;
        let (steered, pairs) = steer(method, chosen, &influences, options)?;
        let kinds = ["fact", "copy", "context"]
            .map(|kind| (kind.to_owned(), chosen.iter().filter(|(question, _)| question.kind == kind).count()));
        let at_last: usize = influences.iter().map(|of| of.at_last).sum();
        Ok(Self {
            layer,
            questions: chosen.len(),
            kinds: kinds.into(),
            through,
            active_at_last: at_last as f64 / influences.len() as f64,
            p_top: p_top(&rows)?,
            rows,
            steered,
            pairs,
            overlap: overlap(chosen, &influences),
            shown: Shown {
                prompt: chosen[0].0.prompt.clone(),
                answer: chosen[0].0.answer.clone(),
                latents: influences[0].top(6, By::Gradient),
            },
            exact: Exact::measure(method, &asked, &influences, [options.exact, options.each], options.common.seed)?,
        })
    }

    pub fn print(&self) {
        println!(
            "layer {}: {} questions ({:.1} % of those right are so through the autoencoder), {:.1} latents at the last token",
            self.layer,
            self.questions,
            100.0 * self.through,
            self.active_at_last
        );
        println!("   K  activation top      bottom   gradient top      bottom        p");
        for (size, (k, p)) in self.p_top.iter().enumerate() {
            let of = |by, top| {
                let mut found = self.rows.iter().filter(|row| row.by == by && row.top == top);
                found.nth(size).map_or(0.0, |row| 100.0 * row.exact_match.mean)
            };
            println!(
                "{k:>4}  {:>14.1} {:>11.1} {:>14.1} {:>11.1}  {p:>7.1e}",
                of(By::Activation, true),
                of(By::Activation, false),
                of(By::Gradient, true),
                of(By::Gradient, false)
            );
        }
        self.exact.print();
    }
}

fn name(size: Option<usize>) -> String {
    size.map_or("50%".into(), |k| k.to_string())
}

/// Turn off every kind of set.
fn perturb(
    method: &GradSae<'_>,
    chosen: &[&(Question, Asked)],
    influences: &[Influence],
    options: &Options,
) -> Outcome<Vec<Row>> {
    let prompts: Vec<Vec<u32>> = chosen.iter().map(|(_, asked)| asked.prompt.clone()).collect();
    let (mut rows, mut begun) = (Vec::new(), method.begin(&prompts, ANSWER)?);
    let bar = progress("turned off", 4 * SIZES.len() * prompts.len());
    for (by, top) in [(By::Activation, true), (By::Activation, false), (By::Gradient, true), (By::Gradient, false)] {
        for size in SIZES {
            let set = |of: &Influence| {
                let k = size.unwrap_or(of.half());
                if top { of.top(k, by) } else { of.bottom(k, by) }
            };
            let sets: Vec<Vec<u32>> = influences.iter().map(set).collect();
            let said = method.without(&mut begun, &sets, |n| bar.inc(n as u64))?;
            let right: Vec<bool> =
                chosen.iter().zip(&said).map(|((question, _), said)| is_right(question, said)).collect();
            let exact = ones(right.iter().copied());
            let words = chosen
                .iter()
                .zip(&said)
                .map(|((question, _), said)| f1(Question::said(&said.text), &[&question.answer]));
            let seed = options.common.seed;
            rows.push(Row {
                k: name(size),
                by,
                top,
                latents: sets.iter().map(Vec::len).sum::<usize>() as f64 / sets.len() as f64,
                exact_match: bootstrap(&exact, seed)?,
                f1: bootstrap(&words.collect::<Vec<_>>(), seed)?,
                right,
            });
        }
    }
    bar.finish();
    Ok(rows)
}

/// Whether the gradient's top sets leave fewer right than the activation's, for each size.
fn p_top(rows: &[Row]) -> Outcome<Vec<(String, f64)>> {
    let of = |by| rows.iter().filter(move |row| row.by == by && row.top);
    of(By::Activation).zip(of(By::Gradient)).map(|(a, b)| Ok((a.k.clone(), mcnemar(&a.right, &b.right)?))).collect()
}

/// Pairs of questions with one context, of which neither has the other's answer.
fn pairs(chosen: &[&(Question, Asked)], most: usize, seed: u64) -> Vec<[usize; 2]> {
    let mut all = Vec::new();
    for (a, (first, _)) in chosen.iter().enumerate().filter(|(_, (question, _))| question.kind == "context") {
        for (b, (second, _)) in chosen.iter().enumerate() {
            if a != b && second.kind == "context" && second.group == first.group && first.answer != second.answer {
                all.push([a, b]);
            }
        }
    }
    shuffle(&mut all, seed);
    all.truncate(most);
    all
}

/// Bring the top latents of one question into another, and see whether its answer comes.
fn steer(
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
                    exact_match: bootstrap(&ones(exact), seed)?,
                    f1: bootstrap(&words, seed)?,
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
fn overlap(chosen: &[&(Question, Asked)], influences: &[Influence]) -> Overlap {
    let set = |of: &Influence, by, top: bool| {
        let k = of.half();
        if top { of.top(k, by) } else { of.bottom(k, by) }
    };
    let mean = |of: Vec<f64>| of.iter().sum::<f64>() / of.len().max(1) as f64;
    let methods = |top| {
        mean(influences.iter().map(|of| shared(&set(of, By::Gradient, top), &set(of, By::Activation, top))).collect())
    };
    let pairs = pairs(chosen, usize::MAX, 0);
    let within = |by, top| {
        let of = |&[a, b]: &[usize; 2]| shared(&set(&influences[a], by, top), &set(&influences[b], by, top));
        mean(pairs.iter().map(of).collect())
    };
    Overlap {
        methods: [methods(true), methods(false)],
        gradient: [within(By::Gradient, true), within(By::Gradient, false)],
        activation: [within(By::Activation, true), within(By::Activation, false)],
    }
}
