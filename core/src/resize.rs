use crate::{Accumulate, Data, Device, Tensor, View, ViewMut};
use latens_kernels::{
    Float, Layout, Result,
    resize::{self, Filter, Tables},
};

const OP: &str = "resize";

/// A change of size: the weights of it, and their copy where kernels read them. Made once; operations only borrow it.
pub struct Resize {
    tables: Tables,
    rows: Tensor<u32, 1>,
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the host reads its tables
    weights: Tensor<f32, 1>,
}

impl Resize {
    /// From images of `from` rows and columns to those of `to`.
    ///
    /// # Errors
    /// Those of [`Tables::new`], and what allocating and writing may give.
    pub fn new(filter: Filter, from: [usize; 2], to: [usize; 2], device: &Device) -> Result<Self> {
        let tables = Tables::new(filter, from, to)?;
        // On the host the tables are read as they are.
        let (rows, weights) = if device.is_host() { Default::default() } else { tables.words() };
        let (of_rows, of_weights) = ([rows.len()], [weights.len()]);
        let rows = Tensor::from_vec(rows, of_rows, device)?;
        Ok(Self { tables, rows, weights: Tensor::from_vec(weights, of_weights, device)? })
    }

    /// The weights.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

/// Images `[batch, height, width, channels]` of another size: see [`latens_kernels::resize`].
pub fn resize<T: Float>(x: View<'_, T, 4>, by: &Resize) -> Result<Tensor<T, 4>> {
    let (p, device) = (resize::plan(&by.tables, &x.layout())?, x.device());
    let mut y = Tensor::empty(p.out(), &device)?;
    let mut workspace = Tensor::empty([resize_workspace(&x.layout(), by, &device)?], &device)?;
    resize_into(x, by, y.view_mut(), workspace.view_mut())?;
    Ok(y)
}

/// Bytes of scratch that [`resize_into`] asks for, and [`resize_backward_into`] for a `dx` of this layout.
///
/// # Errors
/// As [`resize()`].
pub fn resize_workspace(x: &Layout<4>, by: &Resize, device: &Device) -> Result<usize> {
    let _p = resize::plan(&by.tables, x)?;
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => resize::workspace(&_p),
    }
}

/// [`resize()`] into memory of the caller.
pub fn resize_into<T: Float>(
    x: View<'_, T, 4>,
    by: &Resize,
    y: ViewMut<'_, T, 4>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = resize::plan(&by.tables, &x.layout())?;
    let (y, workspace) = (y.packed(OP, "y", p.out())?, workspace.data());
    match x.data() {
        Data::Host(x) => {
            by.rows.view().host(OP, "by")?;
            workspace.host(OP, "workspace")?;
            latens_cpu::resize::forward(&p, &by.tables, x, y.host(OP, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let words = (by.rows.view().cuda(device, OP, "by")?, by.weights.view().cuda(device, OP, "by")?);
            let (y, workspace) = (y.cuda(device, OP, "y")?, workspace.cuda(device, OP, "workspace")?);
            device.run(&resize::launch(&p, device.chip(), &by.tables, words, x, y, workspace)?)?;
        }
    }
    Ok(())
}

/// The gradient of [`resize()`] from `dy`, that of its result.
pub fn resize_backward<T: Float>(dy: View<'_, T, 4>, by: &Resize) -> Result<Tensor<T, 4>> {
    let device = dy.device();
    let p = resize::plan_backward(&by.tables, &dy.layout(), Accumulate::Replace)?;
    let mut dx = Tensor::empty(p.x().dims(), &device)?;
    let mut workspace = Tensor::empty([resize_workspace(&p.x(), by, &device)?], &device)?;
    resize_backward_into(dy, by, Accumulate::Replace, dx.view_mut(), workspace.view_mut())?;
    Ok(dx)
}

/// [`resize_backward`] into memory of the caller.
pub fn resize_backward_into<T: Float>(
    dy: View<'_, T, 4>,
    by: &Resize,
    accumulate: Accumulate,
    dx: ViewMut<'_, T, 4>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = resize::plan_backward(&by.tables, &dy.layout(), accumulate)?;
    let (dx, workspace) = (dx.packed(OP, "dx", p.x().dims())?, workspace.data());
    match dy.data() {
        Data::Host(dy) => {
            by.rows.view().host(OP, "by")?;
            workspace.host(OP, "workspace")?;
            latens_cpu::resize::backward(&p, &by.tables, dy, dx.host(OP, "dx")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, dy) => {
            let words = (by.rows.view().cuda(device, OP, "by")?, by.weights.view().cuda(device, OP, "by")?);
            let (dx, workspace) = (dx.cuda(device, OP, "dx")?, workspace.cuda(device, OP, "workspace")?);
            device.run(&resize::launch_backward(&p, device.chip(), &by.tables, words, dy, dx, workspace)?)?;
        }
    }
    Ok(())
}
