use super::Codes;
use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch;
use latens_kernels::sae::{Shape, backward, bias};
use latens_kernels::{Accumulate, Float, Layout, Result};

const OP: &str = "sae_backward";
const BIAS: &str = "sae_bias";

/// What [`sae_backward`] gives.
pub struct Gradients<A> {
    /// Of the decoder, `[n, dim]`.
    pub w_dec: Tensor<A, 2>,
    /// Of the encoder, `[n, dim]`.
    pub w_enc: Tensor<A, 2>,
    /// Of the encoder's bias, `[n]`.
    pub b_enc: Tensor<A, 1>,
    /// Of the pre-activations that the slots name.
    pub values: Tensor<A, 1>,
}

/// Gradients of encoder and decoder from `g`, the gradient of the reconstruction: see [`latens_kernels::sae::backward`].
pub fn sae_backward<T: Float>(
    codes: Codes<'_, T::Acc>,
    x: View<'_, T, 2>,
    g: View<'_, T, 2>,
    w_dec: View<'_, T, 2>,
    b_dec: Option<View<'_, T::Acc, 1>>,
) -> Result<Gradients<T::Acc>> {
    let device = x.device();
    let p = plan(&codes, &x, &g, &w_dec, &b_dec, Accumulate::Replace)?;
    let [mut dw_dec, mut dw_enc] =
        [Tensor::empty([p.n(), p.dim()], &device)?, Tensor::empty([p.n(), p.dim()], &device)?];
    let [mut db_enc, mut dvalues] = [Tensor::empty([p.n()], &device)?, Tensor::empty([p.shape().slots()], &device)?];
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    let (dec, enc, b, v) = (dw_dec.view_mut(), dw_enc.view_mut(), db_enc.view_mut(), dvalues.view_mut());
    sae_backward_into(codes, x, g, w_dec, b_dec, Accumulate::Replace, dec, enc, b, v, workspace.view_mut())?;
    Ok(Gradients { w_dec: dw_dec, w_enc: dw_enc, b_enc: db_enc, values: dvalues })
}

/// [`sae_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_backward_into<T: Float>(
    codes: Codes<'_, T::Acc>,
    x: View<'_, T, 2>,
    g: View<'_, T, 2>,
    w_dec: View<'_, T, 2>,
    b_dec: Option<View<'_, T::Acc, 1>>,
    accumulate: Accumulate,
    dw_dec: ViewMut<'_, T::Acc, 2>,
    dw_enc: ViewMut<'_, T::Acc, 2>,
    db_enc: ViewMut<'_, T::Acc, 1>,
    dvalues: ViewMut<'_, T::Acc, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = plan(&codes, &x, &g, &w_dec, &b_dec, accumulate)?;
    run(&p, codes, x, g, Some(w_dec), b_dec, [dw_dec, dw_enc], db_enc, dvalues, workspace)
}

/// Gradients of encoder and decoder of which those of the values are given, as [`sae_gate_backward_into`](crate::sae_gate_backward_into)
/// makes them: `codes` are what was decoded, and `dvalues`, which are only read, the gradients of what the encoder found. See
/// [`latens_kernels::sae::backward`]; the workspace is that of [`sae_backward_into`].
pub fn sae_weights_backward_into<T: Float>(
    codes: Codes<'_, T::Acc>,
    x: View<'_, T, 2>,
    g: View<'_, T, 2>,
    b_dec: Option<View<'_, T::Acc, 1>>,
    dvalues: ViewMut<'_, T::Acc, 1>,
    accumulate: Accumulate,
    dw_dec: ViewMut<'_, T::Acc, 2>,
    dw_enc: ViewMut<'_, T::Acc, 2>,
    db_enc: ViewMut<'_, T::Acc, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let b_layout = b_dec.as_ref().map(View::layout);
    let (x_layout, g_layout, given) = (x.layout(), g.layout(), dvalues.layout());
    let n = dw_dec.dims()[0];
    let p = backward::plan_given(&codes.shape, &x_layout, &g_layout, b_layout.as_ref(), &given, n, accumulate)?;
    run(&p, codes, x, g, None, b_dec, [dw_dec, dw_enc], db_enc, dvalues, workspace)
}

fn run<T: Float>(
    p: &backward::Plan,
    codes: Codes<'_, T::Acc>,
    x: View<'_, T, 2>,
    g: View<'_, T, 2>,
    w_dec: Option<View<'_, T, 2>>,
    b_dec: Option<View<'_, T::Acc, 1>>,
    [dw_dec, dw_enc]: [ViewMut<'_, T::Acc, 2>; 2],
    db_enc: ViewMut<'_, T::Acc, 1>,
    dvalues: ViewMut<'_, T::Acc, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let dw_dec = dw_dec.packed(OP, "dw_dec", [p.n(), p.dim()])?;
    let dw_enc = dw_enc.packed(OP, "dw_enc", [p.n(), p.dim()])?;
    let db_enc = db_enc.packed(OP, "db_enc", [p.n()])?;
    let dvalues = dvalues.packed(OP, "dvalues", [p.shape().slots()])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let codes = codes.host(OP, p.n())?;
            let g = g.host(OP, "g")?;
            let w_dec = w_dec.map(|w_dec| w_dec.host(OP, "w_dec")).transpose()?.unwrap_or(&[]);
            let b_dec = b_dec.map(|b_dec| b_dec.host(OP, "b_dec")).transpose()?;
            let (dw_dec, dw_enc) = (dw_dec.host(OP, "dw_dec")?, dw_enc.host(OP, "dw_enc")?);
            let (db_enc, dvalues) = (db_enc.host(OP, "db_enc")?, dvalues.host(OP, "dvalues")?);
            latens_cpu::sae::backward::backward(p, codes, x, g, w_dec, b_dec, dw_dec, dw_enc, db_enc, dvalues);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let codes = codes.cuda(device, OP)?;
            let g = g.cuda(device, OP, "g")?;
            let w_dec = w_dec.map(|w_dec| w_dec.cuda(device, OP, "w_dec")).transpose()?;
            let b_dec = b_dec.map(|b_dec| b_dec.cuda(device, OP, "b_dec")).transpose()?;
            let to = launch::backward::Gradients {
                dw_dec: dw_dec.cuda(device, OP, "dw_dec")?,
                dw_enc: dw_enc.cuda(device, OP, "dw_enc")?,
                db_enc: db_enc.cuda(device, OP, "db_enc")?,
            };
            let dvalues = dvalues.cuda(device, OP, "dvalues")?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch::backward::launch(p, device.chip(), codes, x, g, w_dec, b_dec, to, dvalues, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_backward_into`] asks for on `device`.
pub fn sae_backward_workspace<T: Float>(shape: &Shape, w_dec: &Layout<2>, device: &Device) -> Result<usize> {
    let x = Layout::packed([shape.rows(), w_dec.dims()[1]])?;
    workspace(&backward::plan(shape, &x, &x, w_dec, None, Accumulate::Replace)?, device)
}

/// `b_enc - W_enc b_dec`: the bias that lets the encoder read `x` as it is. See [`latens_kernels::sae::bias`].
pub fn sae_bias<T: Float>(
    w_enc: View<'_, T, 2>,
    b_enc: View<'_, T::Acc, 1>,
    b_dec: View<'_, T::Acc, 1>,
) -> Result<Tensor<T::Acc, 1>> {
    let mut bias = Tensor::empty([w_enc.dims()[0]], &w_enc.device())?;
    sae_bias_into(w_enc, b_enc, b_dec, bias.view_mut())?;
    Ok(bias)
}

/// [`sae_bias`] into memory of the caller: it neither allocates nor waits.
pub fn sae_bias_into<T: Float>(
    w_enc: View<'_, T, 2>,
    b_enc: View<'_, T::Acc, 1>,
    b_dec: View<'_, T::Acc, 1>,
    bias: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = bias::plan(&w_enc.layout(), &b_enc.layout(), &b_dec.layout())?;
    let bias = bias.packed(BIAS, "bias", [p.n()])?;
    match w_enc.data() {
        Data::Host(w_enc) => {
            let (b_enc, b_dec) = (b_enc.host(BIAS, "b_enc")?, b_dec.host(BIAS, "b_dec")?);
            latens_cpu::sae::bias::forward(&p, w_enc, b_enc, b_dec, bias.host(BIAS, "bias")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, w_enc) => {
            let (b_enc, b_dec) = (b_enc.cuda(device, BIAS, "b_enc")?, b_dec.cuda(device, BIAS, "b_dec")?);
            let bias = bias.cuda(device, BIAS, "bias")?;
            device.run(&launch::track::fold(&p, device.chip(), w_enc, b_enc, b_dec, bias)?)
        }
    }
}

/// The gradient of `b_dec`, which the decoder adds and the encoder takes away: `Σ g - Σ db_enc W_enc`.
pub fn sae_bias_backward<T: Float>(
    g: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    db_enc: View<'_, T::Acc, 1>,
) -> Result<Tensor<T::Acc, 1>> {
    let device = w_enc.device();
    let p = bias::plan_backward(&g.layout(), &w_enc.layout(), &db_enc.layout(), Accumulate::Replace)?;
    let mut db_dec = Tensor::empty([p.dim()], &device)?;
    let mut workspace = Tensor::empty([bias_workspace(&p, &device)?], &device)?;
    sae_bias_backward_into(g, w_enc, db_enc, Accumulate::Replace, db_dec.view_mut(), workspace.view_mut())?;
    Ok(db_dec)
}

/// [`sae_bias_backward`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_bias_backward_into<T: Float>(
    g: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    db_enc: View<'_, T::Acc, 1>,
    accumulate: Accumulate,
    db_dec: ViewMut<'_, T::Acc, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = bias::plan_backward(&g.layout(), &w_enc.layout(), &db_enc.layout(), accumulate)?;
    let db_dec = db_dec.packed(BIAS, "db_dec", [p.dim()])?;
    let workspace = workspace.data();
    match g.data() {
        Data::Host(g) => {
            workspace.host(BIAS, "workspace")?;
            let (w_enc, db_enc) = (w_enc.host(BIAS, "w_enc")?, db_enc.host(BIAS, "db_enc")?);
            latens_cpu::sae::bias::backward(&p, g, w_enc, db_enc, db_dec.host(BIAS, "db_dec")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, g) => {
            let (w_enc, db_enc) = (w_enc.cuda(device, BIAS, "w_enc")?, db_enc.cuda(device, BIAS, "db_enc")?);
            let db_dec = db_dec.cuda(device, BIAS, "db_dec")?;
            let workspace = workspace.cuda(device, BIAS, "workspace")?;
            device.run(&launch::track::fold_backward(&p, device.chip(), g, w_enc, db_enc, db_dec, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_bias_backward_into`] asks for on `device`.
pub fn sae_bias_backward_workspace<T: Float>(g: &Layout<2>, w_enc: &Layout<2>, device: &Device) -> Result<usize> {
    let db_enc = Layout::packed([w_enc.dims()[0]])?;
    bias_workspace(&bias::plan_backward(g, w_enc, &db_enc, Accumulate::Replace)?, device)
}

fn plan<T: Float>(
    codes: &Codes<'_, T::Acc>,
    x: &View<'_, T, 2>,
    g: &View<'_, T, 2>,
    w_dec: &View<'_, T, 2>,
    b_dec: &Option<View<'_, T::Acc, 1>>,
    accumulate: Accumulate,
) -> Result<backward::Plan> {
    let b_dec = b_dec.as_ref().map(View::layout);
    backward::plan(&codes.shape, &x.layout(), &g.layout(), &w_dec.layout(), b_dec.as_ref(), accumulate)
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn workspace(p: &backward::Plan, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::backward::workspace(p)),
    }
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn bias_workspace(p: &bias::Plan, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::track::workspace(p)),
    }
}
