use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
use latens_kernels::norm::{self as launches, batch as family};
use latens_kernels::{Float, Layout, Result};

const OP: &str = "batch_norm";

/// What a training call of [`batch_norm`] gives.
pub struct BatchNorm<T: Float> {
    /// The columns, normalised.
    pub y: Tensor<T, 2>,
    /// Their means.
    pub mean: Tensor<T::Acc, 1>,
    /// Their variances.
    pub variance: Tensor<T::Acc, 1>,
}

/// Columns brought to mean 0 and variance 1 by their own statistics, times `weight`, plus `bias`: see
/// [`latens_kernels::norm::batch`].
pub fn batch_norm<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
) -> Result<BatchNorm<T>> {
    let (device, n) = (x.device(), x.dims()[1]);
    let (mut y, mut mean) = (Tensor::empty(x.dims(), &device)?, Tensor::empty([n], &device)?);
    let mut variance = Tensor::empty([n], &device)?;
    batch_norm_into(x, weight, bias, eps, y.view_mut(), mean.view_mut(), variance.view_mut())?;
    Ok(BatchNorm { y, mean, variance })
}

/// [`batch_norm`] into memory of the caller.
pub fn batch_norm_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
    y: ViewMut<'_, T, 2>,
    mean: ViewMut<'_, T::Acc, 1>,
    variance: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let n = x.dims()[1];
    let p = family::plan(&x.layout(), &vectors(weight, bias), eps)?;
    let (mean, variance) = (mean.packed(OP, "mean", [n])?, variance.packed(OP, "variance", [n])?);
    let y = y.packed(OP, "y", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let (weight, y) = (weight.host(OP, "weight")?, y.host(OP, "y")?);
            let bias = bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            let (mean, variance) = (mean.host(OP, "mean")?, variance.host(OP, "variance")?);
            latens_cpu::norm::batch::train(&p, x, weight, bias, y, mean, variance)?;
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (weight, y) = (weight.cuda(device, OP, "weight")?, y.cuda(device, OP, "y")?);
            let bias = bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            let statistics = [mean.cuda(device, OP, "mean")?, variance.cuda(device, OP, "variance")?];
            device.run(&launches::launch_batch_train(&p, device.chip(), x, weight, bias, y, statistics)?)?;
        }
    }
    Ok(())
}

/// [`batch_norm`] by statistics that are given, as in inference.
pub fn batch_norm_by<T: Float>(
    x: View<'_, T, 2>,
    mean: View<'_, T::Acc, 1>,
    variance: View<'_, T::Acc, 1>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    batch_norm_by_into(x, mean, variance, weight, bias, eps, y.view_mut())?;
    Ok(y)
}

/// [`batch_norm_by`] into memory of the caller.
pub fn batch_norm_by_into<T: Float>(
    x: View<'_, T, 2>,
    mean: View<'_, T::Acc, 1>,
    variance: View<'_, T::Acc, 1>,
    weight: View<'_, T::Acc, 1>,
    bias: Option<View<'_, T::Acc, 1>>,
    eps: f32,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = family::plan(&x.layout(), &[&statistics(mean, variance)[..], &vectors(weight, bias)].concat(), eps)?;
    let y = y.packed(OP, "y", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let (weight, y) = (weight.host(OP, "weight")?, y.host(OP, "y")?);
            let bias = bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            let (mean, variance) = (mean.host(OP, "mean")?, variance.host(OP, "variance")?);
            latens_cpu::norm::batch::forward(&p, x, mean, variance, weight, bias, y);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (weight, y) = (weight.cuda(device, OP, "weight")?, y.cuda(device, OP, "y")?);
            let bias = bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            let given = [mean.cuda(device, OP, "mean")?, variance.cuda(device, OP, "variance")?, weight];
            device.run(&launches::launch_batch(&p, device.chip(), x, given, bias, y)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`batch_norm`] for `x`, `weight` and the bias, from `dy`, that of its result; `mean` and `variance` are those it
/// gave.
#[allow(clippy::type_complexity)] // three gradients, named in order
pub fn batch_norm_backward<T: Float>(
    x: View<'_, T, 2>,
    mean: View<'_, T::Acc, 1>,
    variance: View<'_, T::Acc, 1>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
) -> Result<(Tensor<T, 2>, Tensor<T::Acc, 1>, Tensor<T::Acc, 1>)> {
    let device = x.device();
    let (mut dx, mut dweight) = (Tensor::empty(x.dims(), &device)?, Tensor::empty(weight.dims(), &device)?);
    let mut dbias = Tensor::empty(weight.dims(), &device)?;
    let mut workspace = Tensor::empty([batch_norm_backward_workspace(&x.layout(), &device)?], &device)?;
    let (to, how) = ((Some(dx.view_mut()), Some(dweight.view_mut()), Some(dbias.view_mut())), Accumulate::Replace);
    batch_norm_backward_into(x, mean, variance, weight, dy, eps, how, to.0, to.1, to.2, workspace.view_mut())?;
    Ok((dx, dweight, dbias))
}

/// [`batch_norm_backward`] into memory of the caller; a gradient without an output is not computed.
pub fn batch_norm_backward_into<T: Float>(
    x: View<'_, T, 2>,
    mean: View<'_, T::Acc, 1>,
    variance: View<'_, T::Acc, 1>,
    weight: View<'_, T::Acc, 1>,
    dy: View<'_, T, 2>,
    eps: f32,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dweight: Option<ViewMut<'_, T::Acc, 1>>,
    dbias: Option<ViewMut<'_, T::Acc, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let given = [&statistics(mean, variance)[..], &vectors(weight, None)].concat();
    let p = family::plan_backward(&x.layout(), &given, &dy.layout(), eps, accumulate)?;
    let dx = dx.map(|dx| dx.packed(OP, "dx", p.out())).transpose()?;
    let dweight = dweight.map(|dweight| dweight.packed(OP, "dweight", weight.dims())).transpose()?;
    let dbias = dbias.map(|dbias| dbias.packed(OP, "dbias", weight.dims())).transpose()?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let given = [mean.host(OP, "mean")?, variance.host(OP, "variance")?, weight.host(OP, "weight")?];
            let dx = dx.map(|dx| dx.host(OP, "dx")).transpose()?;
            let dweight = dweight.map(|dweight| dweight.host(OP, "dweight")).transpose()?;
            let dbias = dbias.map(|dbias| dbias.host(OP, "dbias")).transpose()?;
            latens_cpu::norm::batch::backward(&p, x, given, dy.host(OP, "dy")?, dx, dweight, dbias);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (mean, variance) = (mean.cuda(device, OP, "mean")?, variance.cuda(device, OP, "variance")?);
            let given = [mean, variance, weight.cuda(device, OP, "weight")?];
            let dx = dx.map(|dx| dx.cuda(device, OP, "dx")).transpose()?;
            let dweight = dweight.map(|dweight| dweight.cuda(device, OP, "dweight")).transpose()?;
            let dbias = dbias.map(|dbias| dbias.cuda(device, OP, "dbias")).transpose()?;
            let (both, sums) = ([x, dy.cuda(device, OP, "dy")?], [dweight, dbias]);
            let work = workspace.cuda(device, OP, "workspace")?;
            device.run(&launches::launch_batch_backward(&p, device.chip(), both, given, dx, sums, work)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`batch_norm_backward_into`] asks for.
pub fn batch_norm_backward_workspace(x: &Layout<2>, device: &Device) -> Result<usize> {
    if device.is_host() { Ok(0) } else { launches::workspace_batch_backward(x.dims()) }
}

type Named = (&'static str, Layout<1>);

fn vectors<A: Float>(weight: View<'_, A, 1>, bias: Option<View<'_, A, 1>>) -> [Named; 2] {
    // Without a bias the weight stands in: it has the same length.
    let bias = bias.map_or(("weight", weight.layout()), |bias| ("bias", bias.layout()));
    [("weight", weight.layout()), bias]
}

fn statistics<A: Float>(mean: View<'_, A, 1>, variance: View<'_, A, 1>) -> [Named; 2] {
    [("mean", mean.layout()), ("variance", variance.layout())]
}
