//! Language models: decoders of the Llama, GPT-2 and GPT-NeoX families, read from GGUF or safetensors, run, looked into,
//! changed on the way, sampled, trained ([`Recording`]), and written. Beside them [`mamba`], and [`bert`], which embeds texts.
//!
//! ```no_run
//! use latens::lm::{Hooks, LanguageModel, Sampling, Site};
//! use latens::{Device, assets};
//! let lm = LanguageModel::open(&assets::SMOLLM2.locate(None).unwrap(), &Device::Host)?;
//! let ids = lm.ids("The capital of France is")?;
//! // The residual after layer 15. Nothing above that layer runs.
//! let x = lm.model.activations(&ids, Site::residual(15), &mut Hooks::new())?;
//! // The same sentence continued, with layer 15 turned down.
//! let mut hooks = Hooks::new().at(Site::residual(15), |x| Ok(latens::scale_into(0.9, x.view_mut())?));
//! let sampling = Sampling { tokens: 20, ..Sampling::default() };
//! let more = lm.generate("The capital of France is", &sampling, &mut hooks, |piece| print!("{piece}"))?;
//! # Ok::<(), latens::io::Error>(())
//! ```
mod begun;
pub mod bert;
mod cache;
mod chat;
mod config;
mod decoder;
mod forward;
mod generate;
mod gradient;
mod hook;
mod layout;
mod load;
pub mod mamba;
mod part;
mod random;
mod recording;
#[cfg(feature = "http")]
mod remote;
mod save;
mod span;
mod tokenizer;
mod weights;

use crate::io::{Error, Result, gguf::Gguf};
use crate::{Device, Tensor};
pub use begun::Begun;
pub use cache::Cache;
pub use chat::{Chat, Local, Message, Replay, Role};
pub use config::{Config, Mlp, Norm, Positions};
pub use decoder::Decoder;
#[cfg(feature = "steer")]
pub(crate) use generate::How;
pub use generate::{Continuation, Sampler, Sampling};
pub use hook::{Hooks, Point, Site};
pub use part::{Parameter, Part, Values, ValuesMut};
pub use recording::Recording;
#[cfg(feature = "http")]
pub use remote::Remote;
pub use span::Span;
use std::path::Path;
pub use tokenizer::{Pieces, Tokenizer};

/// A model and the tokenizer it was trained with.
pub struct LanguageModel {
    /// From ids to logits.
    pub model: Decoder,
    /// From text to ids and back.
    pub tokenizer: Tokenizer,
}

impl LanguageModel {
    /// The model in the GGUF file at `path`, or in the folder at `path` with `config.json`, `tokenizer.json` and safetensors.
    ///
    /// # Errors
    /// Files that are missing, unsound, or of another family.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            let tokenizer = Tokenizer::from_json(&path.join("tokenizer.json"))?;
            return Self::of(path, Decoder::open(path, device)?, tokenizer);
        }
        let file = Gguf::open(path)?;
        let (model, tokenizer) = rayon::join(|| Decoder::from_gguf(&file, device), || Tokenizer::from_gguf(&file));
        Self::of(path, model?, tokenizer?)
    }

    fn of(path: &Path, model: Decoder, tokenizer: Tokenizer) -> Result<Self> {
        if tokenizer.len() > model.config().vocabulary {
            let what = format!("{} tokens, but the model has {} of them", tokenizer.len(), model.config().vocabulary);
            return Err(Error::content(path, what));
        }
        Ok(Self { model, tokenizer })
    }

    /// The ids of a text as a batch of one context, where the model is.
    ///
    /// # Errors
    /// Those of the tokenizer and of the device.
    pub fn ids(&self, text: &str) -> Result<Tensor<u32, 2>> {
        self.model.ids(self.tokenizer.encode(text)?, 1)
    }

    /// Continue `prompt`. `tell` hears each piece of text as soon as it is whole.
    ///
    /// # Errors
    /// Those of the model, and of hooks; a prompt without tokens.
    pub fn generate(
        &self,
        prompt: &str,
        sampling: &Sampling,
        hooks: &mut Hooks<'_>,
        mut tell: impl FnMut(&str),
    ) -> Result<Continuation> {
        let prompt = self.tokenizer.encode(prompt)?;
        let (mut text, mut pieces) = (String::new(), self.tokenizer.pieces());
        let mut hear = |piece: String| {
            if !piece.is_empty() {
                tell(&piece);
                text.push_str(&piece);
            }
        };
        let end = self.tokenizer.end();
        let ids = self.model.generate(&prompt, sampling, end, hooks, |id| {
            if Some(id) != end {
                hear(pieces.push(id));
            }
        })?;
        hear(pieces.finish());
        Ok(Continuation { ids, text })
    }

    /// Continue each of `prompts`, all at once: see [`Decoder::generate_each`]. `tell` is called for every token chosen.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_each(
        &self,
        prompts: &[impl AsRef<str>],
        sampling: &Sampling,
        hooks: &mut Hooks<'_>,
        mut tell: impl FnMut(),
    ) -> Result<Vec<Continuation>> {
        let prompts = prompts.iter().map(|text| self.tokenizer.encode(text.as_ref())).collect::<Result<Vec<_>>>()?;
        let end = self.tokenizer.end();
        let all = self.model.generate_each(&prompts, sampling, end, hooks, |_, _| tell())?;
        Ok(all.into_iter().map(|ids| self.continuation(ids)).collect())
    }

    /// What these chosen tokens say.
    pub(crate) fn continuation(&self, ids: Vec<u32>) -> Continuation {
        let ended = self.tokenizer.end().is_some_and(|end| ids.last() == Some(&end));
        Continuation { text: self.tokenizer.decode(&ids[..ids.len() - usize::from(ended)]), ids }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of random weights, larger than training begins with so that every part matters, and a tokenizer whose tokens are the words
    /// `w0`, `w1` and so on.
    pub(crate) fn random(config: Config, seed: u64) -> LanguageModel {
        let tokenizer = Tokenizer::of_words(config.vocabulary);
        let mut model = Decoder::random(config, seed, &Device::Host).unwrap();
        for parameter in model.parameters_mut() {
            if let ValuesMut::Elements(values) = parameter.values {
                crate::scale_into(8.0, values).unwrap();
            }
        }
        LanguageModel { model, tokenizer }
    }
}
