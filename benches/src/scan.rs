//! `compare scan`: a selective scan and its gradients beside a loop over time in PyTorch, and autograd of it. All outputs and
//! gradients agree with the peer's before anything is timed.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{
    Device, Philox, Scan, ScanGradientsMut, Tensor, scan, scan_backward, scan_backward_into, scan_backward_workspace,
    scan_into,
};
use serde_json::json;
use std::path::Path;

const WIDTH: usize = 768;
const STATES: usize = 16;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    for len in [197, 6085] {
        let case = Case::new(len)?;
        forward(&mut torch, &case, show)?;
        backward(&mut torch, &case, show)?;
    }
    Ok(())
}

struct Case {
    len: usize,
    u: Tensor<f32, 3>,
    delta: Tensor<f32, 3>,
    a: Tensor<f32, 2>,
    b: Tensor<f32, 3>,
    c: Tensor<f32, 3>,
    skip: Tensor<f32, 1>,
    dy: Tensor<f32, 3>,
    dir: Exchange,
}

impl Case {
    /// Time constants and decays as a trained model has them: no two of a channel in one ratio.
    fn new(len: usize) -> Result<Self> {
        let (dir, host) = (Exchange::new()?, &Device::Host);
        let between = |count: usize, low: f32, high: f32, seed: u64| -> Vec<f32> {
            let mut draw = Philox::new(seed);
            (0..count).map(|_| low + (high - low) * draw.uniform()).collect()
        };
        let three = |name: &str, x: Vec<f32>, n: usize| -> Result<Tensor<f32, 3>> {
            dir.put(name, &x)?;
            Ok(Tensor::from_vec(x, [1, len, n], host)?)
        };
        let (a, skip) = (between(WIDTH * STATES, -16.0, -0.1, 3), normal(WIDTH, 6));
        dir.put("a", &a)?;
        dir.put("skip", &skip)?;
        Ok(Case {
            len,
            u: three("u", normal(len * WIDTH, 1), WIDTH)?,
            delta: three("delta", between(len * WIDTH, 0.001, 0.1, 2), WIDTH)?,
            b: three("b", normal(len * STATES, 4), STATES)?,
            c: three("c", normal(len * STATES, 5), STATES)?,
            dy: three("dy", normal(len * WIDTH, 7), WIDTH)?,
            a: Tensor::from_vec(a, [WIDTH, STATES], host)?,
            skip: Tensor::from_vec(skip, [WIDTH], host)?,
            dir,
        })
    }

    fn call(&self) -> Scan<'_, f32> {
        let (u, delta, a, b, c) = (self.u.view(), self.delta.view(), self.a.view(), self.b.view(), self.c.view());
        Scan { skip: Some(self.skip.view()), ..Scan::new(u, delta, a, b, c) }
    }

    fn setup(&self, torch: &mut Peer, name: &str) -> Result<()> {
        torch.setup(name, self.dir.path(), &json!({"len": self.len, "width": WIDTH, "states": STATES}), "f32")
    }

    fn agree(&self, what: &str, got: &[f32]) -> Result<()> {
        let off = disagreement(got, &self.dir.get(what, "torch")?);
        if off <= 1e-10 { Ok(()) } else { Err(format!("{what} disagrees with PyTorch: {off:e}").into()) }
    }

    fn row(&self, name: &'static str, peer: String, (ours_ms, peer_ms): (f64, f64)) -> Row {
        let steps = (self.len * WIDTH * STATES) as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Row {
            name,
            shape: format!("1 x {} x {WIDTH} x {STATES}", self.len),
            dtype: "f32",
            device: "cpu".into(),
            ours_ms,
            peer,
            peer_ms,
            bar: Some(40.0),
            rate: Some(("G states/s a core", steps / ours_ms / 1e6 / cores)),
        }
    }
}

fn forward(torch: &mut Peer, case: &Case, show: &mut dyn FnMut(Row)) -> Result<()> {
    case.setup(torch, "scan")?;
    let (call, host) = (case.call(), &Device::Host);
    let mut y = scan(&call)?.0;
    case.agree("y", y.host().ok_or("not on the host")?)?;
    let mut workspace = Tensor::<u8, 1>::zeros([0], host)?;
    let times = torch.race(|| Ok(scan_into(&call, y.view_mut(), None, workspace.view_mut())?))?;
    show(case.row("scan", format!("{} loop over unbound rows", torch.name), times));
    Ok(())
}

/// Forward and backward, for both.
fn backward(torch: &mut Peer, case: &Case, show: &mut dyn FnMut(Row)) -> Result<()> {
    case.setup(torch, "scan_backward")?;
    let (call, host) = (case.call(), &Device::Host);
    let mut got = scan_backward(&call, case.dy.view(), None)?;
    let data = "not on the host";
    case.agree("du", got.u.host().ok_or(data)?)?;
    case.agree("ddelta", got.delta.host().ok_or(data)?)?;
    case.agree("da", got.a.host().ok_or(data)?)?;
    case.agree("db", got.b.host().ok_or(data)?)?;
    case.agree("dc", got.c.host().ok_or(data)?)?;
    case.agree("dskip", got.skip.host().ok_or(data)?)?;
    let mut y = Tensor::<f32, 3>::zeros([1, case.len, WIDTH], host)?;
    let mut workspace = Tensor::<u8, 1>::zeros([scan_backward_workspace(&call)?], host)?;
    let mut none = Tensor::<u8, 1>::zeros([0], host)?;
    let times = torch.race(|| {
        scan_into(&call, y.view_mut(), None, none.view_mut())?;
        let to = ScanGradientsMut {
            u: Some(got.u.view_mut()),
            delta: Some(got.delta.view_mut()),
            a: Some(got.a.view_mut()),
            b: Some(got.b.view_mut()),
            c: Some(got.c.view_mut()),
            skip: Some(got.skip.view_mut()),
            bias: None,
            gate: None,
            initial: None,
        };
        Ok(scan_backward_into(&call, case.dy.view(), None, to, workspace.view_mut())?)
    })?;
    show(case.row("scan and gradients", format!("{} autograd of the loop", torch.name), times));
    Ok(())
}
