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
