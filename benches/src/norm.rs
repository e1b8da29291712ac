//! Part of `compare models`: norms of rows and the gradient of a table, beside PyTorch.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{
    Accumulate, Device, Tensor, embed_backward_into, layer_norm_backward_into, layer_norm_into, rms_norm_backward_into,
    rms_norm_into,
};
use serde_json::json;

/// The residual of SmolLM2-135M for some contexts.
const SHAPE: [usize; 2] = [4096, 576];
const EPS: f32 = 1e-5;
/// Tokens that a gradient of the table comes from, and rows of the table.
const TOKENS: usize = 512;
const TABLE: [usize; 2] = [49_152, 576];

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    norm(torch, "rms_norm", show)?;
    norm(torch, "layer_norm", show)?;
    embed(torch, show)
}

fn row(name: &'static str, shape: [usize; 2], times: (f64, f64), peer: &Peer, bar: f64, bytes: usize) -> Row {
    let rate = Some(("GB/s", bytes as f64 / times.0 / 1e6));
    let (shape, peer) = (format!("{} x {}", shape[0], shape[1]), peer.name.clone());
    Row {
        name,
        shape,
        dtype: "f32",
        device: "cpu".into(),
        ours_ms: times.0,
        peer,
        peer_ms: times.1,
        bar: Some(bar),
        rate,
    }
}

fn agree<const R: usize>(name: &str, ours: &Tensor<f32, R>, theirs: &[f32]) -> Result<()> {
    let off = disagreement(ours.host().ok_or("not on the host")?, theirs);
    if off > 1e-9 { Err(format!("{name} disagrees with PyTorch: {off:e}").into()) } else { Ok(()) }
}

/// A norm, and a norm with its gradients for `x`, weight and bias.
fn norm(torch: &mut Peer, name: &'static str, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host, [rows, n]) = (Exchange::new()?, &Device::Host, SHAPE);
    let input = |name: &str, count: usize, seed: u64| -> Result<Vec<f32>> {
        let numbers = normal(count, seed);
        dir.put(name, &numbers)?;
        Ok(numbers)
    };
    let x = Tensor::from_vec(input("x", rows * n, 1)?, SHAPE, host)?;
    let dy = Tensor::from_vec(input("dy", rows * n, 2)?, SHAPE, host)?;
    let weight = Tensor::from_vec(input("weight", n, 3)?, [n], host)?;
    let bias = Tensor::from_vec(input("bias", n, 4)?, [n], host)?;
    let (mut y, mut dx) = (Tensor::empty(SHAPE, host)?, Tensor::empty(SHAPE, host)?);
    let (mut dweight, mut dbias, mut none) =
        (Tensor::empty([n], host)?, Tensor::empty([n], host)?, Tensor::empty([0], host)?);
    let (rms, dims) = (name == "rms_norm", json!({"rows": rows, "n": n, "rms": name == "rms_norm"}));
    let forward = |y: &mut Tensor<f32, 2>| -> Result<()> {
        Ok(match rms {
            true => rms_norm_into(x.view(), weight.view(), EPS, y.view_mut()),
            false => layer_norm_into(x.view(), weight.view(), Some(bias.view()), EPS, y.view_mut()),
        }?)
    };
    torch.setup("norm", dir.path(), &dims, "f32")?;
    forward(&mut y)?;
    agree(name, &y, &dir.get("y", "torch")?)?;
    let times = torch.race(|| forward(&mut y))?;
    show(row(name, SHAPE, times, torch, 0.9, 8 * rows * n));

    torch.setup("norm_gradient", dir.path(), &dims, "f32")?;
    let mut both = || -> Result<()> {
        forward(&mut y)?;
        let (dx, dweight, replace) = (Some(dx.view_mut()), Some(dweight.view_mut()), Accumulate::Replace);
        let (x, w, dy) = (x.view(), weight.view(), dy.view());
        Ok(match rms {
            true => rms_norm_backward_into(x, w, dy, EPS, replace, dx, dweight, none.view_mut()),
            false => {
                let dbias = Some(dbias.view_mut());
                layer_norm_backward_into(x, w, dy, EPS, replace, dx, dweight, dbias, none.view_mut())
            }
        }?)
    };
    both()?;
    let times = torch.race(&mut both)?;
    agree("dx", &dx, &dir.get("dx", "torch")?)?;
    agree("dweight", &dweight, &dir.get("dweight", "torch")?)?;
    if !rms {
        agree("dbias", &dbias, &dir.get("dbias", "torch")?)?;
    }
    let name = if rms { "rms_norm_gradient" } else { "layer_norm_gradient" };
    show(row(name, SHAPE, times, torch, 0.9, 20 * rows * n));
    Ok(())
}

/// The gradient of a whole table from that of a text's embeddings.
fn embed(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dir, host, [vocab, n]) = (Exchange::new()?, &Device::Host, TABLE);
    let (dy, ids) = (normal(TOKENS * n, 1), (0..TOKENS).map(|at| (at * at * 31 % 700) as u32).collect::<Vec<_>>());
    dir.put("dy", &dy)?;
    dir.put_ids("ids", &ids)?;
    let dims = json!({"tokens": TOKENS, "vocab": vocab, "n": n});
    torch.setup("embed_gradient", dir.path(), &dims, "f32")?;
    let (dy, ids) = (Tensor::from_vec(dy, [TOKENS, n], host)?, Tensor::from_vec(ids, [TOKENS], host)?);
    let (mut table, mut none) = (Tensor::<f32, 2>::empty(TABLE, host)?, Tensor::empty([0], host)?);
    let mut run = || -> Result<()> {
        let to = table.view_mut();
        Ok(embed_backward_into(dy.view(), ids.view(), Accumulate::Replace, to, none.view_mut())?)
    };
    run()?;
    let times = torch.race(&mut run)?;
    agree("embed_gradient", &table, &dir.get("table", "torch")?)?;
    show(row("embed_gradient", [TOKENS, n], times, torch, 2.0, 4 * vocab * n));
    Ok(())
}
