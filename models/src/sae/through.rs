use super::{Contexts, Trainer};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Recording, Site};
use crate::tape::Tape;
use crate::{Tensor, copy_into, scale_into};
use rayon::prelude::*;

/// What the language model is to lose little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The next token: its cross-entropy, in nats.
    CrossEntropy,
    /// What it predicts with the activations as they are: the divergence from that, in nats.
    Divergence,
}

/// End-to-end training: the reconstruction takes the place of the residual after a layer, and what the language model loses by that is
/// the loss (Braun et al., *Identifying functionally important features with end-to-end sparse dictionary learning*, 2024; sparsify's `ce`
/// and `kl`). The first [`Contexts::SKIPPED`] positions of a context stay as they are, and are not counted.
///
/// ```no_run
/// # use latens::sae::{Contexts, EndToEnd, Loss, Trainer};
/// # use latens::lm::Decoder;
/// # fn all(model: &Decoder, contexts: &Contexts, trainer: &mut Trainer) -> latens::io::Result<()> {
/// // As many contexts as a step has rows for.
/// let through = EndToEnd::new(model, 15, contexts)?;
/// let x = through.rows()?;
/// let divergence = trainer.step_through(x.view(), 0.0, |recon| through.loss(recon, Loss::Divergence))?;
/// # Ok(())
/// # }
/// ```
pub struct EndToEnd<'m> {
    model: &'m Decoder,
    layer: usize,
    ids: Tensor<u32, 2>,
    /// The residual as it is, `[contexts * length, d]`.
    residual: Tensor<f32, 2>,
}

impl<'m> EndToEnd<'m> {
    /// Run `model` over these contexts, up to `layer`.
    ///
    /// # Errors
    /// Those of the model, and contexts of which no token counts.
    pub fn new(model: &'m Decoder, layer: usize, contexts: &Contexts) -> Result<Self> {
        if contexts.length < Contexts::SKIPPED + 2 || contexts.is_empty() {
            let what = format!(
                "{} of {} tokens: none after the first {} has a next one",
                contexts.len(),
                contexts.length,
                Contexts::SKIPPED
            );
            return Err(Error::setting("contexts", what));
        }
        let ids = model.ids(contexts.ids.clone(), contexts.len())?;
        let residual = model.activations(&ids, Site::residual(layer), &mut Hooks::new())?;
        Ok(Self { model, layer, ids, residual })
    }

    /// The rows that are reconstructed: those of [`Contexts::activations`].
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn rows(&self) -> Result<Tensor<f32, 2>> {
        let (counted, d) = (self.counted(), self.residual.dims()[1]);
        let mut rows =
            Tensor::empty([counted.len() * (self.ids.dims()[1] - Contexts::SKIPPED), d], &self.residual.device())?;
        let mut at = 0;
        for range in counted {
            let end = at + range.len();
            copy_into(self.residual.view().narrow(0, range.start, range.end)?, rows.view_mut().narrow(0, at, end)?)?;
            at = end;
        }
        Ok(rows)
    }

    /// A step of `trainer` on these contexts: on the squared error, and with equal weight on what the model loses. A few such steps at the end of
    /// training bring most of what all steps through the model would (Karvonen, *Revisiting End-To-End Sparse Autoencoder Training*, 2025).
    ///
    /// # Errors
    /// Those of [`loss`](Self::loss) and [`Trainer::step_through`].
    pub fn step(&self, trainer: &mut Trainer, loss: Loss) -> Result<()> {
        let squared = f64::from(trainer.progress()?.fvu);
        trainer.step_through(self.rows()?.view(), 1.0, |recon| {
            let (lost, mut gradient) = self.loss(recon, loss)?;
            let by = squared / lost.max(f64::MIN_POSITIVE);
            scale_into(by as f32, gradient.view_mut())?;
            Ok((by * lost, gradient))
        })?;
        Ok(())
    }

    /// The places of these rows among all.
    fn counted(&self) -> Vec<std::ops::Range<usize>> {
        let [batch, length] = self.ids.dims();
        (0..batch).map(|context| context * length + Contexts::SKIPPED..(context + 1) * length).collect()
    }

    /// What the model loses, as a mean over the positions that count and have a next token, with `recon` in the place of the rows; and the
    /// gradient of that.
    ///
    /// # Errors
    /// Those of the model, and another number of rows.
    pub fn loss(&self, recon: &Tensor<f32, 2>, loss: Loss) -> Result<(f64, Tensor<f32, 2>)> {
        let ([batch, length], device) = (self.ids.dims(), self.residual.device());
        let mut spliced = Tensor::empty(self.residual.dims(), &device)?;
        copy_into(self.residual.view(), spliced.view_mut())?;
        let (counted, rows) = (self.counted(), recon.dims()[0]);
        if rows != batch * (length - Contexts::SKIPPED) {
            return Err(Error::setting(
                "recon",
                format!("{rows} rows, expected {}", batch * (length - Contexts::SKIPPED)),
            ));
        }
        let mut at = 0;
        for range in &counted {
            let end = at + range.len();
            copy_into(recon.view().narrow(0, at, end)?, spliced.view_mut().narrow(0, range.start, range.end)?)?;
            at = end;
        }
        let mut tape = Tape::new(&device);
        let mut recording = Recording::new();
        let leaf = tape.leaf(spliced, true);
        let last = self.model.record_layers_after(&mut tape, leaf, batch, self.layer, &mut recording)?;
        let value = match loss {
            Loss::CrossEntropy => {
                let mut targets = self.ids.to_vec()?;
                for context in targets.chunks_exact_mut(length) {
                    context.rotate_left(1);
                    context[..Contexts::SKIPPED].fill(crate::IGNORED);
                    context[length - 1] = crate::IGNORED;
                }
                let targets = Tensor::from_vec(targets, [batch, length], &device)?;
                let losses = self.model.record_targets(&mut tape, last, &targets, &recording)?.to_vec()?;
                losses.iter().map(|&loss| f64::from(loss)).sum::<f64>()
                    / (batch * (length - 1 - Contexts::SKIPPED)) as f64
            }
            Loss::Divergence => {
                let logits = self.model.record_logits(&mut tape, last, &recording)?;
                let clean = self.model.logits(&self.ids, &mut Hooks::new())?;
                let (value, gradient) =
                    divergence(&clean.to_vec()?, tape.value(logits).to_vec()?, tape.dims(logits)[1], length);
                let dims = tape.dims(logits);
                tape.seed(logits, Tensor::from_vec(gradient, dims, &device)?)?;
                value
            }
        };
        tape.backward()?;
        let Some(all) = tape.gradient(leaf) else { return Err(Error::setting("layer", "gives no gradient")) };
        let mut gradient = Tensor::empty(recon.dims(), &device)?;
        let mut at = 0;
        for range in counted {
            let end = at + range.len();
            copy_into(all.view().narrow(0, range.start, range.end)?, gradient.view_mut().narrow(0, at, end)?)?;
            at = end;
        }
        Ok((value, gradient))
    }
}

/// The mean divergence of what `logits` `[rows, width]` predict from what `clean` ones do, over the positions that count, and its gradient,
/// in the place of the logits.
fn divergence(clean: &[f32], mut logits: Vec<f32>, width: usize, length: usize) -> (f64, Vec<f32>) {
    let counts = |row: usize| (Contexts::SKIPPED..length - 1).contains(&(row % length));
    let count = (0..clean.len() / width.max(1)).filter(|&row| counts(row)).count().max(1) as f64;
    let rows = logits.par_chunks_exact_mut(width).zip(clean.par_chunks_exact(width)).enumerate();
    let each: Vec<f64> = rows
        .map(|(row, (logits, clean))| {
            if !counts(row) {
                logits.fill(0.0);
                return 0.0;
            }
            let (ours, theirs) = (sum_of_exponents(logits), sum_of_exponents(clean));
            let mut divergence = 0.0;
            for (x, &y) in logits.iter_mut().zip(clean) {
                let (log_q, log_p) = (f64::from(*x) - ours, f64::from(y) - theirs);
                let (q, p) = (log_q.exp(), log_p.exp());
                divergence += p * (log_p - log_q);
                *x = ((q - p) / count) as f32;
            }
            divergence
        })
        .collect();
    (each.iter().sum::<f64>() / count, logits)
}

/// The logarithm of the sum of exponentials.
fn sum_of_exponents(of: &[f32]) -> f64 {
    let top = of.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(top) + of.iter().map(|&x| f64::from(x - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lm::Config;
    use crate::{Device, Philox};

    /// Both losses fall along their gradients as fast as these say, and where nothing is lost there is no divergence.
    #[test]
    fn gradients_are_slopes() {
        let config = Config::llama(3, 32, 4, 50, 24);
        let model = Decoder::<f32>::random(config, 3, &Device::Host).unwrap();
        let mut draw = Philox::new(5);
        let ids = (0..3 * 12).map(|_| draw.below(50)).collect();
        let through = EndToEnd::new(&model, 0, &Contexts { ids, length: 12 }).unwrap();
        let rows = through.rows().unwrap();
        assert_eq!(rows.dims(), [3 * (12 - Contexts::SKIPPED), 32]);
        assert!(through.loss(&rows, Loss::Divergence).unwrap().0.abs() < 1e-6);
        let mut numbers = |scale: f32| -> Vec<f32> {
            (0..rows.dims().iter().product()).map(|_| scale * (draw.uniform() - 0.5)).collect()
        };
        let (away, along) = (numbers(2.0), numbers(1.0));
        let at = |step: f32| {
            let of = rows.to_vec().unwrap().iter().zip(&away).zip(&along).map(|((x, a), b)| x + a + step * b).collect();
            Tensor::from_vec(of, rows.dims(), &Device::Host).unwrap()
        };
        for loss in [Loss::CrossEntropy, Loss::Divergence] {
            let (value, gradient) = through.loss(&at(0.0), loss).unwrap();
            let slope: f64 =
                gradient.to_vec().unwrap().iter().zip(&along).map(|(g, a)| f64::from(*g) * f64::from(*a)).sum();
            const STEP: f32 = 1e-2;
            let [more, less] = [STEP, -STEP].map(|step| through.loss(&at(step), loss).unwrap().0);
            let want = (more - less) / f64::from(2.0 * STEP);
            assert!(value > 0.0 && (slope - want).abs() < 2e-3 * want.abs() + 1e-5, "{loss:?}: {slope} for {want}");
        }
        assert!(through.loss(&Tensor::zeros([3, 32], &Device::Host).unwrap(), Loss::CrossEntropy).is_err());
    }

    /// A few steps lower the divergence of held rows.
    #[test]
    fn training_lowers_it() {
        let config = Config::gpt2(2, 32, 4, 50, 24);
        let model = Decoder::<f32>::random(config, 4, &Device::Host).unwrap();
        let mut draw = Philox::new(6);
        let ids = (0..16 * 24).map(|_| draw.below(50)).collect();
        let through = EndToEnd::new(&model, 0, &Contexts { ids, length: 24 }).unwrap();
        let rows = through.rows().unwrap();
        let settings = crate::sae::Config {
            batch: rows.dims()[0],
            rate: 1e-2,
            revive: None,
            ..crate::sae::Config::new(32, 64, 4, 60)
        };
        let mut trainer = crate::sae::Trainer::new(settings, rows.host().unwrap(), &Device::Host).unwrap();
        let mut course = Vec::new();
        for _ in 0..60 {
            course.push(trainer.step_through(rows.view(), 0.0, |recon| through.loss(recon, Loss::Divergence)).unwrap());
        }
        assert!(course[59] < 0.5 * course[0], "{course:?}");
        assert_eq!(trainer.steps(), 60);
        let refused = trainer.step_through(rows.view(), 0.0, |_| Err(Error::setting("through", "no")));
        assert!(refused.is_err() && trainer.steps() == 60);
    }
}
