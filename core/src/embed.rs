use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
use latens_kernels::{Float, Layout, Result, embed as family};

const OP: &str = "embed";

/// Row `ids[i]` of the table as row `i`: see [`latens_kernels::embed`].
pub fn embed<T: Float>(table: View<'_, T, 2>, ids: View<'_, u32, 1>) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty([ids.dims()[0], table.dims()[1]], &table.device())?;
    embed_into(table, ids, y.view_mut())?;
    Ok(y)
}

/// [`embed`] into memory of the caller.
pub fn embed_into<T: Float>(table: View<'_, T, 2>, ids: View<'_, u32, 1>, y: ViewMut<'_, T, 2>) -> Result<()> {
    let p = family::plan(&table.layout(), &ids.layout())?;
    let y = y.packed(OP, "y", p.out())?;
    match table.data() {
        Data::Host(table) => latens_cpu::embed::forward(&p, table, ids.host(OP, "ids")?, y.host(OP, "y")?)?,
        #[cfg(feature = "cuda")]
        Data::Cuda(device, table) => {
            let (ids, y) = (ids.cuda(device, OP, "ids")?, y.cuda(device, OP, "y")?);
            device.run(&family::launch(&p, device.chip(), table, ids, y)?)?;
        }
    }
    Ok(())
}

/// The gradient of a table of `vocab` rows, from `dy`, that of the rows that [`embed`] took from it: rows of equal ids
/// are added in their order. See [`latens_kernels::embed`].
pub fn embed_backward<T: Float>(dy: View<'_, T, 2>, ids: View<'_, u32, 1>, vocab: usize) -> Result<Tensor<T::Acc, 2>> {
    let device = dy.device();
    let mut dtable = Tensor::empty([vocab, dy.dims()[1]], &device)?;
    let mut workspace = Tensor::empty([embed_backward_workspace(&dy.layout(), vocab, &device)?], &device)?;
    embed_backward_into(dy, ids, Accumulate::Replace, dtable.view_mut(), workspace.view_mut())?;
    Ok(dtable)
}

/// [`embed_backward`] into memory of the caller: on a GPU it neither allocates nor waits.
pub fn embed_backward_into<T: Float>(
    dy: View<'_, T, 2>,
    ids: View<'_, u32, 1>,
    accumulate: Accumulate,
    dtable: ViewMut<'_, T::Acc, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan_backward(&dy.layout(), &ids.layout(), dtable.dims()[0], accumulate)?;
    let (dtable, workspace) = (dtable.packed(OP, "dtable", p.table().dims())?, workspace.data());
    match dy.data() {
        Data::Host(dy) => {
            workspace.host(OP, "workspace")?;
            latens_cpu::embed::backward(&p, dy, ids.host(OP, "ids")?, dtable.host(OP, "dtable")?)?;
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, dy) => {
            let (ids, dtable) = (ids.cuda(device, OP, "ids")?, dtable.cuda(device, OP, "dtable")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&family::launch_backward(&p, device.chip(), dy, ids, dtable, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`embed_backward_into`] asks for on `device`.
pub fn embed_backward_workspace(dy: &Layout<2>, vocab: usize, device: &Device) -> Result<usize> {
    let p = family::plan_backward(dy, &Layout::packed([dy.dims()[0]])?, vocab, Accumulate::Replace)?;
    Ok(if device.is_host() { 0 } else { family::workspace(&p) })
}

/// Rows of any matrix by number: [`embed`] under the name that fits what is not a table of words.
pub fn gather_rows<T: Float>(x: View<'_, T, 2>, rows: View<'_, u32, 1>) -> Result<Tensor<T, 2>> {
    embed(x, rows)
}

/// [`gather_rows`] into memory of the caller.
pub fn gather_rows_into<T: Float>(x: View<'_, T, 2>, rows: View<'_, u32, 1>, y: ViewMut<'_, T, 2>) -> Result<()> {
    embed_into(x, rows, y)
}
