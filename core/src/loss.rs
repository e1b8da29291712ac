use crate::{Data, DataMut, Tensor, View, ViewMut};
pub use latens_kernels::loss::IGNORED;
use latens_kernels::{Float, Result, loss, loss::mse as squares};

const OP: &str = "cross_entropy";
const MSE: &str = "mse";

/// Softmax cross-entropy of every row against its target, smoothed over all classes by `smoothing`; a target of
/// [`IGNORED`] gives 0: see [`latens_kernels::loss`].
pub fn cross_entropy<T: Float>(
    logits: View<'_, T, 2>,
    targets: View<'_, u32, 1>,
    smoothing: f32,
) -> Result<Tensor<T::Acc, 1>> {
    let mut losses = Tensor::empty([logits.dims()[0]], &logits.device())?;
    cross_entropy_into(logits, targets, smoothing, losses.view_mut())?;
    Ok(losses)
}

/// [`cross_entropy`] into memory of the caller.
pub fn cross_entropy_into<T: Float>(
    logits: View<'_, T, 2>,
    targets: View<'_, u32, 1>,
    smoothing: f32,
    losses: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = loss::plan(&logits.layout(), &targets.layout(), smoothing)?;
    let losses = losses.packed(OP, "losses", p.out())?;
    match logits.data() {
        Data::Host(logits) => {
            latens_cpu::loss::forward(&p, logits, targets.host(OP, "targets")?, losses.host(OP, "losses")?)?;
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, logits) => {
            let (targets, losses) = (targets.cuda(device, OP, "targets")?, losses.cuda(device, OP, "losses")?);
            device.run(&loss::launch(&p, device.chip(), logits, targets, losses)?)?;
        }
    }
    Ok(())
}

/// The losses of [`cross_entropy`] and the gradient for the logits, from `dlosses`, the gradient of each loss.
pub fn cross_entropy_backward<T: Float>(
    logits: View<'_, T, 2>,
    targets: View<'_, u32, 1>,
    dlosses: View<'_, T::Acc, 1>,
    smoothing: f32,
) -> Result<(Tensor<T::Acc, 1>, Tensor<T, 2>)> {
    let device = logits.device();
    let (mut losses, mut dlogits) =
        (Tensor::empty([logits.dims()[0]], &device)?, Tensor::empty(logits.dims(), &device)?);
    cross_entropy_backward_into(logits, targets, dlosses, smoothing, Some(losses.view_mut()), dlogits.view_mut())?;
    Ok((losses, dlogits))
}

/// [`cross_entropy_backward`] into memory of the caller. The losses cost no pass over the logits here; without an output
/// they are not written.
pub fn cross_entropy_backward_into<T: Float>(
    logits: View<'_, T, 2>,
    targets: View<'_, u32, 1>,
    dlosses: View<'_, T::Acc, 1>,
    smoothing: f32,
    losses: Option<ViewMut<'_, T::Acc, 1>>,
    dlogits: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = loss::plan_backward(&logits.layout(), &targets.layout(), &dlosses.layout(), smoothing)?;
    let losses = losses.map(|losses| losses.packed(OP, "losses", p.out())).transpose()?;
    let dlogits = dlogits.packed(OP, "dlogits", logits.dims())?;
    match logits.data() {
        Data::Host(logits) => {
            let (targets, dlosses) = (targets.host(OP, "targets")?, dlosses.host(OP, "dlosses")?);
            let losses = losses.map(|losses| losses.host(OP, "losses")).transpose()?;
            latens_cpu::loss::backward(&p, logits, targets, dlosses, losses, dlogits.host(OP, "dlogits")?)?;
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, logits) => {
            let (targets, dlosses) = (targets.cuda(device, OP, "targets")?, dlosses.cuda(device, OP, "dlosses")?);
            let losses = losses.map(|losses| losses.cuda(device, OP, "losses")).transpose()?;
            let dlogits = dlogits.cuda(device, OP, "dlogits")?;
            device.run(&loss::launch_backward(&p, device.chip(), logits, targets, dlosses, losses, dlogits)?)?;
        }
    }
    Ok(())
}

/// [`cross_entropy_backward`] over the logits themselves: each row becomes its gradient, gaps between rows stay.
pub fn cross_entropy_backward_in_place<T: Float>(
    logits: ViewMut<'_, T, 2>,
    targets: View<'_, u32, 1>,
    dlosses: View<'_, T::Acc, 1>,
    smoothing: f32,
    losses: Option<ViewMut<'_, T::Acc, 1>>,
) -> Result<()> {
    let p = loss::plan_backward(&logits.layout(), &targets.layout(), &dlosses.layout(), smoothing)?;
    let losses = losses.map(|losses| losses.packed(OP, "losses", p.out())).transpose()?;
    match logits.data() {
        DataMut::Host(logits) => {
            let (targets, dlosses) = (targets.host(OP, "targets")?, dlosses.host(OP, "dlosses")?);
            let losses = losses.map(|losses| losses.host(OP, "losses")).transpose()?;
            latens_cpu::loss::backward_in_place(&p, logits, targets, dlosses, losses)?;
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, logits) => {
            let (targets, dlosses) = (targets.cuda(device, OP, "targets")?, dlosses.cuda(device, OP, "dlosses")?);
            let losses = losses.map(|losses| losses.cuda(device, OP, "losses")).transpose()?;
            device.run(&loss::launch_backward_in_place(&p, device.chip(), logits, targets, dlosses, losses)?)?;
        }
    }
    Ok(())
}

/// The mean squared error of every row of `x` against `y`, or against `y` brought to mean 0 and variance 1 by row: see
/// [`latens_kernels::loss::mse`].
pub fn mse<T: Float>(x: View<'_, T, 2>, y: View<'_, T, 2>, normalise: bool) -> Result<Tensor<T::Acc, 1>> {
    let mut losses = Tensor::empty([x.dims()[0]], &x.device())?;
    mse_into(x, y, normalise, losses.view_mut())?;
    Ok(losses)
}

/// [`mse`] into memory of the caller.
pub fn mse_into<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    normalise: bool,
    losses: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = squares::plan(&x.layout(), &y.layout(), normalise)?;
    let losses = losses.packed(MSE, "losses", p.out())?;
    match x.data() {
        Data::Host(x) => latens_cpu::loss::mse::forward(&p, x, y.host(MSE, "y")?, losses.host(MSE, "losses")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (y, losses) = (y.cuda(device, MSE, "y")?, losses.cuda(device, MSE, "losses")?);
            device.run(&loss::launch_mse(&p, device.chip(), x, y, losses)?)?;
        }
    }
    Ok(())
}

/// The losses of [`mse`] and the gradient for `x`, from `dlosses`, the gradient of each loss.
pub fn mse_backward<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    dlosses: View<'_, T::Acc, 1>,
    normalise: bool,
) -> Result<(Tensor<T::Acc, 1>, Tensor<T, 2>)> {
    let device = x.device();
    let (mut losses, mut dx) = (Tensor::empty([x.dims()[0]], &device)?, Tensor::empty(x.dims(), &device)?);
    mse_backward_into(x, y, dlosses, normalise, Some(losses.view_mut()), dx.view_mut())?;
    Ok((losses, dx))
}

/// [`mse_backward`] into memory of the caller; losses without an output are not written.
pub fn mse_backward_into<T: Float>(
    x: View<'_, T, 2>,
    y: View<'_, T, 2>,
    dlosses: View<'_, T::Acc, 1>,
    normalise: bool,
    losses: Option<ViewMut<'_, T::Acc, 1>>,
    dx: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = squares::plan_backward(&x.layout(), &y.layout(), &dlosses.layout(), normalise)?;
    let losses = losses.map(|losses| losses.packed(MSE, "losses", p.out())).transpose()?;
    let dx = dx.packed(MSE, "dx", x.dims())?;
    match x.data() {
        Data::Host(x) => {
            let (y, dlosses) = (y.host(MSE, "y")?, dlosses.host(MSE, "dlosses")?);
            let losses = losses.map(|losses| losses.host(MSE, "losses")).transpose()?;
            latens_cpu::loss::mse::backward(&p, x, y, dlosses, losses, dx.host(MSE, "dx")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (y, dlosses) = (y.cuda(device, MSE, "y")?, dlosses.cuda(device, MSE, "dlosses")?);
            let losses = losses.map(|losses| losses.cuda(device, MSE, "losses")).transpose()?;
            let dx = dx.cuda(device, MSE, "dx")?;
            device.run(&loss::launch_mse_backward(&p, device.chip(), x, y, dlosses, losses, dx)?)?;
        }
    }
    Ok(())
}
