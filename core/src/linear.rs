use crate::{Accumulate, Data, Tensor, View, ViewMut};
use latens_kernels::{Float, Result, linear};

/// `x·wᵀ + bias`: see [`latens_kernels::linear`].
pub fn linear<T: Float>(
    x: View<'_, T, 2>,
    w: View<'_, T, 2>,
    bias: Option<View<'_, T::Acc, 1>>,
) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty([x.dims()[0], w.dims()[0]], &x.device())?;
    linear_into(x, w, bias, Accumulate::Replace, y.view_mut())?;
    Ok(y)
}

/// [`linear()`] into memory of the caller: it neither allocates there nor waits.
pub fn linear_into<T: Float>(
    x: View<'_, T, 2>,
    w: View<'_, T, 2>,
    bias: Option<View<'_, T::Acc, 1>>,
    accumulate: Accumulate,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = linear::plan(&x.layout(), &w.layout(), bias.map(|bias| bias.layout()).as_ref(), accumulate)?;
    let y = y.packed("linear", "y", p.dy().dims())?;
    match x.data() {
        Data::Host(x) => {
            let bias = bias.map(|bias| bias.host("linear", "bias")).transpose()?;
            latens_cpu::linear::forward(&p, x, w.host("linear", "w")?, bias, y.host("linear", "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let w = w.cuda(device, "linear", "w")?;
            let bias = bias.map(|bias| bias.cuda(device, "linear", "bias")).transpose()?;
            device.run(&linear::launch(&p, device.chip(), x, w, bias, y.cuda(device, "linear", "y")?)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`linear()`] for `x`, `w` and the bias, from `dy`, that of its result.
#[allow(clippy::type_complexity)] // three gradients, named in order
pub fn linear_backward<T: Float>(
    x: View<'_, T, 2>,
    w: View<'_, T, 2>,
    dy: View<'_, T, 2>,
) -> Result<(Tensor<T, 2>, Tensor<T::Acc, 2>, Tensor<T::Acc, 1>)> {
    let (device, n) = (x.device(), w.dims()[0]);
    let mut dx = Tensor::empty(x.dims(), &device)?;
    let mut dw = Tensor::empty(w.dims(), &device)?;
    let mut db = Tensor::empty([n], &device)?;
    let (to_x, to_w, to_b) = (Some(dx.view_mut()), Some(dw.view_mut()), Some(db.view_mut()));
    linear_backward_into(x, w, dy, Accumulate::Replace, to_x, to_w, to_b)?;
    Ok((dx, dw, db))
}

/// [`linear_backward()`] into memory of the caller; a gradient without an output is not computed.
pub fn linear_backward_into<T: Float>(
    x: View<'_, T, 2>,
    w: View<'_, T, 2>,
    dy: View<'_, T, 2>,
    accumulate: Accumulate,
    dx: Option<ViewMut<'_, T, 2>>,
    dw: Option<ViewMut<'_, T::Acc, 2>>,
    db: Option<ViewMut<'_, T::Acc, 1>>,
) -> Result<()> {
    let p = linear::plan_backward(&x.layout(), &w.layout(), &dy.layout(), accumulate)?;
    let dx = dx.map(|dx| dx.packed("linear", "dx", x.dims())).transpose()?;
    let dw = dw.map(|dw| dw.packed("linear", "dw", w.dims())).transpose()?;
    let db = db.map(|db| db.packed("linear", "db", [p.n()])).transpose()?;
    match x.data() {
        Data::Host(x) => {
            let (w, dy) = (w.host("linear", "w")?, dy.host("linear", "dy")?);
            let dx = dx.map(|dx| dx.host("linear", "dx")).transpose()?;
            let dw = dw.map(|dw| dw.host("linear", "dw")).transpose()?;
            let db = db.map(|db| db.host("linear", "db")).transpose()?;
            latens_cpu::linear::backward(&p, x, w, dy, dx, dw, db);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w, dy) = (w.cuda(device, "linear", "w")?, dy.cuda(device, "linear", "dy")?);
            let dx = dx.map(|dx| dx.cuda(device, "linear", "dx")).transpose()?;
            let dw = dw.map(|dw| dw.cuda(device, "linear", "dw")).transpose()?;
            let db = db.map(|db| db.cuda(device, "linear", "db")).transpose()?;
            device.run(&linear::launch_backward(&p, device.chip(), x, w, dy, dx, dw, db)?)?;
        }
    }
    Ok(())
}
