//! The weights of a decoder: made part by part, and found by part.
use super::{Config, Part, Values, ValuesMut};
use crate::io::Result;
use crate::{Device, Float, Tensor};
use rayon::prelude::*;

/// `make` of each of `count` layers, several at a time. The error is that of the first that fails, whichever thread failed first.
pub(super) fn in_order<R: Send>(count: usize, make: impl Fn(usize) -> Result<R> + Sync) -> Result<Vec<R>> {
    let all: Result<Vec<R>> = (0..count).into_par_iter().map(&make).collect();
    all.map_err(|some| (0..count).find_map(|at| make(at).err()).unwrap_or(some))
}

/// What a norm multiplies by, and its bias.
pub(super) struct Norm<A: Float> {
    pub weight: Tensor<A, 1>,
    pub bias: Option<Tensor<A, 1>>,
}

/// What a product multiplies by, and its bias.
pub(super) struct Linear<T: Float> {
    pub weight: Tensor<T, 2>,
    pub bias: Option<Tensor<T::Acc, 1>>,
}

/// The weights of a layer. Those that read the same are one above another.
pub(super) struct Layer<T: Float> {
    pub attention_norm: Norm<T::Acc>,
    /// Queries, keys, values.
    pub attention_input: Linear<T>,
    pub attention_output: Linear<T>,
    pub mlp_norm: Norm<T::Acc>,
    /// Gate and up, or up.
    pub mlp_input: Linear<T>,
    pub mlp_output: Linear<T>,
}

/// All weights of a model.
pub(super) struct Weights<T: Float> {
    pub embedding: Tensor<T, 2>,
    pub positions: Option<Tensor<T, 2>>,
    pub norm: Norm<T::Acc>,
    pub output: Option<Tensor<T, 2>>,
    pub layers: Vec<Layer<T>>,
}

/// Where the numbers of weights come from.
pub(super) trait Fill<P = Part>: Sync {
    /// Numbers of a part, row by row.
    fn fill<E: Float>(&self, part: P) -> Result<Vec<E>>;
}

/// Makes the tensors of parts.
struct Make<'a, F> {
    config: &'a Config,
    device: &'a Device,
    fill: &'a F,
}

impl<F: Fill> Make<'_, F> {
    fn matrix<T: Float>(&self, part: Part) -> Result<Tensor<T, 2>> {
        Ok(Tensor::from_vec(self.fill.fill(part)?, self.config.dims(part), self.device)?)
    }

    fn vector<A: Float>(&self, part: Part) -> Result<Tensor<A, 1>> {
        let [_, n] = self.config.dims(part);
        Ok(Tensor::from_vec(self.fill.fill(part)?, [n], self.device)?)
    }

    fn optional<A: Float>(&self, part: Part) -> Result<Option<Tensor<A, 1>>> {
        self.config.has(part).then(|| self.vector(part)).transpose()
    }

    fn norm<A: Float>(&self, weight: Part, bias: Part) -> Result<Norm<A>> {
        Ok(Norm { weight: self.vector(weight)?, bias: self.optional(bias)? })
    }

    fn linear<T: Float>(&self, weight: Part, bias: Part) -> Result<Linear<T>> {
        Ok(Linear { weight: self.matrix(weight)?, bias: self.optional(bias)? })
    }

    fn layer<T: Float>(&self, at: usize) -> Result<Layer<T>> {
        Ok(Layer {
            attention_norm: self.norm(Part::AttentionNorm(at), Part::AttentionNormBias(at))?,
            attention_input: self.linear(Part::AttentionInput(at), Part::AttentionInputBias(at))?,
            attention_output: self.linear(Part::AttentionOutput(at), Part::AttentionOutputBias(at))?,
            mlp_norm: self.norm(Part::MlpNorm(at), Part::MlpNormBias(at))?,
            mlp_input: self.linear(Part::MlpInput(at), Part::MlpInputBias(at))?,
            mlp_output: self.linear(Part::MlpOutput(at), Part::MlpOutputBias(at))?,
        })
    }
}

impl<T: Float> Weights<T> {
    /// All of them, several at a time.
    pub(super) fn build(config: &Config, device: &Device, fill: &impl Fill) -> Result<Self> {
        let make = Make { config, device, fill };
        let (embedding, layers) =
            rayon::join(|| make.matrix(Part::Embedding), || in_order(config.layers, |at| make.layer(at)));
        let table = |part| config.has(part).then(|| make.matrix(part)).transpose();
        Ok(Self {
            embedding: embedding?,
            positions: table(Part::Positions)?,
            norm: make.norm(Part::Norm, Part::NormBias)?,
            output: table(Part::Output)?,
            layers: layers?,
        })
    }

    /// A part, if the model has it.
    pub(super) fn get(&self, part: Part) -> Option<Values<'_, T>> {
        let layer = part.layer().map_or(self.layers.first(), |at| self.layers.get(at));
        let (matrix, vector) = match part {
            Part::Embedding => (Some(&self.embedding), None),
            Part::Positions => (self.positions.as_ref(), None),
            Part::Norm => (None, Some(&self.norm.weight)),
            Part::NormBias => (None, self.norm.bias.as_ref()),
            Part::Output => (self.output.as_ref(), None),
            Part::AttentionNorm(_) => (None, Some(&layer?.attention_norm.weight)),
            Part::AttentionNormBias(_) => (None, layer?.attention_norm.bias.as_ref()),
            Part::AttentionInput(_) => (Some(&layer?.attention_input.weight), None),
            Part::AttentionInputBias(_) => (None, layer?.attention_input.bias.as_ref()),
            Part::AttentionOutput(_) => (Some(&layer?.attention_output.weight), None),
            Part::AttentionOutputBias(_) => (None, layer?.attention_output.bias.as_ref()),
            Part::MlpNorm(_) => (None, Some(&layer?.mlp_norm.weight)),
            Part::MlpNormBias(_) => (None, layer?.mlp_norm.bias.as_ref()),
            Part::MlpInput(_) => (Some(&layer?.mlp_input.weight), None),
            Part::MlpInputBias(_) => (None, layer?.mlp_input.bias.as_ref()),
            Part::MlpOutput(_) => (Some(&layer?.mlp_output.weight), None),
            Part::MlpOutputBias(_) => (None, layer?.mlp_output.bias.as_ref()),
        };
        let row = vector.and_then(|vector| vector.view().reshape([1, vector.dims()[0]]).ok()).map(Values::Sums);
        matrix.map(|matrix| Values::Elements(matrix.view())).or(row)
    }

    /// All parts for writing, in the order of their numbers.
    pub(super) fn all_mut(&mut self) -> Vec<(Part, ValuesMut<'_, T>)> {
        let mut all = Vec::new();
        matrix(&mut all, Part::Embedding, Some(&mut self.embedding));
        matrix(&mut all, Part::Positions, self.positions.as_mut());
        norm(&mut all, [Part::Norm, Part::NormBias], &mut self.norm);
        matrix(&mut all, Part::Output, self.output.as_mut());
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = Part::of_layer(at);
            norm(&mut all, [a, b], &mut layer.attention_norm);
            linear(&mut all, [c, d], &mut layer.attention_input);
            linear(&mut all, [e, f], &mut layer.attention_output);
            norm(&mut all, [g, h], &mut layer.mlp_norm);
            linear(&mut all, [i, j], &mut layer.mlp_input);
            linear(&mut all, [k, l], &mut layer.mlp_output);
        }
        all
    }
}

type All<'a, T> = Vec<(Part, ValuesMut<'a, T>)>;

fn matrix<'a, T: Float>(all: &mut All<'a, T>, part: Part, of: Option<&'a mut Tensor<T, 2>>) {
    all.extend(of.map(|of| (part, ValuesMut::Elements(of.view_mut()))));
}

fn vector<'a, T: Float>(all: &mut All<'a, T>, part: Part, of: Option<&'a mut Tensor<T::Acc, 1>>) {
    let row = of.and_then(|of| {
        let [n] = of.dims();
        of.view_mut().reshape([1, n]).ok()
    });
    all.extend(row.map(|row| (part, ValuesMut::Sums(row))));
}

fn norm<'a, T: Float>(all: &mut All<'a, T>, [weight, bias]: [Part; 2], of: &'a mut Norm<T::Acc>) {
    vector(all, weight, Some(&mut of.weight));
    vector(all, bias, of.bias.as_mut());
}

fn linear<'a, T: Float>(all: &mut All<'a, T>, [weight, bias]: [Part; 2], of: &'a mut Linear<T>) {
    matrix(all, weight, Some(&mut of.weight));
    vector(all, bias, of.bias.as_mut());
}

/// The parts of a model of random weights, as GPT-2 begins: tables and products are drawn from a normal distribution of
/// deviation 0.02, those that add to the residual of that by the root of their number; norms are 1, biases 0.
pub(super) struct Random<'a> {
    pub config: &'a Config,
    pub seed: u64,
}

impl Fill for Random<'_> {
    fn fill<E: Float>(&self, part: Part) -> Result<Vec<E>> {
        let adds = matches!(part, Part::AttentionOutput(_) | Part::MlpOutput(_));
        let deviation = 0.02 / if adds { (2.0 * self.config.layers as f64).sqrt() } else { 1.0 };
        let count = self.config.dims(part).iter().product();
        match part {
            _ if part.is_bias() => super::random::constant(0.0, count),
            _ if part.is_vector() => super::random::constant(1.0, count),
            _ => super::random::normal(self.seed, part.number(), deviation, count),
        }
    }
}
