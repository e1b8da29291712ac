//! Steps over many weights at once: groups with rates of their own, moments, master copies, and the whole gradient's length.
use crate::io::{self, Error};
use crate::lm::{Parameter, ValuesMut};
use crate::{
    AdamW, CLIP_PARTS, Device, Float, Tensor, View, ViewMut, adamw_into, cast_into, clip_squares_into, scale_into,
};
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

/// AdamW's constants, the same for all groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Betas {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Guard against division by zero.
    pub eps: f64,
}

impl Default for Betas {
    /// Those that language models are trained with.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8 }
    }
}

/// What an optimiser remembers of one part of the weights.
pub(super) struct Slot {
    pub name: String,
    pub mean: Tensor<f32, 2>,
    pub square: Tensor<f32, 2>,
    /// The weights in `f32`, where they are kept in fewer bits.
    pub master: Option<Tensor<f32, 2>>,
}

/// AdamW over the weights of a model, by the numbers of their gradients.
pub struct Optimiser {
    pub(super) slots: BTreeMap<usize, Slot>,
    squares: Tensor<f32, 1>,
    betas: Betas,
}

impl Optimiser {
    /// With moments of zero, and masters of what is not `f32`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new<P, T: Stored>(
        parameters: Vec<Parameter<P, ValuesMut<'_, T>>>,
        betas: Betas,
        device: &Device,
    ) -> io::Result<Self> {
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
            let (mean, square) = (Tensor::zeros(dims, device)?, Tensor::zeros(dims, device)?);
            slots.insert(number, Slot { name: names.join("+"), mean, square, master });
        }
        Ok(Self { slots, squares: Tensor::zeros([CLIP_PARTS], device)?, betas })
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
            let Betas { beta1, beta2, eps } = self.betas;
            let adamw = AdamW { lr: rate * factor, beta1, beta2, eps, weight_decay, step };
            slot.step(exact(values), gradient.view(), &adamw)?;
        }
        Ok(length)
    }

    /// Bytes of moments, and of masters.
    pub fn bytes(&self) -> [usize; 2] {
        let of = |tensor: &Tensor<f32, 2>| 4 * tensor.layout().len();
        let moments = self.slots.values().map(|slot| of(&slot.mean) + of(&slot.square)).sum();
        [moments, self.slots.values().filter_map(|slot| slot.master.as_ref()).map(of).sum()]
    }
}

impl Slot {
    /// AdamW of the weights or of their master, and the rounded copy of it.
    fn step<T: Stored>(
        &mut self,
        weights: Result<ViewMut<'_, f32, 2>, ViewMut<'_, T, 2>>,
        gradient: View<'_, f32, 2>,
        adamw: &AdamW,
    ) -> crate::Result<()> {
        let (mean, square) = (self.mean.view_mut(), self.square.view_mut());
        match (weights, &mut self.master) {
            (Ok(weights), _) => adamw_into(weights, gradient, mean, square, adamw),
            (Err(few), Some(master)) => {
                adamw_into(master.view_mut(), gradient, mean, square, adamw)?;
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
