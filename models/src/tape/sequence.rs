//! Steps along sequences: convolution and selective scan.
use super::{Step, Tape, Var, Weight};
use crate::io::{Error, Result};
use crate::{
    Conv1d, Conv1dGradientsMut, Float, Scan, ScanGradientsMut, Tensor, View, ViewMut, conv1d_backward_into,
    conv1d_backward_workspace, conv1d_into, conv1d_workspace, copy_into, scan_backward_into, scan_backward_workspace,
    scan_into, scan_workspace,
};

/// A convolution along the sequences of an activation `[batch * t, columns]`: see [`Conv1d`].
pub struct Convolution<'m, T: Float> {
    /// Sequences.
    pub batch: usize,
    /// `[channels, width]`.
    pub weight: Weight<'m, T::Acc, 2>,
    /// `[channels]`.
    pub bias: Option<Weight<'m, T::Acc, 1>>,
    /// Whether SiLU follows.
    pub silu: bool,
    /// `[orders, t]`: rows by position.
    pub orders: Option<View<'m, u32, 2>>,
}

/// A selective scan along the sequences of activations `[batch * t, ..]`, with softplus of `delta`: see [`Scan`].
pub struct Selective<'m, T: Float> {
    /// Sequences.
    pub batch: usize,
    /// `[batch * t, columns]`.
    pub u: Var,
    /// `[batch * t, channels]`.
    pub delta: Var,
    /// `[batch * t, groups * states]`.
    pub b: Var,
    /// As `b`.
    pub c: Var,
    /// `[batch * t, width]`: the output is multiplied by SiLU of it.
    pub gate: Option<Var>,
    /// `[channels, states]`: the logarithms of what states decay by, `a = -exp(log)`.
    pub log: Weight<'m, T::Acc, 2>,
    /// `[channels]`: what of `u` is added to the output.
    pub skip: Option<Weight<'m, T::Acc, 1>>,
    /// `[channels]`, of `delta`.
    pub bias: Option<Weight<'m, T::Acc, 1>>,
    /// `[orders, t]`: rows by position.
    pub orders: Option<View<'m, u32, 2>>,
}

/// `-exp(log)`: what states decay by. It is small, so the host makes it.
pub(crate) fn decay<A: Float>(log: View<'_, A, 2>) -> Result<Tensor<A, 2>> {
    let mut copy = Tensor::empty(log.dims(), &log.device())?;
    copy_into(log, copy.view_mut())?;
    let all = copy.to_vec()?.into_iter().map(|log| A::narrow(-log.wide().exp())).collect();
    Ok(Tensor::from_vec(all, log.dims(), &log.device())?)
}

impl<'m, T: Float> Tape<'m, T> {
    /// A convolution, `[batch * t, channels]`.
    ///
    /// # Errors
    /// Those of [`conv1d_into`].
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn conv1d(&mut self, x: Var, of: Convolution<'m, T>) -> Result<Var> {
        let (rows, channels) = (self.dims(x)[0], of.weight.dims()[0]);
        let mut y = self.empty([rows, channels])?;
        let call = of.call(self.value(x))?;
        let mut workspace = Tensor::empty([conv1d_workspace(&call)?], &self.device)?;
        let to = y.view_mut().reshape([of.batch, call.x.dims()[1], channels])?;
        conv1d_into(&call, to, None, workspace.view_mut())?;
        let needed = self.needs(x) || of.weight.number.is_some() || of.bias.is_some_and(|bias| bias.number.is_some());
        Ok(self.made(y, needed, Step::Conv1d { x, of }))
    }

    /// A selective scan, `[batch * t, width]`.
    ///
    /// # Errors
    /// Those of [`scan_into`].
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn scan(&mut self, of: Selective<'m, T>) -> Result<Var> {
        let a = decay(of.log.of)?;
        let width = of.log.dims()[0] / of.orders.map_or(1, |orders| orders.dims()[0]).max(1);
        let mut y = self.empty([self.dims(of.u)[0], width])?;
        let call = of.call(self, &a)?;
        let mut workspace = Tensor::empty([scan_workspace(&call)?], &self.device)?;
        let to = y.view_mut().reshape([of.batch, call.u.dims()[1], width])?;
        scan_into(&call, to, None, workspace.view_mut())?;
        let vectors = [of.skip, of.bias].into_iter().flatten().any(|of| of.number.is_some());
        let vars = [of.u, of.delta, of.b, of.c].into_iter().chain(of.gate).any(|of| self.needs(of));
        let needed = vars || vectors || of.log.number.is_some();
        Ok(self.made(y, needed, Step::Scan { of, a }))
    }

    pub(super) fn back_conv1d(&mut self, x: Var, of: &Convolution<'m, T>, dy: &Tensor<T, 2>) -> Result<()> {
        let (channels, width) = (of.weight.dims()[0], of.weight.dims()[1]);
        let mut dx = self.room(x)?;
        let mut dweight = of.weight.number.map(|_| Tensor::empty([channels, width], &self.device)).transpose()?;
        let number = of.bias.and_then(|bias| bias.number);
        let mut dbias = number.map(|_| Tensor::empty([channels], &self.device)).transpose()?;
        let call = of.call(self.value(x))?;
        let (dims, mut workspace) = (call.x.dims(), Tensor::empty([conv1d_backward_workspace(&call)?], &self.device)?);
        let to = Conv1dGradientsMut {
            x: dx.as_mut().map(|dx| dx.view_mut().reshape(dims)).transpose()?,
            weight: dweight.as_mut().map(Tensor::view_mut),
            bias: dbias.as_mut().map(Tensor::view_mut),
            initial: None,
        };
        let dy = dy.view().reshape([of.batch, dims[1], channels])?;
        conv1d_backward_into(&call, dy, None, to, workspace.view_mut())?;
        self.collect(of.weight.number, dweight)?;
        self.collect(number, dbias.map(row).transpose()?)?;
        dx.map_or(Ok(()), |dx| self.reach(x, dx))
    }

    pub(super) fn back_scan(&mut self, of: &Selective<'m, T>, a: &Tensor<T::Acc, 2>, dy: &Tensor<T, 2>) -> Result<()> {
        let channels = a.dims()[0];
        let [mut du, mut ddelta, mut db, mut dc] =
            [self.room(of.u)?, self.room(of.delta)?, self.room(of.b)?, self.room(of.c)?];
        let mut dgate = of.gate.map(|gate| self.room(gate)).transpose()?.flatten();
        let mut da = of.log.number.map(|_| Tensor::empty(a.dims(), &self.device)).transpose()?;
        let numbers = [of.skip, of.bias].map(|of| of.and_then(|of| of.number));
        let vector = |number: Option<usize>| number.map(|_| Tensor::empty([channels], &self.device)).transpose();
        let (mut dskip, mut dbias) = (vector(numbers[0])?, vector(numbers[1])?);
        let call = of.call(self, a)?;
        let len = call.u.dims()[1];
        let mut workspace = Tensor::empty([scan_backward_workspace(&call)?], &self.device)?;
        let dims = [of.batch, len];
        let to = ScanGradientsMut {
            u: split(&mut du, dims)?,
            delta: split(&mut ddelta, dims)?,
            a: da.as_mut().map(Tensor::view_mut),
            b: split(&mut db, dims)?,
            c: split(&mut dc, dims)?,
            skip: dskip.as_mut().map(Tensor::view_mut),
            bias: dbias.as_mut().map(Tensor::view_mut),
            gate: split(&mut dgate, dims)?,
            initial: None,
        };
        let dy = dy.view().reshape([of.batch, len, dy.dims()[1]])?;
        scan_backward_into(&call, dy, None, to, workspace.view_mut())?;
        // `a = -exp(log)` is its own slope.
        let times = |da: Tensor<T::Acc, 2>| -> Result<_> {
            let both = da.to_vec()?.into_iter().zip(a.to_vec()?);
            let all = both.map(|(da, a)| T::Acc::narrow(da.wide() * a.wide())).collect();
            Ok(Tensor::from_vec(all, a.dims(), &self.device)?)
        };
        let dlog = da.map(times).transpose()?;
        self.collect(of.log.number, dlog)?;
        self.collect(numbers[0], dskip.map(row).transpose()?)?;
        self.collect(numbers[1], dbias.map(row).transpose()?)?;
        let vars = [(Some(of.u), du), (Some(of.delta), ddelta), (Some(of.b), db), (Some(of.c), dc), (of.gate, dgate)];
        for (x, dx) in vars {
            if let (Some(x), Some(dx)) = (x, dx) {
                self.reach(x, dx)?;
            }
        }
        Ok(())
    }
}

/// Room for a gradient, sequence by sequence.
fn split<T: Float>(to: &mut Option<Tensor<T, 2>>, [batch, len]: [usize; 2]) -> Result<Option<ViewMut<'_, T, 3>>> {
    let Some(to) = to else { return Ok(None) };
    let [_, n] = to.dims();
    Ok(Some(to.view_mut().reshape([batch, len, n])?))
}

/// A vector as one row.
fn row<A: Float>(vector: Tensor<A, 1>) -> Result<Tensor<A, 2>> {
    let [n] = vector.dims();
    Ok(vector.reshape([1, n])?)
}

/// Rows of each of `batch` sequences.
fn rows(all: usize, batch: usize) -> Result<usize> {
    if batch == 0 || !all.is_multiple_of(batch) {
        return Err(Error::setting("batch", format!("{all} rows do not divide into {batch} sequences")));
    }
    Ok(all / batch)
}

impl<'m, T: Float> Convolution<'m, T> {
    fn call<'a>(&self, x: &'a Tensor<T, 2>) -> Result<Conv1d<'a, T>>
    where
        'm: 'a,
    {
        let [all, columns] = x.dims();
        let x = x.view().reshape([self.batch, rows(all, self.batch)?, columns])?;
        let bias = self.bias.map(|bias| bias.of);
        Ok(Conv1d { bias, silu: self.silu, orders: self.orders, ..Conv1d::new(x, self.weight.of) })
    }
}

impl<'m, T: Float> Selective<'m, T> {
    fn call<'a>(&self, tape: &'a Tape<'m, T>, a: &'a Tensor<T::Acc, 2>) -> Result<Scan<'a, T>> {
        let part = |x: Var| -> Result<View<'a, T, 3>> {
            let [all, columns] = tape.dims(x);
            Ok(tape.value(x).view().reshape([self.batch, rows(all, self.batch)?, columns])?)
        };
        let call = Scan::new(part(self.u)?, part(self.delta)?, a.view(), part(self.b)?, part(self.c)?);
        Ok(Scan {
            skip: self.skip.map(|skip| skip.of),
            bias: self.bias.map(|bias| bias.of),
            gate: self.gate.map(part).transpose()?,
            softplus: true,
            orders: self.orders,
            ..call
        })
    }
}

#[cfg(test)]
mod tests;
