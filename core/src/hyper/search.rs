use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::search as launch;
use latens_kernels::hyper::{copy::Copied, search};
use latens_kernels::{Float, Layout, Result};

const OP: &str = "hyper_search";

/// The `k` rows of `corpus` with the largest inner products with each query, best first: see
/// [`latens_kernels::hyper::search`].
pub fn hyper_search<T: Float>(
    queries: View<'_, T, 2>,
    corpus: View<'_, T, 2>,
    k: usize,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 2>)> {
    let device = corpus.device();
    let p = search::plan(&queries.layout(), &corpus.layout(), k)?;
    let (mut values, mut ids) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.out(), &device)?);
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    hyper_search_into(queries, corpus, k, values.view_mut(), ids.view_mut(), workspace.view_mut())?;
    Ok((values, ids))
}

/// [`hyper_search`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn hyper_search_into<T: Float>(
    queries: View<'_, T, 2>,
    corpus: View<'_, T, 2>,
    k: usize,
    values: ViewMut<'_, T::Acc, 2>,
    ids: ViewMut<'_, u32, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = search::plan(&queries.layout(), &corpus.layout(), k)?;
    let values = values.packed(OP, "values", p.out())?;
    let ids = ids.packed(OP, "ids", p.out())?;
    let workspace = workspace.data();
    match corpus.data() {
        Data::Host(corpus) => {
            workspace.host(OP, "workspace")?;
            let (values, ids) = (values.host(OP, "values")?, ids.host(OP, "ids")?);
            latens_cpu::hyper::search::forward(&p, queries.host(OP, "queries")?, corpus, values, ids);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, corpus) => {
            let queries = queries.cuda(device, OP, "queries")?;
            let (values, ids) = (values.cuda(device, OP, "values")?, ids.cuda(device, OP, "ids")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch::launch(&p, device.chip(), queries, corpus, values, ids, workspace)?)
        }
    }
}

/// Bytes of scratch that [`hyper_search_into`] asks for on `device`.
pub fn hyper_search_workspace(queries: &Layout<2>, corpus: &Layout<2>, k: usize, device: &Device) -> Result<usize> {
    workspace(&search::plan(queries, corpus, k)?, device)
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn workspace(p: &search::Plan, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => launch::workspace(p),
    }
}

/// A copy of a corpus, in `i8` or `bf16`, to be scanned before rows are scored exactly.
pub struct Compressed<C: Copied> {
    /// `[n, dim]`.
    pub codes: Tensor<C, 2>,
    /// `[n, 3]`: scale, how far off the row is, and its length.
    pub bounds: Tensor<f32, 2>,
}

/// Copy a corpus in a quarter (`i8`) or half (`bf16`) the bytes of `f32`.
pub fn hyper_compress<T: Float, C: Copied>(corpus: View<'_, T, 2>) -> Result<Compressed<C>> {
    let ([n, dim], device) = (corpus.dims(), corpus.device());
    let (mut codes, mut bounds) = (Tensor::empty([n, dim], &device)?, Tensor::empty([n, 3], &device)?);
    hyper_compress_into(corpus, codes.view_mut(), bounds.view_mut())?;
    Ok(Compressed { codes, bounds })
}

/// [`hyper_compress`] into memory of the caller.
pub fn hyper_compress_into<T: Float, C: Copied>(
    corpus: View<'_, T, 2>,
    codes: ViewMut<'_, C, 2>,
    bounds: ViewMut<'_, f32, 2>,
) -> Result<()> {
    let p = search::plan_compress(&corpus.layout())?;
    let codes = codes.packed(OP, "codes", [p.n(), p.dim()])?;
    let bounds = bounds.packed(OP, "bounds", [p.n(), 3])?;
    match corpus.data() {
        Data::Host(corpus) => {
            latens_cpu::hyper::search::compress(&p, corpus, codes.host(OP, "codes")?, bounds.host(OP, "bounds")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, corpus) => {
            let (codes, bounds) = (codes.cuda(device, OP, "codes")?, bounds.cuda(device, OP, "bounds")?);
            device.run(&launch::compress(&p, device.chip(), corpus, codes, bounds)?)
        }
    }
}

/// [`hyper_search`] that reads the copy and scores `candidates` rows exactly; and whether that is proved to
/// be the answer of [`hyper_search`], 1 or 0 for each query.
#[allow(clippy::type_complexity)] // three outputs, named in order
pub fn hyper_search_compressed<T: Float, C: Copied>(
    queries: View<'_, T, 2>,
    corpus: View<'_, T, 2>,
    compressed: &Compressed<C>,
    k: usize,
    candidates: usize,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 2>, Tensor<u32, 1>)> {
    let device = corpus.device();
    let (codes, bounds) = (compressed.codes.view(), compressed.bounds.view());
    let dims = [queries.dims()[0], k];
    let (mut values, mut ids) = (Tensor::empty(dims, &device)?, Tensor::empty(dims, &device)?);
    let mut complete = Tensor::empty([dims[0]], &device)?;
    let bytes = hyper_search_compressed_workspace(&queries.layout(), &corpus.layout(), k, candidates, &device)?;
    let mut workspace = Tensor::empty([bytes], &device)?;
    let (v, i, c) = (values.view_mut(), ids.view_mut(), complete.view_mut());
    hyper_search_compressed_into(queries, corpus, codes, bounds, k, candidates, v, i, c, workspace.view_mut())?;
    Ok((values, ids, complete))
}

/// [`hyper_search_compressed`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn hyper_search_compressed_into<T: Float, C: Copied>(
    queries: View<'_, T, 2>,
    corpus: View<'_, T, 2>,
    codes: View<'_, C, 2>,
    bounds: View<'_, f32, 2>,
    k: usize,
    candidates: usize,
    values: ViewMut<'_, T::Acc, 2>,
    ids: ViewMut<'_, u32, 2>,
    complete: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let (of_codes, of_bounds) = (codes.layout(), bounds.layout());
    let p = search::plan_compressed(&queries.layout(), &corpus.layout(), &of_codes, &of_bounds, k, candidates)?;
    let values = values.packed(OP, "values", p.out())?;
    let ids = ids.packed(OP, "ids", p.out())?;
    let complete = complete.packed(OP, "complete", [p.count()])?;
    let workspace = workspace.data();
    match corpus.data() {
        Data::Host(corpus) => {
            workspace.host(OP, "workspace")?;
            let queries = queries.host(OP, "queries")?;
            let (codes, bounds) = (codes.host(OP, "codes")?, bounds.host(OP, "bounds")?);
            let (values, ids) = (values.host(OP, "values")?, ids.host(OP, "ids")?);
            let complete = complete.host(OP, "complete")?;
            latens_cpu::hyper::search::compressed(&p, queries, corpus, codes, bounds, values, ids, complete);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, corpus) => {
            let queries = queries.cuda(device, OP, "queries")?;
            let (codes, bounds) = (codes.cuda(device, OP, "codes")?, bounds.cuda(device, OP, "bounds")?);
            let (values, ids) = (values.cuda(device, OP, "values")?, ids.cuda(device, OP, "ids")?);
            let (complete, workspace) =
                (complete.cuda(device, OP, "complete")?, workspace.cuda(device, OP, "workspace")?);
            let chip = device.chip();
            device.run(&launch::launch_compressed(
                &p, chip, queries, corpus, codes, bounds, values, ids, complete, workspace,
            )?)
        }
    }
}

/// Bytes of scratch that [`hyper_search_compressed_into`] asks for on `device`.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
pub fn hyper_search_compressed_workspace(
    queries: &Layout<2>,
    corpus: &Layout<2>,
    k: usize,
    candidates: usize,
    device: &Device,
) -> Result<usize> {
    let [n, dim] = corpus.dims();
    let (codes, bounds) = (Layout::packed([n, dim])?, Layout::packed([n, 3])?);
    let p = search::plan_compressed(queries, corpus, &codes, &bounds, k, candidates)?;
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => launch::workspace_compressed(&p),
    }
}
