//! A decoder on a [`Tape`].
use super::decoder::next;
use super::weights::{Layer, Linear, Norm as Weighted, Weights};
use super::{Config, Decoder, Mlp, Norm, Part, Point, Recording, Site};
use crate::io::{Error, Result};
use crate::tape::{Heads, Tape, Var, Weight};
use crate::{Float, IGNORED, Mask, Tensor, View};

impl<'m, T: Float> Recording<'_, 'm, T> {
    fn weight<const R: usize, E: crate::Element>(&self, part: Part, of: View<'m, E, R>) -> Weight<'m, E, R> {
        named((self.trained)(part), part, of)
    }
}

impl<T: Float> Decoder<T> {
    /// Embed `ids` `[batch, t]` on a tape, as `[batch * t, dim]`. They learn their places in [`Decoder::record_layers`].
    ///
    /// # Errors
    /// A token that there is not.
    pub fn record_embedding<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        ids: &Tensor<u32, 2>,
        recording: &Recording<'_, 'm, T>,
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
        tape: &mut Tape<'m, T>,
        x: Var,
        batch: usize,
        recording: &mut Recording<'_, 'm, T>,
    ) -> Result<Var> {
        layers(&self.config, &self.weights, tape, x, batch, 0, recording)
    }

    /// The layers after `layer` on a tape, from the residual after it, `[batch * t, dim]`, to that after the last: for whoever puts
    /// something in the place of activations.
    ///
    /// # Errors
    /// As [`record_layers`](Self::record_layers), and a layer that is not there.
    pub fn record_layers_after<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        x: Var,
        batch: usize,
        layer: usize,
        recording: &mut Recording<'_, 'm, T>,
    ) -> Result<Var> {
        Site::residual(layer).check(self.config.layers, Point::HALVES)?;
        layers(&self.config, &self.weights, tape, x, batch, layer + 1, recording)
    }

    /// Logits on a tape, `[batch * t, vocabulary]`, from the residual after all layers. [`record_losses`](Self::record_losses) needs far less
    /// memory.
    ///
    /// # Errors
    /// If `x` is not as wide as the model.
    pub fn record_logits<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        x: Var,
        recording: &Recording<'_, 'm, T>,
    ) -> Result<Var> {
        let x = norm(&self.config, &self.weights.norm, tape, x, |part| (recording.trained)(part), FINAL)?;
        let table = match &self.weights.output {
            Some(output) => recording.weight(Part::Output, output.view()),
            None => recording.weight(Part::Embedding, self.weights.embedding.view()),
        };
        tape.linear(x, table, None)
    }

    /// How surprising each next token is, `[batch, t]`, 0 for the last of each context, from the residual after all layers; the
    /// tape goes back from their mean over the others.
    ///
    /// # Errors
    /// If `x` is not of as many tokens.
    pub fn record_losses<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        x: Var,
        ids: &Tensor<u32, 2>,
        recording: &Recording<'_, 'm, T>,
    ) -> Result<Tensor<T::Acc, 2>> {
        let next = Tensor::from_vec(next(ids)?, ids.dims(), &self.device)?;
        self.record_targets(tape, x, &next, recording)
    }

    /// How surprising a target is after each row of the residual after all layers: `targets` `[batch, t]` may be anything, and
    /// where it is [`IGNORED`] the loss is 0. The tape goes back from the mean of the others. For texts of which only a part
    /// counts, and for rows that are no tokens: [`Tape::join`] puts embeddings in front of a text.
    ///
    /// # Errors
    /// If `x` is not of as many rows.
    pub fn record_targets<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        x: Var,
        targets: &Tensor<u32, 2>,
        recording: &Recording<'_, 'm, T>,
    ) -> Result<Tensor<T::Acc, 2>> {
        let x = norm(&self.config, &self.weights.norm, tape, x, |part| (recording.trained)(part), FINAL)?;
        let table = match &self.weights.output {
            Some(output) => recording.weight(Part::Output, output.view()),
            None => recording.weight(Part::Embedding, self.weights.embedding.view()),
        };
        surprise(tape, x, table, targets)
    }
}

/// The parts of a norm or of a product, and of its bias.
type Pair = [Part; 2];

const FINAL: Pair = [Part::Norm, Part::NormBias];

fn layers<'m, T: Float>(
    config: &'m Config,
    weights: &'m Weights<T>,
    tape: &mut Tape<'m, T>,
    mut x: Var,
    batch: usize,
    first: usize,
    recording: &mut Recording<'_, 'm, T>,
) -> Result<Var> {
    let rows = tape.dims(x)[0];
    let t = recording.check(config.layers, Point::HALVES, rows, batch)?;
    config.fits(t)?;
    if let (Some(table), 0) = (&weights.positions, first) {
        let places = (0..rows).map(|row| (row % t.max(1)) as u32).collect();
        let places = Tensor::from_vec(places, [rows], &table.device())?;
        let places = tape.embed(places, recording.weight(Part::Positions, table.view()))?;
        x = tape.add(x, places)?;
    }
    for (at, layer) in weights.layers.iter().enumerate().skip(first) {
        let trained = Part::of_layer(at).map(|part| (recording.trained)(part));
        let of = Of { layer, at, batch, config, trained };
        x = if recording.again {
            tape.again(x, move |tape, x| of.record(tape, x, |_, _, x| Ok(x)))?
        } else {
            of.record(tape, x, |site, tape, x| recording.tap(site, tape, x))?
        };
        x = recording.tap(Site::residual(at), tape, x)?;
    }
    Ok(x)
}

/// A layer, and what its way back needs to know.
struct Of<'m, T: Float> {
    layer: &'m Layer<T>,
    at: usize,
    batch: usize,
    config: &'m Config,
    /// Which parts of it are trained, in their order.
    trained: [bool; 12],
}

impl<'m, T: Float> Of<'m, T> {
    fn trains(&self, part: Part) -> bool {
        let first = Part::AttentionNorm(self.at).number();
        self.trained[part.number() - first]
    }

    fn norm(&self, tape: &mut Tape<'m, T>, x: Var, of: &'m Weighted<T::Acc>, parts: Pair) -> Result<Var> {
        norm(self.config, of, tape, x, |part| self.trains(part), parts)
    }

    fn linear(&self, tape: &mut Tape<'m, T>, x: Var, of: &'m Linear<T>, [weight, bias]: Pair) -> Result<Var> {
        let w = named(self.trains(weight), weight, of.weight.view());
        tape.linear(x, w, of.bias.as_ref().map(|of| named(self.trains(bias), bias, of.view())))
    }

    fn record(
        &self,
        tape: &mut Tape<'m, T>,
        x: Var,
        mut tap: impl FnMut(Site, &mut Tape<'m, T>, Var) -> Result<Var>,
    ) -> Result<Var> {
        let Config { heads, kv_heads, head_dim, parallel, mlp, .. } = *self.config;
        let layer = self.layer;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = Part::of_layer(self.at);
        let turn = self.config.rotary();
        let heads = Heads { batch: self.batch, heads, kv_heads, dim: head_dim, mask: Mask::Causal, turn };
        let y = self.norm(tape, x, &layer.attention_norm, [a, b])?;
        let y = self.linear(tape, y, &layer.attention_input, [c, d])?;
        let y = tape.attention(y, heads)?;
        let y = self.linear(tape, y, &layer.attention_output, [e, f])?;
        let y = tap(Site::attention(self.at), tape, y)?;
        let both = tape.add(x, y)?;
        let y = self.norm(tape, if parallel { x } else { both }, &layer.mlp_norm, [g, h])?;
        let y = self.linear(tape, y, &layer.mlp_input, [i, j])?;
        let y = match mlp {
            Mlp::Gated(act) => tape.gated(y, act)?,
            Mlp::Plain(act) => tape.act(y, act)?,
        };
        let y = self.linear(tape, y, &layer.mlp_output, [k, l])?;
        let y = tap(Site::mlp(self.at), tape, y)?;
        tape.add(both, y)
    }
}

fn named<'m, const R: usize, E: crate::Element>(trained: bool, part: Part, of: View<'m, E, R>) -> Weight<'m, E, R> {
    if trained { Weight::trained(of, part.number()) } else { Weight::frozen(of) }
}

fn norm<'m, T: Float>(
    config: &Config,
    of: &'m Weighted<T::Acc>,
    tape: &mut Tape<'m, T>,
    x: Var,
    trained: impl Fn(Part) -> bool,
    [weight, bias]: Pair,
) -> Result<Var> {
    let w = named(trained(weight), weight, of.weight.view());
    match config.norm {
        Norm::Rms => tape.rms_norm(x, w, config.epsilon),
        Norm::Layer => {
            let bias = of.bias.as_ref().map(|of| named(trained(bias), bias, of.view()));
            tape.layer_norm(x, w, bias, config.epsilon)
        }
    }
}

/// The losses of targets, and the mean of those that count as where the tape goes back from.
pub(super) fn surprise<'m, T: Float>(
    tape: &mut Tape<'m, T>,
    x: Var,
    table: Weight<'m, T, 2>,
    targets: &Tensor<u32, 2>,
) -> Result<Tensor<T::Acc, 2>> {
    /// Logits in memory at once: 64 MB of f32. Each part of them packs the table twice anew.
    const LOGITS: usize = 1 << 24;
    let ([batch, t], device) = (targets.dims(), targets.device());
    let (rows, all) = (batch * t, targets.to_vec()?);
    if tape.dims(x)[0] != rows {
        let what = format!("{batch} contexts of {t} tokens, but there are {} rows", tape.dims(x)[0]);
        return Err(Error::setting("ids", what));
    }
    let count = all.iter().filter(|&&target| target != IGNORED).count();
    let shares = Tensor::from_vec(vec![T::Acc::narrow(1.0 / count.max(1) as f64); rows], [rows], &device)?;
    let targets = Tensor::from_vec(all, [rows], &device)?;
    let losses = tape.surprise(x, table, &targets, &shares, 0.0, LOGITS / table.dims()[0].max(1))?;
    Ok(losses.reshape([batch, t])?)
}

#[cfg(test)]
mod tests;
