mod batch;

use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
pub use batch::{
    BatchNorm, batch_norm, batch_norm_backward, batch_norm_backward_into, batch_norm_backward_workspace, batch_norm_by,
    batch_norm_by_into, batch_norm_into,
};
use latens_kernels::{
    Float, Layout, Result,
    norm::{self, Norm},
};

/// Rows brought to a root mean square of 1, times `weight`: see [`latens_kernels::norm`].
pub fn rms_norm<T: Float>(x: View<'_, T, 2>, weight: View<'_, T::Acc, 1>, eps: f32) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    rms_norm_into(x, weight, eps, y.view_mut())?;
    Ok(y)
}

/// [`rms_norm`] into memory of the caller.
pub fn rms_norm_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    eps: f32,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    run(Norm::Rms, "rms_norm", x, weight, None, eps, y)
}

/// Rows brought to mean 0 and variance 1, times `weight`, plus `bias`: see [`latens_kernels::norm`].
pub fn layer_norm<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    layer_norm_into(x, weight, bias, eps, y.view_mut())?;
    Ok(y)
}

/// [`layer_norm`] into memory of the caller.
pub fn layer_norm_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    run(Norm::Layer, "layer_norm", x, weight, bias, eps, y)
}

fn run<T: Float>(
    kind: Norm,
    op: &'static str,
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = norm::plan(kind, &x.layout(), &weight.layout(), bias.map(|bias| bias.layout()).as_ref(), eps)?;
    let y = y.packed(op, "y", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let weight = weight.host(op, "weight")?;
            let bias = bias.map(|bias| bias.host(op, "bias")).transpose()?;
            latens_cpu::norm::forward(&p, x, weight, bias, y.host(op, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let weight = weight.cuda(device, op, "weight")?;
            let bias = bias.map(|bias| bias.cuda(device, op, "bias")).transpose()?;
            device.run(&norm::launch(&p, device.chip(), x, weight, bias, y.cuda(device, op, "y")?)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`rms_norm`] for `x` and `weight`, from `dy`, that of its result.
pub fn rms_norm_backward<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
) -> Result<(Tensor<T, 2>, Tensor<T::Acc, 1>)> {
    let device = x.device();
    let (mut dx, mut dweight) = (Tensor::empty(x.dims(), &device)?, Tensor::empty(weight.dims(), &device)?);
    let mut workspace = Tensor::empty([norm_backward_workspace(&x.layout(), &device)?], &device)?;
    let to = (Some(dx.view_mut()), Some(dweight.view_mut()));
    rms_norm_backward_into(x, weight, dy, eps, Accumulate::Replace, to.0, to.1, workspace.view_mut())?;
    Ok((dx, dweight))
}

/// [`rms_norm_backward`] into memory of the caller; a gradient without an output is not computed.
pub fn rms_norm_backward_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dweight: Option<ViewMut<'_, T::Acc, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    run_backward(Norm::Rms, "rms_norm", x, weight, dy, eps, accumulate, dx, dweight, None, workspace)
}

/// The gradients of [`layer_norm`] for `x`, `weight` and the bias, from `dy`, that of its result.
#[allow(clippy::type_complexity)] // three gradients, named in order
pub fn layer_norm_backward<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
) -> Result<(Tensor<T, 2>, Tensor<T::Acc, 1>, Tensor<T::Acc, 1>)> {
    let device = x.device();
    let (mut dx, mut dweight) = (Tensor::empty(x.dims(), &device)?, Tensor::empty(weight.dims(), &device)?);
    let mut dbias = Tensor::empty(weight.dims(), &device)?;
    let mut workspace = Tensor::empty([norm_backward_workspace(&x.layout(), &device)?], &device)?;
    let to = (Some(dx.view_mut()), Some(dweight.view_mut()), Some(dbias.view_mut()));
    layer_norm_backward_into(x, weight, dy, eps, Accumulate::Replace, to.0, to.1, to.2, workspace.view_mut())?;
    Ok((dx, dweight, dbias))
}

/// [`layer_norm_backward`] into memory of the caller; a gradient without an output is not computed.
pub fn layer_norm_backward_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dweight: Option<ViewMut<'_, T::Acc, 1>>,
    dbias: Option<ViewMut<'_, T::Acc, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    run_backward(Norm::Layer, "layer_norm", x, weight, dy, eps, accumulate, dx, dweight, dbias, workspace)
}

/// Bytes of scratch that [`rms_norm_backward_into`] and [`layer_norm_backward_into`] ask for; none for `dx` alone.
pub fn norm_backward_workspace(_x: &Layout<2>, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => norm::workspace_backward(_x.dims()),
    }
}

fn run_backward<T: Float>(
    kind: Norm,
    op: &'static str,
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dweight: Option<ViewMut<'_, T::Acc, 1>>,
    dbias: Option<ViewMut<'_, T::Acc, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = norm::plan_backward(kind, &x.layout(), &weight.layout(), &dy.layout(), eps, accumulate)?;
    let dx = dx.map(|dx| dx.packed(op, "dx", p.out())).transpose()?;
    let dweight = dweight.map(|dweight| dweight.packed(op, "dweight", weight.dims())).transpose()?;
    let dbias = dbias.map(|dbias| dbias.packed(op, "dbias", weight.dims())).transpose()?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(op, "workspace")?;
            let (weight, dy) = (weight.host(op, "weight")?, dy.host(op, "dy")?);
            let dx = dx.map(|dx| dx.host(op, "dx")).transpose()?;
            let dweight = dweight.map(|dweight| dweight.host(op, "dweight")).transpose()?;
            let dbias = dbias.map(|dbias| dbias.host(op, "dbias")).transpose()?;
            latens_cpu::norm::backward(&p, x, weight, dy, dx, dweight, dbias);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (weight, dy) = (weight.cuda(device, op, "weight")?, dy.cuda(device, op, "dy")?);
            let dx = dx.map(|dx| dx.cuda(device, op, "dx")).transpose()?;
            let dweight = dweight.map(|dweight| dweight.cuda(device, op, "dweight")).transpose()?;
            let dbias = dbias.map(|dbias| dbias.cuda(device, op, "dbias")).transpose()?;
            let workspace = workspace.cuda(device, op, "workspace")?;
            let launches = norm::launch_backward(&p, device.chip(), x, weight, dy, dx, dweight, dbias, workspace)?;
            device.run(&launches)?;
        }
    }
    Ok(())
}
