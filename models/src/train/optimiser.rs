//! Steps over many weights at once: groups with rates of their own, moments, master copies, and the whole gradient's length.
use super::rule::{Moments, Rule};
use crate::io::{self, Error};
use crate::lm::{Parameter, ValuesMut};
use crate::{CLIP_PARTS, Device, Float, Tensor, ViewMut, cast_into, clip_squares_into, scale_into};
use latens_core::Accumulate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A type that weights are kept in while they are trained: their gradients and moments are `f32`.
pub trait Stored: Float<Acc = f32> {
    /// The numbers themselves where they are `f32`; others are rounded copies of a master.
    fn exact<'a>(of: ViewMut<'a, Self, 2>) -> Result<ViewMut<'a, f32, 2>, ViewMut<'a, Self, 2>>;
}

impl Stored for f32 {
    fn exact<'a>(of: ViewMut<'a, f32, 2>) -> Result<ViewMut<'a, f32, 2>, ViewMut<'a, f32, 2>> {
        Ok(of)
    }
}

impl Stored for crate::bf16 {
    fn exact<'a>(of: ViewMut<'a, Self, 2>) -> Result<ViewMut<'a, f32, 2>, ViewMut<'a, Self, 2>> {
        Err(of)
    }
}

impl Stored for crate::f16 {
    fn exact<'a>(of: ViewMut<'a, Self, 2>) -> Result<ViewMut<'a, f32, 2>, ViewMut<'a, Self, 2>> {
        Err(of)
    }
}

/// How a group of weights learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its rate, over that of the schedule. 0 keeps its weights as they are.
    pub rate: f64,
    /// Its decay, times the rate.
    pub weight_decay: f64,
}

/// What an optimiser remembers of one part of the weights.
pub(super) struct Slot {
    pub name: String,
    pub moments: Moments,
    /// The weights in `f32`, where they are kept in fewer bits.
    pub master: Option<Tensor<f32, 2>>,
}

/// Steps of the weights of a model by one rule, by the numbers of their gradients.
pub struct Optimiser {
    pub(super) slots: BTreeMap<usize, Slot>,
    squares: Tensor<f32, 1>,
}

impl Optimiser {
    /// With moments of zero, and masters of what is not `f32`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rule without meaning; those of the device.
    pub fn new<P, T: Stored>(
        parameters: Vec<Parameter<P, ValuesMut<'_, T>>>,
        rule: Rule,
        device: &Device,
    ) -> io::Result<Self> {
        rule.check()?;
        let mut slots = BTreeMap::new();
        for parameter in parameters {
            let Parameter { number, names, dims, values, .. } = parameter;
            let master = match exact(values) {
                Ok(_) => None,
                Err(few) => {
                    let mut master = Tensor::empty(dims, device)?;
                    cast_into(few.shared(), master.view_mut())?;
                    Some(master)
                }
            };
            let moments = Moments::new(rule, dims, device)?;
            slots.insert(number, Slot { name: names.join("+"), moments, master });
        }
        Ok(Self { slots, squares: Tensor::zeros([CLIP_PARTS], device)? })
    }

    /// One step, the `step`-th counted from 1, from `gradients` by the numbers of the weights: shortened as a whole to `clip`,
    /// if they are longer, after having been multiplied by `share`. The weights of `group` learn as it says. Gives the length that
    /// the gradient had.
    ///
    /// # Errors
    /// [`Error::Number`] if the gradient is not finite: nothing has changed then. Those of the operations.
    pub fn step<P, T: Stored>(
        &mut self,
        parameters: Vec<Parameter<P, ValuesMut<'_, T>>>,
        gradients: &mut BTreeMap<usize, Tensor<f32, 2>>,
        share: f32,
        clip: Option<f32>,
        (rate, step): (f64, u64),
        group: impl Fn(&P, bool) -> Group,
    ) -> io::Result<f32> {
        let mut accumulate = Accumulate::Replace;
        for gradient in gradients.values() {
            clip_squares_into(gradient.view(), accumulate, self.squares.view_mut())?;
            accumulate = Accumulate::Add;
        }
        let squares: f64 = match accumulate {
            Accumulate::Add => self.squares.to_vec()?.into_iter().map(f64::from).sum(),
            Accumulate::Replace => 0.0,
        };
        let length = (squares.sqrt() * f64::from(share)) as f32;
        if !length.is_finite() {
            return Err(Error::Number { step: step as usize, what: "the gradient".into() });
        }
        let factor_of_all = share * clip.filter(|most| length > *most).map_or(1.0, |most| most / length);
        for parameter in parameters {
            let Parameter { part, number, decays, values, .. } = parameter;
            let Some((gradient, slot)) = gradients.get_mut(&number).zip(self.slots.get_mut(&number)) else { continue };
            let Group { rate: factor, weight_decay } = group(&part, decays);
            if factor == 0.0 {
                continue;
            }
            if factor_of_all != 1.0 {
                scale_into(factor_of_all, gradient.view_mut())?;
            }
            slot.step(exact(values), |w, moments| moments.step(w, gradient.view(), rate * factor, weight_decay, step))?;
        }
        Ok(length)
    }

    /// Bytes of moments, and of masters.
    pub fn bytes(&self) -> [usize; 2] {
        let masters = self.slots.values().filter_map(|slot| slot.master.as_ref());
        let moments = self.slots.values().map(|slot| slot.moments.bytes());
        [moments.sum(), masters.map(|master| 4 * master.layout().len()).sum()]
    }
}

impl Slot {
    /// A step of the weights, or of their master and the rounded copy of it.
    fn step<T: Stored>(
        &mut self,
        weights: Result<ViewMut<'_, f32, 2>, ViewMut<'_, T, 2>>,
        step: impl FnOnce(ViewMut<'_, f32, 2>, &mut Moments) -> crate::Result<()>,
    ) -> crate::Result<()> {
        match (weights, &mut self.master) {
            (Ok(weights), _) => step(weights, &mut self.moments),
            (Err(few), Some(master)) => {
                step(master.view_mut(), &mut self.moments)?;
                cast_into(master.view(), few)
            }
            // An optimiser is made for the weights that it steps: see `Optimiser::new`.
            (Err(_), None) => Ok(()),
        }
    }
}

/// The weights themselves where they are `f32`.
pub(super) fn exact<T: Stored>(values: ValuesMut<'_, T>) -> Result<ViewMut<'_, f32, 2>, ViewMut<'_, T, 2>> {
    match values {
        ValuesMut::Elements(few) => T::exact(few),
        ValuesMut::Sums(all) => Ok(all),
    }
}
