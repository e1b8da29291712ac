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

/// The `total` largest entries of all rows of `x` together: values, indices within their rows, and where each row's
/// part begins. See [`latens_kernels::topk`].
pub fn topk_flat<T: Float>(x: &Tensor<T, 2>, total: usize) -> Result<(Tensor<T, 1>, Tensor<u32, 1>, Tensor<u32, 1>)> {
    let device = x.device();
    let [rows, _] = x.dims();
    let mut workspace = Tensor::empty([topk_flat_workspace(&x.layout(), total, &device)?], &device)?;
    let mut values = Tensor::empty([total], &device)?;
    let mut indices = Tensor::empty([total], &device)?;
    let mut offsets = Tensor::empty([rows + 1], &device)?;
    let (v, i, o) = (values.view_mut(), indices.view_mut(), offsets.view_mut());
    topk_flat_into(x.view(), total, v, i, o, workspace.view_mut())?;
    Ok((values, indices, offsets))
}

/// [`topk_flat()`] into memory of the caller: on a GPU it neither allocates nor waits.
pub fn topk_flat_into<T: Float>(
    x: View<'_, T, 2>,
    total: usize,
    values: ViewMut<'_, T, 1>,
    indices: ViewMut<'_, u32, 1>,
    offsets: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    const OP: &str = "topk_flat";
    let p = topk::plan_flat(&x.layout(), total)?;
    let values = values.packed(OP, "values", [total])?;
    let indices = indices.packed(OP, "indices", [total])?;
    let offsets = offsets.packed(OP, "offsets", [p.dims()[0] + 1])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (values, indices) = (values.host(OP, "values")?, indices.host(OP, "indices")?);
            latens_cpu::topk::flat(&p, x, values, indices, offsets.host(OP, "offsets")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let values = values.cuda(device, OP, "values")?;
            let indices = indices.cuda(device, OP, "indices")?;
            let offsets = offsets.cuda(device, OP, "offsets")?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&topk::launch_flat(&p, device.chip(), x, values, indices, offsets, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`topk_flat_into`] asks for on `device`.
pub fn topk_flat_workspace(x: &Layout<2>, total: usize, device: &Device) -> Result<usize> {
    let p = topk::plan_flat(x, total)?;
    Ok(if device.is_host() { 0 } else { p.workspace() })
}
