use crate::{Data, Device, Tensor, View, ViewMut};
use latens_kernels::{
    Float, Result,
    attention::{self as family, Mask, Plan},
};

const OP: &str = "attention";

/// What attention reads: see [`latens_kernels::attention`].
#[derive(Clone, Copy)]
pub struct Attention<'a, T: Float> {
    /// `[batch, t, heads, dim]`.
    pub q: View<'a, T, 4>,
    /// `[batch, s, kv_heads, dim]`.
    pub k: View<'a, T, 4>,
    /// `[batch, s, kv_heads, dim]`.
    pub v: View<'a, T, 4>,
    /// What products of queries and keys are multiplied with.
    pub scale: f32,
    /// Which keys a query sees.
    pub mask: Mask,
}

impl<'a, T: Float> Attention<'a, T> {
    /// Causal, products scaled by the root of the number of entries of a head.
    pub fn new(q: View<'a, T, 4>, k: View<'a, T, 4>, v: View<'a, T, 4>) -> Self {
        let scale = 1.0 / latens_kernels::math::sqrt(q.dims()[3].max(1) as f64);
        Self { q, k, v, scale: scale as f32, mask: Mask::Causal }
    }

    fn plan(&self) -> Result<Plan> {
        family::plan(&self.q.layout(), &self.k.layout(), &self.v.layout(), self.scale, self.mask)
    }
}

/// Every query's mean of the values, weighted by the softmax of its products with the keys, for any number of query heads
/// per key head: see [`latens_kernels::attention`].
pub fn attention<T: Float>(call: &Attention<'_, T>) -> Result<Tensor<T, 4>> {
    let mut y = Tensor::empty(call.q.dims(), &call.q.device())?;
    attention_into(call, y.view_mut(), None)?;
    Ok(y)
}

/// [`attention()`] into memory of the caller; `lse`, `[batch, t, heads]`, is what [`attention_backward_into`] asks for.
pub fn attention_into<T: Float>(
    call: &Attention<'_, T>,
    y: ViewMut<'_, T, 4>,
    lse: Option<ViewMut<'_, T::Acc, 3>>,
) -> Result<()> {
    let p = call.plan()?;
    let y = y.packed(OP, "y", p.out())?;
    let lse = lse.map(|lse| lse.packed(OP, "lse", p.lse())).transpose()?;
    match call.q.data() {
        Data::Host(q) => {
            let (k, v) = (call.k.host(OP, "k")?, call.v.host(OP, "v")?);
            let lse = lse.map(|lse| lse.host(OP, "lse")).transpose()?;
            latens_cpu::attention::forward(&p, q, k, v, y.host(OP, "y")?, lse);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, q) => {
            let (k, v) = (call.k.cuda(device, OP, "k")?, call.v.cuda(device, OP, "v")?);
            let lse = lse.map(|lse| lse.cuda(device, OP, "lse")).transpose()?;
            device.run(&family::launch(&p, device.chip(), q, k, v, y.cuda(device, OP, "y")?, lse)?)?;
        }
    }
    Ok(())
}

/// The gradients of [`attention()`].
pub struct AttentionGradients<T: Float> {
    /// Of `q`.
    pub q: Tensor<T, 4>,
    /// Of `k`.
    pub k: Tensor<T, 4>,
    /// Of `v`.
    pub v: Tensor<T, 4>,
}

/// Where the gradients of [`attention()`] go; one that is `None` is not computed.
#[derive(Default)]
pub struct AttentionGradientsMut<'a, T: Float> {
    /// Of `q`.
    pub q: Option<ViewMut<'a, T, 4>>,
    /// Of `k`.
    pub k: Option<ViewMut<'a, T, 4>>,
    /// Of `v`.
    pub v: Option<ViewMut<'a, T, 4>>,
}

/// The gradients of [`attention()`] from `dy`, that of its result `y`, and the `lse` that came with it.
pub fn attention_backward<T: Float>(
    call: &Attention<'_, T>,
    y: View<'_, T, 4>,
    lse: View<'_, T::Acc, 3>,
    dy: View<'_, T, 4>,
) -> Result<AttentionGradients<T>> {
    let device = call.q.device();
    let mut q = Tensor::empty(call.q.dims(), &device)?;
    let (mut k, mut v) = (Tensor::empty(call.k.dims(), &device)?, Tensor::empty(call.v.dims(), &device)?);
    let mut workspace = Tensor::empty([attention_backward_workspace(call)?], &device)?;
    let to = AttentionGradientsMut { q: Some(q.view_mut()), k: Some(k.view_mut()), v: Some(v.view_mut()) };
    attention_backward_into(call, y, lse, dy, to, workspace.view_mut())?;
    Ok(AttentionGradients { q, k, v })
}

/// [`attention_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn attention_backward_into<T: Float>(
    call: &Attention<'_, T>,
    y: View<'_, T, 4>,
    lse: View<'_, T::Acc, 3>,
    dy: View<'_, T, 4>,
    to: AttentionGradientsMut<'_, T>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan_backward(&call.plan()?, &y.layout(), &lse.layout(), &dy.layout())?;
    let dq = to.q.map(|dq| dq.packed(OP, "dq", call.q.dims())).transpose()?;
    let dk = to.k.map(|dk| dk.packed(OP, "dk", call.k.dims())).transpose()?;
    let dv = to.v.map(|dv| dv.packed(OP, "dv", call.v.dims())).transpose()?;
    let workspace = workspace.data();
    match call.q.data() {
        Data::Host(q) => {
            workspace.host(OP, "workspace")?;
            let (k, v) = (call.k.host(OP, "k")?, call.v.host(OP, "v")?);
            let (y, lse, dy) = (y.host(OP, "y")?, lse.host(OP, "lse")?, dy.host(OP, "dy")?);
            let dq = dq.map(|dq| dq.host(OP, "dq")).transpose()?;
            let dk = dk.map(|dk| dk.host(OP, "dk")).transpose()?;
            let dv = dv.map(|dv| dv.host(OP, "dv")).transpose()?;
            latens_cpu::attention::backward(&p, q, k, v, y, lse, dy, dq, dk, dv);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, q) => {
            let (k, v) = (call.k.cuda(device, OP, "k")?, call.v.cuda(device, OP, "v")?);
            let (y, lse, dy) = (y.cuda(device, OP, "y")?, lse.cuda(device, OP, "lse")?, dy.cuda(device, OP, "dy")?);
            let dq = dq.map(|dq| dq.cuda(device, OP, "dq")).transpose()?;
            let dk = dk.map(|dk| dk.cuda(device, OP, "dk")).transpose()?;
            let dv = dv.map(|dv| dv.cuda(device, OP, "dv")).transpose()?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&family::launch_backward(&p, device.chip(), q, k, v, y, lse, dy, dq, dk, dv, workspace)?)?;
        }
    }
    Ok(())
}

/// Bytes of workspace that [`attention_backward_into`] asks for.
pub fn attention_backward_workspace<T: Float>(call: &Attention<'_, T>) -> Result<usize> {
    let _p = call.plan()?;
    match call.q.device() {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => family::workspace_backward(&_p),
    }
}
