//! One instruction: followed without being said, said, and steered.
use crate::gain::speaks;
use crate::shared::{digits, ones};
use crate::tasks::{Instruction, turn};
use crate::{Options, Outcome, progress};
use latens::io::Error;
use latens::lm::{Continuation, Hooks, LanguageModel, Site};
use latens::sae::Sae;
use latens::sae::eval::{Inputs, Pooled};
use latens::steer::saif::{Consistent, consistent, vector};
use latens::steer::statistics::{Interval, bootstrap};
use latens::steer::{Begun, Grader, Places, Pooling, Positions, Push, Run, states_at, surprise};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::ops::Range;

/// How much more surprising an answer may be than those to the same contents with the instruction said, in nats for each token: behind the
/// content alone, these are surprising too.
const ODD: f64 = 1.0;

/// Answers to some contents, graded.
#[derive(Clone, Serialize, Deserialize)]
pub struct Graded {
    /// What is multiplied with the vector; 0 where nothing is added.
    pub strength: f32,
    pub strict: Interval,
    pub loose: Interval,
    /// Nats for each token, to the model as it is, behind the content alone.
    pub surprise: Interval,
    pub said: String,
    #[serde(with = "digits")]
    pub each_strict: Vec<bool>,
    #[serde(with = "digits")]
    pub each_loose: Vec<bool>,
}

impl Graded {
    /// 1 for each answer that keeps to the instruction.
    pub fn each(&self, loose: bool) -> Vec<f64> {
        ones(if loose { &self.each_loose } else { &self.each_strict }.iter().copied())
    }
}

/// Steering that was chosen on some contents and graded on others.
#[derive(Serialize, Deserialize)]
pub struct Steering {
    pub layer: usize,
    pub k: usize,
    /// Whether the instruction stood behind the content where latents were found.
    pub after: bool,
    pub latents: Vec<Consistent>,
    pub graded: Graded,
}

#[derive(Serialize, Deserialize)]
pub struct Measured {
    pub instruction: String,
    /// Without the instruction, and with it before and behind the content.
    pub plain: Graded,
    pub said_before: Graded,
    pub said_after: Graded,
    /// The best layer's, with the best number of latents there, by contents for that.
    pub saif: Steering,
    /// The single most consistent latent, fading.
    pub single: Steering,
    /// By layers, by numbers of latents, and by places of the instruction.
    pub layers: Vec<Steering>,
    pub ks: Vec<Steering>,
    pub places: Vec<Steering>,
}

/// What all instructions share.
pub struct Bench<'a> {
    pub lm: &'a LanguageModel,
    pub layers: Vec<(usize, &'a Sae)>,
    /// To find latents by, to choose strengths by, to grade.
    pub contents: [Vec<String>; 3],
    /// The last tokens of the first alone, at each layer.
    pub without: Vec<Pooled>,
    /// The second, for each strength once, and the third, read once for all that is tried.
    pub begun: [RefCell<Begun<'a>>; 2],
    pub options: &'a Options,
}

/// How answers of at most so many tokens are given.
pub fn run(lm: &LanguageModel, said: usize) -> Run<'_> {
    Run { together: 96, ..Run::new(lm, said) }
}

/// Show the model contents but for the last tokens, all of them so many times.
pub fn begin<'a>(lm: &'a LanguageModel, contents: &[String], times: usize, said: usize) -> Outcome<RefCell<Begun<'a>>> {
    Ok(RefCell::new(run(lm, said).begin_last(&vec![prompts(lm, contents, None, true)?; times].concat())?))
}

/// A direction that is to be tried.
struct Direction {
    layer: usize,
    k: usize,
    after: bool,
    latents: Vec<Consistent>,
    values: Vec<f32>,
    /// What it fades by.
    decay: f32,
}

/// How an instruction is tried.
struct Trial<'a> {
    instruction: &'a Instruction,
    /// The surprise of what is said where it is said as well.
    usual: f64,
    tell: &'a dyn Fn(usize),
}

/// The last tokens of `prompts` at all `layers`.
pub fn last_tokens(lm: &LanguageModel, layers: &[(usize, &Sae)], prompts: &[Vec<u32>]) -> Outcome<Vec<Pooled>> {
    let places: Vec<(Site, &Sae)> = layers.iter().map(|&(layer, sae)| (Site::residual(layer), sae)).collect();
    Ok(states_at(lm, &places, prompts, Pooling::Last, |_| ())?)
}

impl Bench<'_> {
    pub fn measure(&self, instruction: &Instruction) -> Outcome<Measured> {
        let k = self.options.k;
        let runs = self.layers.len() + self.options.ks.len() + 2;
        let each = self.options.strengths.len() * self.contents[1].len() + self.contents[2].len();
        let bar = progress("answers", runs * each).with_message(instruction.name);
        let tell = |count: usize| bar.inc(count as u64);
        let said = |after| {
            let prompts = self.prompts(2, Some(instruction.wordings[0]), after)?;
            self.graded(instruction, Some(&prompts), None, &tell)
        };
        let plain = self.graded(instruction, None, None, &tell)?;
        let usual = self.told(instruction)?;
        let trial = Trial { instruction, usual, tell: &tell };
        let with = self.with(instruction, true)?;
        let steer = |direction| self.steered(&trial, direction);
        let layers = (0..with.len()).map(|at| steer(self.direction(at, &with[at], k, true)?));
        let layers = layers.collect::<Outcome<Vec<_>>>()?;
        let best = first_best(&layers);
        let ks = self.options.ks.iter().map(|&k| steer(self.direction(best, &with[best], k, true)?));
        let ks = ks.collect::<Outcome<Vec<_>>>()?;
        let most = first_best(&ks);
        let saif = match ks.get(most).filter(|of| of.1 > layers[best].1) {
            Some(of) => copy(&of.0),
            None => copy(&layers[best].0),
        };
        let before = self.direction(best, &self.with(instruction, false)?[best], saif.k, false)?;
        let before = steer(before)?.0;
        let single = self.direction(best, &with[best], 1, true)?;
        let single = steer(Direction { decay: self.options.decay, ..single })?.0;
        let mut ks: Vec<Steering> = ks.into_iter().map(|of| of.0).chain([copy(&layers[best].0)]).collect();
        ks.sort_by_key(|of| of.k);
        let found = Measured {
            instruction: instruction.name.into(),
            plain,
            said_before: said(false)?,
            said_after: said(true)?,
            places: vec![before, copy(&saif)],
            saif,
            single,
            layers: layers.into_iter().map(|of| of.0).collect(),
            ks,
        };
        bar.finish();
        Ok(found)
    }

    /// The difference of the means of both kinds of prompt at each layer, and first that which did best.
    pub fn raw(&self, instruction: &Instruction) -> Outcome<Vec<Steering>> {
        let each = self.options.strengths.len() * self.contents[1].len() + self.contents[2].len();
        let bar = progress("differences", self.layers.len() * each).with_message(instruction.name);
        let usual = self.told(instruction)?;
        let trial = Trial { instruction, usual, tell: &|count| bar.inc(count as u64) };
        let with = self.with(instruction, true)?;
        let one = |at: usize| {
            let values = difference(&with[at], &self.without[at])?;
            let layer = self.layers[at].0;
            self.steered(&trial, Direction { layer, k: 0, after: true, latents: vec![], values, decay: 1.0 })
        };
        let mut all = (0..with.len()).map(one).collect::<Outcome<Vec<_>>>()?;
        let best = first_best(&all);
        all[..=best].rotate_right(1);
        bar.finish();
        Ok(all.into_iter().map(|of| of.0).collect())
    }

    pub fn prompts(&self, part: usize, wording: Option<&str>, after: bool) -> Outcome<Vec<Vec<u32>>> {
        prompts(self.lm, &self.contents[part], wording, after)
    }

    /// The last tokens of prompts with the instruction in all its wordings by turns, at each layer.
    fn with(&self, instruction: &Instruction, after: bool) -> Outcome<Vec<Pooled>> {
        let wording = |row: usize| instruction.wordings[row % instruction.wordings.len()];
        let contents = self.contents[0].iter().enumerate();
        let with =
            contents.map(|(row, content)| Ok(self.lm.tokenizer.encode(&turn(content, Some(wording(row)), after))?));
        last_tokens(self.lm, &self.layers, &with.collect::<Outcome<Vec<_>>>()?)
    }

    /// The most consistent latents, as strong as they are under the instruction. Where it makes none active, there is nothing to add.
    fn direction(&self, at: usize, with: &Pooled, k: usize, after: bool) -> Outcome<Direction> {
        let (layer, sae) = self.layers[at];
        let latents = match consistent(with, &self.without[at], k) {
            Err(Error::Setting { name: "latents", .. }) => vec![],
            found => found?,
        };
        let values = vector(sae, &latents, self.options.beta)?;
        Ok(Direction { layer, k, after, latents, values, decay: 1.0 })
    }

    /// How surprising, behind the second contents alone, answers are where the instruction is said as well.
    fn told(&self, instruction: &Instruction) -> Outcome<f64> {
        let prompts = self.prompts(1, Some(instruction.wordings[0]), true)?;
        let said = run(self.lm, self.options.said).go(&prompts, |_| Ok(Hooks::new()), |_| ())?;
        let ids: Vec<Vec<u32>> = said.into_iter().map(|of| of.ids).collect();
        Ok(mean(&surprise(self.lm, &self.prompts(1, None, true)?, &ids)?))
    }

    /// Choose a strength on the second contents, and grade it on the third; with how well it did on the second.
    fn steered(&self, trial: &Trial<'_>, direction: Direction) -> Outcome<(Steering, f64)> {
        let (strengths, count) = (&self.options.strengths, self.contents[1].len());
        // All strengths at once.
        let hooks = |part: Range<usize>| self.hooks(&direction, part.map(|at| strengths[at / count]).collect());
        let mut begun = self.begun[0].borrow_mut();
        let said = match self.options.everywhere {
            true => {
                let prompts = vec![self.prompts(1, None, true)?; strengths.len()].concat();
                run(self.lm, self.options.said).go(&prompts, hooks, trial.tell)?
            }
            false => begun.go(hooks, trial.tell)?,
        };
        let odd = begun.surprise(&said.iter().map(|of| of.ids.clone()).collect::<Vec<_>>())?;
        let mut best: Option<(f32, f64)> = None;
        for (&strength, (said, odd)) in strengths.iter().zip(said.chunks(count).zip(odd.chunks(count))) {
            let (strict, loose): (Vec<bool>, Vec<bool>) =
                said.iter().map(|of| follows(trial.instruction, of, self.options.said)).unzip();
            let success = mean(&ones(strict)) + 0.1 * mean(&ones(loose));
            if mean(odd) <= trial.usual + ODD && best.is_none_or(|(_, most)| success > most) {
                best = Some((strength, success));
            }
        }
        // Where every strength is too much, the first.
        let (strength, success) = best.unwrap_or((strengths[0], 0.0));
        drop(begun);
        let graded = self.graded(trial.instruction, None, Some((strength, &direction)), trial.tell)?;
        let Direction { layer, k, after, latents, .. } = direction;
        Ok((Steering { layer, k, after, latents, graded }, success))
    }

    /// A direction added with these strengths, one for each context.
    fn hooks(&self, direction: &Direction, strengths: Vec<f32>) -> latens::io::Result<Hooks<'static>> {
        let push = Push::each(&direction.values, strengths, self.lm.model.device())?.decaying(direction.decay)?;
        let positions = if self.options.everywhere { Positions::All } else { Positions::Last };
        Ok(push.into_hooks(Site::residual(direction.layer), Places::new(positions)))
    }

    /// Of these prompts, or else of the third contents alone.
    fn graded(
        &self,
        instruction: &Instruction,
        prompts: Option<&[Vec<u32>]>,
        add: Option<(f32, &Direction)>,
        tell: &dyn Fn(usize),
    ) -> Outcome<Graded> {
        let seed = self.options.common.seed;
        let hooks = |_| match add {
            None => Ok(Hooks::new()),
            Some((strength, direction)) => self.hooks(direction, vec![strength]),
        };
        let mut begun = self.begun[1].borrow_mut();
        let said = match prompts {
            Some(prompts) => run(self.lm, self.options.said).go(prompts, hooks, tell)?,
            None if self.options.everywhere => {
                run(self.lm, self.options.said).go(&self.prompts(2, None, true)?, hooks, tell)?
            }
            None => begun.go(hooks, tell)?,
        };
        let odd = begun.surprise(&said.iter().map(|of| of.ids.clone()).collect::<Vec<_>>())?;
        let (strict, loose): (Vec<bool>, Vec<bool>) =
            said.iter().map(|of| follows(instruction, of, self.options.said)).unzip();
        let share = |of: &[bool]| bootstrap(&ones(of.iter().copied()), seed);
        Ok(Graded {
            strength: add.map_or(0.0, |(strength, _)| strength),
            strict: share(&strict)?,
            loose: share(&loose)?,
            surprise: bootstrap(&odd, seed)?,
            said: said.first().map(|of| of.text.clone()).unwrap_or_default(),
            each_strict: strict,
            each_loose: loose,
        })
    }
}

/// Whether an answer of at most so many tokens follows an instruction, strictly and loosely.
pub fn follows(instruction: &Instruction, said: &Continuation, most: usize) -> (bool, bool) {
    let (grade, speaks) = (instruction.grader.grade(&said.text), speaks(said));
    // What it would have been in the end is not known.
    let cut = said.ids.len() >= most;
    let whole = !(cut && matches!(instruction.grader, Grader::Sentences(..) | Grader::Words(..) | Grader::NoCommas));
    (speaks && whole && grade.strict(), speaks && grade.loose())
}

/// The first of those that did best.
fn first_best(all: &[(Steering, f64)]) -> usize {
    (0..all.len()).rev().max_by(|&a, &b| all[a].1.total_cmp(&all[b].1)).unwrap_or(0)
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

/// Contents as what a user says, with an instruction or alone.
pub fn prompts(lm: &LanguageModel, contents: &[String], wording: Option<&str>, after: bool) -> Outcome<Vec<Vec<u32>>> {
    contents.iter().map(|content| Ok(lm.tokenizer.encode(&turn(content, wording, after))?)).collect()
}

fn copy(of: &Steering) -> Steering {
    Steering { latents: of.latents.clone(), graded: of.graded.clone(), ..*of }
}

/// The difference of the means of two kinds of states.
fn difference(with: &Pooled, without: &Pooled) -> Outcome<Vec<f32>> {
    let values = [with.raw(), without.raw()].concat();
    let labels: Vec<bool> = (0..with.len() + without.len()).map(|row| row < with.len()).collect();
    let means = Inputs::Dense { values: &values, width: with.d() }.differences(&labels)?;
    Ok(means.into_iter().map(|x| x as f32).collect())
}
