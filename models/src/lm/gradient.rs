//! A Llama on a [`Tape`]: gradients for its weights, for any activation on the way, and for what it reads.
//!
//! ```no_run
//! use latens::lm::{LanguageModel, Recording, Site};
//! use latens::tape::Tape;
//! use latens::{Device, assets};
//! let lm = LanguageModel::open(&assets::SMOLLM2.locate(None).unwrap(), &Device::Host)?;
//! let (ids, mut seen) = (lm.ids("The capital of France is Paris.")?, None);
//! // How the mean surprise of a text hangs on the residual after layer 15.
//! let mut tape = Tape::new(lm.model.device());
//! let mut recording = Recording::new().at(Site::residual(15), |tape, x| {
//!     tape.watch(x);
//!     seen = Some(x);
//!     Ok(x)
//! });
//! let x = lm.model.record_embedding(&mut tape, &ids, &recording)?;
//! let x = lm.model.record_layers(&mut tape, x, 1, &mut recording)?;
//! let losses = lm.model.record_losses(&mut tape, x, &ids, &recording)?;
//! tape.backward()?;
//! drop(recording);
//! let gradient = tape.gradient(seen.unwrap()).unwrap();
//! # let _ = (losses, gradient);
//! # Ok::<(), latens::io::Error>(())
//! ```
use super::llama::Layer;
use super::weights::Weights;
use super::{Config, Llama, Point, Site};
use crate::io::{Error, Result};
use crate::tape::{Heads, Tape, Var, Weight};
use crate::{Act, Float, IGNORED, Mask, Tensor, View};

/// A part of the weights of a Llama.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The table that tokens are read by, and written by if the model has no other.
    Embedding,
    /// The norm after all layers.
    Norm,
    /// The table that tokens are written by.
    Output,
    /// The norm before the attention of a layer.
    AttentionNorm(usize),
    /// What makes queries, keys and values.
    AttentionInput(usize),
    /// What brings back what the heads found.
    AttentionOutput(usize),
    /// The norm before the gated layer.
    MlpNorm(usize),
    /// What makes gate and up.
    MlpInput(usize),
    /// What brings back their product.
    MlpOutput(usize),
}

impl Part {
    /// The number of its gradient on a tape.
    pub fn number(self) -> usize {
        match self {
            Self::Embedding => 0,
            Self::Norm => 1,
            Self::Output => 2,
            Self::AttentionNorm(layer) => 3 + 6 * layer,
            Self::AttentionInput(layer) => 4 + 6 * layer,
            Self::AttentionOutput(layer) => 5 + 6 * layer,
            Self::MlpNorm(layer) => 6 + 6 * layer,
            Self::MlpInput(layer) => 7 + 6 * layer,
            Self::MlpOutput(layer) => 8 + 6 * layer,
        }
    }
}

type Tap<'a, 'm, T> = Box<dyn FnMut(&mut Tape<'m, T>, Var) -> Result<Var> + 'a>;

/// What is wanted of a run on a tape.
pub struct Recording<'a, 'm, T: Float = f32> {
    trained: Box<dyn Fn(Part) -> bool + 'a>,
    again: bool,
    taps: Vec<(Site, Tap<'a, 'm, T>)>,
}

impl<T: Float> Default for Recording<'_, '_, T> {
    fn default() -> Self {
        Self { trained: Box::new(|_| false), again: false, taps: Vec::new() }
    }
}

impl<'a, 'm, T: Float> Recording<'a, 'm, T> {
    /// No gradients but those that a tap asks for, or something read.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gradients for these parts of the weights.
    #[must_use]
    pub fn train(self, trained: impl Fn(Part) -> bool + 'a) -> Self {
        Self { trained: Box::new(trained), ..self }
    }

    /// Keep only the residuals between layers; the way back runs each layer again.
    #[must_use]
    pub fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// Call `tap` with the activation at `site`; the run goes on with what it gives back. What a half of a layer adds is used up
    /// when it has been added: of that, a tap can watch the gradient, but a later look at the value is too late.
    #[must_use]
    pub fn at(mut self, site: Site, tap: impl FnMut(&mut Tape<'m, T>, Var) -> Result<Var> + 'a) -> Self {
        self.taps.push((site, Box::new(tap)));
        self
    }

    fn weight<const R: usize, E: crate::Element>(&self, part: Part, of: View<'m, E, R>) -> Weight<'m, E, R> {
        if (self.trained)(part) { Weight::trained(of, part.number()) } else { Weight::frozen(of) }
    }

    fn tap(&mut self, site: Site, tape: &mut Tape<'m, T>, mut x: Var) -> Result<Var> {
        for (_, tap) in self.taps.iter_mut().filter(|(at, _)| *at == site) {
            x = tap(tape, x)?;
        }
        Ok(x)
    }
}

impl Llama {
    /// Embed `ids` `[batch, t]` on a tape, as `[batch * t, dim]`.
    ///
    /// # Errors
    /// A token that there is not.
    pub fn record_embedding<'m>(
        &'m self,
        tape: &mut Tape<'m, f32>,
        ids: &Tensor<u32, 2>,
        recording: &Recording<'_, 'm>,
    ) -> Result<Var> {
        let count = ids.dims().iter().product();
        let ids = Tensor::from_vec(ids.to_vec()?, [count], &self.device)?;
        tape.embed(ids, recording.weight(Part::Embedding, self.weights.embedding.view()))
    }

    /// All layers on a tape, from what `batch` contexts read, `[batch * t, dim]`, to the residual after the last.
    ///
    /// # Errors
    /// Contexts that are too long, a tap at a layer that is not there or, with [`Recording::again`], inside one.
    pub fn record_layers<'m>(
        &'m self,
        tape: &mut Tape<'m, f32>,
        x: Var,
        batch: usize,
        recording: &mut Recording<'_, 'm>,
    ) -> Result<Var> {
        layers(&self.config, &self.weights, tape, x, batch, recording)
    }

    /// How surprising each next token is, `[batch, t]`, 0 for the last of each context, from the residual after all layers; the
    /// tape goes back from their mean over the others.
    ///
    /// # Errors
    /// If `x` is not of as many tokens.
    pub fn record_losses<'m>(
        &'m self,
        tape: &mut Tape<'m, f32>,
        x: Var,
        ids: &Tensor<u32, 2>,
        recording: &Recording<'_, 'm>,
    ) -> Result<Tensor<f32, 2>> {
        Ok(losses(&self.config, &self.weights, tape, x, ids, recording)?.reshape(ids.dims())?)
    }
}

fn layers<'m, T: Float>(
    config: &Config,
    weights: &'m Weights<T>,
    tape: &mut Tape<'m, T>,
    mut x: Var,
    batch: usize,
    recording: &mut Recording<'_, 'm, T>,
) -> Result<Var> {
    let rows = tape.dims(x)[0];
    if batch == 0 || !rows.is_multiple_of(batch) {
        return Err(Error::setting("batch", format!("{rows} rows do not divide into {batch} contexts")));
    }
    if rows / batch > config.context {
        return Err(Error::setting(
            "context",
            format!("{} tokens, but the model takes {}", rows / batch, config.context),
        ));
    }
    for (site, _) in &recording.taps {
        site.check(config.layers)?;
        if recording.again && site.point != Point::Residual {
            return Err(Error::setting("again", "taps inside a layer that runs again would be called twice"));
        }
    }
    for (at, layer) in weights.layers.iter().enumerate() {
        let of = Of { layer, at, batch, config: config.clone(), trained: trained(recording, at) };
        x = if recording.again {
            tape.again(x, move |tape, x| of.record(tape, x, |_, _, x| Ok(x)))?
        } else {
            of.record(tape, x, |site, tape, x| recording.tap(site, tape, x))?
        };
        x = recording.tap(Site::residual(at), tape, x)?;
    }
    Ok(x)
}

/// Which parts of a layer are trained, in their order.
fn trained<T: Float>(recording: &Recording<'_, '_, T>, at: usize) -> [bool; 6] {
    let parts: [fn(usize) -> Part; 6] = [
        Part::AttentionNorm,
        Part::AttentionInput,
        Part::AttentionOutput,
        Part::MlpNorm,
        Part::MlpInput,
        Part::MlpOutput,
    ];
    parts.map(|part| (recording.trained)(part(at)))
}

/// A layer, and what its way back needs to know.
struct Of<'m, T: Float> {
    layer: &'m Layer<T>,
    at: usize,
    batch: usize,
    config: Config,
    trained: [bool; 6],
}

impl<'m, T: Float> Of<'m, T> {
    fn weight<const R: usize, E: crate::Element>(&self, part: usize, of: View<'m, E, R>) -> Weight<'m, E, R> {
        if self.trained[part] {
            Weight::trained(of, Part::AttentionNorm(self.at).number() + part)
        } else {
            Weight::frozen(of)
        }
    }

    fn record(
        &self,
        tape: &mut Tape<'m, T>,
        x: Var,
        mut tap: impl FnMut(Site, &mut Tape<'m, T>, Var) -> Result<Var>,
    ) -> Result<Var> {
        let (layer, eps) = (self.layer, self.config.epsilon);
        let Config { heads, kv_heads, head_dim, rope_base, pairing, .. } = self.config;
        let turn = Some((rope_base, pairing));
        let heads = Heads { batch: self.batch, heads, kv_heads, dim: head_dim, mask: Mask::Causal, turn };
        let y = tape.rms_norm(x, self.weight(0, layer.attention_norm.view()), eps)?;
        let y = tape.linear(y, self.weight(1, layer.attention_input.view()), None)?;
        let y = tape.attention(y, heads)?;
        let y = tape.linear(y, self.weight(2, layer.attention_output.view()), None)?;
        let y = tap(Site::attention(self.at), tape, y)?;
        let x = tape.add(x, y)?;
        let y = tape.rms_norm(x, self.weight(3, layer.mlp_norm.view()), eps)?;
        let y = tape.linear(y, self.weight(4, layer.mlp_input.view()), None)?;
        let y = tape.gated(y, Act::Silu)?;
        let y = tape.linear(y, self.weight(5, layer.mlp_output.view()), None)?;
        let y = tap(Site::mlp(self.at), tape, y)?;
        tape.add(x, y)
    }
}

fn losses<'m, T: Float>(
    config: &Config,
    weights: &'m Weights<T>,
    tape: &mut Tape<'m, T>,
    x: Var,
    ids: &Tensor<u32, 2>,
    recording: &Recording<'_, 'm, T>,
) -> Result<Tensor<T::Acc, 1>> {
    /// Logits in memory at once: 32 MB of f32.
    const LOGITS: usize = 1 << 23;
    let ([batch, t], device) = (ids.dims(), ids.device());
    if tape.dims(x)[0] != batch * t {
        let what = format!("{batch} contexts of {t} tokens, but there are {} rows", tape.dims(x)[0]);
        return Err(Error::setting("ids", what));
    }
    let mut next = ids.to_vec()?;
    for context in next.chunks_mut(t.max(1)) {
        context.rotate_left(1);
        context[t - 1] = IGNORED;
    }
    let share = 1.0 / (batch * t.saturating_sub(1)).max(1) as f64;
    let shares = Tensor::from_vec(vec![T::Acc::narrow(share); batch * t], [batch * t], &device)?;
    let next = Tensor::from_vec(next, [batch * t], &device)?;
    let x = tape.rms_norm(x, recording.weight(Part::Norm, weights.norm.view()), config.epsilon)?;
    let table = match &weights.output {
        Some(output) => recording.weight(Part::Output, output.view()),
        None => recording.weight(Part::Embedding, weights.embedding.view()),
    };
    tape.surprise(x, table, &next, &shares, 0.0, LOGITS / config.vocabulary.max(1))
}

#[cfg(test)]
mod tests;
