mod exchange;

use crate::{Data, DataMut, Device, SegmentTable, Tensor, View, ViewMut};
pub use exchange::{lowrank_quantise, lowrank_quantise_into, lowrank_sum, lowrank_sum_into};
use latens_kernels::{Float, Result, lowrank};

/// The first stage of a step: `e += g`, and its product with `q`. Gives `p`, and the entries of every matrix that were not
/// finite. See [`latens_kernels::lowrank`].
pub fn lowrank_left<T: Float>(
    table: &SegmentTable,
    g: View<'_, T, 1>,
    e: ViewMut<'_, T::Acc, 1>,
    q: View<'_, T::Acc, 2>,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 1>)> {
    let device = g.device();
    let shape = lowrank::plan(table.segments(), q.dims()[1])?.p();
    let mut p = Tensor::empty(shape, &device)?;
    let mut dropped = Tensor::empty([table.segments().count()], &device)?;
    lowrank_left_into(table, g, e, q, p.view_mut(), dropped.view_mut())?;
    Ok((p, dropped))
}

/// [`lowrank_left`] into memory of the caller.
pub fn lowrank_left_into<T: Float>(
    table: &SegmentTable,
    g: View<'_, T, 1>,
    e: ViewMut<'_, T::Acc, 1>,
    q: View<'_, T::Acc, 2>,
    p: ViewMut<'_, T::Acc, 2>,
    dropped: ViewMut<'_, u32, 1>,
) -> Result<()> {
    const OP: &str = "lowrank_left";
    let plan = lowrank::plan(table.segments(), q.dims()[1])?;
    plan.covers(OP, "g", &g.layout())?;
    plan.covers(OP, "e", &e.layout())?;
    plan.fits(OP, "q", &q.layout())?;
    let left = p.packed(OP, "p", plan.p())?;
    let dropped = dropped.packed(OP, "dropped", [table.segments().count()])?;
    match g.data() {
        Data::Host(g) => {
            table.words().host(OP, "table")?;
            let (e, q, left) = (e.data().host(OP, "e")?, q.host(OP, "q")?, left.host(OP, "p")?);
            latens_cpu::lowrank::left(&plan, g, e, q, left, dropped.host(OP, "dropped")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, g) => {
            let words = table.words().cuda(device, OP, "table")?;
            let (e, q) = (e.data().cuda(device, OP, "e")?, q.cuda(device, OP, "q")?);
            let (left, dropped) = (left.cuda(device, OP, "p")?, dropped.cuda(device, OP, "dropped")?);
            device.run(&lowrank::launch_left(&plan, device.chip(), words, g, e, q, left, dropped)?)?;
        }
    }
    Ok(())
}

/// Make the columns of every matrix of `p` orthonormal, in place; allocates only its scratch.
pub fn lowrank_orthogonalise<A: Float>(table: &SegmentTable, p: ViewMut<'_, A, 2>, seed: u64) -> Result<()> {
    let device = table.words().device();
    let mut workspace = Tensor::empty([lowrank_orthogonalise_workspace(table, p.dims()[1], &device)?], &device)?;
    lowrank_orthogonalise_into(table, p, seed, workspace.view_mut())
}

/// [`lowrank_orthogonalise`] with scratch of the caller.
pub fn lowrank_orthogonalise_into<A: Float>(
    table: &SegmentTable,
    p: ViewMut<'_, A, 2>,
    seed: u64,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    const OP: &str = "lowrank_orthogonalise";
    let plan = lowrank::plan(table.segments(), p.dims()[1])?;
    let workspace = workspace.data();
    match p.packed(OP, "p", plan.p())? {
        DataMut::Host(left) => {
            table.words().host(OP, "table")?;
            workspace.host(OP, "workspace")?;
            latens_cpu::lowrank::orthogonalise(&plan, left, seed);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, left) => {
            let (words, workspace) =
                (table.words().cuda(device, OP, "table")?, workspace.cuda(device, OP, "workspace")?);
            device.run(&lowrank::launch_orthogonalise(&plan, device.chip(), words, left, seed, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of scratch that [`lowrank_orthogonalise_into`] asks for on `device`.
pub fn lowrank_orthogonalise_workspace(table: &SegmentTable, rank: usize, device: &Device) -> Result<usize> {
    let plan = lowrank::plan(table.segments(), rank)?;
    Ok(if device.is_host() { 0 } else { plan.workspace() })
}

/// The other factor: what [`lowrank_left`] left in `e`, transposed, times `p`.
pub fn lowrank_right<A: Float>(table: &SegmentTable, e: View<'_, A, 1>, p: View<'_, A, 2>) -> Result<Tensor<A, 2>> {
    let mut q = Tensor::empty(lowrank::plan(table.segments(), p.dims()[1])?.q(), &e.device())?;
    lowrank_right_into(table, e, p, q.view_mut())?;
    Ok(q)
}

/// [`lowrank_right`] into memory of the caller.
pub fn lowrank_right_into<A: Float>(
    table: &SegmentTable,
    e: View<'_, A, 1>,
    p: View<'_, A, 2>,
    q: ViewMut<'_, A, 2>,
) -> Result<()> {
    const OP: &str = "lowrank_right";
    let plan = lowrank::plan(table.segments(), p.dims()[1])?;
    plan.covers(OP, "e", &e.layout())?;
    plan.fits(OP, "p", &p.layout())?;
    let q = q.packed(OP, "q", plan.q())?;
    match e.data() {
        Data::Host(e) => {
            table.words().host(OP, "table")?;
            latens_cpu::lowrank::right(&plan, e, p.host(OP, "p")?, q.host(OP, "q")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, e) => {
            let (words, left) = (table.words().cuda(device, OP, "table")?, p.cuda(device, OP, "p")?);
            device.run(&lowrank::launch_right(&plan, device.chip(), words, e, left, q.cuda(device, OP, "q")?)?)?;
        }
    }
    Ok(())
}

/// The last stage: `p` times `q` transposed, which is taken off `e`. What lies between matrices is 0.
pub fn lowrank_restore<T: Float>(
    table: &SegmentTable,
    p: View<'_, T::Acc, 2>,
    q: View<'_, T::Acc, 2>,
    e: ViewMut<'_, T::Acc, 1>,
) -> Result<Tensor<T, 1>> {
    let mut y = Tensor::zeros(e.dims(), &p.device())?;
    lowrank_restore_into(table, p, q, Some(e), Some(y.view_mut()))?;
    Ok(y)
}

/// [`lowrank_restore`] into memory of the caller, which may be that of the gradient; either output may be left out.
pub fn lowrank_restore_into<T: Float>(
    table: &SegmentTable,
    p: View<'_, T::Acc, 2>,
    q: View<'_, T::Acc, 2>,
    e: Option<ViewMut<'_, T::Acc, 1>>,
    y: Option<ViewMut<'_, T, 1>>,
) -> Result<()> {
    const OP: &str = "lowrank_restore";
    let plan = lowrank::plan(table.segments(), p.dims()[1])?;
    plan.fits(OP, "p", &p.layout())?;
    plan.fits(OP, "q", &q.layout())?;
    e.as_ref().map_or(Ok(()), |e| plan.covers(OP, "e", &e.layout()))?;
    y.as_ref().map_or(Ok(()), |y| plan.covers(OP, "y", &y.layout()))?;
    match p.data() {
        Data::Host(left) => {
            table.words().host(OP, "table")?;
            let e = e.map(|e| e.data().host(OP, "e")).transpose()?;
            let y = y.map(|y| y.data().host(OP, "y")).transpose()?;
            latens_cpu::lowrank::restore(&plan, left, q.host(OP, "q")?, e, y);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, left) => {
            let (words, q) = (table.words().cuda(device, OP, "table")?, q.cuda(device, OP, "q")?);
            let e = e.map(|e| e.data().cuda(device, OP, "e")).transpose()?;
            let y = y.map(|y| y.data().cuda(device, OP, "y")).transpose()?;
            device.run(&lowrank::launch_restore(&plan, device.chip(), words, left, q, e, y)?)?;
        }
    }
    Ok(())
}

/// `q` at another rank: its longest columns, or all of them and random ones.
pub fn lowrank_resize<A: Float>(
    table: &SegmentTable,
    q: View<'_, A, 2>,
    rank: usize,
    seed: u64,
) -> Result<Tensor<A, 2>> {
    let mut to = Tensor::empty(lowrank::plan(table.segments(), rank)?.q(), &q.device())?;
    lowrank_resize_into(table, q, seed, to.view_mut())?;
    Ok(to)
}

/// [`lowrank_resize`] into memory of the caller, which says the rank.
pub fn lowrank_resize_into<A: Float>(
    table: &SegmentTable,
    from: View<'_, A, 2>,
    seed: u64,
    q: ViewMut<'_, A, 2>,
) -> Result<()> {
    const OP: &str = "lowrank_resize";
    let old = from.dims()[1];
    lowrank::plan(table.segments(), old)?.fits(OP, "from", &from.layout())?;
    let plan = lowrank::plan(table.segments(), q.dims()[1])?;
    let q = q.packed(OP, "q", plan.q())?;
    match from.data() {
        Data::Host(from) => {
            table.words().host(OP, "table")?;
            latens_cpu::lowrank::resize(&plan, old, from, q.host(OP, "q")?, seed);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, from) => {
            let words = table.words().cuda(device, OP, "table")?;
            let q = q.cuda(device, OP, "q")?;
            device.run(&lowrank::launch_resize(&plan, device.chip(), words, old, from, q, seed)?)?;
        }
    }
    Ok(())
}
