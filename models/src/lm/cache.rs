use super::Decoder;
use crate::io::Result;
use crate::{Float, Tensor};

/// The keys and values of the tokens that a model has seen, so that the next need only their own.
pub struct Cache<T: Float = f32> {
    /// `[batch, capacity, kv_heads, head_dim]` for each layer.
    pub(super) keys: Vec<Tensor<T, 4>>,
    pub(super) values: Vec<Tensor<T, 4>>,
    pub(super) length: usize,
}

impl<T: Float> Cache<T> {
    /// Room for `capacity` tokens in each of `batch` contexts of `model`.
    ///
    /// # Errors
    /// More than the model was trained for, or than there is memory.
    pub fn new(model: &Decoder<T>, batch: usize, capacity: usize) -> Result<Self> {
        let config = model.config();
        config.fits(capacity)?;
        let dims = [batch, capacity, config.kv_heads, config.head_dim];
        let all = || (0..config.layers).map(|_| Ok(Tensor::empty(dims, model.device())?)).collect::<Result<_>>();
        Ok(Self { keys: all()?, values: all()?, length: 0 })
    }

    /// Tokens seen, in each context.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has seen none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forget all but the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}
