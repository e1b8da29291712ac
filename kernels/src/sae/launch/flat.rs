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

    let (candidates, blocks) = (cut.parts * cut.kept, 4 * chip.multiprocessors as usize);
    let clear =
        |again| Launch::new::<f32>(&IMAGE, "sae_flat_clear").write(&flat).u32(again).over([1, 1, 1], 256, 0, chip);
    let count = |pass| {
        Launch::new::<f32>(&IMAGE, "sae_flat_count")
            .read(found.shared())
            .write(&flat)
            .u64(rows * candidates)
            .u64(total)
            .u32(pass)
            .over([blocks.min((rows * candidates).div_ceil(256)), 1, 1], 256, DIGIT, chip)
    };
    let cuts = |again| {
        Launch::new::<f32>(&IMAGE, "sae_flat_cut")
            .write(&flat)
            .read(bars.shared())
            .u64(rows * cut.parts)
            .u64(total)
            .u32(again)
            .over([1, 1, 1], 256, 0, chip)
    };
    let repair = |step| {
        stream("sae_flat_repair", p, &cut, &operands)
            .write(&flat)
            .write(&above)
            .write(&equal)
            .write(&taken)
            .write(&placed)
            .read(offsets.shared())
            .write(&sorted)
            .write(&equals)
            .u32(total)
            .u32(step)
            .over([cut.blocks, 1, 1], 256, cut.shared() + DIGIT, chip)
    };
    let listed = cache(p).min(SORTED);
    Ok([
        clear(0)?,
        stream("sae_encode", p, &cut, &operands)
            .write(&lists)
            .write(&found)
            .write(&bars)
            .read(None::<Span<'a, u32>>)
            .u32(cut.kept)
            .u32(cut.room())
            .f32(0.0)
            .over([cut.blocks, 1, 1], 256, cut.shared(), chip)?,
        count(0)?,
        count(1)?,
        count(2)?,
        cuts(0)?,
        clear(1)?,
        repair(0)?,
        repair(1)?,
        repair(2)?,
        cuts(1)?,
        Launch::new::<f32>(&IMAGE, "sae_flat_rows")
            .read(found.shared())
            .read(flat.shared())
            .write(&above)
            .write(&equal)
            .u32(candidates)
            .over([rows, 1, 1], 128, 0, chip)?,
        repair(3)?,
        Launch::new::<f32>(&IMAGE, "sae_flat_offsets")
            .read(flat.shared())
            .read(above.shared())
            .read(equal.shared())
            .write(&taken)
            .write(&placed)
            .write(&offsets)
            .u32(rows)
            .over([1, 1, 1], 1024, 0, chip)?,
        repair(4)?,
        Launch::new::<f32>(&IMAGE, "sae_flat_finish")
            .read(found.shared())
            .read(flat.shared())
            .write(&above)
            .write(&equal)
            .write(&taken)
            .read(offsets.shared())
            .write(&sorted)
            .write(&equals)
            .write(&values)
            .write(&latents)
            .u32(candidates)
            .u32(total)
            .u32(p.n())
            .u32(listed)
            .over([rows, 1, 1], 128, 8 * listed + DIGIT, chip)?,
    ])
}
