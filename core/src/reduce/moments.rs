use crate::{Accumulate, Data, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::reduce as launches;
use latens_kernels::reduce::moments as family;
use latens_kernels::{Float, Result};

const OP: &str = "moments";

/// Mean and variance of every column (`axis` 0) or of every row (`axis` 1): see [`latens_kernels::reduce::moments`].
#[allow(clippy::type_complexity)] // two results, named in order
pub fn moments<T: Float>(x: View<'_, T, 2>, axis: usize) -> Result<(Tensor<T::Acc, 1>, Tensor<T::Acc, 1>)> {
    let (p, device) = (family::plan(&x.layout(), axis)?, x.device());
    let (mut mean, mut variance) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.out(), &device)?);
    moments_into(x, axis, mean.view_mut(), variance.view_mut())?;
    Ok((mean, variance))
}

/// [`moments`] into memory of the caller.
pub fn moments_into<T: Float>(
    x: View<'_, T, 2>,
    axis: usize,
    mean: ViewMut<'_, T::Acc, 1>,
    variance: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = family::plan(&x.layout(), axis)?;
    let (mean, variance) = (mean.packed(OP, "mean", p.out())?, variance.packed(OP, "variance", p.out())?);
    match x.data() {
        Data::Host(x) => {
            latens_cpu::reduce::moments::forward(&p, x, mean.host(OP, "mean")?, variance.host(OP, "variance")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (mean, variance) = (mean.cuda(device, OP, "mean")?, variance.cuda(device, OP, "variance")?);
            device.run(&launches::launch_moments(&p, device.chip(), x, mean, variance)?)?;
        }
    }
    Ok(())
}

/// The gradient of [`moments`] for `x`, from those of its results, each of which may be absent; `mean` is its first result.
pub fn moments_backward<T: Float>(
    x: View<'_, T, 2>,
    axis: usize,
    mean: View<'_, T::Acc, 1>,
    dmean: Option<View<'_, T::Acc, 1>>,
    dvariance: Option<View<'_, T::Acc, 1>>,
) -> Result<Tensor<T, 2>> {
    let mut dx = Tensor::empty(x.dims(), &x.device())?;
    moments_backward_into(x, axis, mean, dmean, dvariance, Accumulate::Replace, dx.view_mut())?;
    Ok(dx)
}

/// [`moments_backward`] into memory of the caller.
pub fn moments_backward_into<T: Float>(
    x: View<'_, T, 2>,
    axis: usize,
    mean: View<'_, T::Acc, 1>,
    dmean: Option<View<'_, T::Acc, 1>>,
    dvariance: Option<View<'_, T::Acc, 1>>,
    accumulate: Accumulate,
    dx: ViewMut<'_, T, 2>,
) -> Result<()> {
    let [first, second] = [dmean, dvariance].map(|slopes| slopes.map(|slopes| slopes.layout()));
    let layout = x.layout();
    let p = family::plan_backward(&layout, axis, &mean.layout(), first.as_ref(), second.as_ref(), accumulate)?;
    let dx = dx.packed(OP, "dx", layout.dims())?;
    match x.data() {
        Data::Host(x) => {
            let dmean = dmean.map(|dmean| dmean.host(OP, "dmean")).transpose()?;
            let dvariance = dvariance.map(|dvariance| dvariance.host(OP, "dvariance")).transpose()?;
            let (mean, dx) = (mean.host(OP, "mean")?, dx.host(OP, "dx")?);
            latens_cpu::reduce::moments::backward(&p, x, mean, dmean, dvariance, dx);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let dmean = dmean.map(|dmean| dmean.cuda(device, OP, "dmean")).transpose()?;
            let dvariance = dvariance.map(|dvariance| dvariance.cuda(device, OP, "dvariance")).transpose()?;
            let (mean, dx) = (mean.cuda(device, OP, "mean")?, dx.cuda(device, OP, "dx")?);
            device.run(&launches::launch_moments_backward(&p, device.chip(), x, mean, dmean, dvariance, dx)?)?;
        }
    }
    Ok(())
}
