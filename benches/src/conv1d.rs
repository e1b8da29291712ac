//! `compare conv1d`: a causal depthwise convolution with SiLU, each in the layout that its library likes best.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{Conv1d, Device, Tensor, conv1d, conv1d_into};
use serde_json::json;
use std::path::Path;

const WIDTH: usize = 1536;
const TAPS: usize = 4;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    for len in [197, 6085] {
        let (dir, host) = (Exchange::new()?, &Device::Host);
        let (x, weight, bias) = (normal(len * WIDTH, 1), normal(WIDTH * TAPS, 2), normal(WIDTH, 3));
        dir.put("x", &turned(&x, WIDTH))?;
        dir.put("weight", &weight)?;
        dir.put("bias", &bias)?;
        torch.setup("conv1d", dir.path(), &json!({"len": len, "width": WIDTH, "taps": TAPS}), "f32")?;
        let x = Tensor::<f32, 3>::from_vec(x, [1, len, WIDTH], host)?;
        let weight = Tensor::<f32, 2>::from_vec(weight, [WIDTH, TAPS], host)?;
        let bias = Tensor::<f32, 1>::from_vec(bias, [WIDTH], host)?;
        let call = Conv1d { bias: Some(bias.view()), silu: true, ..Conv1d::new(x.view(), weight.view()) };
        let mut y = conv1d(&call)?.0;
        let off = disagreement(y.host().ok_or("not on the host")?, &turned(&dir.get("y", "torch")?, len));
        if off > 1e-10 {
            return Err(format!("conv1d disagrees with PyTorch: {off:e}").into());
        }
        let mut workspace = Tensor::<u8, 1>::zeros([0], host)?;
        let (ours_ms, peer_ms) = torch.race(|| Ok(conv1d_into(&call, y.view_mut(), None, workspace.view_mut())?))?;
        show(Row {
            name: "conv1d",
            shape: format!("1 x {len} x {WIDTH}, {TAPS} taps"),
            dtype: "f32",
            device: "cpu".into(),
            ours_ms,
            peer: format!("{} conv1d, silu", torch.name),
            peer_ms,
            bar: Some(2.0),
            rate: Some(("GB/s", (8 * len * WIDTH) as f64 / ours_ms / 1e6)),
        });
    }
    Ok(())
}

/// Rows of `columns` numbers as columns.
fn turned(x: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| x.iter().skip(column).step_by(columns).copied()).collect()
}
