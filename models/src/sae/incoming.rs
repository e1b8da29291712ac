//! Rows as a step gets them: looked at, cut into parts, normalised.
use super::fold::scale_sides;
use super::train::Trainer;
use super::{Config, Normalise, Rows};
use crate::io::{Error, Result};
use crate::{Device, Tensor, View, copy_into, scale_into};
use std::borrow::Cow;

impl Config {
    /// What each side of rows is multiplied by, where they have several and lengths are made alike; else nothing.
    pub(super) fn sides_of(&self, sample: &[f32], name: &'static str) -> Result<Vec<f32>> {
        if self.sides == 1 || self.normalise != Normalise::Mean {
            return Ok(Vec::new());
        }
        let (d, side) = (self.d, self.d / self.sides);
        let factor = |at: usize| {
            let length =
                |row: &[f32]| row[at * side..][..side].iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let mean = sample.chunks_exact(d).map(length).sum::<f64>() / (sample.len() / d) as f64;
            let factor = ((side as f64).sqrt() / mean) as f32;
            match factor.is_finite() && factor > 0.0 {
                true => Ok(factor),
                false => Err(Error::setting(name, format!("the mean length of side {at} of its rows is {mean}"))),
            }
        };
        (0..self.sides).map(factor).collect()
    }

    /// A sample as the rows of steps will be, and the factor that makes it so where it is one for all.
    pub(super) fn normalised<'a>(&self, sample: &'a [f32], name: &'static str) -> Result<(Cow<'a, [f32]>, f32)> {
        let d = self.d;
        let sides = self.sides_of(sample, name)?;
        if !sides.is_empty() {
            let side = d / sides.len();
            let scaled = sample.chunks_exact(side).zip(sides.iter().cycle());
            return Ok((scaled.flat_map(|(part, by)| part.iter().map(move |x| x * by)).collect(), 1.0));
        }
        match self.normalise {
            Normalise::None => Ok((sample.into(), 1.0)),
            Normalise::Mean => {
                let length = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                let mean = sample.chunks_exact(d).map(length).sum::<f64>() / (sample.len() / d) as f64;
                let factor = ((d as f64).sqrt() / mean) as f32;
                match factor.is_finite() && factor > 0.0 {
                    true => Ok((sample.iter().map(|x| x * factor).collect(), factor)),
                    false => Err(Error::setting(name, format!("the mean length of its rows is {mean}"))),
                }
            }
            Normalise::Standard | Normalise::Length => {
                let rows = Tensor::from_vec(sample.to_vec(), [sample.len() / d, d], &Device::Host)?;
                let scaled = self.normalise.rows().scale(rows.view())?;
                Ok((
                    match scaled {
                        Some(scaled) => scaled.rows()?.into(),
                        None => sample.into(),
                    },
                    1.0,
                ))
            }
        }
    }
}

impl Trainer {
    pub(super) fn expect(&self, name: &'static str, x: &View<'_, f32, 2>) -> Result<()> {
        let want = [self.config.batch, self.config.d];
        match x.dims() == want {
            true => Ok(()),
            false => Err(Error::setting(name, format!("has shape {:?}, expected {want:?}", x.dims()))),
        }
    }

    /// Have the rows of a part of a step where its operations look for them.
    pub(super) fn read(&mut self, x: View<'_, f32, 2>) -> Result<()> {
        let ([read, _], rows) = (self.facts.normal, self.config.normalise.rows());
        let to = &mut self.scratch.x;
        match rows.scale(x)? {
            Some(scaled) => copy_into(scaled.view(), to.view_mut())?,
            None => copy_into(x, to.view_mut())?,
        }
        if read != 1.0 {
            scale_into(read, to.view_mut())?;
        }
        Ok(scale_sides(self.sides.iter().copied(), to)?)
    }

    /// Rows that are to be predicted, if they have to be changed first.
    pub(super) fn predicted(&self, y: View<'_, f32, 2>) -> Result<Option<Tensor<f32, 2>>> {
        let [_, by] = self.facts.normal;
        if by == 1.0 {
            return Ok(None);
        }
        let mut scaled = Tensor::empty(y.dims(), &y.device())?;
        copy_into(y, scaled.view_mut())?;
        scale_into(by, scaled.view_mut())?;
        Ok(Some(scaled))
    }

    /// Whether rows that come out are those that go in, or a multiple.
    pub(super) fn by_one_factor(&self) -> bool {
        self.config.normalise.rows() == Rows::AsTheyAre
    }

    /// That the rows of this part are numbers.
    pub(super) fn finite(&self) -> Result<()> {
        let (x, d) = (self.scratch.x.to_vec()?, self.config.d);
        match x.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let row = self.earlier.len() + at / d;
                Err(Error::Number { step: self.seen, what: format!("row {row} of x holds {}", x[at]) })
            }
        }
    }
}
