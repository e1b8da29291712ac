mod classes;
mod moments;
mod pearson;

use crate::{Data, Tensor, View, ViewMut};
pub use classes::{ClassMoments, ClassMomentsMut, class_moments, class_moments_into, class_moments_workspace};
pub use latens_kernels::reduce::Reduce;
use latens_kernels::{Float, Result, reduce as family};
pub use moments::{moments, moments_backward, moments_backward_into, moments_into};
pub use pearson::{pearson, pearson_backward, pearson_backward_into, pearson_into};

/// One number of every column (`axis` 0) or of every row (`axis` 1): see [`latens_kernels::reduce`].
pub fn reduce<T: Float>(x: View<'_, T, 2>, how: Reduce, axis: usize) -> Result<Tensor<T::Acc, 1>> {
    let p = family::plan(&x.layout(), how, axis)?;
    let mut y = Tensor::empty(p.out(), &x.device())?;
    reduce_into(x, how, axis, y.view_mut())?;
    Ok(y)
}

/// [`reduce()`] into memory of the caller.
pub fn reduce_into<T: Float>(x: View<'_, T, 2>, how: Reduce, axis: usize, y: ViewMut<'_, T::Acc, 1>) -> Result<()> {
    let p = family::plan(&x.layout(), how, axis)?;
    let y = y.packed("reduce", "y", p.out())?;
    match x.data() {
        Data::Host(x) => latens_cpu::reduce::forward(&p, x, y.host("reduce", "y")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            device.run(&family::launch(&p, device.chip(), x, y.cuda(device, "reduce", "y")?)?)?;
        }
    }
    Ok(())
}
