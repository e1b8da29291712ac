use super::weights::{GGUF, HUGGING_FACE, Names, Source, Weights};
use super::{Config, Hooks, Site, forward::Pass};
use crate::io::{Error, Result, gguf::Gguf, safetensors::Safetensors};
use crate::{Device, Error as Fault, Float, IGNORED, Tensor, cross_entropy_into, linear, linear_into, rms_norm};
use latens_core::Accumulate;

/// A Llama on a device: weights and activations in f32. It is read only, so threads may share it.
///
/// Every layer adds `attention(norm(x))` and then `down(silu(gate(y)) * up(y))`, `y = norm(x)`, to the residual `x`.
pub struct Llama {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) weights: Weights,
}

/// The weights of a layer. Those that read the same are one above another.
pub(super) struct Layer<T: Float = f32> {
    pub attention_norm: Tensor<T::Acc, 1>,
    /// Queries, keys, values.
    pub attention_input: Tensor<T, 2>,
    pub attention_output: Tensor<T, 2>,
    pub mlp_norm: Tensor<T::Acc, 1>,
    /// Gate, up.
    pub mlp_input: Tensor<T, 2>,
    pub mlp_output: Tensor<T, 2>,
}

impl Llama {
    /// The model in a GGUF file.
    ///
    /// # Errors
    /// [`Error::Content`] if it is of another family, or a tensor is missing, of other sizes, or too many.
    pub fn from_gguf(file: &Gguf, device: &Device) -> Result<Self> {
        let config = Config::from_gguf(file)?;
        let names = file.tensors().keys().map(String::as_str).collect();
        let source = Source { path: file.path(), names, read: &|name, dims| file.read(name, dims) };
        Self::load(&source, config, &GGUF, device)
    }

    /// The model in safetensors files with the names of Hugging Face.
    ///
    /// # Errors
    /// As [`Llama::from_gguf`].
    pub fn from_safetensors(file: &Safetensors, config: Config, device: &Device) -> Result<Self> {
        let names = file.tensors().keys().map(String::as_str).collect();
        let source = Source { path: file.path(), names, read: &|name, dims| file.read(name, dims) };
        Self::load(&source, config, &HUGGING_FACE, device)
    }

    fn load(source: &Source<'_>, config: Config, names: &Names, device: &Device) -> Result<Self> {
        let config = config.check().map_err(|what| Error::content(source.path, what))?;
        let weights = source.load(&config, names, device)?;
        Ok(Self { config, device: device.clone(), weights })
    }

    /// Its sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What each token writes with, `[vocabulary, dim]`: the table of its logits, for looking at directions as words.
    pub fn unembedding(&self) -> &Tensor<f32, 2> {
        self.weights.output.as_ref().unwrap_or(&self.weights.embedding)
    }

    /// `batch` contexts of equal length, one after another, as the tensor that the model takes.
    ///
    /// # Errors
    /// [`Error::Setting`] if the ids do not divide into the batch, or one is no token.
    pub fn ids(&self, ids: Vec<u32>, batch: usize) -> Result<Tensor<u32, 2>> {
        let wrong = |what| Err(Error::setting("ids", what));
        if batch == 0 || !ids.len().is_multiple_of(batch) {
            return wrong(format!("{} do not divide into {batch} contexts", ids.len()));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.config.vocabulary) {
            return wrong(format!("{id} is no token: the model has {}", self.config.vocabulary));
        }
        let dims = [batch, ids.len() / batch];
        Ok(Tensor::from_vec(ids, dims, &self.device)?)
    }

    /// The activations at `site` for `ids` `[batch, t]`, as `[batch * t, dim]` and after the hooks there. What lies above
    /// the site does not run.
    ///
    /// # Errors
    /// A layer that is not there, contexts that are too long, and errors of hooks.
    pub fn activations(&self, ids: &Tensor<u32, 2>, site: Site, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        site.check(self.config.layers)?;
        Pass::new(self, ids, None)?.run(0, site, hooks)
    }

    /// The residual after all layers.
    pub(super) fn residual(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        self.activations(ids, Site::residual(self.config.layers - 1), hooks)
    }

    /// The logits of the token after each, `[batch * t, vocabulary]`. For long texts [`Llama::losses`] needs far less memory.
    ///
    /// # Errors
    /// As [`Llama::activations`].
    pub fn logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        let x = self.residual(ids, hooks)?;
        self.unembed(&x)
    }

    /// The logits of the token after each context, `[batch, vocabulary]`.
    ///
    /// # Errors
    /// As [`Llama::activations`].
    pub fn next_logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        let ([batch, t], x) = (ids.dims(), self.residual(ids, hooks)?);
        self.unembed(&self.last(&x, batch, t)?)
    }

    /// The last of each `t` rows.
    pub(super) fn last(&self, x: &Tensor<f32, 2>, batch: usize, t: usize) -> Result<Tensor<f32, 2>> {
        if t == 0 {
            return Err(Error::setting("ids", "a context without tokens has no next"));
        }
        let rows: Vec<u32> = (1..=batch).map(|context| (context * t - 1) as u32).collect();
        let rows = Tensor::from_vec(rows, [batch], &self.device)?;
        Ok(crate::gather_rows(x.view(), rows.view())?)
    }

    /// The logits that residuals `[rows, dim]` after the last layer lead to.
    ///
    /// # Errors
    /// Sizes or devices that do not fit.
    pub fn unembed(&self, x: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
        let x = rms_norm(x.view(), self.weights.norm.view(), self.config.epsilon)?;
        Ok(linear(x.view(), self.unembedding().view(), None)?)
    }

    /// How surprising each next token is, in nats: `[batch, t]`, 0 for the last of each context, whose next is not known.
    ///
    /// # Errors
    /// As [`Llama::activations`].
    pub fn losses(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_>) -> Result<Tensor<f32, 2>> {
        let x = self.residual(ids, hooks)?;
        self.surprise(ids, x)
    }

    /// [`Llama::losses`] where the residual after `layer` is `x` `[batch * t, dim]`: only what lies above it runs, and only
    /// hooks there are called. So one run up to a layer serves every change made there.
    ///
    /// # Errors
    /// As [`Llama::activations`], and if `x` is of other sizes or lives elsewhere.
    pub fn losses_from(
        &self,
        layer: usize,
        x: Tensor<f32, 2>,
        ids: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor<f32, 2>> {
        Site::residual(layer).check(self.config.layers)?;
        let want = [ids.dims().iter().product(), self.config.dim];
        if let Some((want, got)) = want.into_iter().zip(x.dims()).find(|(want, got)| want != got) {
            return Err(Fault::Size { op: "losses_from", arg: "x", want, got }.into());
        }
        let until = Site::residual(self.config.layers - 1);
        let x = Pass::with(self, ids.dims(), x, None)?.run(layer + 1, until, hooks)?;
        self.surprise(ids, x)
    }

    /// The losses of the next tokens, from the residual after all layers.
    fn surprise(&self, ids: &Tensor<u32, 2>, x: Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
        /// Logits in memory at once: 128 MB. Every product with the table packs it anew, so it is for many rows.
        const LOGITS: usize = 1 << 25;
        let [batch, t] = ids.dims();
        let room = (LOGITS / self.config.vocabulary.max(1)).max(1);
        let x = rms_norm(x.view(), self.weights.norm.view(), self.config.epsilon)?;
        let mut next = ids.to_vec()?;
        for context in next.chunks_mut(t.max(1)) {
            context.rotate_left(1);
            context[t - 1] = IGNORED;
        }
        let (rows, table) = (batch * t, self.unembedding());
        let next = Tensor::from_vec(next, [rows], &self.device)?;
        let mut losses = Tensor::empty([rows], &self.device)?;
        let mut logits = Tensor::empty([room.min(rows), self.config.vocabulary], &self.device)?;
        for start in (0..rows).step_by(room) {
            let end = rows.min(start + room);
            let x = x.view().narrow(0, start, end)?;
            linear_into(x, table.view(), None, Accumulate::Replace, logits.view_mut().narrow(0, 0, end - start)?)?;
            let (logits, next) = (logits.view().narrow(0, 0, end - start)?, next.view().narrow(0, start, end)?);
            cross_entropy_into(logits, next, 0.0, losses.view_mut().narrow(0, start, end)?)?;
        }
        Ok(losses.reshape([batch, t])?)
    }
}
