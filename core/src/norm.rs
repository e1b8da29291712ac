use crate::{Data, Tensor, View, ViewMut};
use latens_kernels::{
    Float, Result,
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
