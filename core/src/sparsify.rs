use crate::{Data, DataMut, Device, Tensor, View, ViewMut};
use latens_kernels::{Accumulate, Float, Layout, Result, sparsify};

/// What [`sparsify()`] sends.
pub struct Packet<A> {
    /// The entries, `[k]`.
    pub values: Tensor<A, 1>,
    /// Where they were, ascending; `n` marks a slot without an entry.
    pub indices: Tensor<u32, 1>,
    /// How many entries there are, and how many of the gradient were dropped for not being finite.
    pub counts: Tensor<u32, 1>,
}

/// The `k` entries of largest magnitude of `g + e`; the others are left in the memory `e`. See
/// [`latens_kernels::sparsify`].
pub fn sparsify<T: Float>(g: View<'_, T, 1>, e: ViewMut<'_, T::Acc, 1>, k: usize) -> Result<Packet<T::Acc>> {
    let device = g.device();
    let mut workspace = Tensor::empty([sparsify_workspace(&g.layout(), k, &device)?], &device)?;
    let mut values = Tensor::empty([k], &device)?;
    let (mut indices, mut counts) = (Tensor::empty([k], &device)?, Tensor::empty([2], &device)?);
    let (v, i, c) = (values.view_mut(), indices.view_mut(), counts.view_mut());
    sparsify_into(g, e, k, v, i, c, workspace.view_mut())?;
    Ok(Packet { values, indices, counts })
}

/// [`sparsify()`] into memory of the caller: on a GPU it neither allocates nor waits.
pub fn sparsify_into<T: Float>(
    g: View<'_, T, 1>,
    e: ViewMut<'_, T::Acc, 1>,
    k: usize,
    values: ViewMut<'_, T::Acc, 1>,
    indices: ViewMut<'_, u32, 1>,
    counts: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    const OP: &str = "sparsify";
    let p = sparsify::plan(&g.layout(), &e.layout(), k)?;
    let values = values.packed(OP, "values", [k])?;
    let indices = indices.packed(OP, "indices", [k])?;
    let counts = counts.packed(OP, "counts", [2])?;
    let (e, workspace) = (e.data(), workspace.data());
    match g.data() {
        Data::Host(g) => {
            workspace.host(OP, "workspace")?;
            let (e, counts) = (e.host(OP, "e")?, counts.host(OP, "counts")?);
            let (values, indices) = (values.host(OP, "values")?, indices.host(OP, "indices")?);
            latens_cpu::sparsify::forward(&p, g, e, values, indices, counts);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, g) => {
            let (e, counts) = (e.cuda(device, OP, "e")?, counts.cuda(device, OP, "counts")?);
            let (values, indices) = (values.cuda(device, OP, "values")?, indices.cuda(device, OP, "indices")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&sparsify::launch(&p, device.chip(), g, e, values, indices, counts, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`sparsify_into`] asks for on `device`.
pub fn sparsify_workspace(g: &Layout<1>, k: usize, device: &Device) -> Result<usize> {
    let p = sparsify::plan(g, g, k)?;
    Ok(if device.is_host() { 0 } else { p.workspace() })
}

/// The sum of the packets of several ranks, one a row, times `scale`, as a dense tensor of `n` entries.
pub fn sparsify_sum<T: Float>(
    values: View<'_, T::Acc, 2>,
    indices: View<'_, u32, 2>,
    scale: f32,
    n: usize,
) -> Result<Tensor<T, 1>> {
    let mut y = Tensor::empty([n], &values.device())?;
    sparsify_sum_into(values, indices, scale, Accumulate::Replace, y.view_mut())?;
    Ok(y)
}

/// [`sparsify_sum`] into memory of the caller, or added to it.
///
/// # Errors
/// On the host, `Range` or `Value` if indices are beyond `y` or do not ascend.
pub fn sparsify_sum_into<T: Float>(
    values: View<'_, T::Acc, 2>,
    indices: View<'_, u32, 2>,
    scale: f32,
    accumulate: Accumulate,
    y: ViewMut<'_, T, 1>,
) -> Result<()> {
    const OP: &str = "sparsify_sum";
    let p = sparsify::plan_sum(&values.layout(), &indices.layout(), scale, accumulate, &y.layout())?;
    match y.data() {
        DataMut::Host(y) => {
            let (values, indices) = (values.host(OP, "values")?, indices.host(OP, "indices")?);
            p.check(indices)?;
            latens_cpu::sparsify::sum(&p, values, indices, y);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, y) => {
            let (values, indices) = (values.cuda(device, OP, "values")?, indices.cuda(device, OP, "indices")?);
            device.run(&sparsify::launch_sum(&p, device.chip(), values, indices, y)?)?;
        }
    }
    Ok(())
}
