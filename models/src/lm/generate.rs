use super::decoder::last;
use super::{Cache, Decoder, Hooks, Site, Span, forward::Pass};
use crate::io::{Error, Result};
use crate::{Float, Philox, Tensor};

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// At most so many tokens.
    pub tokens: usize,
    /// What logits are divided by; 0 takes the likeliest always.
    pub temperature: f32,
    /// Only the likeliest tokens that together reach this probability are drawn from; 1 draws from all.
    pub top_p: f32,
    /// The draws of one seed are always the same.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { tokens: 64, temperature: 0.0, top_p: 1.0, seed: 0 }
    }
}

/// What a model went on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Its tokens in order, that of the end of a text included if it came to one. Their text may have other tokens when
    /// it is encoded anew.
    pub ids: Vec<u32>,
    /// Their text, without the end.
    pub text: String,
}

/// Chooses tokens from logits.
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    draw: Philox,
}

impl Sampler {
    /// # Errors
    /// [`Error::Setting`] if the temperature is negative or `top_p` is not in `(0, 1]`.
    pub fn new(sampling: &Sampling) -> Result<Self> {
        let Sampling { temperature, top_p, seed, .. } = *sampling;
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(Error::setting("temperature", format!("{temperature}, expected 0 or more")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::setting("top_p", format!("{top_p}, expected more than 0 and at most 1")));
        }
        Ok(Self { temperature: temperature.into(), top_p: top_p.into(), draw: Philox::new(seed) })
    }

    /// The next token. Of equals the smaller is likelier; NaN is never chosen.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no finite logit.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        let better = |best: Option<usize>, next: usize| match best {
            Some(best) if logits[best] >= logits[next] => Some(best),
            _ => Some(next),
        };
        let best = (0..logits.len()).filter(|&id| logits[id].is_finite()).fold(None, better);
        let best = best.ok_or_else(|| Error::setting("logits", "none of them is finite"))?;
        if self.temperature == 0.0 {
            return Ok(best as u32);
        }
        let top = f64::from(logits[best]);
        let weight = |id: usize| ((f64::from(logits[id]) - top) / self.temperature).exp();
        let mut all: Vec<_> =
            (0..logits.len()).filter(|&id| logits[id].is_finite()).map(|id| (weight(id), id)).collect();
        let sum: f64 = all.iter().map(|(weight, _)| weight).sum();
        let mut kept = sum;
        if self.top_p < 1.0 {
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut reached = 0.0;
            let enough = all.iter().position(|(weight, _)| {
                reached += weight;
                reached >= self.top_p * sum
            });
            all.truncate(enough.map_or(all.len(), |last| last + 1));
            kept = all.iter().map(|(weight, _)| weight).sum();
        }
        let mut left = f64::from(self.draw.uniform()) * kept;
        for &(weight, id) in &all {
            if left < weight {
                return Ok(id as u32);
            }
            left -= weight;
        }
        Ok(all.iter().rev().find(|(weight, _)| *weight > 0.0).map_or(best, |(_, id)| *id) as u32) // what rounding left over
    }
}

/// How contexts go on.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub sampling: Sampling,
    pub end: Option<u32>,
    /// Whether each token is shown once more with the next: what hooks did at the last token is then done at no other.
    pub anew: bool,
}

/// Prompts of which none is empty.
pub(super) fn checked(prompts: &[impl AsRef<[u32]>]) -> Result<Vec<Vec<u32>>> {
    let prompts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.as_ref().to_vec()).collect();
    match prompts.iter().position(Vec::is_empty) {
        Some(empty) => Err(Error::setting("prompts", format!("number {empty} has no tokens, and so no next"))),
        None => Ok(prompts),
    }
}

impl<T: Float> Decoder<T> {
    /// Continue `prompt`: choose, tell, go on, until `end` or as many tokens as asked for. Hooks see the prompt first and
    /// then one token at a time. Returns what was chosen, `end` included.
    ///
    /// # Errors
    /// An empty prompt, more tokens than the model takes, and errors of hooks.
    pub fn generate(
        &self,
        prompt: &[u32],
        sampling: &Sampling,
        end: Option<u32>,
        hooks: &mut Hooks<'_, T>,
        tell: impl FnMut(u32),
    ) -> Result<Vec<u32>> {
        let mut cache = Cache::new(self, 1, prompt.len().saturating_add(sampling.tokens))?;
        let extend = |next: Vec<u32>| self.extend(next, &mut cache, hooks);
        go_on(prompt, sampling, end, extend, tell)
    }

    /// Continue each of `prompts`, which may be of any lengths, all at once: a step reads the weights once for all that have not ended.
    /// What is chosen is what [`generate`](Self::generate) would choose for each alone, but for the rounding of products of
    /// other sizes. `tell` hears which context a token is of. All of them are in memory: give very many in parts.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_each(
        &self,
        prompts: &[impl AsRef<[u32]>],
        sampling: &Sampling,
        end: Option<u32>,
        hooks: &mut Hooks<'_, T>,
        tell: impl FnMut(usize, u32),
    ) -> Result<Vec<Vec<u32>>> {
        self.go_on_each(prompts, How { sampling: *sampling, end, anew: false }, hooks, tell)
    }

    /// [`generate_each`](Self::generate_each), all in `how`.
    pub(crate) fn go_on_each(
        &self,
        prompts: &[impl AsRef<[u32]>],
        how: How,
        hooks: &mut Hooks<'_, T>,
        tell: impl FnMut(usize, u32),
    ) -> Result<Vec<Vec<u32>>> {
        let next = checked(prompts)?;
        let longest = next.iter().map(Vec::len).max().unwrap_or(0);
        let mut cache = Cache::new(self, next.len(), longest.saturating_add(how.sampling.tokens))?;
        if next.is_empty() || how.sampling.tokens == 0 {
            return Ok(vec![Vec::new(); next.len()]);
        }
        let logits = self.extend_each(&next, &mut cache, hooks)?;
        self.choose_each(next, logits, &mut cache, how, hooks, tell)
    }

    /// Choose a token for every context from the logits behind what it was shown last, and go on.
    pub(super) fn choose_each(
        &self,
        mut shown: Vec<Vec<u32>>,
        mut logits: Tensor<T, 2>,
        cache: &mut Cache<T>,
        How { sampling, end, anew }: How,
        hooks: &mut Hooks<'_, T>,
        mut tell: impl FnMut(usize, u32),
    ) -> Result<Vec<Vec<u32>>> {
        let mut samplers = shown.iter().map(|_| Sampler::new(&sampling)).collect::<Result<Vec<_>>>()?;
        let mut chosen = vec![Vec::new(); shown.len()];
        for step in 0..sampling.tokens {
            let open: Vec<usize> = (0..shown.len()).filter(|&context| !shown[context].is_empty()).collect();
            if open.is_empty() {
                break;
            }
            if step > 0 {
                logits = self.extend_each(&shown, cache, hooks)?;
            }
            for (context, logits) in open.into_iter().zip(logits.to_vec()?.chunks_exact(self.config.vocabulary)) {
                let logits: Vec<f32> = logits.iter().map(|&logit| logit.to_f32()).collect();
                let token = samplers[context].choose(&logits)?;
                tell(context, token);
                chosen[context].push(token);
                let last = shown[context].last().copied().filter(|_| anew);
                shown[context].clear();
                if Some(token) != end {
                    cache.lengths[context] -= usize::from(last.is_some());
                    shown[context].extend(last.into_iter().chain([token]));
                }
            }
        }
        Ok(chosen)
    }

    /// The logits behind the last row of each context that has some.
    pub(super) fn next_rows(&self, x: &Tensor<T, 2>, ids: &[impl AsRef<[u32]>]) -> Result<Tensor<T, 2>> {
        let some = ids.iter().map(|ids| ids.as_ref().len()).filter(|&count| count > 0);
        let ends: Vec<u32> = some
            .scan(0, |end, count| {
                *end += count;
                Some(*end as u32 - 1)
            })
            .collect();
        let (count, device) = (ends.len(), x.device());
        let ends = Tensor::from_vec(ends, [count], &device)?;
        self.unembed(&crate::gather_rows(x.view(), ends.view())?)
    }

    /// Show `ids` to a model that has seen what `cache` has, and give the logits of the token after them.
    ///
    /// # Errors
    /// No ids, no room for them in the cache, or one for several contexts.
    pub fn extend(&self, ids: Vec<u32>, cache: &mut Cache<T>, hooks: &mut Hooks<'_, T>) -> Result<Vec<f32>> {
        self.next_of(Pass::each(self, &[ids], Some(cache))?, hooks)
    }

    /// Show each context of `cache` its own tokens, of which there may be none, and give the logits of the token after them: a row for
    /// each that has some, `[contexts, vocabulary]`.
    ///
    /// # Errors
    /// Not as many as the cache has contexts, or no room in it.
    pub fn extend_each(
        &self,
        ids: &[impl AsRef<[u32]>],
        cache: &mut Cache<T>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        let x = Pass::each(self, ids, Some(cache))?.run(0, Site::residual(self.config.layers - 1), hooks)?;
        self.next_rows(&x, ids)
    }

    /// [`extend`](Self::extend) with embeddings `[t, dim]`, which need be those of no tokens: a soft prompt.
    ///
    /// # Errors
    /// As [`Decoder::extend`], and rows of another width.
    pub fn extend_embedded(&self, x: Tensor<T, 2>, cache: &mut Cache<T>, hooks: &mut Hooks<'_, T>) -> Result<Vec<f32>> {
        let ([t, got], want) = (x.dims(), self.config.dim);
        if got != want {
            return Err(crate::Error::Size { op: "extend_embedded", arg: "x", want, got }.into());
        }
        let spans = Span::even([1, t], cache.len());
        self.next_of(Pass::read(self, spans, x, Some(cache))?, hooks)
    }

    fn next_of(&self, pass: Pass<'_, T>, hooks: &mut Hooks<'_, T>) -> Result<Vec<f32>> {
        let x = pass.run(0, Site::residual(self.config.layers - 1), hooks)?;
        let t = x.dims()[0];
        Ok(self.unembed(&last(&x, 1, t)?)?.to_vec()?.into_iter().map(Float::to_f32).collect())
    }
}

/// Choose, tell, go on, with what `extend` makes of each new token.
pub(super) fn go_on(
    prompt: &[u32],
    sampling: &Sampling,
    end: Option<u32>,
    mut extend: impl FnMut(Vec<u32>) -> Result<Vec<f32>>,
    mut tell: impl FnMut(u32),
) -> Result<Vec<u32>> {
    let mut sampler = Sampler::new(sampling)?;
    let (mut chosen, mut next) = (Vec::new(), prompt.to_vec());
    while chosen.len() < sampling.tokens && chosen.last().is_none_or(|last| Some(*last) != end) {
        let token = sampler.choose(&extend(next)?)?;
        tell(token);
        chosen.push(token);
        next = vec![token];
    }
    Ok(chosen)
}
