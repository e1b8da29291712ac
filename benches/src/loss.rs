//! `compare loss`: softmax cross-entropy over a vocabulary, alone and with its gradient.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{
    Device, Tensor, cross_entropy, cross_entropy_backward, cross_entropy_backward_into, cross_entropy_into,
};
use serde_json::json;
use std::path::Path;

const ROWS: usize = 512;
const CLASSES: usize = 49_152;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    let (dir, host) = (Exchange::new()?, &Device::Host);
    let logits = normal(ROWS * CLASSES, 1);
    let targets: Vec<u32> = (0..ROWS).map(|r| (r * 7919 % CLASSES) as u32).collect();
    dir.put("logits", &logits)?;
    dir.put_ids("targets", &targets)?;
    let logits = Tensor::<f32, 2>::from_vec(logits, [ROWS, CLASSES], host)?;
    let targets = Tensor::from_vec(targets, [ROWS], host)?;
    let dlosses = Tensor::from_vec(vec![1.0 / ROWS as f32; ROWS], [ROWS], host)?;
    let (x, t, d) = (logits.view(), targets.view(), dlosses.view());
    let mut losses = cross_entropy(x, t, 0.0)?;
    let mut dlogits = cross_entropy_backward(x, t, d, 0.0)?.1;
    let dims = json!({"rows": ROWS, "classes": CLASSES});
    for (name, bytes, gradient) in [("cross_entropy", 4, false), ("cross_entropy, gradient", 8, true)] {
        torch.setup(if gradient { "cross_entropy_gradient" } else { "cross_entropy" }, dir.path(), &dims, "f32")?;
        let (ours, what) = if gradient { (dlogits.host(), "dlogits") } else { (losses.host(), "losses") };
        let off = disagreement(ours.ok_or("not on the host")?, &dir.get(what, "torch")?);
        if off > 1e-10 {
            return Err(format!("{name} disagrees with PyTorch: {off:e}").into());
        }
        let (ours_ms, peer_ms) = torch.race(|| {
            let losses = losses.view_mut();
            Ok(match gradient {
                true => cross_entropy_backward_into(x, t, d, 0.0, Some(losses), dlogits.view_mut()),
                false => cross_entropy_into(x, t, 0.0, losses),
            }?)
        })?;
        show(Row {
            name,
            shape: format!("{ROWS} x {CLASSES}"),
            dtype: "f32",
            device: "cpu".into(),
            ours_ms,
            peer: format!("{} cross_entropy", torch.name),
            peer_ms,
            bar: Some(2.5),
            rate: Some(("GB/s", (bytes * ROWS * CLASSES) as f64 / ours_ms / 1e6)),
        });
    }
    Ok(())
}
