//! Launches of [`encode`](crate::sae::encode): the stream of tiles, then a block for each row.
use super::{DIGIT, SORTED};
use crate::sae::IMAGE;
use crate::sae::encode::{Plan, Select};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_encode";
/// Rows and latents of a tile: twin of `product.cuh`.
const TILE: usize = 128;
const THREADS: u32 = 256;
/// Bytes of candidates above which the latents are not split further.
const CANDIDATES: usize = 64 << 20;

/// What the stream of tiles reads: its first thirteen arguments.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, T: Float> {
    pub x: Span<'a, T>,
    pub w: Span<'a, T>,
    pub bias: Span<'a, T::Acc>,
    /// The latents, and how many of them.
    pub subset: Option<(Span<'a, u32>, Span<'a, u32>)>,
}

/// How a problem is cut into jobs.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Entries that the part of a row keeps.
    pub kept: usize,
    pub parts: usize,
    /// Latents of a part.
    pub part: usize,
    /// Blocks of the grid, each with lists for a tile of rows.
    pub blocks: usize,
}

impl Cut {
    /// Two blocks for each multiprocessor, if there are tiles enough.
    pub fn of(p: &Plan, chip: &Chip, k: usize) -> Self {
        let tiles = listed(p).div_ceil(TILE).max(1);
        let (rows, blocks) = (p.rows().max(1), p.rows().div_ceil(TILE));
        let target = 2 * chip.multiprocessors as usize;
        let most = (CANDIDATES / (8 * rows.saturating_mul(k.max(1)))).clamp(1, tiles);
        let parts = (target / blocks.max(1)).clamp(1, most);
        let each = tiles.div_ceil(parts);
        let (part, parts) = (each * TILE, tiles.div_ceil(each));
        Self { kept: k.min(part), parts, part, blocks: (blocks * parts).min(target) }
    }
    /// Entries that the list of a row has room for.
    pub fn room(&self) -> usize {
        self.kept + 2 * TILE
    }
    /// Entries of all lists.
    pub fn lists(&self) -> usize {
        self.blocks * TILE * self.room()
    }
    /// Bytes of the stages, the latents and the bars of a tile.
    pub fn shared(&self) -> usize {
        3 * 2 * TILE * 80 + TILE * (4 + 4 + 8 + 4 + 4)
    }
}

fn listed(p: &Plan) -> usize {
    match p.select() {
        Select::Subset(listed) => listed,
        _ => p.n(),
    }
}

/// `count` numbers of 64 bits.
pub(super) fn wide<'a>(workspace: &mut SpanMut<'a, u8>, count: usize) -> Result<SpanMut<'a, u32>> {
    workspace.take::<u32>(count.checked_mul(2).ok_or(Error::TooLarge)?, OP)
}

/// Kernel `name` with the operands of the stream as its first arguments.
pub(super) fn stream<'a, T: Float>(name: &'static str, p: &Plan, cut: &Cut, operands: &Operands<'a, T>) -> Launch<'a> {
    Launch::new::<T>(&IMAGE, name)
        .read(operands.x)
        .read(operands.w)
        .read(operands.bias)
        .read(operands.subset.map(|(latents, _)| latents))
        .read(operands.subset.map(|(_, count)| count))
        .u32(p.rows())
        .u32(p.dim())
        .u32(p.n())
        .u32(listed(p))
        .u64(p.x().strides()[0])
        .u64(p.w().strides()[0])
        .u32(cut.parts)
        .u32(cut.part)
}

impl<T: Float> Operands<'_, T> {
    /// The operands, if they are as long as the plan says.
    pub fn checked(self, p: &Plan) -> Result<Self> {
        Ok(Self {
            x: self.x.holds(p.x().span(), OP, "x")?,
            w: self.w.holds(p.w().span(), OP, "w_enc")?,
            bias: self.bias.holds(p.n(), OP, "bias")?,
            subset: match self.subset {
                Some((latents, count)) => Some((latents.holds(listed(p), OP, "subset")?, count.holds(1, OP, "count")?)),
                None => None,
            },
        })
    }
}

/// Bytes of scratch of [`launch`]: lists of the blocks under way, and what each part of each row keeps.
pub fn workspace(p: &Plan, chip: &Chip) -> usize {
    let cut = Cut::of(p, chip, p.k());
    let sorted = if p.k() > SORTED { p.k() } else { 0 };
    let row = (cut.parts * (8 * cut.kept + 12)).saturating_add(8 * sorted);
    p.rows().saturating_mul(row).saturating_add(8 * cut.lists()).saturating_add(5 * 256)
}

/// The launches of a choice for each row: among all latents, a subset, or above a threshold (then `counts` is there).
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    w_enc: Span<'a, T>,
    bias: Span<'a, T::Acc>,
    subset: Option<(Span<'a, u32>, Span<'a, u32>)>,
    values: SpanMut<'a, T::Acc>,
    latents: SpanMut<'a, u32>,
    counts: Option<SpanMut<'a, u32>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 2]> {
    let operands = Operands { x, w: w_enc, bias, subset }.checked(p)?;
    let k = p.k();
    let values = values.holds(p.shape().slots(), OP, "values")?;
    let latents = latents.holds(p.shape().slots(), OP, "latents")?;
    let counts = counts.map(|counts| counts.holds(p.rows(), OP, "counts")).transpose()?;
    let cut = Cut::of(p, chip, k);
    let lists = wide(&mut workspace, cut.lists())?;
    let found = wide(&mut workspace, p.rows() * cut.parts * cut.kept)?;
    let bars = wide(&mut workspace, p.rows() * cut.parts)?;
    let seen = counts.as_ref().map(|_| workspace.take::<u32>(p.rows() * cut.parts, OP)).transpose()?;
    let sorted = if k > SORTED { Some(wide(&mut workspace, p.rows() * k)?) } else { None };
    let (floor, shared) = (if let Select::Above(least) = p.select() { least.max(0.0) } else { 0.0 }, cut.shared());
    let listed = if k > SORTED { 0 } else { k };
    let needed = k > 0 || counts.is_some();
    Ok([
        stream("sae_encode", p, &cut, &operands)
            .write(&lists)
            .write(&found)
            .write(&bars)
            .write(seen.as_ref())
            .u32(cut.kept)
            .u32(cut.room())
            .f32(floor)
            .over([if needed { cut.blocks } else { 0 }, 1, 1], THREADS, shared, chip)?,
        Launch::new::<f32>(&IMAGE, "sae_finish")
            .read(found.shared())
            .read(seen.as_ref().map(SpanMut::shared))
            .write(sorted.as_ref())
            .write(&values)
            .write(&latents)
            .write(counts.as_ref())
            .u32(cut.parts * cut.kept)
            .u32(cut.parts)
            .u32(k)
            .u32(p.n())
            .u32(listed)
            .over([if needed { p.rows() } else { 0 }, 1, 1], 128, 8 * listed + DIGIT, chip)?,
    ])
}
