use crate::io::{Error, Result};
use crate::lm::{self, Continuation, Hooks, How, LanguageModel, Sampling};
use std::ops::Range;

/// Many prompts, continued by a model that is changed on the way.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The model.
    pub lm: &'a LanguageModel,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many prompts are continued at once; their keys and values are in memory.
    pub together: usize,
    /// Whether a token's keys and values are made anew when the next is there, so that what is done at the last token is felt
    /// through the one chosen after it only. Without, they stay as they were made.
    pub anew: bool,
}

impl<'a> Run<'a> {
    /// 32 at once, the likeliest token always, at most `tokens` of them.
    pub fn new(lm: &'a LanguageModel, tokens: usize) -> Self {
        Self { lm, sampling: Sampling { tokens, ..Sampling::default() }, together: 32, anew: false }
    }

    /// Show the model all of `prompts` up to the residual after `layer`, to continue them from there many times: what lies below runs once. Their
    /// keys and values stay in memory. What hooks do at the last token is never made anew.
    ///
    /// # Errors
    /// Those of the model.
    pub fn begin(&self, prompts: &[Vec<u32>], layer: usize) -> Result<Begun<'a>> {
        self.begun(prompts, |part| self.lm.model.begin(part, layer, self.sampling.tokens))
    }

    /// [`begin`](Self::begin) with all but the last tokens, through all layers, for changes at these tokens and behind them: what lies before
    /// runs once.
    ///
    /// # Errors
    /// Those of the model.
    pub fn begin_last(&self, prompts: &[Vec<u32>]) -> Result<Begun<'a>> {
        self.begun(prompts, |part| self.lm.model.begin_last(part, self.sampling.tokens))
    }

    fn begun(&self, prompts: &[Vec<u32>], begin: impl Fn(&[Vec<u32>]) -> Result<lm::Begun>) -> Result<Begun<'a>> {
        let (mut parts, mut first) = (Vec::new(), 0);
        for part in prompts.chunks(self.together.max(1)) {
            parts.push((first..first + part.len(), begin(part)?));
            first += part.len();
        }
        Ok(Begun { run: *self, parts })
    }

    /// Continue all of `prompts`. `hooks` makes those of a part of them, whose contexts are counted from 0; `tell` hears how many are
    /// done at a time.
    ///
    /// # Errors
    /// Those of the model and of hooks; [`Error::Setting`] where the model's logits are no longer numbers.
    pub fn go<'h>(
        &self,
        prompts: &[Vec<u32>],
        mut hooks: impl FnMut(Range<usize>) -> Result<Hooks<'h>>,
        mut tell: impl FnMut(usize),
    ) -> Result<Vec<Continuation>> {
        let (mut all, end) = (Vec::with_capacity(prompts.len()), self.lm.tokenizer.end());
        for (at, part) in prompts.chunks(self.together.max(1)).enumerate() {
            let first = at * self.together.max(1);
            let mut hooks = hooks(first..first + part.len())?;
            let how = How { sampling: self.sampling, end, anew: self.anew };
            let ids = self.lm.model.go_on_each(part, how, &mut hooks, |_, _| ());
            all.extend(ids.map_err(not_finite)?.into_iter().map(|ids| self.lm.continuation(ids)));
            tell(part.len());
        }
        Ok(all)
    }
}

/// Prompts of which a model was shown a part, to be gone on with again and again: see [`Run::begin`] and [`Run::begin_last`].
pub struct Begun<'a> {
    run: Run<'a>,
    parts: Vec<(Range<usize>, lm::Begun)>,
}

impl Begun<'_> {
    /// How many prompts there are.
    pub fn len(&self) -> usize {
        self.parts.last().map_or(0, |(part, _)| part.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Continue all of them, as [`Run::go`]: hooks see the prompts at the residual where they stand and above it, or their last tokens.
    ///
    /// # Errors
    /// As there.
    pub fn go<'h>(
        &mut self,
        mut hooks: impl FnMut(Range<usize>) -> Result<Hooks<'h>>,
        mut tell: impl FnMut(usize),
    ) -> Result<Vec<Continuation>> {
        let (mut all, Run { lm, sampling, .. }) = (Vec::with_capacity(self.len()), self.run);
        for (part, begun) in &mut self.parts {
            let mut hooks = hooks(part.clone())?;
            let ids = lm.model.again(begun, &sampling, lm.tokenizer.end(), &mut hooks, |_, _| ());
            all.extend(ids.map_err(not_finite)?.into_iter().map(|ids| lm.continuation(ids)));
            tell(part.len());
        }
        Ok(all)
    }

    /// [`surprise`] behind prompts that were begun but for their [last tokens](Run::begin_last), which are not read again.
    ///
    /// # Errors
    /// As there, a continuation longer than what the run was to add, and prompts that were begun otherwise.
    pub fn surprise(&mut self, continuations: &[Vec<u32>]) -> Result<Vec<f64>> {
        if continuations.len() != self.len() {
            let what = format!("{} of them, for {} prompts", continuations.len(), self.len());
            return Err(Error::setting("continuations", what));
        }
        let (mut all, model) = (Vec::with_capacity(self.len()), &self.run.lm.model);
        for (part, begun) in &mut self.parts {
            let losses = model.losses_behind(begun, &continuations[part.clone()], &mut Hooks::new())?;
            all.extend(
                losses.iter().map(|of| of.iter().map(|&loss| f64::from(loss)).sum::<f64>() / of.len().max(1) as f64),
            );
        }
        Ok(all)
    }
}

/// Say what may have made logits that are no numbers.
fn not_finite(error: Error) -> Error {
    match error {
        Error::Setting { name: "logits", .. } => Error::setting(
            "strength",
            "the model's logits are not finite: what is added to its activations may be too much",
        ),
        error => error,
    }
}

/// How surprising each continuation is to the model as it is, in nats for each of its tokens; of an empty one 0.
///
/// # Errors
/// Those of the model, prompts without tokens, and not as many of one as of the other.
pub fn surprise(lm: &LanguageModel, prompts: &[Vec<u32>], continuations: &[Vec<u32>]) -> Result<Vec<f64>> {
    /// Rows at once.
    const ROWS: usize = 2048;
    if prompts.len() != continuations.len() {
        let what = format!("{} of them, for {} prompts", continuations.len(), prompts.len());
        return Err(Error::setting("continuations", what));
    }
    if let Some(empty) = prompts.iter().position(Vec::is_empty) {
        return Err(Error::setting("prompts", format!("number {empty} has no tokens")));
    }
    let texts: Vec<Vec<u32>> = prompts.iter().zip(continuations).map(|(a, b)| [&a[..], b].concat()).collect();
    let (mut all, mut at) = (Vec::with_capacity(texts.len()), 0);
    for part in in_parts(&texts, ROWS) {
        for losses in lm.model.losses_each(part, &mut Hooks::new())? {
            let (given, count) = (prompts[at].len(), continuations[at].len());
            let sum: f64 = losses[given - 1..given - 1 + count].iter().map(|&loss| f64::from(loss)).sum();
            all.push(sum / count.max(1) as f64);
            at += 1;
        }
    }
    Ok(all)
}

/// Parts of at most so many tokens, or of one text.
pub(super) fn in_parts(texts: &[Vec<u32>], most: usize) -> impl Iterator<Item = &[Vec<u32>]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fit = rest.iter().take_while(|text| {
            sum += text.len();
            sum <= most
        });
        let (part, others) = rest.split_at(fit.count().max(1).min(rest.len()));
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_texts() {
        let texts: Vec<Vec<u32>> = [3, 2, 9, 1, 1, 1].map(|n| vec![0; n]).into();
        let parts: Vec<Vec<usize>> = in_parts(&texts, 5).map(|part| part.iter().map(Vec::len).collect()).collect();
        assert_eq!(parts, [vec![3, 2], vec![9], vec![1, 1, 1]]);
        assert_eq!(in_parts(&[], 5).count(), 0);
    }
}
