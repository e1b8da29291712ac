use super::Mamba;
use crate::io::Result;
use crate::tape::decay;
use crate::{Float, Tensor};

/// What a Mamba keeps of the tokens that it has seen: as much after many as after one.
pub struct State<T: Float = f32> {
    /// The last rows that the convolution of each layer read, `[batch, taps - 1, inner]`.
    pub(super) rows: Vec<Tensor<T, 3>>,
    /// `[batch, inner, states]` of each layer.
    pub(super) states: Vec<Tensor<T::Acc, 3>>,
    /// What they decay by, `[inner, states]`: made once.
    pub(super) decays: Vec<Tensor<T::Acc, 2>>,
    pub(super) length: usize,
}

impl<T: Float> State<T> {
    /// That of `batch` contexts of `model` that have seen nothing.
    ///
    /// # Errors
    /// More than there is memory for.
    pub fn new(model: &Mamba<T>, batch: usize) -> Result<Self> {
        let (config, device) = (&model.config, &model.device);
        let mut all = Self { rows: Vec::new(), states: Vec::new(), decays: Vec::new(), length: 0 };
        for layer in &model.weights.layers {
            all.rows.push(Tensor::zeros([batch, config.taps - 1, config.inner], device)?);
            all.states.push(Tensor::zeros([batch, config.inner, config.states], device)?);
            all.decays.push(decay(layer.decay.view())?);
        }
        Ok(all)
    }

    /// Tokens seen, in each context.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has seen none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}
