use crate::{Accumulate, Data, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::reduce as launches;
use latens_kernels::reduce::pearson as family;
use latens_kernels::{Float, Result};

const OP: &str = "pearson";

/// Correlation of each column of `x` with that of `y`, or with the one column of `y`; and what [`pearson_backward`] asks for:
/// see [`latens_kernels::reduce::pearson`].
#[allow(clippy::type_complexity)] // two results, named in order
pub fn pearson<T: Float>(x: View<'_, T, 2>, y: View<'_, T, 2>) -> Result<(Tensor<T::Acc, 1>, Tensor<T::Acc, 2>)> {
    let (p, device) = (family::plan(&x.layout(), &y.layout())?, x.device());
    let (mut r, mut saved) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.saved(), &device)?);
    pearson_into(x, y, r.view_mut(), saved.view_mut())?;
    Ok((r, saved))
}

/// [`pearson`] into memory of the caller.
pub fn pearson_into<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    r: ViewMut<'_, T::Acc, 1>,
    saved: ViewMut<'_, T::Acc, 2>,
) -> Result<()> {
    let p = family::plan(&x.layout(), &y.layout())?;
    let (r, saved) = (r.packed(OP, "r", p.out())?, saved.packed(OP, "saved", p.saved())?);
    match x.data() {
        Data::Host(x) => {
            let (y, r) = (y.host(OP, "y")?, r.host(OP, "r")?);
            latens_cpu::reduce::pearson::forward(&p, x, y, r, saved.host(OP, "saved")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (y, r) = (y.cuda(device, OP, "y")?, r.cuda(device, OP, "r")?);
            let saved = saved.cuda(device, OP, "saved")?;
            device.run(&launches::launch_pearson(&p, device.chip(), x, y, r, saved)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`pearson`] for `x` and `y`, from `dr`, that of its first result; `r` and `saved` are its results.
pub fn pearson_backward<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    r: View<'_, T::Acc, 1>,
    saved: View<'_, T::Acc, 2>,
    dr: View<'_, T::Acc, 1>,
) -> Result<(Tensor<T, 2>, Tensor<T, 2>)> {
    let device = x.device();
    let (mut dx, mut dy) = (Tensor::empty(x.dims(), &device)?, Tensor::empty(y.dims(), &device)?);
    let to = (Some(dx.view_mut()), Some(dy.view_mut()));
    pearson_backward_into(x, y, r, saved, dr, Accumulate::Replace, to.0, to.1)?;
    Ok((dx, dy))
}

/// [`pearson_backward`] into memory of the caller; a gradient without an output is not computed.
pub fn pearson_backward_into<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    r: View<'_, T::Acc, 1>,
    saved: View<'_, T::Acc, 2>,
    dr: View<'_, T::Acc, 1>,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dy: Option<ViewMut<'_, T, 2>>,
) -> Result<()> {
    let p = family::plan_backward(&x.layout(), &y.layout(), &r.layout(), &saved.layout(), &dr.layout(), accumulate)?;
    let dx = dx.map(|dx| dx.packed(OP, "dx", x.dims())).transpose()?;
    let dy = dy.map(|dy| dy.packed(OP, "dy", y.dims())).transpose()?;
    match x.data() {
        Data::Host(x) => {
            let (y, r, saved) = (y.host(OP, "y")?, r.host(OP, "r")?, saved.host(OP, "saved")?);
            let dx = dx.map(|dx| dx.host(OP, "dx")).transpose()?;
            let dy = dy.map(|dy| dy.host(OP, "dy")).transpose()?;
            latens_cpu::reduce::pearson::backward(&p, x, y, r, saved, dr.host(OP, "dr")?, dx, dy);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (y, r, saved) = (y.cuda(device, OP, "y")?, r.cuda(device, OP, "r")?, saved.cuda(device, OP, "saved")?);
            let dx = dx.map(|dx| dx.cuda(device, OP, "dx")).transpose()?;
            let dy = dy.map(|dy| dy.cuda(device, OP, "dy")).transpose()?;
            let (chip, dr) = (device.chip(), dr.cuda(device, OP, "dr")?);
            device.run(&launches::launch_pearson_backward(&p, chip, [x, y], r, saved, dr, [dx, dy])?)?;
        }
    }
    Ok(())
}
