use super::{OP, Scan};
use crate::{Data, Device, Tensor, View, ViewMut};
use latens_kernels::scan::{self as family, Gradients};
use latens_kernels::{Float, Result};

/// The gradients of a scan.
pub struct ScanGradients<T: Float> {
    /// Of `u`.
    pub u: Tensor<T, 3>,
    /// Of `delta`.
    pub delta: Tensor<T, 3>,
    /// Of `a`.
    pub a: Tensor<T::Acc, 2>,
    /// Of `b`.
    pub b: Tensor<T, 3>,
    /// Of `c`.
    pub c: Tensor<T, 3>,
    /// Of `skip`.
    pub skip: Tensor<T::Acc, 1>,
    /// Of `bias`.
    pub bias: Tensor<T::Acc, 1>,
    /// Of `gate`, if there is one.
    pub gate: Option<Tensor<T, 3>>,
    /// Of `initial`.
    pub initial: Tensor<T::Acc, 3>,
}

/// Where gradients of a scan go; one without an output is not written.
#[allow(missing_docs)] // as in [`ScanGradients`]
pub struct ScanGradientsMut<'a, T: Float> {
    pub u: Option<ViewMut<'a, T, 3>>,
    pub delta: Option<ViewMut<'a, T, 3>>,
    pub a: Option<ViewMut<'a, T::Acc, 2>>,
    pub b: Option<ViewMut<'a, T, 3>>,
    pub c: Option<ViewMut<'a, T, 3>>,
    pub skip: Option<ViewMut<'a, T::Acc, 1>>,
    pub bias: Option<ViewMut<'a, T::Acc, 1>>,
    pub gate: Option<ViewMut<'a, T, 3>>,
    pub initial: Option<ViewMut<'a, T::Acc, 3>>,
}

/// The gradients of [`scan()`](super::scan()) from `dy`, that of its output, and perhaps that of its last state.
pub fn scan_backward<T: Float>(
    call: &Scan<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T::Acc, 3>>,
) -> Result<ScanGradients<T>> {
    let (p, device) = (call.plan()?, call.u.device());
    let l = p.layouts();
    let elements = |dims| Tensor::<T, 3>::empty(dims, &device);
    let (mut u, mut delta) = (elements(l.u.dims())?, elements(l.delta.dims())?);
    let (mut b, mut c) = (elements(l.b.dims())?, elements(l.c.dims())?);
    let mut gate = l.gate.map(|gate| elements(gate.dims())).transpose()?;
    let (mut a, mut initial) = (Tensor::empty(l.a.dims(), &device)?, Tensor::empty(p.state(), &device)?);
    let mut skip = Tensor::empty([p.channels()], &device)?;
    let mut bias = Tensor::empty([p.channels()], &device)?;
    let to = ScanGradientsMut {
        u: Some(u.view_mut()),
        delta: Some(delta.view_mut()),
        a: Some(a.view_mut()),
        b: Some(b.view_mut()),
        c: Some(c.view_mut()),
        skip: Some(skip.view_mut()),
        bias: Some(bias.view_mut()),
        gate: gate.as_mut().map(Tensor::view_mut),
        initial: Some(initial.view_mut()),
    };
    let mut workspace = Tensor::empty([scan_backward_workspace(call)?], &device)?;
    scan_backward_into(call, dy, dlast, to, workspace.view_mut())?;
    Ok(ScanGradients { u, delta, a, b, c, skip, bias, gate, initial })
}

/// [`scan_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn scan_backward_into<T: Float>(
    call: &Scan<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T::Acc, 3>>,
    to: ScanGradientsMut<'_, T>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan_backward(&call.plan()?, &dy.layout(), dlast.map(|dlast| dlast.layout()).as_ref())?;
    let l = p.layouts();
    let du = to.u.map(|to| to.packed(OP, "du", l.u.dims())).transpose()?;
    let ddelta = to.delta.map(|to| to.packed(OP, "ddelta", l.delta.dims())).transpose()?;
    let da = to.a.map(|to| to.packed(OP, "da", l.a.dims())).transpose()?;
    let db = to.b.map(|to| to.packed(OP, "db", l.b.dims())).transpose()?;
    let dc = to.c.map(|to| to.packed(OP, "dc", l.c.dims())).transpose()?;
    let dskip = to.skip.map(|to| to.packed(OP, "dskip", [p.channels()])).transpose()?;
    let dbias = to.bias.map(|to| to.packed(OP, "dbias", [p.channels()])).transpose()?;
    let width = if l.gate.is_some() { p.out() } else { [0; 3] };
    let dgate = to.gate.map(|to| to.packed(OP, "dgate", width)).transpose()?;
    let dinitial = to.initial.map(|to| to.packed(OP, "dinitial", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.u.data() {
        Data::Host(_) => {
            workspace.host(OP, "workspace")?;
            let to = Gradients {
                du: du.map(|to| to.host(OP, "du")).transpose()?,
                ddelta: ddelta.map(|to| to.host(OP, "ddelta")).transpose()?,
                da: da.map(|to| to.host(OP, "da")).transpose()?,
                db: db.map(|to| to.host(OP, "db")).transpose()?,
                dc: dc.map(|to| to.host(OP, "dc")).transpose()?,
                dskip: dskip.map(|to| to.host(OP, "dskip")).transpose()?,
                dbias: dbias.map(|to| to.host(OP, "dbias")).transpose()?,
                dgate: dgate.map(|to| to.host(OP, "dgate")).transpose()?,
                dinitial: dinitial.map(|to| to.host(OP, "dinitial")).transpose()?,
            };
            let dlast = dlast.map(|dlast| dlast.host(OP, "dlast")).transpose()?;
            latens_cpu::scan::backward(&p, call.host()?, dy.host(OP, "dy")?, dlast, to)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(d, _) => {
            let to = Gradients {
                du: du.map(|to| to.cuda(d, OP, "du")).transpose()?,
                ddelta: ddelta.map(|to| to.cuda(d, OP, "ddelta")).transpose()?,
                da: da.map(|to| to.cuda(d, OP, "da")).transpose()?,
                db: db.map(|to| to.cuda(d, OP, "db")).transpose()?,
                dc: dc.map(|to| to.cuda(d, OP, "dc")).transpose()?,
                dskip: dskip.map(|to| to.cuda(d, OP, "dskip")).transpose()?,
                dbias: dbias.map(|to| to.cuda(d, OP, "dbias")).transpose()?,
                dgate: dgate.map(|to| to.cuda(d, OP, "dgate")).transpose()?,
                dinitial: dinitial.map(|to| to.cuda(d, OP, "dinitial")).transpose()?,
            };
            let dlast = dlast.map(|dlast| dlast.cuda(d, OP, "dlast")).transpose()?;
            let workspace = workspace.cuda(d, OP, "workspace")?;
            let (x, dy) = (call.cuda(d)?, dy.cuda(d, OP, "dy")?);
            d.run(&family::launch_backward(&p, d.chip(), x, dy, dlast, to, workspace)?)
        }
    }
}

/// Bytes of scratch that [`scan_backward_into`] asks for.
pub fn scan_backward_workspace<T: Float>(call: &Scan<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.u.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => family::workspace_backward(&_p),
    }
}
