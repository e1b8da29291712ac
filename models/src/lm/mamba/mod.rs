//! Mamba-1: a language model of selective scans instead of attention, read and written as Hugging Face's `MambaForCausalLM`.
//!
//! ```
//! use latens::lm::{Hooks, Sampling, Site, mamba::{Config, Mamba, State}};
//! use latens::Device;
//! let model = Mamba::<f32>::random(Config::new(2, 32, 100), 0, &Device::Host)?;
//! let ids = model.ids(vec![5, 6, 7, 8], 1)?;
//! // What the mixer of layer 1 adds to the residual.
//! let x = model.activations(&ids, Site::mixer(1), &mut Hooks::new())?;
//! assert_eq!(x.dims(), [4, 32]);
//! // Its memory does not grow with what it has seen.
//! let mut state = State::new(&model, 1)?;
//! let logits = model.extend(vec![5, 6, 7, 8], &mut state, &mut Hooks::new())?;
//! assert_eq!(logits.len(), 100);
//! let sampling = Sampling { tokens: 8, ..Sampling::default() };
//! assert_eq!(model.generate(&[5, 6], &sampling, None, &mut Hooks::new(), |_| ())?.len(), 8);
//! # Ok::<(), latens::io::Error>(())
//! ```
mod config;
mod forward;
mod gradient;
mod part;
mod state;
mod weights;

use super::decoder::{batch_of, last, next, surprise};
use super::generate::go_on;
use super::load::File;
use super::save::{piece, type_name};
use super::{Hooks, Parameter, Point, Sampling, Site, Values, ValuesMut};
use crate::io::{Error, Result, safetensors as format};
use crate::{Device, Error as Fault, Float, Tensor, embed, linear, rms_norm};
pub use config::Config;
use forward::Pass;
pub use gradient::Recording;
pub use part::Part;
pub use state::State;
use std::path::Path;
use weights::{Copied, Random, Weights, load};

/// A Mamba on a device, weights and activations of type `T` (`f64` on the host only). What runs it only reads it, so threads
/// may share it.
///
/// Every layer adds `mixer(norm(x))` to the residual `x`: a product makes channels and gates, the channels go through a short
/// convolution and a scan whose steps, inputs and outputs are made from them, and what comes out is gated and brought back.
pub struct Mamba<T: Float = f32> {
    config: Config,
    device: Device,
    weights: Weights<T>,
}

impl<T: Float> Mamba<T> {
    /// The model in the folder at `path` with `config.json` and safetensors.
    ///
    /// # Errors
    /// Files that are missing, unsound, or of another family.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let config = Config::from_json(&path.join("config.json"))?;
        Self::from_safetensors(&format::Safetensors::open(path)?, config, device)
    }

    /// The model in safetensors files with the names of Hugging Face.
    ///
    /// # Errors
    /// [`Error::Content`] if a tensor is missing, of other sizes, or too many.
    pub fn from_safetensors(file: &format::Safetensors, config: Config, device: &Device) -> Result<Self> {
        let config = config.check().map_err(|what| Error::content(file.path(), what))?;
        let weights = load(File::Safetensors(file), &config, device)?;
        Ok(Self { config, device: device.clone(), weights })
    }

    /// An untrained model, as its authors began: states of a channel decay by 1, 2, 3 and so on a step, steps are from a
    /// thousandth to a tenth. The same seed gives the same model.
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

    /// Write `config.json` and `model.safetensors` to `folder`: as [`Decoder::save`](super::Decoder::save).
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.write(folder, None)
    }

    /// The same in files of at most `most` bytes, or of one tensor, and an index.
    ///
    /// # Errors
    /// As [`Mamba::save`].
    pub fn save_sharded(&self, folder: &Path, most: usize) -> Result<()> {
        self.write(folder, Some(most))
    }

    fn write(&self, folder: &Path, most: Option<usize>) -> Result<()> {
        let json = format!("{:#}\n", self.config.to_json(type_name::<T>()));
        let parts = self.config.parts().into_iter().filter_map(|part| Some((part, self.weights.get(part)?)));
        let pieces = parts.map(|(part, values)| piece(part.name(), part.file_dims(self.config.dims(part)), values));
        format::save(folder, pieces.collect::<Result<_>>()?, most, &[(Path::new("config.json"), json.as_bytes())])
    }

    /// A copy on `device`, of elements of type `U`, each rounded once.
    ///
    /// # Errors
    /// As [`Decoder::to`](super::Decoder::to).
    pub fn to<U: Float>(&self, device: &Device) -> Result<Mamba<U>> {
        let weights = Weights::build(&self.config, device, &Copied(&self.weights))?;
        Ok(Mamba { config: self.config.clone(), device: device.clone(), weights })
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

    /// What each token writes with, `[vocabulary, dim]`.
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

    fn pass<'a>(&'a self, ids: &Tensor<u32, 2>, state: Option<&'a mut State<T>>) -> Result<Pass<'a, T>> {
        let x = embed(self.weights.embedding.view(), ids.view().reshape([ids.dims().iter().product()])?)?;
        Pass::with(self, ids.dims(), x, state)
    }

    fn end(&self) -> Site {
        Site::residual(self.config.layers - 1)
    }

    /// The activations at `site` for `ids` `[batch, t]`, as `[batch * t, dim]` and after the hooks there. What lies above
    /// the site does not run.
    ///
    /// # Errors
    /// A site that is not there, and errors of hooks.
    pub fn activations(&self, ids: &Tensor<u32, 2>, site: Site, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        site.check(self.config.layers, Point::MIXER)?;
        self.pass(ids, None)?.run(0, site, hooks)
    }

    /// The logits of the token after each, `[batch * t, vocabulary]`.
    ///
    /// # Errors
    /// As [`Mamba::activations`].
    pub fn logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let x = self.activations(ids, self.end(), hooks)?;
        self.unembed(&x)
    }

    /// The logits of the token after each context, `[batch, vocabulary]`.
    ///
    /// # Errors
    /// As [`Mamba::activations`].
    pub fn next_logits(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let ([batch, t], x) = (ids.dims(), self.activations(ids, self.end(), hooks)?);
        self.unembed(&last(&x, batch, t)?)
    }

    /// The logits that residuals `[rows, dim]` after the last layer lead to.
    ///
    /// # Errors
    /// Sizes or devices that do not fit.
    pub fn unembed(&self, x: &Tensor<T, 2>) -> Result<Tensor<T, 2>> {
        let x = rms_norm(x.view(), self.weights.norm.view(), self.config.epsilon)?;
        Ok(linear(x.view(), self.unembedding().view(), None)?)
    }

    /// How surprising each next token is, in nats: `[batch, t]`, 0 for the last of each context, whose next is not known.
    ///
    /// # Errors
    /// As [`Mamba::activations`].
    pub fn losses(&self, ids: &Tensor<u32, 2>, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T::Acc, 2>> {
        let x = self.activations(ids, self.end(), hooks)?;
        let x = rms_norm(x.view(), self.weights.norm.view(), self.config.epsilon)?;
        Ok(surprise(next(ids)?, x, self.unembedding())?.reshape(ids.dims())?)
    }

    /// [`Mamba::losses`] where the residual after `layer` is `x` `[batch * t, dim]`: only what lies above it runs.
    ///
    /// # Errors
    /// As [`Mamba::activations`], and if `x` is of other sizes or lives elsewhere.
    pub fn losses_from(
        &self,
        layer: usize,
        x: Tensor<T, 2>,
        ids: &Tensor<u32, 2>,
        hooks: &mut Hooks<'_, T>,
    ) -> Result<Tensor<T::Acc, 2>> {
        Site::residual(layer).check(self.config.layers, Point::MIXER)?;
        let want = [ids.dims().iter().product(), self.config.dim];
        if let Some((want, got)) = want.into_iter().zip(x.dims()).find(|(want, got)| want != got) {
            return Err(Fault::Size { op: "losses_from", arg: "x", want, got }.into());
        }
        let x = Pass::with(self, ids.dims(), x, None)?.run(layer + 1, self.end(), hooks)?;
        let x = rms_norm(x.view(), self.weights.norm.view(), self.config.epsilon)?;
        Ok(surprise(next(ids)?, x, self.unembedding())?.reshape(ids.dims())?)
    }

    /// Show `ids` to a model that has seen what `state` has, and give the logits of the token after them.
    ///
    /// # Errors
    /// No ids, and errors of hooks, after which the state is that of no text.
    pub fn extend(&self, ids: Vec<u32>, state: &mut State<T>, hooks: &mut Hooks<'_, T>) -> Result<Vec<f32>> {
        let (t, ids) = (ids.len(), self.ids(ids, 1)?);
        let x = self.pass(&ids, Some(state))?.run(0, self.end(), hooks)?;
        Ok(self.unembed(&last(&x, 1, t)?)?.to_vec()?.into_iter().map(Float::to_f32).collect())
    }

    /// Continue `prompt`: as [`Decoder::generate`](super::Decoder::generate), with no limit of length.
    ///
    /// # Errors
    /// An empty prompt, and errors of hooks.
    pub fn generate(
        &self,
        prompt: &[u32],
        sampling: &Sampling,
        end: Option<u32>,
        hooks: &mut Hooks<'_, T>,
        tell: impl FnMut(u32),
    ) -> Result<Vec<u32>> {
        let mut state = State::new(self, 1)?;
        go_on(prompt, sampling, end, |next| self.extend(next, &mut state, hooks), tell)
    }
}

fn parameter<V>(config: &Config, part: Part, values: V) -> Parameter<Part, V> {
    Parameter {
        part,
        number: part.number(),
        names: vec![part.name()],
        dims: config.dims(part),
        decays: part.decays(),
        values,
    }
}
