mod backward;

use crate::{Data, Device, Tensor, View, ViewMut};
pub use backward::{ScanGradients, ScanGradientsMut, scan_backward, scan_backward_into, scan_backward_workspace};
use latens_kernels::route::Tables;
use latens_kernels::scan::{self as family, Inputs, Layouts, Plan};
use latens_kernels::{Float, Result};

const OP: &str = "scan";

type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// What a selective scan reads: see [`latens_kernels::scan`].
#[derive(Clone, Copy)]
pub struct Scan<'a, T: Float> {
    /// `[batch, len, columns]`.
    pub u: View<'a, T, 3>,
    /// `[batch, len, channels]`.
    pub delta: View<'a, T, 3>,
    /// `[channels, states]`.
    pub a: View<'a, T::Acc, 2>,
    /// `[batch, len, groups * states]`.
    pub b: View<'a, T, 3>,
    /// `[batch, len, groups * states]`.
    pub c: View<'a, T, 3>,
    /// `[channels]`: what of `u` is added to the output.
    pub skip: Option<View<'a, T::Acc, 1>>,
    /// `[channels]`, of `delta`.
    pub bias: Option<View<'a, T::Acc, 1>>,
    /// `[batch, len, width]`: the output is multiplied by SiLU of it.
    pub gate: Option<View<'a, T, 3>>,
    /// Whether softplus is taken of `delta`.
    pub softplus: bool,
    /// A convolution with SiLU that `u` goes through first; forward only.
    pub taps: Option<Taps<'a, T>>,
    /// `[sequences + 1]`: where sequences begin, if several are packed into one batch entry.
    pub bounds: Option<View<'a, u32, 1>>,
    /// `[orders, len]`: rows by position.
    pub orders: Option<View<'a, u32, 2>>,
    /// `[sequences, channels, states]`: the state before each sequence.
    pub initial: Option<View<'a, T::Acc, 3>>,
}

/// A convolution inside a scan: see [`Conv1d`](crate::Conv1d).
#[derive(Clone, Copy)]
pub struct Taps<'a, T: Float> {
    /// `[channels, 2 to 4]`.
    pub weight: View<'a, T::Acc, 2>,
    /// `[channels]`.
    pub bias: Option<View<'a, T::Acc, 1>>,
    /// `[sequences, taps - 1, channels]`: what precedes each sequence.
    pub window: Option<View<'a, T, 3>>,
}

impl<'a, T: Float> Scan<'a, T> {
    /// The recurrence alone.
    pub fn new(
        u: View<'a, T, 3>,
        delta: View<'a, T, 3>,
        a: View<'a, T::Acc, 2>,
        b: View<'a, T, 3>,
        c: View<'a, T, 3>,
    ) -> Self {
        let (skip, bias, gate, taps, bounds, orders, initial) = (None, None, None, None, None, None, None);
        Self { u, delta, a, b, c, skip, bias, gate, softplus: false, taps, bounds, orders, initial }
    }

    fn plan(&self) -> Result<Plan> {
        family::plan(&Layouts {
            u: self.u.layout(),
            delta: self.delta.layout(),
            a: self.a.layout(),
            b: self.b.layout(),
            c: self.c.layout(),
            skip: self.skip.map(|skip| skip.layout()),
            bias: self.bias.map(|bias| bias.layout()),
            gate: self.gate.map(|gate| gate.layout()),
            taps: self.taps.map(|taps| taps.weight.layout()),
            taps_bias: self.taps.and_then(|taps| taps.bias).map(|bias| bias.layout()),
            window: self.taps.and_then(|taps| taps.window).map(|window| window.layout()),
            bounds: self.bounds.map(|bounds| bounds.layout()),
            orders: self.orders.map(|orders| orders.layout()),
            initial: self.initial.map(|initial| initial.layout()),
            softplus: self.softplus,
        })
    }

    /// All inputs in the memory that these functions reach.
    fn inputs<S, A, I>(
        &self,
        element: impl Fn(View<'a, T, 3>, &'static str) -> Result<S>,
        vector: impl Fn(View<'a, T::Acc, 1>, &'static str) -> Result<A>,
        matrix: impl Fn(View<'a, T::Acc, 2>, &'static str) -> Result<A>,
        state: impl Fn(View<'a, T::Acc, 3>, &'static str) -> Result<A>,
        tables: Tables<I>,
    ) -> Result<Inputs<S, A, I>> {
        let taps = self.taps;
        Ok(Inputs {
            u: element(self.u, "u")?,
            delta: element(self.delta, "delta")?,
            a: matrix(self.a, "a")?,
            b: element(self.b, "b")?,
            c: element(self.c, "c")?,
            skip: self.skip.map(|skip| vector(skip, "skip")).transpose()?,
            bias: self.bias.map(|bias| vector(bias, "bias")).transpose()?,
            gate: self.gate.map(|gate| element(gate, "gate")).transpose()?,
            taps: taps.map(|taps| matrix(taps.weight, "taps")).transpose()?,
            taps_bias: taps.and_then(|taps| taps.bias).map(|bias| vector(bias, "taps_bias")).transpose()?,
            window: taps.and_then(|taps| taps.window).map(|window| element(window, "window")).transpose()?,
            tables,
            initial: self.initial.map(|initial| state(initial, "initial")).transpose()?,
        })
    }

    fn host(&self) -> Result<Slices<'a, T>> {
        let tables = Tables {
            bounds: self.bounds.map(|bounds| bounds.host(OP, "bounds")).transpose()?,
            orders: self.orders.map(|orders| orders.host(OP, "orders")).transpose()?,
        };
        self.inputs(|x, n| x.host(OP, n), |x, n| x.host(OP, n), |x, n| x.host(OP, n), |x, n| x.host(OP, n), tables)
    }

    #[cfg(feature = "cuda")]
    #[allow(clippy::type_complexity)] // three kinds of memory
    fn cuda(
        &self,
        d: &latens_cuda::Device,
    ) -> Result<Inputs<crate::Span<'a, T>, crate::Span<'a, T::Acc>, crate::Span<'a, u32>>> {
        let tables = Tables {
            bounds: self.bounds.map(|bounds| bounds.cuda(d, OP, "bounds")).transpose()?,
            orders: self.orders.map(|orders| orders.cuda(d, OP, "orders")).transpose()?,
        };
        let element = |x: View<'a, T, 3>, n| x.cuda(d, OP, n);
        self.inputs(element, |x, n| x.cuda(d, OP, n), |x, n| x.cuda(d, OP, n), |x, n| x.cuda(d, OP, n), tables)
    }
}

/// A selective scan: its output, and the state after each sequence. See [`latens_kernels::scan`].
pub fn scan<T: Float>(call: &Scan<'_, T>) -> Result<(Tensor<T, 3>, Tensor<T::Acc, 3>)> {
    let (p, device) = (call.plan()?, call.u.device());
    let (mut y, mut last) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.state(), &device)?);
    let mut workspace = Tensor::empty([scan_workspace(call)?], &device)?;
    scan_into(call, y.view_mut(), Some(last.view_mut()), workspace.view_mut())?;
    Ok((y, last))
}

/// [`scan`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn scan_into<T: Float>(
    call: &Scan<'_, T>,
    y: ViewMut<'_, T, 3>,
    last: Option<ViewMut<'_, T::Acc, 3>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = call.plan()?;
    let y = y.packed(OP, "y", p.out())?;
    let last = last.map(|last| last.packed(OP, "last", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.u.data() {
        Data::Host(_) => {
            workspace.host(OP, "workspace")?;
            let (y, last) = (y.host(OP, "y")?, last.map(|last| last.host(OP, "last")).transpose()?);
            latens_cpu::scan::forward(&p, call.host()?, y, last)
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

/// One row of every sequence: the tensors of `call` have one row each, and `state`, in place of its `initial`, moves on.
pub fn scan_step_into<T: Float>(call: &Scan<'_, T>, state: ViewMut<'_, T::Acc, 3>, y: ViewMut<'_, T, 3>) -> Result<()> {
    let p = Scan { bounds: None, orders: None, initial: None, ..*call }.plan()?;
    if p.route().len() != 1 {
        return Err(crate::Error::Size { op: OP, arg: "u", want: 1, got: p.route().len() });
    }
    let state = state.packed(OP, "state", p.state())?;
    let y = y.packed(OP, "y", p.out())?;
    match call.u.data() {
        Data::Host(_) => {
            let x = Scan { bounds: None, orders: None, initial: None, ..*call }.host()?;
            latens_cpu::scan::step(&p, x, state.host(OP, "state")?, y.host(OP, "y")?)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let x = Scan { bounds: None, orders: None, initial: None, ..*call }.cuda(device)?;
            let (state, y) = (state.cuda(device, OP, "state")?, y.cuda(device, OP, "y")?);
            device.run(&family::launch_step(&p, device.chip(), x, state, y)?)
        }
    }
}

/// Bytes of scratch that [`scan_into`] asks for.
pub fn scan_workspace<T: Float>(call: &Scan<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.u.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => family::workspace(&_p, device.chip()),
    }
}
