//! `compare sparsify`: one entry in a thousand of a gradient with error memory, and the sum of packets, beside PyTorch.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{Accumulate, Device, Tensor, sparsify, sparsify_into, sparsify_sum_into};
use serde_json::json;
use std::path::Path;

const N: usize = 1 << 24;
const K: usize = N / 1000;
const RANKS: usize = 4;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    send(&mut torch, show)?;
    sum(&mut torch, show)
}

fn row(name: &'static str, shape: String, peer: String, (ours_ms, peer_ms): (f64, f64), bytes: usize) -> Row {
    let rate = Some(("GB/s", bytes as f64 / ours_ms / 1e6));
    Row { name, shape, dtype: "f32", device: "cpu".into(), ours_ms, peer, peer_ms, bar: None, rate }
}

fn agree(what: &str, a: &[f32], b: &[f32]) -> Result<()> {
    let off = disagreement(a, b);
    if off <= 1e-12 { Ok(()) } else { Err(format!("{what} disagrees with PyTorch: {off:e}").into()) }
}

fn send(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host) = (Exchange::new()?, &Device::Host);
    let (g, e) = (normal(N, 1), normal(N, 2));
    dir.put("g", &g)?;
    dir.put("e", &e)?;
    torch.setup("sparsify", dir.path(), &json!({"n": N, "k": K}), "f32")?;
    let (g, mut e) = (Tensor::<f32, 1>::from_vec(g, [N], host)?, Tensor::<f32, 1>::from_vec(e, [N], host)?);
    let packet = sparsify(g.view(), e.view_mut(), K)?;
    agree("what is sent", packet.values.host().ok_or("not on the host")?, &dir.get("values", "torch")?)?;
    agree("what is left", e.host().ok_or("not on the host")?, &dir.get("left", "torch")?)?;

    let (mut values, mut indices) = (packet.values, packet.indices);
    let (mut counts, mut scratch) = (packet.counts, Tensor::<u8, 1>::zeros([0], host)?);
    let times = torch.race(|| {
        let (v, i, c) = (values.view_mut(), indices.view_mut(), counts.view_mut());
        Ok(sparsify_into(g.view(), e.view_mut(), K, v, i, c, scratch.view_mut())?)
    })?;
    let peer = format!("{} abs, topk, gather, scatter", torch.name);
    show(row("sparsify", format!("{N}, k {K}"), peer, times, 12 * N + 8 * K));
    Ok(())
}

fn sum(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host) = (Exchange::new()?, &Device::Host);
    let (mut values, mut indices) = (Vec::new(), Vec::new());
    for rank in 0..RANKS {
        let g = Tensor::<f32, 1>::from_vec(normal(N, 10 + rank as u64), [N], host)?;
        let mut e = Tensor::<f32, 1>::zeros([N], host)?;
        let packet = sparsify(g.view(), e.view_mut(), K)?;
        values.extend(packet.values.to_vec()?);
        indices.extend(packet.indices.to_vec()?);
    }
    dir.put("values", &values)?;
    dir.put_ids("indices", &indices)?;
    torch.setup("sparsify_sum", dir.path(), &json!({"n": N, "k": K, "ranks": RANKS}), "f32")?;
    let values = Tensor::<f32, 2>::from_vec(values, [RANKS, K], host)?;
    let indices = Tensor::<u32, 2>::from_vec(indices, [RANKS, K], host)?;
    let mut y = Tensor::<f32, 1>::zeros([N], host)?;
    let mut ours = || {
        let scale = 1.0 / RANKS as f32;
        Ok(sparsify_sum_into(values.view(), indices.view(), scale, Accumulate::Replace, y.view_mut())?)
    };
    ours()?;
    let times = torch.race(&mut ours)?;
    agree("the sum of packets", y.host().ok_or("not on the host")?, &dir.get("y", "torch")?)?;
    let peer = format!("{} index_add", torch.name);
    show(row("sparsify_sum", format!("{N}, {RANKS} of {K}"), peer, times, 4 * N + 8 * RANKS * K));
    Ok(())
}
