//! `compare lowrank`: a step of PowerSGD, and its orthogonalisation alone, beside PyTorch, on the host.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{
    Device, Segment, SegmentTable, Segments, Tensor, lowrank_left_into, lowrank_orthogonalise_into,
    lowrank_restore_into, lowrank_right_into,
};
use serde_json::json;
use std::path::Path;

/// Matrices of one shape, and the rank.
#[derive(Clone, Copy)]
struct Sizes {
    count: usize,
    rows: usize,
    columns: usize,
    rank: usize,
}

/// A step, and the factors that are made orthonormal.
const STEP: Sizes = Sizes { count: 64, rows: 1024, columns: 1024, rank: 32 };
const FACTORS: Sizes = Sizes { count: 200, rows: 4096, columns: 8, rank: 8 };

impl Sizes {
    fn table(self) -> Result<SegmentTable> {
        let Self { count, rows, columns, .. } = self;
        let all = (0..count).map(|i| Segment { start: i * rows * columns, rows, columns }).collect();
        Ok(SegmentTable::new(Segments::new(all)?, &Device::Host)?)
    }

    fn json(self) -> serde_json::Value {
        json!({"count": self.count, "rows": self.rows, "columns": self.columns, "rank": self.rank})
    }
}

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    factors(FACTORS, &mut torch, show)?;
    step(STEP, &mut torch, show)
}

/// The same step again and again: what it makes takes the place of the gradient, so gradient and memory add up to the same.
fn step(s: Sizes, torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (len, table, none) = (s.count * s.rows * s.columns, s.table()?, &Device::Host);
    let dir = Exchange::new()?;
    let (g, q) = (normal(len, 1), normal(s.count * s.columns * s.rank, 2));
    dir.put("g", &g)?;
    dir.put("q", &q)?;
    torch.setup("lowrank_step", dir.path(), &s.json(), "f32")?;

    let (mut g, mut e) = (Tensor::<f32, 1>::from_vec(g, [len], none)?, Tensor::<f32, 1>::zeros([len], none)?);
    let mut q = Tensor::<f32, 2>::from_vec(q, [s.count * s.columns, s.rank], none)?;
    let mut p = Tensor::<f32, 2>::zeros([s.count * s.rows, s.rank], none)?;
    let mut dropped = Tensor::<u32, 1>::zeros([s.count], none)?;
    let mut scratch = Tensor::<u8, 1>::zeros([0], none)?;
    let mut ours = |g: &mut Tensor<f32, 1>, e: &mut Tensor<f32, 1>| -> Result<()> {
        lowrank_left_into(&table, g.view(), e.view_mut(), q.view(), p.view_mut(), dropped.view_mut())?;
        lowrank_orthogonalise_into(&table, p.view_mut(), 1, scratch.view_mut())?;
        lowrank_right_into(&table, e.view(), p.view(), q.view_mut())?;
        Ok(lowrank_restore_into(&table, p.view(), q.view(), Some(e.view_mut()), Some(g.view_mut()))?)
    };
    ours(&mut g, &mut e)?;
    agree("what a step makes", g.host().ok_or("not on the host")?, &dir.get("made", "torch")?)?;
    agree("what a step leaves", e.host().ok_or("not on the host")?, &dir.get("left", "torch")?)?;
    let (ours_ms, peer_ms) = torch.race(|| ours(&mut g, &mut e))?;
    let flops = 6.0 * len as f64 * s.rank as f64;
    show(Row {
        name: "lowrank_step",
        shape: format!("{} x {} x {}, rank {}", s.count, s.rows, s.columns, s.rank),
        dtype: "f32",
        device: "cpu".into(),
        ours_ms,
        peer: format!("{} DDP hook", torch.name),
        peer_ms,
        bar: Some(4.0),
        rate: Some(("GFLOP/s", flops / ours_ms / 1e6)),
    });
    Ok(())
}

fn factors(s: Sizes, torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (dims, table) = ([s.count * s.rows, s.rank], s.table()?);
    let dir = Exchange::new()?;
    let from = normal(dims[0] * dims[1], 3);
    dir.put("p", &from)?;
    torch.setup("lowrank_orthogonalise", dir.path(), &s.json(), "f32")?;
    let mut p = Tensor::<f32, 2>::zeros(dims, &Device::Host)?;
    let mut scratch = Tensor::<u8, 1>::zeros([0], &Device::Host)?;
    p.write(&from)?;
    lowrank_orthogonalise_into(&table, p.view_mut(), 1, scratch.view_mut())?;
    agree("orthonormal factors", p.host().ok_or("not on the host")?, &dir.get("q", "torch")?)?;
    // In place, so from the same numbers each time, which torch copies too.
    let (ours_ms, peer_ms) = torch.race_renewed(
        &mut p,
        |p| Ok(p.write(&from)?),
        |p| Ok(lowrank_orthogonalise_into(&table, p.view_mut(), 1, scratch.view_mut())?),
    )?;
    let moved = 2.0 * (4 * dims[0] * dims[1]) as f64;
    show(Row {
        name: "lowrank_orthogonalise",
        shape: format!("{} x {} x {}", s.count, s.rows, s.rank),
        dtype: "f32",
        device: "cpu".into(),
        ours_ms,
        peer: format!("{} linalg.qr", torch.name),
        peer_ms,
        bar: Some(4.0),
        rate: Some(("GB/s", moved / ours_ms / 1e6)),
    });
    Ok(())
}

fn agree(what: &str, a: &[f32], b: &[f32]) -> Result<()> {
    let off = disagreement(a, b);
    if off <= 1e-9 { Ok(()) } else { Err(format!("{what} disagrees with PyTorch: {off:e}").into()) }
}
