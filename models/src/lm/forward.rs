use super::decoder::norm_into;
use super::weights::{Layer, Linear};
use super::{Cache, Config, Decoder, Hooks, Mlp, Point, Site};
use crate::io::Result;
use crate::{
    Attention, Float, Tensor, View, ViewMut, act_into, add_into, attention_into, copy_into, embed, linear_into,
    rope_into,
};
use latens_core::Accumulate::Replace;

/// One way through the layers: the residual, and memory for what is computed on the way, used again by every layer.
pub(super) struct Pass<'a, T: Float> {
    model: &'a Decoder<T>,
    cache: Option<&'a mut Cache<T>>,
    batch: usize,
    t: usize,
    positions: Tensor<u32, 1>,
    /// The residual `[tokens, dim]`.
    x: Tensor<T, 2>,
    /// What a layer's half reads: `x` after its norm.
    normed: Tensor<T, 2>,
    /// Queries, keys and values, `[tokens, heads + 2 kv_heads, head_dim]`.
    heads: Tensor<T, 3>,
    /// What the heads found, `[batch, t, heads, head_dim]`.
    found: Tensor<T, 4>,
    /// Gate and up, `[tokens, 2 hidden]`, or up.
    wide: Tensor<T, 2>,
    /// What was activated, `[tokens, hidden]`.
    active: Tensor<T, 2>,
    /// What a layer's half adds to `x`.
    change: Tensor<T, 2>,
}

impl<'a, T: Float> Pass<'a, T> {
    /// Begin with the embeddings of `ids` `[batch, t]`, after those that `cache` has seen.
    pub(super) fn new(model: &'a Decoder<T>, ids: &Tensor<u32, 2>, cache: Option<&'a mut Cache<T>>) -> Result<Self> {
        let x = embed(model.weights.embedding.view(), ids.view().reshape([ids.dims().iter().product()])?)?;
        Self::read(model, ids.dims(), x, cache)
    }

    /// Begin with what `batch` contexts of `t` tokens read, which do not know their places yet.
    pub(super) fn read(
        model: &'a Decoder<T>,
        dims: [usize; 2],
        x: Tensor<T, 2>,
        cache: Option<&'a mut Cache<T>>,
    ) -> Result<Self> {
        let mut pass = Self::with(model, dims, x, cache)?;
        if let Some(table) = &model.weights.positions {
            let places = embed(table.view(), pass.positions.view())?;
            add_into(places.view(), pass.x.view_mut())?;
        }
        Ok(pass)
    }

    /// Begin with the residual `x` of `batch` contexts of `t` tokens each.
    pub(super) fn with(
        model: &'a Decoder<T>,
        [batch, t]: [usize; 2],
        x: Tensor<T, 2>,
        cache: Option<&'a mut Cache<T>>,
    ) -> Result<Self> {
        let Config { dim, hidden, heads, kv_heads, head_dim, .. } = model.config;
        let seen = cache.as_ref().map_or(0, |cache| cache.length);
        model.config.fits(seen.saturating_add(t))?;
        let (tokens, device) = (batch * t, &model.device);
        let positions = (0..tokens).map(|token| (seen + token % t) as u32).collect();
        Ok(Self {
            positions: Tensor::from_vec(positions, [tokens], device)?,
            x,
            normed: Tensor::empty([tokens, dim], device)?,
            heads: Tensor::empty([tokens, heads + 2 * kv_heads, head_dim], device)?,
            found: Tensor::empty([batch, t, heads, head_dim], device)?,
            wide: Tensor::empty([tokens, model.config.mlp.inputs() * hidden], device)?,
            active: Tensor::empty([tokens, hidden], device)?,
            change: Tensor::empty([tokens, dim], device)?,
            model,
            cache,
            batch,
            t,
        })
    }

    /// Run the layers from `first` to that of `until`, and give the activations there.
    pub(super) fn run(mut self, first: usize, until: Site, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let config = &self.model.config;
        hooks.check(config.layers, Point::PASSED)?;
        for (at, layer) in self.model.weights.layers.iter().enumerate().take(until.layer + 1).skip(first) {
            norm_into(config, &layer.attention_norm, self.x.view(), self.normed.view_mut())?;
            self.attend(at, layer)?;
            hooks.run(Site::attention(at), &mut self.change)?;
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
            hooks.run(Site::mlp_input(at), &mut self.normed)?;
            if until == Site::mlp_input(at) {
                return Ok(self.normed);
            }
            self.feed(layer)?;
            hooks.run(Site::mlp(at), &mut self.change)?;
            if until == Site::mlp(at) {
                return Ok(self.change);
            }
            add_into(self.change.view(), self.x.view_mut())?;
            hooks.run(Site::residual(at), &mut self.x)?;
        }
        if let Some(cache) = self.cache {
            cache.length += self.t;
        }
        Ok(self.x)
    }

    /// `change` = the attention of layer `at`.
    fn attend(&mut self, at: usize, layer: &Layer<T>) -> Result<()> {
        let Config { heads, kv_heads, head_dim, .. } = self.model.config;
        let (batch, t, tokens, all) = (self.batch, self.t, self.batch * self.t, heads + 2 * kv_heads);
        let to = self.heads.view_mut().reshape([tokens, all * head_dim])?;
        layer.attention_input.multiply(self.normed.view(), to)?;
        if let Some(rotary) = self.model.config.rotary() {
            // Queries and keys lie side by side and turn together.
            let turned = self.heads.view_mut().narrow(1, 0, heads + kv_heads)?.narrow(2, 0, rotary.dim)?;
            rope_into(turned, self.positions.view(), rotary.base, rotary.pairing)?;
        }

        let part = |from, to| self.heads.view().reshape([batch, t, all, head_dim])?.narrow(2, from, to);
        let (query, key, value) = (part(0, heads)?, part(heads, heads + kv_heads)?, part(heads + kv_heads, all)?);
        if let Some(cache) = &mut self.cache {
            let (from, to) = (cache.length, cache.length + t);
            copy_into(key, cache.keys[at].view_mut().narrow(1, from, to)?)?;
            copy_into(value, cache.values[at].view_mut().narrow(1, from, to)?)?;
            let (keys, values) = (cache.keys[at].view().narrow(1, 0, to)?, cache.values[at].view().narrow(1, 0, to)?);
            attention_into(&Attention::new(query, keys, values), self.found.view_mut(), None)?;
        } else {
            attention_into(&Attention::new(query, key, value), self.found.view_mut(), None)?;
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
