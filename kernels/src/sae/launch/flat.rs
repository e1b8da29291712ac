//! Launches of [`encode::flat`](crate::sae::encode::flat): caches of rows, a cut of the batch, a repair that is seldom
//! needed and always there, rows by latent.
use super::encode::{Cut, Operands, stream, wide};
use super::{DIGIT, SORTED};
use crate::sae::{IMAGE, encode::Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_encode";
/// 64-bit numbers of `Flat`: twin of `flat.cuh`.
const FLAT: usize = 3 * 2048 + 3;

/// Entries that a row keeps at first: four times its share.
fn cache(p: &Plan) -> usize {
    (4 * p.shape().slots().div_ceil(p.rows().max(1))).max(64).min(p.n())
}

/// Bytes of scratch of [`launch`].
pub fn workspace(p: &Plan, chip: &Chip) -> usize {
    let cut = Cut::of(p, chip, cache(p));
    let row = 8 * cut.parts * (cut.kept + 1) + 16;
    let rest = 8 * (cut.lists() + FLAT + p.shape().slots() + p.n()) + 4 + 10 * 256;
    p.rows().saturating_mul(row).saturating_add(rest)
}

/// What every launch of a call may read, and its scratch.
struct Call<'a, 'p, T: Float> {
    p: &'p Plan,
    chip: &'p Chip,
    cut: Cut,
    operands: Operands<'a, T>,
    offsets: SpanMut<'a, u32>,
    lists: SpanMut<'a, u32>,
    found: SpanMut<'a, u32>,
    bars: SpanMut<'a, u32>,
    flat: SpanMut<'a, u32>,
    sorted: SpanMut<'a, u32>,
    equals: SpanMut<'a, u32>,
    above: SpanMut<'a, u32>,
    equal: SpanMut<'a, u32>,
    taken: SpanMut<'a, u32>,
    placed: SpanMut<'a, u32>,
}

impl<'a, T: Float> Call<'a, '_, T> {
    fn total(&self) -> usize {
        self.p.shape().slots()
    }

    /// Candidates of a row.
    fn candidates(&self) -> usize {
        self.cut.parts * self.cut.kept
    }

    fn clear(&self, again: usize) -> Result<Launch<'a>> {
        let launch = Launch::new::<f32>(&IMAGE, "sae_flat_clear").write(&self.flat);
        launch.u32(again).over([1, 1, 1], 256, 0, self.chip)
    }

    fn caches(&self) -> Result<Launch<'a>> {
        stream("sae_encode", self.p, &self.cut, &self.operands)
            .write(&self.lists)
            .write(&self.found)
            .write(&self.bars)
            .read(None::<Span<'a, u32>>)
            .u32(self.cut.kept)
            .u32(self.cut.room())
            .f32(0.0)
            .over([self.cut.blocks, 1, 1], 256, self.cut.shared(), self.chip)
    }

    fn count(&self, pass: usize) -> Result<Launch<'a>> {
        let all = self.p.rows() * self.candidates();
        let blocks = 4 * self.chip.multiprocessors as usize;
        Launch::new::<f32>(&IMAGE, "sae_flat_count")
            .read(self.found.shared())
            .write(&self.flat)
            .u64(all)
            .u64(self.total())
            .u32(pass)
            .over([blocks.min(all.div_ceil(256)), 1, 1], 256, DIGIT, self.chip)
    }

    fn cuts(&self, again: usize) -> Result<Launch<'a>> {
        Launch::new::<f32>(&IMAGE, "sae_flat_cut")
            .write(&self.flat)
            .read(self.bars.shared())
            .u64(self.p.rows() * self.cut.parts)
            .u64(self.total())
            .u32(again)
            .over([1, 1, 1], 256, 0, self.chip)
    }

    fn repair(&self, step: usize) -> Result<Launch<'a>> {
        stream("sae_flat_repair", self.p, &self.cut, &self.operands)
            .write(&self.flat)
            .write(&self.above)
            .write(&self.equal)
            .write(&self.taken)
            .write(&self.placed)
            .read(self.offsets.shared())
            .write(&self.sorted)
            .write(&self.equals)
            .u32(self.total())
            .u32(step)
            .over([self.cut.blocks, 1, 1], 256, self.cut.shared() + DIGIT, self.chip)
    }

    fn rows(&self) -> Result<Launch<'a>> {
        Launch::new::<f32>(&IMAGE, "sae_flat_rows")
            .read(self.found.shared())
            .read(self.flat.shared())
            .write(&self.above)
            .write(&self.equal)
            .u32(self.candidates())
            .over([self.p.rows(), 1, 1], 128, 0, self.chip)
    }

    fn offsets(&self) -> Result<Launch<'a>> {
        Launch::new::<f32>(&IMAGE, "sae_flat_offsets")
            .read(self.flat.shared())
            .read(self.above.shared())
            .read(self.equal.shared())
            .write(&self.taken)
            .write(&self.placed)
            .write(&self.offsets)
            .u32(self.p.rows())
            .over([1, 1, 1], 1024, 0, self.chip)
    }

    fn finish(&self, values: &SpanMut<'a, T::Acc>, latents: &SpanMut<'a, u32>) -> Result<Launch<'a>> {
        let listed = cache(self.p).min(SORTED);
        Launch::new::<f32>(&IMAGE, "sae_flat_finish")
            .read(self.found.shared())
            .read(self.flat.shared())
            .write(&self.above)
            .write(&self.equal)
            .write(&self.taken)
            .read(self.offsets.shared())
            .write(&self.sorted)
            .write(&self.equals)
            .write(values)
            .write(latents)
            .u32(self.candidates())
            .u32(self.total())
            .u32(self.p.n())
            .u32(listed)
            .over([self.p.rows(), 1, 1], 128, 8 * listed + DIGIT, self.chip)
    }
}

/// The launches of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    w_enc: Span<'a, T>,
    bias: Span<'a, T::Acc>,
    values: SpanMut<'a, T::Acc>,
    latents: SpanMut<'a, u32>,
    offsets: SpanMut<'a, u32>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 16]> {
    let operands = Operands { x, w: w_enc, bias, subset: None }.checked(p)?;
    let (rows, total) = (p.rows(), p.shape().slots());
    let values = values.holds(total, OP, "values")?;
    let latents = latents.holds(total, OP, "latents")?;
    let offsets = offsets.holds(rows + 1, OP, "offsets")?;
    let cut = Cut::of(p, chip, cache(p));
    let mut take = |count| wide(&mut workspace, count);
    let (lists, found) = (take(cut.lists())?, take(rows * cut.parts * cut.kept)?);
    let (bars, flat) = (take(rows * cut.parts)?, take(FLAT)?);
    let (sorted, equals) = (take(total)?, take(p.n())?);
    let mut take = |count| workspace.take::<u32>(count, OP);
    let (above, equal, taken, placed) = (take(rows)?, take(rows)?, take(rows)?, take(rows + 1)?);

    let call =
        Call { p, chip, cut, operands, offsets, lists, found, bars, flat, sorted, equals, above, equal, taken, placed };
    Ok([
        call.clear(0)?,
        call.caches()?,
        call.count(0)?,
        call.count(1)?,
        call.count(2)?,
        call.cuts(0)?,
        call.clear(1)?,
        call.repair(0)?,
        call.repair(1)?,
        call.repair(2)?,
        call.cuts(1)?,
        call.rows()?,
        call.repair(3)?,
        call.offsets()?,
        call.repair(4)?,
        call.finish(&values, &latents)?,
    ])
}
