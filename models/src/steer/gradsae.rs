//! GradSAE: which latents an answer hangs on, by gradients (Shu et al., *Beyond Input Activations: Identifying Influential Latents by
//! Gradient Sparse Autoencoders*, EMNLP 2025).
//!
//! Latent `c` at token `n` has the influence `g = ∂p/∂h · h`, to the first order what `p`, the probability of the answer, loses where that
//! latent is 0. Scores are means over the tokens of `max(g, 0)`; the baseline that is compared with is the mean of `h` itself.
mod influence;
mod slopes;
#[cfg(test)]
mod tests;

use super::{Begun, Edit, Insert, Keep, Places, Positions, Run};
use crate::io::{Error, Result};
use crate::lm::{Continuation, Hooks, LanguageModel, Site};
use crate::sae::Sae;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub use influence::{Asked, By, Influence, Influential};

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

/// How what is known of one prompt is brought into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At all tokens, with the latents' activations. Which activation of many tokens that is, the paper leaves open: whoever calls brings it.
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
    /// With reconstructions in the place of activations, as in the released code; the paper does not say.
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
