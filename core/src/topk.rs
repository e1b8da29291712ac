use crate::{Data, Device, Tensor, View, ViewMut};
use latens_kernels::{Float, Layout, Result, topk};

/// The `k` largest entries of every row of `x`, and where they were: see [`latens_kernels::topk`].
pub fn topk<T: Float>(x: &Tensor<T, 2>, k: usize) -> Result<(Tensor<T, 2>, Tensor<u32, 2>)> {
    let device = x.device();
    let p = topk::plan(&x.layout(), k)?;
    let mut values = Tensor::empty(p.out(), &device)?;
    let mut indices = Tensor::empty(p.out(), &device)?;
    let mut workspace = Tensor::empty([topk_workspace(&x.layout(), k, &device)?], &device)?;
    topk_into(x.view(), k, values.view_mut(), indices.view_mut(), workspace.view_mut())?;
    Ok((values, indices))
}

/// [`topk()`] into memory of the caller: it neither allocates nor waits.
pub fn topk_into<T: Float>(
    x: View<'_, T, 2>,
    k: usize,
    values: ViewMut<'_, T, 2>,
    indices: ViewMut<'_, u32, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = topk::plan(&x.layout(), k)?;
    let values = values.packed("topk", "values", p.out())?;
    let indices = indices.packed("topk", "indices", p.out())?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host("topk", "workspace")?;
            latens_cpu::topk::forward(&p, x, values.host("topk", "values")?, indices.host("topk", "indices")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let values = values.cuda(device, "topk", "values")?;
            let indices = indices.cuda(device, "topk", "indices")?;
            let workspace = workspace.cuda(device, "topk", "workspace")?;
            device.run(&topk::launch(&p, device.chip(), x, values, indices, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`topk_into`] asks for on `device`.
pub fn topk_workspace(x: &Layout<2>, k: usize, device: &Device) -> Result<usize> {
    let p = topk::plan(x, k)?;
    Ok(if device.is_host() { 0 } else { p.workspace() })
}
