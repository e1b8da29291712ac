use crate::{Data, Device, Tensor, View, ViewMut};
use latens_kernels::sae::encode;
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch;
use latens_kernels::{Float, Layout, Result};

const OP: &str = "sae_encode";

/// The `k` largest positive pre-activations of each row, by rising latent: see [`latens_kernels::sae::encode`].
pub fn sae_encode<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    k: usize,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 2>)> {
    let device = x.device();
    let p = encode::plan(&x.layout(), &w_enc.layout(), &bias.layout(), k)?;
    let mut values = Tensor::empty([p.rows(), k], &device)?;
    let mut latents = Tensor::empty([p.rows(), k], &device)?;
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    sae_encode_into(x, w_enc, bias, k, values.view_mut(), latents.view_mut(), workspace.view_mut())?;
    Ok((values, latents))
}

/// [`sae_encode`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn sae_encode_into<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    k: usize,
    values: ViewMut<'_, T::Acc, 2>,
    latents: ViewMut<'_, u32, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = encode::plan(&x.layout(), &w_enc.layout(), &bias.layout(), k)?;
    let values = values.packed(OP, "values", [p.rows(), k])?;
    let latents = latents.packed(OP, "latents", [p.rows(), k])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (w_enc, bias) = (w_enc.host(OP, "w_enc")?, bias.host(OP, "bias")?);
            let (values, latents) = (values.host(OP, "values")?, latents.host(OP, "latents")?);
            latens_cpu::sae::encode::forward(&p, x, w_enc, bias, values, latents);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w_enc, bias) = (w_enc.cuda(device, OP, "w_enc")?, bias.cuda(device, OP, "bias")?);
            let (values, latents) = (values.cuda(device, OP, "values")?, latents.cuda(device, OP, "latents")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            let chip = device.chip();
            device.run(&launch::encode::launch(&p, chip, x, w_enc, bias, None, values, latents, None, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_encode_into`] asks for on `device`.
pub fn sae_encode_workspace<T: Float>(x: &Layout<2>, w_enc: &Layout<2>, k: usize, device: &Device) -> Result<usize> {
    workspace(&encode::plan(x, w_enc, &Layout::packed([w_enc.dims()[0]])?, k)?, device)
}

/// [`sae_encode`] among the latents `subset[..count[0]]` only.
pub fn sae_encode_subset<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    subset: View<'_, u32, 1>,
    count: View<'_, u32, 1>,
    k: usize,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 2>)> {
    let device = x.device();
    let (x_layout, w_layout) = (x.layout(), w_enc.layout());
    let p = encode::plan_subset(&x_layout, &w_layout, &bias.layout(), &subset.layout(), &count.layout(), k)?;
    let mut values = Tensor::empty([p.rows(), k], &device)?;
    let mut latents = Tensor::empty([p.rows(), k], &device)?;
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    let (v, l) = (values.view_mut(), latents.view_mut());
    sae_encode_subset_into(x, w_enc, bias, subset, count, k, v, l, workspace.view_mut())?;
    Ok((values, latents))
}

/// [`sae_encode_subset`] into memory of the caller.
pub fn sae_encode_subset_into<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    subset: View<'_, u32, 1>,
    count: View<'_, u32, 1>,
    k: usize,
    values: ViewMut<'_, T::Acc, 2>,
    latents: ViewMut<'_, u32, 2>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let (x_layout, w_layout) = (x.layout(), w_enc.layout());
    let p = encode::plan_subset(&x_layout, &w_layout, &bias.layout(), &subset.layout(), &count.layout(), k)?;
    let values = values.packed(OP, "values", [p.rows(), k])?;
    let latents = latents.packed(OP, "latents", [p.rows(), k])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (w_enc, bias) = (w_enc.host(OP, "w_enc")?, bias.host(OP, "bias")?);
            let ([listed], subset) = (subset.dims(), subset.host(OP, "subset")?);
            let (values, latents) = (values.host(OP, "values")?, latents.host(OP, "latents")?);
            let count = count.host(OP, "count")?;
            latens_cpu::sae::encode::subset(&p, x, w_enc, bias, &subset[..listed], count, values, latents)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w_enc, bias) = (w_enc.cuda(device, OP, "w_enc")?, bias.cuda(device, OP, "bias")?);
            let listed = Some((subset.cuda(device, OP, "subset")?, count.cuda(device, OP, "count")?));
            let (values, latents) = (values.cuda(device, OP, "values")?, latents.cuda(device, OP, "latents")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            let chip = device.chip();
            device.run(&launch::encode::launch(&p, chip, x, w_enc, bias, listed, values, latents, None, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_encode_subset_into`] asks for on `device`, for a list of `listed` latents at most.
pub fn sae_encode_subset_workspace<T: Float>(
    x: &Layout<2>,
    w_enc: &Layout<2>,
    listed: usize,
    k: usize,
    device: &Device,
) -> Result<usize> {
    let [bias, subset, count] = [w_enc.dims()[0], listed, 1].map(|len| Layout::packed([len]));
    workspace(&encode::plan_subset(x, w_enc, &bias?, &subset?, &count?, k)?, device)
}

/// The `total` largest positive pre-activations of the batch: values, latents, and where rows begin and end.
#[allow(clippy::type_complexity)] // three outputs, named in order
pub fn sae_encode_flat<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    total: usize,
) -> Result<(Tensor<T::Acc, 1>, Tensor<u32, 1>, Tensor<u32, 1>)> {
    let device = x.device();
    let p = encode::plan_flat(&x.layout(), &w_enc.layout(), &bias.layout(), total)?;
    let mut values = Tensor::empty([total], &device)?;
    let mut latents = Tensor::empty([total], &device)?;
    let mut offsets = Tensor::empty([p.rows() + 1], &device)?;
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    let (v, l, o) = (values.view_mut(), latents.view_mut(), offsets.view_mut());
    sae_encode_flat_into(x, w_enc, bias, total, v, l, o, workspace.view_mut())?;
    Ok((values, latents, offsets))
}

/// [`sae_encode_flat`] into memory of the caller.
pub fn sae_encode_flat_into<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    total: usize,
    values: ViewMut<'_, T::Acc, 1>,
    latents: ViewMut<'_, u32, 1>,
    offsets: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = encode::plan_flat(&x.layout(), &w_enc.layout(), &bias.layout(), total)?;
    let values = values.packed(OP, "values", [total])?;
    let latents = latents.packed(OP, "latents", [total])?;
    let offsets = offsets.packed(OP, "offsets", [p.rows() + 1])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (w_enc, bias) = (w_enc.host(OP, "w_enc")?, bias.host(OP, "bias")?);
            let (values, latents) = (values.host(OP, "values")?, latents.host(OP, "latents")?);
            latens_cpu::sae::encode::flat(&p, x, w_enc, bias, values, latents, offsets.host(OP, "offsets")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w_enc, bias) = (w_enc.cuda(device, OP, "w_enc")?, bias.cuda(device, OP, "bias")?);
            let (values, latents) = (values.cuda(device, OP, "values")?, latents.cuda(device, OP, "latents")?);
            let offsets = offsets.cuda(device, OP, "offsets")?;
            let workspace = workspace.cuda(device, OP, "workspace")?;
            let chip = device.chip();
            device.run(&launch::flat::launch(&p, chip, x, w_enc, bias, values, latents, offsets, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_encode_flat_into`] asks for on `device`.
pub fn sae_encode_flat_workspace<T: Float>(
    x: &Layout<2>,
    w_enc: &Layout<2>,
    total: usize,
    device: &Device,
) -> Result<usize> {
    workspace(&encode::plan_flat(x, w_enc, &Layout::packed([w_enc.dims()[0]])?, total)?, device)
}

/// The pre-activations of each row above `threshold` (and above 0), the `k` largest if there are more: values, latents,
/// and how many there were in each row.
#[allow(clippy::type_complexity)] // three outputs, named in order
pub fn sae_encode_threshold<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    threshold: f32,
    k: usize,
) -> Result<(Tensor<T::Acc, 2>, Tensor<u32, 2>, Tensor<u32, 1>)> {
    let device = x.device();
    let p = encode::plan_threshold(&x.layout(), &w_enc.layout(), &bias.layout(), threshold, k)?;
    let mut values = Tensor::empty([p.rows(), k], &device)?;
    let mut latents = Tensor::empty([p.rows(), k], &device)?;
    let mut counts = Tensor::empty([p.rows()], &device)?;
    let mut workspace = Tensor::empty([workspace(&p, &device)?], &device)?;
    let (v, l, c) = (values.view_mut(), latents.view_mut(), counts.view_mut());
    sae_encode_threshold_into(x, w_enc, bias, threshold, k, v, l, c, workspace.view_mut())?;
    Ok((values, latents, counts))
}

/// [`sae_encode_threshold`] into memory of the caller.
pub fn sae_encode_threshold_into<T: Float>(
    x: View<'_, T, 2>,
    w_enc: View<'_, T, 2>,
    bias: View<'_, T::Acc, 1>,
    threshold: f32,
    k: usize,
    values: ViewMut<'_, T::Acc, 2>,
    latents: ViewMut<'_, u32, 2>,
    counts: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = encode::plan_threshold(&x.layout(), &w_enc.layout(), &bias.layout(), threshold, k)?;
    let values = values.packed(OP, "values", [p.rows(), k])?;
    let latents = latents.packed(OP, "latents", [p.rows(), k])?;
    let counts = counts.packed(OP, "counts", [p.rows()])?;
    let workspace = workspace.data();
    match x.data() {
        Data::Host(x) => {
            workspace.host(OP, "workspace")?;
            let (w_enc, bias) = (w_enc.host(OP, "w_enc")?, bias.host(OP, "bias")?);
            let (values, latents) = (values.host(OP, "values")?, latents.host(OP, "latents")?);
            latens_cpu::sae::encode::threshold(&p, x, w_enc, bias, values, latents, counts.host(OP, "counts")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (w_enc, bias) = (w_enc.cuda(device, OP, "w_enc")?, bias.cuda(device, OP, "bias")?);
            let (values, latents) = (values.cuda(device, OP, "values")?, latents.cuda(device, OP, "latents")?);
            let counts = Some(counts.cuda(device, OP, "counts")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            let chip = device.chip();
            device.run(&launch::encode::launch(&p, chip, x, w_enc, bias, None, values, latents, counts, workspace)?)
        }
    }
}

/// Bytes of scratch that [`sae_encode_threshold_into`] asks for on `device`.
pub fn sae_encode_threshold_workspace<T: Float>(
    x: &Layout<2>,
    w_enc: &Layout<2>,
    k: usize,
    device: &Device,
) -> Result<usize> {
    workspace(&encode::plan_threshold(x, w_enc, &Layout::packed([w_enc.dims()[0]])?, 0.0, k)?, device)
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn workspace(p: &encode::Plan, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => Ok(match p.select() {
            encode::Select::Flat => launch::flat::workspace(p, device.chip()),
            _ => launch::encode::workspace(p, device.chip()),
        }),
    }
}
