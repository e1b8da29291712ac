//! The parts of the weights, by name and number.
use crate::io::Result;
use crate::{Element, Float, Tensor, View, ViewMut, copy_into};

/// A part of the weights of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The table that tokens are read by, and written by if the model has no other.
    Embedding,
    /// What is added to an embedding for its place.
    Positions,
    /// The norm after all layers.
    Norm,
    /// Its bias.
    NormBias,
    /// The table that tokens are written by.
    Output,
    /// The norm before the attention of a layer.
    AttentionNorm(usize),
    /// Its bias.
    AttentionNormBias(usize),
    /// What makes queries, keys and values.
    AttentionInput(usize),
    /// Their biases.
    AttentionInputBias(usize),
    /// What brings back what the heads found.
    AttentionOutput(usize),
    /// Its bias.
    AttentionOutputBias(usize),
    /// The norm before the feed-forward half of a layer.
    MlpNorm(usize),
    /// Its bias.
    MlpNormBias(usize),
    /// What makes gate and up, or only up.
    MlpInput(usize),
    /// Their biases.
    MlpInputBias(usize),
    /// What brings back their product, or what was activated.
    MlpOutput(usize),
    /// Its bias.
    MlpOutputBias(usize),
}

impl Part {
    /// Those of a layer, in the order of their numbers.
    pub(super) fn of_layer(layer: usize) -> [Self; 12] {
        let all: [fn(usize) -> Self; 12] = [
            Self::AttentionNorm,
            Self::AttentionNormBias,
            Self::AttentionInput,
            Self::AttentionInputBias,
            Self::AttentionOutput,
            Self::AttentionOutputBias,
            Self::MlpNorm,
            Self::MlpNormBias,
            Self::MlpInput,
            Self::MlpInputBias,
            Self::MlpOutput,
            Self::MlpOutputBias,
        ];
        all.map(|part| part(layer))
    }

    /// The number of its gradient on a tape.
    pub fn number(self) -> usize {
        let (layer, place) = match self {
            Self::Embedding => return 0,
            Self::Positions => return 1,
            Self::Norm => return 2,
            Self::NormBias => return 3,
            Self::Output => return 4,
            Self::AttentionNorm(layer) => (layer, 0),
            Self::AttentionNormBias(layer) => (layer, 1),
            Self::AttentionInput(layer) => (layer, 2),
            Self::AttentionInputBias(layer) => (layer, 3),
            Self::AttentionOutput(layer) => (layer, 4),
            Self::AttentionOutputBias(layer) => (layer, 5),
            Self::MlpNorm(layer) => (layer, 6),
            Self::MlpNormBias(layer) => (layer, 7),
            Self::MlpInput(layer) => (layer, 8),
            Self::MlpInputBias(layer) => (layer, 9),
            Self::MlpOutput(layer) => (layer, 10),
            Self::MlpOutputBias(layer) => (layer, 11),
        };
        5 + 12 * layer + place
    }

    /// Its layer.
    pub fn layer(self) -> Option<usize> {
        (self.number() >= 5).then(|| (self.number() - 5) / 12)
    }

    /// Whether it is a bias.
    pub fn is_bias(self) -> bool {
        match self.layer() {
            Some(_) => (self.number() - 5) % 2 == 1,
            None => self == Self::NormBias,
        }
    }

    /// Whether it is one row: a norm, or a bias.
    pub fn is_vector(self) -> bool {
        self.is_bias() || matches!(self, Self::Norm | Self::AttentionNorm(_) | Self::MlpNorm(_))
    }
}

/// Numbers of a part of weights, as two dimensions; a vector is one row.
#[derive(Clone, Copy)]
pub enum Values<'a, T: Float> {
    /// Tables, and what products multiply by.
    Elements(View<'a, T, 2>),
    /// What is kept in the type of sums: norms, biases, what a recurrence decays by.
    Sums(View<'a, T::Acc, 2>),
}

impl<T: Float> Values<'_, T> {
    /// The numbers on the host, row by row, rounded once to another type.
    ///
    /// # Errors
    /// Those of the device.
    pub fn to_vec_as<E: Float>(&self) -> Result<Vec<E>> {
        match self {
            Self::Elements(view) => Ok(to_vec(*view)?.into_iter().map(|x| E::narrow(x.wide())).collect()),
            Self::Sums(view) => Ok(to_vec(*view)?.into_iter().map(|x| E::narrow(x.wide())).collect()),
        }
    }
}

/// The same, for writing.
pub enum ValuesMut<'a, T: Float> {
    /// Tables, and what products multiply by.
    Elements(ViewMut<'a, T, 2>),
    /// What is kept in the type of sums.
    Sums(ViewMut<'a, T::Acc, 2>),
}

/// A part of the weights of a model, as whoever trains or saves it walks over them.
pub struct Parameter<P, V> {
    /// Which.
    pub part: P,
    /// The number of its gradient on a tape.
    pub number: usize,
    /// What it is called in files of Hugging Face; several if its rows lie in several tensors there.
    pub names: Vec<String>,
    /// Rows and columns; a vector is one row.
    pub dims: [usize; 2],
    /// Whether weight decay is customary: for tables and products, not for norms, biases and what has one dimension.
    pub decays: bool,
    /// Its numbers: [`Values`] or [`ValuesMut`].
    pub values: V,
}

/// The numbers of a view, on the host.
pub(super) fn to_vec<E: Element, const R: usize>(view: View<'_, E, R>) -> Result<Vec<E>> {
    let mut copy = Tensor::empty(view.dims(), &view.device())?;
    copy_into(view, copy.view_mut())?;
    Ok(copy.to_vec()?)
}
