use crate::{Data, Tensor, View, ViewMut};
use latens_kernels::{Float, Result, attention as family};

/// Every query's mean of the values, weighted by the softmax of its products with the keys, full or causal, for any number
/// of query heads per key head: see [`latens_kernels::attention`].
pub fn attention<T: Float>(
    q: View<'_, T, 4>,
    k: View<'_, T, 4>,
    v: View<'_, T, 4>,
    scale: f32,
    causal: bool,
) -> Result<Tensor<T, 4>> {
    let mut y = Tensor::empty(q.dims(), &q.device())?;
    attention_into(q, k, v, scale, causal, y.view_mut())?;
    Ok(y)
}

/// [`attention()`] into memory of the caller.
pub fn attention_into<T: Float>(
    q: View<'_, T, 4>,
    k: View<'_, T, 4>,
    v: View<'_, T, 4>,
    scale: f32,
    causal: bool,
    y: ViewMut<'_, T, 4>,
) -> Result<()> {
    let op = "attention";
    let p = family::plan(&q.layout(), &k.layout(), &v.layout(), scale, causal)?;
    let y = y.packed(op, "y", p.out())?;
    match q.data() {
        Data::Host(q) => {
            latens_cpu::attention::forward(&p, q, k.host(op, "k")?, v.host(op, "v")?, y.host(op, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, q) => {
            let (k, v) = (k.cuda(device, op, "k")?, v.cuda(device, op, "v")?);
            device.run(&family::launch(&p, device.chip(), q, k, v, y.cuda(device, op, "y")?)?)?;
        }
    }
    Ok(())
}
