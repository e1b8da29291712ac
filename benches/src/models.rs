//! `compare models`: what language models are trained with, beside PyTorch's fused operations.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{
    AdamW, Attention, AttentionGradientsMut, Device, Tensor, adamw_into, adamw8_into, attention_backward_into,
    attention_backward_workspace, attention_into,
};
use serde_json::json;
use std::path::Path;

/// Heads, and heads of keys, of SmolLM2-135M.
const HEADS: [usize; 2] = [9, 3];
const DIM: usize = 64;
/// Numbers that an optimiser's step is measured on: those of a layer of SmolLM2-135M, ten times.
const NUMBERS: usize = 35_400_000;
/// Those that share a scale where averages are kept in 8 bits.
const BLOCK: usize = 256;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    for len in [512, 2048] {
        attention(&mut torch, len, show)?;
    }
    crate::norm::compare(&mut torch, show)?;
    crate::conv2d::compare(&mut torch, show)?;
    adamw(&mut torch, show)
}

fn row(
    name: &'static str,
    shape: String,
    (ours_ms, peer_ms): (f64, f64),
    peer: String,
    bar: impl Into<Option<f64>>,
) -> Row {
    Row { name, shape, dtype: "f32", device: "cpu".into(), ours_ms, peer, peer_ms, bar: bar.into(), rate: None }
}

fn agree(what: &str, ours: &Tensor<f32, 4>, theirs: &[f32]) -> Result<()> {
    let off = disagreement(ours.host().ok_or("not on the host")?, theirs);
    if off > 1e-9 { Err(format!("{what} disagrees with PyTorch: {off:e}").into()) } else { Ok(()) }
}

/// `[len, heads, DIM]` as `[heads, len, DIM]`, which PyTorch likes best, or the other way round.
fn turned(x: &[f32], [first, second]: [usize; 2]) -> Vec<f32> {
    let place = |at: usize| (at % first * second + at / first) * DIM;
    (0..first * second).flat_map(|at| x[place(at)..][..DIM].iter().copied()).collect()
}

fn attention(torch: &mut Peer, len: usize, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host, [heads, kv_heads]) = (Exchange::new()?, &Device::Host, HEADS);
    let tensor = |name: &str, heads: usize, seed: u64| -> Result<Tensor<f32, 4>> {
        let x = normal(len * heads * DIM, seed);
        dir.put(name, &turned(&x, [len, heads]))?;
        Ok(Tensor::from_vec(x, [1, len, heads, DIM], host)?)
    };
    let (q, k) = (tensor("q", heads, 1)?, tensor("k", kv_heads, 2)?);
    let (v, dy) = (tensor("v", kv_heads, 3)?, tensor("dy", heads, 4)?);
    let dims = json!({"len": len, "heads": heads, "kv_heads": kv_heads, "dim": DIM});
    let call = Attention::new(q.view(), k.view(), v.view());
    let (mut y, mut lse) = (Tensor::empty(q.dims(), host)?, Tensor::empty([1, len, heads], host)?);
    let (mut dq, mut dk, mut dv) =
        (Tensor::empty(q.dims(), host)?, Tensor::empty(k.dims(), host)?, Tensor::empty(v.dims(), host)?);
    let mut workspace = Tensor::empty([attention_backward_workspace(&call)?], host)?;
    let shape = format!("{len}, {heads}/{kv_heads} heads of {DIM}");

    torch.setup("attention", dir.path(), &dims, "f32")?;
    attention_into(&call, y.view_mut(), None)?;
    agree("attention", &y, &turned(&dir.get("y", "torch")?, [heads, len]))?;
    let times = torch.race(|| Ok(attention_into(&call, y.view_mut(), None)?))?;
    show(row("attention", shape.clone(), times, format!("{} sdpa", torch.name), 0.9));

    torch.setup("attention_backward", dir.path(), &dims, "f32")?;
    let mut both = || -> Result<()> {
        attention_into(&call, y.view_mut(), Some(lse.view_mut()))?;
        let to = AttentionGradientsMut { q: Some(dq.view_mut()), k: Some(dk.view_mut()), v: Some(dv.view_mut()) };
        Ok(attention_backward_into(&call, y.view(), lse.view(), dy.view(), to, workspace.view_mut())?)
    };
    both()?;
    let times = torch.race(&mut both)?;
    for (name, of, heads) in [("dq", &dq, heads), ("dk", &dk, kv_heads), ("dv", &dv, kv_heads)] {
        agree(name, of, &turned(&dir.get(name, "torch")?, [heads, len]))?;
    }
    show(row("attention_gradient", shape, times, format!("{} sdpa, forward and backward", torch.name), 0.9));
    Ok(())
}

fn adamw(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host) = (Exchange::new()?, &Device::Host);
    let (w, g) = (normal(NUMBERS, 1), normal(NUMBERS, 2));
    dir.put("w", &w)?;
    dir.put("g", &g)?;
    torch.setup("adamw", dir.path(), &json!({"numbers": NUMBERS}), "f32")?;
    let g = Tensor::<f32, 1>::from_vec(g, [NUMBERS], host)?;
    let start = Tensor::<f32, 1>::from_vec(w, [NUMBERS], host)?;
    let after = dir.get("w", "torch")?;
    let agrees = |name: &str, w: &Tensor<f32, 1>| -> Result<()> {
        let off = disagreement(w.host().ok_or("not on the host")?, &after);
        if off > 1e-9 { Err(format!("{name} disagrees with PyTorch: {off:e}").into()) } else { Ok(()) }
    };
    let settings = |step| AdamW { weight_decay: 0.01, step, ..AdamW::default() };

    let zeros = || Tensor::<f32, 1>::zeros([NUMBERS], host);
    let mut state = (start.to(host)?, zeros()?, zeros()?, 0);
    let call = |(w, m, v, step): &mut (Tensor<f32, 1>, Tensor<f32, 1>, Tensor<f32, 1>, u64)| -> Result<()> {
        *step += 1;
        Ok(adamw_into(w.view_mut(), g.view(), m.view_mut(), v.view_mut(), &settings(*step))?)
    };
    call(&mut state)?;
    agrees("adamw", &state.0)?;
    let before = some(&state.0)?;
    call(&mut state)?;
    let moved = difference(&some(&state.0)?, &before);
    let times = torch.race(|| call(&mut state))?;
    show(row("adamw", format!("{NUMBERS}"), times, format!("{} AdamW, fused", torch.name), 1.5));
    drop(state);

    // The same numbers by another algorithm, whose first step is the same: it moves fewer bytes, and computes more.
    let zeros = || Tensor::<u8, 1>::zeros([NUMBERS], host);
    let (mut w, mut m, mut v, mut step) = (start, zeros()?, zeros()?, 0);
    let mut scales = Tensor::<f32, 2>::zeros([NUMBERS.div_ceil(BLOCK), 2], host)?;
    let mut call = |w: &mut Tensor<f32, 1>| -> Result<()> {
        step += 1;
        let (m, v, scales) = (m.view_mut(), v.view_mut(), scales.view_mut());
        Ok(adamw8_into(w.view_mut(), g.view(), m, v, scales, BLOCK, &settings(step))?)
    };
    call(&mut w)?;
    agrees("adamw8", &w)?;
    // The second step is the first that reads codes: about as far as with averages of `f32`.
    let before = some(&w)?;
    call(&mut w)?;
    let off = disagreement(&difference(&some(&w)?, &before), &moved);
    if off > 1e-2 {
        return Err(format!("the second step of adamw8 disagrees with adamw's: {off:e}").into());
    }
    let times = torch.race(|| call(&mut w))?;
    let peer = format!("{} AdamW of f32, fused", torch.name);
    show(row("adamw8", format!("{NUMBERS} by {BLOCK}"), times, peer, None));
    Ok(())
}

/// The first numbers of many.
fn some(of: &Tensor<f32, 1>) -> Result<Vec<f32>> {
    Ok(of.host().ok_or("not on the host")?[..1 << 20].to_vec())
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}
