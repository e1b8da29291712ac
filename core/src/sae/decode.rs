use super::Codes;
use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch::decode as launch;
use latens_kernels::sae::{Shape, decode};
use latens_kernels::{Float, Layout, Result};

const OP: &str = "sae_decode";

/// What [`sae_decode`] gives.
pub struct Decoded<T: Float> {
    /// The reconstruction, `[rows, dim]`.
    pub recon: Tensor<T, 2>,
    /// `x` less the reconstruction, if there is an `x`.
    pub residual: Option<Tensor<T, 2>>,
    /// The sum of squares of each row of it.
    pub error: Option<Tensor<T::Acc, 1>>,
}

/// What [`sae_decode_into`] compares with, and where it puts the outcome.
pub struct Against<'a, T: Float> {
    /// `[rows, dim]`.
    pub x: View<'a, T, 2>,
    /// `x` less the reconstruction.
    pub residual: ViewMut<'a, T, 2>,
    /// The sum of squares of each row of it.
    pub error: ViewMut<'a, T::Acc, 1>,
}

/// The reconstruction from sparse codes, and how far it is from `x`: see [`latens_kernels::sae::decode`].
pub fn sae_decode<T: Float>(
    codes: Codes<'_, T::Acc>,
    w_dec: View<'_, T, 2>,
    b_dec: Option<View<'_, T::Acc, 1>>,
    x: Option<View<'_, T, 2>>,
) -> Result<Decoded<T>> {
    let device = w_dec.device();
    let p = plan(&codes, &w_dec, &b_dec, x.as_ref())?;
    let mut recon = Tensor::empty(p.out(), &device)?;
    let mut workspace = Tensor::empty([workspace::<T>(&p, &device)?], &device)?;
    let Some(x) = x else {
        sae_decode_into(codes, w_dec, b_dec, recon.view_mut(), None, workspace.view_mut())?;
        return Ok(Decoded { recon, residual: None, error: None });
    };
    let mut residual = Tensor::empty(p.out(), &device)?;
    let mut error = Tensor::empty([p.rows()], &device)?;
    let against = Against { x, residual: residual.view_mut(), error: error.view_mut() };
    sae_decode_into(codes, w_dec, b_dec, recon.view_mut(), Some(against), workspace.view_mut())?;
    Ok(Decoded { recon, residual: Some(residual), error: Some(error) })
}

/// [`sae_decode`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_decode_into<T: Float>(
    codes: Codes<'_, T::Acc>,
    w_dec: View<'_, T, 2>,
    b_dec: Option<View<'_, T::Acc, 1>>,
    recon: ViewMut<'_, T, 2>,
    against: Option<Against<'_, T>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = plan(&codes, &w_dec, &b_dec, against.as_ref().map(|against| &against.x))?;
    let recon = recon.packed(OP, "recon", p.out())?;
    let against = match against {
        None => None,
        Some(Against { x, residual, error }) => {
            Some((x, residual.packed(OP, "residual", p.out())?, error.packed(OP, "error", [p.rows()])?))
        }
    };
    let workspace = workspace.data();
    match w_dec.data() {
        Data::Host(w_dec) => {
            workspace.host(OP, "workspace")?;
            let codes = codes.host(OP, p.n())?;
            let b_dec = b_dec.map(|b_dec| b_dec.host(OP, "b_dec")).transpose()?;
            let recon = recon.host(OP, "recon")?;
            let against = match against {
                None => None,
                Some((x, residual, error)) => Some(decode::Against {
                    x: x.host(OP, "x")?,
                    residual: residual.host(OP, "residual")?,
                    error: error.host(OP, "error")?,
                }),
            };
            latens_cpu::sae::decode::forward(&p, codes, w_dec, b_dec, recon, against);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, w_dec) => {
            let codes = codes.cuda(device, OP)?;
            let b_dec = b_dec.map(|b_dec| b_dec.cuda(device, OP, "b_dec")).transpose()?;
            let recon = recon.cuda(device, OP, "recon")?;
            let against = match against {
                None => None,
                Some((x, residual, error)) => Some(launch::Against {
                    x: x.cuda(device, OP, "x")?,
                    residual: residual.cuda(device, OP, "residual")?,
                    error: error.cuda(device, OP, "error")?,
                }),
            };
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch::launch(&p, device.chip(), codes, w_dec, b_dec, recon, against, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_decode_into`] asks for on `device`; `against` if it compares with an `x`.
pub fn sae_decode_workspace<T: Float>(
    shape: &Shape,
    w_dec: &Layout<2>,
    against: bool,
    device: &Device,
) -> Result<usize> {
    let x = Layout::packed([shape.rows(), w_dec.dims()[1]])?;
    workspace::<T>(&decode::plan(shape, w_dec, None, against.then_some(&x))?, device)
}

fn plan<T: Float>(
    codes: &Codes<'_, T::Acc>,
    w_dec: &View<'_, T, 2>,
    b_dec: &Option<View<'_, T::Acc, 1>>,
    x: Option<&View<'_, T, 2>>,
) -> Result<decode::Plan> {
    let (b_dec, x) = (b_dec.as_ref().map(View::layout), x.map(View::layout));
    decode::plan(&codes.shape, &w_dec.layout(), b_dec.as_ref(), x.as_ref())
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables, clippy::extra_unused_type_parameters))]
fn workspace<T: Float>(p: &decode::Plan, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::workspace::<T>(p)),
    }
}
