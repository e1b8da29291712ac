use super::weights::Layer;
use super::{Config, Mamba, State};
use crate::io::Result;
use crate::lm::{Hooks, Point, Site, Span};
use crate::tape::decay;
use crate::{
    Conv1d, Float, Scan, Tensor, View, add_into, conv1d_into, conv1d_step_into, conv1d_workspace, linear_into,
    rms_norm_into, scan_into, scan_step_into, scan_workspace,
};
use latens_core::Accumulate::Replace;

/// One way through the layers: the residual, and memory for what is computed on the way, used again by every layer.
pub(super) struct Pass<'a, T: Float> {
    model: &'a Mamba<T>,
    state: Option<&'a mut State<T>>,
    batch: usize,
    t: usize,
    /// The residual `[tokens, dim]`.
    x: Tensor<T, 2>,
    normed: Tensor<T, 2>,
    /// Channels and gates, `[tokens, 2 inner]`.
    wide: Tensor<T, 2>,
    /// Channels after the convolution, `[batch, t, inner]`.
    u: Tensor<T, 3>,
    /// Steps before they are spread, into states, out of states: `[tokens, rank + 2 states]`.
    select: Tensor<T, 2>,
    /// Steps, `[batch, t, inner]`.
    delta: Tensor<T, 3>,
    /// What the states gave, `[batch, t, inner]`.
    y: Tensor<T, 3>,
    /// What the mixer adds to `x`.
    change: Tensor<T, 2>,
}

impl<'a, T: Float> Pass<'a, T> {
    /// Begin with the residual `x` of `batch` contexts of `t` tokens each, after those that `state` has seen.
    pub(super) fn with(
        model: &'a Mamba<T>,
        [batch, t]: [usize; 2],
        x: Tensor<T, 2>,
        state: Option<&'a mut State<T>>,
    ) -> Result<Self> {
        let Config { dim, inner, states, rank, .. } = model.config;
        let (tokens, device) = (batch * t, &model.device);
        Ok(Self {
            x,
            normed: Tensor::empty([tokens, dim], device)?,
            wide: Tensor::empty([tokens, 2 * inner], device)?,
            u: Tensor::empty([batch, t, inner], device)?,
            select: Tensor::empty([tokens, rank + 2 * states], device)?,
            delta: Tensor::empty([batch, t, inner], device)?,
            y: Tensor::empty([batch, t, inner], device)?,
            change: Tensor::empty([tokens, dim], device)?,
            model,
            state,
            batch,
            t,
        })
    }

    /// Run the layers from `first` to that of `until`, and give the activations there.
    pub(super) fn run(mut self, first: usize, until: Site, hooks: &mut Hooks<'_, T>) -> Result<Tensor<T, 2>> {
        let config = &self.model.config;
        hooks.check(config.layers, Point::MIXER)?;
        let spans = Span::even([self.batch, self.t], self.state.as_ref().map_or(0, |state| state.length));
        for (at, layer) in self.model.weights.layers.iter().enumerate().take(until.layer + 1).skip(first) {
            rms_norm_into(self.x.view(), layer.norm.view(), config.epsilon, self.normed.view_mut())?;
            self.mix(at, layer)?;
            hooks.run(Site::mixer(at), &mut self.change, &spans)?;
            if until == Site::mixer(at) {
                return Ok(self.change);
            }
            add_into(self.change.view(), self.x.view_mut())?;
            hooks.run(Site::residual(at), &mut self.x, &spans)?;
        }
        if let Some(state) = self.state {
            state.length += self.t;
        }
        Ok(self.x)
    }

    /// `change` = the mixer of layer `at`.
    fn mix(&mut self, at: usize, layer: &Layer<T>) -> Result<()> {
        let Config { inner, states, rank, .. } = self.model.config;
        let (batch, t, tokens) = (self.batch, self.t, self.batch * self.t);
        layer.input.multiply(self.normed.view(), self.wide.view_mut())?;
        self.convolve(at, layer)?;
        let u = self.u.view().reshape([tokens, inner])?;
        linear_into(u, layer.select.view(), None, Replace, self.select.view_mut())?;
        let step = self.select.view().narrow(1, 0, rank)?;
        linear_into(step, layer.step.view(), None, Replace, self.delta.view_mut().reshape([tokens, inner])?)?;

        let made;
        let (a, state) = match self.state.as_deref_mut() {
            Some(State { decays, states, .. }) => (decays[at].view(), Some(&mut states[at])),
            None => {
                made = decay(layer.decay.view())?;
                (made.view(), None)
            }
        };
        let select = self.select.view().reshape([batch, t, rank + 2 * states])?;
        let (b, c) = (select.narrow(2, rank, rank + states)?, select.narrow(2, rank + states, rank + 2 * states)?);
        let call = Scan {
            skip: Some(layer.skip.view()),
            bias: Some(layer.step_bias.view()),
            gate: Some(self.wide.view().reshape([batch, t, 2 * inner])?.narrow(2, inner, 2 * inner)?),
            softplus: true,
            ..Scan::new(self.u.view(), self.delta.view(), a, b, c)
        };
        match state {
            Some(state) if t == 1 => scan_step_into(&call, state.view_mut(), self.y.view_mut())?,
            state => {
                let call = Scan { initial: state.as_ref().map(|state| state.view()), ..call };
                let mut last = Tensor::empty([batch, inner, states], &self.model.device)?;
                let mut workspace = Tensor::empty([scan_workspace(&call)?], &self.model.device)?;
                scan_into(&call, self.y.view_mut(), Some(last.view_mut()), workspace.view_mut())?;
                if let Some(state) = state {
                    *state = last;
                }
            }
        }
        layer.output.multiply(self.y.view().reshape([tokens, inner])?, self.change.view_mut())
    }

    /// `u` = the channels, each row with those before it.
    fn convolve(&mut self, at: usize, layer: &Layer<T>) -> Result<()> {
        let Config { inner, taps, .. } = self.model.config;
        let (batch, t, device) = (self.batch, self.t, &self.model.device);
        let bias = layer.taps_bias.as_ref().map(Tensor::view);
        let x: View<'_, T, 3> = self.wide.view().reshape([batch, t, 2 * inner])?.narrow(2, 0, inner)?;
        let call = Conv1d { bias, silu: true, ..Conv1d::new(x, layer.taps.view()) };
        match &mut self.state {
            Some(state) if t == 1 => {
                let x = self.wide.view().narrow(1, 0, inner)?;
                let (state, u) = (state.rows[at].view_mut(), self.u.view_mut().reshape([batch, inner])?);
                conv1d_step_into(x, layer.taps.view(), bias, true, state, u)?;
            }
            Some(state) => {
                let call = Conv1d { initial: Some(state.rows[at].view()), ..call };
                let mut last = Tensor::empty([batch, taps - 1, inner], device)?;
                let mut workspace = Tensor::empty([conv1d_workspace(&call)?], device)?;
                conv1d_into(&call, self.u.view_mut(), Some(last.view_mut()), workspace.view_mut())?;
                state.rows[at] = last;
            }
            None => {
                let mut workspace = Tensor::empty([conv1d_workspace(&call)?], device)?;
                conv1d_into(&call, self.u.view_mut(), None, workspace.view_mut())?;
            }
        }
        Ok(())
    }
}
