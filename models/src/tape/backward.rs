//! The way back.
use super::{Step, Tape, Var, Weight};
use crate::io::{Error, Result};
use crate::{
    Act, Float, Tensor, ViewMut, act_backward_into, add_into, copy_into, cross_entropy_backward_in_place,
    embed_backward_into, embed_backward_workspace, layer_norm_backward_into, linear_backward_into, linear_into,
    norm_backward_workspace, rms_norm_backward_into,
};
use latens_core::Accumulate::{self, Add, Replace};
use std::collections::BTreeMap;

/// The gradient of a weight while something is put or added there.
struct Sum<A: Float> {
    number: usize,
    tensor: Tensor<A, 2>,
    accumulate: Accumulate,
}

impl<A: Float> Sum<A> {
    fn matrix(&mut self) -> ViewMut<'_, A, 2> {
        self.tensor.view_mut()
    }

    fn vector(&mut self) -> Result<ViewMut<'_, A, 1>> {
        let n = self.tensor.dims()[1];
        Ok(self.tensor.view_mut().reshape([n])?)
    }
}

impl<'m, T: Float> Tape<'m, T> {
    /// Begin at `y` with this gradient; added to what it has.
    ///
    /// # Errors
    /// Other sizes, or another device.
    pub fn seed(&mut self, y: Var, gradient: Tensor<T, 2>) -> Result<()> {
        for (want, got) in self.nodes[y.0].dims.into_iter().zip(gradient.dims()) {
            if want != got {
                return Err(latens_core::Error::Size { op: "seed", arg: "gradient", want, got }.into());
            }
        }
        self.reach(y, gradient)
    }

    /// The cross-entropy of `x·tableᵀ` with `targets`, row by row, and its gradients, where `shares` says what each row counts
    /// for in the sum that they are of. Logits are made some rows at a time, at most `room` of them, and become their gradients
    /// where they lie: no more of them are ever in memory.
    ///
    /// # Errors
    /// Those of [`linear_into`] and [`cross_entropy_backward_in_place`].
    pub fn surprise(
        &mut self,
        x: Var,
        table: Weight<'m, T, 2>,
        targets: &Tensor<u32, 1>,
        shares: &Tensor<T::Acc, 1>,
        smoothing: f32,
        room: usize,
    ) -> Result<Tensor<T::Acc, 1>> {
        let ([rows, _], needed) = (self.nodes[x.0].dims, self.needs(x));
        let mut losses = Tensor::empty([rows], &self.device)?;
        let mut logits = self.empty([room.clamp(1, rows.max(1)), table.of.dims()[0]])?;
        let mut dx = needed.then(|| self.empty(self.nodes[x.0].dims)).transpose()?;
        let mut sum = self.sum(table.number, table.of.dims())?;
        for start in (0..rows).step_by(logits.dims()[0]) {
            let end = rows.min(start + logits.dims()[0]);
            let x = self.value(x).view().narrow(0, start, end)?;
            let mut part = logits.view_mut().narrow(0, 0, end - start)?;
            linear_into(x, table.of, None, Replace, part.reborrow())?;
            let (targets, shares) = (targets.view().narrow(0, start, end)?, shares.view().narrow(0, start, end)?);
            let to = losses.view_mut().narrow(0, start, end)?;
            cross_entropy_backward_in_place(part.reborrow(), targets, shares, smoothing, Some(to))?;
            let dx = dx.as_mut().map(|dx| dx.view_mut().narrow(0, start, end)).transpose()?;
            linear_backward_into(x, table.of, part.shared(), Replace, dx, None, None)?;
            if let Some(sum) = &mut sum {
                linear_backward_into(x, table.of, part.shared(), sum.accumulate, None, Some(sum.matrix()), None)?;
                sum.accumulate = Add;
            }
        }
        self.keep(sum);
        dx.map_or(Ok(()), |dx| self.reach(x, dx))?;
        Ok(losses)
    }

    /// Find all gradients. Steps and activations are gone after that.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn backward(&mut self) -> Result<()> {
        self.unwind()?;
        self.nodes.iter_mut().for_each(|node| node.value = None);
        Ok(())
    }

    /// The gradient of something given or watched, if one reached it.
    pub fn gradient(&self, x: Var) -> Option<&Tensor<T, 2>> {
        self.nodes[x.0].gradient.as_ref()
    }

    /// The gradients of weights by their numbers; those of vectors are one row.
    pub fn weights(&self) -> &BTreeMap<usize, Tensor<T::Acc, 2>> {
        &self.weights
    }

    /// The same, out of the tape.
    pub fn into_weights(self) -> BTreeMap<usize, Tensor<T::Acc, 2>> {
        self.weights
    }

    fn unwind(&mut self) -> Result<()> {
        while let Some((step, y)) = self.steps.pop() {
            // All that read it have been passed; only attention reads what it made itself.
            let value = self.nodes[y.0].value.take();
            let Some(dy) = self.nodes[y.0].gradient.take() else { continue };
            self.back(step, value, &dy)?;
            self.nodes[y.0].gradient = self.nodes[y.0].watched.then_some(dy);
        }
        Ok(())
    }

    /// Add to the gradient of `x`.
    pub(super) fn reach(&mut self, x: Var, gradient: Tensor<T, 2>) -> Result<()> {
        let node = &mut self.nodes[x.0];
        match &mut node.gradient {
            _ if !node.needed => {}
            Some(sum) => add_into(gradient.view(), sum.view_mut())?,
            none => *none = Some(gradient),
        }
        Ok(())
    }

    /// The gradient of a weight, out of the map until [`Tape::keep`] puts it back.
    fn sum(&mut self, number: Option<usize>, dims: [usize; 2]) -> Result<Option<Sum<T::Acc>>> {
        let Some(number) = number else { return Ok(None) };
        Ok(Some(match self.weights.remove(&number) {
            Some(tensor) => Sum { number, tensor, accumulate: Add },
            None => Sum { number, tensor: Tensor::empty(dims, &self.device)?, accumulate: Replace },
        }))
    }

    /// Add to the gradient of a weight.
    pub(super) fn collect(&mut self, number: Option<usize>, gradient: Option<Tensor<T::Acc, 2>>) -> Result<()> {
        let (Some(number), Some(gradient)) = (number, gradient) else { return Ok(()) };
        match self.weights.get_mut(&number) {
            Some(sum) => add_into(gradient.view(), sum.view_mut())?,
            None => drop(self.weights.insert(number, gradient)),
        }
        Ok(())
    }

    fn keep(&mut self, sum: Option<Sum<T::Acc>>) {
        self.weights.extend(sum.map(|sum| (sum.number, sum.tensor)));
    }

    /// Memory for the gradient of `x`, if there is to be one.
    pub(super) fn room(&self, x: Var) -> Result<Option<Tensor<T, 2>>> {
        self.needs(x).then(|| self.empty(self.nodes[x.0].dims)).transpose()
    }

    fn back(&mut self, step: Step<'m, T>, y: Option<Tensor<T, 2>>, dy: &Tensor<T, 2>) -> Result<()> {
        match step {
            Step::Embed { ids, table } => {
                let Some(mut sum) = self.sum(table.number, table.of.dims())? else { return Ok(()) };
                let bytes = embed_backward_workspace(&dy.layout(), table.of.dims()[0], &self.device)?;
                let mut workspace = Tensor::empty([bytes], &self.device)?;
                let accumulate = sum.accumulate;
                embed_backward_into(dy.view(), ids.view(), accumulate, sum.matrix(), workspace.view_mut())?;
                self.keep(Some(sum));
                Ok(())
            }
            Step::Linear { x, w, bias } => self.back_linear(x, w, bias, dy),
            Step::Norm { x, weight, bias, eps } => self.back_norm(x, weight, bias, eps, dy),
            Step::Attention { x, heads, positions, lse } => {
                let y = y.ok_or_else(|| Error::setting("attention", "its result was used up"))?;
                self.back_attention(x, heads, &positions, &lse, &y, dy)
            }
            Step::Act { x, act, gated } => self.back_act(x, act, gated, dy),
            Step::Add { a, b } => [a, b].into_iter().try_for_each(|of| match self.room(of)? {
                Some(mut copy) => {
                    copy_into(dy.view(), copy.view_mut())?;
                    self.reach(of, copy)
                }
                None => Ok(()),
            }),
            Step::Join { a, b, batch } => self.back_join(a, b, batch, dy),
            Step::Columns { x, from } => self.back_columns(x, from, dy),
            Step::Conv1d { x, of } => self.back_conv1d(x, &of, dy),
            Step::Scan { of, a } => self.back_scan(&of, &a, dy),
            Step::Again { x, run } => {
                let mut inner = Tape::new(&self.device);
                std::mem::swap(&mut inner.weights, &mut self.weights);
                let value = self.nodes[x.0].value.take().expect("an activation that was used up");
                let from = inner.leaf(value, self.needs(x));
                let y = run(&mut inner, from)?;
                let mut gradient = self.empty(dy.dims())?;
                copy_into(dy.view(), gradient.view_mut())?;
                inner.seed(y, gradient)?;
                inner.unwind()?;
                // Steps before this one may read it as well.
                self.nodes[x.0].value = inner.nodes[from.0].value.take();
                std::mem::swap(&mut inner.weights, &mut self.weights);
                inner.nodes[from.0].gradient.take().map_or(Ok(()), |dx| self.reach(x, dx))
            }
        }
    }

    fn back_linear(&mut self, x: Var, w: Weight<'m, T, 2>, bias: Option<usize>, dy: &Tensor<T, 2>) -> Result<()> {
        let (mut dx, [n, k]) = (self.room(x)?, w.of.dims());
        let (mut dw, mut db) = (self.sum(w.number, [n, k])?, self.sum(bias, [1, n])?);
        let (value, w, dy) = (self.value(x).view(), w.of, dy.view());
        linear_backward_into(value, w, dy, Replace, dx.as_mut().map(Tensor::view_mut), None, None)?;
        if let Some(dw) = &mut dw {
            linear_backward_into(value, w, dy, dw.accumulate, None, Some(dw.matrix()), None)?;
        }
        if let Some(db) = &mut db {
            linear_backward_into(value, w, dy, db.accumulate, None, None, Some(db.vector()?))?;
        }
        self.keep(dw);
        self.keep(db);
        dx.map_or(Ok(()), |dx| self.reach(x, dx))
    }

    fn back_norm(
        &mut self,
        x: Var,
        weight: Weight<'m, T::Acc, 1>,
        bias: Option<Option<usize>>,
        eps: f32,
        dy: &Tensor<T, 2>,
    ) -> Result<()> {
        let (mut dx, [n]) = (self.room(x)?, weight.of.dims());
        let (mut dweight, mut dbias) = (self.sum(weight.number, [1, n])?, self.sum(bias.flatten(), [1, n])?);
        let (value, w, dy) = (self.value(x).view(), weight.of, dy.view());
        let mut workspace = Tensor::empty([norm_backward_workspace(&value.layout(), &self.device)?], &self.device)?;
        let of_x = dx.as_mut().map(Tensor::view_mut);
        if bias.is_some() {
            layer_norm_backward_into(value, w, dy, eps, Replace, of_x, None, None, workspace.view_mut())?;
        } else {
            rms_norm_backward_into(value, w, dy, eps, Replace, of_x, None, workspace.view_mut())?;
        }
        if let Some(dweight) = &mut dweight {
            let (accumulate, to) = (dweight.accumulate, Some(dweight.vector()?));
            if bias.is_some() {
                layer_norm_backward_into(value, w, dy, eps, accumulate, None, to, None, workspace.view_mut())?;
            } else {
                rms_norm_backward_into(value, w, dy, eps, accumulate, None, to, workspace.view_mut())?;
            }
        }
        if let Some(dbias) = &mut dbias {
            let (accumulate, to) = (dbias.accumulate, Some(dbias.vector()?));
            layer_norm_backward_into(value, w, dy, eps, accumulate, None, None, to, workspace.view_mut())?;
        }
        self.keep(dweight);
        self.keep(dbias);
        dx.map_or(Ok(()), |dx| self.reach(x, dx))
    }

    fn back_act(&mut self, x: Var, act: Act, gated: bool, dy: &Tensor<T, 2>) -> Result<()> {
        let [rows, width] = self.nodes[x.0].dims;
        let mut dx = self.empty([rows, width])?;
        let value = self.value(x).view();
        if gated {
            let half = width / 2;
            let (gate, up) = (value.narrow(1, 0, half)?, value.narrow(1, half, width)?);
            let (mut dgate, mut dup) = (self.empty([rows, half])?, self.empty([rows, half])?);
            act_backward_into(gate, Some(up), dy.view(), act, Some(dgate.view_mut()), Some(dup.view_mut()))?;
            copy_into(dgate.view(), dx.view_mut().narrow(1, 0, half)?)?;
            copy_into(dup.view(), dx.view_mut().narrow(1, half, width)?)?;
        } else {
            act_backward_into(value, None, dy.view(), act, Some(dx.view_mut()), None)?;
        }
        self.reach(x, dx)
    }
}
