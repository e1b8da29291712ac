//! `compare sae`: encode, decode and the train step beside PyTorch, on the host.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, median, normal, time};
use latens_core::{Accumulate, Against, Codes, Device, Float, Tensor, bf16};
use latens_core::{linear_into, sae_decode_into, sae_decode_workspace, sae_encode_into, sae_encode_workspace};
use serde_json::{Value, json};
use std::path::Path;

/// Sizes: a batch, the width of activations, latents and kept latents.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub d: usize,
    pub n: usize,
    pub k: usize,
    pub b: usize,
}

const SIZES: [Sizes; 2] = [Sizes { d: 768, n: 16_384, k: 32, b: 256 }, Sizes { d: 576, n: 4608, k: 32, b: 4096 }];

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.d, self.n, self.k, self.b)
    }
}

impl Sizes {
    pub fn json(&self) -> Value {
        json!({"d": self.d, "n": self.n, "k": self.k, "b": self.b})
    }

    pub fn row(&self, name: &'static str, dtype: &'static str, peer: &str, [ours_ms, peer_ms]: [f64; 2]) -> Row {
        let (shape, device, peer) = (self.to_string(), "cpu".into(), peer.into());
        Row { name, shape, dtype, device, ours_ms, peer, peer_ms, bar: None, rate: None }
    }

    /// Operations of the encoder's dense product.
    fn flops(&self) -> f64 {
        2.0 * self.b as f64 * self.d as f64 * self.n as f64
    }
}

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    for sizes in SIZES {
        let dir = Exchange::new()?;
        dir.put("x", &normal(sizes.b * sizes.d, 1))?;
        dir.put("w_enc", &normal(sizes.n * sizes.d, 2))?;
        dir.put("bias", &normal(sizes.n, 3))?;
        encode::<f32>(sizes, "f32", &dir, &mut torch, show)?;
        encode::<bf16>(sizes, "bf16", &dir, &mut torch, show)?;
        decode(sizes, &dir, &mut torch, show)?;
        super::sae_step::compare(sizes, &dir, &mut torch, show)?;
    }
    Ok(())
}

pub(crate) fn tensor<T: Float, const R: usize>(seed: u64, dims: [usize; R]) -> Result<Tensor<T, R>> {
    let numbers = normal(dims.iter().product(), seed).into_iter().map(T::from_f32).collect();
    Ok(Tensor::from_vec(numbers, dims, &Device::Host)?)
}

fn encode<T: Float<Acc = f32>>(
    s: Sizes,
    dtype: &'static str,
    dir: &Exchange,
    torch: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let (x, w) = (tensor::<T, 2>(1, [s.b, s.d])?, tensor::<T, 2>(2, [s.n, s.d])?);
    let bias = tensor::<f32, 1>(3, [s.n])?;
    let mut values = Tensor::<f32, 2>::zeros([s.b, s.k], &Device::Host)?;
    let mut latents = Tensor::<u32, 2>::zeros([s.b, s.k], &Device::Host)?;
    let size = sae_encode_workspace::<T>(&x.layout(), &w.layout(), s.k, &Device::Host)?;
    let mut workspace = Tensor::<u8, 1>::zeros([size], &Device::Host)?;
    let mut ours = || -> Result<()> {
        let (values, latents) = (values.view_mut(), latents.view_mut());
        Ok(sae_encode_into(x.view(), w.view(), bias.view(), s.k, values, latents, workspace.view_mut())?)
    };
    let mut dense = Tensor::<T, 2>::zeros([s.b, s.n], &Device::Host)?;
    let mut product = || Ok(linear_into(x.view(), w.view(), None, Accumulate::Replace, dense.view_mut())?);

    torch.setup("sae_encode", dir.path(), &s.json(), dtype)?;
    ours()?;
    let name = torch.name.clone();
    let times = torch.race(&mut ours)?;
    let rate = Some(("GFLOP/s", s.flops() / times.0 / 1e6));
    let bar = Some(if dtype == "f32" { 2.2 } else { 1.2 });
    show(Row { bar, rate, ..s.row("sae_encode", dtype, &format!("{name} matmul + topk"), times.into()) });

    // Against our own dense product of that size: what selection costs on top.
    let (mut a, mut b) = (Vec::new(), Vec::new());
    product()?;
    for _ in 0..7 {
        a.push(time(2, &mut ours)?);
        b.push(time(2, &mut product)?);
    }
    let bar = (dtype == "f32").then_some(1.0 / 1.2);
    show(Row { bar, ..s.row("sae_encode_selection", dtype, "latens linear", [median(a), median(b)]) });

    torch.setup("linear", dir.path(), &s.json(), dtype)?;
    let times = torch.race(&mut product)?;
    let rate = Some(("GFLOP/s", s.flops() / times.0 / 1e6));
    show(Row { rate, ..s.row("linear", dtype, &format!("{name} matmul"), times.into()) });

    // The same values, strongest first: which of two nearly equal latents is the last one kept, rounding decides.
    let worst = disagreement(&ranked(values.host().ok_or("host")?, s.k), &ranked(&dir.get("values", "torch")?, s.k));
    let limit = if dtype == "f32" { 1e-10 } else { 1e-4 };
    if worst > limit {
        return Err(format!("sae_encode {dtype} {s}: disagrees with torch by {worst:e}").into());
    }
    Ok(())
}

/// Each row of `k` values in descending order.
fn ranked(values: &[f32], k: usize) -> Vec<f32> {
    let mut values = values.to_vec();
    values.chunks_mut(k).for_each(|row| row.sort_by(|a, b| b.total_cmp(a)));
    values
}

fn decode(s: Sizes, dir: &Exchange, torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (x, w_dec) = (tensor::<f32, 2>(1, [s.b, s.d])?, tensor::<f32, 2>(4, [s.n, s.d])?);
    let b_dec = tensor::<f32, 1>(5, [s.d])?;
    let values = normal(s.b * s.k, 6).into_iter().map(f32::abs).collect::<Vec<_>>();
    // Each row's latents ascend, as the encoder leaves them: one from each k-th of the dictionary.
    let part = s.n / s.k;
    let mut draw = latens_core::Philox::new(7);
    let latents = (0..s.b * s.k).map(|i| (i % s.k * part) as u32 + draw.below(part as u32)).collect::<Vec<_>>();
    for (name, data) in [("w_dec", w_dec.host()), ("b_dec", b_dec.host()), ("values", Some(&values[..]))] {
        dir.put(name, data.ok_or("host")?)?;
    }
    dir.put_ids("latents", &latents)?;

    let values = Tensor::from_vec(values, [s.b, s.k], &Device::Host)?;
    let latents = Tensor::from_vec(latents, [s.b, s.k], &Device::Host)?;
    let codes = Codes::fixed(values.view(), latents.view())?;
    let mut recon = Tensor::<f32, 2>::zeros([s.b, s.d], &Device::Host)?;
    let mut residual = Tensor::<f32, 2>::zeros([s.b, s.d], &Device::Host)?;
    let mut error = Tensor::<f32, 1>::zeros([s.b], &Device::Host)?;
    let size = sae_decode_workspace::<f32>(&codes.shape(), &w_dec.layout(), true, &Device::Host)?;
    let mut workspace = Tensor::<u8, 1>::zeros([size], &Device::Host)?;
    let mut ours = || -> Result<()> {
        let against = Against { x: x.view(), residual: residual.view_mut(), error: error.view_mut() };
        let (recon, workspace) = (recon.view_mut(), workspace.view_mut());
        Ok(sae_decode_into(codes, w_dec.view(), Some(b_dec.view()), recon, Some(against), workspace)?)
    };
    let name = torch.name.clone();
    for (case, how, bar) in [("sae_decode", "embedding_bag, e, e²", 1.2), ("sae_decode_dense", "dense product", 20.0)]
    {
        torch.setup(case, dir.path(), &s.json(), "f32")?;
        let times = torch.race(&mut ours)?;
        let gathered = (s.b * s.k * s.d * 4) as f64;
        let rate = Some(("GB/s", gathered / times.0 / 1e6));
        show(Row { bar: Some(bar), rate, ..s.row(case, "f32", &format!("{name} {how}"), times.into()) });
    }
    for (what, ours) in [("e", residual.host()), ("squares", error.host())] {
        let worst = disagreement(ours.ok_or("host")?, &dir.get(what, "torch")?);
        if worst > 1e-9 {
            return Err(format!("sae_decode {s}: {what} disagrees with torch by {worst:e}").into());
        }
    }
    Ok(())
}
