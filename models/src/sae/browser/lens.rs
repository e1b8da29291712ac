//! What directions do to the logits of a language model.
use super::Vocabulary;
use super::rank::largest;
use crate::io::Result;
use crate::sae::Sae;
use crate::{Tensor, gather_rows};
use rayon::prelude::*;

/// A token, and what a direction adds to its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    /// Which.
    pub token: u32,
    /// How much.
    pub logit: f32,
}

/// What is kept of the logits of a direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    pub promoted: Vec<Word>,
    pub suppressed: Vec<Word>,
    /// How far the largest stands out among all, in standard deviations; 0 where all are equal.
    pub sharpness: f32,
}

impl Lens {
    /// The `count` largest and smallest of the first `tokens` logits, ties by token. What is not finite is left out.
    pub fn of(logits: &[f32], tokens: usize, count: usize) -> Self {
        let named = &logits[..tokens.min(logits.len())];
        let words = |sign: f32| {
            let best = largest(named.iter().map(|logit| sign * logit), count);
            best.into_iter().map(|(token, logit)| Word { token, logit: sign * logit }).collect()
        };
        Self { promoted: words(1.0), suppressed: words(-1.0), sharpness: sharpness(logits, named) }
    }
}

fn sharpness(logits: &[f32], named: &[f32]) -> f32 {
    let finite = || logits.iter().filter(|logit| logit.is_finite()).map(|&logit| f64::from(logit));
    let count = finite().count().max(1) as f64;
    let mean = finite().sum::<f64>() / count;
    let spread = (finite().map(|logit| (logit - mean).powi(2)).sum::<f64>() / count).sqrt();
    let best = named.iter().copied().filter(|logit| logit.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    if spread > 0.0 && best.is_finite() { ((f64::from(best) - mean) / spread) as f32 } else { 0.0 }
}

/// The lenses of these latents, with `count` words each way.
pub fn lenses(vocabulary: &impl Vocabulary, sae: &Sae, chosen: &[u32], count: usize) -> Result<Vec<Lens>> {
    let tokens = vocabulary.tokens();
    let mut all = Vec::with_capacity(chosen.len());
    for block in chosen.chunks(block(tokens)) {
        let rows = Tensor::from_vec(block.to_vec(), [block.len()], &sae.device())?;
        let logits = vocabulary.logits(&gather_rows(sae.w_dec.view(), rows.view())?)?;
        let (width, logits) = (logits.dims()[1].max(1), logits.to_vec()?);
        all.par_extend(logits.par_chunks(width).map(|logits| Lens::of(logits, tokens, count)));
    }
    Ok(all)
}

/// Rows of a product of `width` columns that fill 32 MiB.
pub fn block(width: usize) -> usize {
    const ROOM: usize = 1 << 23;
    (ROOM / width.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_by_hand() {
        let lens = Lens::of(&[3.0, -2.0, 2.0, f32::NAN, 1.0, 1.0], 5, 2);
        let mean = (3.0 - 2.0 + 2.0 + 1.0 + 1.0) / 5.0_f64;
        let spread = ([3.0, -2.0, 2.0, 1.0, 1.0].iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
        let word = |token, logit| Word { token, logit };
        assert_eq!(lens.promoted, [word(0, 3.0), word(2, 2.0)]);
        assert_eq!(lens.suppressed, [word(1, -2.0), word(4, 1.0)]);
        assert_eq!(lens.sharpness, ((3.0 - mean) / spread) as f32);
    }

    #[test]
    fn logits_without_a_token_or_a_spread() {
        let beyond = Lens::of(&[1.0, 2.0, 9.0], 2, 8);
        assert_eq!(beyond.promoted.iter().map(|word| word.token).collect::<Vec<_>>(), [1, 0]);
        for flat in [&[][..], &[2.0, 2.0], &[f32::NAN, f32::NAN], &[f32::INFINITY]] {
            assert_eq!(Lens::of(flat, 2, 8).sharpness, 0.0);
        }
    }
}
