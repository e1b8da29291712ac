use super::Codes;
use crate::{Data, DataMut, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch::gate as launch;
use latens_kernels::sae::{Shape, gate, slopes};
use latens_kernels::{Float, Result};

pub use gate::{Penalty, Push};

const OP: &str = "sae_gate";
const SLOPES: &str = "sae_slopes";

/// What stands between encoder and decoder, for each latent: see [`latens_kernels::sae::gate`].
#[derive(Clone, Copy)]
pub struct SaeGate<'a, A> {
    /// Factors `[n]`; 1 where there are none.
    pub scale: Option<View<'a, A, 1>>,
    /// What is added `[n]`; 0 where there is nothing.
    pub shift: Option<View<'a, A, 1>>,
    /// What a value weighs in the penalty `[n]`; 1 where there is nothing.
    pub weight: Option<View<'a, A, 1>>,
    /// What a value must exceed.
    pub floor: f32,
}

impl<A> Default for SaeGate<'_, A> {
    /// The rectifier.
    fn default() -> Self {
        Self { scale: None, shift: None, weight: None, floor: 0.0 }
    }
}

impl<'a, A: Float> SaeGate<'a, A> {
    fn plan(&self, shape: &Shape, n: usize) -> Result<gate::Plan> {
        let [scale, shift, weight] =
            [&self.scale, &self.shift, &self.weight].map(|part| part.as_ref().map(View::layout));
        let parts = [("scale", scale.as_ref()), ("shift", shift.as_ref()), ("weight", weight.as_ref())];
        gate::plan(shape, n, self.floor, parts)
    }

    fn host(&self) -> Result<gate::Parts<'a, A>> {
        Ok(gate::Parts {
            scale: self.scale.map(|part| part.host(OP, "scale")).transpose()?,
            shift: self.shift.map(|part| part.host(OP, "shift")).transpose()?,
            weight: self.weight.map(|part| part.host(OP, "weight")).transpose()?,
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, device: &crate::cuda::Device) -> Result<launch::Parts<'a, A>> {
        Ok(launch::Parts {
            scale: self.scale.map(|part| part.cuda(device, OP, "scale")).transpose()?,
            shift: self.shift.map(|part| part.cuda(device, OP, "shift")).transpose()?,
            weight: self.weight.map(|part| part.cuda(device, OP, "weight")).transpose()?,
        })
    }
}

/// What the decoder is given for what the encoder found, of `n` latents: see [`latens_kernels::sae::gate`].
pub fn sae_gate<A: Float>(codes: Codes<'_, A>, n: usize, gate: SaeGate<'_, A>) -> Result<Tensor<A, 1>> {
    let mut y = Tensor::empty([codes.shape.slots()], &codes.values.device())?;
    sae_gate_into(codes, n, gate, y.view_mut())?;
    Ok(y)
}

/// [`sae_gate`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_gate_into<A: Float>(
    codes: Codes<'_, A>,
    n: usize,
    gate: SaeGate<'_, A>,
    y: ViewMut<'_, A, 1>,
) -> Result<()> {
    let p = gate.plan(&codes.shape, n)?;
    match y.packed(OP, "y", [codes.shape.slots()])? {
        DataMut::Host(y) => {
            let codes = codes.host(OP, n)?;
            latens_cpu::sae::gate::forward(&p, codes.values, codes.latents, gate.host()?, y);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, y) => {
            device.run(&launch::forward(&p, device.chip(), codes.cuda(device, OP)?, gate.cuda(device)?, y)?)
        }
    }
}

/// The gradients of a gate: `slopes`, the gradient of what the decoder was given, becomes that of what the encoder found, and
/// `sums` `[4, n]` are those of factors, terms, thresholds and weights. `codes` are those of [`sae_gate`]. On a GPU it neither
/// allocates nor waits.
pub fn sae_gate_backward_into<A: Float>(
    codes: Codes<'_, A>,
    gate: SaeGate<'_, A>,
    push: Push,
    slopes: ViewMut<'_, A, 1>,
    sums: ViewMut<'_, A, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let n = sums.dims()[1];
    let p = gate.plan(&codes.shape, n)?.backward(push, &slopes.layout(), &sums.layout())?;
    let slopes = slopes.packed(OP, "slopes", [codes.shape.slots()])?;
    let workspace = workspace.data();
    match sums.packed(OP, "sums", [4, n])? {
        DataMut::Host(sums) => {
            workspace.host(OP, "workspace")?;
            let (codes, slopes) = (codes.host(OP, n)?, slopes.host(OP, "slopes")?);
            latens_cpu::sae::gate::backward(&p, codes, gate.host()?, slopes, sums);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, sums) => {
            let (codes, parts) = (codes.cuda(device, OP)?, gate.cuda(device)?);
            let slopes = slopes.cuda(device, OP, "slopes")?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch::backward(&p, device.chip(), codes, parts, slopes, sums, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_gate_backward_into`] asks for on `device`, for `n` latents.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
pub fn sae_gate_backward_workspace(shape: &Shape, n: usize, device: &Device) -> Result<usize> {
    let p = gate::plan(shape, n, 0.0, [("scale", None); 3])?;
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::workspace(&p)),
    }
}

/// The gradients of what the decoder was given, from `g`, that of the reconstruction: see [`latens_kernels::sae::slopes`].
pub fn sae_slopes<T: Float>(
    codes: Codes<'_, T::Acc>,
    g: View<'_, T, 2>,
    w_dec: View<'_, T, 2>,
) -> Result<Tensor<T::Acc, 1>> {
    let mut slopes = Tensor::empty([codes.shape.slots()], &g.device())?;
    sae_slopes_into(codes, g, w_dec, slopes.view_mut())?;
    Ok(slopes)
}

/// [`sae_slopes`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_slopes_into<T: Float>(
    codes: Codes<'_, T::Acc>,
    g: View<'_, T, 2>,
    w_dec: View<'_, T, 2>,
    slopes: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = slopes::plan(&codes.shape, &g.layout(), &w_dec.layout())?;
    let slopes = slopes.packed(SLOPES, "slopes", [codes.shape.slots()])?;
    match g.data() {
        Data::Host(g) => {
            let (codes, w_dec) = (codes.host(SLOPES, p.n())?, w_dec.host(SLOPES, "w_dec")?);
            latens_cpu::sae::slopes::forward(&p, codes, g, w_dec, slopes.host(SLOPES, "slopes")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, g) => {
            let (codes, w_dec) = (codes.cuda(device, SLOPES)?, w_dec.cuda(device, SLOPES, "w_dec")?);
            let slopes = slopes.cuda(device, SLOPES, "slopes")?;
            device.run(&launch::slopes(&p, device.chip(), codes, g, w_dec, slopes)?)
        }
    }
}
