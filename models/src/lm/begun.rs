use super::decoder::surprise;
use super::forward::Pass;
use super::generate::{How, checked};
use super::{Cache, Decoder, Hooks, Point, Sampling, Site, Span};
use crate::io::{Error, Result};
use crate::{Float, Tensor, copy_into};

/// Prompts of which a model was shown a part, to be gone on with again and again.
pub struct Begun<T: Float = f32> {
    prompts: Vec<Vec<u32>>,
    tokens: usize,
    part: Begin<T>,
    /// What layers made of that part.
    cache: Cache<T>,
}

/// What a model was shown of prompts.
enum Begin<T: Float> {
    /// All tokens, up to the residual `x` after a layer.
    Residual(usize, Tensor<T, 2>),
    /// All but the last token, by all layers.
    Last,
}

/// Forget what came after all but the last tokens of prompts, and give these.
fn behind<T: Float>(prompts: &[Vec<u32>], cache: &mut Cache<T>) -> Vec<Vec<u32>> {
    cache.lengths = prompts.iter().map(|prompt| prompt.len() - 1).collect();
    prompts.iter().map(|prompt| prompt[prompt.len() - 1..].to_vec()).collect()
}

impl<T: Float> Decoder<T> {
    /// Show the model `prompts` up to the residual after `layer`, to go on from there with [`again`](Self::again) as often as is wanted, each
    /// time with other changes at that residual and above, and `tokens` more at most. What lies below runs once.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and a layer that is not there.
    pub fn begin(&self, prompts: &[impl AsRef<[u32]>], layer: usize, tokens: usize) -> Result<Begun<T>> {
        let prompts = checked(prompts)?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let mut cache = Cache::new(self, prompts.len(), longest.saturating_add(tokens))?;
        let site = Site::residual(layer);
        site.check(self.config.layers, Point::HALVES)?;
        let x = Pass::each(self, &prompts, Some(&mut cache))?.run(0, site, &mut Hooks::new())?;
        Ok(Begun { prompts, tokens, part: Begin::Residual(layer, x), cache })
    }

    /// [`begin`](Self::begin) with all but the last token of each prompt, through all layers: for changes at that token and behind it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn begin_last(&self, prompts: &[impl AsRef<[u32]>], tokens: usize) -> Result<Begun<T>> {
        let prompts = checked(prompts)?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let mut cache = Cache::new(self, prompts.len(), longest.saturating_add(tokens))?;
        let first: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[..prompt.len() - 1]).collect();
        let until = Site::residual(self.config.layers - 1);
        Pass::each(self, &first, Some(&mut cache))?.run(0, until, &mut Hooks::new())?;
        Ok(Begun { prompts, tokens, part: Begin::Last, cache })
    }

    /// Go on with prompts that were [begun](Self::begin), at most with as many tokens as there is room for. `hooks` see these prompts at
    /// the residual where they stand and above it, or their last tokens everywhere; and everywhere what is chosen.
    ///
    /// # Errors
    /// As [`generate_each`](Self::generate_each).
    pub fn again(
        &self,
        begun: &mut Begun<T>,
        sampling: &Sampling,
        end: Option<u32>,
        hooks: &mut Hooks<'_, T>,
        tell: impl FnMut(usize, u32),
    ) -> Result<Vec<Vec<u32>>> {
        let Begun { prompts, tokens, part, cache } = begun;
        let sampling = Sampling { tokens: sampling.tokens.min(*tokens), ..*sampling };
        if prompts.is_empty() || sampling.tokens == 0 {
            return Ok(vec![Vec::new(); prompts.len()]);
        }
        let last = self.config.layers - 1;
        hooks.check(last + 1, Point::PASSED)?;
        let (shown, logits) = match part {
            Begin::Last => {
                let shown = behind(prompts, cache);
                let logits = self.extend_each(&shown, cache, hooks)?;
                (shown, logits)
            }
            Begin::Residual(layer, x) => {
                let spans = Span::each(prompts.iter().map(Vec::len), |_| 0);
                let mut rows = Tensor::empty(x.dims(), &self.device)?;
                copy_into(x.view(), rows.view_mut())?;
                hooks.run(Site::residual(*layer), &mut rows, &spans)?;
                // What is above is written anew; below, what is chosen is written behind the prompts.
                let pass = Pass::with(self, spans, rows, Some(cache))?;
                let x = pass.run(*layer + 1, Site::residual(last), hooks)?;
                (prompts.clone(), self.next_rows(&x, prompts)?)
            }
        };
        self.choose_each(shown, logits, cache, How { sampling, end, anew: false }, hooks, tell)
    }

    /// How surprising each token of `continuations` is behind prompts that were begun but for their [last tokens](Self::begin_last), in nats.
    ///
    /// # Errors
    /// Not as many as prompts, one longer than there is room for, and prompts that were begun otherwise.
    pub fn losses_behind(
        &self,
        begun: &mut Begun<T>,
        continuations: &[impl AsRef<[u32]>],
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Vec<Vec<T::Acc>>> {
        let wrong = |what| Err(Error::setting("continuations", what));
        let (Begun { prompts, tokens, part, cache }, count) = (begun, continuations.len());
        if !matches!(part, Begin::Last) {
            return wrong("the prompts were not begun but for their last tokens".into());
        }
        if count != prompts.len() {
            return wrong(format!("{count} of them, for {} prompts", prompts.len()));
        }
        if let Some(long) = continuations.iter().map(|ids| ids.as_ref().len()).find(|len| len > tokens) {
            return wrong(format!("{long} tokens, where there is room for {tokens}"));
        }
        let mut shown = behind(prompts, cache);
        for (shown, ids) in shown.iter_mut().zip(continuations) {
            match ids.as_ref().split_last() {
                Some((_, ids)) => shown.extend(ids),
                None => shown.clear(),
            }
        }
        let pass = Pass::each(self, &shown, Some(cache))?;
        let x = pass.run(0, Site::residual(self.config.layers - 1), hooks)?;
        let next = continuations.iter().flat_map(|ids| ids.as_ref()).copied().collect();
        let mut losses = surprise(next, self.normed(&x)?, self.unembedding())?.to_vec()?.into_iter();
        Ok(continuations.iter().map(|ids| losses.by_ref().take(ids.as_ref().len()).collect()).collect())
    }
}
