use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::conv1d::{launch, launch_backward, launch_step, workspace, workspace_backward};
use latens_kernels::route::Tables;
use latens_kernels::{
    Float, Result,
    conv1d::{self as family, Plan},
};

const OP: &str = "conv1d";

/// What a convolution reads: see [`latens_kernels::conv1d`].
#[derive(Clone, Copy)]
pub struct Conv1d<'a, T: Float> {
    /// `[batch, len, columns]`.
    pub x: View<'a, T, 3>,
    /// `[channels, width]`.
    pub weight: View<'a, T::Acc, 2>,
    /// `[channels]`.
    pub bias: Option<View<'a, T::Acc, 1>>,
    /// Whether SiLU follows.
    pub silu: bool,
    /// `[sequences + 1]`: where sequences begin, if several are packed into one batch entry.
    pub bounds: Option<View<'a, u32, 1>>,
    /// `[orders, len]`: rows by position.
    pub orders: Option<View<'a, u32, 2>>,
    /// `[sequences, width - 1, channels]`: what precedes each sequence.
    pub initial: Option<View<'a, T, 3>>,
}

impl<'a, T: Float> Conv1d<'a, T> {
    /// Rows in their order, every batch entry a sequence that nothing precedes; no bias, no SiLU.
    pub fn new(x: View<'a, T, 3>, weight: View<'a, T::Acc, 2>) -> Self {
        Self { x, weight, bias: None, silu: false, bounds: None, orders: None, initial: None }
    }

    fn plan(&self) -> Result<Plan> {
        let bias = self.bias.map(|bias| bias.layout());
        let (bounds, orders) = (self.bounds.map(|bounds| bounds.layout()), self.orders.map(|orders| orders.layout()));
        let initial = self.initial.map(|initial| initial.layout());
        let (x, weight) = (self.x.layout(), self.weight.layout());
        family::plan(&x, &weight, bias.as_ref(), self.silu, bounds.as_ref(), orders.as_ref(), initial.as_ref())
    }
}

/// The gradients of a convolution.
pub struct Conv1dGradients<T: Float> {
    /// Of `x`.
    pub x: Tensor<T, 3>,
    /// Of `weight`.
    pub weight: Tensor<T::Acc, 2>,
    /// Of `bias`.
    pub bias: Tensor<T::Acc, 1>,
    /// Of `initial`.
    pub initial: Tensor<T, 3>,
}

/// Where gradients of a convolution go; one without an output is not computed.
pub struct Conv1dGradientsMut<'a, T: Float> {
    /// Of `x`.
    pub x: Option<ViewMut<'a, T, 3>>,
    /// Of `weight`.
    pub weight: Option<ViewMut<'a, T::Acc, 2>>,
    /// Of `bias`.
    pub bias: Option<ViewMut<'a, T::Acc, 1>>,
    /// Of `initial`.
    pub initial: Option<ViewMut<'a, T, 3>>,
}

/// Causal convolution along each sequence, channel by channel: the result, and the state that a continuation is given as
/// `initial`. See [`latens_kernels::conv1d`].
pub fn conv1d<T: Float>(call: &Conv1d<'_, T>) -> Result<(Tensor<T, 3>, Tensor<T, 3>)> {
    let (p, device) = (call.plan()?, call.x.device());
    let (mut y, mut last) = (Tensor::empty(p.out(), &device)?, Tensor::empty(p.state(), &device)?);
    let mut workspace = Tensor::empty([conv1d_workspace(call)?], &device)?;
    conv1d_into(call, y.view_mut(), Some(last.view_mut()), workspace.view_mut())?;
    Ok((y, last))
}

/// [`conv1d`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn conv1d_into<T: Float>(
    call: &Conv1d<'_, T>,
    y: ViewMut<'_, T, 3>,
    last: Option<ViewMut<'_, T, 3>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = call.plan()?;
    let y = y.packed(OP, "y", p.out())?;
    let last = last.map(|last| last.packed(OP, "last", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let weight = call.weight.host(OP, "weight")?;
            let bias = call.bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            let initial = call.initial.map(|initial| initial.host(OP, "initial")).transpose()?;
            let (y, last) = (y.host(OP, "y")?, last.map(|last| last.host(OP, "last")).transpose()?);
            latens_cpu::conv1d::forward(&p, x, weight, bias, tables(call)?, initial, y, last)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let weight = call.weight.cuda(device, OP, "weight")?;
            let bias = call.bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            let initial = call.initial.map(|initial| initial.cuda(device, OP, "initial")).transpose()?;
            let tables = device_tables(call, device)?;
            let y = y.cuda(device, OP, "y")?;
            let last = last.map(|last| last.cuda(device, OP, "last")).transpose()?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch(&p, device.chip(), x, weight, bias, tables, initial, y, last, workspace)?)
        }
    }
}

/// The gradients of [`conv1d()`] from `dy`, that of its result, and perhaps that of its state.
pub fn conv1d_backward<T: Float>(
    call: &Conv1d<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T, 3>>,
) -> Result<Conv1dGradients<T>> {
    let (p, device) = (call.plan()?, call.x.device());
    let (mut x, mut initial) = (Tensor::empty(p.x().dims(), &device)?, Tensor::empty(p.state(), &device)?);
    let (mut weight, mut bias) = (Tensor::empty(p.weight().dims(), &device)?, Tensor::empty([p.channels()], &device)?);
    let mut workspace = Tensor::empty([conv1d_backward_workspace(call)?], &device)?;
    let to = Conv1dGradientsMut {
        x: Some(x.view_mut()),
        weight: Some(weight.view_mut()),
        bias: Some(bias.view_mut()),
        initial: Some(initial.view_mut()),
    };
    conv1d_backward_into(call, dy, dlast, to, workspace.view_mut())?;
    Ok(Conv1dGradients { x, weight, bias, initial })
}

/// [`conv1d_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn conv1d_backward_into<T: Float>(
    call: &Conv1d<'_, T>,
    dy: View<'_, T, 3>,
    dlast: Option<View<'_, T, 3>>,
    to: Conv1dGradientsMut<'_, T>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan_backward(&call.plan()?, &dy.layout(), dlast.map(|dlast| dlast.layout()).as_ref())?;
    let dx = to.x.map(|dx| dx.packed(OP, "dx", p.x().dims())).transpose()?;
    let dweight = to.weight.map(|dweight| dweight.packed(OP, "dweight", p.weight().dims())).transpose()?;
    let dbias = to.bias.map(|dbias| dbias.packed(OP, "dbias", [p.channels()])).transpose()?;
    let dinitial = to.initial.map(|dinitial| dinitial.packed(OP, "dinitial", p.state())).transpose()?;
    let workspace = workspace.data();
    match call.x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (weight, dy) = (call.weight.host(OP, "weight")?, dy.host(OP, "dy")?);
            let bias = call.bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            let initial = call.initial.map(|initial| initial.host(OP, "initial")).transpose()?;
            let dlast = dlast.map(|dlast| dlast.host(OP, "dlast")).transpose()?;
            let dx = dx.map(|dx| dx.host(OP, "dx")).transpose()?;
            let dweight = dweight.map(|dweight| dweight.host(OP, "dweight")).transpose()?;
            let dbias = dbias.map(|dbias| dbias.host(OP, "dbias")).transpose()?;
            let dinitial = dinitial.map(|dinitial| dinitial.host(OP, "dinitial")).transpose()?;
            let (tables, backward) = (tables(call)?, latens_cpu::conv1d::backward);
            backward(&p, x, weight, bias, tables, initial, dy, dlast, dx, dweight, dbias, dinitial)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (weight, dy) = (call.weight.cuda(device, OP, "weight")?, dy.cuda(device, OP, "dy")?);
            let bias = call.bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            let initial = call.initial.map(|initial| initial.cuda(device, OP, "initial")).transpose()?;
            let dlast = dlast.map(|dlast| dlast.cuda(device, OP, "dlast")).transpose()?;
            let to = family::Gradients {
                dx: dx.map(|dx| dx.cuda(device, OP, "dx")).transpose()?,
                dweight: dweight.map(|dweight| dweight.cuda(device, OP, "dweight")).transpose()?,
                dbias: dbias.map(|dbias| dbias.cuda(device, OP, "dbias")).transpose()?,
                dinitial: dinitial.map(|dinitial| dinitial.cuda(device, OP, "dinitial")).transpose()?,
            };
            let (tables, chip) = (device_tables(call, device)?, device.chip());
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch_backward(&p, chip, x, weight, bias, tables, initial, dy, dlast, to, workspace)?)
        }
    }
}

/// One row of every sequence: `x` and `y` are `[batch, channels]`, and `state`, as [`Conv1d::initial`], moves on in place.
pub fn conv1d_step_into<T: Float>(
    x: View<'_, T, 2>,
    weight: View<'_, T::Acc, 2>,
    bias: Option<View<'_, T::Acc, 1>>,
    silu: bool,
    state: ViewMut<'_, T, 3>,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = family::plan_step(&x.layout(), &weight.layout(), bias.map(|bias| bias.layout()).as_ref(), silu)?;
    let state = state.packed(OP, "state", p.state())?;
    let y = y.packed(OP, "y", [p.route().batch(), p.channels()])?;
    match x.data() {
        Data::Host(x) => {
            let weight = weight.host(OP, "weight")?;
            let bias = bias.map(|bias| bias.host(OP, "bias")).transpose()?;
            latens_cpu::conv1d::step(&p, x, weight, bias, state.host(OP, "state")?, y.host(OP, "y")?)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let weight = weight.cuda(device, OP, "weight")?;
            let bias = bias.map(|bias| bias.cuda(device, OP, "bias")).transpose()?;
            let (state, y) = (state.cuda(device, OP, "state")?, y.cuda(device, OP, "y")?);
            device.run(&launch_step(&p, device.chip(), x, weight, bias, state, y)?)
        }
    }
}

/// Bytes of scratch that [`conv1d_into`] asks for.
pub fn conv1d_workspace<T: Float>(call: &Conv1d<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.x.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => workspace(&_p),
    }
}

/// Bytes of scratch that [`conv1d_backward_into`] asks for.
pub fn conv1d_backward_workspace<T: Float>(call: &Conv1d<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.x.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => workspace_backward(&_p),
    }
}

fn tables<'a, T: Float>(call: &Conv1d<'a, T>) -> Result<Tables<&'a [u32]>> {
    Ok(Tables {
        bounds: call.bounds.map(|bounds| bounds.host(OP, "bounds")).transpose()?,
        orders: call.orders.map(|orders| orders.host(OP, "orders")).transpose()?,
    })
}

#[cfg(feature = "cuda")]
fn device_tables<'a, T: Float>(
    call: &Conv1d<'a, T>,
    device: &latens_cuda::Device,
) -> Result<Tables<latens_kernels::Span<'a, u32>>> {
    Ok(Tables {
        bounds: call.bounds.map(|bounds| bounds.cuda(device, OP, "bounds")).transpose()?,
        orders: call.orders.map(|orders| orders.cuda(device, OP, "orders")).transpose()?,
    })
}
