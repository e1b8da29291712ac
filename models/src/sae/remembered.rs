//! Weights and what a rule remembers of them, in a file.
use super::moments::Moments;
use super::{Own, Rule, Sae};
use crate::io::Result;
use crate::io::named::{Incoming, Outgoing};
use crate::{Device, Tensor};

/// `NAME`, and beside it `NAME.mean`, `NAME.square` and `NAME.scales`, as far as there are any.
pub(super) fn put<const R: usize>(
    weights: &mut Outgoing,
    name: &str,
    dims: &[usize],
    values: &Tensor<f32, R>,
    moments: &Moments<R>,
) -> Result<()> {
    let [mean_name, square_name, scales_name] = names(name);
    weights.put(name, dims, values.to_vec()?);
    match moments {
        Moments::AdamW { mean, square } => {
            weights.put(&mean_name, dims, mean.to_vec()?);
            weights.put(&square_name, dims, square.to_vec()?);
        }
        Moments::AdamW8 { mean, square, scales } => {
            weights.put_codes(&mean_name, dims, mean.to_vec()?);
            weights.put_codes(&square_name, dims, square.to_vec()?);
            weights.put(&scales_name, &scales.dims(), scales.to_vec()?);
        }
        Moments::Signum { mean, .. } | Moments::Muon { mean, .. } => weights.put(&mean_name, dims, mean.to_vec()?),
    }
    Ok(())
}

/// What [`put`] wrote. Every number is checked; every code is one.
pub(super) fn take<const R: usize>(
    weights: &mut Incoming,
    name: &str,
    dims: [usize; R],
    rule: Rule,
    device: &Device,
) -> Result<(Tensor<f32, R>, Moments<R>)> {
    let [mean_name, square_name, scales_name] = names(name);
    let values = numbers(weights, name, dims, device, |_, x| x.is_finite())?;
    // Only the kind and the number of scales are of use of these, which are zero.
    let mut moments = Moments::new(rule, dims, device)?;
    match &mut moments {
        Moments::AdamW { mean, square } => {
            *mean = numbers(weights, &mean_name, dims, device, |_, x| x.is_finite())?;
            *square = numbers(weights, &square_name, dims, device, |_, x| x.is_finite() && x >= 0.0)?;
        }
        Moments::AdamW8 { mean, square, scales } => {
            for (name, codes) in [(&mean_name, mean), (&square_name, square)] {
                *codes = Tensor::from_vec(weights.take_codes(name, &dims)?, dims, device)?;
            }
            // Those of means, which have signs, and of squares, by turns.
            let may = |at: usize, x: f32| x.is_finite() && (at.is_multiple_of(2) || x >= 0.0);
            *scales = numbers(weights, &scales_name, scales.dims(), device, may)?;
        }
        Moments::Signum { mean, .. } | Moments::Muon { mean, .. } => {
            *mean = numbers(weights, &mean_name, dims, device, |_, x| x.is_finite())?;
        }
    }
    Ok((values, moments))
}

/// The running mean of all weights.
pub(super) fn put_mean(weights: &mut Outgoing, mean: &Sae) -> Result<()> {
    fn one<const R: usize>(weights: &mut Outgoing, name: &str, of: &Tensor<f32, R>) -> Result<()> {
        weights.put(&averaged(name), &of.dims(), of.to_vec()?);
        Ok(())
    }
    one(weights, "w_enc", &mean.w_enc)?;
    one(weights, "w_dec", &mean.w_dec)?;
    one(weights, "b_enc", &mean.b_enc)?;
    one(weights, "b_dec", &mean.b_dec)?;
    match &mean.own {
        Some(Own::Thresholds(of)) => one(weights, "thresholds", of)?,
        Some(Own::Magnitudes { r_mag, b_mag }) => {
            one(weights, "r_mag", r_mag)?;
            one(weights, "b_mag", b_mag)?;
        }
        None => {}
    }
    if let Some(router) = &mean.router {
        one(weights, "router.weight", &router.w)?;
        one(weights, "router.bias", &router.b)?;
    }
    mean.skip.as_ref().map_or(Ok(()), |skip| one(weights, "w_skip", skip))
}

/// What [`put_mean`] wrote, of an autoencoder like this one.
pub(super) fn take_mean(weights: &mut Incoming, like: &Sae) -> Result<Sae> {
    fn one<const R: usize>(weights: &mut Incoming, name: &str, of: &mut Tensor<f32, R>) -> Result<()> {
        *of = numbers(weights, &averaged(name), of.dims(), &of.device(), |_, x| x.is_finite())?;
        Ok(())
    }
    let mut mean = like.copy()?;
    one(weights, "w_enc", &mut mean.w_enc)?;
    one(weights, "w_dec", &mut mean.w_dec)?;
    one(weights, "b_enc", &mut mean.b_enc)?;
    one(weights, "b_dec", &mut mean.b_dec)?;
    match &mut mean.own {
        Some(Own::Thresholds(of)) => one(weights, "thresholds", of)?,
        Some(Own::Magnitudes { r_mag, b_mag }) => {
            one(weights, "r_mag", r_mag)?;
            one(weights, "b_mag", b_mag)?;
        }
        None => {}
    }
    if let Some(router) = &mut mean.router {
        one(weights, "router.weight", &mut router.w)?;
        one(weights, "router.bias", &mut router.b)?;
    }
    if let Some(skip) = &mut mean.skip {
        one(weights, "w_skip", skip)?;
    }
    Ok(mean)
}

fn names(name: &str) -> [String; 3] {
    ["mean", "square", "scales"].map(|of| format!("{name}.{of}"))
}

fn averaged(name: &str) -> String {
    format!("averaged.{name}")
}

/// A tensor whose numbers must be such as `may` be there, told at which place of all.
fn numbers<const R: usize>(
    weights: &mut Incoming,
    name: &str,
    dims: [usize; R],
    device: &Device,
    may: impl Fn(usize, f32) -> bool,
) -> Result<Tensor<f32, R>> {
    let numbers = weights.take(name, &dims)?;
    match numbers.iter().enumerate().find(|(at, number)| !may(*at, **number)) {
        None => Ok(Tensor::from_vec(numbers, dims, device)?),
        Some((_, number)) => Err(weights.wrong(format!("tensor {name} holds {number}"))),
    }
}
