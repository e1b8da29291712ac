//! `compare quant`: blockwise codes of a gradient beside PyTorch and beside a copy of as many bytes, on the host.
use crate::family::copy;
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal, turns};
use latens_core::{
    Accumulate, Device, Float, Format, QuantSettings, Quantised, Rounding, Tensor, bf16, dequant, dequant_into, quant,
    quant_into, quant_sum_into,
};
use latens_kernels::quant as family;
use serde_json::json;
use std::path::Path;

const N: usize = 1 << 26;
const BLOCK: usize = 256;
const RANKS: usize = 4;

const INT8: QuantSettings = QuantSettings { format: Format::Symmetric(8), block: BLOCK, rounding: Rounding::Nearest };
const INT4: QuantSettings = QuantSettings { format: Format::Symmetric(4), ..INT8 };
const DYNAMIC: QuantSettings = QuantSettings { format: Format::Dynamic8, ..INT8 };
const NORMAL: QuantSettings = QuantSettings { format: Format::Normal4, ..INT8 };
const CHANCE: QuantSettings = QuantSettings { rounding: Rounding::Stochastic { seed: 1, step: 0 }, ..INT8 };

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut torch = Peer::torch(torch)?;
    let dir = Exchange::new()?;
    let x: Vec<f32> = normal(N, 1).into_iter().map(|x| x * 1e-3).collect();
    dir.put("x", &x)?;
    let mut bench = Bench { dir, torch: &mut torch, show };
    bench.codes::<f32>(&x, "f32", "quant_int8", INT8)?;
    bench.codes::<bf16>(&x, "bf16", "quant_int8", INT8)?;
    bench.codes::<f32>(&x, "f32", "quant_int4", INT4)?;
    bench.codes::<f32>(&x, "f32", "quant_chance8", CHANCE)?;
    bench.codes::<f32>(&x, "f32", "quant_dynamic8", DYNAMIC)?;
    bench.codes::<f32>(&x, "f32", "quant_normal4", NORMAL)?;
    bench.feedback(&x)?;
    bench.dequant(&x)?;
    bench.sum(&x)
}

struct Bench<'a> {
    dir: Exchange,
    torch: &'a mut Peer,
    show: &'a mut dyn FnMut(Row),
}

impl Bench<'_> {
    fn row(&mut self, name: &'static str, dtype: &'static str, times: (f64, f64), bytes: usize, bar: Option<f64>) {
        let rate = Some(("GB/s", bytes as f64 / times.0 / 1e6));
        let (shape, peer) = (format!("{N} by {BLOCK}"), format!("{} by blocks", self.torch.name));
        let (ours_ms, peer_ms) = times;
        (self.show)(Row { name, shape, dtype, device: "cpu".into(), ours_ms, peer, peer_ms, bar, rate });
    }

    fn setup(&mut self, name: &str, dtype: &str, table: &[f32]) -> Result<()> {
        self.dir.put("table", table)?;
        self.torch.setup(name, self.dir.path(), &json!({"n": N, "block": BLOCK, "ranks": RANKS}), dtype)
    }

    /// The same numbers, but for those in the middle of two codes, which are more among those of `bf16`; by chance, numbers
    /// as far from `x`.
    fn agree(&self, x: &[f32], ours: &Quantised, settings: &QuantSettings) -> Result<()> {
        let numbers = dequant::<f32>(ours.codes.view(), ours.scales.view(), N, settings)?;
        let (ours, theirs) = (numbers.host().ok_or("not on the host")?, self.dir.get("numbers", "torch")?);
        let (off, limit) = match settings.rounding {
            Rounding::Nearest => (disagreement(ours, &theirs), 1e-6),
            Rounding::Stochastic { .. } => ((disagreement(ours, x) / disagreement(&theirs, x) - 1.0).abs(), 1e-3),
        };
        if off < limit { Ok(()) } else { Err(format!("{settings:?} disagrees with PyTorch: {off:e}").into()) }
    }

    fn codes<T: Float>(
        &mut self,
        x: &[f32],
        dtype: &'static str,
        name: &'static str,
        settings: QuantSettings,
    ) -> Result<()> {
        let tables = [(Format::Dynamic8, &family::code::DYNAMIC[..]), (Format::Normal4, &family::code::NORMAL)];
        let table = tables.iter().find(|(format, _)| *format == settings.format).map_or(&[][..], |(_, table)| table);
        self.setup(name, dtype, table)?;
        let g = Tensor::<T, 1>::from_vec(x.iter().map(|&x| T::from_f32(x)).collect(), [N], &Device::Host)?;
        let mut to = quant(g.view(), &settings, None)?;
        self.agree(x, &to, &settings)?;
        let mut ours = || Ok(quant_into(g.view(), &settings, None, to.view_mut())?);
        let times = self.torch.race(&mut ours)?;
        let bytes = family::plan(N, &settings)?.bytes(size_of::<T>(), false);
        let first = settings == INT8 && dtype == "f32";
        self.row(name, dtype, times, bytes, first.then_some(10.0));
        if first {
            // The floor, in the same run: half of the bytes read, half written.
            let (from, mut to) = (vec![1_u64; bytes / 16], vec![2_u64; bytes / 16]);
            let (ours_ms, peer_ms) = turns(&mut ours, || {
                copy(&from, &mut to);
                Ok(())
            })?;
            let (name, shape, peer) = ("quant_int8_floor", format!("{N} by {BLOCK}"), "copy of as many bytes".into());
            let (rate, bar) = (Some(("GB/s", bytes as f64 / ours_ms / 1e6)), Some(1.0 / 1.5));
            (self.show)(Row { name, shape, dtype, device: "cpu".into(), ours_ms, peer, peer_ms, bar, rate });
        }
        Ok(())
    }

    /// With the memory of errors, read and written.
    fn feedback(&mut self, x: &[f32]) -> Result<()> {
        self.setup("quant_feedback", "f32", &[])?;
        let g = Tensor::<f32, 1>::from_vec(x.to_vec(), [N], &Device::Host)?;
        let mut error = Tensor::<f32, 1>::zeros([N], &Device::Host)?;
        let mut to = quant(g.view(), &INT8, Some(error.view_mut()))?;
        self.agree(x, &to, &INT8)?;
        let times = self.torch.race(|| Ok(quant_into(g.view(), &INT8, Some(error.view_mut()), to.view_mut())?))?;
        self.row("quant_feedback", "f32", times, family::plan(N, &INT8)?.bytes(4, true), None);
        Ok(())
    }

    fn dequant(&mut self, x: &[f32]) -> Result<()> {
        self.setup("quant_dequant", "f32", &[])?;
        let g = Tensor::<f32, 1>::from_vec(x.to_vec(), [N], &Device::Host)?;
        let from = quant(g.view(), &INT8, None)?;
        self.agree(x, &from, &INT8)?;
        let mut y = g;
        let times = self.torch.race(|| {
            let (codes, scales) = (from.codes.view(), from.scales.view());
            Ok(dequant_into(codes, scales, &INT8, Accumulate::Replace, y.view_mut())?)
        })?;
        self.row("quant_dequant", "f32", times, family::plan(N, &INT8)?.bytes(4, false), None);
        Ok(())
    }

    /// The mean of the messages of some ranks, as a message: each rank sends what the one before it does, a little larger.
    fn sum(&mut self, x: &[f32]) -> Result<()> {
        self.setup("quant_sum", "f32", &[])?;
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for rank in 0..RANKS {
            let g = x.iter().map(|x| x * (1.0 + rank as f32)).collect();
            let from = quant(Tensor::<f32, 1>::from_vec(g, [N], &Device::Host)?.view(), &INT8, None)?;
            codes.extend(from.codes.to_vec()?);
            scales.extend(from.scales.to_vec()?);
        }
        let codes = Tensor::<u8, 2>::from_vec(codes, [RANKS, N], &Device::Host)?;
        let scales = Tensor::<f32, 3>::from_vec(scales, [RANKS, N / BLOCK, 1], &Device::Host)?;
        let mut to = Quantised::empty(N, &INT8, &Device::Host)?;
        let factor = 1.0 / RANKS as f32;
        let mut ours = || Ok(quant_sum_into(codes.view(), scales.view(), N, factor, &INT8, None, to.view_mut())?);
        ours()?;
        let times = self.torch.race(&mut ours)?;
        self.agree(x, &to, &INT8)?;
        self.row("quant_sum", "f32", times, (RANKS + 1) * (N + 4 * N / BLOCK), None);
        Ok(())
    }
}
