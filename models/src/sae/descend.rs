//! The way back of a step of any variant: gradients of all that is learned, and the step along them.
use super::gates::{Learned, carry_on, detached};
use super::general::{Forward, Group};
use super::gradient::{Sums, Weights};
use super::reconstructions::Other;
use super::scratch::{Scratch, codes};
use super::step::paces;
use super::train::Trainer;
use super::variant::Jump;
use super::{Config, Own, Units, Variant};
use crate::io::Result;
use crate::{
    Accumulate, Push, Tensor, add_into, advance_into, copy_into, linear_backward_into, sae_bias_backward_into,
    sae_slopes, scale_into,
};

/// What the parts of a step leave for its end, beside what is in the scratch.
pub(super) struct Gathered {
    sums: Sums,
    skip: Option<Tensor<f32, 2>>,
    router: Option<(Tensor<f32, 2>, Tensor<f32, 1>)>,
}

impl Gathered {
    /// Before the first part.
    pub fn none(config: &Config) -> Self {
        Self { sums: Sums::zero(config.latents), skip: None, router: None }
    }
}

impl Trainer {
    /// The gradients of a part of a step, added to those of the parts before it. `squares` is what the squared errors count for, and
    /// `outside` the gradient of whatever else the reconstruction is for.
    pub(super) fn gather(
        &mut self,
        mut forward: Forward,
        squares: f32,
        outside: Option<Tensor<f32, 2>>,
        gathered: &mut Gathered,
    ) -> Result<()> {
        if let Some(last) = forward.residuals.last() {
            copy_into(last.view(), self.scratch.residual.view_mut())?;
        }
        let revived = match self.config.revive {
            Some(revive) if self.facts.dead > 0 => Some(self.leftover(revive)?),
            _ => None,
        };
        let sums = &mut gathered.sums;
        let mut g = self.prefixes_backward(&mut forward, sums, squares, outside)?;
        self.others_backward(std::mem::take(&mut forward.others), &mut g)?;
        self.revived_backward(revived)?;
        if let (Some(nudge), Some(lengths)) = (self.config.nudge, &forward.lengths) {
            self.nudge(nudge, lengths, sums)?;
        }
        self.center_backward(&g)?;
        let router = self.router_backward(&forward, &sums.chances)?;
        match (&mut gathered.router, router) {
            (Some((w, b)), Some((dw, db))) => {
                add_into(dw.view(), w.view_mut())?;
                let d = [1, self.config.d];
                add_into(db.view().reshape(d)?, b.view_mut().reshape(d)?)?;
            }
            (none, router) => *none = router,
        }
        if let Some(skip) = &self.sae.skip {
            let dw = match &mut gathered.skip {
                Some(dw) => dw,
                none => none.insert(Tensor::zeros(skip.dims(), &skip.device())?),
            };
            let (x, w) = (self.scratch.x.view(), skip.view());
            linear_backward_into(x, w, g.view(), Accumulate::Add, None, Some(dw.view_mut()), None)?;
        }
        if self.last_part() && self.config.variant.sparsity().is_some_and(|sparsity| sparsity.anneal.is_some()) {
            carry_on(&self.config, &mut self.facts, &forward.penalised(&self.config)?);
        }
        Ok(())
    }

    /// Whether gradients are joined to those of parts before, or take their place.
    fn accumulate(&self) -> Accumulate {
        if self.earlier.is_empty() { Accumulate::Replace } else { Accumulate::Add }
    }

    fn last_part(&self) -> bool {
        self.earlier.len() + self.config.rows() == self.config.batch
    }

    /// The slope of the loss in a residual, but for what a prefix weighs.
    fn slope(&self) -> f32 {
        -2.0 / (self.config.rows() as f32 * self.norm())
    }

    /// What the squared error of a row is divided by.
    pub(super) fn norm(&self) -> f32 {
        match self.config.units {
            Units::Deviation => self.facts.variance,
            Units::AsTheyAre => self.config.d as f32,
        }
    }

    /// All prefixes, from the last to the first. What comes back is the gradient of `b_dec` where the decoder adds it, row by row.
    fn prefixes_backward(
        &mut self,
        forward: &mut Forward,
        sums: &mut Sums,
        squares: f32,
        outside: Option<Tensor<f32, 2>>,
    ) -> Result<Tensor<f32, 2>> {
        let (slope, mut accumulate) = (squares * self.slope(), self.accumulate());
        let own = match forward.found.take() {
            Some(mut own) => {
                scale_into(slope, own.view_mut())?;
                Some(own)
            }
            None => None,
        };
        let residuals = std::mem::take(&mut forward.residuals);
        let even = 1.0 / residuals.len() as f32;
        let mut from_here = outside;
        for (at, mut g) in residuals.into_iter().enumerate().rev() {
            scale_into(slope * self.config.prefix_weights.get(at).copied().unwrap_or(even), g.view_mut())?;
            if let Some(later) = &from_here {
                add_into(later.view(), g.view_mut())?;
            }
            self.group_backward(forward, &forward.groups[at], [Some(&g), own.as_ref()], accumulate, sums)?;
            (accumulate, from_here) = (Accumulate::Add, Some(g));
        }
        let mut g = match from_here {
            Some(g) => g,
            None => Tensor::zeros(self.scratch.x.dims(), &self.sae.device())?,
        };
        if let (Some(own), Some(false)) = (&own, detached(&self.config)) {
            add_into(own.view(), g.view_mut())?;
        }
        Ok(g)
    }

    /// The gradients of one group, of which `g` is that of the reconstruction, and `own` that of the one from what the gate found.
    fn group_backward(
        &mut self,
        forward: &Forward,
        group: &Group,
        [g, own]: [Option<&Tensor<f32, 2>>; 2],
        accumulate: Accumulate,
        sums: &mut Sums,
    ) -> Result<()> {
        let (Some(g), detached) = (g, detached(&self.config)) else { return Ok(()) };
        let (found, given, device) = (group.found.view(), group.given()?, g.device());
        let slots = found.shape().slots();
        let mut weights = Weights::of(&self.config, &self.sae, &mut self.scratch);
        if let Some((routes, _)) = &forward.routes {
            let mut slopes = sae_slopes(given, g.view(), weights.w_dec)?;
            sums.route(routes, &group.found, &mut slopes)?;
            return weights.backward(given, g, accumulate, &mut slopes, true);
        }
        let Some(between) = &forward.between else {
            let mut dvalues = Tensor::empty([slots], &device)?;
            return weights.backward(given, g, accumulate, &mut dvalues, false);
        };
        let mut slopes = sae_slopes(given, g.view(), weights.w_dec)?;
        // The penalty of a gated run is on what was found.
        let push = if own.is_some() { Push::default() } else { between.push };
        sums.gate(found, between.gate(), push, &mut slopes)?;
        let Some(own) = own else { return weights.backward(given, g, accumulate, &mut slopes, true) };
        let (mut others, mut more) = (sae_slopes(found, own.view(), weights.w_dec)?, Sums::zero(self.config.latents));
        more.gate(found, between.rectifier(), between.push, &mut others)?;
        sums.weight.iter_mut().zip(more.weight).for_each(|(sum, more)| *sum += more);
        add_into(others.view().reshape([1, slots])?, slopes.view_mut().reshape([1, slots])?)?;
        weights.backward(given, g, accumulate, &mut slopes, true)?;
        if detached == Some(false) {
            let mut none = Tensor::zeros([slots], &device)?;
            weights.backward(found, own, Accumulate::Add, &mut none, true)?;
        }
        Ok(())
    }

    /// The reconstructions from more latents, and from fewer.
    fn others_backward(&mut self, others: Vec<Other>, of_recon: &mut Tensor<f32, 2>) -> Result<()> {
        for Other { code, residual: mut g, weight } in others {
            scale_into(weight * self.slope(), g.view_mut())?;
            add_into(g.view(), of_recon.view_mut())?;
            let mut dvalues = Tensor::empty([code.view().shape().slots()], &g.device())?;
            let mut weights = Weights::of(&self.config, &self.sae, &mut self.scratch);
            weights.backward(code.view(), &g, Accumulate::Add, &mut dvalues, false)?;
        }
        Ok(())
    }

    /// What dead latents made of the residual.
    fn revived_backward(&mut self, revived: Option<usize>) -> Result<()> {
        let (Some(k), sae, rows) = (revived, &self.sae, self.config.rows()) else { return Ok(()) };
        let Scratch { x, dw_dec, dw_enc, db_enc, aux_values, aux_latents, aux_residual, .. } = &mut self.scratch;
        let code = codes(aux_values, aux_latents, None, [rows, k])?;
        let b_dec = self.config.centred.then(|| sae.b_dec.view());
        let mut weights = Weights { x: x.view(), w_dec: sae.w_dec.view(), b_dec, dw_dec, dw_enc, db_enc };
        let mut dvalues = Tensor::empty([rows * k], &sae.device())?;
        weights.backward(code, aux_residual, Accumulate::Add, &mut dvalues, false)
    }

    /// The gradient of `b_dec`, which the decoder adds and the encoder may take away: that, from the gradient of `b_enc`, of all parts at
    /// once.
    fn center_backward(&mut self, g: &Tensor<f32, 2>) -> Result<()> {
        let (accumulate, last) = (self.accumulate(), self.last_part());
        let (config, sae, s) = (&self.config, &self.sae, &mut self.scratch);
        let none = if config.centred && last { None } else { Some(Tensor::zeros([config.latents], &sae.device())?) };
        let db_enc = none.as_ref().unwrap_or(&s.db_enc).view();
        let (w_enc, work) = (sae.w_enc.view(), s.workspace.view_mut());
        Ok(sae_bias_backward_into(g.view(), w_enc, db_enc, accumulate, s.db_dec.view_mut(), work)?)
    }

    /// What only all parts together give; shorten the gradient if asked to, and step.
    pub(super) fn general_update(&mut self, gathered: Gathered) -> Result<()> {
        let Gathered { sums, mut skip, mut router } = gathered;
        let mut learned = self.learned_backward(&sums)?;
        if self.config.variant.by_length() {
            self.lengths_backward(&sums.weight)?;
        }
        let (n, d) = (self.config.latents, self.config.d);
        let mut rest = learned.iter_mut().map(|of| of.view_mut().reshape([1, n])).collect::<crate::Result<Vec<_>>>()?;
        rest.extend(skip.as_mut().map(Tensor::view_mut));
        if let Some((w, b)) = &mut router {
            rest.extend([w.view_mut(), b.view_mut().reshape([1, d])?]);
        }
        if self.config.parts > 1 {
            // Each part's gradient was that of a mean over its own rows.
            self.scratch.scale_with(1.0 / self.config.parts as f32, &mut rest)?;
        }
        if let Some(most) = self.config.clip {
            self.scratch.clip_with(most, &mut rest)?;
        }
        drop(rest);
        self.step_weights()?;
        let (s, sae) = (&self.scratch, &mut self.sae);
        let [weights, biases] = paces(&self.config, &self.facts, &s.rates, &s.at);
        match (&mut self.learned, &mut sae.own) {
            (Learned::Thresholds { of, moments }, _) => {
                let log = matches!(self.config.variant, Variant::JumpReLU(Jump { log: true, .. }));
                moments.step(of, &learned[0], if log { &weights } else { &biases })?;
            }
            (Learned::Magnitudes { factors, biases: of_biases }, Some(Own::Magnitudes { r_mag, b_mag })) => {
                factors.step(r_mag, &learned[0], &weights)?;
                of_biases.step(b_mag, &learned[1], &biases)?;
            }
            (Learned::Router { w, b }, _) => {
                if let (Some(router), Some((dw, db))) = (&mut sae.router, &router) {
                    // Chances are of `W (x - b)`: `W` is as small as rows are large.
                    let now = self.config.adamw(self.facts.step, 1.0 / self.facts.scale);
                    w.step_now(&mut router.w, dw, &now)?;
                    b.step(&mut router.b, db, &biases)?;
                }
            }
            _ => {}
        }
        if let (Some(dw), Some(w), Some(moments)) = (&skip, &mut sae.skip, &mut self.w_skip) {
            moments.step(w, dw, &weights)?;
        }
        self.learned.renew(&self.config, &mut self.sae)?;
        Ok(advance_into(self.scratch.at.view_mut())?)
    }
}
