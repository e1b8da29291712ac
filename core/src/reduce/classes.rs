use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
use latens_kernels::reduce::{self as launches, classes as family};
use latens_kernels::{Float, Layout, Result};

const OP: &str = "class_moments";

/// Statistics of classes: what [`class_moments`] gives, and what batches join.
pub struct ClassMoments<A: Float> {
    /// `[classes]`: rows of each.
    pub counts: Tensor<u32, 1>,
    /// `[classes, n]`: means of their columns.
    pub means: Tensor<A, 2>,
    /// `[classes, n]`: sums of squared differences from the means.
    pub squares: Tensor<A, 2>,
    /// `[1]`: rows whose label was no class.
    pub ignored: Tensor<u32, 1>,
}

/// Where they are written.
pub struct ClassMomentsMut<'a, A: Float> {
    /// `[classes]`.
    pub counts: ViewMut<'a, u32, 1>,
    /// `[classes, n]`.
    pub means: ViewMut<'a, A, 2>,
    /// `[classes, n]`.
    pub squares: ViewMut<'a, A, 2>,
    /// `[1]`.
    pub ignored: ViewMut<'a, u32, 1>,
}

impl<A: Float> ClassMoments<A> {
    /// Those of no rows: what the first batch may join.
    ///
    /// # Errors
    /// What allocating may give.
    pub fn zeros([classes, n]: [usize; 2], device: &Device) -> Result<Self> {
        Ok(Self {
            counts: Tensor::zeros([classes], device)?,
            means: Tensor::zeros([classes, n], device)?,
            squares: Tensor::zeros([classes, n], device)?,
            ignored: Tensor::zeros([1], device)?,
        })
    }

    /// Borrow for writing.
    pub fn view_mut(&mut self) -> ClassMomentsMut<'_, A> {
        let (counts, ignored) = (self.counts.view_mut(), self.ignored.view_mut());
        ClassMomentsMut { counts, means: self.means.view_mut(), squares: self.squares.view_mut(), ignored }
    }
}

/// Count, mean and squares of the rows of each class: see [`latens_kernels::reduce::classes`].
pub fn class_moments<T: Float>(
    x: View<'_, T, 2>,
    labels: View<'_, u32, 1>,
    classes: usize,
) -> Result<ClassMoments<T::Acc>> {
    let device = x.device();
    let mut to = ClassMoments::zeros([classes, x.dims()[1]], &device)?;
    let mut workspace = Tensor::empty([class_moments_workspace(&x.layout(), classes, &device)?], &device)?;
    class_moments_into(x, labels, Accumulate::Replace, to.view_mut(), workspace.view_mut())?;
    Ok(to)
}

/// [`class_moments`] into memory of the caller, or joined to the statistics there. On a GPU it neither allocates nor waits.
pub fn class_moments_into<T: Float>(
    x: View<'_, T, 2>,
    labels: View<'_, u32, 1>,
    accumulate: Accumulate,
    to: ClassMomentsMut<'_, T::Acc>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan(&x.layout(), &labels.layout(), to.counts.dims()[0], accumulate)?;
    let (counts, ignored) = (to.counts.packed(OP, "counts", [p.classes()])?, to.ignored.packed(OP, "ignored", [1])?);
    let (means, squares) = (to.means.packed(OP, "means", p.out())?, to.squares.packed(OP, "squares", p.out())?);
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (labels, counts) = (labels.host(OP, "labels")?, counts.host(OP, "counts")?);
            let (means, squares) = (means.host(OP, "means")?, squares.host(OP, "squares")?);
            let ignored = ignored.host(OP, "ignored")?;
            latens_cpu::reduce::classes::forward(&p, x, labels, counts, means, squares, ignored);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (counts, ignored) = (counts.cuda(device, OP, "counts")?, ignored.cuda(device, OP, "ignored")?);
            let (means, squares) = (means.cuda(device, OP, "means")?, squares.cuda(device, OP, "squares")?);
            let to = launches::ClassOutputs { counts, means, squares, ignored };
            let (labels, work) = (labels.cuda(device, OP, "labels")?, workspace.cuda(device, OP, "workspace")?);
            device.run(&launches::launch_classes(&p, device.chip(), x, labels, to, work)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`class_moments_into`] asks for on `device`.
pub fn class_moments_workspace(x: &Layout<2>, classes: usize, device: &Device) -> Result<usize> {
    let p = family::plan(x, &Layout::packed([x.dims()[0]])?, classes, Accumulate::Replace)?;
    Ok(if device.is_host() { 0 } else { launches::workspace_classes(&p) })
}
