use super::llama::Layer;
use super::{Cache, Config, Hooks, Llama, Point, Site};
use crate::io::{Error, Result};
use crate::{
    Act, Attention, Tensor, act_into, add_into, attention_into, copy_into, embed, linear_into, rms_norm_into, rope_into,
};
use latens_core::Accumulate::Replace;

/// One way through the layers: the residual, and memory for what is computed on the way, used again by every layer.
pub(super) struct Pass<'a> {
    model: &'a Llama,
    cache: Option<&'a mut Cache>,
    batch: usize,
    t: usize,
    positions: Tensor<u32, 1>,
    /// The residual `[tokens, dim]`.
    x: Tensor<f32, 2>,
    /// What a layer's half reads: `x` after its norm.
    normed: Tensor<f32, 2>,
    /// Queries, keys and values, `[tokens, heads + 2 kv_heads, head_dim]`.
    heads: Tensor<f32, 3>,
    /// What the heads found, `[batch, t, heads, head_dim]`.
    found: Tensor<f32, 4>,
    /// Gate and up, `[tokens, 2 hidden]`.
    wide: Tensor<f32, 2>,
    /// Their product, `[tokens, hidden]`.
    gated: Tensor<f32, 2>,
    /// What a layer's half adds to `x`.
    change: Tensor<f32, 2>,
}

impl<'a> Pass<'a> {
    /// Begin with the embeddings of `ids` `[batch, t]`, after those that `cache` has seen.
    pub(super) fn new(model: &'a Llama, ids: &Tensor<u32, 2>, cache: Option<&'a mut Cache>) -> Result<Self> {
        let x = embed(model.weights.embedding.view(), ids.view().reshape([ids.dims().iter().product()])?)?;
        Self::with(model, ids.dims(), x, cache)
    }

    /// Begin with the residual `x` of `batch` contexts of `t` tokens each.
    pub(super) fn with(
        model: &'a Llama,
        [batch, t]: [usize; 2],
        x: Tensor<f32, 2>,
        cache: Option<&'a mut Cache>,
    ) -> Result<Self> {
        let Config { dim, hidden, heads, kv_heads, head_dim, context, .. } = model.config;
        let seen = cache.as_ref().map_or(0, |cache| cache.length);
        if seen + t > context {
            return Err(Error::setting("context", format!("{} tokens, but the model takes {context}", seen + t)));
        }
        let (tokens, device) = (batch * t, &model.device);
        let positions = (0..tokens).map(|token| (seen + token % t) as u32).collect();
        Ok(Self {
            positions: Tensor::from_vec(positions, [tokens], device)?,
            x,
            normed: Tensor::empty([tokens, dim], device)?,
            heads: Tensor::empty([tokens, heads + 2 * kv_heads, head_dim], device)?,
            found: Tensor::empty([batch, t, heads, head_dim], device)?,
            wide: Tensor::empty([tokens, 2 * hidden], device)?,
            gated: Tensor::empty([tokens, hidden], device)?,
            change: Tensor::empty([tokens, dim], device)?,
            model,
            cache,
            batch,
            t,
        })
    }

    /// Run the layers from `first` to that of `until`, and give the activations there.
    pub(super) fn run(mut self, first: usize, until: Site, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        hooks.check(self.model.config.layers)?;
        for (at, layer) in self.model.weights.layers.iter().enumerate().take(until.layer + 1).skip(first) {
            self.attend(at, layer)?;
            hooks.run(Site::attention(at), &mut self.change)?;
            if until == Site::attention(at) {
                return Ok(self.change);
            }
            add_into(self.change.view(), self.x.view_mut())?;
            self.gate(layer)?;
            hooks.run(Site::mlp(at), &mut self.change)?;
            if until == Site::mlp(at) {
                return Ok(self.change);
            }
            add_into(self.change.view(), self.x.view_mut())?;
            hooks.run(Site { layer: at, point: Point::Residual }, &mut self.x)?;
        }
        if let Some(cache) = self.cache {
            cache.length += self.t;
        }
        Ok(self.x)
    }

    /// `change` = the attention of layer `at`.
    fn attend(&mut self, at: usize, layer: &Layer) -> Result<()> {
        let Config { dim: _, heads, kv_heads, head_dim, epsilon, rope_base, pairing, .. } = self.model.config;
        let (batch, t, tokens, all) = (self.batch, self.t, self.batch * self.t, heads + 2 * kv_heads);
        rms_norm_into(self.x.view(), layer.attention_norm.view(), epsilon, self.normed.view_mut())?;
        let to = self.heads.view_mut().reshape([tokens, all * head_dim])?;
        linear_into(self.normed.view(), layer.attention_input.view(), None, Replace, to)?;
        // Queries and keys lie side by side and turn together.
        let turned = self.heads.view_mut().narrow(1, 0, heads + kv_heads)?;
        rope_into(turned, self.positions.view(), rope_base, pairing)?;

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
        Ok(linear_into(found, layer.attention_output.view(), None, Replace, self.change.view_mut())?)
    }

    /// `change` = the gated layer.
    fn gate(&mut self, layer: &Layer) -> Result<()> {
        let Config { hidden, epsilon, .. } = self.model.config;
        rms_norm_into(self.x.view(), layer.mlp_norm.view(), epsilon, self.normed.view_mut())?;
        linear_into(self.normed.view(), layer.mlp_input.view(), None, Replace, self.wide.view_mut())?;
        let (gate, up) = (self.wide.view().narrow(1, 0, hidden)?, self.wide.view().narrow(1, hidden, 2 * hidden)?);
        act_into(gate, Some(up), Act::Silu, self.gated.view_mut())?;
        Ok(linear_into(self.gated.view(), layer.mlp_output.view(), None, Replace, self.change.view_mut())?)
    }
}
