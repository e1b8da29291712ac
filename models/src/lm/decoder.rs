use super::layout::Family;
use super::load::{Copied, File, load};
use super::part::{Parameter, Values, ValuesMut};
use super::weights::{Norm, Random, Weights};
use super::{Config, Hooks, Part, Point, Site, Span, forward::Pass};
use crate::io::{Error, Result, gguf::Gguf, safetensors::Safetensors};
use crate::{
    Device, Error as Fault, Float, IGNORED, Tensor, View, ViewMut, cross_entropy_into, layer_norm_into, linear,
    linear_into, rms_norm_into,
};
use latens_core::Accumulate;
use std::path::Path;

/// A decoder on a device: a causal transformer of the Llama, GPT-2 or GPT-NeoX family, weights and activations of type `T`
/// (`f64` on the host only). What runs it only reads it, so threads may share it.
///
/// Every layer adds `attention(norm(x))` and then `mlp(norm(x))` to the residual `x`; with [`Config::parallel`] both read
/// the same `x`.
pub struct Decoder<T: Float = f32> {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) weights: Weights<T>,
}

impl<T: Float> Decoder<T> {
    /// The model in the GGUF file at `path`, or in the folder at `path` with `config.json` and safetensors.
    ///
    /// # Errors
    /// Files that are missing, unsound, or of another family.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            let config = Config::from_json(&path.join("config.json"))?;
            return Self::from_safetensors(&Safetensors::open(path)?, config, device);
        }
        Self::from_gguf(&Gguf::open(path)?, device)
    }

    /// The model in a GGUF file.
    ///
    /// # Errors
    /// [`Error::Content`] if it is of another family, or a tensor is missing, of other sizes, or too many.
    pub fn from_gguf(file: &Gguf, device: &Device) -> Result<Self> {
        Self::load(File::Gguf(file), Family::Gguf, Config::from_gguf(file)?, device)
    }

    /// The model in safetensors files with the names of Hugging Face.
    ///
    /// # Errors
    /// As [`Decoder::from_gguf`].
    pub fn from_safetensors(file: &Safetensors, config: Config, device: &Device) -> Result<Self> {
        let config = config.check().map_err(|what| Error::content(file.path(), what))?;
        let family = Family::of(&config).map_err(|what| Error::content(file.path(), what))?;
        Self::load(File::Safetensors(file), family, config, device)
    }

    fn load(file: File<'_>, family: Family, config: Config, device: &Device) -> Result<Self> {
        let weights = load(file, family, &config, device)?;
        Ok(Self { config, device: device.clone(), weights })
    }

    /// An untrained model, as GPT-2 begins: tables and products from a normal distribution of deviation 0.02, those that add to
    /// the residual of `0.02 / sqrt(2 layers)`, norms of 1 and biases of 0. The same seed gives the same model.
    ///
    /// # Errors
    /// [`Error::Setting`] for sizes that make no sense; more than there is memory for.
    pub fn random(config: Config, seed: u64, device: &Device) -> Result<Self> {
        let config = config.check().map_err(|what| Error::setting("config", what))?;
        // Asked for at once: sizes that are too large by far are refused before the first number is drawn.
        drop(super::random::room::<T>(config.count())?);
        let weights = Weights::build(&config, device, &Random { config: &config, seed })?;
        Ok(Self { config, device: device.clone(), weights })
    }

    /// A copy on `device`, of elements of type `U`, each rounded once.
    ///
    /// # Errors
    /// More than there is memory for; a type that the device does not have.
    pub fn to<U: Float>(&self, device: &Device) -> Result<Decoder<U>> {
        let weights = Weights::build(&self.config, device, &Copied(&self.weights))?;
        Ok(Decoder { config: self.config.clone(), device: device.clone(), weights })
    }

    /// Its sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All parts of its weights, in the order of their numbers.
    pub fn parameters(&self) -> Vec<Parameter<Part, Values<'_, T>>> {
        let parts = self.config.parts().into_iter();
        parts.filter_map(|part| Some(parameter(&self.config, part, self.weights.get(part)?))).collect()
    }

    /// The same, for writing.
    pub fn parameters_mut(&mut self) -> Vec<Parameter<Part, ValuesMut<'_, T>>> {
        let (config, all) = (&self.config, self.weights.all_mut());
        all.into_iter().map(|(part, values)| parameter(config, part, values)).collect()
    }

    /// What each token reads, `[vocabulary, dim]`.
    pub fn embedding(&self) -> &Tensor<T, 2> {
        &self.weights.embedding
    }

    /// What each token writes with, `[vocabulary, dim]`: the table of its logits, for looking at directions as words.
    pub fn unembedding(&self) -> &Tensor<T, 2> {
        self.weights.output.as_ref().unwrap_or(&self.weights.embedding)
    }

    /// `batch` contexts of equal length, one after another, as the tensor that the model takes.
    ///
    /// # Errors
    /// [`Error::Setting`] if the ids do not divide into the batch, or one is no token.
    pub fn ids(&self, ids: Vec<u32>, batch: usize) -> Result<Tensor<u32, 2>> {
        batch_of(ids, batch, self.config.vocabulary, &self.device)
    }

    /// The activations at `site` for `ids` `[batch, t]`, as `[batch * t, dim]` and after the hooks there. What lies above
    /// the site does not run.
    ///
    /// # Errors
    /// A layer that is not there, contexts that are too long, and errors of hooks.
    pub fn activations(&self, ids: &Tensor<u32, 2>, site: Site, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        site.check(self.config.layers, Point::PASSED)?;
        Pass::new(self, ids)?.run(0, site, hooks)
    }

    /// [`activations`](Self::activations) of contexts of any lengths, as the rows of all their tokens, context by context.
    ///
    /// # Errors
    /// As there.
    pub fn activations_each(
        &self,
        contexts: &[impl AsRef<[u32]>],
        site: Site,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        site.check(self.config.layers, Point::PASSED)?;
        Pass::each(self, contexts, None)?.run(0, site, hooks)
    }

    /// The residual after all layers.
    fn residual(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        self.activations(ids, Site::residual(self.config.layers - 1), hooks)
    }

    /// The logits of the token after each, `[batch * t, vocabulary]`. For long texts [`Decoder::losses`] needs far less memory.
    ///
    /// # Errors
    /// As [`Decoder::activations`].
    pub fn logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let x = self.residual(ids, hooks)?;
        self.unembed(&x)
    }

    /// The logits of the token after each context, `[batch, vocabulary]`.
    ///
    /// # Errors
    /// As [`Decoder::activations`].
    pub fn next_logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let ([batch, t], x) = (ids.dims(), self.residual(ids, hooks)?);
        self.unembed(&last(&x, batch, t)?)
    }

    /// The logits that residuals `[rows, dim]` after the last layer lead to.
    ///
    /// # Errors
    /// Sizes or devices that do not fit.
    pub fn unembed(&self, x: &Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        let x = self.normed(x)?;
        Ok(linear(x.view(), self.unembedding().view(), None)?)
    }

    /// After the last norm.
    pub(super) fn normed(&self, x: &Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        let mut y = Tensor::empty(x.dims(), &self.device)?;
        norm_into(&self.config, &self.weights.norm, x.view(), y.view_mut())?;
        Ok(y)
    }

    /// How surprising each next token is, in nats: `[batch, t]`, 0 for the last of each context, whose next is not known.
    ///
    /// # Errors
    /// As [`Decoder::activations`].
    pub fn losses(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T::Acc, 2>> {
        let x = self.residual(ids, hooks)?;
        Ok(surprise(next(ids)?, self.normed(&x)?, self.unembedding())?.reshape(ids.dims())?)
    }

    /// [`losses`](Self::losses) of contexts of any lengths.
    ///
    /// # Errors
    /// As there.
    pub fn losses_each(&self, contexts: &[impl AsRef<[u32]>], hooks: &mut Hooks<'_, T>) -> Result<Vec<Vec<T::Acc>>> {
        let x = self.activations_each(contexts, Site::residual(self.config.layers - 1), hooks)?;
        let next = contexts.iter().flat_map(|ids| next_of(ids.as_ref()));
        let losses = surprise(next.collect(), self.normed(&x)?, self.unembedding())?.to_vec()?;
        let mut losses = losses.into_iter();
        Ok(contexts.iter().map(|ids| losses.by_ref().take(ids.as_ref().len()).collect()).collect())
    }

    /// [`Decoder::losses`] where the residual after `layer` is `x` `[batch * t, dim]`: only what lies above it runs, and only
    /// hooks there are called. So one run up to a layer serves every change made there.
    ///
    /// # Errors
    /// As [`Decoder::activations`], and if `x` is of other sizes or lives elsewhere.
    pub fn losses_from(
        &self,
        layer: usize,
        x: Tensor<T, 2>,
        ids: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T::Acc, 2>> {
        let x = self.residual_from("losses_from", layer, x, ids, hooks)?;
        Ok(surprise(next(ids)?, self.normed(&x)?, self.unembedding())?.reshape(ids.dims())?)
    }

    /// How surprising `targets` `[batch, t]` are after each row, where the residual after `layer` is `x`: they may be anything, and where one is
    /// [`IGNORED`] the loss is 0 and no logit is computed. As [`Decoder::record_targets`], without a tape.
    ///
    /// # Errors
    /// As [`Decoder::losses_from`].
    pub fn target_losses_from(
        &self,
        layer: usize,
        x: Tensor<T, 2>,
        targets: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T::Acc, 2>> {
        let x = self.residual_from("target_losses_from", layer, x, targets, hooks)?;
        let targets_of = targets.to_vec()?;
        let asked: Vec<u32> = (0..targets_of.len() as u32).filter(|&row| targets_of[row as usize] != IGNORED).collect();
        let next = asked.iter().map(|&row| targets_of[row as usize]).collect();
        let rows = Tensor::from_vec(asked.clone(), [asked.len()], &self.device)?;
        let x = crate::gather_rows(x.view(), rows.view())?;
        let found = surprise(next, self.normed(&x)?, self.unembedding())?.to_vec()?;
        let mut losses = vec![T::Acc::default(); targets_of.len()];
        asked.iter().zip(found).for_each(|(&row, loss)| losses[row as usize] = loss);
        Ok(Tensor::from_vec(losses, targets.dims(), &self.device)?)
    }

    /// [`Decoder::logits`] where the residual after `layer` is `x`, as [`Decoder::losses_from`].
    ///
    /// # Errors
    /// As [`Decoder::losses_from`].
    pub fn logits_from(
        &self,
        layer: usize,
        x: Tensor<T, 2>,
        ids: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        let x = self.residual_from("logits_from", layer, x, ids, hooks)?;
        self.unembed(&x)
    }

    /// The residual after all layers, where it is `x` after `layer`.
    fn residual_from(
        &self,
        op: &'static str,
        layer: usize,
        x: Tensor<T, 2>,
        ids: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        Site::residual(layer).check(self.config.layers, Point::HALVES)?;
        let want = [ids.dims().iter().product(), self.config.dim];
        if let Some((want, got)) = want.into_iter().zip(x.dims()).find(|(want, got)| want != got) {
            return Err(Fault::Size { op, arg: "x", want, got }.into());
        }
        let until = Site::residual(self.config.layers - 1);
        Pass::with(self, Span::even(ids.dims(), 0), x, None)?.run(layer + 1, until, hooks)
    }
}

fn parameter<V>(config: &Config, part: Part, values: V) -> Parameter<Part, V> {
    let family = Family::of(config).unwrap_or(Family::Llama);
    let names = super::layout::Layout::new(family, config, false).pieces(part);
    Parameter {
        part,
        number: part.number(),
        names: names.into_iter().map(|piece| piece.name).collect(),
        dims: config.dims(part),
        decays: !part.is_vector(),
        values,
    }
}

/// Rows by the norm of a model.
pub(super) fn norm_into<T: Float>(
    config: &Config,
    norm: &Norm<T::Acc>,
    x: View<'_, T, 2>,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let (weight, bias) = (norm.weight.view(), norm.bias.as_ref().map(Tensor::view));
    match config.norm {
        super::Norm::Rms => rms_norm_into(x, weight, config.epsilon, y)?,
        super::Norm::Layer => layer_norm_into(x, weight, bias, config.epsilon, y)?,
    }
    Ok(())
}

/// Contexts of equal length, one after another.
pub(super) fn batch_of(ids: Vec<u32>, batch: usize, vocabulary: usize, device: &Device) -> Result<Tensor<u32, 2>> {
    let wrong = |what| Err(Error::setting("ids", what));
    if batch == 0 || !ids.len().is_multiple_of(batch) {
        return wrong(format!("{} do not divide into {batch} contexts", ids.len()));
    }
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        return wrong(format!("{id} is no token: the model has {vocabulary}"));
    }
    let dims = [batch, ids.len() / batch];
    Ok(Tensor::from_vec(ids, dims, device)?)
}

/// The last of each `t` rows.
pub(super) fn last<T: Float>(x: &Tensor<T, 2>, batch: usize, t: usize) -> Result<Tensor<T, 2>> {
    if t == 0 {
        return Err(Error::setting("ids", "a context without tokens has no next"));
    }
    let rows: Vec<u32> = (1..=batch).map(|context| (context * t - 1) as u32).collect();
    let rows = Tensor::from_vec(rows, [batch], &x.device())?;
    Ok(crate::gather_rows(x.view(), rows.view())?)
}

/// The token after each of `ids` `[batch, t]`, [`IGNORED`] after the last of a context.
pub(super) fn next(ids: &Tensor<u32, 2>) -> Result<Vec<u32>> {
    Ok(ids.to_vec()?.chunks(ids.dims()[1].max(1)).flat_map(next_of).collect())
}

/// The token after each of a context.
fn next_of(context: &[u32]) -> impl Iterator<Item = u32> + use<'_> {
    context.iter().skip(1).copied().chain(context.first().map(|_| IGNORED))
}

/// How surprising `next` is after each row of the residual after all layers and the last norm.
pub(super) fn surprise<T: Float>(next: Vec<u32>, x: Tensor<T, 2>, table: &Tensor<T, 2>) -> Result<Tensor<T::Acc, 1>> {
    /// Logits in memory at once: 128 MB of f32. Every product with the table packs it anew, so it is for many rows.
    const LOGITS: usize = 1 << 25;
    let (rows, device, [vocabulary, _]) = (next.len(), x.device(), table.dims());
    let room = (LOGITS / vocabulary.max(1)).max(1);
    let next = Tensor::from_vec(next, [rows], &device)?;
    let mut losses = Tensor::empty([rows], &device)?;
    let mut logits = Tensor::empty([room.min(rows), vocabulary], &device)?;
    for start in (0..rows).step_by(room) {
        let end = rows.min(start + room);
        let x = x.view().narrow(0, start, end)?;
        linear_into(x, table.view(), None, Accumulate::Replace, logits.view_mut().narrow(0, 0, end - start)?)?;
        let (logits, next) = (logits.view().narrow(0, 0, end - start)?, next.view().narrow(0, start, end)?);
        cross_entropy_into(logits, next, 0.0, losses.view_mut().narrow(0, start, end)?)?;
    }
    Ok(losses)
}
