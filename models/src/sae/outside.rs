//! Steps on a loss that somebody else knows.
use super::descend::Gathered;
use super::fold::scale_sides;
use super::general::Forward;
use super::train::{LOOK, Trainer};
use crate::io::{Error, Result};
use crate::{Tensor, View, scale_into};

impl Trainer {
    /// A step on a loss that is not, or not only, the squared error: `through` is given the reconstruction of `x`, `[batch, d]`, and gives
    /// that loss and its gradient. The squared errors count `squares` times what they do otherwise; penalties, prefixes and what revives dead
    /// latents are as ever. The loss is what comes back. `EndToEnd`, with the feature `lm`, makes it of what a language model loses.
    ///
    /// # Errors
    /// As [`step`](Self::step), and those of `through`. Weights are as before then.
    pub fn step_through(
        &mut self,
        x: View<'_, f32, 2>,
        squares: f32,
        through: impl FnOnce(&Tensor<f32, 2>) -> Result<(f64, Tensor<f32, 2>)>,
    ) -> Result<f64> {
        self.expect("x", &x)?;
        if self.config.transcode.is_some() {
            return Err(Error::setting("x", "a transcoder is trained by step_to"));
        }
        if self.config.parts > 1 || !self.by_one_factor() {
            let what = "must be 1, and normalise none or mean, where the loss is not, or not only, the squared error";
            return Err(Error::setting("parts", what));
        }
        self.begin_step()?;
        self.read(x)?;
        let before = self.before();
        let forward = self.general_forward(None)?;
        let found = self.fvu().and_then(|fvu| Ok((fvu, self.lost(&forward, through)?)));
        let (fvu, (loss, gradient)) = self.or_restore(found, before)?;
        if self.facts.step.is_multiple_of(LOOK) {
            self.look(fvu, Some(&forward))?;
            self.plan_rates()?;
        }
        let mut gathered = Gathered::none(&self.config);
        self.gather(forward, squares, Some(gradient), &mut gathered)?;
        self.general_update(gathered)?;
        self.end_step()?;
        Ok(loss)
    }

    /// What `through` makes of the reconstruction, both in the units of the rows that came in.
    fn lost(
        &self,
        forward: &Forward,
        through: impl FnOnce(&Tensor<f32, 2>) -> Result<(f64, Tensor<f32, 2>)>,
    ) -> Result<(f64, Tensor<f32, 2>)> {
        let (mut recon, [_, by]) = (forward.reconstruction(self.scratch.x.view())?, self.facts.normal);
        if by != 1.0 {
            scale_into(1.0 / by, recon.view_mut())?;
        }
        let back = || self.sides.iter().map(|factor| 1.0 / factor);
        scale_sides(back(), &mut recon)?;
        let (loss, mut gradient) = through(&recon)?;
        let (got, want) = (gradient.dims(), recon.dims());
        if got != want {
            return Err(Error::setting("through", format!("gave a gradient {got:?}, expected {want:?}")));
        }
        if !loss.is_finite() || !gradient.to_vec()?.iter().all(|slope| slope.is_finite()) {
            return Err(Error::Number {
                step: self.seen,
                what: format!("the loss of the reconstruction is {loss}, or its gradient is not finite"),
            });
        }
        if by != 1.0 {
            scale_into(1.0 / by, gradient.view_mut())?;
        }
        scale_sides(back(), &mut gradient)?;
        Ok((loss, gradient))
    }
}
