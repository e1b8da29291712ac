//! First-order influence, and what is really lost.
use super::{Asked, GradSae, Influence, Influential, Objective};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Recording};
use crate::sae::Contexts;
use crate::steer::{Edit, Insert, Keep};
use crate::tape::Tape;
use crate::{Tensor, copy_into, gather_rows, sae_slopes};
use std::collections::BTreeMap;

impl GradSae<'_> {
    /// The influence of all active latents on each answer. Only slopes of active latents are computed, a product of two rows each.
    ///
    /// # Errors
    /// Those of the model; [`Error::Setting`] for a prompt of no more than [`Contexts::SKIPPED`] tokens, or an empty answer.
    pub fn influences(&self, asked: &[Asked], mut tell: impl FnMut(usize)) -> Result<Vec<Influence>> {
        /// Rows of a tape.
        const ROWS: usize = 512;
        asked.iter().enumerate().try_for_each(|(at, one)| one.check(at))?;
        // Those of equal length go through the model together.
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, one) in asked.iter().enumerate() {
            lengths.entry(one.rows()).or_default().push(at);
        }
        let mut all: Vec<Option<Influence>> = vec![None; asked.len()];
        for (length, members) in lengths {
            for part in members.chunks((ROWS / length).max(1)) {
                let together: Vec<&Asked> = part.iter().map(|&at| &asked[at]).collect();
                for (&at, influence) in part.iter().zip(self.together(&together, length)?) {
                    all[at] = Some(influence);
                }
                tell(part.len());
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// Prompts of equal length.
    fn together(&self, asked: &[&Asked], length: usize) -> Result<Vec<Influence>> {
        let (model, batch, device) = (&self.lm.model, asked.len(), self.lm.model.device());
        let ids = asked.iter().flat_map(|one| one.shown()).collect();
        let ids = model.ids(ids, batch)?;
        let mut x = model.activations(&ids, self.site(), &mut Hooks::new())?;
        let kept: Vec<u32> =
            (0..batch * length).filter(|row| row % length >= Contexts::SKIPPED).map(|r| r as u32).collect();
        let kept = Tensor::from_vec(kept.clone(), [kept.len()], device)?;
        let rows = gather_rows(x.view(), kept.view())?;
        let code = self.sae.encode(rows.view())?;
        if self.keep == Keep::Reconstruction {
            let recon = self.sae.reconstruct_with(rows.view(), &code)?;
            let (d, width) = (x.dims()[1], length - Contexts::SKIPPED);
            let to = x.view_mut().reshape([batch, length, d])?.narrow(1, Contexts::SKIPPED, length)?;
            copy_into(recon.view().reshape([batch, width, d])?, to)?;
        }
        let (gradient, logs) = slope(model, self.layer, x, asked, length)?;
        let gradient = gather_rows(gradient.view(), kept.view())?;
        let slopes = sae_slopes(code.view(), gradient.view(), self.sae.w_dec.view())?.to_vec()?;
        let factors = self.sae.undone_by(rows.view())?;
        let (values, latents) = (code.values.to_vec()?, code.latents.to_vec()?);
        let (slots, width) = (values.len() / kept.dims()[0].max(1), length - Contexts::SKIPPED);
        let influence = |(at, (one, log)): (usize, (&&Asked, f64))| {
            let by = if self.objective == Objective::Probability { log.exp() } else { 1.0 };
            let mut all: BTreeMap<u32, Influential> = BTreeMap::new();
            for slot in at * width * slots..(at + 1) * width * slots {
                let (latent, value) = (latents[slot], f64::from(values[slot]));
                if latent as usize >= self.sae.latents() || value == 0.0 {
                    continue;
                }
                let undo = factors.as_ref().map_or(1.0, |factors| f64::from(factors[slot / slots]));
                let none = Influential { latent, gradient: 0.0, whole: 0.0, activation: 0.0 };
                let sum = all.entry(latent).or_insert(none);
                let g = by * f64::from(slopes[slot]) * undo * value;
                sum.gradient += g.max(0.0) / width as f64;
                sum.whole += g;
                sum.activation += value / width as f64;
            }
            let last = at * width + one.prompt.len() - 1 - Contexts::SKIPPED;
            let part = last * slots..(last + 1) * slots;
            let active = latents[part.clone()].iter().zip(&values[part]);
            let at_last = active.filter(|(latent, value)| (**latent as usize) < self.sae.latents() && **value > 0.0);
            Influence { latents: all.into_values().collect(), at_last: at_last.count(), probability: log.exp() }
        };
        Ok(asked.iter().zip(logs).enumerate().map(influence).collect())
    }

    /// The probability of the answer after each of these edits, at all tokens: with [`Edit::Zero`] of one latent each, the exact influence
    /// that [`Influential::whole`] comes near. Each takes a run of the layers above.
    ///
    /// # Errors
    /// As [`influences`](Self::influences), and edits that are none.
    pub fn probabilities(&self, asked: &Asked, edits: &[Edit], mut tell: impl FnMut(usize)) -> Result<Vec<f64>> {
        /// Rows at once.
        const ROWS: usize = 2048;
        let (model, device, length) = (&self.lm.model, self.lm.model.device(), asked.rows());
        asked.check(0)?;
        let one = model.ids(asked.shown().collect(), 1)?;
        let x = model.activations(&one, self.site(), &mut Hooks::new())?;
        let rows = x.view().narrow(0, Contexts::SKIPPED, length)?;
        let code = self.sae.encode(rows)?;
        let mut all = Vec::with_capacity(edits.len());
        for part in edits.chunks((ROWS / length).max(1)) {
            let (copies, d) = (part.len(), x.dims()[1]);
            let mut insert = Insert::new(self.sae, self.keep)?;
            for (context, edit) in part.iter().enumerate() {
                insert = insert.edit_in(context, edit.clone())?;
            }
            let mut tiled = Tensor::empty([copies * length, d], device)?;
            for copy in 0..copies {
                let [start, head, end] = [0, Contexts::SKIPPED, length].map(|at| copy * length + at);
                copy_into(x.view().narrow(0, 0, Contexts::SKIPPED)?, tiled.view_mut().narrow(0, start, head)?)?;
                let changed = insert.decode(rows, &code, &vec![copy; length - Contexts::SKIPPED])?;
                copy_into(changed.view(), tiled.view_mut().narrow(0, head, end)?)?;
            }
            let targets = Tensor::from_vec(asked.targets().repeat(copies), [copies, length], device)?;
            let losses = model.target_losses_from(self.layer, tiled, &targets, &mut Hooks::new())?.to_vec()?;
            let sums = losses.chunks_exact(length).map(|all| all.iter().map(|&loss| f64::from(loss)).sum::<f64>());
            all.extend(sums.map(|sum| (-sum).exp()));
            tell(copies);
        }
        Ok(all)
    }
}

/// The gradient of the logarithm of each answer's probability by the residual `x` after `layer`, and these logarithms.
pub(super) fn slope(
    model: &Decoder,
    layer: usize,
    x: Tensor<f32, 2>,
    asked: &[&Asked],
    length: usize,
) -> Result<(Tensor<f32, 2>, Vec<f64>)> {
    let (device, batch) = (model.device(), asked.len());
    let targets = asked.iter().flat_map(|one| one.targets()).collect();
    let count: usize = asked.iter().map(|one| one.answer.len()).sum();
    let targets = Tensor::from_vec(targets, [batch, length], device)?;
    let (mut tape, mut recording) = (Tape::new(device), Recording::new());
    let leaf = tape.leaf(x, true);
    let last = model.record_layers_after(&mut tape, leaf, batch, layer, &mut recording)?;
    let losses = model.record_targets(&mut tape, last, &targets, &recording)?.to_vec()?;
    tape.backward()?;
    let Some(found) = tape.gradient(leaf) else { return Err(Error::setting("layer", "gives no gradient")) };
    let mut gradient = Tensor::empty(found.dims(), device)?;
    copy_into(found.view(), gradient.view_mut())?;
    // The tape goes back from the mean loss of all answers' tokens.
    crate::scale_into(-(count as f32), gradient.view_mut())?;
    let logs = losses.chunks_exact(length).map(|losses| -losses.iter().map(|&loss| f64::from(loss)).sum::<f64>());
    Ok((gradient, logs.collect()))
}
