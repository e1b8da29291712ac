use crate::{Accumulate, Data, Tensor, View, ViewMut};
use latens_kernels::{
    Float, Result,
    pool::{self, Pooling, Window},
};

/// The largest entry of every window of images `[batch, height, width, channels]`, and where in its image it stood: see
/// [`latens_kernels::pool`].
pub fn max_pool<T: Float>(x: View<'_, T, 4>, window: Window) -> Result<(Tensor<T, 4>, Tensor<u32, 4>)> {
    let (p, device) = (pool::plan(Pooling::Max, &x.layout(), window)?, x.device());
    let (mut y, mut indices) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.out(), &device)?);
    max_pool_into(x, window, y.view_mut(), Some(indices.view_mut()))?;
    Ok((y, indices))
}

/// [`max_pool`] into memory of the caller; places only if they are asked for.
pub fn max_pool_into<T: Float>(
    x: View<'_, T, 4>,
    window: Window,
    y: ViewMut<'_, T, 4>,
    indices: Option<ViewMut<'_, u32, 4>>,
) -> Result<()> {
    run("max_pool", Pooling::Max, x, window, y, indices)
}

/// The mean of every window of images `[batch, height, width, channels]`, over all its places or over those in the image: see
/// [`latens_kernels::pool`].
pub fn average_pool<T: Float>(x: View<'_, T, 4>, window: Window, count_padding: bool) -> Result<Tensor<T, 4>> {
    let p = pool::plan(Pooling::Average { count_padding }, &x.layout(), window)?;
    let mut y = Tensor::empty(p.out(), &x.device())?;
    average_pool_into(x, window, count_padding, y.view_mut())?;
    Ok(y)
}

/// [`average_pool`] into memory of the caller.
pub fn average_pool_into<T: Float>(
    x: View<'_, T, 4>,
    window: Window,
    count_padding: bool,
    y: ViewMut<'_, T, 4>,
) -> Result<()> {
    run("average_pool", Pooling::Average { count_padding }, x, window, y, None)
}

fn run<T: Float>(
    op: &'static str,
    pooling: Pooling,
    x: View<'_, T, 4>,
    window: Window,
    y: ViewMut<'_, T, 4>,
    indices: Option<ViewMut<'_, u32, 4>>,
) -> Result<()> {
    let p = pool::plan(pooling, &x.layout(), window)?;
    let y = y.packed(op, "y", p.out())?;
    let indices = indices.map(|indices| indices.packed(op, "indices", p.out())).transpose()?;
    match x.data() {
        Data::Host(x) => {
            let indices = indices.map(|indices| indices.host(op, "indices")).transpose()?;
            latens_cpu::pool::forward(&p, x, y.host(op, "y")?, indices);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let indices = indices.map(|indices| indices.cuda(device, op, "indices")).transpose()?;
            device.run(&pool::launch(&p, device.chip(), x, y.cuda(device, op, "y")?, indices)?)?;
        }
    }
    Ok(())
}

/// The gradient of [`max_pool`] for images of sizes `x`, from `dy`, that of its result, and the places it gave.
pub fn max_pool_backward<T: Float>(
    dy: View<'_, T, 4>,
    indices: View<'_, u32, 4>,
    x: [usize; 4],
    window: Window,
) -> Result<Tensor<T, 4>> {
    let mut dx = Tensor::empty(x, &dy.device())?;
    max_pool_backward_into(dy, indices, window, Accumulate::Replace, dx.view_mut())?;
    Ok(dx)
}

/// [`max_pool_backward`] into memory of the caller, for images of the sizes of `dx`.
pub fn max_pool_backward_into<T: Float>(
    dy: View<'_, T, 4>,
    indices: View<'_, u32, 4>,
    window: Window,
    accumulate: Accumulate,
    dx: ViewMut<'_, T, 4>,
) -> Result<()> {
    run_backward("max_pool", Pooling::Max, dy, Some(indices), window, accumulate, dx)
}

/// The gradient of [`average_pool`] for images of sizes `x`, from `dy`, that of its result.
pub fn average_pool_backward<T: Float>(
    dy: View<'_, T, 4>,
    x: [usize; 4],
    window: Window,
    count_padding: bool,
) -> Result<Tensor<T, 4>> {
    let mut dx = Tensor::empty(x, &dy.device())?;
    average_pool_backward_into(dy, window, count_padding, Accumulate::Replace, dx.view_mut())?;
    Ok(dx)
}

/// [`average_pool_backward`] into memory of the caller, for images of the sizes of `dx`.
pub fn average_pool_backward_into<T: Float>(
    dy: View<'_, T, 4>,
    window: Window,
    count_padding: bool,
    accumulate: Accumulate,
    dx: ViewMut<'_, T, 4>,
) -> Result<()> {
    run_backward("average_pool", Pooling::Average { count_padding }, dy, None, window, accumulate, dx)
}

fn run_backward<T: Float>(
    op: &'static str,
    pooling: Pooling,
    dy: View<'_, T, 4>,
    indices: Option<View<'_, u32, 4>>,
    window: Window,
    accumulate: Accumulate,
    dx: ViewMut<'_, T, 4>,
) -> Result<()> {
    let (x, layout) = (dx.dims(), indices.map(|indices| indices.layout()));
    let p = pool::plan_backward(pooling, x, window, &dy.layout(), layout.as_ref(), accumulate)?;
    let dx = dx.packed(op, "dx", x)?;
    match dy.data() {
        Data::Host(dy) => {
            let indices = indices.map(|indices| indices.host(op, "indices")).transpose()?;
            latens_cpu::pool::backward(&p, dy, indices.unwrap_or_default(), dx.host(op, "dx")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, dy) => {
            let indices = indices.map(|indices| indices.cuda(device, op, "indices")).transpose()?;
            device.run(&pool::launch_backward(&p, device.chip(), dy, indices, dx.cuda(device, op, "dx")?)?)?;
        }
    }
    Ok(())
}
