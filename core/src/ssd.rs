use crate::{Data, Device, Tensor, View, ViewMut};
use latens_kernels::ssd::{self as family, Gradients, Inputs, Layouts, Plan};
use latens_kernels::{Float, Result};

const OP: &str = "ssd";

type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// What an ssd reads: see [`latens_kernels::ssd`].
#[derive(Clone, Copy)]
pub struct Ssd<'a, T: Float> {
    /// `[batch, len, heads * head_dim]`.
    pub x: View<'a, T, 3>,
    /// `[batch, len, heads]`.
    pub delta: View<'a, T, 3>,
    /// `[heads]`.
    pub a: View<'a, T::Acc, 1>,
    /// `[batch, len, groups * states]`.
    pub b: View<'a, T, 3>,
    /// `[batch, len, groups * states]`.
    pub c: View<'a, T, 3>,
    /// Groups of neighbouring heads that share `b` and `c`.
    pub groups: usize,
    /// `[heads]`: what of `x` is added to the output.
    pub skip: Option<View<'a, T::Acc, 1>>,
    /// `[heads]`, of `delta`.
    pub bias: Option<View<'a, T::Acc, 1>>,
    /// `[batch, len, heads * head_dim]`: the output is multiplied by SiLU of it.
    pub gate: Option<View<'a, T, 3>>,
    /// Whether softplus is taken of `delta`.
    pub softplus: bool,
    /// `[sequences + 1]`: where sequences begin, if several are packed into one batch entry.
    pub bounds: Option<View<'a, u32, 1>>,
    /// `[sequences, heads, head_dim, states]`: the state before each sequence.
    pub initial: Option<View<'a, T::Acc, 4>>,
}

impl<'a, T: Float> Ssd<'a, T> {
    /// The recurrence alone, of one group.
    pub fn new(
        x: View<'a, T, 3>,
        delta: View<'a, T, 3>,
        a: View<'a, T::Acc, 1>,
        b: View<'a, T, 3>,
        c: View<'a, T, 3>,
    ) -> Self {
        let (skip, bias, gate, bounds, initial) = (None, None, None, None, None);
        Self { x, delta, a, b, c, groups: 1, skip, bias, gate, softplus: false, bounds, initial }
    }

    fn plan(&self) -> Result<Plan> {
        family::plan(&Layouts {
            x: self.x.layout(),
            delta: self.delta.layout(),
            a: self.a.layout(),
            b: self.b.layout(),
            c: self.c.layout(),
            skip: self.skip.map(|skip| skip.layout()),
            bias: self.bias.map(|bias| bias.layout()),
            gate: self.gate.map(|gate| gate.layout()),
            bounds: self.bounds.map(|bounds| bounds.layout()),
            initial: self.initial.map(|initial| initial.layout()),
            groups: self.groups,
            softplus: self.softplus,
        })
    }

    /// All inputs in the memory that these functions reach.
    fn inputs<S, A, I>(
        &self,
        element: impl Fn(View<'a, T, 3>, &'static str) -> Result<S>,
        vector: impl Fn(View<'a, T::Acc, 1>, &'static str) -> Result<A>,
        state: impl Fn(View<'a, T::Acc, 4>, &'static str) -> Result<A>,
        bounds: impl Fn(View<'a, u32, 1>, &'static str) -> Result<I>,
    ) -> Result<Inputs<S, A, I>> {
        Ok(Inputs {
            x: element(self.x, "x")?,
            delta: element(self.delta, "delta")?,
            a: vector(self.a, "a")?,
            b: element(self.b, "b")?,
            c: element(self.c, "c")?,
            skip: self.skip.map(|skip| vector(skip, "skip")).transpose()?,
            bias: self.bias.map(|bias| vector(bias, "bias")).transpose()?,
            gate: self.gate.map(|gate| element(gate, "gate")).transpose()?,
            bounds: self.bounds.map(|table| bounds(table, "bounds")).transpose()?,
            initial: self.initial.map(|initial| state(initial, "initial")).transpose()?,
        })
    }

    fn host(&self) -> Result<Slices<'a, T>> {
        self.inputs(|x, n| x.host(OP, n), |x, n| x.host(OP, n), |x, n| x.host(OP, n), |x, n| x.host(OP, n))
    }

    #[cfg(feature = "cuda")]
    #[allow(clippy::type_complexity)] // three kinds of memory
    fn cuda(
        &self,
        d: &latens_cuda::Device,
    ) -> Result<Inputs<crate::Span<'a, T>, crate::Span<'a, T::Acc>, crate::Span<'a, u32>>> {
        self.inputs(|x, n| x.cuda(d, OP, n), |x, n| x.cuda(d, OP, n), |x, n| x.cuda(d, OP, n), |x, n| x.cuda(d, OP, n))
    }
}

/// The gradients of an ssd.
pub struct SsdGradients<T: Float> {
    /// Of `x`.
    pub x: Tensor<T, 3>,
    /// Of `delta`.
    pub delta: Tensor<T, 3>,
    /// Of `a`.
    pub a: Tensor<T::Acc, 1>,
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
    pub initial: Tensor<T::Acc, 4>,
}

/// Where gradients of an ssd go; one without an output is not written.
#[allow(missing_docs)] // as in [`SsdGradients`]
pub struct SsdGradientsMut<'a, T: Float> {
    pub x: Option<ViewMut<'a, T, 3>>,
    pub delta: Option<ViewMut<'a, T, 3>>,
    pub a: Option<ViewMut<'a, T::Acc, 1>>,
    pub b: Option<ViewMut<'a, T, 3>>,
    pub c: Option<ViewMut<'a, T, 3>>,
    pub skip: Option<ViewMut<'a, T::Acc, 1>>,
    pub bias: Option<ViewMut<'a, T::Acc, 1>>,
    pub gate: Option<ViewMut<'a, T, 3>>,
    pub initial: Option<ViewMut<'a, T::Acc, 4>>,
}

/// A state space dual: its output, and the state after each sequence. See [`latens_kernels::ssd`].
pub fn ssd<T: Float>(call: &Ssd<'_, T>) -> Result<(Tensor<T, 3>, Tensor<T::Acc, 4>)> {
    let (p, device) = (call.plan()?, call.x.device());
    let (mut y, mut last) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.state(), &device)?);
    let mut workspace = Tensor::empty([ssd_workspace(call)?], &device)?;
    ssd_into(call, y.view_mut(), Some(last.view_mut()), workspace.view_mut())?;
    Ok((y, last))
}

/// [`ssd`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn ssd_into<T: Float>(
    call: &Ssd<'_, T>,
    y: ViewMut<'_, T, 3>,
    last: Option<ViewMut<'_, T::Acc, 4>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = call.plan()?;
    let y = y.packed(OP, "y", p.out())?;
    let last = last.map(|last| last.packed(OP, "last", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.x.data() {
        Data::Host(_) => {
            workspace.host(OP, "workspace")?;
            let (y, last) = (y.host(OP, "y")?, last.map(|last| last.host(OP, "last")).transpose()?);
            latens_cpu::ssd::forward(&p, call.host()?, y, last)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let y = y.cuda(device, OP, "y")?;
            let last = last.map(|last| last.cuda(device, OP, "last")).transpose()?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&family::launch(&p, device.chip(), call.cuda(device)?, y, last, workspace)?)
        }
    }
}

/// The gradients of [`ssd()`] from `dy`, that of its output, and perhaps that of its last state.
pub fn ssd_backward<T: Float>(
    call: &Ssd<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T::Acc, 4>>,
) -> Result<SsdGradients<T>> {
    let (p, device) = (call.plan()?, call.x.device());
    let l = p.layouts();
    let elements = |dims| Tensor::<T, 3>::empty(dims, &device);
    let (mut x, mut delta) = (elements(l.x.dims())?, elements(l.delta.dims())?);
    let (mut b, mut c) = (elements(l.b.dims())?, elements(l.c.dims())?);
    let mut gate = l.gate.map(|gate| elements(gate.dims())).transpose()?;
    let (mut a, mut initial) = (Tensor::empty(l.a.dims(), &device)?, Tensor::empty(p.state(), &device)?);
    let mut skip = Tensor::empty([p.heads()], &device)?;
    let mut bias = Tensor::empty([p.heads()], &device)?;
    let to = SsdGradientsMut {
        x: Some(x.view_mut()),
        delta: Some(delta.view_mut()),
        a: Some(a.view_mut()),
        b: Some(b.view_mut()),
        c: Some(c.view_mut()),
        skip: Some(skip.view_mut()),
        bias: Some(bias.view_mut()),
        gate: gate.as_mut().map(Tensor::view_mut),
        initial: Some(initial.view_mut()),
    };
    let mut workspace = Tensor::empty([ssd_backward_workspace(call)?], &device)?;
    ssd_backward_into(call, dy, dlast, to, workspace.view_mut())?;
    Ok(SsdGradients { x, delta, a, b, c, skip, bias, gate, initial })
}

/// [`ssd_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn ssd_backward_into<T: Float>(
    call: &Ssd<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T::Acc, 4>>,
    to: SsdGradientsMut<'_, T>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan_backward(&call.plan()?, &dy.layout(), dlast.map(|dlast| dlast.layout()).as_ref())?;
    let l = p.layouts();
    let dx = to.x.map(|to| to.packed(OP, "dx", l.x.dims())).transpose()?;
    let ddelta = to.delta.map(|to| to.packed(OP, "ddelta", l.delta.dims())).transpose()?;
    let da = to.a.map(|to| to.packed(OP, "da", l.a.dims())).transpose()?;
    let db = to.b.map(|to| to.packed(OP, "db", l.b.dims())).transpose()?;
    let dc = to.c.map(|to| to.packed(OP, "dc", l.c.dims())).transpose()?;
    let dskip = to.skip.map(|to| to.packed(OP, "dskip", [p.heads()])).transpose()?;
    let dbias = to.bias.map(|to| to.packed(OP, "dbias", [p.heads()])).transpose()?;
    let width = if l.gate.is_some() { p.out() } else { [0; 3] };
    let dgate = to.gate.map(|to| to.packed(OP, "dgate", width)).transpose()?;
    let dinitial = to.initial.map(|to| to.packed(OP, "dinitial", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.x.data() {
        Data::Host(_) => {
            workspace.host(OP, "workspace")?;
            let to = Gradients {
                dx: dx.map(|to| to.host(OP, "dx")).transpose()?,
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
            latens_cpu::ssd::backward(&p, call.host()?, dy.host(OP, "dy")?, dlast, to)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(d, _) => {
            let to = Gradients {
                dx: dx.map(|to| to.cuda(d, OP, "dx")).transpose()?,
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

/// One row of every sequence: the tensors of `call` have one row each, and `state`, in place of its `initial`, moves on.
pub fn ssd_step_into<T: Float>(call: &Ssd<'_, T>, state: ViewMut<'_, T::Acc, 4>, y: ViewMut<'_, T, 3>) -> Result<()> {
    let p = Ssd { bounds: None, initial: None, ..*call }.plan()?;
    if p.route().len() != 1 {
        return Err(crate::Error::Size { op: OP, arg: "x", want: 1, got: p.route().len() });
    }
    let state = state.packed(OP, "state", p.state())?;
    let y = y.packed(OP, "y", p.out())?;
    match call.x.data() {
        Data::Host(_) => {
            let x = Ssd { bounds: None, initial: None, ..*call }.host()?;
            latens_cpu::ssd::step(&p, x, state.host(OP, "state")?, y.host(OP, "y")?)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let x = Ssd { bounds: None, initial: None, ..*call }.cuda(device)?;
            let (state, y) = (state.cuda(device, OP, "state")?, y.cuda(device, OP, "y")?);
            device.run(&family::launch_step(&p, device.chip(), x, state, y)?)
        }
    }
}

/// Bytes of scratch that [`ssd_into`] asks for.
pub fn ssd_workspace<T: Float>(call: &Ssd<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.x.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => family::workspace(&_p),
    }
}

/// Bytes of scratch that [`ssd_backward_into`] asks for.
pub fn ssd_backward_workspace<T: Float>(call: &Ssd<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.x.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => family::workspace_backward(&_p),
    }
}
