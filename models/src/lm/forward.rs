use super::decoder::norm_into;
use super::span::Group;
use super::weights::{Layer, Linear};
use super::{Cache, Config, Decoder, Hooks, Mlp, Point, Site, Span};
use crate::io::{Error, Result};
use crate::{
    Attention, Float, Tensor, View, ViewMut, act_into, add_into, attention_into, embed, linear_into, rope_into,
};
use latens_core::Accumulate::Replace;

/// One way through the layers: the residual, and memory for what is computed on the way, used again by every layer.
pub(super) struct Pass<'a, T: Float> {
    model: &'a Decoder<T>,
    cache: Option<&'a mut Cache<T>>,
    /// Whose rows these are.
    spans: Vec<Span>,
    groups: Vec<Group>,
    positions: Tensor<u32, 1>,
    /// The residual `[tokens, dim]`.
    x: Tensor<T, 2>,
    /// What a layer's half reads: `x` after its norm.
    normed: Tensor<T, 2>,
    /// Queries, keys and values, `[tokens, heads + 2 kv_heads, head_dim]`.
    heads: Tensor<T, 3>,
    /// What the heads found, `[tokens, heads, head_dim]`.
    found: Tensor<T, 3>,
    /// Gate and up, `[tokens, 2 hidden]`, or up.
    wide: Tensor<T, 2>,
    /// What was activated, `[tokens, hidden]`.
    active: Tensor<T, 2>,
    /// What a layer's half adds to `x`.
    change: Tensor<T, 2>,
}

impl<'a, T: Float> Pass<'a, T> {
    /// Begin with the embeddings of `ids` `[batch, t]`.
    pub(super) fn new(model: &'a Decoder<T>, ids: &Tensor<u32, 2>) -> Result<Self> {
        let dims @ [batch, t] = ids.dims();
        let x = embed(model.weights.embedding.view(), ids.view().reshape([batch * t])?)?;
        Self::read(model, Span::even(dims, 0), x, None)
    }

    /// Begin with the embeddings of the tokens of each context, after those that `cache` has seen of it.
    pub(super) fn each(
        model: &'a Decoder<T>,
        ids: &[impl AsRef<[u32]>],
        cache: Option<&'a mut Cache<T>>,
    ) -> Result<Self> {
        let all: Vec<u32> = ids.iter().flat_map(|ids| ids.as_ref().iter().copied()).collect();
        let (count, ids_of) = (all.len(), ids.iter().map(|ids| ids.as_ref().len()));
        let seen = cache.as_ref().map(|cache| cache.lengths.clone());
        if let Some(seen) = seen.as_ref().filter(|seen| seen.len() != ids.len()) {
            let what = format!("those of {} contexts, but the cache has {}", ids.len(), seen.len());
            return Err(Error::setting("ids", what));
        }
        let spans = Span::each(ids_of, |context| seen.as_ref().map_or(0, |seen| seen[context]));
        let all = model.ids(all, 1)?;
        let x = embed(model.weights.embedding.view(), all.view().reshape([count])?)?;
        Self::read(model, spans, x, cache)
    }

    /// Begin with what the contexts read, which does not know its places yet.
    pub(super) fn read(
        model: &'a Decoder<T>,
        spans: Vec<Span>,
        x: Tensor<T, 2>,
        cache: Option<&'a mut Cache<T>>,
    ) -> Result<Self> {
        let mut pass = Self::with(model, spans, x, cache)?;
        if let Some(table) = &model.weights.positions {
            let places = embed(table.view(), pass.positions.view())?;
            add_into(places.view(), pass.x.view_mut())?;
        }
        Ok(pass)
    }

    /// Begin with the residual `x` of the contexts.
    pub(super) fn with(
        model: &'a Decoder<T>,
        spans: Vec<Span>,
        x: Tensor<T, 2>,
        cache: Option<&'a mut Cache<T>>,
    ) -> Result<Self> {
        let Config { dim, hidden, heads, kv_heads, head_dim, .. } = model.config;
        model.config.fits(spans.iter().map(Span::end).max().unwrap_or(0))?;
        let ([tokens, _], device) = (x.dims(), &model.device);
        let positions = spans.iter().flat_map(|span| (span.from..span.end()).map(|position| position as u32));
        Ok(Self {
            positions: Tensor::from_vec(positions.collect(), [tokens], device)?,
            x,
            normed: Tensor::empty([tokens, dim], device)?,
            heads: Tensor::empty([tokens, heads + 2 * kv_heads, head_dim], device)?,
            found: Tensor::empty([tokens, heads, head_dim], device)?,
            wide: Tensor::empty([tokens, model.config.mlp.inputs() * hidden], device)?,
            active: Tensor::empty([tokens, hidden], device)?,
            change: Tensor::empty([tokens, dim], device)?,
            groups: Group::all(&spans),
            spans,
            model,
            cache,
        })
    }

    /// Run the layers from `first` to that of `until`, and give the activations there.
    pub(super) fn run(mut self, first: usize, until: Site, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let config = &self.model.config;
        hooks.check(config.layers, Point::PASSED)?;
        for (at, layer) in self.model.weights.layers.iter().enumerate().take(until.layer + 1).skip(first) {
            norm_into(config, &layer.attention_norm, self.x.view(), self.normed.view_mut())?;
            self.attend(at, layer)?;
            hooks.run(Site::attention(at), &mut self.change, &self.spans)?;
            if until == Site::attention(at) {
                return Ok(self.change);
            }
            if config.parallel {
                norm_into(config, &layer.mlp_norm, self.x.view(), self.normed.view_mut())?;
                add_into(self.change.view(), self.x.view_mut())?;
            } else {
                add_into(self.change.view(), self.x.view_mut())?;
                norm_into(config, &layer.mlp_norm, self.x.view(), self.normed.view_mut())?;
            }
            hooks.run(Site::mlp_input(at), &mut self.normed, &self.spans)?;
            if until == Site::mlp_input(at) {
                return Ok(self.normed);
            }
            self.feed(layer)?;
            hooks.run(Site::mlp(at), &mut self.change, &self.spans)?;
            if until == Site::mlp(at) {
                return Ok(self.change);
            }
            add_into(self.change.view(), self.x.view_mut())?;
            hooks.run(Site::residual(at), &mut self.x, &self.spans)?;
        }
        if let Some(cache) = self.cache {
            self.spans.iter().for_each(|span| cache.lengths[span.context] = span.end());
        }
        Ok(self.x)
    }

    /// `change` = the attention of layer `at`.
    fn attend(&mut self, at: usize, layer: &Layer<T>) -> Result<()> {
        let Config { heads, kv_heads, head_dim, .. } = self.model.config;
        let ([tokens, _], all) = (self.x.dims(), heads + 2 * kv_heads);
        let to = self.heads.view_mut().reshape([tokens, all * head_dim])?;
        layer.attention_input.multiply(self.normed.view(), to)?;
        if let Some(rotary) = self.model.config.rotary() {
            // Queries and keys lie side by side and turn together.
            let turned = self.heads.view_mut().narrow(1, 0, heads + kv_heads)?.narrow(2, 0, rotary.dim)?;
            rope_into(turned, self.positions.view(), rotary.base, rotary.pairing)?;
        }
        for group in &self.groups {
            let (batch, t, rows) = (group.contexts.len(), group.t, &group.rows);
            let new = self.heads.view().narrow(0, rows.start, rows.end)?.reshape([batch, t, all, head_dim])?;
            let part = |from, to| new.narrow(2, from, to);
            let (query, mut key, mut value) =
                (part(0, heads)?, part(heads, heads + kv_heads)?, part(heads + kv_heads, all)?);
            if let Some(cache) = &mut self.cache {
                cache.keep(at, group, key, value)?;
                [key, value] = cache.seen(at, group)?;
            }
            let found = self.found.view_mut().narrow(0, rows.start, rows.end)?.reshape([batch, t, heads, head_dim])?;
            attention_into(&Attention::new(query, key, value), found, None)?;
        }
        let found = self.found.view().reshape([tokens, heads * head_dim])?;
        layer.attention_output.multiply(found, self.change.view_mut())
    }

    /// `change` = the feed-forward half.
    fn feed(&mut self, layer: &Layer<T>) -> Result<()> {
        let Config { hidden, mlp, .. } = self.model.config;
        layer.mlp_input.multiply(self.normed.view(), self.wide.view_mut())?;
        match mlp {
            Mlp::Gated(act) => {
                let both = self.wide.view();
                let (gate, up) = (both.narrow(1, 0, hidden)?, both.narrow(1, hidden, 2 * hidden)?);
                act_into(gate, Some(up), act, self.active.view_mut())?;
            }
            Mlp::Plain(act) => act_into(self.wide.view(), None, act, self.active.view_mut())?,
        }
        layer.mlp_output.multiply(self.active.view(), self.change.view_mut())
    }
}

impl<T: Float> Linear<T> {
    /// `y = x·weightᵀ + bias`.
    pub(super) fn multiply(&self, x: View<'_, T, 2>, y: ViewMut<'_, T, 2>) -> Result<()> {
        Ok(linear_into(x, self.weight.view(), self.bias.as_ref().map(Tensor::view), Replace, y)?)
    }
}
