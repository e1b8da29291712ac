//! GradSAE: which latents an answer hangs on, by gradients (Shu et al., *Beyond Input Activations: Identifying Influential Latents by
//! Gradient Sparse Autoencoders*, EMNLP 2025).
//!
//! Latent `c` at token `n` has the influence `g = ∂p/∂h · h`, to the first order what `p`, the probability of the answer, loses where that
//! latent is 0. Scores are means over the tokens of `max(g, 0)`; the baseline that is compared with is the mean of `h` itself.
use super::{Begun, Edit, Insert, Keep, Places, Positions, Run};
use crate::io::{Error, Result};
use crate::lm::{Continuation, Decoder, Hooks, LanguageModel, Recording, Site};
use crate::sae::{Contexts, Sae};
use crate::tape::Tape;
use crate::{IGNORED, Tensor, copy_into, gather_rows, sae_slopes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is differentiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The probability of the answer, that of all its tokens together. Of paper and released code (there, of one token).
    #[default]
    Probability,
    /// Its logarithm: the same ranks within one prompt.
    LogProbability,
}

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Tokens given.
    pub prompt: Vec<u32>,
    /// Tokens that are to follow, of which the influence is asked.
    pub answer: Vec<u32>,
}

/// A latent that is active on some token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Influential {
    /// Which.
    pub latent: u32,
    /// The mean over tokens of `max(∂p/∂h · h, 0)`.
    pub gradient: f64,
    /// The sum over tokens of `∂p/∂h · h`: to the first order what `p` loses without the latent.
    pub whole: f64,
    /// The mean over tokens of `h`.
    pub activation: f64,
}

/// Which score ranks latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// [`Influential::gradient`].
    Gradient,
    /// [`Influential::activation`], the baseline.
    Activation,
}

/// All latents that a prompt makes active.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// By number.
    pub latents: Vec<Influential>,
    /// How many are active at the last token given.
    pub at_last: usize,
    /// The probability of the answer.
    pub probability: f64,
}

impl Influence {
    /// The `k` latents of the largest scores above 0, largest first; of equal ones, the first.
    pub fn top(&self, k: usize, by: By) -> Vec<u32> {
        let mut order = self.positive(by);
        order.reverse();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        order.into_iter().take(k).map(|(latent, _)| latent).collect()
    }

    /// The `k` latents of the smallest scores above 0, smallest first.
    pub fn bottom(&self, k: usize, by: By) -> Vec<u32> {
        self.positive(by).into_iter().take(k).map(|(latent, _)| latent).collect()
    }

    fn positive(&self, by: By) -> Vec<(u32, f64)> {
        let score = |of: &Influential| if by == By::Gradient { of.gradient } else { of.activation };
        let mut order: Vec<(u32, f64)> = self.latents.iter().map(|of| (of.latent, score(of))).collect();
        order.retain(|(_, score)| *score > 0.0);
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        order
    }

    /// Half of those that are active at the last token: the largest set of the paper.
    pub fn half(&self) -> usize {
        self.at_last / 2
    }
}

/// How what is known of one prompt is brought into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At all tokens, with the latents' activations.
    Paper,
    /// At the last token at every step, with the scores, which are products with gradients, cut to `[0, 50]`: what the released code
    /// does.
    Released,
}

impl Mode {
    /// The value that a latent of another prompt gets.
    fn brought(self, value: f32) -> f32 {
        match self {
            Mode::Paper => value,
            Mode::Released => value.clamp(0.0, 50.0),
        }
    }
}

/// A model, and the autoencoder of one of its residuals.
///
/// ```no_run
/// use latens::lm::LanguageModel;
/// use latens::sae::Sae;
/// use latens::steer::gradsae::{Asked, By, GradSae};
/// # fn all(lm: &LanguageModel, sae: &Sae) -> latens::io::Result<()> {
/// let method = GradSae::new(lm, sae, 15)?;
/// let asked = Asked { prompt: lm.tokenizer.encode("The capital of France is")?, answer: lm.tokenizer.encode(" Paris")? };
/// let influence = method.influences(&[asked.clone()], |_| ())?.remove(0);
/// // The answer without the ten latents that it hangs on most.
/// let said = method.without(&mut method.begin(&[asked.prompt], 8)?, &[influence.top(10, By::Gradient)], |_| ())?;
/// # Ok(())
/// # }
/// ```
pub struct GradSae<'a> {
    lm: &'a LanguageModel,
    sae: &'a Sae,
    layer: usize,
    keep: Keep,
    objective: Objective,
}

impl<'a> GradSae<'a> {
    /// With reconstructions in the place of activations, as in the paper.
    ///
    /// # Errors
    /// [`Error::Setting`] for an autoencoder of another width, a layer that there is not, and a transcoder.
    pub fn new(lm: &'a LanguageModel, sae: &'a Sae, layer: usize) -> Result<Self> {
        let config = lm.model.config();
        if sae.d() != config.dim {
            let what = format!("reads rows of width {}, but the model's are {} wide", sae.d(), config.dim);
            return Err(Error::setting("sae", what));
        }
        if layer >= config.layers {
            let what = format!("{layer} was asked for, but the model has {}", config.layers);
            return Err(Error::setting("layer", what));
        }
        Insert::new(sae, Keep::Reconstruction)?;
        Ok(Self { lm, sae, layer, keep: Keep::Reconstruction, objective: Objective::Probability })
    }

    /// With activations as they are but for what is changed in their codes.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// With another objective.
    #[must_use]
    pub fn objective(self, objective: Objective) -> Self {
        Self { objective, ..self }
    }

    /// Where the autoencoder is.
    pub fn site(&self) -> Site {
        Site::residual(self.layer)
    }

    /// The influence of all active latents on each answer. Only slopes of active latents are computed, a product of two rows each.
    ///
    /// # Errors
    /// Those of the model; [`Error::Setting`] for a prompt of no more than [`Contexts::SKIPPED`] tokens, or an empty answer.
    pub fn influences(&self, asked: &[Asked], mut tell: impl FnMut(usize)) -> Result<Vec<Influence>> {
        /// Rows of a tape.
        const ROWS: usize = 512;
        for (at, Asked { prompt, answer }) in asked.iter().enumerate() {
            if prompt.len() <= Contexts::SKIPPED || answer.is_empty() {
                let what = format!("number {at} has {} tokens given and {} to follow", prompt.len(), answer.len());
                return Err(Error::setting("asked", what));
            }
        }
        // Those of equal length go through the model together.
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, one) in asked.iter().enumerate() {
            lengths.entry(one.rows()).or_default().push(at);
        }
        let mut all: Vec<Option<Influence>> = vec![None; asked.len()];
        for (length, members) in lengths {
            for part in members.chunks((ROWS / length).max(1)) {
                let together: Vec<&Asked> = part.iter().map(|&at| &asked[at]).collect();
                for (&at, influence) in part.iter().zip(self.together(&together, length)?) {
                    all[at] = Some(influence);
                }
                tell(part.len());
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// Prompts of equal length.
    fn together(&self, asked: &[&Asked], length: usize) -> Result<Vec<Influence>> {
        let (model, batch, device) = (&self.lm.model, asked.len(), self.lm.model.device());
        let ids = asked.iter().flat_map(|one| one.shown()).collect();
        let ids = model.ids(ids, batch)?;
        let mut x = model.activations(&ids, self.site(), &mut Hooks::new())?;
        let kept: Vec<u32> =
            (0..batch * length).filter(|row| row % length >= Contexts::SKIPPED).map(|r| r as u32).collect();
        let kept = Tensor::from_vec(kept.clone(), [kept.len()], device)?;
        let rows = gather_rows(x.view(), kept.view())?;
        let code = self.sae.encode(rows.view())?;
        if self.keep == Keep::Reconstruction {
            let recon = self.sae.reconstruct_with(rows.view(), &code)?;
            let (d, width) = (x.dims()[1], length - Contexts::SKIPPED);
            let to = x.view_mut().reshape([batch, length, d])?.narrow(1, Contexts::SKIPPED, length)?;
            copy_into(recon.view().reshape([batch, width, d])?, to)?;
        }
        let (gradient, logs) = slope(model, self.layer, x, asked, length)?;
        let gradient = gather_rows(gradient.view(), kept.view())?;
        let slopes = sae_slopes(code.view(), gradient.view(), self.sae.w_dec.view())?.to_vec()?;
        let factors = self.sae.undone_by(rows.view())?;
        let (values, latents) = (code.values.to_vec()?, code.latents.to_vec()?);
        let (slots, width) = (values.len() / kept.dims()[0].max(1), length - Contexts::SKIPPED);
        let influence = |(at, (one, log)): (usize, (&&Asked, f64))| {
            let by = if self.objective == Objective::Probability { log.exp() } else { 1.0 };
            let mut all: BTreeMap<u32, Influential> = BTreeMap::new();
            for slot in at * width * slots..(at + 1) * width * slots {
                let (latent, value) = (latents[slot], f64::from(values[slot]));
                if latent as usize >= self.sae.latents() || value == 0.0 {
                    continue;
                }
                let undo = factors.as_ref().map_or(1.0, |factors| f64::from(factors[slot / slots]));
                let none = Influential { latent, gradient: 0.0, whole: 0.0, activation: 0.0 };
                let sum = all.entry(latent).or_insert(none);
                let g = by * f64::from(slopes[slot]) * undo * value;
                sum.gradient += g.max(0.0) / width as f64;
                sum.whole += g;
                sum.activation += value / width as f64;
            }
            let last = at * width + one.prompt.len() - 1 - Contexts::SKIPPED;
            let part = last * slots..(last + 1) * slots;
            let active = latents[part.clone()].iter().zip(&values[part]);
            let at_last = active.filter(|(latent, value)| (**latent as usize) < self.sae.latents() && **value > 0.0);
            Influence { latents: all.into_values().collect(), at_last: at_last.count(), probability: log.exp() }
        };
        Ok(asked.iter().zip(logs).enumerate().map(influence).collect())
    }

    /// The probability of the answer after each of these edits, at all tokens: with [`Edit::Zero`] of one latent each, the exact influence
    /// that [`Influential::whole`] comes near. Each takes a run of the layers above.
    ///
    /// # Errors
    /// As [`influences`](Self::influences), and edits that are none.
    pub fn probabilities(&self, asked: &Asked, edits: &[Edit], mut tell: impl FnMut(usize)) -> Result<Vec<f64>> {
        /// Rows at once.
        const ROWS: usize = 2048;
        let (model, device, length) = (&self.lm.model, self.lm.model.device(), asked.rows());
        if asked.prompt.len() <= Contexts::SKIPPED || asked.answer.is_empty() {
            return Err(Error::setting("asked", "the prompt is too short, or the answer empty"));
        }
        let one = model.ids(asked.shown().collect(), 1)?;
        let x = model.activations(&one, self.site(), &mut Hooks::new())?;
        let mut all = Vec::with_capacity(edits.len());
        for part in edits.chunks((ROWS / length).max(1)) {
            let (copies, d) = (part.len(), x.dims()[1]);
            let mut insert = Insert::new(self.sae, self.keep)?;
            for (context, edit) in part.iter().enumerate() {
                insert = insert.edit_in(context, edit.clone())?;
            }
            let mut tiled = Tensor::empty([copies * length, d], device)?;
            for copy in 0..copies {
                let [start, head, end] = [0, Contexts::SKIPPED, length].map(|at| copy * length + at);
                copy_into(x.view().narrow(0, 0, Contexts::SKIPPED)?, tiled.view_mut().narrow(0, start, head)?)?;
                let rows = x.view().narrow(0, Contexts::SKIPPED, length)?;
                let changed = insert.apply(rows, &vec![copy; length - Contexts::SKIPPED])?;
                copy_into(changed.view(), tiled.view_mut().narrow(0, head, end)?)?;
            }
            let targets = Tensor::from_vec(asked.targets().repeat(copies), [copies, length], device)?;
            let losses = model.target_losses_from(self.layer, tiled, &targets, &mut Hooks::new())?.to_vec()?;
            let sums = losses.chunks_exact(length).map(|all| all.iter().map(|&loss| f64::from(loss)).sum::<f64>());
            all.extend(sums.map(|sum| (-sum).exp()));
            tell(copies);
        }
        Ok(all)
    }

    /// Show the model prompts as far as the autoencoder, for [`without`](Self::without).
    ///
    /// # Errors
    /// Those of the model.
    pub fn begin(&self, prompts: &[Vec<u32>], tokens: usize) -> Result<Begun<'a>> {
        Run::new(self.lm, tokens).begin(prompts, self.layer)
    }

    /// Go on with each of the prompts that were [begun](Self::begin) without its own latents, at all tokens: the paper's global perturbation. With
    /// empty sets, what the model says through the autoencoder.
    ///
    /// # Errors
    /// Those of the model; as many sets as prompts, of latents that there are.
    pub fn without(
        &self,
        begun: &mut Begun<'_>,
        sets: &[Vec<u32>],
        tell: impl FnMut(usize),
    ) -> Result<Vec<Continuation>> {
        as_many(begun.len(), sets.len())?;
        begun.go(|part| self.hooks(part, |at| vec![Edit::Zero(sets[at].clone())], Positions::All), tell)
    }

    /// Go on with each of `prompts` without its own latents and with those of another prompt: local steering. Of the other's latents `donors` holds the
    /// activations, or in [`Mode::Released`] the scores.
    ///
    /// # Errors
    /// As [`without`](Self::without).
    pub fn steer(
        &self,
        prompts: &[Vec<u32>],
        own: &[Vec<u32>],
        donors: &[Vec<(u32, f32)>],
        mode: Mode,
        tokens: usize,
        tell: impl FnMut(usize),
    ) -> Result<Vec<Continuation>> {
        if donors.len() != own.len() {
            return Err(Error::setting("donors", format!("{} of them, for {} prompts", donors.len(), own.len())));
        }
        let cut = |&(latent, value): &(u32, f32)| (latent, mode.brought(value));
        let edits = |at: usize| vec![Edit::Zero(own[at].clone()), Edit::Set(donors[at].iter().map(cut).collect())];
        let (positions, anew) = match mode {
            Mode::Paper => (Positions::All, false),
            Mode::Released => (Positions::Last, true),
        };
        as_many(prompts.len(), own.len())?;
        let run = Run { anew, ..Run::new(self.lm, tokens) };
        run.go(prompts, |part| self.hooks(part, edits, positions.clone()), tell)
    }

    /// The autoencoder with its own edits in each context of a part of prompts.
    fn hooks(&self, part: Range<usize>, edits: impl Fn(usize) -> Vec<Edit>, positions: Positions) -> Result<Hooks<'a>> {
        let mut insert = Insert::new(self.sae, self.keep)?;
        for (context, at) in part.enumerate() {
            for edit in edits(at) {
                insert = insert.edit_in(context, edit)?;
            }
        }
        Ok(insert.into_hooks(self.site(), Places::new(positions)))
    }
}

fn as_many(prompts: usize, sets: usize) -> Result<()> {
    match prompts == sets {
        true => Ok(()),
        false => Err(Error::setting("sets", format!("{sets} of them, for {prompts} prompts"))),
    }
}

impl Asked {
    /// Tokens that the model is shown: all but the last of the answer.
    fn shown(&self) -> impl Iterator<Item = u32> + '_ {
        self.prompt.iter().chain(&self.answer[..self.answer.len() - 1]).copied()
    }

    fn rows(&self) -> usize {
        self.prompt.len() + self.answer.len() - 1
    }

    /// What is to follow each token that is shown.
    fn targets(&self) -> Vec<u32> {
        let mut all = vec![IGNORED; self.prompt.len() - 1];
        all.extend(&self.answer);
        all
    }
}

/// The gradient of the logarithm of each answer's probability by the residual `x` after `layer`, and these logarithms.
fn slope(
    model: &Decoder,
    layer: usize,
    x: Tensor<f32, 2>,
    asked: &[&Asked],
    length: usize,
) -> Result<(Tensor<f32, 2>, Vec<f64>)> {
    let (device, batch) = (model.device(), asked.len());
    let targets = asked.iter().flat_map(|one| one.targets()).collect();
    let count: usize = asked.iter().map(|one| one.answer.len()).sum();
    let targets = Tensor::from_vec(targets, [batch, length], device)?;
    let (mut tape, mut recording) = (Tape::new(device), Recording::new());
    let leaf = tape.leaf(x, true);
    let last = model.record_layers_after(&mut tape, leaf, batch, layer, &mut recording)?;
    let losses = model.record_targets(&mut tape, last, &targets, &recording)?.to_vec()?;
    tape.backward()?;
    let Some(found) = tape.gradient(leaf) else { return Err(Error::setting("layer", "gives no gradient")) };
    let mut gradient = Tensor::empty(found.dims(), device)?;
    copy_into(found.view(), gradient.view_mut())?;
    // The tape goes back from the mean loss of all answers' tokens.
    crate::scale_into(-(count as f32), gradient.view_mut())?;
    let logs = losses.chunks_exact(length).map(|losses| -losses.iter().map(|&loss| f64::from(loss)).sum::<f64>());
    Ok((gradient, logs.collect()))
}

#[cfg(test)]
mod tests;
