use super::{Example, SparseRows, Task};
use crate::io::{Error, Result};
use crate::lm::{Hooks, LanguageModel, Site};
use crate::sae::{Contexts, Sae, on_host, rows::Scaled};
use crate::{Tensor, View, copy_into};
use rayon::prelude::*;

/// Texts as the means of what is known of their tokens: the activations themselves, and the latents of an autoencoder.
/// Nothing of `tokens x latents` is ever in memory; what is kept of the latents is sparse, `[texts, latents]`.
#[derive(Clone, Debug)]
pub struct Pooled {
    d: usize,
    raw: Vec<f32>,
    latents: SparseRows,
    /// The latents times what undoes the scaling of their rows, where rows are scaled.
    written: Option<SparseRows>,
}

impl Pooled {
    /// Of no texts yet, for `sae`.
    pub fn new(sae: &Sae) -> Self {
        let (raw, latents) = (Vec::new(), SparseRows::new(sae.latents()));
        let written = (sae.rows != crate::sae::Rows::AsTheyAre).then(|| latents.clone());
        Self { d: sae.d(), raw, latents, written }
    }

    /// Add texts: `rows` are the activations of their tokens, text by text, of which each has so many `tokens`. `bias` is
    /// [`Sae::bias`].
    ///
    /// # Errors
    /// A text without tokens, tokens that are not as many as rows, rows of another width or on another device.
    pub fn push(&mut self, sae: &Sae, bias: &Tensor<f32, 1>, rows: View<'_, f32, 2>, tokens: &[usize]) -> Result<()> {
        let [total, d] = rows.dims();
        if tokens.contains(&0) || tokens.iter().sum::<usize>() != total {
            return Err(Error::setting("tokens", format!("{tokens:?} of the texts, for {total} rows; none may be 0")));
        }
        if total == 0 {
            return Ok(());
        }
        let code = sae.encode_with(rows, bias)?;
        let factors: Option<Vec<f32>> =
            sae.rows.scale(rows)?.as_ref().map(|scaled: &Scaled| scaled.factors().collect());
        let (host, values, latents) = (on_host(rows)?, code.values.to_vec()?, code.latents.to_vec()?);
        let (slots, mut first) = (values.len() / total, 0);
        for &count in tokens {
            let mut mean = vec![0.0_f64; d];
            for row in host[first * d..(first + count) * d].chunks_exact(d.max(1)) {
                mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
            }
            self.raw.extend(mean.into_iter().map(|sum| (sum / count as f64) as f32));
            let part = first * slots..(first + count) * slots;
            let entries = || latents[part.clone()].iter().copied().zip(values[part.clone()].iter().copied());
            self.latents.push(entries().collect(), count as f64);
            if let (Some(written), Some(factors)) = (&mut self.written, &factors) {
                let scaled = entries().enumerate();
                let scaled = scaled.map(|(slot, (latent, value))| (latent, value * factors[first + slot / slots]));
                written.push(scaled.collect(), count as f64);
            }
            first += count;
        }
        Ok(())
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.latents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.latents.is_empty()
    }

    /// Width of the activations.
    pub fn d(&self) -> usize {
        self.d
    }

    /// The mean activations, `[texts, d]`.
    pub fn raw(&self) -> &[f32] {
        &self.raw
    }

    /// The mean values of the latents, `[texts, latents]`.
    pub fn latents(&self) -> &SparseRows {
        &self.latents
    }

    /// What of each latent's direction is in the mean reconstruction, `[texts, latents]`: the mean values, but for an
    /// autoencoder of [scaled](Sae::rows) rows, whose values are multiplied by what undoes the scaling of their row.
    pub fn written(&self) -> &SparseRows {
        self.written.as_ref().unwrap_or(&self.latents)
    }
}

/// The means over the tokens of each text, cut to `length` tokens, at `site`. The first [`Contexts::SKIPPED`] tokens are left
/// out, the one that begins a text included where the tokenizer has one, as [`Corpus`](crate::sae::Corpus) does. `tell` hears
/// how many texts are done at a time.
///
/// # Errors
/// Those of the model and of the autoencoder; a text of no more than [`Contexts::SKIPPED`] tokens.
pub fn pool(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    texts: &[&str],
    length: usize,
    tell: impl FnMut(usize),
) -> Result<Pooled> {
    Ok(pool_each(lm, site, &[sae], texts, length, tell)?.remove(0))
}

/// [`pool`] of several autoencoders, for which the model runs once.
///
/// # Errors
/// As there.
pub fn pool_each(
    lm: &LanguageModel,
    site: Site,
    saes: &[&Sae],
    texts: &[&str],
    length: usize,
    mut tell: impl FnMut(usize),
) -> Result<Vec<Pooled>> {
    let mut all: Vec<Pooled> = saes.iter().map(|sae| Pooled::new(sae)).collect();
    let biases = saes.iter().map(|sae| sae.bias()).collect::<Result<Vec<_>>>()?;
    each_batch(lm, site, texts, length, |rows, tokens| {
        for ((pooled, sae), bias) in all.iter_mut().zip(saes).zip(&biases) {
            pooled.push(sae, bias, rows, tokens)?;
        }
        tell(tokens.len());
        Ok(())
    })?;
    Ok(all)
}

/// [`pool_each`] of both parts of a task: the texts to fit on, and those to judge by.
pub(super) fn pool_task(
    lm: &LanguageModel,
    site: Site,
    saes: &[&Sae],
    task: &Task,
    length: usize,
    mut tell: impl FnMut(usize),
) -> Result<[Vec<Pooled>; 2]> {
    let mut read = |part: &[Example]| {
        let texts: Vec<&str> = part.iter().map(|example| &*example.text).collect();
        pool_each(lm, site, saes, &texts, length, &mut tell)
    };
    Ok([read(&task.train)?, read(&task.test)?])
}

/// Call `then` with the activations of a few texts, text by text and without the tokens that are left out, and with how many
/// each has.
fn each_batch(
    lm: &LanguageModel,
    site: Site,
    texts: &[&str],
    length: usize,
    mut then: impl FnMut(View<'_, f32, 2>, &[usize]) -> Result<()>,
) -> Result<()> {
    const BATCH: usize = 8;
    let all = texts.par_iter().map(|text| tokens(lm, text, length)).collect::<Result<Vec<_>>>()?;
    if let Some(short) = all.iter().position(|ids| ids.len() <= Contexts::SKIPPED) {
        let what =
            format!("number {short} has {} tokens, of which {} are left out", all[short].len(), Contexts::SKIPPED);
        return Err(Error::setting("texts", what));
    }
    for batch in all.chunks(BATCH) {
        let longest = batch.iter().map(Vec::len).max().unwrap_or(0);
        // What stands after a text is not seen by it.
        let filled = |ids: &Vec<u32>| ids.iter().copied().chain(std::iter::repeat(0)).take(longest).collect::<Vec<_>>();
        let ids = lm.model.ids(batch.iter().flat_map(filled).collect(), batch.len())?;
        let x = lm.model.activations(&ids, site, &mut Hooks::new())?;
        let counts: Vec<usize> = batch.iter().map(|ids| ids.len() - Contexts::SKIPPED).collect();
        let mut rows = Tensor::empty([counts.iter().sum(), x.dims()[1]], &x.device())?;
        let mut to = 0;
        for (text, &count) in counts.iter().enumerate() {
            let from = text * longest + Contexts::SKIPPED;
            copy_into(x.view().narrow(0, from, from + count)?, rows.view_mut().narrow(0, to, to + count)?)?;
            to += count;
        }
        then(rows.view(), &counts)?;
    }
    Ok(())
}

/// The ids of a text, begun as the tokenizer begins one.
fn tokens(lm: &LanguageModel, text: &str, length: usize) -> Result<Vec<u32>> {
    let mut ids = lm.tokenizer.encode(text)?;
    if let Some(begin) = lm.tokenizer.begin().filter(|&begin| ids.first() != Some(&begin)) {
        ids.insert(0, begin);
    }
    ids.truncate(length);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::sae::{Gate, Rows};

    /// Directions along three axes of width 3, and no centre: a code is the row's largest entries.
    fn axes(k: usize, rows: Rows) -> Sae {
        let eye = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        Sae { rows, ..Sae::tied(eye, vec![0.0; 3], Gate::Strongest(k), &Device::Host).unwrap() }
    }

    fn pooled(sae: &Sae, rows: &[f32], tokens: &[usize]) -> Result<Pooled> {
        let mut pooled = Pooled::new(sae);
        let rows = Tensor::from_vec(rows.to_vec(), [rows.len() / 3, 3], &Device::Host)?;
        pooled.push(sae, &sae.bias()?, rows.view(), tokens)?;
        Ok(pooled)
    }

    #[test]
    fn means_over_tokens() {
        let rows = [4.0, 1.0, 0.0, 0.0, 3.0, -1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 8.0];
        let pooled = pooled(&axes(1, Rows::AsTheyAre), &rows, &[3, 1]).unwrap();
        assert_eq!((pooled.len(), pooled.d()), (2, 3));
        assert_eq!(pooled.raw(), [2.0, 4.0 / 3.0, 0.0, 0.0, 0.0, 8.0]);
        assert_eq!(pooled.latents().row(0).collect::<Vec<_>>(), [(0, 2.0), (1, 1.0)]);
        assert_eq!(pooled.latents().row(1).collect::<Vec<_>>(), [(2, 8.0)]);
        assert_eq!(pooled.written(), pooled.latents());
    }

    /// Of scaled rows the values are of length √3, and what they write is what was there.
    #[test]
    fn scaled_rows_write_what_was_there() {
        let rows = [4.0, 0.0, 0.0, 0.0, 3.0, 0.0];
        let pooled = pooled(&axes(3, Rows::Length), &rows, &[2]).unwrap();
        let root = 3.0_f32.sqrt();
        for (got, want) in pooled.latents().row(0).zip([(0, root / 2.0), (1, root / 2.0)]) {
            assert!(got.0 == want.0 && (got.1 - want.1).abs() < 1e-6);
        }
        for (got, want) in pooled.written().row(0).zip([(0, 2.0), (1, 1.5)]) {
            assert!(got.0 == want.0 && (got.1 - want.1).abs() < 1e-6);
        }
    }

    #[test]
    fn wrong_calls_are_errors() {
        let sae = axes(1, Rows::AsTheyAre);
        for tokens in [&[1][..], &[2, 0], &[3]] {
            let said = pooled(&sae, &[0.0; 6], tokens).unwrap_err().to_string();
            assert!(said.starts_with("tokens: ") && said.contains("2 rows"), "{said}");
        }
        assert!(pooled(&sae, &[], &[]).unwrap().is_empty());
    }
}
