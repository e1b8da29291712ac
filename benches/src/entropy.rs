//! `compare entropy`: the sampled entropy of gradients beside numpy on the same sample, and the published rule beside PyTorch.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, normal};
use latens_core::{
    Device, EntropySettings, Estimator, Float, Layout, SegmentTable, Segments, Tensor, bf16, entropy_into,
};
use latens_kernels::entropy as family;
use serde_json::json;
use std::path::Path;

/// The fraction of elements that are looked at.
const BETA: f64 = 0.25;
/// One large buffer, and many tensors of a layer's size.
const LARGE: [usize; 2] = [1, 100_000_000];
const MANY: [usize; 2] = [200, 1 << 16];

/// All rows, each given to `show` when it is there.
pub fn compare(env: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let (mut numpy, mut torch) = (Peer::numpy(env)?, Peer::torch(env)?);
    for (sizes, bar) in [(LARGE, Some(8.0)), (MANY, None)] {
        let x: Vec<bf16> = normal(sizes[0] * sizes[1], 1).into_iter().map(|x| bf16::from_f32(x * 1e-3)).collect();
        let wide = x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
        drawn(sizes, &x, "bf16", bar, &mut numpy, show)?;
        drawn(sizes, &wide, "f32", None, &mut numpy, show)?;
        if sizes == LARGE {
            released(&x, &wide, &mut torch, show)?;
        }
    }
    Ok(())
}

/// Ours, ready to be called again: the entropies are in `values`.
struct Ours<T: Float> {
    x: Tensor<T, 1>,
    table: SegmentTable,
    settings: EntropySettings,
    values: Tensor<T::Acc, 2>,
    counts: Tensor<u32, 2>,
    scratch: Tensor<u8, 1>,
}

impl<T: Float<Acc = f32>> Ours<T> {
    fn new([count, len]: [usize; 2], x: &[T], settings: EntropySettings) -> Result<Self> {
        let (host, table) = (&Device::Host, Segments::lengths(&vec![len; count])?);
        Ok(Self {
            x: Tensor::from_slice(x, Layout::packed([x.len()])?, host)?,
            table: SegmentTable::new(table, host)?,
            settings,
            values: Tensor::zeros([count, family::COLUMNS], host)?,
            counts: Tensor::zeros([count, 3], host)?,
            scratch: Tensor::zeros([0], host)?,
        })
    }

    fn run(&mut self) -> Result<()> {
        let (values, counts) = (self.values.view_mut(), self.counts.view_mut());
        Ok(entropy_into(self.x.view(), &self.table, &self.settings, values, counts, self.scratch.view_mut())?)
    }

    /// The entropies are those of the peer, but for elements that rounding puts into the bin beside theirs.
    fn agree(&self, theirs: &[f32]) -> Result<()> {
        let ours = self.values.host().ok_or("not on the host")?.iter().step_by(family::COLUMNS);
        let off = ours.zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let as_many = theirs.len() == self.table.segments().count();
        if as_many && off < 1e-3 { Ok(()) } else { Err(format!("entropies are {off:e} nats apart").into()) }
    }
}

fn drawn<T: Float<Acc = f32>>(
    sizes: [usize; 2],
    x: &[T],
    dtype: &'static str,
    bar: Option<f64>,
    numpy: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let plain =
        EntropySettings { estimator: Estimator::Discrete, correct: false, ..EntropySettings::drawn(BETA, 1, 0) };
    let mut ours = Ours::new(sizes, x, plain)?;
    let p = &family::plan(&ours.x.layout(), ours.table.segments(), &plain)?;
    let parts = (0..sizes[0]).flat_map(|s| (0..p.runs(s)).flat_map(move |run| p.parts(s, run)));
    let sample: Vec<f32> = parts.flat_map(|part| &x[part]).map(|x| x.to_f32()).collect();
    let (dir, bytes) = (Exchange::new()?, p.bytes(size_of::<T>()));
    dir.put("sample", &sample)?;
    numpy.setup("entropy", dir.path(), &json!({"segments": sizes[0], "bins": plain.bins}), dtype)?;
    ours.run()?;
    ours.agree(&dir.get("entropy", "numpy")?)?;
    let (ours_ms, peer_ms) = numpy.race(|| ours.run())?;
    show(Row {
        name: "entropy",
        shape: format!("{} x {}, 1/4", sizes[0], sizes[1]),
        dtype,
        device: "cpu".into(),
        ours_ms,
        peer: format!("{} histogram of the sample", numpy.name),
        peer_ms,
        bar,
        rate: Some(("GB/s", bytes as f64 / ours_ms / 1e6)),
    });
    Ok(())
}

fn released(x: &[bf16], wide: &[f32], torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let dir = Exchange::new()?;
    dir.put("x", wide)?;
    torch.setup("entropy_released", dir.path(), &json!({"bins": 1000, "stride": 4}), "bf16")?;
    let mut ours = Ours::new([1, x.len()], x, EntropySettings::RELEASED)?;
    ours.run()?;
    ours.agree(&dir.get("entropy", "torch")?)?;
    let (ours_ms, peer_ms) = torch.race(|| ours.run())?;
    show(Row {
        name: "entropy_released",
        shape: x.len().to_string(),
        dtype: "bf16",
        device: "cpu".into(),
        ours_ms,
        peer: format!("{} isfinite, [::4], histc", torch.name),
        peer_ms,
        bar: None,
        rate: Some(("GB/s", 2.0 * x.len() as f64 / ours_ms / 1e6)),
    });
    Ok(())
}
