use crate::{Data, DataMut, Tensor, View, ViewMut};
use latens_kernels::{Element, Float, Result, map};

/// `y = x`, bit by bit, between layouts with or without gaps: see [`latens_kernels::map`].
pub fn copy_into<T: Element, const R: usize>(x: View<'_, T, R>, y: ViewMut<'_, T, R>) -> Result<()> {
    let p = map::plan("copy", &x.layout(), &y.layout())?;
    match x.data() {
        Data::Host(x) => latens_cpu::map::copy(&p, x, y.data().host("copy", "y")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let y = y.data().cuda(device, "copy", "y")?;
            device.run(&map::launch_copy(&p, device.chip(), x, y)?)?;
        }
    }
    Ok(())
}

/// `x` in another type, rounded to nearest: see [`latens_kernels::map`].
pub fn cast<T: Float, U: Float>(x: View<'_, T, 2>) -> Result<Tensor<U, 2>> {
    let mut y = Tensor::empty(x.dims(), &x.device())?;
    cast_into(x, y.view_mut())?;
    Ok(y)
}

/// [`cast`] into memory of the caller, which may have gaps between rows.
pub fn cast_into<T: Float, U: Float>(x: View<'_, T, 2>, y: ViewMut<'_, U, 2>) -> Result<()> {
    let p = map::plan("cast", &x.layout(), &y.layout())?;
    match x.data() {
        Data::Host(x) => latens_cpu::map::cast(&p, x, y.data().host("cast", "y")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let y = y.data().cuda(device, "cast", "y")?;
            device.run(&map::launch_cast(&p, device.chip(), x, y)?)?;
        }
    }
    Ok(())
}

/// `y += x`: see [`latens_kernels::map`].
pub fn add_into<T: Float>(x: View<'_, T, 2>, y: ViewMut<'_, T, 2>) -> Result<()> {
    let p = map::plan("add", &x.layout(), &y.layout())?;
    match x.data() {
        Data::Host(x) => latens_cpu::map::add(&p, x, y.data().host("add", "y")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let y = y.data().cuda(device, "add", "y")?;
            device.run(&map::launch_add(&p, device.chip(), x, y)?)?;
        }
    }
    Ok(())
}

/// `y *= factor`: see [`latens_kernels::map`].
pub fn scale_into<T: Float>(factor: f32, y: ViewMut<'_, T, 2>) -> Result<()> {
    let p = map::plan("scale", &y.layout(), &y.layout())?;
    match y.data() {
        DataMut::Host(y) => latens_cpu::map::scale(&p, factor, y),
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, y) => device.run(&map::launch_scale(&p, device.chip(), factor, y)?)?,
    }
    Ok(())
}
