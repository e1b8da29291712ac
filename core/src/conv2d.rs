use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
use latens_kernels::{
    Float, Layout, Result,
    conv2d::{self, Conv2d},
};

const OP: &str = "conv2d";

/// Convolution of images `[batch, height, width, channels]` with `w` `[n, taps_y, taps_x, channels / groups]`: see
/// [`latens_kernels::conv2d`].
pub fn conv2d<T: Float>(
    x: View<'_, T, 4>,
    w: View<'_, T, 4>,
    bias: Option<View<'_, T::Acc, 1>>,
    how: Conv2d,
) -> Result<Tensor<T, 4>> {
    let p = conv2d::plan(&x.layout(), &w.layout(), None, how)?;
    let mut y = Tensor::empty(p.out(), &x.device())?;
    conv2d_into(x, w, bias, how, y.view_mut())?;
    Ok(y)
}

/// [`conv2d()`] into memory of the caller.
pub fn conv2d_into<T: Float>(
    x: View<'_, T, 4>,
    w: View<'_, T, 4>,
    bias: Option<View<'_, T::Acc, 1>>,
    how: Conv2d,
    y: ViewMut<'_, T, 4>,
) -> Result<()> {
    let p = conv2d::plan(&x.layout(), &w.layout(), bias.map(|bias| bias.layout()).as_ref(), how)?;
    let y = y.packed(OP, "y", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let bias = bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            latens_cpu::conv2d::forward(&p, x, w.host(OP, "w")?, bias, y.host(OP, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let w = w.cuda(device, OP, "w")?;
            let bias = bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            device.run(&conv2d::launch(&p, device.chip(), x, w, bias, y.cuda(device, OP, "y")?)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`conv2d()`] for `x`, `w` and the bias, from `dy`, that of its result.
#[allow(clippy::type_complexity)] // three gradients, named in order
pub fn conv2d_backward<T: Float>(
    x: View<'_, T, 4>,
    w: View<'_, T, 4>,
    dy: View<'_, T, 4>,
    how: Conv2d,
) -> Result<(Tensor<T, 4>, Tensor<T::Acc, 4>, Tensor<T::Acc, 1>)> {
    let device = x.device();
    let mut dx = Tensor::empty(x.dims(), &device)?;
    let mut dw = Tensor::empty(w.dims(), &device)?;
    let mut db = Tensor::empty([w.dims()[0]], &device)?;
    let mut workspace = Tensor::empty([conv2d_backward_workspace(&x.layout(), &w.layout(), how, &device)?], &device)?;
    let to = (Some(dx.view_mut()), Some(dw.view_mut()), Some(db.view_mut()));
    conv2d_backward_into(x, w, dy, how, Accumulate::Replace, to.0, to.1, to.2, workspace.view_mut())?;
    Ok((dx, dw, db))
}

/// Bytes of scratch that [`conv2d_backward_into`] asks for; none for `dx` alone.
///
/// # Errors
/// As [`conv2d()`].
pub fn conv2d_backward_workspace(x: &Layout<4>, w: &Layout<4>, how: Conv2d, device: &Device) -> Result<usize> {
    let _p = conv2d::plan(x, w, None, how)?;
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => conv2d::workspace_backward(&_p),
    }
}

/// [`conv2d_backward`] into memory of the caller; a gradient without an output is not computed.
pub fn conv2d_backward_into<T: Float>(
    x: View<'_, T, 4>,
    w: View<'_, T, 4>,
    dy: View<'_, T, 4>,
    how: Conv2d,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 4>>,
    dw: Option<ViewMut<'_, T::Acc, 4>>,
    db: Option<ViewMut<'_, T::Acc, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = conv2d::plan_backward(&x.layout(), &w.layout(), &dy.layout(), how, accumulate)?;
    let dx = dx.map(|dx| dx.packed(OP, "dx", x.dims())).transpose()?;
    let dw = dw.map(|dw| dw.packed(OP, "dw", w.dims())).transpose()?;
    let db = db.map(|db| db.packed(OP, "db", [w.dims()[0]])).transpose()?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (w, dy) = (w.host(OP, "w")?, dy.host(OP, "dy")?);
            let dx = dx.map(|dx| dx.host(OP, "dx")).transpose()?;
            let dw = dw.map(|dw| dw.host(OP, "dw")).transpose()?;
            let db = db.map(|db| db.host(OP, "db")).transpose()?;
            latens_cpu::conv2d::backward(&p, x, w, dy, dx, dw, db);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w, dy) = (w.cuda(device, OP, "w")?, dy.cuda(device, OP, "dy")?);
            let dx = dx.map(|dx| dx.cuda(device, OP, "dx")).transpose()?;
            let dw = dw.map(|dw| dw.cuda(device, OP, "dw")).transpose()?;
            let db = db.map(|db| db.cuda(device, OP, "db")).transpose()?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&conv2d::launch_backward(&p, device.chip(), x, w, dy, dx, dw, db, workspace)?)?;
        }
    }
    Ok(())
}
