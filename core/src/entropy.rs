use crate::{Data, Device, SegmentTable, Tensor, View, ViewMut};
pub use latens_kernels::entropy::{Estimator, Sampling, Settings as EntropySettings};
use latens_kernels::{Float, Layout, Result, Segments, entropy as family};

const OP: &str = "entropy";

/// What [`entropy()`] gives, on the device of `x`.
pub struct Entropy<A> {
    /// By segment: entropy, standard error, correction, lowest, highest, mean, variance, filled bins.
    pub values: Tensor<A, 2>,
    /// By segment: finite elements of the sample, NaN, infinities.
    pub counts: Tensor<u32, 2>,
}

/// Entropy of the elements of many tensors in one buffer, from a sample of each: see [`latens_kernels::entropy`].
pub fn entropy<T: Float>(
    x: View<'_, T, 1>,
    table: &SegmentTable,
    settings: &EntropySettings,
) -> Result<Entropy<T::Acc>> {
    let device = x.device();
    let p = family::plan(&x.layout(), table.segments(), settings)?;
    let [values, counts] = p.out();
    let (mut values, mut counts) = (Tensor::empty(values, &device)?, Tensor::empty(counts, &device)?);
    let mut workspace = Tensor::empty([scratch(&p, &device)], &device)?;
    entropy_into(x, table, settings, values.view_mut(), counts.view_mut(), workspace.view_mut())?;
    Ok(Entropy { values, counts })
}

/// [`entropy()`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn entropy_into<T: Float>(
    x: View<'_, T, 1>,
    table: &SegmentTable,
    settings: &EntropySettings,
    values: ViewMut<'_, T::Acc, 2>,
    counts: ViewMut<'_, u32, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan(&x.layout(), table.segments(), settings)?;
    let [rows, found] = p.out();
    let values = values.packed(OP, "values", rows)?;
    let counts = counts.packed(OP, "counts", found)?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            table.words().host(OP, "segments")?;
            workspace.host(OP, "workspace")?;
            latens_cpu::entropy::forward(&p, x, values.host(OP, "values")?, counts.host(OP, "counts")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let words = table.words().cuda(device, OP, "segments")?;
            let values = values.cuda(device, OP, "values")?;
            let counts = counts.cuda(device, OP, "counts")?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&family::launch(&p, device.chip(), x, words, values, counts, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`entropy_into`] asks for on `device`.
pub fn entropy_workspace(segments: &Segments, settings: &EntropySettings, device: &Device) -> Result<usize> {
    let x = Layout::packed([segments.span()])?;
    Ok(scratch(&family::plan(&x, segments, settings)?, device))
}

fn scratch(p: &family::Plan<'_>, device: &Device) -> usize {
    if device.is_host() { 0 } else { p.workspace() }
}
