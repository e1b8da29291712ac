//! The weights of a Mamba: made part by part, found by part, read and begun with.
use super::{Config, Part};
use crate::io::{Error, Result};
use crate::lm::load::File;
use crate::lm::random;
use crate::lm::weights::{Fill, Linear, in_order};
use crate::lm::{Values, ValuesMut};
use crate::{Device, Float, Tensor};
use std::collections::BTreeSet;

/// The weights of a layer.
pub(super) struct Layer<T: Float> {
    pub norm: Tensor<T::Acc, 1>,
    /// Channels, gates.
    pub input: Linear<T>,
    /// `[inner, taps]`.
    pub taps: Tensor<T::Acc, 2>,
    pub taps_bias: Option<Tensor<T::Acc, 1>>,
    /// Steps, into states, out of states.
    pub select: Tensor<T, 2>,
    pub step: Tensor<T, 2>,
    pub step_bias: Tensor<T::Acc, 1>,
    /// `[inner, states]`.
    pub decay: Tensor<T::Acc, 2>,
    pub skip: Tensor<T::Acc, 1>,
    pub output: Linear<T>,
}

/// All weights of a model.
pub(super) struct Weights<T: Float> {
    pub embedding: Tensor<T, 2>,
    pub norm: Tensor<T::Acc, 1>,
    pub output: Option<Tensor<T, 2>>,
    pub layers: Vec<Layer<T>>,
}

/// Makes the tensors of parts.
struct Make<'a, F> {
    config: &'a Config,
    device: &'a Device,
    fill: &'a F,
}

impl<F: Fill<Part>> Make<'_, F> {
    fn matrix<E: Float>(&self, part: Part) -> Result<Tensor<E, 2>> {
        Ok(Tensor::from_vec(self.fill.fill(part)?, self.config.dims(part), self.device)?)
    }

    fn vector<A: Float>(&self, part: Part) -> Result<Tensor<A, 1>> {
        let [_, n] = self.config.dims(part);
        Ok(Tensor::from_vec(self.fill.fill(part)?, [n], self.device)?)
    }

    fn optional<A: Float>(&self, part: Part) -> Result<Option<Tensor<A, 1>>> {
        self.config.has(part).then(|| self.vector(part)).transpose()
    }

    fn linear<T: Float>(&self, weight: Part, bias: Part) -> Result<Linear<T>> {
        Ok(Linear { weight: self.matrix(weight)?, bias: self.optional(bias)? })
    }

    fn layer<T: Float>(&self, at: usize) -> Result<Layer<T>> {
        Ok(Layer {
            norm: self.vector(Part::MixerNorm(at))?,
            input: self.linear(Part::MixerInput(at), Part::MixerInputBias(at))?,
            taps: self.matrix(Part::Taps(at))?,
            taps_bias: self.optional(Part::TapsBias(at))?,
            select: self.matrix(Part::Select(at))?,
            step: self.matrix(Part::Step(at))?,
            step_bias: self.vector(Part::StepBias(at))?,
            decay: self.matrix(Part::Decay(at))?,
            skip: self.vector(Part::Skip(at))?,
            output: self.linear(Part::MixerOutput(at), Part::MixerOutputBias(at))?,
        })
    }
}

impl<T: Float> Weights<T> {
    /// All of them, several at a time.
    pub(super) fn build(config: &Config, device: &Device, fill: &impl Fill<Part>) -> Result<Self> {
        let make = Make { config, device, fill };
        let (embedding, layers) =
            rayon::join(|| make.matrix(Part::Embedding), || in_order(config.layers, |at| make.layer(at)));
        let output = config.has(Part::Output).then(|| make.matrix(Part::Output)).transpose()?;
        Ok(Self { embedding: embedding?, norm: make.vector(Part::Norm)?, output, layers: layers? })
    }

    /// A part, if the model has it.
    pub(super) fn get(&self, part: Part) -> Option<Values<'_, T>> {
        let layer = part.layer().map_or(self.layers.first(), |at| self.layers.get(at))?;
        let vector = match part {
            Part::Embedding => return Some(Values::Elements(self.embedding.view())),
            Part::Output => return Some(Values::Elements(self.output.as_ref()?.view())),
            Part::MixerInput(_) => return Some(Values::Elements(layer.input.weight.view())),
            Part::Select(_) => return Some(Values::Elements(layer.select.view())),
            Part::Step(_) => return Some(Values::Elements(layer.step.view())),
            Part::MixerOutput(_) => return Some(Values::Elements(layer.output.weight.view())),
            Part::Taps(_) => return Some(Values::Sums(layer.taps.view())),
            Part::Decay(_) => return Some(Values::Sums(layer.decay.view())),
            Part::Norm => &self.norm,
            Part::MixerNorm(_) => &layer.norm,
            Part::MixerInputBias(_) => layer.input.bias.as_ref()?,
            Part::TapsBias(_) => layer.taps_bias.as_ref()?,
            Part::StepBias(_) => &layer.step_bias,
            Part::Skip(_) => &layer.skip,
            Part::MixerOutputBias(_) => layer.output.bias.as_ref()?,
        };
        vector.view().reshape([1, vector.dims()[0]]).ok().map(Values::Sums)
    }

    /// All parts for writing, in the order of their numbers.
    pub(super) fn all_mut(&mut self) -> Vec<(Part, ValuesMut<'_, T>)> {
        let mut all = vec![(Part::Embedding, elements(&mut self.embedding))];
        all.extend(vector(Some(&mut self.norm)).map(|of| (Part::Norm, of)));
        all.extend(self.output.as_mut().map(|of| (Part::Output, elements(of))));
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let of: [Option<ValuesMut<'_, T>>; 12] = [
                vector(Some(&mut layer.norm)),
                Some(elements(&mut layer.input.weight)),
                vector(layer.input.bias.as_mut()),
                Some(ValuesMut::Sums(layer.taps.view_mut())),
                vector(layer.taps_bias.as_mut()),
                Some(elements(&mut layer.select)),
                Some(elements(&mut layer.step)),
                vector(Some(&mut layer.step_bias)),
                Some(ValuesMut::Sums(layer.decay.view_mut())),
                vector(Some(&mut layer.skip)),
                Some(elements(&mut layer.output.weight)),
                vector(layer.output.bias.as_mut()),
            ];
            all.extend(Part::of_layer(at).into_iter().zip(of).filter_map(|(part, of)| Some((part, of?))));
        }
        all
    }
}

fn elements<T: Float>(of: &mut Tensor<T, 2>) -> ValuesMut<'_, T> {
    ValuesMut::Elements(of.view_mut())
}

fn vector<T: Float>(of: Option<&mut Tensor<T::Acc, 1>>) -> Option<ValuesMut<'_, T>> {
    let of = of?;
    let [n] = of.dims();
    of.view_mut().reshape([1, n]).ok().map(ValuesMut::Sums)
}

/// A file of weights.
struct Source<'a> {
    file: File<'a>,
    config: &'a Config,
    /// Whether the first table has the name of the first checkpoints.
    first: bool,
}

impl Fill<Part> for Source<'_> {
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        let name = if self.first && part == Part::Embedding { FIRST.into() } else { part.name() };
        self.file.read(&name, &part.file_dims(self.config.dims(part)))
    }
}

/// What the first checkpoints call the table.
const FIRST: &str = "backbone.embedding.weight";

/// Read all weights. What the file has beyond them is an error.
pub(super) fn load<T: Float>(file: File<'_>, config: &Config, device: &Device) -> Result<Weights<T>> {
    let (names, wrong) = (file.names(), |what: String| Error::content(file.path(), what));
    // Refuse a count of layers that the file cannot hold before counting to it: nine are always there.
    if config.layers > names.len() / 9 {
        return Err(wrong(format!("{} layers cannot be in its {} tensors", config.layers, names.len())));
    }
    let known: BTreeSet<String> = config.parts().into_iter().chain([Part::Output]).map(Part::name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(**name) && **name != FIRST) {
        return Err(wrong(format!("tensor {name} has no place in this model")));
    }
    let source = Source { file, config, first: names.contains(FIRST) };
    if config.tied && names.contains(Part::Output.name().as_str()) {
        // Files may have the one table twice, but not two.
        let [one, other] = [Part::Embedding, Part::Output].map(|part| source.fill::<T>(part));
        if one?.iter().zip(&other?).any(|(one, other)| one.wide().to_bits() != other.wide().to_bits()) {
            return Err(wrong("its tables for reading and for writing differ, but the configuration ties them".into()));
        }
    }
    Weights::build(config, device, &source)
}

/// The weights of another model, rounded once.
pub(super) struct Copied<'a, T: Float>(pub &'a Weights<T>);

impl<T: Float> Fill<Part> for Copied<'_, T> {
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        match self.0.get(part) {
            Some(values) => values.to_vec_as(),
            None => Err(Error::setting("part", format!("{part:?} is not in this model"))),
        }
    }
}

/// The parts of a model of random weights, as its authors began.
pub(super) struct Random<'a> {
    pub config: &'a Config,
    pub seed: u64,
}

impl Fill<Part> for Random<'_> {
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        let (seed, number, dims) = (self.seed, part.number(), self.config.dims(part));
        let ([_, columns], count) = (dims, dims[0] * dims[1]);
        let even = |bound: f64| random::even(seed, number, bound, count);
        match part {
            Part::Embedding | Part::Output => random::normal(seed, number, 0.02, count),
            Part::MixerInput(_) | Part::Select(_) | Part::Taps(_) | Part::Step(_) => {
                even(1.0 / (columns as f64).sqrt())
            }
            Part::TapsBias(_) => even(1.0 / (self.config.taps as f64).sqrt()),
            Part::MixerOutput(_) => even(1.0 / ((columns * self.config.layers) as f64).sqrt()),
            Part::MixerInputBias(_) | Part::MixerOutputBias(_) => random::constant(0.0, count),
            Part::Norm | Part::MixerNorm(_) | Part::Skip(_) => random::constant(1.0, count),
            // `a` is -1, -2, -3 and so on.
            Part::Decay(_) => {
                let mut all = random::room(count)?;
                all.extend((0..count).map(|at| E::narrow(((at % columns + 1) as f64).ln())));
                Ok(all)
            }
            // Steps from a thousandth to a tenth, evenly by their logarithms: of these, the inverse of softplus.
            Part::StepBias(_) => {
                let mut draw = random::stretch(seed, number);
                let mut all = random::room(count)?;
                all.extend((0..count).map(|_| {
                    let step = 0.001 * 100.0_f64.powf(draw.uniform().into());
                    E::narrow(step + (-(-step).exp_m1()).ln())
                }));
                Ok(all)
            }
        }
    }
}
