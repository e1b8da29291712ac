use crate::{Data, Tensor, View, ViewMut};
pub use latens_kernels::act::Act;
use latens_kernels::{Float, Result, act};

/// `x / (1 + exp(-x))`, entry by entry: see [`latens_kernels::act`].
pub fn silu<T: Float>(x: View<'_, T, 2>) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    act_into(x, None, Act::Silu, y.view_mut())?;
    Ok(y)
}

/// `x` by the normal distribution function of `x`, exact or by the formula with `tanh`: see [`latens_kernels::act`].
pub fn gelu<T: Float>(x: View<'_, T, 2>, tanh: bool) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    act_into(x, None, if tanh { Act::GeluTanh } else { Act::Gelu }, y.view_mut())?;
    Ok(y)
}

/// `act(gate) * up`, entry by entry: see [`latens_kernels::act`].
pub fn gated<T: Float>(gate: View<'_, T, 2>, up: View<'_, T, 2>, act: Act) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(gate.dims(), &gate.device())?;
    act_into(gate, Some(up), act, y.view_mut())?;
    Ok(y)
}

/// `act(gate)`, times `up` if there is one, into memory of the caller.
pub fn act_into<T: Float>(
    gate: View<'_, T, 2>,
    up: Option<View<'_, T, 2>>,
    act: Act,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let op = if up.is_some() { "gated" } else { "act" };
    let p = act::plan(act, &gate.layout(), up.map(|up| up.layout()).as_ref())?;
    let y = y.packed(op, "y", p.out())?;
    match gate.data() {
        Data::Host(gate) => {
            let up = up.map(|up| up.host(op, "up")).transpose()?;
            latens_cpu::act::forward(&p, gate, up, y.host(op, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, gate) => {
            let up = up.map(|up| up.cuda(device, op, "up")).transpose()?;
            device.run(&act::launch(&p, device.chip(), gate, up, y.cuda(device, op, "y")?)?)?;
        }
    }
    Ok(())
}

/// The gradient of `act(x)` for `x` from `dy`, that of its result.
pub fn act_backward<T: Float>(x: View<'_, T, 2>, dy: View<'_, T, 2>, act: Act) -> Result<Tensor<T, 2>> {
    let mut dx = Tensor::empty(x.dims(), &x.device())?;
    act_backward_into(x, None, dy, act, Some(dx.view_mut()), None)?;
    Ok(dx)
}

/// The gradients of [`gated`] for `gate` and `up` from `dy`, that of its result.
pub fn gated_backward<T: Float>(
    gate: View<'_, T, 2>,
    up: View<'_, T, 2>,
    dy: View<'_, T, 2>,
    act: Act,
) -> Result<(Tensor<T, 2>, Tensor<T, 2>)> {
    let (mut dgate, mut dup) = (Tensor::empty(gate.dims(), &gate.device())?, Tensor::empty(up.dims(), &gate.device())?);
    act_backward_into(gate, Some(up), dy, act, Some(dgate.view_mut()), Some(dup.view_mut()))?;
    Ok((dgate, dup))
}

/// The gradients of [`act_into`] into memory of the caller; one without an output is not computed.
pub fn act_backward_into<T: Float>(
    gate: View<'_, T, 2>,
    up: Option<View<'_, T, 2>>,
    dy: View<'_, T, 2>,
    act: Act,
    dgate: Option<ViewMut<'_, T, 2>>,
    dup: Option<ViewMut<'_, T, 2>>,
) -> Result<()> {
    let op = if up.is_some() { "gated" } else { "act" };
    let up_layout = up.map(|up| up.layout());
    let p = act::plan_backward(act, &gate.layout(), up_layout.as_ref(), &dy.layout(), dup.is_some())?;
    let dgate = dgate.map(|dgate| dgate.packed(op, "dgate", p.out())).transpose()?;
    let dup = dup.map(|dup| dup.packed(op, "dup", p.out())).transpose()?;
    match gate.data() {
        Data::Host(gate) => {
            let (up, dy) = (up.map(|up| up.host(op, "up")).transpose()?, dy.host(op, "dy")?);
            let dgate = dgate.map(|dgate| dgate.host(op, "dgate")).transpose()?;
            let dup = dup.map(|dup| dup.host(op, "dup")).transpose()?;
            latens_cpu::act::backward(&p, gate, up, dy, dgate, dup);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, gate) => {
            let (up, dy) = (up.map(|up| up.cuda(device, op, "up")).transpose()?, dy.cuda(device, op, "dy")?);
            let dgate = dgate.map(|dgate| dgate.cuda(device, op, "dgate")).transpose()?;
            let dup = dup.map(|dup| dup.cuda(device, op, "dup")).transpose()?;
            device.run(&act::launch_backward(&p, device.chip(), gate, up, dy, dgate, dup)?)?;
        }
    }
    Ok(())
}
