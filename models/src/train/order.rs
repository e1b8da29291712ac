use crate::io::{Error, Result};
use crate::{Device, Philox, Tensor};

/// A long text as ids, and the order in which pieces of it are learned from: a function of the seed and of how many were taken
/// before, so nothing of it needs to be saved.
///
/// In each round the text is cut into contexts that overlap by one token, so that every token but the first is predicted
/// once; where the first cut lies, and the order of the contexts, is drawn anew.
pub struct Order {
    ids: Vec<u32>,
    context: usize,
    seed: u64,
    round: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// # Errors
    /// [`Error::Setting`] if there are fewer ids than for two contexts, or contexts of fewer than two tokens.
    pub fn new(ids: Vec<u32>, context: usize, seed: u64) -> Result<Self> {
        if context < 2 {
            return Err(Error::setting("context", format!("is {context}, but a context predicts from 2 tokens on")));
        }
        if ids.len() < 2 * context || ids.len() > u32::MAX as usize {
            return Err(Error::setting("ids", format!("{} of them, too few for contexts of {context}", ids.len())));
        }
        Ok(Self { ids, context, seed, round: None })
    }

    /// All ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Contexts of a round.
    pub fn round(&self) -> usize {
        // The first cut may lie anywhere in the first context.
        (self.ids.len() - self.context) / (self.context - 1)
    }

    /// `count` contexts after the first `taken`, `[count, context]`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn batch(&mut self, taken: u64, count: usize, device: &Device) -> Result<Tensor<u32, 2>> {
        let mut batch = Vec::with_capacity(count * self.context);
        for number in taken..taken + count as u64 {
            let (round, at) = (number / self.round() as u64, (number % self.round() as u64) as usize);
            if self.round.as_ref().is_none_or(|(drawn, _)| *drawn != round) {
                self.round = Some((round, self.draw(round)));
            }
            let starts = self.round.as_ref().map_or(&[][..], |(_, starts)| starts);
            batch.extend_from_slice(&self.ids[starts[at] as usize..][..self.context]);
        }
        Ok(Tensor::from_vec(batch, [count, self.context], device)?)
    }

    /// Where the contexts of a round begin, in the order in which they are taken (Fisher and Yates).
    fn draw(&self, round: u64) -> Vec<u32> {
        let mut random = Philox::new(self.seed ^ (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut below = |n: usize| random.below(n as u32) as usize;
        let first = below(self.context - 1);
        let mut starts: Vec<u32> = (0..self.round()).map(|at| (first + at * (self.context - 1)) as u32).collect();
        for at in (1..starts.len()).rev() {
            starts.swap(at, below(at + 1));
        }
        starts
    }
}
