use crate::{Data, Tensor, View, ViewMut};
use latens_kernels::{Float, Result, embed as family};

/// Row `ids[i]` of the table as row `i`: see [`latens_kernels::embed`].
pub fn embed<T: Float>(table: View<'_, T, 2>, ids: View<'_, u32, 1>) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty([ids.dims()[0], table.dims()[1]], &table.device())?;
    embed_into(table, ids, y.view_mut())?;
    Ok(y)
}

/// [`embed`] into memory of the caller.
pub fn embed_into<T: Float>(table: View<'_, T, 2>, ids: View<'_, u32, 1>, y: ViewMut<'_, T, 2>) -> Result<()> {
    let op = "embed";
    let p = family::plan(&table.layout(), &ids.layout())?;
    let y = y.packed(op, "y", p.out())?;
    match table.data() {
        Data::Host(table) => latens_cpu::embed::forward(&p, table, ids.host(op, "ids")?, y.host(op, "y")?)?,
        #[cfg(feature = "cuda")]
        Data::Cuda(device, table) => {
            let (ids, y) = (ids.cuda(device, op, "ids")?, y.cuda(device, op, "y")?);
            device.run(&family::launch(&p, device.chip(), table, ids, y)?)?;
        }
    }
    Ok(())
}

/// Rows of any matrix by number: [`embed`] under the name that fits what is not a table of words.
pub fn gather_rows<T: Float>(x: View<'_, T, 2>, rows: View<'_, u32, 1>) -> Result<Tensor<T, 2>> {
    embed(x, rows)
}

/// [`gather_rows`] into memory of the caller.
pub fn gather_rows_into<T: Float>(x: View<'_, T, 2>, rows: View<'_, u32, 1>, y: ViewMut<'_, T, 2>) -> Result<()> {
    embed_into(x, rows, y)
}
