//! A step of any variant, operation by operation. TopK and BatchTopK without more have one of their own ([`super::step`]), which
//! allocates nothing and which a GPU records; this one looks at its codes on the host, so on a GPU it waits for them.
//!
//! ```text
//! loss = Σ_g weight_g Σ e_g² / (rows norm)  +  penalties / (rows d)  +  what revives dead latents
//! ```
//! `e_g` is what the latents of prefix `g` leave over (one prefix, all latents, where there are no others), and `norm` the variance of the
//! sample, or `d` where [`Units`](super::Units) are as they are. Latents of a row come in rising order, so those that prefix `g + 1` has more
//! than `g` lie together: each is decoded once, from what the ones before left over, and its gradient comes from the sum of all
//! residuals from there on.
use super::gates::{self, Between, detached};
use super::reconstructions::{Other, Ranked, others};
use super::router::{Routes, strongest_of_expert};
use super::train::Trainer;
use super::{Config, Decoder, Rule, Sae, Switch, Variant, groups};
use crate::io::{Error, Result};
use crate::{
    Code, Codes, Tensor, View, add_into, copy_into, linear, sae_bias_into, sae_decode, sae_encode, sae_encode_flat,
    sae_encode_threshold, sae_gate, sae_track_into, scale_into,
};
use rayon::prelude::*;

/// Latents of a prefix that the one before does not have, and what the decoder is given of them if it is not what was found.
pub(super) struct Group {
    pub found: Code<f32>,
    pub given: Option<Tensor<f32, 1>>,
}

impl Group {
    pub fn given(&self) -> Result<Codes<'_, f32>> {
        Ok(match &self.given {
            Some(given) => self.found.view().with(given.view())?,
            None => self.found.view(),
        })
    }
}

/// What the way forward leaves for the way back.
pub(super) struct Forward {
    pub groups: Vec<Group>,
    /// Of each prefix, what it leaves over.
    pub residuals: Vec<Tensor<f32, 2>>,
    /// Of reconstructions from more latents, or from fewer.
    pub others: Vec<Other>,
    /// Of the reconstruction from what the gate found.
    pub found: Option<Tensor<f32, 2>>,
    pub between: Option<Between>,
    pub lengths: Option<Vec<f32>>,
    /// Where rows were sent, and the rows as the router sees them.
    pub routes: Option<(Routes, Tensor<f32, 2>)>,
}

impl Forward {
    /// What all latents make of `x`, in its units.
    pub fn reconstruction(&self, x: View<'_, f32, 2>) -> Result<Tensor<f32, 2>> {
        match self.residuals.last() {
            Some(residual) => less(x, residual),
            None => Ok(Tensor::zeros(x.dims(), &x.device())?),
        }
    }

    /// What the encoder found, group by group.
    pub fn found(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for group in &self.groups {
            all.extend(group.found.values.to_vec()?);
        }
        Ok(all)
    }

    /// What the penalty is on: what the decoder was given, or, of a gated run, what the gate found; times what it weighs.
    pub fn penalised(&self, config: &Config) -> Result<Vec<f32>> {
        let Some(Between { weight: Some(weight), .. }) = &self.between else { return Ok(Vec::new()) };
        let (weight, mut all) = (weight.to_vec()?, Vec::new());
        for group in &self.groups {
            let values = match (&group.given, detached(config)) {
                (Some(given), None) => given.to_vec()?,
                _ => group.found.values.to_vec()?,
            };
            let named = group.found.latents.to_vec()?.into_iter().zip(values);
            all.extend(named.map(|(latent, value)| weight.get(latent as usize).map_or(0.0, |weight| weight * value)));
        }
        Ok(all)
    }
}

impl Trainer {
    /// Whether all that this run asks for is in the step that is recorded.
    pub(super) fn plain(&self) -> bool {
        let c = &self.config;
        matches!(c.variant, Variant::TopK | Variant::BatchTopK)
            && (c.fraction, c.falling, c.centred, c.decoder) == (0.0, None, true, Decoder::Unit)
            && c.prefixes.is_empty()
            && (c.multi, c.transcode) == (None, None)
            && (c.parts, c.rule) == (1, Rule::AdamW)
            && !c.ranked_by_length
            && c.budgets.is_empty()
    }

    /// Encode, decode, and note who fired. `target` is what is to be predicted, if it is not what is read.
    pub(super) fn general_forward(&mut self, target: Option<View<'_, f32, 2>>) -> Result<Forward> {
        let zero = self.no_center()?;
        let (config, facts, sae, s) = (&self.config, &self.facts, &self.sae, &mut self.scratch);
        let center = zero.as_ref().unwrap_or(&sae.b_dec).view();
        sae_bias_into(sae.w_enc.view(), sae.b_enc.view(), center, s.bias.view_mut())?;
        let by_length = config.variant.by_length();
        let lengths = by_length || config.nudge.is_some();
        let lengths = if lengths { Some(lengths_of(&sae.w_dec, config.sides)?) } else { None };
        let mut between = Between::new(config, sae, facts.unit, lengths.as_deref().filter(|_| by_length))?;
        let routes = match &self.sae.router {
            Some(router) => {
                let centred = router.centred(self.scratch.x.view())?;
                Some((router.route(&centred)?, centred))
            }
            None => None,
        };
        let ranked = match self.config.ranked_by_length {
            true => Some(Ranked::of(&self.sae, self.config.sides, &self.scratch.bias)?),
            false => None,
        };
        let found = match &ranked {
            Some(ranked) => ranked.find(self.scratch.x.view(), &self.config, self.facts.step)?,
            None => self.find(between.as_ref(), routes.as_ref().map(|(routes, _)| routes))?,
        };
        let (config, sae, s) = (&self.config, &self.sae, &mut self.scratch);
        let given = match (&between, &routes, &ranked) {
            (Some(between), ..) => Some(sae_gate(found.view(), config.latents, between.gate())?),
            (None, Some((routes, _)), _) => Some(routes.scaled(&found)?),
            (None, None, Some(ranked)) => Some(ranked.values(&found)?),
            (None, None, None) => None,
        };
        let active = active(given.as_ref().unwrap_or(&found.values))?;
        let active = active as f32 / config.rows() as f32;
        let parts = (self.earlier.len() / config.rows()) as f32; // before this one
        self.active =
            Some(if parts == 0.0 { active } else { (self.active.unwrap_or(0.0) * parts + active) / (parts + 1.0) });
        if let Some(between) = &mut between {
            between.push = gates::push(config, &self.facts, active);
        }
        let groups = grouped(found, given, &config.prefixes)?;
        let skipped = match (&sae.skip, target) {
            (Some(skip), Some(target)) => Some(less(target, &linear(s.x.view(), skip.view(), None)?)?),
            _ => None,
        };
        let target = skipped.as_ref().map(Tensor::view).or(target).unwrap_or(s.x.view());
        let residuals = decode(&groups, sae, target, &mut s.error, &mut self.since, config)?;
        let others = others(config, sae, [s.x.view(), target], &s.bias, &groups[0].found)?;
        let found = match detached(config) {
            Some(_) => {
                let code = groups[0].found.view();
                sae_decode(code, sae.w_dec.view(), Some(sae.b_dec.view()), Some(target))?.residual
            }
            None => None,
        };
        Ok(Forward { groups, residuals, others, found, between, lengths, routes })
    }

    /// What stands for `b_dec` in the encoder, if it does not read without.
    fn no_center(&self) -> Result<Option<Tensor<f32, 1>>> {
        let none = || Tensor::zeros([self.config.d], &self.sae.device());
        Ok(if self.config.centred { None } else { Some(none()?) })
    }

    /// What the encoder finds in the rows of this step.
    fn find(&mut self, between: Option<&Between>, routes: Option<&Routes>) -> Result<Code<f32>> {
        let (config, sae, s) = (&self.config, &self.sae, &self.scratch);
        let (x, w_enc, bias, k) = (s.x.view(), sae.w_enc.view(), s.bias.view(), config.k_at(self.facts.step));
        match config.variant {
            Variant::TopK => {
                let (values, latents) = sae_encode(x, w_enc, bias, k)?;
                Ok(Code::fixed(values, latents)?)
            }
            Variant::BatchTopK => {
                let (values, latents, offsets) = sae_encode_flat(x, w_enc, bias, config.total(k))?;
                Ok(Code::flat(values, latents, offsets)?)
            }
            Variant::Switch(Switch { experts, .. }) => match routes {
                Some(routes) => strongest_of_expert(x, w_enc, bias, k, experts, routes),
                None => Err(Error::setting("router", "is missing")),
            },
            Variant::GroupMax => groups::strongest_of_groups(x, w_enc, bias, k),
            Variant::ReLU(_) | Variant::Gated(_) | Variant::JumpReLU(_) => {
                let shifted = match between {
                    Some(Between { shift: Some(shift), floor, .. }) if *floor > 0.0 => {
                        // z - threshold + width / 2 is found, of which the gate makes z again.
                        let (bias, shift) = (s.bias.to_vec()?, shift.to_vec()?);
                        let shifted = bias.iter().zip(shift).map(|(bias, shift)| bias - shift).collect();
                        Some(Tensor::<f32, 1>::from_vec(shifted, [config.latents], &sae.device())?)
                    }
                    _ => None,
                };
                let bias = shifted.as_ref().map_or(bias, Tensor::view);
                loop {
                    let room = self.room.min(config.latents);
                    let (values, latents, counts) = sae_encode_threshold(x, w_enc, bias, 0.0, room)?;
                    let most = counts.to_vec()?.into_iter().max().unwrap_or(0) as usize;
                    // A little more than is needed, so that it seldom has to be done again; what comes out is the same for any room.
                    self.room = (most + most / 4 + 16).next_multiple_of(16);
                    if most <= room {
                        return Ok(Code::fixed(values, latents)?);
                    }
                }
            }
        }
    }
}

/// What each prefix leaves over of `target`; who fired is noted.
fn decode(
    groups: &[Group],
    sae: &Sae,
    target: View<'_, f32, 2>,
    squares: &mut Tensor<f32, 1>,
    since: &mut Tensor<u32, 1>,
    config: &Config,
) -> Result<Vec<Tensor<f32, 2>>> {
    let mut residuals: Vec<Tensor<f32, 2>> = Vec::new();
    for group in groups {
        let (against, b_dec) = match residuals.last() {
            Some(before) => (before.view(), None),
            None => (target, Some(sae.b_dec.view())),
        };
        let decoded = sae_decode(group.given()?, sae.w_dec.view(), b_dec, Some(against))?;
        // Counters go on with the first group only.
        let rows = if residuals.is_empty() { config.rows() as u32 } else { 0 };
        sae_track_into(group.given()?, since.view_mut(), rows, config.fired)?;
        residuals.extend(decoded.residual);
        if let Some(error) = decoded.error {
            *squares = error;
        }
    }
    Ok(residuals)
}

/// Codes split where prefixes end.
fn grouped(found: Code<f32>, given: Option<Tensor<f32, 1>>, prefixes: &[usize]) -> Result<Vec<Group>> {
    if prefixes.len() < 2 {
        return Ok(vec![Group { found, given }]);
    }
    let device = found.values.device();
    let (values, latents, offsets) = (found.values.to_vec()?, found.latents.to_vec()?, offsets(&found)?);
    let given = given.map(|given| given.to_vec()).transpose()?;
    let mut groups = Vec::new();
    let mut first = 0;
    for &end in prefixes {
        let (mut slots, mut ends) = (Vec::new(), vec![0_u32]);
        for row in offsets.windows(2) {
            slots.extend((row[0]..row[1]).filter(|&slot| (first..end).contains(&(latents[slot] as usize))));
            ends.push(slots.len() as u32);
        }
        let of =
            |from: &[f32]| Tensor::from_vec(slots.iter().map(|&slot| from[slot]).collect(), [slots.len()], &device);
        let names = slots.iter().map(|&slot| latents[slot]).collect();
        let rows = ends.len();
        let found = Code::flat(
            of(&values)?,
            Tensor::from_vec(names, [slots.len()], &device)?,
            Tensor::from_vec(ends, [rows], &device)?,
        )?;
        groups.push(Group { found, given: given.as_deref().map(of).transpose()? });
        first = end;
    }
    Ok(groups)
}

/// Where the slots of rows begin and end.
fn offsets(code: &Code<f32>) -> Result<Vec<usize>> {
    let shape = code.view().shape();
    Ok(match &code.offsets {
        Some(offsets) => offsets.to_vec()?.into_iter().map(|at| at as usize).collect(),
        None => (0..=shape.rows()).map(|row| row * (shape.slots() / shape.rows().max(1))).collect(),
    })
}

/// How many values are not 0.
fn active(values: &Tensor<f32, 1>) -> Result<usize> {
    Ok(on_host(values)?.iter().filter(|&&value| value > 0.0).count())
}

/// Numbers on the host: without a copy where they are there.
fn on_host(of: &Tensor<f32, 1>) -> Result<std::borrow::Cow<'_, [f32]>> {
    Ok(match of.host() {
        Some(host) => host.into(),
        None => of.to_vec()?.into(),
    })
}

/// Lengths of the rows of a decoder; of rows that have sides, the sum of theirs.
pub(super) fn lengths_of(w_dec: &Tensor<f32, 2>, sides: usize) -> Result<Vec<f32>> {
    let [_, d] = w_dec.dims();
    let copy;
    let all = match w_dec.host() {
        Some(host) => host,
        None => {
            copy = w_dec.to_vec()?;
            &copy
        }
    };
    let length = |side: &[f32]| side.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
    let rows = all.par_chunks_exact(d);
    Ok(rows.map(|row| row.chunks_exact(d / sides).map(length).sum::<f64>() as f32).collect())
}

/// `x - y`.
fn less(x: View<'_, f32, 2>, y: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
    let mut less = Tensor::empty(x.dims(), &x.device())?;
    copy_into(y.view(), less.view_mut())?;
    scale_into(-1.0, less.view_mut())?;
    add_into(x, less.view_mut())?;
    Ok(less)
}

#[cfg(test)]
mod tests;
