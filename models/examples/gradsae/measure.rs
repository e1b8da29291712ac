//! The experiments of one layer.
use crate::exact::Exact;
use crate::pairs::{Overlap, Steered, overlap, steer};
use crate::shared::{digits, ones};
use crate::{Options, Outcome, Question, progress};
use latens::lm::{Continuation, LanguageModel};
use latens::steer::answers::{exact_match, f1};
use latens::steer::gradsae::{Asked, By, GradSae, Influence};
use latens::steer::statistics::{Interval, bootstrap_groups, mcnemar, permuted_groups};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Tokens of an answer at most.
pub const ANSWER: usize = 8;
/// Sizes of sets; `None` is half of the latents that are active at the last token.
pub const SIZES: [Option<usize>; 5] = [Some(1), Some(10), Some(20), Some(30), None];

/// What came of turning a set off.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub k: String,
    pub by: By,
    /// Whether the set is of the largest scores.
    pub top: bool,
    /// Latents in a set.
    pub latents: Interval,
    pub exact_match: Interval,
    pub f1: Interval,
    #[serde(with = "digits")]
    pub right: Vec<bool>,
}

/// Whether the gradient's top sets leave fewer right than the activation's.
#[derive(Serialize, Deserialize)]
pub struct Tops {
    pub k: String,
    /// McNemar's, of questions.
    pub p: f64,
    /// By turning round all questions of a country together; never below 1e-4, for there are 10000 draws.
    pub p_groups: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Layer {
    pub layer: usize,
    pub questions: usize,
    pub kinds: Vec<(String, usize)>,
    /// Questions about one country belong together, and all intervals but those of `exact` are over such groups.
    pub groups: usize,
    /// Of the questions that the model answers right, the share that it still does through the autoencoder.
    pub through: Interval,
    pub active_at_last: Interval,
    pub rows: Vec<Row>,
    /// For each size.
    pub tops: Vec<Tops>,
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
        let seed = options.common.seed;
        let still: Vec<bool> = right.iter().zip(&plain).map(|((question, _), said)| is_right(question, said)).collect();
        let all: Vec<&(Question, Asked)> = right.iter().collect();
        let through = bootstrap_groups(&ones(still.iter().copied()), &groups(&all), seed)?;
        let chosen: Vec<&(Question, Asked)> =
            right.iter().zip(still).filter(|(_, still)| *still).map(|(one, _)| one).collect();
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
        let at_last: Vec<f64> = influences.iter().map(|of| of.at_last as f64).collect();
        let groups = groups(chosen);
        Ok(Self {
            layer,
            questions: chosen.len(),
            kinds: kinds.into(),
            groups: groups.iter().collect::<BTreeSet<_>>().len(),
            through,
            active_at_last: bootstrap_groups(&at_last, &groups, seed)?,
            tops: tops(&rows, &groups, seed)?,
            rows,
            steered,
            pairs,
            overlap: overlap(chosen, &influences, seed)?,
            shown: Shown {
                prompt: chosen[0].0.prompt.clone(),
                answer: chosen[0].0.answer.clone(),
                latents: influences[0].top(6, By::Gradient),
            },
            exact: Exact::measure(method, &asked, &influences, [options.exact, options.each], seed)?,
        })
    }

    pub fn print(&self) {
        println!(
            "layer {}: {} questions ({:.1} % of those right are so through the autoencoder), {:.1} latents at the last token",
            self.layer,
            self.questions,
            100.0 * self.through.mean,
            self.active_at_last.mean
        );
        println!("   K  activation top      bottom   gradient top      bottom        p");
        for (size, Tops { k, p, .. }) in self.tops.iter().enumerate() {
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

fn groups(of: &[&(Question, Asked)]) -> Vec<usize> {
    of.iter().map(|(question, _)| question.group).collect()
}

pub fn name(size: Option<usize>) -> String {
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
    let (mut rows, mut begun, groups) = (Vec::new(), method.begin(&prompts, ANSWER)?, groups(chosen));
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
            let interval = |of: &[f64]| bootstrap_groups(of, &groups, options.common.seed);
            rows.push(Row {
                k: name(size),
                by,
                top,
                latents: interval(&sets.iter().map(|set| set.len() as f64).collect::<Vec<_>>())?,
                exact_match: interval(&exact)?,
                f1: interval(&words.collect::<Vec<_>>())?,
                right,
            });
        }
    }
    bar.finish();
    Ok(rows)
}

fn tops(rows: &[Row], groups: &[usize], seed: u64) -> Outcome<Vec<Tops>> {
    let of = |by| rows.iter().filter(move |row| row.by == by && row.top);
    let one = |(a, b): (&Row, &Row)| {
        let [x, y] = [a, b].map(|row| ones(row.right.iter().copied()));
        let p_groups = permuted_groups(&x, &y, groups, seed)?;
        Ok(Tops { k: a.k.clone(), p: mcnemar(&a.right, &b.right)?, p_groups })
    };
    of(By::Activation).zip(of(By::Gradient)).map(one).collect()
}
