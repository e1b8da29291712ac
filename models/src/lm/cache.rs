use super::{Decoder, span::Group};
use crate::io::Result;
use crate::{Float, Tensor, View, copy_into};

/// The keys and values of the tokens that a model has seen, so that the next need only their own.
pub struct Cache<T: Float = f32> {
    /// `[batch, capacity, kv_heads, head_dim]` for each layer.
    pub(super) keys: Vec<Tensor<T, 4>>,
    pub(super) values: Vec<Tensor<T, 4>>,
    /// Tokens that each context has seen.
    pub(super) lengths: Vec<usize>,
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
        Ok(Self { keys: all()?, values: all()?, lengths: vec![0; batch] })
    }

    /// Tokens seen by the context that has seen most.
    pub fn len(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Tokens seen by each context.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Whether it has seen none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forget all but the first `length` tokens of each context.
    pub fn truncate(&mut self, length: usize) {
        self.lengths.iter_mut().for_each(|seen| *seen = length.min(*seen));
    }

    /// Keep the keys and values of new tokens in layer `at`.
    pub(super) fn keep(&mut self, at: usize, group: &Group, key: View<'_, T, 4>, value: View<'_, T, 4>) -> Result<()> {
        let Group { contexts, t, from, .. } = group;
        for (new, all) in [(key, &mut self.keys[at]), (value, &mut self.values[at])] {
            copy_into(new, all.view_mut().narrow(0, contexts.start, contexts.end)?.narrow(1, *from, from + t)?)?;
        }
        Ok(())
    }

    /// The keys and values of all tokens in layer `at`, those that were just kept included.
    pub(super) fn seen(&self, at: usize, group: &Group) -> Result<[View<'_, T, 4>; 2]> {
        let Group { contexts, t, from, .. } = group;
        let [keys, values] = [&self.keys[at], &self.values[at]]
            .map(|all| all.view().narrow(0, contexts.start, contexts.end)?.narrow(1, 0, from + t));
        Ok([keys?, values?])
    }
}
