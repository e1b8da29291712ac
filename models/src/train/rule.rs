//! What makes a step of a gradient, and what it remembers of one part of the weights.
use crate::io::named::{Incoming, Outgoing};
use crate::io::{Error, Result};
use crate::{AdamW, Device, Signum, Tensor, View, ViewMut, adamw_into, adamw8_into, signum_into};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Entries that share a scale where averages are kept in 8 bits.
pub(super) const BLOCK: usize = 256;

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

/// What makes a step of a gradient. What it remembers of each weight decides most of the memory that training takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rule {
    /// AdamW: 8 bytes of a weight, a mean and a mean of squares in `f32`.
    AdamW(Betas),
    /// AdamW whose two means are codes of 8 bits, with two scales to 256 weights: 2 bytes of a weight. See
    /// [`adamw8_into`].
    AdamW8(Betas),
    /// Steps along the sign of the mean of gradients, each as long as the rate: 4 bytes of a weight. It wants rates some times
    /// smaller than AdamW's.
    Signum {
        /// Decay of the mean; 0 takes the sign of the gradient itself.
        beta: f64,
    },
}

impl Default for Rule {
    fn default() -> Self {
        Self::AdamW(Betas::default())
    }
}

impl Rule {
    /// # Errors
    /// [`Error::Setting`] naming what has no meaning.
    pub fn check(&self) -> Result<()> {
        let (decays, eps) = match *self {
            Self::AdamW(Betas { beta1, beta2, eps }) | Self::AdamW8(Betas { beta1, beta2, eps }) => {
                (vec![("beta1", beta1), ("beta2", beta2)], eps)
            }
            Self::Signum { beta } => (vec![("beta", beta)], 0.0),
        };
        if let Some((name, decay)) = decays.into_iter().find(|(_, decay)| !(0.0..1.0).contains(decay)) {
            return Err(Error::setting(name, format!("is {decay}, expected at least 0 and less than 1")));
        }
        if !(eps.is_finite() && eps >= 0.0) {
            return Err(Error::setting("eps", format!("is {eps}, expected a number of at least 0")));
        }
        Ok(())
    }

    /// What it remembers, in words.
    pub(super) fn remembers(&self) -> String {
        match self {
            Self::AdamW(_) => "two f32 of AdamW for each weight".into(),
            Self::AdamW8(_) => format!("two codes of 8 bits of AdamW for each weight, two f32 for {BLOCK} of them"),
            Self::Signum { .. } => "an f32 of signum for each weight".into(),
        }
    }

    /// A rule out of settings; those that were written before there were several hold AdamW's constants.
    pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Saved {
            adamw: Option<Betas>,
            adamw8: Option<Betas>,
            signum: Option<Sign>,
            beta1: Option<f64>,
            beta2: Option<f64>,
            eps: Option<f64>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sign {
            beta: f64,
        }
        let saved = Saved::deserialize(from)?;
        match (saved.adamw, saved.adamw8, saved.signum, (saved.beta1, saved.beta2, saved.eps)) {
            (Some(betas), None, None, (None, None, None)) => Ok(Self::AdamW(betas)),
            (None, Some(betas), None, (None, None, None)) => Ok(Self::AdamW8(betas)),
            (None, None, Some(Sign { beta }), (None, None, None)) => Ok(Self::Signum { beta }),
            (None, None, None, (Some(beta1), Some(beta2), Some(eps))) => Ok(Self::AdamW(Betas { beta1, beta2, eps })),
            _ => Err(D::Error::custom(
                "expected one rule (adamw, adamw8 or signum), or the constants of AdamW (beta1, beta2, eps)",
            )),
        }
    }
}

/// What a rule remembers of one part of the weights, zero before the first step.
pub(super) enum Moments {
    AdamW { betas: Betas, mean: Tensor<f32, 2>, square: Tensor<f32, 2> },
    AdamW8 { betas: Betas, mean: Tensor<u8, 2>, square: Tensor<u8, 2>, scales: Tensor<f32, 2> },
    Signum { beta: f64, mean: Tensor<f32, 2> },
}

impl Moments {
    pub fn new(rule: Rule, dims: [usize; 2], device: &Device) -> Result<Self> {
        Ok(match rule {
            Rule::AdamW(betas) => {
                Self::AdamW { betas, mean: Tensor::zeros(dims, device)?, square: Tensor::zeros(dims, device)? }
            }
            Rule::AdamW8(betas) => {
                let blocks = dims.iter().product::<usize>().div_ceil(BLOCK);
                let (mean, square) = (Tensor::zeros(dims, device)?, Tensor::zeros(dims, device)?);
                Self::AdamW8 { betas, mean, square, scales: Tensor::zeros([blocks, 2], device)? }
            }
            Rule::Signum { beta } => Self::Signum { beta, mean: Tensor::zeros(dims, device)? },
        })
    }

    /// A step of `w`, the `step`-th counted from 1.
    pub fn step(
        &mut self,
        w: ViewMut<'_, f32, 2>,
        g: View<'_, f32, 2>,
        lr: f64,
        weight_decay: f64,
        step: u64,
    ) -> crate::Result<()> {
        let adamw = |&Betas { beta1, beta2, eps }: &Betas| AdamW { lr, beta1, beta2, eps, weight_decay, step };
        match self {
            Self::AdamW { betas, mean, square } => adamw_into(w, g, mean.view_mut(), square.view_mut(), &adamw(betas)),
            Self::AdamW8 { betas, mean, square, scales } => {
                adamw8_into(w, g, mean.view_mut(), square.view_mut(), scales.view_mut(), BLOCK, &adamw(betas))
            }
            Self::Signum { beta, mean } => {
                signum_into(w, g, mean.view_mut(), &Signum { lr, beta: *beta, weight_decay })
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::AdamW { mean, square, .. } => 4 * (mean.layout().len() + square.layout().len()),
            Self::AdamW8 { mean, square, scales, .. } => {
                mean.layout().len() + square.layout().len() + 4 * scales.layout().len()
            }
            Self::Signum { mean, .. } => 4 * mean.layout().len(),
        }
    }

    /// Write all to a file, under names that begin with `name`.
    pub fn put(&self, name: &str, file: &mut Outgoing) -> Result<()> {
        let [mean_name, square_name, scales_name] = ["mean", "square", "scales"].map(|of| format!("{name}.{of}"));
        match self {
            Self::AdamW { mean, square, .. } => {
                file.put(&mean_name, &mean.dims(), mean.to_vec()?);
                file.put(&square_name, &square.dims(), square.to_vec()?);
            }
            Self::AdamW8 { mean, square, scales, .. } => {
                file.put_codes(&mean_name, &mean.dims(), mean.to_vec()?);
                file.put_codes(&square_name, &square.dims(), square.to_vec()?);
                file.put(&scales_name, &scales.dims(), scales.to_vec()?);
            }
            Self::Signum { mean, .. } => file.put(&mean_name, &mean.dims(), mean.to_vec()?),
        }
        Ok(())
    }

    /// Read what [`put`](Self::put) wrote. Every number is checked; every code is one.
    pub fn take(&mut self, name: &str, file: &mut Incoming) -> Result<()> {
        let [mean_name, square_name, scales_name] = ["mean", "square", "scales"].map(|of| format!("{name}.{of}"));
        match self {
            Self::AdamW { mean, square, .. } => {
                *mean = numbers(file, &mean_name, mean.dims(), &mean.device(), |_, x| x.is_finite())?;
                *square = numbers(file, &square_name, mean.dims(), &mean.device(), |_, x| x.is_finite() && x >= 0.0)?;
            }
            Self::AdamW8 { mean, square, scales, .. } => {
                for (name, codes) in [(&mean_name, &mut *mean), (&square_name, square)] {
                    *codes = Tensor::from_vec(file.take_codes(name, &codes.dims())?, codes.dims(), &codes.device())?;
                }
                // Those of means, which have signs, and of squares, by turns.
                let may = |at: usize, x: f32| x.is_finite() && (at.is_multiple_of(2) || x >= 0.0);
                *scales = numbers(file, &scales_name, scales.dims(), &scales.device(), may)?;
            }
            Self::Signum { mean, .. } => {
                *mean = numbers(file, &mean_name, mean.dims(), &mean.device(), |_, x| x.is_finite())?;
            }
        }
        Ok(())
    }
}

/// A tensor of a file, whose numbers must be such as `may` be there, told at which place of all.
pub(super) fn numbers(
    file: &mut Incoming,
    name: &str,
    dims: [usize; 2],
    device: &Device,
    may: impl Fn(usize, f32) -> bool,
) -> Result<Tensor<f32, 2>> {
    let numbers = file.take(name, &dims)?;
    match numbers.iter().enumerate().find(|(at, number)| !may(*at, **number)) {
        None => Ok(Tensor::from_vec(numbers, dims, device)?),
        Some((_, number)) => {
            let wanted = if number.is_finite() { "numbers of at least 0" } else { "finite numbers" };
            Err(file.wrong(format!("tensor {name} holds {number}, expected {wanted}")))
        }
    }
}
