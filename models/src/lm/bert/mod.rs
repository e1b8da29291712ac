//! BERT: an encoder of texts, read from Hugging Face's files and written as such, and the mean of what it makes of a text as
//! its embedding.
//!
//! ```no_run
//! use latens::lm::bert::{Pooling, TextEncoder};
//! use latens::{Device, assets};
//! let encoder = TextEncoder::open(&assets::MINILM.locate(None).unwrap(), &Device::Host)?;
//! let x = encoder.embed(&["A man is eating food.", "Someone is having a meal."], Pooling::Mean)?.to_vec()?;
//! let (a, b) = x.split_at(x.len() / 2);
//! let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
//! # let _ = cosine;
//! # Ok::<(), latens::io::Error>(())
//! ```
mod config;
mod save;
mod weights;

use super::decoder::batch_of;
use super::weights::Norm;
use super::{Hooks, Point, Site, Span, Tokenizer};
use crate::io::{Error, Result, safetensors::Safetensors};
use crate::{
    Attention, Device, Float, Mask, Reduce, Tensor, act_into, add_into, attention_into, embed, layer_norm_into,
    reduce_into, rms_norm,
};
pub use config::Config;
use std::collections::BTreeMap;
use std::path::Path;
use weights::{Layer, Weights, load};

/// A BERT on a device, weights and activations of type `T` (`f64` on the host only). It is read only, so threads may share it.
///
/// A token reads its word, its place and its kind. Every layer makes `x = norm(x + attention(x))`, in which every token sees
/// every other, and then `x = norm(x + down(act(up(x))))`.
pub struct Encoder<T: Float = f32> {
    config: Config,
    device: Device,
    weights: Weights<T>,
}

/// What of its tokens stands for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all.
    Mean,
    /// The first, which BERT calls CLS.
    First,
}

impl<T: Float> Encoder<T> {
    /// The model in the folder at `path` with `config.json` and safetensors.
    ///
    /// # Errors
    /// Files that are missing, unsound, or of another family.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let config = Config::from_json(&path.join("config.json"))?;
        Self::from_safetensors(&Safetensors::open(path)?, config, device)
    }

    /// The model in safetensors files with the names of Hugging Face; a head on top of it is left alone, and not kept.
    ///
    /// # Errors
    /// [`Error::Content`] if a tensor is missing, of other sizes, or too many.
    pub fn from_safetensors(file: &Safetensors, config: Config, device: &Device) -> Result<Self> {
        let config = config.check().map_err(|what| Error::content(file.path(), what))?;
        let weights = load(file, &config, device)?;
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

    /// `batch` texts of equal length, one after another, as the tensor that the model takes.
    ///
    /// # Errors
    /// [`Error::Setting`] if the ids do not divide into the batch, or one is no token.
    pub fn ids(&self, ids: Vec<u32>, batch: usize) -> Result<Tensor<u32, 2>> {
        batch_of(ids, batch, self.config.vocabulary, &self.device)
    }

    /// The activations at `site` for `ids` `[batch, t]`, as `[batch * t, dim]` and after the hooks there. What lies above the
    /// site does not run. `kinds`, as `ids`, are those of the tokens; without them all are of the first text. What a half of a
    /// layer adds is read before it is added; the residual after a layer is after its norm.
    ///
    /// # Errors
    /// A layer or a kind that is not there, texts that are too long, and errors of hooks.
    pub fn activations(
        &self,
        ids: &Tensor<u32, 2>,
        kinds: Option<&Tensor<u32, 2>>,
        site: Site,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        site.check(self.config.layers, Point::HALVES)?;
        hooks.check(self.config.layers, Point::HALVES)?;
        let (dims, mut x) = (ids.dims(), self.read(ids, kinds)?);
        let spans = Span::even(dims, 0);
        for (at, layer) in self.weights.layers.iter().enumerate().take(site.layer + 1) {
            let mut change = self.attend(layer, dims, &x)?;
            hooks.run(Site::attention(at), &mut change, &spans)?;
            if site == Site::attention(at) {
                return Ok(change);
            }
            x = self.join(&layer.attention_norm, change, x)?;
            let mut change = self.feed(layer, &x)?;
            hooks.run(Site::mlp(at), &mut change, &spans)?;
            if site == Site::mlp(at) {
                return Ok(change);
            }
            x = self.join(&layer.mlp_norm, change, x)?;
            hooks.run(Site::residual(at), &mut x, &spans)?;
        }
        Ok(x)
    }

    /// What the model makes of every token of `ids` `[batch, t]`: the residual after all layers.
    ///
    /// # Errors
    /// As [`Encoder::activations`].
    pub fn hidden(
        &self,
        ids: &Tensor<u32, 2>,
        kinds: Option<&Tensor<u32, 2>>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T, 2>> {
        self.activations(ids, kinds, Site::residual(self.config.layers - 1), hooks)
    }

    /// What stands for each text, of length 1: `[texts, dim]`. Texts may have any lengths; those of equal length run together,
    /// so nothing is padded and no text changes another.
    ///
    /// # Errors
    /// A text without tokens, and as [`Encoder::activations`].
    pub fn embed(&self, texts: &[Vec<u32>], pooling: Pooling) -> Result<Tensor<T::Acc, 2>> {
        /// Tokens that run together.
        const TOGETHER: usize = 1 << 13;
        let dim = self.config.dim;
        let mut lengths = BTreeMap::<usize, Vec<usize>>::new();
        for (at, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(Error::setting("texts", format!("text {at} has no tokens")));
            }
            lengths.entry(text.len()).or_default().push(at);
        }
        let mut pooled = Tensor::empty([texts.len(), dim], &self.device)?;
        for (t, all) in lengths {
            self.config.fits(t)?;
            for part in all.chunks((TOGETHER / t).max(1)) {
                let ids = part.iter().flat_map(|&at| texts[at].iter().copied()).collect();
                let x = self.hidden(&self.ids(ids, part.len())?, None, &mut Hooks::new())?;
                let count = if pooling == Pooling::Mean { t } else { 1 };
                for (row, &at) in part.iter().enumerate() {
                    let of = x.view().narrow(0, row * t, row * t + count)?;
                    let to = pooled.view_mut().narrow(0, at, at + 1)?.reshape([dim])?;
                    reduce_into(of, Reduce::Mean, 0, to)?;
                }
            }
        }
        // By the root of the mean square, and one over the root of the width: the length.
        let weight = <T::Acc as Float>::Acc::narrow(1.0 / (dim as f64).sqrt());
        let weight = Tensor::from_vec(vec![weight; dim], [dim], &self.device)?;
        Ok(rms_norm(pooled.view(), weight.view(), 1e-24)?)
    }

    fn read(&self, ids: &Tensor<u32, 2>, kinds: Option<&Tensor<u32, 2>>) -> Result<Tensor<T, 2>> {
        let ([batch, t], rows) = (ids.dims(), ids.dims().iter().product());
        self.config.fits(t)?;
        if let Some(kinds) = kinds.filter(|kinds| kinds.dims() != ids.dims()) {
            let what = format!("{:?} of them for ids {:?}", kinds.dims(), ids.dims());
            return Err(Error::setting("kinds", what));
        }
        let x = embed(self.weights.words.view(), ids.view().reshape([rows])?)?;
        let places = (0..batch).flat_map(|_| 0..t as u32).collect();
        let places = Tensor::from_vec(places, [rows], &self.device)?;
        let mut sum = embed(self.weights.places.view(), places.view())?;
        let first = Tensor::zeros([batch, t], &self.device)?;
        let kinds = kinds.unwrap_or(&first);
        let kinds = embed(self.weights.kinds.view(), kinds.view().reshape([rows])?)?;
        add_into(kinds.view(), sum.view_mut())?;
        self.join(&self.weights.norm, sum, x)
    }

    /// `norm(x + change)`.
    fn join(&self, norm: &Norm<T::Acc>, mut change: Tensor<T, 2>, mut x: Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        add_into(x.view(), change.view_mut())?;
        let (weight, bias) = (norm.weight.view(), norm.bias.as_ref().map(Tensor::view));
        layer_norm_into(change.view(), weight, bias, self.config.epsilon, x.view_mut())?;
        Ok(x)
    }

    fn attend(&self, layer: &Layer<T>, [batch, t]: [usize; 2], x: &Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        let Config { dim, heads, .. } = self.config;
        let (rows, head) = (batch * t, dim / heads);
        let mut all = Tensor::empty([rows, 3 * dim], &self.device)?;
        layer.input.multiply(x.view(), all.view_mut())?;
        let part =
            |from: usize| all.view().reshape([batch, t, 3 * heads, head])?.narrow(2, from * heads, (from + 1) * heads);
        let call = Attention { mask: Mask::Full, ..Attention::new(part(0)?, part(1)?, part(2)?) };
        let mut found = Tensor::empty([batch, t, heads, head], &self.device)?;
        attention_into(&call, found.view_mut(), None)?;
        let mut change = Tensor::empty([rows, dim], &self.device)?;
        layer.output.multiply(found.view().reshape([rows, dim])?, change.view_mut())?;
        Ok(change)
    }

    fn feed(&self, layer: &Layer<T>, x: &Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        let ([rows, dim], hidden) = (x.dims(), self.config.hidden);
        let mut wide = Tensor::empty([rows, hidden], &self.device)?;
        layer.up.multiply(x.view(), wide.view_mut())?;
        let mut active = Tensor::empty([rows, hidden], &self.device)?;
        act_into(wide.view(), None, self.config.act, active.view_mut())?;
        let mut change = Tensor::empty([rows, dim], &self.device)?;
        layer.down.multiply(active.view(), change.view_mut())?;
        Ok(change)
    }
}

/// A BERT and the tokenizer it was trained with.
pub struct TextEncoder {
    /// From ids to activations.
    pub model: Encoder,
    /// From text to ids.
    pub tokenizer: Tokenizer,
}

impl TextEncoder {
    /// The model in the folder at `path` with `config.json`, `tokenizer.json` and safetensors.
    ///
    /// # Errors
    /// Files that are missing, unsound, or of another family.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let (model, file) = (Encoder::open(path, device)?, path.join("tokenizer.json"));
        let tokenizer = Tokenizer::from_json(&file)?;
        if tokenizer.len() > model.config.vocabulary {
            let what = format!("{} tokens, but the model has {} of them", tokenizer.len(), model.config.vocabulary);
            return Err(Error::content(&file, what));
        }
        Ok(Self { model, tokenizer })
    }

    /// What stands for each text: as [`Encoder::embed`]. A text that is longer than the model takes
    /// loses what is too much, but not its last token, which says that it ends.
    ///
    /// # Errors
    /// Those of the tokenizer and of the model.
    pub fn embed(&self, texts: &[&str], pooling: Pooling) -> Result<Tensor<f32, 2>> {
        let ids = |text: &&str| {
            let mut ids = self.tokenizer.encode(text)?;
            if let Some(end) = ids.last().copied().filter(|_| ids.len() > self.model.config.context) {
                ids.truncate(self.model.config.context - 1);
                ids.push(end);
            }
            Ok(ids)
        };
        let ids: Vec<Vec<u32>> = texts.iter().map(ids).collect::<Result<_>>()?;
        self.model.embed(&ids, pooling)
    }
}
