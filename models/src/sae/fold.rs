//! Factors taken into the weights of an autoencoder, which says the same afterwards.
use super::general::lengths_of;
use super::{Gate, Own, Rows, Sae};
use crate::io::{Error, Result};
use crate::{Tensor, copy_into, scale_into};

impl Sae {
    /// Another one with the same numbers.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn copy(&self) -> Result<Self> {
        let own = match &self.own {
            Some(Own::Thresholds(of)) => Some(Own::Thresholds(copied(of)?)),
            Some(Own::Magnitudes { r_mag, b_mag }) => {
                Some(Own::Magnitudes { r_mag: copied(r_mag)?, b_mag: copied(b_mag)? })
            }
            None => None,
        };
        let router = match &self.router {
            Some(router) => Some(super::Router { w: copied(&router.w)?, b: copied(&router.b)? }),
            None => None,
        };
        Ok(Self {
            w_enc: copied(&self.w_enc)?,
            w_dec: copied(&self.w_dec)?,
            b_enc: copied(&self.b_enc)?,
            b_dec: copied(&self.b_dec)?,
            centred: self.centred,
            gate: self.gate,
            own,
            router,
            skip: self.skip.as_ref().map(copied).transpose()?,
            rows: self.rows,
            predicts: self.predicts,
        })
    }

    /// Of one that was trained on rows times `read`, and to predict rows times `predicted`, the one that reads and predicts rows as
    /// they are. The decoder stays; values come out in the units of what is predicted.
    ///
    /// # Errors
    /// [`Error::Setting`] for a factor that is no number above 0; factors that differ where the input is
    /// [centred](Self::centred); and an autoencoder that [scales](Self::rows) its rows anyway.
    pub fn fold(&mut self, read: f32, predicted: f32) -> Result<()> {
        let sound = |factor: f32| factor.is_finite() && factor > 0.0;
        if !sound(read) || !sound(predicted) || (self.centred && read != predicted) {
            let what = format!("{read} and {predicted}, expected numbers above 0, and one number where b_dec is both");
            return Err(Error::setting("read, predicted", what));
        }
        if self.rows != Rows::AsTheyAre {
            return Err(Error::setting("rows", format!("are scaled by the autoencoder itself ({:?})", self.rows)));
        }
        let (across, back) = (read / predicted, 1.0 / predicted);
        if across != 1.0 {
            scale_into(across, self.w_enc.view_mut())?;
        }
        let skip = self.skip.iter_mut().map(|skip| scale_into(across, skip.view_mut()));
        skip.collect::<crate::Result<()>>()?;
        if let Some(router) = &mut self.router {
            scale_into(read, router.w.view_mut())?;
            scale(1.0 / read, &mut router.b)?;
        }
        scale(back, &mut self.b_dec)?;
        scale(back, &mut self.b_enc)?;
        match &mut self.own {
            Some(Own::Thresholds(of) | Own::Magnitudes { b_mag: of, .. }) => scale(back, of)?,
            None => {}
        }
        if let Gate::Above { threshold, .. } = &mut self.gate {
            *threshold *= back;
        }
        Ok(())
    }

    /// [`fold`](Self::fold) for rows of several sides, each of which was multiplied by its own factor. Values stay.
    pub(super) fn fold_sides(&mut self, factors: &[f32]) -> Result<()> {
        let back = || factors.iter().map(|factor| 1.0 / factor);
        scale_sides(factors.iter().copied(), &mut self.w_enc)?;
        scale_sides(back(), &mut self.w_dec)?;
        let mut biases = vec![&mut self.b_dec];
        if let Some(router) = &mut self.router {
            scale_sides(factors.iter().copied(), &mut router.w)?;
            biases.push(&mut router.b);
        }
        for bias in biases {
            let mut all = bias.to_vec()?;
            let side = all.len() / factors.len().max(1);
            all.chunks_exact_mut(side.max(1)).zip(back()).for_each(|(of, by)| of.iter_mut().for_each(|b| *b *= by));
            bias.write(&all)?;
        }
        Ok(())
    }

    /// Make the rows of the decoder 1 long, and values as much larger as they were longer (SAELens' `fold_W_dec_norm`). A row of zeros
    /// stays.
    ///
    /// # Errors
    /// [`Error::Setting`] where latents are compared with one another, as the strongest of a row are, and lengths are not all the same: the
    /// active ones would be others.
    pub fn fold_lengths(&mut self) -> Result<()> {
        let lengths = self.lengths(1)?;
        let [least, most] = [f32::min, f32::max].map(|of| lengths.iter().copied().reduce(of).unwrap_or(1.0));
        if !matches!(self.gate, Gate::Above { .. }) && most - least > 1e-4 * most {
            let what = format!("of {least} to {most}: latents are compared, and others would be the strongest");
            return Err(Error::setting("lengths", what));
        }
        self.lengths_into_values(1)?;
        if let (None, Gate::Above { threshold, most }) = (&self.own, self.gate)
            && threshold > 0.0
        {
            // One threshold becomes one of each latent.
            let of: Vec<f32> = lengths.iter().map(|length| threshold * length).collect();
            self.own = Some(Own::Thresholds(Tensor::from_vec(of, [lengths.len()], &self.device())?));
            self.gate = Gate::Above { threshold: 0.0, most };
        }
        Ok(())
    }

    /// Lengths of the rows of the decoder, of rows that have sides the sum of theirs; 1 for a row of zeros.
    fn lengths(&self, sides: usize) -> Result<Vec<f32>> {
        Ok(lengths_of(&self.w_dec, sides)?.into_iter().map(|l| if l > 0.0 { l } else { 1.0 }).collect())
    }

    /// [`fold_lengths`](Self::fold_lengths) of rows of so many sides, but for a threshold of the gate, which values are compared with as they are then.
    pub(super) fn lengths_into_values(&mut self, sides: usize) -> Result<()> {
        let (d, lengths) = (self.d().max(1), self.lengths(sides)?);
        let (mut w_dec, mut w_enc) = (self.w_dec.to_vec()?, self.w_enc.to_vec()?);
        for ((dec, enc), length) in w_dec.chunks_exact_mut(d).zip(w_enc.chunks_exact_mut(d)).zip(&lengths) {
            dec.iter_mut().for_each(|w| *w /= length);
            enc.iter_mut().for_each(|w| *w *= length);
        }
        self.w_dec.write(&w_dec)?;
        self.w_enc.write(&w_enc)?;
        let each = |of: &mut Tensor<f32, 1>| {
            let all: Vec<f32> = of.to_vec()?.iter().zip(&lengths).map(|(x, length)| x * length).collect();
            of.write(&all)
        };
        each(&mut self.b_enc)?;
        match &mut self.own {
            Some(Own::Thresholds(of) | Own::Magnitudes { b_mag: of, .. }) => Ok(each(of)?),
            None => Ok(()),
        }
    }
}

/// Multiply each of as many sides of all rows as there are factors.
pub(super) fn scale_sides(factors: impl ExactSizeIterator<Item = f32>, rows: &mut Tensor<f32, 2>) -> crate::Result<()> {
    let side = rows.dims()[1] / factors.len().max(1);
    factors.enumerate().try_for_each(|(at, by)| scale_into(by, rows.view_mut().narrow(1, at * side, (at + 1) * side)?))
}

fn copied<const R: usize>(of: &Tensor<f32, R>) -> Result<Tensor<f32, R>> {
    let mut copy = Tensor::empty(of.dims(), &of.device())?;
    copy_into(of.view(), copy.view_mut())?;
    Ok(copy)
}

fn scale(by: f32, of: &mut Tensor<f32, 1>) -> crate::Result<()> {
    let n = of.dims()[0];
    scale_into(by, of.view_mut().reshape([1, n])?)
}
