//! A Mamba on a [`Tape`].
use super::weights::Layer;
use super::{Config, Mamba, Part};
use crate::io::Result;
use crate::lm::decoder::next;
use crate::lm::gradient::surprise;
use crate::lm::{Point, Site};
use crate::tape::{Convolution, Selective, Tape, Var, Weight};
use crate::{Float, Tensor, View};

/// What is wanted of a run of a [`Mamba`] on a tape.
pub type Recording<'a, 'm, T = f32> = crate::lm::Recording<'a, 'm, T, Part>;

impl<T: Float> Mamba<T> {
    /// Embed `ids` `[batch, t]` on a tape, as `[batch * t, dim]`.
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
        let part = Part::Embedding;
        tape.embed(ids, named((recording.trained)(part), part, self.weights.embedding.view()))
    }

    /// All layers on a tape, from what `batch` contexts read, `[batch * t, dim]`, to the residual after the last.
    ///
    /// # Errors
    /// Rows that do not divide into contexts, a tap at a layer that is not there or, with `again`, inside one.
    pub fn record_layers<'m>(
        &'m self,
        tape: &mut Tape<'m, T>,
        mut x: Var,
        batch: usize,
        recording: &mut Recording<'_, 'm, T>,
    ) -> Result<Var> {
        recording.check(self.config.layers, Point::MIXER, tape.dims(x)[0], batch)?;
        for (at, layer) in self.weights.layers.iter().enumerate() {
            let trained = Part::of_layer(at).map(|part| (recording.trained)(part));
            let of = Of { layer, at, batch, config: &self.config, trained };
            x = if recording.again {
                tape.again(x, move |tape, x| of.record(tape, x, |_, _, x| Ok(x)))?
            } else {
                of.record(tape, x, |site, tape, x| recording.tap(site, tape, x))?
            };
            x = recording.tap(Site::residual(at), tape, x)?;
        }
        Ok(x)
    }

    /// How surprising each next token is: as [`Decoder::record_losses`](crate::lm::Decoder::record_losses).
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

    /// How surprising a target is after each row: as [`Decoder::record_targets`](crate::lm::Decoder::record_targets).
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
        let weights = &self.weights;
        let norm = named((recording.trained)(Part::Norm), Part::Norm, weights.norm.view());
        let x = tape.rms_norm(x, norm, self.config.epsilon)?;
        let (part, table) = match &weights.output {
            Some(output) => (Part::Output, output),
            None => (Part::Embedding, &weights.embedding),
        };
        surprise(tape, x, named((recording.trained)(part), part, table.view()), targets)
    }
}

fn named<'m, const R: usize, E: crate::Element>(trained: bool, part: Part, of: View<'m, E, R>) -> Weight<'m, E, R> {
    if trained { Weight::trained(of, part.number()) } else { Weight::frozen(of) }
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
    fn weight<const R: usize, E: crate::Element>(&self, part: Part, of: View<'m, E, R>) -> Weight<'m, E, R> {
        let first = Part::MixerNorm(self.at).number();
        named(self.trained[part.number() - first], part, of)
    }

    fn bias<E: crate::Element>(&self, part: Part, of: Option<&'m Tensor<E, 1>>) -> Option<Weight<'m, E, 1>> {
        of.map(|of| self.weight(part, of.view()))
    }

    fn record(
        &self,
        tape: &mut Tape<'m, T>,
        x: Var,
        mut tap: impl FnMut(Site, &mut Tape<'m, T>, Var) -> Result<Var>,
    ) -> Result<Var> {
        let (layer, &Config { inner, states, rank, .. }) = (self.layer, self.config);
        let [norm, input, input_bias, taps, taps_bias, select, step, step_bias, log, skip, output, output_bias] =
            Part::of_layer(self.at);
        let y = tape.rms_norm(x, self.weight(norm, layer.norm.view()), self.config.epsilon)?;
        let bias = self.bias(input_bias, layer.input.bias.as_ref());
        let wide = tape.linear(y, self.weight(input, layer.input.weight.view()), bias)?;
        let (u, gate) = (tape.columns(wide, 0, inner)?, tape.columns(wide, inner, 2 * inner)?);
        let convolution = Convolution {
            batch: self.batch,
            weight: self.weight(taps, layer.taps.view()),
            bias: self.bias(taps_bias, layer.taps_bias.as_ref()),
            silu: true,
            orders: None,
        };
        let u = tape.conv1d(u, convolution)?;
        let chosen = tape.linear(u, self.weight(select, layer.select.view()), None)?;
        let delta = tape.columns(chosen, 0, rank)?;
        let delta = tape.linear(delta, self.weight(step, layer.step.view()), None)?;
        let selective = Selective {
            batch: self.batch,
            u,
            delta,
            b: tape.columns(chosen, rank, rank + states)?,
            c: tape.columns(chosen, rank + states, rank + 2 * states)?,
            gate: Some(gate),
            log: self.weight(log, layer.decay.view()),
            skip: Some(self.weight(skip, layer.skip.view())),
            bias: Some(self.weight(step_bias, layer.step_bias.view())),
            orders: None,
        };
        let y = tape.scan(selective)?;
        let bias = self.bias(output_bias, layer.output.bias.as_ref());
        let y = tape.linear(y, self.weight(output, layer.output.weight.view()), bias)?;
        let y = tap(Site::mixer(self.at), tape, y)?;
        tape.add(x, y)
    }
}

#[cfg(test)]
mod tests;
